package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-backup/tarn/backup"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/successor"
	"github.com/tarn-backup/tarn/snapshot"
)

// sessionsMax is how many sessions a backup begins before it gives up.
const sessionsMax = 3

// abortTime is what an interrupted session may take to put what it uploaded into the index.
const abortTime = 30 * time.Second

// backupJob is one backup: a session, or more if sessions are evicted.
type backupJob struct {
	*app
	repo        *repo.Repo
	options     backup.Options
	level       pack.Level
	torn        tornRules
	absent      func(blob.ID) bool // blobs that count as not there; nil for none
	hooks       *hooks
	afterFailed bool // the user's command after the reading
	progress    *backup.Progress
	unconfirmed []blob.Name // final snapshots of sessions that were evicted
	partials    []blob.Name // snapshots that this backup left on its way, or went on from
}

// sessionStore makes a *repo.Writer a backup.Store.
type sessionStore struct {
	*repo.Writer
	job *backupJob
}

func (s sessionStore) Lane() backup.Lane { return s.Writer.Lane() }

func (s sessionStore) PutSnapshot(ctx context.Context, record []byte) (blob.Name, error) {
	name, err := s.Writer.PutSnapshot(ctx, record)
	if err == nil {
		s.job.partials = append(s.job.partials, name)
	}
	return name, err
}

// run saves the snapshot. If the session is evicted meanwhile, packs that the snapshot refers to may be gone: the backup begins
// again with a new session, and compares with what it just saved. Only then the old snapshot goes.
func (j *backupJob) run(ctx context.Context) (saved, error) {
	if parent := j.options.Parent; parent != nil && parent.Record.Partial && j.isOf(parent.Record) {
		j.partials = append(j.partials, parent.Name)
	}
	save := j.save
	for try := 1; ; try++ {
		s, err := j.session(ctx, save)
		if errors.Is(err, repo.ErrEvicted) && try < sessionsMax {
			j.warnf("%v: saving again what is missing", err)
			j.unconfirmed = append(j.unconfirmed, s.Name)
			if j.options.Stdin != nil {
				save = func(ctx context.Context, w *repo.Writer) (saved, error) { return j.confirm(ctx, w, s.Record) }
				continue
			}
			j.options.Parent = &backup.Parent{Name: s.Name, Record: s.Record, Loader: j.repo}
			continue
		}
		if err != nil {
			return s, err
		}
		for _, name := range j.unconfirmed {
			if err := j.repo.RemoveSnapshot(ctx, name); err != nil {
				j.warnf("remove the unconfirmed snapshot %s: %v", name.Short(), err)
			}
		}
		j.removePartials(ctx)
		j.remember(j.repo, s)
		return s, nil
	}
}

// isOf reports whether a snapshot is of the same host and paths: --parent may name any.
func (j *backupJob) isOf(r *snapshot.Record) bool {
	mine := &j.options.Record
	return r.Host == mine.Host && samePaths(r.Paths, mine.Paths)
}

// session is one session: begin, save and commit.
func (j *backupJob) session(ctx context.Context, save func(context.Context, *repo.Writer) (saved, error)) (saved, error) {
	rec := &j.options.Record
	w, err := j.repo.NewWriter(ctx, repo.WriterOptions{Compression: j.level, Absent: j.absent,
		Session: repo.NewSession(repo.PurposeBackup, rec.Host, rec.User, rec.Program)})
	if err != nil {
		return saved{}, err
	}
	for _, err := range w.View().Warnings {
		j.warnf("%v", err)
	}
	rec.Session = w.Session()
	s, err := save(ctx, w)
	if err == nil || errors.Is(err, repo.ErrEvicted) {
		return s, err
	}
	return s, j.abort(ctx, w, err)
}

// save reads and saves the source, and commits the snapshot.
func (j *backupJob) save(ctx context.Context, w *repo.Writer) (saved, error) {
	j.progress = new(backup.Progress)
	if p := j.options.Parent; p != nil && !p.Record.Partial { // the best guess that there is
		j.progress.EndFiles.Store(p.Record.Stats.Files)
		j.progress.EndBytes.Store(p.Record.Stats.Bytes)
	}
	begin := time.Now()
	stop := j.showProgress(func() doing { return doingOf(j.progress) })
	defer stop()
	defer j.survey(ctx)()
	var rec *snapshot.Record
	err := j.hooks.read(ctx, w, j.repo, func() (err error) {
		if rec, err = backup.Run(ctx, sessionStore{w, j}, j.options, j.progress); err != nil {
			return err
		}
		return j.torn.judge(rec)
	})
	if err != nil {
		return saved{}, err
	}
	if err := w.Flush(ctx); err != nil { // so that the record can say what was stored
		return saved{}, err
	}
	rec.End = time.Now()
	rec.Stats.DurationMS = uint64(rec.End.Sub(begin).Milliseconds())
	rec.Stats.Blobs, rec.Stats.Added, rec.Stats.Stored = w.Added()
	name, err := w.Commit(ctx, rec.Encode())
	return saved{Name: name, Record: rec}, err
}

// survey counts what there is to do beside the backup, if progress is shown and no parent tells it. The returned function ends it.
func (j *backupJob) survey(ctx context.Context) (stop func()) {
	if !j.showsProgress() || j.options.Stdin != nil || j.progress.EndBytes.Load() > 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done, progress := make(chan struct{}), j.progress
	go func() {
		defer close(done)
		files, bytes := backup.Survey(ctx, &j.options)
		if ctx.Err() == nil {
			progress.EndFiles.Store(files)
			progress.EndBytes.Store(bytes)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// confirm commits a record again, in a new session. It is for streams, which can't be read again: all that the snapshot needs must still be
// there, if only in the trash.
func (j *backupJob) confirm(ctx context.Context, w *repo.Writer, rec *snapshot.Record) (saved, error) {
	if err := successor.LookUp(ctx, j.repo, w, rec); err != nil {
		return saved{}, fmt.Errorf("look whether all of the stream is still there: %w: it can't be read again, and nothing was saved", err)
	}
	rec.Session = w.Session()
	name, err := w.Commit(ctx, rec.Encode())
	return saved{Name: name, Record: rec}, err
}

// abort ends a session that failed or was interrupted, such that the next one finds what was uploaded.
func (j *backupJob) abort(ctx context.Context, w *repo.Writer, why error) error {
	if isInterrupted(ctx) {
		why = errInterrupted
		j.notef("interrupted: noting what was uploaded; interrupt again to stop at once")
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	if err := w.Abort(last); err != nil {
		j.detailf("end the session: %v", err)
		return why
	}
	if why != errInterrupted {
		return why
	}
	_, _, stored := w.Added()
	return withHint(fmt.Errorf("%w: no snapshot was made, but the %s that were uploaded are kept", why, bytesText(stored)),
		"run the same command again, and it goes on with them")
}

// removePartials removes the snapshots of the way, which the final one takes the place of.
func (j *backupJob) removePartials(ctx context.Context) {
	if len(j.partials) == 0 {
		return
	}
	if _, err := j.repo.RemoveReplaced(ctx, j.partials); err != nil {
		j.detailf("unfinished snapshots stay: %v", err)
	}
}

func doingOf(p *backup.Progress) doing {
	d := doing{files: p.Files.Load(), bytes: p.Bytes.Load(), problems: p.Problems.Load(), endFiles: p.EndFiles.Load(), endBytes: p.EndBytes.Load()}
	if at := p.Current.Load(); at != nil {
		d.current = *at
	}
	if p.Finishing.Load() {
		d.stage = "finishing"
	}
	return d
}
