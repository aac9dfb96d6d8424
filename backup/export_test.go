package backup

import (
	"time"

	"github.com/tarn-backup/tarn/source"
)

// Sees says whether a folder of which st was known is what is at a path now. It was young when it had been changed just before.
func Sees(st *source.Stat, young bool, path string) bool {
	var l look
	l.set(st, time.Now())
	l.young = young
	return l.sees(source.Born(path))
}
