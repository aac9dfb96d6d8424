package restore

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/snapshot"
)

// unread remembers, by the hashes of their paths, the entries that are not as the snapshot has them, for a known reason: verifying
// passes them over.
type unread struct {
	once sync.Once
	seed maphash.Seed
	mu   sync.Mutex
	set  map[uint64]struct{} // under mu
}

func (u *unread) hash(path string) uint64 {
	u.once.Do(func() { u.seed, u.set = maphash.MakeSeed(), map[uint64]struct{}{} })
	return maphash.String(u.seed, path)
}

func (u *unread) add(path string) {
	h := u.hash(path)
	u.mu.Lock()
	u.set[h] = struct{}{}
	u.mu.Unlock()
}

func (u *unread) has(path string) bool {
	h := u.hash(path)
	u.mu.Lock()
	defer u.mu.Unlock()
	_, ok := u.set[h]
	return ok
}

// verifier is the pass that reads back what was written. It opens everything anew, as any program would.
type verifier struct{ *run }

// verify compares the files in the target with the snapshot. It writes everything to the disk first, so that the pages in
// memory can be dropped and the disk is what is read.
func (r *run) verify(ctx context.Context, top *folder, single *snapshot.Node) error {
	if err := top.h.sync(); err != nil {
		return fmt.Errorf("sync the target: %w", err)
	}
	h, err := top.h.again()
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	again := &folder{node: top.node, h: h, state: opened, decision: top.decision}
	again.users.Store(1)
	v := &verifier{r}
	defer again.release(func(f *folder) { v.leave(ctx, f) })
	return r.traverse(ctx, v, again, single)
}

// broken has nothing to say: the pass that wrote met the same.
func (v *verifier) broken(*folder, snapshot.Type, string, error) {}

// early is never needed: there is nothing to read back.
func (v *verifier) early(*folder) bool { return false }

func (v *verifier) enter(_ context.Context, f *folder) {
	f.state = refused
	if v.unread.has(f.path()) {
		return
	}
	h, err := f.parent.h.openDir(f.node.Name)
	if err != nil {
		v.ledger.failed(f.path(), snapshot.Dir, fmt.Errorf("verify: %w", err))
		return
	}
	f.h, f.state = h, opened
}

// needs says nothing: what is read back is compared by its hash.
func (v *verifier) needs(_ *job, ids []blob.ID) []blob.ID { return ids }

func (v *verifier) leave(_ context.Context, f *folder) {
	if f.state == opened {
		f.h.close()
	}
}

func (v *verifier) entry(ctx context.Context, buf *buffer, j *job) {
	n := &j.node
	if n.Type != snapshot.File || v.unread.has(j.dir.join(n.Name)) {
		return
	}
	err := v.file(ctx, buf, j)
	switch {
	case err == nil:
		v.ledger.done(j.dir, n, Verified, onlyName)
	case ctx.Err() == nil:
		v.ledger.failed(j.dir.join(n.Name), n.Type, fmt.Errorf("verify: %w", err))
	}
}

func (v *verifier) file(ctx context.Context, buf *buffer, j *job) error {
	f, err := j.dir.h.open(j.node.Name)
	if err != nil {
		return err
	}
	defer f.close()
	st, err := f.stat()
	if err != nil {
		return err
	}
	if st.size != j.node.Size {
		return fmt.Errorf("it has %d bytes, want %d", st.size, j.node.Size)
	}
	f.forget()
	return v.compare(ctx, buf, f, &j.node)
}
