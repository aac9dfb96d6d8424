// Package retry tries again what fails for a while.
//
// There is one policy, for all stores:
//
//   - What trying again can't change is told at once: [storage.IsPermanent] knows.
//   - Everything else is tried again after a pause that doubles, up to half a minute, and is a matter of chance by half, so that many clients
//     that failed together don't come back together.
//   - An operation has a budget of time. As long as a store has never answered, the budget is a few seconds: a name that is mistyped
//     should not take a quarter of an hour. Once it has, and be it that it is busy (503), it is long enough for a server to be started anew.
//   - Each try has a deadline that grows with what it sends, so that a connection that hangs is one that failed.
//   - Whoever looks on is told, but not more often than every ten seconds, and not of what was over in two.
//
// A Get goes on where its reader was cut off. A List goes on behind the name that came last if the store lists in order, and else
// begins anew and leaves out what it has reported. A Put sends the same bytes again, which is safe: see package storage.
//
// The pauses are those of cenkalti/backoff.
package retry
