package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/seal"
)

// storedLine is one part of what a repository takes in storage.
type storedLine struct {
	Type   string `json:"type"`
	What   string `json:"what"`
	Number int    `json:"number"`                // of segments, packs or objects
	Plain  uint64 `json:"plain_bytes,omitempty"` // before compression
	Stored uint64 `json:"stored_bytes"`
}

// rawStats says where each stored byte goes: all parts together are all that is stored.
func (a *app) rawStats(ctx context.Context, r *repo.Repo) error {
	view, err := r.TakeView(ctx)
	if err != nil {
		return err
	}
	for _, err := range view.Warnings {
		a.warnf("%v", err)
	}
	lines := packLines(view)
	objects, err := objectLines(ctx, r, view)
	if err != nil {
		return err
	}
	var total uint64
	t := table{head: []string{"What", "Number", "Plain", "Stored"}, right: map[int]bool{1: true, 2: true, 3: true}}
	for _, l := range append(lines, objects...) {
		if l.Number == 0 {
			continue
		}
		if l.Type = "stored"; a.json {
			a.emit(l)
		}
		plain := ""
		if l.Plain > 0 {
			plain = bytesText(l.Plain)
		}
		t.add(l.What, count(l.Number), plain, bytesText(l.Stored))
		total += l.Stored
	}
	if !a.json {
		t.add("all", "", "", bytesText(total))
		t.print(&a.stdout)
	}
	return nil
}

// packLines takes the packs apart that are in no trash, by what the index says of them.
func packLines(view *repo.View) []storedLine {
	data, trees, scans := storedLine{What: "segments of data"}, storedLine{What: "segments of trees"}, storedLine{What: "segments of scan records"}
	directories, padding := storedLine{What: "directories of packs"}, storedLine{What: "padding, headers and tags"}
	for info, rows := range view.Index.Blobs() {
		size, there := view.Packs[info.Name]
		if !there {
			continue
		}
		directory := uint64(index.DirectorySizeMost(info.Segments(), 0))
		kinds := make([]blob.Kind, info.Segments())
		for i := range rows {
			e := &rows[i]
			directory += uint64(e.Size())
			if k := &kinds[e.Segment]; *k == 0 || *k == blob.Scan { // one that has both is called after the trees
				*k = e.Kind
			}
		}
		rest := uint64(size) - directory
		for n, kind := range kinds {
			s, _ := info.Segment(uint16(n))
			l := &data
			switch kind {
			case blob.Tree:
				l = &trees
			case blob.Scan:
				l = &scans
			}
			stored := uint64(s.Stored) - seal.TagSize
			l.Number, l.Plain, l.Stored = l.Number+1, l.Plain+uint64(s.Plain), l.Stored+stored
			rest -= stored
		}
		directories.Number, directories.Stored = directories.Number+1, directories.Stored+directory
		padding.Number, padding.Stored = padding.Number+1, padding.Stored+rest
	}
	return []storedLine{data, trees, scans, directories, padding}
}

// objectLines lists everything but the packs that packLines took apart.
func objectLines(ctx context.Context, r *repo.Repo, view *repo.View) ([]storedLine, error) {
	known := map[string]bool{}
	for name := range view.Packs {
		if _, ok := view.Index.Pack(name); ok {
			known[repo.PackObject(name)] = true
		}
	}
	folders := map[string]*storedLine{}
	err := r.Storage().List(ctx, "", func(name string, size int64) error {
		if known[name] {
			return nil
		}
		folder, _, _ := strings.Cut(name, "/")
		l := folders[folder]
		if l == nil {
			l = &storedLine{What: folder + "/"}
			if folder == "data" {
				l.What = "packs in the trash, and unknown ones"
			}
			folders[folder] = l
		}
		l.Number, l.Stored = l.Number+1, l.Stored+uint64(size)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the repository: %w", err)
	}
	var lines []storedLine
	for _, l := range folders {
		lines = append(lines, *l)
	}
	slices.SortFunc(lines, func(a, b storedLine) int { return strings.Compare(a.What, b.What) })
	return lines, nil
}
