package zfs

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tarn-backup/tarn/source/fssnap"
)

// The user properties of a snapshot.
const (
	ownerProperty  = "tarn:owner"
	originProperty = "tarn:origin"
)

// marked is a snapshot that has properties of tarn's.
type marked struct {
	owner, origin string // values that were set on the snapshot itself
}

// parseMarks reads what `zfs get -H -o name,property,value` prints: for each snapshot, by its full name, the properties.
func parseMarks(out string) (map[string]marked, error) {
	found := make(map[string]marked)
	for line := range strings.Lines(out) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 3 || !strings.Contains(fields[0], "@") {
			return nil, fmt.Errorf("read the answer of zfs: line %q", line)
		}
		m := found[fields[0]]
		switch fields[1] {
		case ownerProperty:
			m.owner = fields[2]
		case originProperty:
			m.origin = fields[2]
		}
		found[fields[0]] = m
	}
	return found, nil
}

// marksOf lists the snapshots, or the one snapshot named, with properties of tarn's that were set on themselves.
func marksOf(ctx context.Context, snapshots ...string) (map[string]marked, error) {
	args := append([]string{"get", "-H", "-p", "-t", "snapshot", "-s", "local", "-o", "name,property,value",
		ownerProperty + "," + originProperty}, snapshots...)
	out, err := fssnap.Query(ctx, "zfs", args...)
	if err != nil {
		return nil, err
	}
	return parseMarks(string(out))
}

// guid returns the number that names a dataset, or a snapshot, on every machine.
func guid(ctx context.Context, name string) (string, error) {
	out, err := fssnap.Query(ctx, "zfs", "get", "-H", "-p", "-o", "value", "guid", name)
	if err != nil {
		return "", err
	}
	g := strings.TrimSpace(string(out))
	if g == "" || strings.Trim(g, "0123456789") != "" {
		return "", fmt.Errorf("%s has the guid %q", name, g)
	}
	return g, nil
}

// exists reports whether a snapshot is there.
func exists(ctx context.Context, snapshot string) (bool, error) {
	dataset, _, _ := strings.Cut(snapshot, "@")
	out, err := fssnap.Query(ctx, "zfs", "list", "-H", "-d", "1", "-t", "snapshot", "-o", "name", dataset)
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(out)) {
		if strings.TrimSpace(line) == snapshot {
			return true, nil
		}
	}
	return false, nil
}

// doubt says why a snapshot is not proven to be by tarn; empty if it is.
func doubt(ctx context.Context, snapshot string, m marked) (string, error) {
	dataset, last, _ := strings.Cut(snapshot, "@")
	name, err := fssnap.ParseName(last)
	switch {
	case err != nil:
		return "its name is not one of tarn's", nil
	case m.owner == "" || m.origin == "":
		return "it has no properties of tarn's of its own", nil
	}
	named, err := fssnap.NewName(fssnap.Request{Repository: name.Repository, Session: name.Session}, m.origin)
	if err != nil || named != name {
		return "its name was made for another dataset than its property says", nil
	}
	g, err := guid(ctx, dataset)
	if err != nil {
		return "", err
	}
	if g != m.origin {
		return "it was made on another dataset", nil
	}
	return "", nil
}

// destroy removes the snapshot of that exact name, having proven it to be tarn's. One that isn't there is no error.
func destroy(ctx context.Context, snapshot string) error {
	// A backup that was interrupted must still give back what it holds.
	ctx = context.WithoutCancel(ctx)
	there, err := exists(ctx, snapshot)
	if err != nil || !there {
		return err
	}
	marks, err := marksOf(ctx, snapshot)
	if err != nil {
		return err
	}
	why, err := doubt(ctx, snapshot, marks[snapshot])
	switch {
	case err != nil:
		return err
	case why != "":
		return fmt.Errorf("%w: %s", fssnap.ErrDoubt, why)
	case !strings.Contains(snapshot, "@"): // without it, the command would destroy the dataset
		return errors.New("not a snapshot")
	}
	err = fssnap.Change(ctx, "zfs", "destroy", snapshot)
	return err
}
