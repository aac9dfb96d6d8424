package main

import (
	"errors"
	"testing"

	"github.com/tarn-backup/tarn/backup"
	"github.com/tarn-backup/tarn/snapshot"
)

// TestHealth is what is said of a snapshot, and whether the backup that made it was good.
func TestHealth(t *testing.T) {
	problem := func(k snapshot.ProblemKind) []snapshot.Problem { return []snapshot.Problem{{Kind: k, Path: "/a"}} }
	held, live := []snapshot.Mount{{Method: "btrfs"}}, []snapshot.Mount{{Method: "live"}}
	for _, c := range []struct {
		want string
		good bool
		rec  snapshot.Record
	}{
		{"whole", true, snapshot.Record{Settled: true, Mounts: live}},
		{"exact", true, snapshot.Record{Settled: true, Mounts: held}},
		{"whole, unsettled", true, snapshot.Record{Mounts: live}},
		{"partial", true, snapshot.Record{Partial: true}},
		{"1 unreadable, unsettled", false, snapshot.Record{Problems: problem(snapshot.Unreadable)}},
		{"1 lacking metadata", false, snapshot.Record{Settled: true, Mounts: held, Problems: problem(snapshot.ProblemAttr)}},
		{"1 torn", false, snapshot.Record{Settled: true, Capture: snapshot.Capture{Torn: 1}, Problems: problem(snapshot.ProblemTorn)}},
		{"1 torn ok", true, snapshot.Record{Settled: true, Capture: snapshot.Capture{Torn: 1}, Problems: problem(snapshot.ProblemTornOK)}},
		{"1 carried", false, snapshot.Record{Settled: true, Capture: snapshot.Capture{Carried: 1}, Problems: problem(snapshot.ProblemCarry)}},
		{"1 cluster torn", false, snapshot.Record{Settled: true, Problems: problem(snapshot.ProblemCluster)}},
	} {
		if got := healthText(&c.rec); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
		err := quietApp().backupDone(saved{Record: &c.rec}, new(backup.Progress))
		if good := err == nil; good != c.good || !good && !errors.Is(err, errTold(exitNotWhole)) {
			t.Errorf("%s: %v", c.want, err)
		}
	}
}
