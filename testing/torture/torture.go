package torture

import "fmt"

// Options says how large the folder is to be. The zero value makes one that takes well below a second.
type Options struct {
	Entries int  // of the folder "many"; 0 for 2,000
	Levels  int  // of the folder "deep"; 0 for 40, each with a name of 200 bytes, which is past PATH_MAX
	Huge    bool // with a file of more than 4 GiB, most of it a hole
}

// Skipped is a case that could not be made.
type Skipped struct {
	Case string
	Err  error
}

func (s Skipped) String() string { return fmt.Sprintf("%s: %v", s.Case, s.Err) }
