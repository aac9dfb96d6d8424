package main

import (
	"encoding/base64"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/tarn-backup/tarn/snapshot"
)

// The lines that --json prints. docs/json.md describes them: fields are added, and never change their meaning.

type errorLine struct {
	Type    string `json:"type"`
	Code    int    `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

type warningLine struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// rawPath is a name that may be no UTF-8; JSON can't carry that.
type rawPath struct {
	Path string `json:"path"`
	Raw  string `json:"path_base64,omitempty"` // the bytes, if path is not UTF-8
}

func rawPathOf(p string) rawPath {
	if utf8.ValidString(p) {
		return rawPath{Path: p}
	}
	return rawPath{Path: p, Raw: base64.StdEncoding.EncodeToString([]byte(p))}
}

type statusLine struct {
	Type      string  `json:"type"`
	Seconds   float64 `json:"seconds"`
	Files     uint64  `json:"files"`
	Bytes     uint64  `json:"bytes"`
	EndFiles  uint64  `json:"end_files,omitempty"`
	EndBytes  uint64  `json:"end_bytes,omitempty"`
	Remaining float64 `json:"remaining_seconds,omitempty"`
	Problems  uint64  `json:"problems,omitempty"`
	Current   string  `json:"current,omitempty"`
}

type problemLine struct {
	Type string `json:"type"`
	Kind string `json:"kind"`
	rawPath
	Reason string `json:"reason,omitempty"`
}

type snapshotLine struct {
	Type      string    `json:"type"`
	ID        string    `json:"id"`
	Short     string    `json:"short_id"`
	Time      time.Time `json:"time"`
	End       time.Time `json:"end"`
	Host      string    `json:"host"`
	User      string    `json:"user"`
	Paths     []string  `json:"paths"`
	Tags      []string  `json:"tags"`
	Excludes  []string  `json:"excludes,omitempty"`
	Parent    string    `json:"parent,omitempty"`
	Partial   bool      `json:"partial,omitempty"`
	Unsure    bool      `json:"unconfirmed,omitempty"`
	Program   string    `json:"program"`
	Whole     bool      `json:"whole"`           // every file is whole, and none is missing
	Exact     bool      `json:"exact,omitempty"` // and all of it is of one moment
	Unsettled bool      `json:"unsettled,omitempty"`
	statsLine
}

type statsLine struct {
	Files      uint64 `json:"files"`
	Folders    uint64 `json:"folders"`
	Others     uint64 `json:"others"`
	New        uint64 `json:"files_new"`
	Changed    uint64 `json:"files_changed"`
	Unchanged  uint64 `json:"files_unchanged"`
	Vanished   uint64 `json:"vanished"`
	Bytes      uint64 `json:"bytes"`
	Read       uint64 `json:"bytes_read"`
	Added      uint64 `json:"bytes_added"`
	Stored     uint64 `json:"bytes_stored"`
	Blobs      uint64 `json:"blobs_added"`
	DurationMS uint64 `json:"duration_ms"`
	FilesWhole uint64 `json:"files_whole"`
	Appended   uint64 `json:"files_appended"`
	Torn       uint64 `json:"files_torn"`
	TornOK     uint64 `json:"files_torn_ok,omitempty"` // of these
	Carried    uint64 `json:"files_carried"`
	Unreadable uint64 `json:"unreadable"`
	Clusters   uint64 `json:"clusters_torn,omitempty"`
}

func statsLineOf(r *snapshot.Record) statsLine {
	s, c := &r.Stats, &r.Capture
	return statsLine{Files: s.Files, Folders: s.Folders, Others: s.Others, New: s.New, Changed: s.Changed, Unchanged: s.Unchanged,
		Vanished: s.Vanished, Bytes: s.Bytes, Read: s.Read, Added: s.Added, Stored: s.Stored, Blobs: s.Blobs, DurationMS: s.DurationMS,
		FilesWhole: c.Whole, Appended: c.Appended, Torn: c.Torn,
		TornOK: problemsOf(r, snapshot.ProblemTornOK), Carried: c.Carried, Unreadable: problemsOf(r, snapshot.Unreadable),
		Clusters: problemsOf(r, snapshot.ProblemCluster)}
}

func snapshotLineOf(s saved) snapshotLine {
	r := s.Record
	l := snapshotLine{Type: "snapshot", ID: s.Name.String(), Short: s.Name.Short(), Time: r.Time, End: r.End, Host: r.Host, User: r.User,
		Paths: append([]string{}, r.Paths...), Tags: append([]string{}, r.Tags...), Excludes: r.Excludes, Partial: r.Partial, Unsure: s.Unconfirmed, Program: r.Program,
		Whole: isWhole(r), Exact: isExact(r), Unsettled: isUnsettled(r), statsLine: statsLineOf(r)}
	if !r.Parent.IsZero() {
		l.Parent = r.Parent.String()
	}
	return l
}

// jsonTime is a time of any year that a file system has. Those of more than four digits are no RFC 3339, and time.Time makes an error of them.
type jsonTime time.Time

func (t jsonTime) MarshalJSON() ([]byte, error) {
	return []byte(time.Time(t).Format(`"` + time.RFC3339Nano + `"`)), nil
}

// emit prints one line of JSON.
func (a *app) emit(line any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	enc.Encode(line) // an error of the stream comes up again when it is flushed
}
