// Package successor stores a snapshot that is made from another one and is to take its place: with other tags, or without some files.
//
// # What could go wrong
//
// A successor refers to blobs that its writer knows from the old snapshot, and has not looked up. If the old one is forgotten at that moment,
// a prune whose trash is older than the writer's session waits for neither, and takes what the successor needs. And an old snapshot
// that was never confirmed may lack something; its successor would be confirmed, and lack it too.
//
// # What is done
//
// The writer looks up each reference, as every writer does (step W3 of docs/adr/0004-no-locks.md): it goes through all folders, and stores
// again what its view does not have. That takes long where there are many, and can nearly always be left out. A snapshot that is there before the
// view and after it, and whose session nobody has evicted since, was whole all that time; if there was no trash either, then all
// that it needs is in the view. [LookUp] is that look alone, for the record of a stream, which can't be read again when its session was evicted.
package successor
