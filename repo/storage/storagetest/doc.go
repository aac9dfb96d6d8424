// Package storagetest is what every adapter of [storage.Storage] has to pass.
//
// [Run] runs each check as a subtest of its own, on a store of its own:
//
//	func TestStorage(t *testing.T) {
//		storagetest.Run(t, func(t *testing.T) storage.Storage { return memory.New() })
//	}
//
// The checks whose names begin with a number are the assumptions of tarn's protocol, in the order in which they stand at
// the interface; the others are the contract of its methods. A check returns an error instead of failing a test, so that
// the tests of this package can run it against stores that are broken on purpose and see that it notices.
//
// That a Put is durable can't be seen from inside a running machine. The adapter dir proves it over a disk of its own making, and
// package crash is the model of it for what lies above.
package storagetest
