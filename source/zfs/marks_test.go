//go:build linux

package zfs_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tarn-backup/tarn/source/zfs"
)

func TestParseMarks(t *testing.T) {
	got, err := zfs.ParseMarks("p/d@s\ttarn:owner\to\np/d@s\ttarn:origin\t1\np/d x@s\ttarn:origin\t2\n")
	want := map[string][2]string{"p/d@s": {"o", "1"}, "p/d x@s": {"", "2"}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(d, err)
	}
	for _, bad := range []string{"\n", "p/d@s\n", "p/d\ttarn:owner\to\n", "p/d@s\ttarn:owner\to\tlocal\n"} {
		if got, err := zfs.ParseMarks(bad); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}

func FuzzParseMarks(f *testing.F) {
	f.Add("p/d@s\ttarn:owner\to\n")
	f.Fuzz(func(t *testing.T, out string) {
		marks, err := zfs.ParseMarks(out)
		if err == nil && out == "" && len(marks) > 0 {
			t.Errorf("%v from nothing", marks)
		}
	})
}
