package check

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"golang.org/x/sync/errgroup"
)

// Folders of a repository. In hashed ones each object is named by the hash of its bytes, in the others by a session.
const (
	configName   = "config"
	keysDir      = "keys/"
	dataDir      = "data/"
	indexDir     = "index/"
	snapshotsDir = "snapshots/"
	sessionsDir  = "sessions/"
	evictionsDir = "evictions/"
	trashDir     = "trash/"
	waitDir      = "wait/"
	looksDir     = "looks/"
	settingsDir  = "settings/"
	parityDir    = "parity/"
)

// objectSizeMax is the longest object in bytes that is no pack.
const objectSizeMax = 64 << 20

// listing is what is in storage.
type listing struct {
	packs     map[blob.Name]int64
	indexes   []blob.Name
	snapshots []blob.Name
	small     []string // all that is none of the above
	foreign   []string
	evicted   map[blob.Session]bool
}

func list(ctx context.Context, s storage.Storage) (*listing, error) {
	l := &listing{packs: map[blob.Name]int64{}, evicted: map[blob.Session]bool{}}
	err := s.List(ctx, "", func(name string, size int64) error {
		l.add(name, size)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the repository: %w", err)
	}
	slices.Sort(l.small)
	slices.Sort(l.foreign)
	return l, nil
}

func (l *listing) add(name string, size int64) {
	folder, hash, ok := classify(name)
	switch {
	case !ok:
		l.foreign = append(l.foreign, name)
	case folder == dataDir:
		l.packs[hash] = size
	case folder == indexDir:
		l.indexes = append(l.indexes, hash)
	case folder == snapshotsDir:
		l.snapshots = append(l.snapshots, hash)
	default:
		l.small = append(l.small, name)
		if folder == evictionsDir {
			session, _ := blob.ParseSession(name[len(evictionsDir):]) // classify has looked at it
			l.evicted[session] = true
		}
	}
}

// classify says in which of a repository's folders an object is, and, if it is named by one, by which hash. ok is false if it is
// none of a repository's objects.
func classify(name string) (folder string, hash blob.Name, ok bool) {
	if name == configName {
		return "", hash, true
	}
	at := strings.IndexByte(name, '/') + 1
	folder, base := name[:at], name[at:]
	switch folder {
	case dataDir:
		shard, rest, _ := strings.Cut(base, "/")
		if len(shard) != 2 || !strings.HasPrefix(rest, shard) {
			return folder, hash, false
		}
		base = rest
	case sessionsDir, evictionsDir:
		_, err := blob.ParseSession(base)
		return folder, hash, err == nil
	case keysDir, indexDir, snapshotsDir, trashDir, waitDir, looksDir, settingsDir, parityDir:
	default:
		return folder, hash, false
	}
	hash, err := blob.ParseName(base)
	return folder, hash, err == nil
}

func packPath(n blob.Name) string { s := n.String(); return dataDir + s[:2] + "/" + s }

// foreignMax is how many foreign objects are named one by one.
const foreignMax = 20

func (c *checker) reportForeign() {
	for i, name := range c.listed.foreign {
		if i == foreignMax {
			c.found(Finding{Severity: Warning, Problem: fmt.Sprintf("%d more objects are none of tarn's", len(c.listed.foreign)-i)})
			return
		}
		c.found(Finding{Severity: Warning, Object: name, Problem: "this is none of tarn's", Effect: "it is left alone"})
	}
}

// object reads an object that is no pack and proves all of its bytes. storage.ErrNotExist is wrapped if it is gone.
func (c *checker) object(ctx context.Context, name string) (body, directory []byte, err error) {
	data, err := storage.ReadAll(ctx, c.store, name, objectSizeMax)
	if err != nil {
		return nil, nil, err
	}
	if _, hash, _ := classify(name); !hash.IsZero() && sha256.Sum256(data) != hash {
		return nil, nil, fmt.Errorf("%w: the hash of its bytes is not its name", seal.ErrCorrupt)
	}
	if body, directory, err = c.repo.OpenObject(name, data); err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.summary.Objects++
	return body, directory, nil
}

// objects proves the small objects.
func (c *checker) objects(ctx context.Context) error {
	keys := 0
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.workers)
	for _, name := range c.listed.small {
		if strings.HasPrefix(name, keysDir) {
			keys++
		}
		if strings.HasPrefix(name, parityDir) && !c.options.ReadData {
			continue // they are as long as packs
		}
		g.Go(func() error {
			c.small(ctx, name)
			return ctx.Err()
		})
	}
	if !slices.Contains(c.listed.small, configName) {
		c.found(Finding{Severity: Error, Object: configName, Problem: "it is missing", Effect: effect("")})
	}
	switch {
	case keys == 0:
		c.found(Finding{Severity: Error, Object: keysDir, Problem: "there is no key", Effect: "nobody can open the repository again"})
	case keys > seal.SlotsReadMax:
		c.found(Finding{Severity: Error, Object: keysDir, Problem: fmt.Sprintf("there are %d keys, the limit is %d", keys, seal.SlotsReadMax),
			Effect: "nobody can open the repository before the foreign ones are removed"})
	case keys > seal.SlotsMax:
		c.found(Finding{Severity: Warning, Object: keysDir, Problem: fmt.Sprintf("there are %d keys, where %d are the most", keys, seal.SlotsMax),
			Effect: "maybe a change of a password was killed half-way: its old one still opens the repository"})
	}
	return g.Wait()
}

// effect says what damage to a small object in a folder means.
func effect(folder string) string {
	switch folder {
	case keysDir:
		return "its password opens nothing any more"
	case sessionsDir:
		return "who is writing here can't be told; a prune waits until it is evicted"
	case evictionsDir:
		return "no snapshot is affected"
	case trashDir:
		return "what was about to be removed is unknown; no snapshot is affected"
	case parityDir:
		return "no snapshot is affected; \"tarn repair packs\" makes the parity again"
	case settingsDir:
		return "how much parity is made falls back to the usual; no snapshot is affected"
	case looksDir:
		return "when some packs were looked at is forgotten, and they are read again; no snapshot is affected"
	case waitDir:
		return "a prune has to begin again; no snapshot is affected"
	}
	return "nobody can open the repository before it is restored from a copy"
}

func (c *checker) small(ctx context.Context, name string) {
	body, _, err := c.object(ctx, name)
	folder, _, _ := classify(name)
	if err == nil && folder == trashDir && len(body)%len(blob.Name{}) != 0 {
		err = fmt.Errorf("%w: it is no list of packs", seal.ErrCorrupt)
	}
	if err == nil || ctx.Err() != nil || errors.Is(err, storage.ErrNotExist) && name != configName {
		return // gone meanwhile: sessions end, trash is emptied
	}
	c.found(Finding{Severity: Error, Object: name, Problem: err.Error(), Effect: effect(folder)})
}
