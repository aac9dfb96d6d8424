package repo_test

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/repo/storage/memory"
)

// TestFlushWhileOthersSave flushes again and again while others go on, as a long backup does for its partial snapshots. What one saved before a
// flush is there after it, and uploads that begin while the flush waits do it no harm.
func TestFlushWhileOthersSave(t *testing.T) {
	ctx := t.Context()
	r := create(t, memory.New())
	w, err := r.NewWriter(ctx, repo.WriterOptions{Session: session(repo.PurposeBackup), PackSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	var others sync.WaitGroup
	stop := make(chan struct{})
	for i := range 4 {
		lane, random := w.Lane(), rand.NewChaCha8([32]byte{byte(i)})
		others.Go(func() {
			plain := make([]byte, 32<<10)
			for {
				select {
				case <-stop:
					return
				default:
				}
				random.Read(plain)
				if _, err := lane.Save(ctx, blob.Data, plain); err != nil {
					t.Error(err)
					return
				}
				if err := lane.Flush(ctx); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	lane, random := w.Lane(), rand.NewChaCha8([32]byte{9})
	plain := make([]byte, 1<<10)
	for range 30 {
		random.Read(plain)
		id, err := lane.Save(ctx, blob.Data, plain)
		if err == nil {
			err = w.Flush(ctx)
		}
		if err == nil {
			_, err = w.Load(ctx, blob.Data, id)
		}
		if err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	others.Wait()
	if _, err := w.Commit(ctx, []byte("no record")); err != nil {
		t.Error(err)
	}
}

// TestLengthOfSnapshots: how long a snapshot's object is tells nothing of a short record, and little of a longer one.
func TestLengthOfSnapshots(t *testing.T) {
	ctx := t.Context()
	store := memory.New()
	w, err := create(t, store).NewWriter(ctx, repo.WriterOptions{Session: session(repo.PurposeBackup)})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{4})
	for _, c := range []struct{ record, stored int }{{1, 4 << 10}, {1000, 4 << 10}, {3800, 4 << 10}, {20_000, 20_480}, {20_200, 20_480}} {
		record := make([]byte, c.record)
		random.Read(record)
		name, err := w.PutSnapshot(ctx, record)
		if err != nil {
			t.Fatal(err)
		}
		object, err := storage.ReadAll(ctx, store, "snapshots/"+name.String(), 1<<20)
		if err != nil || len(object) != c.stored {
			t.Errorf("a record of %d bytes: an object of %d and %v, want %d", c.record, len(object), err, c.stored)
		}
	}
	if _, err := w.Commit(ctx, []byte("the last")); err != nil {
		t.Error(err)
	}
}

// TestRecordTooLong: what could be stored and not be read again is refused, and the session can go on.
func TestRecordTooLong(t *testing.T) {
	ctx := t.Context()
	r := create(t, memory.New())
	w, err := r.NewWriter(ctx, repo.WriterOptions{Session: session(repo.PurposeBackup)})
	if err != nil {
		t.Fatal(err)
	}
	record := make([]byte, 8<<20+1)
	if _, err := w.PutSnapshot(ctx, record); err == nil {
		t.Error("a record of more than 8 MiB was stored")
	}
	name, err := w.Commit(ctx, record[1:])
	if err != nil {
		t.Fatal(err)
	}
	if data, err := r.LoadSnapshot(ctx, name); err != nil || len(data) != 8<<20 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

// TestSessionTooLong: a session that others could not read is not begun, since nobody could prune any more.
func TestSessionTooLong(t *testing.T) {
	ctx := t.Context()
	r := create(t, memory.New())
	noise := make([]byte, 64<<10) // which can't be compressed
	rand.NewChaCha8([32]byte{}).Read(noise)
	for size, want := range map[int]bool{60 << 10: true, 64 << 10: false} {
		s := session(repo.PurposePrune)
		s.User = string(noise[:size])
		if err := r.BeginSession(ctx, s); (err == nil) != want {
			t.Errorf("a user's name of %d bytes: %v", size, err)
		}
		if list, err := r.Sessions(ctx); err != nil || len(list) > 1 {
			t.Errorf("a user's name of %d bytes: %d sessions, %v", size, len(list), err)
		}
	}
}

// TestManyTinyBlobs: so many blobs of a few bytes that a segment full of them would have a directory that is too long for a pack. Nor must they come
// together in one when they are moved, of each segment all but the first.
func TestManyTinyBlobs(t *testing.T) {
	ctx := t.Context()
	r := create(t, memory.New())
	w, err := r.NewWriter(ctx, repo.WriterOptions{Session: session(repo.PurposeBackup)})
	if err != nil {
		t.Fatal(err)
	}
	l := w.Lane()
	var plain [8]byte
	var last blob.ID
	for i := range uint64(530_000) {
		binary.LittleEndian.PutUint64(plain[:], i)
		if last, err = l.Save(ctx, blob.Data, plain[:]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(ctx, []byte("no record")); err != nil {
		t.Fatal(err)
	}
	if data, err := w.Load(ctx, blob.Data, last); err != nil || string(data) != string(plain[:]) {
		t.Errorf("got %x, %v", data, err)
	}
	if w, err = r.NewWriter(ctx, repo.WriterOptions{Session: session(repo.PurposePrune), MoveOnly: true}); err != nil {
		t.Fatal(err)
	}
	m := w.Mover()
	for info, rows := range w.View().Index.Blobs() {
		for len(rows) > 0 {
			n := 1
			for n < len(rows) && rows[n].Segment == rows[0].Segment {
				n++
			}
			if err := m.Move(ctx, info, rows[0].Segment, rows[1:n]); err != nil {
				t.Fatal(err)
			}
			rows = rows[n:]
		}
	}
	if err := w.Confirm(ctx); err != nil {
		t.Error(err)
	}
	if v, err := r.TakeView(ctx); err != nil || len(v.Damaged) > 0 {
		t.Errorf("damaged packs: %v, %v", v.Damaged, err)
	}
}
