// Package forget decides which snapshots a policy keeps. It is pure: it reads no repository, asks no clock and removes nothing.
//
// [GroupBy] puts snapshots into groups of equal host, paths or tags, and [Policy.Apply] decides within one group. Rules that count
// (so many daily ones) go from the newest snapshot to the oldest, and keep the newest of each hour, day, week, month or year until they have
// as many as they want. Rules that measure (all within a month) look back from the newest snapshot, not from now: a machine that
// was off for a year does not lose its history on the day it comes back. A snapshot is kept if any rule wants it, and the [Decision] names
// the rules that do.
//
// # What never counts
//
// A snapshot that is dated in the future is kept, and is passed over by all rules. Otherwise one backup made while a clock was wrong would fill the
// place of "the newest", and the honest ones would go. A snapshot that is not finished or not confirmed ([Snapshot.Doubtful]) is no reason to
// remove a good one either; it goes itself once a good one of the same host and paths is younger, and not before.
//
// # The cap
//
// A policy with a typing error removes years. [Cap] bounds how much of a group one run may remove; whoever means it says so.
package forget
