package sftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/pkg/sftp"

	"github.com/tarn-backup/tarn/repo/storage"
)

// stepSize is how much is sent between two looks at the context, in bytes.
const stepSize = 2 << 20

// Put stores an object as doc.go says.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	return s.putBy(ctx, name, data, (*Store).place)
}

// PutNew is part of storage.Creator: the protocol's own rename replaces nothing.
func (s *Store) PutNew(ctx context.Context, name string, data []byte) error {
	return s.putBy(ctx, name, data, (*Store).placeNew)
}

// placer gives a temporary file the object's name.
type placer func(s *Store, c *conn, temp, name string, data []byte) error

func (s *Store) putBy(ctx context.Context, name string, data []byte, place placer) error {
	err := refused(ctx, storage.CheckName(name))
	if err == nil {
		err = s.put(ctx, name, data, place)
	}
	return s.failed("put", name, err)
}

func (s *Store) put(ctx context.Context, name string, data []byte, place placer) error {
	temp := s.at(path.Join(tempFolder, storage.TempName(s.session)))
	err := s.do(ctx, func(c *conn) error {
		if err := s.makeFolder(c, path.Dir(name)); err != nil {
			return err
		}
		err := writeTemp(ctx, c, temp, data)
		if err == nil {
			err = place(s, c, temp, name, data)
		}
		if err == nil {
			return syncFolder(c, s.at(path.Dir(name)))
		}
		if isLost(err) {
			return err
		}
		err = full(c, s.root, len(data), err) // before there is more room
		_ = c.Remove(temp)                    // if that fails too, its name says whose it was
		if errors.Is(err, fs.ErrNotExist) {
			s.folders.forget() // somebody removed them
			return fmt.Errorf("a folder went away: %s", err)
		}
		return err
	})
	if err != nil && isLost(err) {
		s.link.lost(temp)
	}
	return err
}

// makeFolder makes sure that a folder is there, and durable as far as the server can.
func (s *Store) makeFolder(c *conn, folder string) error {
	if folder == "." {
		if s.folders.has(tempFolder) {
			return nil
		}
		if err := mkdir(c, s.at(tempFolder)); err != nil {
			return err
		}
		s.folders.add(tempFolder)
		return nil
	}
	if s.folders.has(folder) {
		return nil
	}
	parent := path.Dir(folder)
	if err := s.makeFolder(c, parent); err != nil {
		return err
	}
	if err := mkdir(c, s.at(folder)); err != nil {
		return err
	}
	if err := syncFolder(c, s.at(parent)); err != nil {
		return err
	}
	s.folders.add(folder)
	return nil
}

// mkdir makes a folder unless it is there.
func mkdir(c *conn, folder string) error {
	err := c.Mkdir(folder)
	if err == nil {
		return c.Chmod(folder, folderMode)
	}
	if info, statErr := c.Stat(folder); statErr == nil && info.IsDir() {
		return nil
	}
	return err
}

// writeTemp writes a temporary file, durably.
func writeTemp(ctx context.Context, c *conn, temp string, data []byte) error {
	f, err := c.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	for off := 0; off < len(data) && err == nil; off += stepSize {
		if err = ctx.Err(); err == nil {
			_, err = f.WriteAt(data[off:min(off+stepSize, len(data))], int64(off))
		}
	}
	if err == nil {
		err = f.Chmod(fileMode)
	}
	if err == nil {
		err = syncFile(c, f)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	info, err := c.Stat(temp)
	if err == nil && info.Size() != int64(len(data)) {
		err = fmt.Errorf("the server kept %d of %d bytes: %w", info.Size(), len(data), io.ErrShortWrite)
	}
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// syncFile syncs a file if the server can.
func syncFile(c *conn, f *sftp.File) error {
	if _, ok := c.HasExtension(extFsync); !ok {
		return nil
	}
	return f.Sync()
}

// syncFolder syncs a folder if the server lets it be opened. If not, that is as good as it gets.
func syncFolder(c *conn, folder string) error {
	if _, ok := c.HasExtension(extFsync); !ok {
		return nil
	}
	f, err := c.OpenFile(folder, os.O_RDONLY)
	if err != nil {
		if isLost(err) {
			return err
		}
		return nil
	}
	err = f.Sync()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil && !isLost(err) {
		return nil // opened, but not to be synced
	}
	return err
}

// place gives a temporary file the object's name. One that is there with the same bytes stays: a reader that lists the folder finds
// it where it was.
func (s *Store) place(c *conn, temp, name string, data []byte) error {
	err := s.placeNew(c, temp, name, data)
	if !errors.Is(err, storage.ErrExist) && !isFailure(err) {
		return err
	}
	to := s.at(name)
	if _, ok := c.HasExtension(extRename); ok {
		return c.PosixRename(temp, to)
	}
	if err := c.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return c.Rename(temp, to)
}

// placeNew is place that replaces nothing: storage.ErrExist says that there is another object.
func (s *Store) placeNew(c *conn, temp, name string, data []byte) error {
	to := s.at(name)
	err := c.Rename(temp, to)
	if err == nil || !isFailure(err) {
		return err
	}
	if holds(c, to, data) {
		_ = c.Remove(temp) // at worst it stays, under the name of its session
		return nil
	}
	if _, statErr := c.Stat(to); statErr == nil {
		return storage.ErrExist
	}
	return err
}

// holds reports whether a file has exactly these bytes.
func holds(c *conn, name string, data []byte) bool {
	f, err := c.OpenFile(name, os.O_RDONLY)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() != int64(len(data)) {
		return false
	}
	p := make([]byte, min(len(data), stepSize))
	for off := 0; off < len(data); off += len(p) {
		p = p[:min(len(p), len(data)-off)]
		if n, err := f.ReadAt(p, int64(off)); n < len(p) && err != nil || !bytes.Equal(p[:n], data[off:off+n]) {
			return false
		}
	}
	return syncFile(c, f) == nil
}

// full says so if a Put failed for want of room.
func full(c *conn, root string, size int, err error) error {
	if !isFailure(err) {
		return err
	}
	if _, ok := c.HasExtension(extSpace); !ok {
		return err
	}
	space, statErr := c.StatVFS(root)
	if statErr != nil || space.FreeSpace() > uint64(size)+(1<<20) && space.Favail > 0 {
		return err
	}
	return fmt.Errorf("%w: %d bytes do not fit, where %d are free", storage.ErrFull, size, space.FreeSpace())
}

// Remove removes an object, durably as far as the server can.
func (s *Store) Remove(ctx context.Context, name string) error {
	err := refused(ctx, storage.CheckName(name))
	if err == nil {
		err = s.do(ctx, func(c *conn) error {
			err := c.Remove(s.at(name))
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				return syncFolder(c, s.at(path.Dir(name))) // also if it was gone: an earlier Remove may have failed just here
			}
			if info, statErr := c.Stat(path.Dir(s.at(name))); errors.Is(statErr, fs.ErrNotExist) || statErr == nil && !info.IsDir() {
				return nil // "config/x" could be an object's name, but "config" is no folder
			}
			return err
		})
	}
	return s.failed("remove", name, err)
}
