// Package memory is a store in a map, for tests and simulations.
//
// Objects live as long as the process. A Put is one step under a lock, so it keeps every assumption of [storage.Storage] in the
// plainest way, and is what the other stores are compared with. A List reports the objects of one moment. [Store.Clone] gives a
// second store with the same objects, so that a simulation can go two ways from one state.
package memory
