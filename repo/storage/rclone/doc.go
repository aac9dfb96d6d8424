// Package rclone is a store on anything that rclone can reach.
//
// It runs "rclone serve restic --stdio" and speaks HTTP/2 with it over the program's standard streams: no port is opened, and no password is
// needed between the two. rclone takes restic's protocol, and unlike restic's own server any folder: all objects have their own names, as in
// a folder of this machine. A repository that is also reached by sftp or as a folder is the same one. One that rest-server serves, too, is not for
// rclone: who comes by rest-server sees envelopes only, and so none of rclone's sessions.
//
// # What is kept of the contract
//
// What rclone's remote keeps. Of those that are object stores a Put is atomic, as it is of the store itself. Of "local" and of some others, objects may be seen while they
// are written, in versions of rclone before 1.63. Lists and reads may lag behind on stores that are eventually consistent. Prune has to be run
// alone.
//
// When rclone dies the next request starts it again.
package rclone
