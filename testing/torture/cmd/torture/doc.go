// Command torture makes the folder of package torture, with every kind of entry and metadata that Linux knows, and prints what it had to leave out; as root few
// cases are. -describe prints all of a folder that a restore must bring back, one line per entry, so that two folders are equal if their lines are.
// -remove removes such a folder, whose immutable files keep "rm -r" from it.
//
//	torture [-entries n] [-levels n] [-huge] DIR
//	torture -describe DIR
//	torture -remove DIR
//
// With that, a backup is judged by hand so:
//
//	torture /tmp/t; tarn backup /tmp/t; tarn restore latest:/tmp/t --target /tmp/u
//	diff <(torture -describe /tmp/t) <(torture -describe /tmp/u)
package main
