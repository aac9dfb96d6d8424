// Package sftp is a store in a folder of another machine, reached over SSH.
//
// It runs the system's ssh, so that its configuration, agent, jump hosts and hardware keys work as they do by hand, and speaks SFTP over it with
// pkg/sftp. ssh is told to ask nothing: where it would, the error says so. All requests of a store share one connection, and do
// not wait for each other's answers.
//
// The folder is laid out as package dir does it, and may be used by both.
//
// # How Put keeps its word
//
// As package dir does, as far as the server can: a temporary file in tmp/, fsync@openssh.com, its size, and a rename; then the folder is synced
// in the same way, which OpenSSH's server allows, as it opens folders like files. SFTP's plain rename replaces nothing with OpenSSH; if it fails
// since the object is there, and has other bytes, posix-rename@openssh.com replaces it.
//
// Servers that lack fsync@openssh.com or posix-rename@openssh.com keep less: what is durable is up to them, and an object that is
// replaced is missing for a moment. tarn itself replaces nothing. [Store.Missing] names what a server lacks.
//
// # A connection that is lost
//
// ssh notices after half a minute at most, see ServerAliveInterval. Every operation under way fails then, and the next one connects again. A rename
// may still be on its way: before the next Put, the temporary file is removed, so that the rename finds nothing if it comes late.
//
// A context that ends is looked at between requests, since what was sent can't be called back. If no answer comes for ten seconds after that, the
// connection is cut.
package sftp
