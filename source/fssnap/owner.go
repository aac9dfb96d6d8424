package fssnap

import (
	"fmt"
	"strconv"
	"strings"
)

// Owner is a process, so named that no other process is ever taken for it. Its string has only letters, digits, '-' and '.', so
// that it can be a tag of LVM.
type Owner struct {
	Boot      string // the kernel's random id of this boot
	Namespace uint64 // of process numbers
	PID       int
	Start     uint64 // clock ticks between boot and the start of the process
}

// Life is what is known of an owner.
type Life uint8

// The lives.
const (
	Unknown Life = iota // it can't be told from here
	Alive               // the process runs
	Gone                // the process has ended
)

func (l Life) String() string {
	return [...]string{"unknown", "alive", "gone"}[min(l, Gone)]
}

func (o Owner) String() string {
	return fmt.Sprintf("%s.%d.%d.%d", o.Boot, o.Namespace, o.PID, o.Start)
}

// ParseOwner reads the string of an owner.
func ParseOwner(s string) (o Owner, err error) {
	parts := strings.Split(s, ".")
	if len(s) > 120 || len(parts) != 4 || parts[0] == "" || strings.Trim(parts[0], "0123456789abcdef-") != "" {
		return Owner{}, fmt.Errorf("%.120q names no process", s)
	}
	o.Boot = parts[0]
	if o.Namespace, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return Owner{}, fmt.Errorf("%q names no process: %w", s, err)
	}
	if o.PID, err = strconv.Atoi(parts[2]); err != nil || o.PID <= 0 {
		return Owner{}, fmt.Errorf("%q names no process: bad process number", s)
	}
	if o.Start, err = strconv.ParseUint(parts[3], 10, 64); err != nil {
		return Owner{}, fmt.Errorf("%q names no process: %w", s, err)
	}
	if o.String() != s {
		return Owner{}, fmt.Errorf("%q names no process: not as it would be written", s)
	}
	return o, nil
}
