package main

import (
	"context"
	"strings"

	"github.com/tarn-backup/tarn/snapshot"
)

// methods finds how the files of a folder were held still while they were read. It goes through the scan record of the snapshot along with a
// walk over the folder. What the record does not have, or no longer, is not known.
type methods struct {
	scan *snapshot.ScanReader
	base int             // folders from the root to the one that is walked
	self snapshot.Method // of the path itself
	ok   bool            // the record has the path
}

// methodsAt goes to a path of the snapshot. Close must be called.
func methodsAt(ctx context.Context, l snapshot.Loader, r *snapshot.Record, path string) *methods {
	m := &methods{scan: snapshot.NewScanReader(ctx, l, r.Scan), ok: true}
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name != "" && m.ok {
			var seen snapshot.Seen
			seen, _, m.ok = m.scan.Find(name)
			m.self = seen.Method
		}
	}
	m.base = m.scan.Level()
	return m
}

func (m *methods) close() { m.scan.Close() }

// of returns the method of an entry, by its path below the folder that is walked. Entries must come in walk order, folders included.
func (m *methods) of(path string) (snapshot.Method, bool) {
	if !m.ok {
		return 0, false
	}
	level := m.base + strings.Count(path, "/")
	m.scan.LeaveTo(level)
	if m.scan.Level() != level {
		return 0, false // the record does not have the folder above
	}
	seen, _, ok := m.scan.Find(path[strings.LastIndexByte(path, '/')+1:])
	return seen.Method, ok
}

// entryClass is what the scan record says of an entry.
type entryClass struct {
	method snapshot.Method
	known  bool
}

// text says in a word how far the content of a file can be trusted: how it was held still, or that it was not.
func (c entryClass) text(n *snapshot.Node) string {
	switch {
	case n.State == snapshot.Whole && n.Type != snapshot.File:
		return "-"
	case n.State == snapshot.Whole && c.known && c.method != snapshot.MethodNone:
		return c.method.String()
	}
	return n.State.String()
}
