package simulate

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/crash"
)

// Options say what a run is like. The zero value is a sound storage.
type Options struct {
	Forget crash.Forget // what the storage fails to sync
	Quiet  bool         // nothing fails, nobody dies or is evicted
	Log    func(string) // if not nil, is told of each operation
}

// Report is what happened in a run.
type Report struct {
	Steps                              int // operations
	Backups, Copies                    int // that ended well, as the next ones
	Prunes, Forgets, Checks, Evictions int
	Tags                               int // and rewrites
	Crashes, Faults, Late, Cuts        int
	PacksRemoved, Rescued              int
	Trace                              uint64 // a hash of all operations in their order
}

// Add adds up what happened in several runs.
func (r *Report) Add(o Report) {
	for _, c := range []struct {
		sum *int
		n   int
	}{{&r.Steps, o.Steps}, {&r.Backups, o.Backups}, {&r.Copies, o.Copies}, {&r.Prunes, o.Prunes}, {&r.Forgets, o.Forgets}, {&r.Checks, o.Checks}, {&r.Tags, o.Tags},
		{&r.Evictions, o.Evictions}, {&r.Crashes, o.Crashes}, {&r.Faults, o.Faults}, {&r.Late, o.Late}, {&r.Cuts, o.Cuts},
		{&r.PacksRemoved, o.PacksRemoved}, {&r.Rescued, o.Rescued}} {
		*c.sum += c.n
	}
}

// stepsMax is where a run is given up: it does not end.
const stepsMax = 20_000

// event is what a client does when it is given the turn: it asks for an operation, or is done.
type event struct {
	client  *client
	request *request // nil if the client is done
}

// late is an operation whose effect comes after its sender was told that it failed, or died.
type late struct {
	request *request
	life    *life
}

// world is one run. Of all its goroutines one runs at a time: the scheduler waits for the client that it gave the turn.
type world struct {
	options Options
	rng     *rand.Rand
	repo    *repo.Repo // for the oracle; its storage is not used
	config  map[string][]byte
	disk    *crash.Store
	events  chan event
	clients []*client
	late    []late
	now     time.Time
	oracle  *oracle
	owners  map[blob.Session]*life
	trouble bool // something failed, somebody died or was evicted
	err     error
	report  Report

	cutAt crash.Stage // where the operation under way is cut off; empty if it is not
	cut   *crash.Store
}

// Run runs one seed. made is a repository without snapshots, and config all that is stored of it. An error says what promise was broken.
func Run(ctx context.Context, made *repo.Repo, config map[string][]byte, seed uint64, o Options) (Report, error) {
	w := &world{options: o, rng: rand.New(rand.NewPCG(seed, 0x7461726e)), repo: made, config: config, events: make(chan event),
		now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), owners: map[blob.Session]*life{}}
	w.disk = w.newDisk(config)
	w.oracle = newOracle(w)
	for i := range 2 + w.rng.IntN(min(1+int(seed%4), 3)) {
		c := &client{world: w, number: i, rng: rand.New(rand.NewPCG(seed, uint64(i))), turn: make(chan verdict), programs: 2 + w.rng.IntN(3)}
		w.clients = append(w.clients, c)
	}
	if seed%4 != 0 {
		if err := w.setScene(ctx); err != nil {
			return w.report, fmt.Errorf("seed %d: before it begins: %w", seed, err)
		}
	}
	for _, c := range w.clients {
		go c.run(ctx)
		w.next(c)
	}
	for w.err == nil && w.step(ctx) {
		if w.report.Steps++; w.report.Steps > stepsMax {
			w.fail("the run does not end")
		}
	}
	for _, c := range w.clients { // after a failure
		c.last = true
		for c.pending != nil {
			c.turn <- verdict{crash: true}
			w.next(c)
		}
	}
	if w.err == nil {
		w.end(ctx)
	}
	if w.err != nil {
		return w.report, fmt.Errorf("seed %d, step %d: %w", seed, w.report.Steps, w.err)
	}
	return w.report, nil
}

// newDisk returns a disk with some objects on it.
func (w *world) newDisk(objects map[string][]byte) *crash.Store {
	disk := crash.New(crash.Options{Forget: w.options.Forget, Step: w.atStage})
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		disk.Put(context.Background(), name, objects[name]) // which can't fail
	}
	return disk
}

func (w *world) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

// next waits for what the client does that has the turn.
func (w *world) next(c *client) {
	e := <-w.events
	if e.client != c {
		panic("simulate: a client acts out of turn")
	}
	c.pending = e.request
}

// chance is true once in n times.
func (w *world) chance(n int) bool { return w.rng.IntN(n) == 0 }

// step gives one client the turn, and reports whether there was one.
func (w *world) step(ctx context.Context) bool {
	var ready []*client
	for _, c := range w.clients {
		if c.pending != nil && c.asleep == 0 {
			ready = append(ready, c)
		}
		c.asleep = max(c.asleep-1, 0)
	}
	if len(ready) == 0 {
		return slices.ContainsFunc(w.clients, func(c *client) bool { return c.pending != nil }) // they are asleep
	}
	if len(w.late) > 0 && w.chance(100) {
		w.takeEffect(ctx, w.rng.IntN(len(w.late)))
	}
	c := ready[w.rng.IntN(len(ready))]
	sleepy := 40
	if c.pending.delicate() {
		sleepy = 5
	}
	if w.chance(sleepy) {
		c.asleep = 1 + w.rng.IntN(300)
		return true
	}
	if w.chance(100) {
		w.now = w.now.Add(time.Duration(w.rng.IntN(100)-20) * 24 * time.Hour)
	}
	v := w.perform(ctx, c)
	c.turn <- v
	w.next(c)
	return true
}

// perform does the operation that a client waits for, or lets it fail in one of many ways.
func (w *world) perform(ctx context.Context, c *client) verdict {
	r := c.pending
	fate := w.rng.IntN(700)
	if r.method == put && strings.HasPrefix(r.name, "snapshots/") && w.chance(25) {
		fate = 5 // nothing is as delicate as a snapshot of which nobody knows whether it will come
	}
	if w.options.Quiet {
		fate = 1000
	}
	w.trace(c, r, fate)
	if r.method.changes() { // a later try ends an earlier one for good
		w.late = slices.DeleteFunc(w.late, func(l late) bool { return l.life == c.life && l.request.name == r.name })
	}
	switch {
	case c.doomed:
		c.doomed = false
		w.report.Crashes++
		return verdict{crash: true}
	case fate < 3: // dies before, after, or while it is on its way
		w.trouble = true
		w.report.Crashes++
		switch {
		case fate == 1:
			w.apply(ctx, r)
		case fate == 2 && r.method.changes():
			w.delay(c, r)
		}
		return verdict{crash: true}
	case fate < 6:
		w.trouble = true
		w.report.Faults++
		switch {
		case fate == 4:
			w.apply(ctx, r)
		case fate == 5 && r.method.changes():
			w.delay(c, r)
		}
		return verdict{err: errIO}
	case fate == 6:
		w.powerCut(ctx, r)
		return verdict{crash: true}
	}
	return w.apply(ctx, r)
}

// apply does an operation.
func (w *world) apply(ctx context.Context, r *request) verdict {
	switch r.method {
	case put:
		err := w.disk.Put(ctx, r.name, r.data)
		w.oracle.put(r.name, r.data)
		return verdict{err: err}
	case remove:
		err := w.disk.Remove(ctx, r.name)
		w.oracle.remove(r.name)
		return verdict{err: err}
	case get:
		reader, err := w.disk.Get(ctx, r.name, r.off, r.n)
		return verdict{reader: reader, err: err}
	}
	v := verdict{pick: w.rng.Uint64()}
	v.err = w.disk.List(ctx, r.name, func(name string, size int64) error {
		v.list = append(v.list, object{name, size})
		return nil
	})
	return v
}

// delay keeps an operation for later. What it stores is its sender's buffer, who will use it again.
func (w *world) delay(c *client, r *request) {
	r.data = slices.Clone(r.data)
	w.late = append(w.late, late{r, c.life})
}

// takeEffect does what somebody asked for who does not wait for it any more.
func (w *world) takeEffect(ctx context.Context, i int) {
	l := w.late[i]
	w.late = slices.Delete(w.late, i, i+1)
	w.report.Late++
	if w.options.Log != nil {
		w.options.Log(fmt.Sprintf("%d: late: %v %s", w.report.Steps, l.request.method, l.request.name))
	}
	w.apply(ctx, l.request)
}

// powerCut cuts the storage's power, somewhere in the middle of an operation; it comes up again at once. Its client dies, as do some of the others.
func (w *world) powerCut(ctx context.Context, r *request) {
	w.trouble = true
	w.report.Cuts++
	w.cut, w.cutAt = nil, []crash.Stage{crash.Written, crash.Synced, crash.Named, crash.Durable}[w.rng.IntN(4)]
	if r.method.changes() {
		w.apply(ctx, r)
	}
	if w.cut == nil {
		w.cut = w.disk.CrashClone(w.rng, crash.KeepSome)
	}
	w.cutAt = ""
	w.disk = w.newDisk(w.objects(ctx, w.cut))
	for _, c := range w.clients {
		c.doomed = c.pending != nil && w.chance(2)
	}
	w.oracle.cut(ctx)
}

// atStage is called at each stage of an operation on the disk.
func (w *world) atStage(s crash.Step) {
	if w.cut == nil && s.Stage == w.cutAt {
		w.cut = w.disk.CrashClone(w.rng, crash.KeepSome)
	}
}

// objects returns all that is stored.
func (w *world) objects(ctx context.Context, s storage.Storage) map[string][]byte {
	all := map[string][]byte{}
	s.List(ctx, "", func(name string, size int64) error {
		data, err := storage.ReadAll(ctx, s, name, 1<<30)
		if err == nil {
			all[name] = data
		}
		return err
	})
	return all
}

// trace notes an operation, by its folder: names are random where a seed is not.
func (w *world) trace(c *client, r *request, fate int) {
	if w.options.Log != nil {
		w.options.Log(fmt.Sprintf("%d: client %d: %v %s, fate %d", w.report.Steps, c.number, r.method, r.name, fate))
	}
	folder, _, _ := strings.Cut(r.name, "/")
	h := w.report.Trace
	mix := func(v int) { h = (h ^ uint64(v)) * 0x100000001b3 } // FNV-1a, of whole numbers
	for i := range len(folder) {
		mix(int(folder[i]))
	}
	for _, v := range []int{c.number, int(r.method), len(r.data), fate} {
		mix(v)
	}
	w.report.Trace = h
}
