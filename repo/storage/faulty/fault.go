package faulty

import (
	"fmt"
	"math"
	"strings"
)

// Method is one of the methods of a storage.Storage.
type Method uint8

// The methods. Any is all of them.
const (
	Any Method = iota
	Put
	Get
	List
	Remove
)

func (m Method) String() string {
	switch m {
	case Any:
		return "any"
	case Put:
		return "put"
	case Get:
		return "get"
	case List:
		return "list"
	case Remove:
		return "remove"
	}
	return fmt.Sprintf("method %d", uint8(m))
}

// Effect is what an operation does before it fails.
type Effect uint8

const (
	// Nothing is done.
	Nothing Effect = iota
	// Torn does half: Put stores the first half of the bytes under the object's name, Get's reader ends after half of them, List
	// reports half of the objects. Remove has no half and does it all.
	Torn
	// Done does all of a Put or Remove, and the answer is lost. To a Get or List it is the same as Nothing.
	Done
)

// Forever is for Fault.Times.
const Forever = math.MaxInt

// Fault says which operations fail, and how. Its zero value lets every operation do nothing and say that all is well.
type Fault struct {
	Method Method
	Prefix string // of the object's name, or of List's prefix
	Nth    int    // the first that fails, counted from 1 among those that match Method and Prefix; 0 for all of them
	Times  int    // how many in a row fail from the Nth on; 0 for one
	Effect Effect
	Err    error // what is wrapped; nil for success, where a Get finds an object that is too short
}

func (f Fault) matches(op Op) bool {
	return (f.Method == Any || f.Method == op.Method) && strings.HasPrefix(op.Name, f.Prefix)
}

// strikes reports whether the nth operation that matches fails.
func (f Fault) strikes(nth int) bool {
	return f.Nth == 0 || nth >= f.Nth && nth-f.Nth < max(f.Times, 1)
}

// Op is one operation, as it stands in the log.
type Op struct {
	Method Method
	Name   string // of the object, or List's prefix
	Off    int64  // of a Get
	Size   int64  // bytes of a Put, or the n of a Get
	Err    error  // how it ended; nil while it has not
}

// String returns the method and the name.
func (o Op) String() string { return o.Method.String() + " " + o.Name }

// Shape returns the operations without what differs from run to run: the names are cut after their first part, and equal
// neighbours are one. A backup is "put sessions/…", "put data/…", "put index/…", "put snapshots/…", and so on.
func Shape(ops []Op) []string {
	var shape []string
	for _, op := range ops {
		line := op.String()
		if folder, _, ok := strings.Cut(op.Name, "/"); ok {
			line = op.Method.String() + " " + folder + "/…"
		}
		if len(shape) == 0 || shape[len(shape)-1] != line {
			shape = append(shape, line)
		}
	}
	return shape
}
