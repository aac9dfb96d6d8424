package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/chunker"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/snapshot"
)

func newCat(a *app) *cobra.Command {
	var c criteria
	cmd := &cobra.Command{
		Use: "cat config | snapshot ID | tree ID[:PATH] | blob ID | index | pack NAME", Short: "Print what the repository holds, for the curious",
		Long: `Print an object of the repository in a readable form. The first line of a tree is its ID: folders with the same entries, metadata
included, have the same one. A blob is printed as it is.`,
		Example: "  tarn cat config\n  tarn cat snapshot latest\n  tarn cat tree latest:/home/me\n  tarn cat pack 1a2b3c",
		Args:    argsBetween(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			what, arg := args[0], ""
			if len(args) > 1 {
				arg = args[1]
			}
			return a.cat(cmd.Context(), what, arg, c)
		},
	}
	c.flags(cmd.Flags())
	return cmd
}

func (a *app) cat(ctx context.Context, what, arg string, c criteria) error {
	needs := map[string]bool{"config": false, "index": false, "snapshot": true, "tree": true, "blob": true, "pack": true}
	need, known := needs[what]
	switch {
	case !known:
		return fmt.Errorf("cat %q: want config, snapshot, tree, blob, index or pack", what)
	case need && arg == "":
		return fmt.Errorf("cat %s: which one?", what)
	case !need && arg != "":
		return fmt.Errorf("cat %s: %q is too much", what, arg)
	}
	r, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	switch what {
	case "config":
		return a.print(configOf(r.Config()))
	case "snapshot":
		s, _, err := a.selectSnapshot(ctx, r.Repo, arg, c)
		if err != nil {
			return err
		}
		return a.print(recordOf(r.Repo, s))
	case "tree":
		return a.catTree(ctx, r.Repo, arg, c)
	case "blob":
		return a.catBlob(ctx, r.Repo, arg)
	case "index":
		return a.catIndex(ctx, r.Repo)
	}
	return a.catPack(ctx, r.Repo, arg)
}

// print prints a value as JSON: on one line for programs, indented for people.
func (a *app) print(v any) error {
	if a.json {
		a.emit(v)
		return nil
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	a.outf("%s\n", text)
	return nil
}

type configLine struct {
	Type      string         `json:"type"`
	ID        string         `json:"id"`
	Created   time.Time      `json:"created"`
	Program   string         `json:"program"`
	Chunker   string         `json:"chunker"`
	Data      chunker.Params `json:"data_chunks"`
	Meta      chunker.Params `json:"metadata_chunks"`
	NeedRead  uint64         `json:"features_read"`
	NeedWrite uint64         `json:"features_write"`
	Optional  uint64         `json:"features_optional"`
}

func configOf(c repo.Config) configLine {
	return configLine{"config", c.Repo.String(), c.Created, c.Program, c.Chunker.String(), c.Data, c.Meta, c.NeedRead, c.NeedWrite, c.Optional}
}

type recordLine struct {
	snapshotLine
	Session  string            `json:"session"`
	Tree     string            `json:"tree"`
	Methods  map[string]uint64 `json:"methods"`
	Mounts   []mountLine       `json:"mounts,omitempty"`
	Problems []problemLine     `json:"problems,omitempty"`
}

type mountLine struct {
	Point  string `json:"point"`
	FSType string `json:"fs_type"`
	Method string `json:"method"`
	Reason string `json:"reason,omitempty"`
}

func recordOf(r *repo.Repo, s saved) recordLine {
	l := recordLine{snapshotLine: snapshotLineOf(s), Session: s.Record.Session.String(), Tree: treeID(r, s.Record.Root.Content).String(),
		Methods: map[string]uint64{}}
	for i, n := range s.Record.Capture.Methods {
		if n > 0 {
			l.Methods[methodText(i)] = n
		}
	}
	for _, m := range s.Record.Mounts {
		l.Mounts = append(l.Mounts, mountLine(m))
	}
	for _, p := range s.Record.Problems {
		l.Problems = append(l.Problems, problemLine{"problem", problemKindText(p.Kind), rawPathOf(p.Path), p.Reason})
	}
	return l
}

// treeID names what a folder holds: the ID of its blob, or if there are several, of the list of them.
func treeID(r *repo.Repo, c snapshot.Content) blob.ID {
	if c.Depth == 0 && len(c.Elements) == 1 {
		return c.Elements[0].ID
	}
	list := []byte{c.Depth}
	for _, e := range c.Elements {
		list = append(list, e.ID[:]...)
		list = binary.LittleEndian.AppendUint64(list, e.Length)
	}
	return r.ID(blob.Tree, list)
}

func (a *app) catTree(ctx context.Context, r *repo.Repo, selector string, c criteria) error {
	s, path, err := a.selectSnapshot(ctx, r, selector, c)
	if err != nil {
		return err
	}
	n, err := snapshot.Lookup(ctx, r, s.Record.Root, path)
	if err != nil {
		return err
	}
	if n.Type != snapshot.Dir {
		return fmt.Errorf("%s is no folder but a %v", path, n.Type)
	}
	id := treeID(r, n.Content)
	if a.json {
		a.emit(struct {
			Type string `json:"type"`
			ID   string `json:"id"`
		}{"tree", id.String()})
	} else {
		a.outf("%s\n", id)
	}
	for e, err := range snapshot.Entries(ctx, r, n.Content) {
		if err != nil {
			return err
		}
		a.printEntry(e.Name, &e, entryClass{}, &lsFlags{long: true})
	}
	return nil
}

// catBlob prints a blob, whatever its kind is.
func (a *app) catBlob(ctx context.Context, r *repo.Repo, arg string) error {
	if p, err := index.ParsePrefix(arg); err == nil {
		return a.catHalf(ctx, r, p)
	}
	id, err := blob.ParseID(arg)
	if err != nil {
		return fmt.Errorf("blob %q: want 32 or 64 hex digits", arg)
	}
	var last error
	for _, kind := range []blob.Kind{blob.Data, blob.Tree, blob.Scan} {
		data, err := r.Load(ctx, kind, id)
		if err == nil {
			_, err = a.stdout.Write(data)
			return err
		}
		if last = err; errors.Is(err, repo.ErrNoBlob) || ctx.Err() != nil {
			break
		}
	}
	return last
}

// catHalf prints the blob whose ID begins so: that much of it packs tell.
func (a *app) catHalf(ctx context.Context, r *repo.Repo, p index.Prefix) error {
	x, err := r.Index(ctx)
	if err != nil {
		return err
	}
	e, ok := x.Lookup(p.ID())
	info, known := x.Pack(e.Pack)
	if !ok || !known {
		return fmt.Errorf("blob %s: %w", p, repo.ErrNoBlob)
	}
	plain, err := r.Segment(ctx, info, e.Segment)
	if err != nil {
		return err
	}
	if uint64(e.Offset)+uint64(e.Length) <= uint64(len(plain)) {
		data := plain[e.Offset:][:e.Length]
		for _, kind := range []blob.Kind{blob.Data, blob.Tree, blob.Scan} {
			if index.PrefixOf(r.ID(kind, data)) == p {
				_, err = a.stdout.Write(data)
				return err
			}
		}
	}
	return fmt.Errorf("blob %s is not where the index says: run tarn check --read-data", p)
}

type packLine struct {
	Type     string `json:"type"`
	ID       string `json:"id"`
	Size     uint32 `json:"size"`
	Session  string `json:"session"`
	Segments int    `json:"segments"`
	Blobs    int    `json:"blobs"`
}

// catIndex lists the packs of the index.
func (a *app) catIndex(ctx context.Context, r *repo.Repo) error {
	x, err := r.Index(ctx)
	if err != nil {
		return err
	}
	t := table{head: []string{"Pack", "Size", "Segments", "Blobs", "Session"}, right: map[int]bool{1: true, 2: true, 3: true}}
	for p := range x.Packs() {
		if a.json {
			a.emit(packLine{"pack", p.Name.String(), p.Size, p.Session.String(), p.Segments(), p.Blobs})
			continue
		}
		t.add(p.Name.String(), count(uint64(p.Size)), count(p.Segments()), count(p.Blobs), p.Session.String()[:8])
	}
	if !a.json {
		t.print(&a.stdout)
	}
	return nil
}

type blobLine struct {
	Type    string `json:"type"`
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Segment uint16 `json:"segment"`
	Offset  uint32 `json:"offset"`
	Length  uint32 `json:"length"`
}

// catPack lists the blobs of a pack, as its own directory has them.
func (a *app) catPack(ctx context.Context, r *repo.Repo, prefix string) error {
	view, err := r.Refresh(ctx)
	if err != nil {
		return err
	}
	var names []blob.Name
	for n := range view.Packs {
		names = append(names, n)
	}
	found := byPrefix(names, prefix)
	switch {
	case len(found) == 0:
		return withHint(fmt.Errorf("pack %q: there is none of that name", prefix), "\"tarn cat index\" lists them")
	case len(found) > 1:
		return fmt.Errorf("pack %q: %s begin so: %s", prefix, count(len(found)), shortest(found))
	}
	p, err := r.ReadPackDirectory(ctx, found[0], view.Packs[found[0]])
	if err != nil {
		return err
	}
	if a.json {
		a.emit(packLine{"pack", p.Name.String(), p.Size, p.Session.String(), len(p.Segments), len(p.Blobs)})
	} else {
		a.outf("%s\n", p.Name)
	}
	t := table{head: []string{"Blob", "Kind", "Segment", "Offset", "Length"}, right: map[int]bool{2: true, 3: true, 4: true}}
	for _, b := range p.Blobs {
		if a.json {
			a.emit(blobLine{"blob", b.Prefix.String(), b.Kind.String(), b.Segment, b.Offset, b.Length})
			continue
		}
		t.add(b.Prefix.String(), b.Kind.String(), count(int(b.Segment)), count(int(b.Offset)), count(int(b.Length)))
	}
	if !a.json {
		t.print(&a.stdout)
	}
	return nil
}
