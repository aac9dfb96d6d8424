// Package faulty stands between tarn and a store, and lets operations fail.
//
// A [Fault] says which operations fail, with which error, and what becomes of the object all the same: [Nothing], the
// [Torn] half that a store without atomic puts leaves behind, or all of it, [Done], as when the answer is lost on the
// way. A fault without an error is a store that lies: it says yes, and does something else. Tests let the nth operation
// fail for each n, until a run ends before its nth operation:
//
//	for n := 1; ; n++ {
//		s := faulty.Wrap(store, faulty.Options{Faults: []faulty.Fault{{Nth: n, Err: syscall.EIO}}})
//		err := backup(s)
//		if s.Count(faulty.Any) < n {
//			break
//		}
//		// err must not be nil, and store must be sound
//	}
//
// A [Store] also counts the operations and keeps a log of them. [Shape] makes it short enough for a golden file: that
// packs are put before the index and the snapshot last is a test of three lines. The hooks of [Options] let a simulation
// decide which of many clients goes on, or cut off one that has gone far enough.
//
// Operations are counted when they begin. A Get is one operation, and so is a List, however much of them is read.
package faulty
