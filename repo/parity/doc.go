// Package parity makes packs whole again that were damaged or lost, from others and a little more.
//
// Packs stand in groups. A group of up to n packs has k shards of Reed-Solomon parity, each an object of its own under parity/: of the n + k
// objects any k may be lost or damaged, and the packs can be had again. A shard also has the names and sizes of the packs and a short sum of each 64
// KiB block of them, so that damage is found where it is: it is enough that no more than k objects are damaged at the same place.
//
// An [Encoder] takes packs one after the other as they are stored, keeps k shards in memory and none of the packs, and gives the
// objects when a group is full. [Load] reads which groups there are; [Set.Rebuild] gives the bytes of a pack; [Set.Cover] sees to it that every
// pack that should be is in a sound group: after damage, after a change of policy, and before a prune takes members away.
//
// # Invariants
//
// What Rebuild returns has the hash that is the pack's name. Parity is only made of bytes that have it, too. Parity objects are never needed to
// read anything: losing all of them loses no data.
//
// # What it does not do
//
// It protects packs, not index objects (which can be made again), snapshots, keys or the config. It does not know which packs are needed.
// A group survives what its k says and no more: whoever loses the whole disk needs a copy elsewhere.
package parity
