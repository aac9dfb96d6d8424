package backup

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tarn-backup/tarn/chunker"
	"github.com/tarn-backup/tarn/snapshot"
	"github.com/tarn-backup/tarn/source"
	"github.com/tarn-backup/tarn/source/live"
)

// reader reads the files of batches and saves what they hold. It belongs to one goroutine.
type reader struct {
	lane     Lane
	capturer *live.Capturer
	kept     *references
	o        *Options
	progress *Progress
	lists    snapshot.Lists
	owner    uint32
	small    []byte          // holds a file that is one chunk, and a byte more
	large    *chunker.Stream // made for the first file that is not
	help     *help           // of this run
}

func newReader(lane Lane, c *live.Capturer, kept *references, o *Options, p *Progress) *reader {
	r := &reader{lane: lane, capturer: c, kept: kept, o: o, progress: p, small: make([]byte, o.Data.Params().Min+1)}
	r.lists = snapshot.Lists{Saver: lane, Cutter: o.Meta, Max: o.Meta.Params().Max}
	return r
}

// run reads batches until there are no more, and saves chunks for other readers until none of them has one.
func (r *reader) run(ctx context.Context, work <-chan *batch, h *help) error {
	r.help = h
	for {
		select {
		case b, more := <-work:
			if !more {
				h.leave()
				work = nil
				continue
			}
			h.free.Add(-1)
			if err := r.batch(ctx, b); err != nil {
				b.release()
				return err
			}
			h.free.Add(1)
			close(b.done)
		case c, more := <-h.chunks:
			if !more {
				return r.lane.Flush(ctx)
			}
			r.save(ctx, c)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// batch reads the files of a batch. What is busy is taken up again when all others are read, and the journals of a database wait for
// that.
func (r *reader) batch(ctx context.Context, b *batch) error {
	var later, journals []*item
	for i := range b.items {
		it := &b.items[i]
		if !it.read {
			continue
		}
		if err := r.own(ctx, it.stat.UID); err != nil {
			return err
		}
		if it.set != nil && it.set.database != it.node.Name {
			journals = append(journals, it)
			continue
		}
		put, err := r.file(ctx, b, it, live.First)
		if err != nil {
			return err
		}
		if put {
			later = append(later, it)
		}
	}
	for _, it := range later {
		if _, err := r.file(ctx, b, it, live.Second); err != nil {
			return err
		}
	}
	for _, it := range journals {
		if err := r.journal(ctx, b, it); err != nil {
			return err
		}
	}
	return r.lane.Break(ctx)
}

// journal reads a file that belongs to a database, unless it came with that.
func (r *reader) journal(ctx context.Context, b *batch, it *item) error {
	select {
	case <-it.set.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if it.set.taken {
		it.kind = itemGone
		r.finished(it)
		return nil
	}
	_, err := r.file(ctx, b, it, live.Second)
	return err
}

// file reads one file and fills in its item. put says that it is to be taken up later. What goes wrong with the file is noted in
// the batch; an error is the repository's.
func (r *reader) file(ctx context.Context, b *batch, it *item, pass live.Pass) (put bool, err error) {
	path := it.path()
	r.progress.Current.Store(&path)
	err = r.capture(ctx, b, it, pass)
	if errors.Is(err, live.ErrLater) && pass == live.First {
		return true, nil
	}
	if it.set != nil && it.set.database == it.node.Name {
		close(it.set.done)
	}
	r.finished(it)
	if err == nil {
		return false, nil
	}
	return false, r.failed(ctx, b, it, path, err)
}

// failed notes in the batch what went wrong with a file, or returns what ends the backup.
func (r *reader) failed(ctx context.Context, b *batch, it *item, path string, err error) error {
	var save *saveError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &save):
		return save.err
	case source.IsGone(err) || errors.Is(err, live.ErrNotRegular):
		it.kind = itemGone
		b.vanished++
	default:
		r.unreadable(ctx, b, it, path, err)
	}
	return nil
}

// finished tells that nothing of the item will be read any more.
func (r *reader) finished(it *item) {
	it.finished()
	r.progress.Files.Add(1)
	r.progress.Bytes.Add(it.stat.Size)
}

// saveError is an error of the repository's, which ends the backup, as opposed to one of the file's.
type saveError struct{ err error }

func (e *saveError) Error() string { return e.err.Error() }

// unreadable notes that a file can't be read, and puts the parent's version in its place if there is one, and it is all there.
func (r *reader) unreadable(ctx context.Context, b *batch, it *item, path string, err error) {
	r.progress.Problems.Add(1)
	p := snapshot.Problem{Kind: snapshot.Unreadable, Path: path, Reason: source.Reason(err)}
	if it.was != nil && it.was.Type == snapshot.File && r.kept.node(ctx, it.was) {
		it.node, it.node.State, it.encoded = *it.was, it.was.State.AsCarried(), ""
		p.Kind = snapshot.ProblemCarry
		if it.node.State == snapshot.Torn {
			p.Reason += "; that version may be torn"
		}
	} else {
		it.kind = itemGone
	}
	it.seen.ChangeTime = snapshot.Time{}
	b.problems = append(b.problems, p)
}

const sqliteHeader = "SQLite format 3\x00"

// capture holds a file still and reads it; a database is captured with its journals. In a file system snapshot it is still already,
// but a file that was being written when the snapshot was made may not be whole there: the live one is captured in its place.
func (r *reader) capture(ctx context.Context, b *batch, it *item, pass live.Pass) error {
	if !it.dir.region.Held() {
		return r.captureLive(ctx, b, it, pass)
	}
	exact := it.dir.recovers || it.dir.region.Exact(it.stat.ChangeTime)
	if exact && it.set == nil {
		return r.readHeld(ctx, b, it, "")
	}
	dir, err := source.OpenDir(it.dir.path)
	if err == nil {
		held := it.dir
		it.dir = &folder{Dir: dir, path: held.path}
		err = r.captureLive(ctx, b, it, pass)
		it.dir = held
		dir.Release()
	}
	if source.IsGone(err) || errors.Is(err, live.ErrNotRegular) {
		if exact {
			return r.readHeld(ctx, b, it, "")
		}
		return r.readHeld(ctx, b, it, "was being written when the file system snapshot was made, and is gone since")
	}
	return err
}

// readHeld reads a file from a file system snapshot. doubt, if not empty, says why it may not be whole there.
func (r *reader) readHeld(ctx context.Context, b *batch, it *item, doubt string) error {
	f, err := it.dir.OpenFile(it.node.Name)
	if err != nil {
		return err
	}
	defer f.Close()
	size, content, err := r.content(ctx, live.PassHoles(f), int64(it.stat.Size))
	if err != nil {
		return err
	}
	c := captured{stat: it.stat, method: snapshot.MethodSnapshot, reason: doubt}
	if doubt != "" {
		c.state, c.method = snapshot.Torn, snapshot.MethodUnproven
	}
	return r.fill(ctx, b, it, int(f.Fd()), c, size, content)
}

// captureLive captures a file where the user uses it.
func (r *reader) captureLive(ctx context.Context, b *batch, it *item, pass live.Pass) error {
	if it.set != nil && it.set.database == it.node.Name {
		err := r.captureSet(ctx, b, it, pass)
		if !errors.Is(err, live.ErrNotSQLite) {
			return err
		}
	}
	f, err := it.dir.Capture(ctx, r.capturer, it.node.Name, pass)
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Size() >= int64(len(r.small)) && source.HasPrefix(f.FD(), sqliteHeader) {
		err := r.captureSet(ctx, b, it, pass)
		if !errors.Is(err, live.ErrNotSQLite) {
			return err
		}
	}
	for {
		size, content, err := r.content(ctx, f, f.Size())
		if err != nil {
			return err
		}
		result, err := f.Finish(ctx)
		if err != nil {
			return err
		}
		if r.isBusyDatabase(f.Size(), result) {
			if err := r.captureSet(ctx, b, it, pass); !errors.Is(err, live.ErrNotSQLite) {
				return err
			}
		}
		if result.Later {
			return live.ErrLater
		}
		if !result.Again {
			return r.fill(ctx, b, it, f.FD(), capturedOf(result), size, content)
		}
		if err := f.Restart(ctx); err != nil {
			return err
		}
	}
}

// isBusyDatabase reports whether the small file that was just read is, by its first bytes, a SQLite database that a program has open.
func (r *reader) isBusyDatabase(size int64, result live.Result) bool {
	return size >= 512 && size < int64(len(r.small)) && result.Method != snapshot.MethodLease && string(r.small[:len(sqliteHeader)]) == sqliteHeader
}

// captureSet captures a database with its journals, in one moment.
func (r *reader) captureSet(ctx context.Context, b *batch, it *item, pass live.Pass) error {
	set, err := it.dir.CaptureSet(ctx, r.capturer, it.node.Name, pass)
	if err != nil {
		return err
	}
	defer set.Close()
	files := set.Files()
	sizes, contents := make([]uint64, len(files)), make([]snapshot.Content, len(files))
	for i, f := range files {
		if sizes[i], contents[i], err = r.content(ctx, f, f.Size()); err != nil {
			return err
		}
	}
	result, err := set.Finish(ctx)
	if err != nil {
		return err
	}
	if result.Later {
		return live.ErrLater
	}
	how := it.change
	for i, f := range files {
		one := *it
		one.dir, one.bytes = it.dir, 0
		if i > 0 { // what the parent snapshot had is known of the database alone
			one.was, one.change = nil, how
		}
		res := result
		res.Stat = f.Stat()
		one.node.Name = f.Name()[strings.LastIndexByte(f.Name(), '/')+1:]
		one.seen.Name = one.node.Name
		if err := r.fill(ctx, b, &one, f.FD(), capturedOf(res), sizes[i], contents[i]); err != nil {
			return err
		}
		it.bytes += one.bytes
		if i == 0 {
			it.node, it.seen, it.stat, it.change = one.node, one.seen, one.stat, one.change
		} else {
			it.extras = append(it.extras, extra{one.node, one.seen, one.change})
		}
	}
	if it.set != nil {
		it.set.taken = true
	}
	return nil
}

// captured is what became of one file.
type captured struct {
	stat   source.Stat
	state  snapshot.State
	method snapshot.Method
	reason string
}

func capturedOf(r live.Result) captured {
	return captured{source.StatOf(r.Stat), r.State, r.Method, r.Reason}
}

// mappedWindow is how old a ctime must be for the next backup to trust it, if a program may have the file mapped: what it stores there changes
// the ctime only when the page is written back.
const mappedWindow = time.Minute

// fill makes the item say what was read.
func (r *reader) fill(ctx context.Context, b *batch, it *item, fd int, result captured, size uint64, content snapshot.Content) error {
	st := result.stat
	link, name := linkAfter(it, &st), it.node.Name
	fillNode(&it.node, name, &st, r.o.AccessTime)
	it.node.Link, it.node.Size, it.node.Content, it.node.State = link, size, content, result.state
	it.stat, it.bytes = st, size
	it.seen.Inode, it.seen.Method = st.Inode, result.method
	if it.seen.ChangeTime != st.ChangeTime || result.state != snapshot.Whole {
		it.seen.ChangeTime = snapshot.Time{} // it changed between the walk and the reading: look again next time
	}
	if (result.method == snapshot.MethodStable || result.method == snapshot.MethodUnproven) && time.Since(st.ChangeTime.Time()) < mappedWindow {
		it.seen.ChangeTime = snapshot.Time{}
	}
	var err error
	if it.node.Xattrs, it.node.Flags, err = attributes(fd); err != nil {
		r.attrProblem(b, it.path(), err)
		it.seen.ChangeTime = snapshot.Time{} // look again next time
	}
	if err := saveXattrs(ctx, r.lane, it.node.Xattrs); err != nil {
		return &saveError{err}
	}
	if w := it.was; w != nil && w.ModTime == it.node.ModTime && slices.Equal(w.Content.Elements, content.Elements) && w.State == it.node.State {
		it.change = isUnchanged // it was read again because nothing proved that
	}
	it.node.Sparse = st.Blocks*512 < size && hasHole(fd)
	switch result.state {
	case snapshot.Torn:
		b.problems = append(b.problems, snapshot.Problem{Kind: snapshot.ProblemTorn, Path: it.path(), Reason: result.reason})
		r.progress.Problems.Add(1)
	case snapshot.Appended:
		b.problems = append(b.problems, snapshot.Problem{Kind: snapshot.ProblemAppend, Path: it.path(), Reason: result.reason})
	}
	return nil
}

func (r *reader) attrProblem(b *batch, path string, err error) {
	b.problems = append(b.problems, snapshot.Problem{Kind: snapshot.ProblemAttr, Path: path, Reason: source.Reason(err)})
	r.progress.Problems.Add(1)
}
