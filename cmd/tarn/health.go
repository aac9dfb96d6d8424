package main

import (
	"fmt"
	"strings"

	"github.com/tarn-backup/tarn/snapshot"
)

// problemsOf counts the problems of one kind.
func problemsOf(r *snapshot.Record, kind snapshot.ProblemKind) (n uint64) {
	for i := range r.Problems {
		if r.Problems[i].Kind == kind {
			n++
		}
	}
	return n
}

// isWhole reports whether a snapshot has every file as it was at one moment, with all its metadata, but for those of which the user said that it does not matter.
// Files that grew at their end while they were read count as whole: what is stored is what they held. The files of a database cluster are one thing,
// which is torn if they are of different moments.
func isWhole(r *snapshot.Record) bool {
	return tornOf(r) == 0 && r.Capture.Carried == 0 && problemsOf(r, snapshot.Unreadable) == 0 && problemsOf(r, snapshot.ProblemCluster) == 0 &&
		problemsOf(r, snapshot.ProblemAttr) == 0
}

// tornOf counts the torn files that matter.
func tornOf(r *snapshot.Record) uint64 {
	return r.Capture.Torn - min(r.Capture.Torn, problemsOf(r, snapshot.ProblemTornOK))
}

// tornOKOf counts what is torn and, as the user said, does not matter.
func tornOKOf(r *snapshot.Record) uint64 {
	return problemsOf(r, snapshot.ProblemTornOK) + problemsOf(r, snapshot.ProblemClusterOK)
}

// isExact reports whether all that a snapshot has, names and contents, is of one moment: all of it was read from one file system snapshot, and
// no file had to be captured by itself.
func isExact(r *snapshot.Record) bool {
	if !isWhole(r) || r.Partial || len(r.Mounts) == 0 || r.Capture.Torn+r.Capture.Appended > 0 {
		return false
	}
	for _, m := range r.Mounts {
		if m.Method == "live" || m.Reason != r.Mounts[0].Reason { // the reason names what was held
			return false
		}
	}
	for i, n := range r.Capture.Methods {
		if m := snapshot.Method(i); n > 0 && m != snapshot.MethodSnapshot && m != snapshot.MethodNone {
			return false
		}
	}
	return true
}

// isUnsettled reports whether folders were still changing when they were looked at for the last time, or could not be looked at again: what was moved from one
// to another meanwhile may be missing, or be there twice. All that is there may be whole all the same.
func isUnsettled(r *snapshot.Record) bool { return !r.Settled && !r.Partial && !isExact(r) }

// healthText says in a word or two how far a snapshot can be trusted.
func healthText(r *snapshot.Record) string {
	var parts []string
	for _, p := range []struct {
		n    uint64
		word string
	}{{tornOf(r), "torn"}, {r.Capture.Carried, "carried"}, {problemsOf(r, snapshot.Unreadable), "unreadable"},
		{problemsOf(r, snapshot.ProblemCluster), "cluster torn"}, {problemsOf(r, snapshot.ProblemAttr), "lacking metadata"}} {
		if p.n > 0 {
			parts = append(parts, count(p.n)+" "+p.word)
		}
	}
	if n := tornOKOf(r); n > 0 {
		parts = append(parts, count(n)+" torn ok")
	}
	if r.Partial {
		parts = append(parts, "partial")
	}
	switch {
	case isExact(r):
		return "exact"
	case len(parts) == 0:
		parts = append(parts, "whole")
	}
	if isUnsettled(r) {
		parts = append(parts, "unsettled")
	}
	return strings.Join(parts, ", ")
}

// stateText says how far a snapshot can be trusted, and whether it was confirmed at all.
func stateText(s saved) string {
	if s.Unconfirmed {
		return "unconfirmed, " + healthText(s.Record)
	}
	return healthText(s.Record)
}

// problemKindText is a word for programs.
func problemKindText(k snapshot.ProblemKind) string {
	names := [...]string{"unknown", "unreadable", "torn", "carried", "attributes", "appended", "torn-ok", "cluster", "cluster-ok"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind-%d", k)
}

// methodText is the name of the method with a number in Capture.Methods.
func methodText(i int) string { return snapshot.Method(i).String() }
