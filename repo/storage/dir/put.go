package dir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/tarn-backup/tarn/repo/storage"
)

// stepSize is how much is written between two looks at the context, and how much the kernel gets to write at a time.
const stepSize = 4 << 20

// Put stores an object as doc.go says. An error that wraps storage.ErrFull says that there is no room for it.
func (d *Dir) Put(ctx context.Context, name string, data []byte) error {
	return d.putAs(ctx, name, data, replaces)
}

// PutNew is part of storage.Creator. It can't do what it promises on file systems that can't rename to a free name alone: network file systems.
func (d *Dir) PutNew(ctx context.Context, name string, data []byte) error {
	return d.putAs(ctx, name, data, replacesNone)
}

// replacement says what becomes of another object of the same name.
type replacement uint8

const (
	replaces replacement = iota
	replacesNone
)

func (d *Dir) putAs(ctx context.Context, name string, data []byte, r replacement) error {
	err := check(ctx, storage.CheckName(name))
	if err == nil {
		err = d.put(ctx, name, data, r)
	}
	if errors.Is(err, fs.ErrNotExist) { // a prune removed the temporary file, since our session was evicted, or somebody removed a folder
		d.folders.forget()
		err = d.put(ctx, name, data, r)
	}
	if isFull(err) {
		err = fmt.Errorf("%w: %d bytes do not fit into %s%s: %w", storage.ErrFull, len(data), d.path, d.freeText(), err)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

func (d *Dir) put(ctx context.Context, name string, data []byte, r replacement) error {
	folder := path.Dir(name)
	if err := d.makeFolder(folder); err != nil {
		return err
	}
	if !d.keep(ctx, name, data) {
		if err := d.write(ctx, name, data, r); err != nil {
			return err
		}
	}
	return retry(func() error { return d.disk.SyncFolder(folder) })
}

// makeFolder makes sure that a folder is there, and that it and its parents are durable.
func (d *Dir) makeFolder(folder string) error {
	if folder == "." || d.folders.has(folder) {
		return nil
	}
	parent := path.Dir(folder)
	if err := d.makeFolder(parent); err != nil {
		return err
	}
	err := retry(func() error { return d.disk.Mkdir(folder) })
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Sync it even if it was there: another process may have made it a moment ago, and have come no further.
	if err := retry(func() error { return d.disk.SyncFolder(parent) }); err != nil {
		return err
	}
	d.folders.add(folder)
	return nil
}

// keep reports whether an object is there that has exactly these bytes, durably. Whoever put it may not have come to its
// sync. If in doubt it is written again.
func (d *Dir) keep(ctx context.Context, name string, data []byte) bool {
	return d.holds(ctx, name, data) && retry(func() error { return d.disk.SyncFile(name) }) == nil
}

// holds reports whether an object is there and has exactly these bytes.
func (d *Dir) holds(ctx context.Context, name string, data []byte) bool {
	r, err := d.get(ctx, name, 0, -1)
	if err != nil {
		return false
	}
	defer r.Close()
	if r.left != int64(len(data)) {
		return false
	}
	p := make([]byte, min(len(data), 256<<10))
	for len(data) > 0 {
		n, err := io.ReadFull(r, p[:min(len(p), len(data))])
		if err != nil || !bytes.Equal(p[:n], data[:n]) {
			return false
		}
		data = data[n:]
	}
	return true
}

// write makes a temporary file, and gives it the object's name when it is durable.
func (d *Dir) write(ctx context.Context, name string, data []byte, r replacement) error {
	temp, err := d.writeTemp(ctx, data)
	if err != nil {
		return err
	}
	err = retry(func() error { return d.disk.Place(temp, name) })
	if errors.Is(err, fs.ErrExist) && d.keep(ctx, name, data) {
		d.discard(temp) // another client was faster with the same bytes
		return nil
	}
	if r == replaces && (errors.Is(err, fs.ErrExist) || errors.Is(err, errors.ErrUnsupported)) {
		err = retry(func() error { return d.disk.Rename(temp, name) })
	}
	if err != nil {
		d.discard(temp)
	}
	return err
}

// writeTemp writes data to a new temporary file, durably, and returns its name. It leaves nothing behind if it fails.
func (d *Dir) writeTemp(ctx context.Context, data []byte) (string, error) {
	name, f, err := d.createTemp()
	if err != nil {
		return "", err
	}
	err = writeAll(ctx, f, data)
	if err == nil {
		err = retry(f.Sync)
	}
	// A close is not tried again: after EINTR the descriptor is gone, and may be somebody else's by now. What it reports counts,
	// since NFS may send the last bytes only then.
	err = errors.Join(err, f.Close())
	if err == nil {
		err = d.checkSize(name, int64(len(data)))
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		d.discard(name)
		return "", err
	}
	return name, nil
}

func (d *Dir) createTemp() (string, file, error) {
	name, f, err := d.tryTemp()
	if !errors.Is(err, fs.ErrNotExist) {
		return name, f, err
	}
	// The first Put ever, or somebody tidied up. The folder need not be durable.
	err = retry(func() error { return d.disk.Mkdir(tempFolder) })
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", nil, err
	}
	return d.tryTemp()
}

func (d *Dir) tryTemp() (name string, f file, err error) {
	err = retry(func() error {
		name = path.Join(tempFolder, storage.TempName(d.session)) // a new one each time: an interrupted call may have made it
		f, err = d.disk.Create(name)
		return err
	})
	return name, f, err
}

// writeAll writes data in steps, also past interrupts and short writes.
func writeAll(ctx context.Context, w io.Writer, data []byte) error {
	for len(data) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		var n int
		err := retry(func() (err error) {
			var part int
			part, err = w.Write(data[n:min(stepSize, len(data))])
			n += part
			return err
		})
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrShortWrite
		}
		data = data[n:]
	}
	return nil
}

// checkSize asks the file system by name, after the close, as the next reader will.
func (d *Dir) checkSize(name string, want int64) error {
	info, err := fs.Stat(d.disk, name)
	if err != nil {
		return err
	}
	if info.Size() != want {
		return fmt.Errorf("the file system kept %d of %d bytes: %w", info.Size(), want, io.ErrShortWrite)
	}
	return nil
}

// discard removes a temporary. If that fails too, its name says whose it was.
func (d *Dir) discard(temp string) {
	_ = retry(func() error { return d.disk.Remove(temp) })
}
