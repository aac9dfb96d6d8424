// Package bench measures tarn beside other programs that do the same, and beside what the machine can do at best.
//
// It drives command lines, tarn's own among them, and knows nothing of what is inside: a [Peer] is a program with its commands for each
// [Step], a [Workload] is a recipe for a folder and for how it changes. [Run] takes all of them through the steps, in rounds: in each round every
// program does each step once, and which of them begins goes round, too, so that what the machine does beside hits all alike.
// Before each step the folder is read once, if it may be needed, and all that was written is synced. Each restore goes into a file system that
// was just made, if this is Linux and we are root, and else into a folder that stays until the end: what others removed before would count.
//
// What is measured is the process that is started, with those that it waited for: time, processor time and peak memory come from the kernel's
// account at its end, bytes from the same account (those that went through system calls, and those that went to a device). Peak memory can't be
// told below what this program itself takes, since the kernel counts a process before it becomes another program: see [Usage.MemoryFloor].
// The references are measured in the same way: find, cp and tar on the folder itself, and a pipe that only reads, hashes and compresses ([Pipe]).
//
// A [Report] holds every single measurement. Medians and spreads are made when it is shown: [Report.WriteTable] for terminals, package page for
// browsers.
//
// A workload that the user names as a folder is copied first: nothing outside of [Options.Dir] is ever changed.
//
// Concurrency: the pipe reads with one goroutine per processor; nothing else here starts any, except what waits for a mount's program.
package bench
