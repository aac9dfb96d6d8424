package fusefs

import (
	"context"
	"sync/atomic"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/tarn-backup/tarn/snapshot"
)

const (
	pushFrom     = 3         // so many files read one after the other look as if more will be
	streakMax    = 64        // more don't count
	pushFileMax  = 128 << 10 // bytes of the largest file that is pushed: the kernel reads so much of a file at once by itself
	pushBytesMax = 2 << 20   // bytes that are pushed in one go
	pushFilesMax = 256
	pushQueue    = 16 // folders that wait for it
)

// pusher gives the kernel small files that it has not asked for, but probably will: those that come next in a folder whose files are read
// in its order. Their data lies in the same segment or the next one, which is so decoded while a program works on what it has.
//
// It must do so in a goroutine of its own: the kernel holds a file's pages locked while it waits for the answer to a READ of it.
type pusher struct {
	all    context.Context
	table  *table
	reader *reader
	queue  chan *treeDir
	streak atomic.Int64 // files read in order up to now
	done   chan struct{}
}

func newPusher(all context.Context, t *table, r *reader) *pusher {
	return &pusher{all: all, table: t, reader: r, queue: make(chan *treeDir, pushQueue), done: make(chan struct{})}
}

// start starts the goroutine, which ends with the mount.
func (p *pusher) start(s *fuse.Server) {
	go func() {
		defer close(p.done)
		for {
			select {
			case d := <-p.queue:
				p.push(s, d)
			case <-p.all.Done():
				return
			}
		}
	}()
}

// noticed is told of each file whose beginning is read.
func (p *pusher) noticed(at place) {
	d := at.dir
	d.mu.Lock()
	defer d.mu.Unlock()
	streak := min(p.streak.Load()+1, streakMax)
	if at.at < d.reads.last {
		streak, d.reads.pushed = 0, 0
	}
	p.streak.Store(streak) // one that is lost in a race does no harm
	d.reads.last = at.at
	if streak >= pushFrom && at.at >= d.reads.pushed {
		p.enqueueLocked(d)
	}
}

// listed is told of each folder that was listed to its end: who reads one file after the other lists a folder and then reads what is in it. Files that
// are pushed are not noticed, so a streak goes on for some folders without any.
func (p *pusher) listed(d *treeDir) {
	streak := p.streak.Load()
	if streak < pushFrom {
		return
	}
	p.streak.Store(streak * 3 / 4)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads.last, d.reads.pushed = 0, 0
	p.enqueueLocked(d)
}

// enqueueLocked has d.mu held.
func (p *pusher) enqueueLocked(d *treeDir) {
	if d.reads.pushing {
		return
	}
	select {
	case p.queue <- d:
		d.reads.pushing = true
	default: // it is behind anyway
	}
}

// push gives the kernel the files behind the one that was read last.
func (p *pusher) push(s *fuse.Server, d *treeDir) {
	from, _ := d.reached()
	files, bytes := 0, uint64(0)
	_ = d.list(p.all, from, func(e *entry, next position) bool { // an error is found again by who reads
		from = next
		n := &e.node
		if _, last := d.reached(); e.where.at <= last { // its READ would hold us up, and so for each file from here on
			return true
		}
		if n.Type != snapshot.File || n.Size == 0 || n.Size > pushFileMax || !p.table.has(e.id) {
			return true
		}
		data, err := p.reader.read(p.all, n, 0, n.Size)
		if err != nil || s.InodeNotifyStoreCache(e.id, 0, join(data)) == fuse.ENODEV {
			return p.all.Err() == nil
		}
		files, bytes = files+1, bytes+n.Size
		return files < pushFilesMax && bytes < pushBytesMax
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads.pushing, d.reads.pushed = false, from
}

// reached is how far a folder was read or pushed, and how far it was read.
func (d *treeDir) reached() (both, read position) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(d.reads.last, d.reads.pushed), d.reads.last
}
