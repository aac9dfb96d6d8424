package source_test

import (
	"math"
	"testing"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source"
	"golang.org/x/sys/unix"
)

// TestFromUnixCanBeRead: what the system says of an entry, however odd, makes a node that can be read again.
func TestFromUnixCanBeRead(t *testing.T) {
	for _, at := range []unix.Timespec{{}, {Sec: 1}, {Sec: -1, Nsec: 999_999_999}, {Sec: math.MaxInt64, Nsec: 1}, {Sec: math.MinInt64}, {Nsec: 1e9},
		{Nsec: math.MaxUint32}, {Sec: 1, Nsec: -1}} {
		st := source.FromUnix(&unix.Stat_t{Mode: unix.S_IFCHR | 0o7777, Uid: math.MaxUint32, Gid: math.MaxUint32, Rdev: math.MaxUint64, Mtim: at, Atim: at, Ctim: at})
		n := snapshot.Node{Name: "n", Type: st.Type, Mode: st.Mode, UID: st.UID, GID: st.GID, ModTime: st.ModTime, AccessTime: st.AccessTime, Device: st.Special}
		var got snapshot.Node
		if _, err := snapshot.CutNode(string(snapshot.AppendNode(nil, &n)), &got); err != nil {
			t.Errorf("%+v: %v", at, err)
		} else if got.ModTime != st.ModTime || got.AccessTime != st.AccessTime || got.Device != st.Special || got.UID != st.UID {
			t.Errorf("%+v: got %+v", at, got)
		}
		if st.ChangeTime.Nsec > 999_999_999 {
			t.Errorf("%+v: a ctime of %+v makes a scan record that nobody reads", at, st.ChangeTime)
		}
	}
}
