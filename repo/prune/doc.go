// Package prune reclaims what no snapshot needs, beside any number of running backups, without locks.
//
// [Run] goes through the steps P1 to P9 of docs/adr/0004, which also has the argument why they are safe; the short of it: packs are named in a trash
// object first, which is for good. Who begins after that does not use them. The pruner waits until all who began before are over, looks at all
// snapshots a second time, stores again what they need and is in trash only, and then removes the packs. If nobody else is at work all of
// this happens in one run. Otherwise the trash stays, and any later prune goes on with it.
//
// # What goes and what stays
//
// A pack of which no snapshot needs anything goes. Of packs that are partly needed, those with the least use are stored again, until no more
// than [Options.MaxUnused] of the repository is of no use; and small packs are put together when there are many. A blob that lies in
// several packs is kept in one of them, and before another copy goes that one is read. Packs of sessions that are under way stay, and so
// does every pack that can't be read: that is for repair to decide.
//
// If a snapshot needs something that is nowhere, or can't be read itself, nothing is removed: what looks unused might be the rest of it. The exception
// is a snapshot whose session was evicted before it was confirmed. Nor is anything removed while a pack that stays is damaged and parity needs one that
// goes to make it again.
//
// # What it costs
//
// All metadata of all snapshots is read, each distinct piece once, and the directories of all packs twice. The second look reads only trees that
// the first one did not: what a piece of a tree says never changes. What packs in trash hold is read only if something is found nowhere else, so
// hardly ever: a pack that is gone by then makes the look begin again, as one does that goes a moment earlier.
//
// Memory: 34 bytes for each blob in the index, until it is known what is needed, and from then on for each that is; 20 bytes for each that is needed
// or is a piece of a tree; and about 150 MiB whatever the repository, of which most are packs and segments that are being stored again. The number of
// snapshots does not matter.
//
// # Where concurrency lives
//
// In the walk, which looks at folders side by side, and in the moving of blobs; both are over when the step is.
package prune
