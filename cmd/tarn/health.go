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

// isWhole reports whether a snapshot has every file as it was at one moment. Files that grew at their end while they were read count as
// whole: what is stored is what they held.
func isWhole(r *snapshot.Record) bool {
	return r.Capture.Torn == 0 && r.Capture.Carried == 0 && problemsOf(r, snapshot.Unreadable) == 0
}

// healthText says in a word or two how far a snapshot can be trusted.
func healthText(r *snapshot.Record) string {
	var parts []string
	for _, p := range []struct {
		n    uint64
		word string
	}{{r.Capture.Torn, "torn"}, {r.Capture.Carried, "carried"}, {problemsOf(r, snapshot.Unreadable), "unreadable"}} {
		if p.n > 0 {
			parts = append(parts, count(p.n)+" "+p.word)
		}
	}
	if r.Partial {
		parts = append(parts, "partial")
	}
	if len(parts) == 0 {
		return "whole"
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
	names := [...]string{"unknown", "unreadable", "torn", "carried", "attributes", "appended"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind-%d", k)
}

// methodText is the name of the method with a number in Capture.Methods.
func methodText(i int) string { return snapshot.Method(i).String() }
