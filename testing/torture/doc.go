// Package torture makes a folder that has every kind of entry and metadata that Linux knows, for tests of what must
// carry all of it: backup and restore, mounts, copies.
//
// [Make] builds the folder and says which cases it had to leave out, because the file system or the caller's rights do not allow them; as
// root on ext4, XFS or Btrfs few are left. [Describe] turns a folder into lines of text, one per entry, with everything
// that a restore must bring back; two folders are equal if their lines are. [Remove] removes such a folder, immutable files and all.
//
// Describe reads with its own system calls and shares no code with tarn's. For a judgement by programs that tarn's authors did not
// write there is compare.sh, beside this file: it compares two folders with rsync, getfattr, lsattr, find and sha256sum.
package torture
