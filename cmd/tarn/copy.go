package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/rewrite"
	"github.com/tarn-backup/tarn/snapshot"
)

// fromFlags name a second repository.
type fromFlags struct {
	repository, file, command string
}

func (f *fromFlags) flags(fs *pflag.FlagSet, name, usage string) {
	fs.StringVar(&f.repository, name, "", usage)
	fs.StringVar(&f.file, "from-password-file", "", "read its password from `FILE` (TARN_FROM_PASSWORD)")
	fs.StringVar(&f.command, "from-password-command", "", "run `COMMAND`, which prints its password")
}

// from is the program as if it had been started for another repository.
func (a *app) from(f *fromFlags) *app {
	b := newApp(a.stdin, a.stdout.file, a.stderr.file)
	b.repository, b.passwordFile, b.passwordCommand, b.kdfMaxMemory = f.repository, f.file, f.command, a.kdfMaxMemory
	b.stdout, b.stderr = a.stdout, a.stderr // one buffer each, which is flushed
	b.waits = a.waits
	b.json, b.quiet, b.verbose, b.store, b.cache = a.json, a.quiet, a.verbose, a.store, a.cache
	b.passwordEnv, b.passwordPrefix = "TARN_FROM_PASSWORD", "from-"
	if f.repository == "" {
		b.repository = os.Getenv("TARN_FROM_REPOSITORY")
	}
	return b
}

type copiedLine struct {
	Type   string `json:"type"`
	From   string `json:"from_id"`
	ID     string `json:"id"`
	Blobs  uint64 `json:"blobs_added"`
	Added  uint64 `json:"bytes_added"`
	Stored uint64 `json:"bytes_stored"`
}

type copySummaryLine struct {
	Type    string `json:"type"`
	Copied  int    `json:"copied"`
	Skipped int    `json:"skipped"`
	Damaged int    `json:"damaged"`
}

func newCopy(a *app) *cobra.Command {
	var from fromFlags
	var c criteria
	cmd := &cobra.Command{
		Use: "copy [ID...]", Short: "Copy snapshots from another repository", Args: argsBetween(0, -1),
		Long: `Copy snapshots from another repository to this one, all or those that are named. What was copied before is passed over, and
what is there already is not stored again, so an interrupted copy goes on when it is run again. Everything that is read is
compared with its hash.

Make the target with "tarn init --copy-params-from", so that both cut files at the same places: else later backups to the
target store again what copies brought.`,
		Example: `  tarn -r /mnt/second init --copy-params-from /backup/repo
  tarn -r /mnt/second copy --from-repository /backup/repo
  tarn -r /mnt/second copy --from-repository /backup/repo --host laptop latest`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.copy(cmd.Context(), &from, c, args) },
	}
	from.flags(cmd.Flags(), "from-repository", "copy from `REPOSITORY` (TARN_FROM_REPOSITORY)")
	c.flags(cmd.Flags())
	return cmd
}

func (a *app) copy(ctx context.Context, f *fromFlags, c criteria, args []string) error {
	source := a.from(f)
	if source.repository == "" {
		return withHint(errors.New("no repository to copy from is named"), "name it with --from-repository PATH")
	}
	from, err := source.open(ctx)
	if err != nil {
		return source.ownHint(err)
	}
	defer from.Close()
	to, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer to.Close()
	if from.Config().Repo == to.Config().Repo {
		return errors.New("both repositories are the same")
	}
	list, unreadable, err := source.chosen(ctx, from.Repo, c, args)
	if err != nil {
		return err
	}
	have, err := a.loadSnapshots(ctx, to.Repo, criteria{partial: true})
	if err != nil {
		return err
	}
	j := &copyJob{app: a, from: from.Repo, to: to.Repo, here: map[blob.Name]bool{}, known: map[blob.Name]blob.Name{}}
	for _, s := range have {
		if s.Unconfirmed { // it may lack something, and another copy would bring that
			continue
		}
		j.here[s.Name] = true
		if o := s.Record.Origin; o.Repo == from.Config().Repo {
			j.known[o.Name] = s.Name
		}
	}
	copied, there, damaged := 0, 0, 0
	for _, name := range unreadable {
		if _, ok := j.known[name]; ok {
			there++
		} else {
			damaged++
		}
	}
	for _, s := range list {
		done, err := j.copy(ctx, s)
		switch {
		case err != nil && isDamage(err) && ctx.Err() == nil: // no reason to leave the others without a copy
			a.warnf("copy snapshot %s: %v", s.Name.Short(), err)
			damaged++
		case err != nil:
			return fmt.Errorf("copy snapshot %s: %w", s.Name.Short(), err)
		case done:
			copied++
		default:
			there++
		}
	}
	if a.json {
		a.emit(copySummaryLine{"summary", copied, there, damaged})
	} else {
		a.outf("copied %s; %d were there already\n", counted(copied, "snapshot"), there)
	}
	if damaged > 0 {
		return withHint(fmt.Errorf("%s could not be copied", counted(damaged, "damaged snapshot")),
			"\"tarn check\" of the repository to copy from says what is damaged; \"tarn repair snapshots\" makes the best of it, and that can be copied")
	}
	return nil
}

// chosen returns the snapshots that a command means: those that are named, or all that match; and names those that can't be read, which were told of.
func (a *app) chosen(ctx context.Context, r *repo.Repo, c criteria, args []string) (list []saved, unreadable []blob.Name, err error) {
	if len(args) == 0 {
		return a.loadReadable(ctx, r, c)
	}
	for _, selector := range args {
		s, _, err := a.selectSnapshot(ctx, r, selector, c)
		switch {
		case err == nil:
			list = append(list, s)
		case s.Name.IsZero() || errors.Is(err, storage.ErrNotExist) || ctx.Err() != nil:
			return nil, nil, err
		default:
			a.warnf("%v", err)
			unreadable = append(unreadable, s.Name)
		}
	}
	return list, unreadable, nil
}

// copyJob copies snapshots one after the other, each in a session of its own.
type copyJob struct {
	*app
	from, to *repo.Repo
	here     map[blob.Name]bool      // snapshots of the target
	known    map[blob.Name]blob.Name // snapshots of the source that the target has, and what they are called there
	copier   rewrite.Copier
	bytes    atomic.Uint64
}

// copy copies one snapshot, unless it is there already or came from there.
func (j *copyJob) copy(ctx context.Context, s saved) (bool, error) {
	if name, ok := j.known[s.Name]; ok {
		j.detailf("snapshot %s is there as %s", s.Name.Short(), name.Short())
		return false, nil
	}
	if o := s.Record.Origin; o.Repo == j.to.Config().Repo && j.here[o.Name] {
		j.detailf("snapshot %s came from there", s.Name.Short())
		return false, nil
	}
	for try := 1; ; try++ {
		name, err := j.session(ctx, s)
		if errors.Is(err, repo.ErrEvicted) && try < sessionsMax {
			j.warnf("%v: copying again what is missing", err)
			if err := j.to.RemoveSnapshot(ctx, name); err != nil {
				return false, err
			}
			continue
		}
		if err == nil {
			j.known[s.Name] = name
		}
		return err == nil, err
	}
}

func (j *copyJob) session(ctx context.Context, s saved) (name blob.Name, err error) {
	w, err := j.to.NewWriter(ctx, repo.WriterOptions{Session: j.app.session(repo.PurposeCopy), Compression: pack.Default})
	if err != nil {
		return name, err
	}
	begin := time.Now()
	stop := j.showProgress(func() doing { return doing{bytes: j.bytes.Load(), current: s.Name.Short()} })
	rec, err := j.record(ctx, w, s)
	stop()
	if err == nil {
		name, err = w.Commit(ctx, rec.Encode())
	}
	if err != nil {
		if !errors.Is(err, repo.ErrEvicted) {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
			defer cancel()
			err = errors.Join(err, w.Abort(last))
		}
		return name, err
	}
	blobs, added, stored := w.Added()
	if j.json {
		j.emit(copiedLine{"copied", s.Name.String(), name.String(), blobs, added, stored})
	} else {
		j.outf("snapshot %s of %s copied as %s; added %s, stored %s; took %s\n", s.Name.Short(), timeText(s.Record.Time), name.Short(),
			bytesText(added), bytesText(stored), tookText(time.Since(begin)))
	}
	return name, nil
}

// record copies what a snapshot refers to, and returns its record in the target.
func (j *copyJob) record(ctx context.Context, w *repo.Writer, s saved) (*snapshot.Record, error) {
	lanes := make([]rewrite.Lane, repo.Workers())
	for i := range lanes {
		lanes[i] = w.Lane()
	}
	meta := j.to.MetaChunker()
	j.copier.From = j.from
	j.copier.Copied = func(n int) { j.bytes.Add(uint64(n)) }
	j.copier.Begin(snapshot.Lists{Saver: lanes[0], Cutter: meta, Max: meta.Params().Max}, lanes, w.Has)
	rec := *s.Record
	if err := j.copier.Root(ctx, &rec.Root); err != nil {
		return nil, err
	}
	var err error
	if rec.Scan, err = j.copier.Scan(ctx, rec.Scan); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		j.warnf("snapshot %s: %v: the next backup reads all files again", s.Name.Short(), err)
		rec.Scan = snapshot.Content{}
	}
	rec.Session, rec.Parent = w.Session(), j.known[rec.Parent]
	rec.Original = blob.Name{}
	if rec.Origin.IsZero() || rec.Origin.Repo == j.to.Config().Repo {
		rec.Origin = snapshot.Origin{Repo: j.from.Config().Repo, Name: s.Name}
	}
	return &rec, nil
}
