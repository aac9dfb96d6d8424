package backup

import (
	"context"
	"strings"

	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source"
)

// Survey counts the regular files that a backup with these options would hold now, and their bytes, so that progress has something to be
// measured against where there is no parent. It reads no file. What it can't look at it leaves out, as it does everything that ctx cut off.
func Survey(ctx context.Context, o *Options) (files, bytes uint64) {
	s := surveyor{ctx: ctx, o: o}
	for _, path := range o.Paths {
		i := strings.LastIndexByte(path, '/')
		parent, name := path[:i+1], path[i+1:]
		dir, err := source.OpenDir(parent)
		if err != nil {
			continue
		}
		if name == "" {
			s.device(dir)
			s.folder(dir, "/")
		} else if st, err := dir.Lstat(name); err == nil {
			s.root = st.Device
			s.entry(dir, name, path, &st)
		}
		dir.Release()
	}
	return s.files, s.bytes
}

type surveyor struct {
	ctx          context.Context
	o            *Options
	root         uint64 // device of the path that was asked for
	files, bytes uint64
}

func (s *surveyor) device(dir *source.Dir) {
	if st, err := dir.Stat(); err == nil {
		s.root = st.Device
	}
}

// entry counts one entry, with all below it.
func (s *surveyor) entry(dir *source.Dir, name, full string, st *source.Stat) {
	switch {
	case st.Type == snapshot.File && (s.o.ExcludeLarger == 0 || st.Size <= s.o.ExcludeLarger):
		s.files++
		s.bytes += st.Size
	case st.Type == snapshot.Dir && (!s.o.OneFileSystem || st.Device == s.root):
		sub, err := dir.Open(name)
		if err != nil {
			return
		}
		s.folder(sub, full)
		sub.Release()
	}
}

// folder counts what is below an open folder, by the rules of lister.
func (s *surveyor) folder(dir *source.Dir, path string) {
	names, err := dir.List()
	if err != nil || dir.FileSystem().Pseudo {
		return
	}
	if left, ok := tagged(s.o, &folder{Dir: dir, path: path}, names); ok {
		names = left
	}
	for _, name := range names {
		if s.ctx.Err() != nil {
			return
		}
		full := strings.TrimSuffix(path, "/") + "/" + name
		st, err := dir.Lstat(name)
		if err != nil || st.Type != snapshot.Dir && snapshot.IsRestoring(name) || s.o.Exclude != nil && s.o.Exclude.Match(full, st.Type == snapshot.Dir) || s.o.Held.Skip(full) {
			continue
		}
		s.entry(dir, name, full, &st)
	}
}
