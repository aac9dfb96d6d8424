// Package limit holds streams to a rate.
//
// A [Limits] has one rate for what is sent and one for what is received. All streams that were made from it share the two, so a store
// with many connections takes no more than one with a single connection. It works on connections and pipes instead of on whole
// objects, since a pack that waits for its turn and is then sent at full speed is what a limit is to prevent.
package limit
