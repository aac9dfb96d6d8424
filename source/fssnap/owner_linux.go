package fssnap

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Self returns the owner that this process is.
func Self() (Owner, error) {
	o := Owner{PID: os.Getpid()}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Owner{}, fmt.Errorf("name this process: %w", err)
	}
	o.Boot = strings.TrimSpace(string(boot))
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return Owner{}, fmt.Errorf("name this process: its namespace: %w", err)
	}
	o.Namespace = st.Ino
	if o.Start, err = started(o.PID); err != nil {
		return Owner{}, fmt.Errorf("name this process: %w", err)
	}
	return o, nil
}

// Life tells whether the process runs.
func (o Owner) Life() Life {
	self, err := Self()
	switch {
	case err != nil:
		return Unknown
	case self.Boot != o.Boot:
		return Gone
	case self.Namespace != o.Namespace:
		return Unknown
	case errors.Is(unix.Kill(o.PID, 0), unix.ESRCH):
		return Gone
	}
	// Another user's process may be hidden from us (hidepid), and then there is no file.
	switch start, err := started(o.PID); {
	case err != nil:
		return Unknown
	case start != o.Start:
		return Gone
	}
	return Alive
}

// started returns when a process began: field 22 of its stat file, counted behind the name, which may hold anything.
func started(pid int) (uint64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("stat of process %d has %d fields", pid, len(fields)+2)
	}
	// A zombie is as dead as can be for our purpose: it holds nothing open any more.
	if fields[0] == "Z" || fields[0] == "X" {
		return 0, nil
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// Root reports whether this process may do all that root may on this machine. A root inside a user namespace may not.
func Root() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil || data[0].Effective&(1<<unix.CAP_SYS_ADMIN) == 0 {
		return false
	}
	ids, err := os.ReadFile("/proc/self/uid_map")
	return errors.Is(err, os.ErrNotExist) || strings.Join(strings.Fields(string(ids)), " ") == "0 0 4294967295"
}
