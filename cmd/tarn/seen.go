package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
)

// seenMax bounds how many snapshots a file of those that were seen may name.
const seenMax = 1 << 20

// seenFile is what this machine remembers of a repository: the snapshots that it has seen there. Who can write to the storage can put an
// old state of it back, and all in it is genuine; only somebody who remembers can tell.
//
// It is a text file, a line for each snapshot: its ID and its time.
type seenFile struct {
	path  string
	times map[blob.Name]time.Time
}

// stateFolder is where this program keeps what it must not lose lightly, but can do without.
func stateFolder() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "tarn"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".local", "state", "tarn"), nil
}

// loadSeen reads what is remembered; nothing is no error.
func loadSeen(r *repo.Repo) (*seenFile, error) {
	dir, err := stateFolder()
	if err != nil {
		return nil, err
	}
	s := &seenFile{path: filepath.Join(dir, "seen-"+r.Config().Repo.String()), times: map[blob.Name]time.Time{}}
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() && len(s.times) < seenMax {
		id, text, _ := strings.Cut(lines.Text(), " ")
		name, err := blob.ParseName(id)
		at, timeErr := time.Parse(time.RFC3339Nano, text)
		if err != nil || timeErr != nil {
			continue // a line that was cut off; what it named is told of as new
		}
		s.times[name] = at
	}
	return s, lines.Err()
}

// save writes the file anew, whole or not at all.
func (s *seenFile) save() error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return err
	}
	var text strings.Builder
	for name, at := range s.times {
		fmt.Fprintf(&text, "%s %s\n", name, at.UTC().Format(time.RFC3339Nano))
	}
	f, err := os.CreateTemp(filepath.Dir(s.path), "seen-")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text.String())
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// compareSeen tells of snapshots that this machine has seen and that are gone, once, and remembers those that are there.
func (a *app) compareSeen(r *repo.Repo, names []blob.Name, list []saved) {
	s, err := loadSeen(r)
	if err != nil {
		a.detailf("what was seen of this repository is not known: %v", err)
		return
	}
	there := map[blob.Name]bool{}
	for _, n := range names {
		there[n] = true
	}
	var gone []blob.Name
	var newest, newestThere time.Time
	for n, at := range s.times {
		if at.After(newest) {
			newest = at
		}
		if !there[n] {
			gone = append(gone, n)
		} else if at.After(newestThere) {
			newestThere = at
		}
	}
	if len(gone) > 0 {
		slices.SortFunc(gone, func(x, y blob.Name) int { return s.times[x].Compare(s.times[y]) })
		a.warnGone(s, gone, newest.After(newestThere))
	}
	changed := len(gone) > 0
	for _, n := range gone {
		delete(s.times, n)
	}
	for _, l := range list {
		if _, known := s.times[l.Name]; !known && !l.Record.Partial && !l.Unconfirmed {
			s.times[l.Name], changed = l.Record.Time, true
		}
	}
	if !changed {
		return
	}
	if err := s.save(); err != nil {
		a.detailf("what was seen of this repository is not remembered: %v", err)
	}
}

func (a *app) warnGone(s *seenFile, gone []blob.Name, newestGone bool) {
	var texts []string
	for i, n := range slices.Backward(gone) {
		if len(texts) == 5 {
			texts = append(texts, fmt.Sprintf("and %d more", i+1))
			break
		}
		texts = append(texts, n.Short()+" of "+timeText(s.times[n]))
	}
	text := "snapshots that this machine has seen are gone: " + strings.Join(texts, ", ")
	if newestGone {
		a.warnf("%s. The newest is among them: unless somebody removed it, the repository is an old state that was put back", text)
		return
	}
	a.warnf("%s. Unless somebody removed them with another machine, the repository has lost them", text)
}

// remember notes a snapshot that was made here.
func (a *app) remember(r *repo.Repo, made saved) {
	a.changeSeen(r, func(s *seenFile) { s.times[made.Name] = made.Record.Time })
}

// forgetSeen notes that snapshots were removed here.
func (a *app) forgetSeen(r *repo.Repo, names []blob.Name) {
	a.changeSeen(r, func(s *seenFile) {
		for _, n := range names {
			delete(s.times, n)
		}
	})
}

func (a *app) changeSeen(r *repo.Repo, change func(*seenFile)) {
	s, err := loadSeen(r)
	if err == nil {
		change(s)
		err = s.save()
	}
	if err != nil {
		a.detailf("what was seen of this repository is not remembered: %v", err)
	}
}
