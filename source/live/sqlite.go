package live

import "bytes"

// sqliteHead is what a database file begins with, zero byte included. An encrypted one begins with a random salt instead,
// and is a file like any other.
const sqliteHead = "SQLite format 3\x00"

// IsSQLite reports whether a file that begins with head (16 bytes or more) is a SQLite database.
func IsSQLite(head []byte) bool { return bytes.HasPrefix(head, []byte(sqliteHead)) }
