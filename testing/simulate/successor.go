package simulate

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/successor"
	"github.com/tarn-backup/tarn/rewrite"
	"github.com/tarn-backup/tarn/snapshot"
)

// tag gives one of the snapshots that are there other tags, as the command does: a successor is put, and the old one goes. It may be one
// that was never confirmed, or that somebody forgets at this moment. One time in three a file is left out, as "tarn rewrite" does.
func (c *client) tag(ctx context.Context, r *repo.Repo) error {
	names, err := r.SnapshotNames(ctx)
	if err != nil || len(names) == 0 {
		return err
	}
	slices.SortFunc(names, func(a, b blob.Name) int { return slices.Compare(a[:], b[:]) })
	return c.tagOne(ctx, r, names[c.rng.IntN(len(names))])
}

func (c *client) tagOne(ctx context.Context, r *repo.Repo, old blob.Name) error {
	files, promised := c.world.oracle.promised[old], c.world.oracle.stands(old)
	without := ""
	if c.rng.IntN(3) == 0 {
		without = fmt.Sprintf("f%d", c.rng.IntN(4))
		files = maps.Clone(files)
		delete(files, without)
	}
	name, err := successor.Put(ctx, r, successor.Options{Old: old,
		Writer: func() repo.WriterOptions { return writerOptions(c.session(repo.PurposeTag)) },
		Record: func(ctx context.Context, w *repo.Writer, rec *snapshot.Record) (err error) {
			s := &saving{client: c, writer: w, lane: w.Lane(), blobs: c.world.oracle.records[old].blobs}
			if without != "" {
				s.blobs = nil
				err = s.leaveOut(ctx, r, &rec.Root, without)
			}
			rec.Tags, rec.Original, rec.Session = append(rec.Tags, "tagged"), old, w.Session()
			c.world.oracle.announce(rec.Encode(), s.blobs)
			return err
		}})
	if err != nil {
		if was := c.world.oracle.records[old]; !c.life.hindered && (!c.world.oracle.there[was.object] || c.world.oracle.there[was.eviction]) {
			return nil // it was forgotten meanwhile, or was never whole
		}
		return err
	}
	c.world.report.Tags++
	if promised {
		c.world.oracle.confirmed(name, &saving{files: files})
	}
	c.world.oracle.forgotten(old)
	_, err = r.ReplaceSnapshot(ctx, old)
	return err
}

// leaveOut takes a file out of a tree, and notes what the tree needs now.
func (s *saving) leaveOut(ctx context.Context, from snapshot.Loader, root *snapshot.Node, name string) error {
	t := rewrite.Tree{From: from, Lists: snapshot.Lists{Saver: s, Cutter: cutter{}, Max: 1 << 20},
		Edit: func(_ context.Context, _ int, path string, n *snapshot.Node) (rewrite.Action, error) {
			if path == name {
				return rewrite.Drop, nil
			}
			if n.Type == snapshot.File {
				s.blobs = append(s.blobs, n.Content.Elements[0].ID)
			}
			return rewrite.Keep, nil
		}}
	return t.Folder(ctx, "", root)
}

func writerOptions(s repo.Session) repo.WriterOptions {
	return repo.WriterOptions{Session: s, Compression: pack.Off, Inline: true, PackSize: packSize}
}
