// Package filter decides which paths a list of patterns names, by the rules of gitignore(5).
//
// The patterns of a list are asked in order, and the last one that matches decides:
//
//	*.o          a pattern without a slash matches the name of an entry, wherever it is
//	/tmp/*.o     one with a slash matches the whole path, from the root on; "tmp/*.o" is the same
//	cache/       a slash at the end: folders only; it does not count as a slash otherwise
//	**/a/b       two stars stand for any number of folders; so this is a/b anywhere
//	/a/**        everything in /a, but not /a itself
//	!keep.o      a pattern that begins with "!" takes back what those before it named
//	? [a-z] [!a] one character, one of some, one of all others; never a slash
//	\* \! \[     a backslash takes the special meaning of the next character away
//
// Whoever walks a tree passes over all that is below a folder which is named, so that nothing below can be taken back; git does the same.
// Braces mean nothing, as in git. A pattern that can't be read is an error, where git takes it for one that never matches.
//
// Paths are bytes. A name that is not UTF-8 is matched byte by byte where it is not, so that a pattern with the byte 0xff matches 0xff and
// nothing else. Patterns that ignore case compare runes by their simple folding.
//
// # Speed
//
// [Parse] sorts the patterns by what they need: names, suffixes like *.o, and whole paths are found in maps, however many there are. Only patterns
// with other wildcards are tried one by one, by doublestar, and only where their literal beginning and end fit. A [Rules] is not changed any
// more, and may be used by many goroutines.
package filter
