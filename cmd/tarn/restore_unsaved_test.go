package main

import (
	"testing"

	"github.com/tarn-backup/tarn/snapshot"
)

func TestUnsaved(t *testing.T) {
	problems := []snapshot.Problem{{Kind: snapshot.Unreadable, Path: "/a/closed"}, {Kind: snapshot.Unreadable, Path: "/a/b/file"},
		{Kind: snapshot.Unreadable, Path: "/..x"}, {Kind: snapshot.ProblemTorn, Path: "/a/torn"}}
	for _, c := range []struct {
		top, below string
		want       bool
	}{
		{"", "a/closed", true}, {"", "a/closed/new/x", true}, {"/a/", "closed/new", true}, {"/a", "closed2", false}, {"/a", "b/file", true},
		{"/a/b", "file", true}, {"/a/b", "other", false}, {"/a/closed", "new", true}, {"/a/closed/below", "new", true}, {"", "..x", true}, {"", "a", false},
		{"/a", "torn", false}, {"/b", "closed", false}, {"/a/b", "b/file", false},
	} {
		keep, err := unsaved(saved{Record: &snapshot.Record{Problems: problems}}, c.top)
		if err != nil {
			t.Fatal(err)
		}
		if got := keep(c.below); got != c.want {
			t.Errorf("%q of %q: %v, want %v", c.below, c.top, got, c.want)
		}
	}
	if _, err := unsaved(saved{Record: &snapshot.Record{Partial: true}}, ""); err == nil {
		t.Error("what a backup did not come to can be deleted")
	}
}
