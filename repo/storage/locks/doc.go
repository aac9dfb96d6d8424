// Package locks keeps a repository on servers that know nothing but restic's folders.
//
// restic's rest-server takes objects in the folders data, index, keys, snapshots and locks, each under the SHA-256 of its bytes, and
// nothing else. An append-only one lets nobody remove anything but locks. Packs, index objects, snapshots and keys fit as they are. All others
// don't: they have other folders, some have other names, and all but evictions have to be removed.
// So a [Store] puts each of them into an envelope, and that into locks/:
//
//	locks/<SHA-256 of the envelope>
//
//	offset  size  field
//	0       8     "tarnlock"
//	8       4     generation, little-endian
//	12      1     n, length of the name
//	13      n     name, such as sessions/0123456789abcdef0123456789abcdef
//	13+n          the object
//
// What is listed below sessions/ is what the envelopes say: a list of locks/, and the beginning of each envelope that was not seen before.
// They never change, and there are few. What they hold is read only when it is asked for: parity may be long.
//
// An object that is put again with other bytes gets an envelope of the next generation; the older ones are removed then. Of several the
// highest generation counts, and of equals the greatest hash. tarn itself never puts other bytes under a name.
//
// # One repository, two ways to it
//
// The machine with the server may run tarn on the folder itself, to prune it, while clients come over HTTP. It must see their sessions. So
// a Store leaves a mark in locks/, an envelope without a name and always the same; [Marked] finds it, and whoever opens a repository of any other kind wraps it
// then, too.
package locks
