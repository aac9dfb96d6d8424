package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/tarn-backup/tarn/backup"
	"github.com/tarn-backup/tarn/filter"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/pack"
	"github.com/tarn-backup/tarn/snapshot"
)

// backupFlags are the flags of one backup.
type backupFlags struct {
	excludes         patternFlags
	excludeIfPresent []string
	excludeCaches    bool
	excludeLarger    size
	oneFileSystem    bool

	filesFrom, filesFrom0 []string
	stdin                 bool
	stdinName             string
	stdinCommand          bool

	tags   []string
	host   string
	time   string
	parent string
	force  bool

	heal        bool
	dryRun      bool
	compression string
	readers     int
	accessTime  bool

	hold holdFlags
	torn tornFlags
}

func newBackup(a *app) *cobra.Command {
	b := new(backupFlags)
	cmd := &cobra.Command{
		Use: "backup [PATH...]", Short: "Save files and folders as a new snapshot",
		Long: `Save files and folders as a new snapshot. What did not change since the last snapshot of the same paths is not read
again, and nothing is stored twice.

Patterns are those of gitignore: *.o leaves out by name; /tmp/x and /home/*/.cache by whole path; cache/ folders only;
**/a/b anywhere; !keep.o takes back what those before it leave out. The last pattern that matches decides.

If it is interrupted nothing is lost: run the same command again, and it goes on with what was uploaded.`,
		Example: `  tarn backup ~/Photos /etc
  tarn backup / --one-file-system --exclude '*.tmp' --exclude /var/cache/
  tarn backup --files-from0 list.bin --tag weekly
  tarn backup --stdin-from-command --stdin-filename db.sql -- pg_dump mydb`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.backup(cmd.Context(), b, args) },
	}
	b.flags(cmd.Flags())
	return cmd
}

func (b *backupFlags) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.VarP(b.excludes.value(filter.Exact, patternText), "exclude", "e", "leave out what matches `PATTERN`")
	f.Var(b.excludes.value(filter.Fold, patternText), "iexclude", "the same, and case does not matter")
	f.Var(b.excludes.value(filter.Exact, patternFile), "exclude-file", "leave out what matches a pattern in `FILE`, one a line")
	f.StringArrayVar(&b.excludeIfPresent, "exclude-if-present", nil, "leave out what is beside a file called `NAME`")
	f.BoolVar(&b.excludeCaches, "exclude-caches", false, "leave out what is beside a CACHEDIR.TAG")
	f.Var(&b.excludeLarger, "exclude-larger-than", "leave out files of more than `SIZE`")
	f.BoolVarP(&b.oneFileSystem, "one-file-system", "x", false, "stay on the file systems of the paths")
	f.StringArrayVar(&b.filesFrom, "files-from", nil, "also save the paths in `FILE` (- for standard input), one a line; # begins a remark")
	f.StringArrayVar(&b.filesFrom0, "files-from0", nil, "the same, with a NUL byte behind each path in `FILE`")
	f.BoolVar(&b.stdin, "stdin", false, "save standard input as a file")
	f.StringVar(&b.stdinName, "stdin-filename", "stdin", "the `NAME` of that file")
	f.BoolVar(&b.stdinCommand, "stdin-from-command", false, "save what a command prints; nothing if it fails")
	f.StringArrayVar(&b.tags, "tag", nil, "give the snapshot `TAG` (or TAG,TAG)")
	f.StringVar(&b.host, "host", "", "say that it is of `HOST`")
	f.StringVar(&b.time, "time", "", "say that it was made at `TIME` (2006-01-02 15:04:05)")
	f.StringVar(&b.parent, "parent", "", "compare with snapshot `ID` instead of the last one of the same host and paths")
	f.BoolVarP(&b.force, "force", "f", false, "compare with none: read all files")
	f.BoolVar(&b.heal, "heal", false, "read all packs first, and store again what is damaged in them")
	f.BoolVarP(&b.dryRun, "dry-run", "n", false, "write nothing, say what would be added")
	f.StringVar(&b.compression, "compression", "default", "compress by `LEVEL`: off, fast, default, better or max")
	f.IntVar(&b.readers, "read-concurrency", 0, "read `N` files at a time (one per processor)")
	b.hold.flags(f)
	b.torn.flags(f)
	f.BoolVar(&b.accessTime, "with-atime", false, "keep access times, too")
}

// backup is the command: what to read, with what to compare, and then the sessions.
func (a *app) backup(ctx context.Context, b *backupFlags, args []string) error {
	collectAfter(gcBackup)
	defer a.waitsFor("what is read or stored")()
	level, err := pack.ParseLevel(b.compression)
	if err != nil {
		return err
	}
	o, err := b.options()
	if err != nil {
		return err
	}
	if err := a.sources(ctx, b, args, &o); err != nil {
		return err
	}
	use := useCache
	if b.heal {
		use = noCache // what is stored is what may be damaged
	}
	r, err := a.openWith(ctx, use)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := a.excludes(b, r.folder(), &o); err != nil {
		return err
	}
	if err := o.Record.CheckGiven(); err != nil {
		return withHint(err, "name the folders that the files are in, and leave out what is not wanted with --exclude")
	}
	o.Data, o.Meta = r.DataChunker(), r.MetaChunker()
	if o.Parent, err = a.parent(ctx, r.Repo, b, &o); err != nil {
		return err
	}
	if b.stdinCommand {
		end, err := a.startCommand(ctx, args, &o)
		if err != nil {
			return err
		}
		defer end()
	}
	torn, err := b.torn.rules()
	if err != nil {
		return err
	}
	a.noteAnchored(append(b.torn.ok.texts(), b.torn.fatal.texts()...))
	if b.dryRun {
		return a.dryRun(ctx, r.Repo, o, &torn)
	}
	job := &backupJob{app: a, repo: r.Repo, options: o, level: level, torn: torn}
	if b.heal {
		if job.absent, err = a.absent(ctx, r.Repo); err != nil {
			return err
		}
	}
	job.hooks = &hooks{holdFlags: &b.hold, job: job}
	s, err := job.run(ctx)
	if err != nil {
		return err
	}
	lockErr := a.lockForLonger(ctx, r)
	if err = a.backupDone(s, job.progress); lockErr != nil {
		return lockErr
	}
	if err != nil {
		return err
	}
	return job.asAsked()
}

// lockForLonger locks what the repository's snapshots need, as --retain says.
func (a *app) lockForLonger(ctx context.Context, r *opened) error {
	locked, err := r.Hold(ctx, time.Now())
	if err != nil {
		return withHint(fmt.Errorf("not all that the snapshot needs is locked as --retain says: %w", err), "the next backup tries it again")
	}
	if locked > 0 {
		a.detailf("locked %s for longer", counted(locked, "object"))
	}
	return nil
}

// options are those that need nothing but the flags.
func (b *backupFlags) options() (backup.Options, error) {
	o := backup.Options{ExcludeIfPresent: b.excludeIfPresent, ExcludeCaches: b.excludeCaches, ExcludeLarger: uint64(b.excludeLarger),
		OneFileSystem: b.oneFileSystem, AccessTime: b.accessTime, Readers: b.readers}
	o.Record = snapshot.Record{Time: time.Now(), Host: b.host, User: userName(), Program: program(), Tags: splitTags(b.tags)}
	if o.Record.Host == "" {
		o.Record.Host = hostName()
	}
	o.Capture.Settle = time.Duration(b.hold.settle)
	if b.hold.settle == 0 {
		o.Capture.Settle = -1
	}
	if b.readers < 0 {
		return o, fmt.Errorf("--read-concurrency %d: want 1 or more", b.readers)
	}
	if b.time != "" {
		t, err := parseTime(b.time)
		if err != nil {
			return o, err
		}
		o.Record.Time = t
	}
	return o, nil
}

// parent chooses the snapshot to compare with: the newest of the same host and paths. A partial one will do, too; so an
// interrupted backup goes on.
func (a *app) parent(ctx context.Context, r *repo.Repo, b *backupFlags, o *backup.Options) (*backup.Parent, error) {
	if b.force || b.stdin || b.stdinCommand {
		return nil, nil
	}
	var s saved
	if b.parent != "" {
		var err error
		if s, _, err = a.selectSnapshot(ctx, r, b.parent, criteria{partial: true}); err != nil {
			return nil, fmt.Errorf("--parent: %w", err)
		}
	} else {
		list, err := a.loadSnapshots(ctx, r, criteria{hosts: []string{o.Record.Host}, partial: true})
		if err != nil {
			return nil, err
		}
		for _, l := range list { // the newest comes last
			if samePaths(l.Record.Paths, o.Record.Paths) && !l.Unconfirmed {
				s = l
			}
		}
		if s.Record == nil {
			a.detailf("no snapshot of these paths yet: reading all files")
			return nil, nil
		}
	}
	what := "snapshot"
	if s.Record.Partial {
		what = "unfinished snapshot"
	}
	a.detailf("comparing with %s %s of %s", what, s.Name.Short(), timeText(s.Record.Time))
	return &backup.Parent{Name: s.Name, Record: s.Record, Loader: r}, nil
}
