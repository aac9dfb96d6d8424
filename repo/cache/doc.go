// Package cache keeps copies of immutable things in a folder of this machine, so that they are not fetched from afar again.
//
// A key is a name of its kind and a hash, such as "index/<hex>" or "meta/<pack>-<segment>", and what stands under it never changes. The bytes
// are sealed, as they are in storage, and nothing is believed: who gets something proves it, and what does not stand the proof is fetched and put again. So a
// cache may be removed, damaged or incomplete at any time, also while it is used, by several processes at once.
//
// The size of a cache is bounded. What was used longest ago goes first; uses are noted to the day. The bound is looked at when a cache is closed, so
// a run may go beyond it by what it adds.
package cache
