package backup

import "sync/atomic"

// Progress is what a backup has done so far. It is written while the backup runs and may be read at any time.
type Progress struct {
	Files     atomic.Uint64 // regular files that are done
	Bytes     atomic.Uint64 // of those
	Problems  atomic.Uint64
	Current   atomic.Pointer[string] // a path that is being read
	Restoring atomic.Pointer[string] // a path that was left out, since a restore is making it or left it; nil if there was none
	EndFiles  atomic.Uint64          // what is expected in all; 0 while unknown
	EndBytes  atomic.Uint64
	Finishing atomic.Bool // all is read; uploads and the snapshot are left
}
