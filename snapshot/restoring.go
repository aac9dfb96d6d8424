package snapshot

import (
	"crypto/rand"
	"strings"
)

// restoring is what the name of an entry begins with that a restore is making; random characters follow, so many and of these.
const (
	restoring         = ".tarn-restore-"
	restoringLength   = 26
	restoringAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

// RestoringName is a name for an entry while a restore makes it, before it takes the place of another one. No two are equal. A restore that is
// killed leaves it behind.
func RestoringName() string { return restoring + rand.Text() }

// IsRestoring reports whether a name is such a one. Backups leave these entries out: they are no more whole than anything that is half written.
func IsRestoring(name string) bool {
	text, ok := strings.CutPrefix(name, restoring)
	return ok && len(text) == restoringLength && strings.Trim(text, restoringAlphabet) == ""
}
