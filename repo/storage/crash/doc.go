// Package crash is a store that knows what a power cut would leave of it.
//
// It is a model, in memory, of what the adapter dir does to a file system: a Put writes a temporary, syncs it, gives it
// the object's name and syncs the folder; a Remove takes the name away and syncs the folder. The model remembers for each
// name which states it went through since its folder was synced, and for each file whether its bytes were.
// [Store.CrashClone] returns a second store that is as the first one would come up after a cut at this moment: with
// nothing, all, or a seeded part of what was not durable. The first one goes on unharmed, so a test makes many clones of
// one run.
//
// A hook in [Options] is called after each [Step] of each Put and Remove. There a test cuts, opens the clone as a
// repository, and checks that every snapshot is absent or whole:
//
//	var s *crash.Store
//	s = crash.New(crash.Options{Step: func(crash.Step) {
//		check(s.CrashClone(rand.New(rand.NewPCG(seed, 0)), crash.KeepSome))
//	}})
//	backup(s)
//
// Since a Put is durable when it returns, a cut can only take or tear what is under way. What it tears are temporaries,
// which come up as leftovers. To see a test fail, [Options] can forget one of the syncs, as adapters did that lost data:
// then names are lost after Put returned, and objects are torn under their own names.
//
// The model does not know folders that are lost with all that is in them. That dir syncs their parents is proven in dir.
package crash
