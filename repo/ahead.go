package repo

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/index"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
)

// An Ahead fetches and decodes segments before they are asked for, while others work with those before: who knows which blobs he is going to load
// announces them, in order. What is fetched goes to the cache of decoded segments, where [Repo.Load] finds it, and is at most half of that at
// a time. Segments that stand next to each other are fetched by one request. An error is nobody's: whoever loads the blob meets it again.
type Ahead struct {
	repo     *Repo
	ctx      context.Context
	cancel   context.CancelFunc
	fetchers sync.WaitGroup
	window   int64 // plaintext that is there or on its way, and still needed

	mu     sync.Mutex // guards what follows
	wake   *sync.Cond // when there may be something to fetch
	needs  map[segmentKey]*need
	queue  []*need // in the order in which they were announced; those that were begun, or that nobody needs any more, are passed over
	size   int64   // plaintext of the needs that were begun
	closed bool
}

// need is a segment that somebody announced, and may still use.
type need struct {
	key     segmentKey
	info    *index.PackInfo
	segment index.Segment
	users   int // announcements that are not done
	begun   bool
}

func (n *need) end() int64 { return int64(n.segment.Offset) + int64(n.segment.Stored) }

const (
	aheadRunNear = 1 << 20 // bytes of a pack that are fetched at once, where a request costs little
	aheadRuns    = 6       // runs that the window has room for, at least
	aheadLook    = 64      // needs that are looked through for neighbours: several writers fill a pack, so that they are not in order
)

// ReadAhead starts the goroutines that fetch, which end with Close.
func (r *Repo) ReadAhead(ctx context.Context) *Ahead {
	a := r.ahead(ctx)
	n := Workers()
	if r.long != nil {
		n = r.far.requests()
	}
	for range n {
		a.fetchers.Go(a.work)
	}
	return a
}

func (r *Repo) ahead(ctx context.Context) *Ahead {
	a := &Ahead{repo: r, window: r.cache.limit() / 2, needs: map[segmentKey]*need{}}
	a.ctx, a.cancel = context.WithCancel(ctx)
	a.wake = sync.NewCond(&a.mu)
	return a
}

// Close ends all fetching and waits for it.
func (a *Ahead) Close() {
	a.cancel()
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.wake.Broadcast()
	a.fetchers.Wait()
}

// Announce says which data blobs will be asked for next. It waits for nothing. done is called when they are not needed any more, whether they
// were asked for or not.
func (a *Ahead) Announce(ids []blob.ID) (done func()) {
	v, err := a.repo.currentView(a.ctx)
	if err != nil { // whoever loads the blobs meets it
		return func() {}
	}
	var mine []*need
	var last segmentKey
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		e, ok := v.Index.Lookup(id)
		key := segmentKey{e.Pack, e.Segment}
		if !ok || key == last { // most are where the one before is
			continue
		}
		last = key
		if n := a.needLocked(v.Index, key); n != nil {
			n.users++
			mine = append(mine, n)
		}
	}
	a.wake.Signal()
	return func() { a.done(mine) }
}

func (a *Ahead) needLocked(x *index.Index, key segmentKey) *need {
	if n := a.needs[key]; n != nil {
		return n
	}
	info, ok := x.Pack(key.pack)
	if !ok {
		return nil
	}
	s, ok := info.Segment(key.number)
	if !ok {
		return nil
	}
	n := &need{key: key, info: info, segment: s}
	a.needs[key] = n
	a.queue = append(a.queue, n)
	return n
}

func (a *Ahead) done(list []*need) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range list {
		if n.users--; n.users > 0 {
			continue
		}
		delete(a.needs, n.key)
		if n.begun {
			a.size -= int64(n.segment.Plain)
		}
	}
	a.wake.Signal()
}

func (a *Ahead) work() {
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	for {
		run := a.next()
		if run == nil {
			return
		}
		a.fetch(d, run)
	}
}

// next waits for segments that are to be fetched by one request. It returns nil at the end.
func (a *Ahead) next() []*need {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.closed {
		if run := a.takeLocked(); len(run) > 0 {
			a.wake.Signal() // there may be another one
			return run
		}
		a.wake.Wait()
	}
	return nil
}

// takeLocked begins the next run, if there is room for it. As long as there is much to work with, it waits until so much is announced
// that all of the run is.
func (a *Ahead) takeLocked() []*need {
	open := func(n *need) bool { return n.users > 0 && !n.begun }
	for len(a.queue) > 0 && !open(a.queue[0]) {
		a.queue[0] = nil
		a.queue = a.queue[1:]
	}
	if len(a.queue) == 0 {
		return nil
	}
	first := a.queue[0]
	var near []*need
	var waiting int64
	for _, n := range a.queue[:min(len(a.queue), aheadLook)] {
		if open(n) {
			waiting += int64(n.segment.Plain)
			if n.key.pack == first.key.pack {
				near = append(near, n)
			}
		}
	}
	run, plain := a.runOf(first, near)
	if a.size > 0 && (a.size+plain > a.window || a.size > a.window/2 && waiting < a.window/aheadRuns) {
		return nil
	}
	for _, n := range run {
		n.begun = true
	}
	a.size += plain
	return run
}

// runOf are those of near, segments of one pack, that can be fetched together with first, and what they hold.
func (a *Ahead) runOf(first *need, near []*need) (run []*need, plain int64) {
	slices.SortFunc(near, func(x, y *need) int { return cmp.Compare(x.segment.Offset, y.segment.Offset) })
	from := slices.Index(near, first)
	to := from + 1
	plain = int64(first.segment.Plain)
	joins := func(n, left, right *need) bool { // between which there is nothing but n
		more := plain + int64(n.segment.Plain)
		return int64(right.segment.Offset)-left.end() <= rangeGrid && more <= a.window/aheadRuns &&
			max(n.end(), near[to-1].end())-int64(min(n.segment.Offset, near[from].segment.Offset)) <= max(aheadRunNear, a.repo.far.ReadAhead)
	}
	for ; to < len(near) && joins(near[to], near[to-1], near[to]); to++ {
		plain += int64(near[to].segment.Plain)
	}
	for ; from > 0 && joins(near[from-1], near[from-1], near[from]); from-- {
		plain += int64(near[from-1].segment.Plain)
	}
	return near[from:to], plain
}

// fetch reads a run, and decodes what nobody else has.
func (a *Ahead) fetch(d *decoder, run []*need) {
	var mine []*segment
	var needs []*need
	for _, n := range run {
		if s, ok := a.repo.cache.claim(n.key); ok {
			mine, needs = append(mine, s), append(needs, n)
		}
	}
	if len(mine) == 0 {
		return
	}
	raw, begin, opener, err := a.read(d, needs)
	for i, s := range mine {
		if err != nil {
			a.repo.cache.settle(s, nil, err)
			continue
		}
		n := needs[i]
		sealed := raw[int64(n.segment.Offset)-begin : n.end()-begin]
		var plain []byte
		var failed error
		plain, d.opened, failed = d.dec.Open(opener, uint32(n.key.number), sealed, nil, d.opened, int(n.segment.Plain))
		a.repo.cache.settle(s, plain, failed)
	}
}

// read gets the bytes of a pack from the first to the last of some segments.
func (a *Ahead) read(d *decoder, needs []*need) (raw []byte, begin int64, o *seal.Opener, err error) {
	info := needs[0].info
	begin, end := onGrid(int64(needs[0].segment.Offset), needs[len(needs)-1].end(), int64(info.Size))
	if o, err = a.repo.keys.OpenerOf(seal.Pack, info.Epoch, &info.Salt); err == nil {
		raw = d.room(end - begin)
		err = storage.ReadRange(a.ctx, a.repo.storage, packName(info.Name), raw, begin)
	}
	if err != nil {
		err = fmt.Errorf("pack %s: %w", info.Name.Short(), err)
	}
	return raw, begin, o, err
}
