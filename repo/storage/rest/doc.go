// Package rest is a store on a server that speaks restic's REST protocol: restic's rest-server, or rclone serve restic.
//
//	POST <url>/?create=true           makes a repository
//	GET  <url>/<folder>/              lists a folder, as JSON
//	GET, POST, DELETE <url>/config    the config
//	GET, POST, DELETE <url>/<folder>/<name>
//
// A pack data/ab/<hex> is data/<hex> there; the server spreads packs over folders itself, in the same way. What the server has no folder for
// goes into envelopes below locks/, see package locks.
//
// # Append-only servers
//
// They refuse to remove and to replace anything but locks. Backups need no more: sessions are envelopes. Pruning has to be done on the server's machine,
// on its folder.
//
// # What is kept of the contract
//
// rest-server writes a temporary file, compares the hash of the bytes with the name, syncs file and folder, and renames. It answers 403 to a
// Put of what is there, which is then as good as done. Two exceptions: config is neither synced nor written as one, and a list that runs while
// files are removed may fail, for which it is tried again. Of other servers nothing is known, so prune has to be run alone on them.
package rest
