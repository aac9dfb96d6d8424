package main

import (
	"bufio"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// app is what all commands share: the streams, and the flags that stand before or behind any command.
type app struct {
	stdin *os.File

	mu             sync.Mutex // guards the streams and drawn
	stdout, stderr stream
	drawn          int // lines of progress that stand on the terminal

	waits *atomic.Pointer[string] // what the program can't go on without just now, if it is known

	repository      string
	passwordFile    string
	passwordCommand string
	kdfMaxMemory    size
	json            bool
	quiet           bool
	verbose         bool
	noColor         bool
	store           storeFlags
	cache           cacheFlags

	passwordFrom   string // where the password came from, for the hint; empty if somebody typed it
	passwordEnv    string // the variable that may hold it
	passwordPrefix string // of the flags that say where it comes from, if it is of a second repository
}

// stream is an output, and what is known of who reads it.
type stream struct {
	*bufio.Writer
	file     *os.File
	terminal bool
	color    bool
}

func newStream(f *os.File) stream {
	s := stream{Writer: bufio.NewWriterSize(f, 64<<10), file: f, terminal: term.IsTerminal(int(f.Fd()))}
	s.color = s.terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return s
}

// flush writes what is buffered; an error comes up again at the end.
func (s *stream) flush() {
	if s.Writer != nil {
		s.Flush()
	}
}

// width is how many columns a line has.
func (s *stream) width() int {
	if w, _, err := term.GetSize(int(s.file.Fd())); err == nil && w > 0 {
		return w
	}
	return 80
}

func newApp(stdin, stdout, stderr *os.File) *app {
	return &app{stdin: stdin, stdout: newStream(stdout), stderr: newStream(stderr), waits: new(atomic.Pointer[string]), passwordEnv: "TARN_PASSWORD"}
}

// outf prints a part of the result.
func (a *app) outf(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintf(a.stdout, format, args...)
}

// notef tells people something beside the result.
func (a *app) notef(format string, args ...any) {
	if !a.json && !a.quiet {
		a.sayf(format+"\n", args...)
	}
}

// detailf tells people something that few want to know.
func (a *app) detailf(format string, args ...any) {
	if a.verbose {
		a.notef(format, args...)
	}
}

// warnf tells people, or programs, of something that is wrong and ends nothing.
func (a *app) warnf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if a.json {
		a.emit(warningLine{Type: "warning", Message: text})
		return
	}
	a.sayf("%s %s\n", a.stderr.yellow("warning:"), a.stderr.text(text))
}

// sayf prints to standard error, in place of the lines of progress.
func (a *app) sayf(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stdout.flush() // both may go to one terminal
	a.eraseLocked()
	fmt.Fprintf(a.stderr, format, args...)
	a.stderr.Flush()
}

const rootLong = `tarn keeps backups of folders: deduplicated, compressed, encrypted, and each file as it was at one moment,
also while it is in use.

The repository is named by -r or TARN_REPOSITORY: a folder, or s3:..., sftp:..., rest:..., rclone:... (docs/repositories.md). The password is asked for, or comes from --password-file,
--password-command or TARN_PASSWORD.

Snapshots are named by the beginning of their ID, by "latest", or by "latest~2", the second before the latest. A path
in one is written ID:PATH.

Exit codes: 0 good; 1 failed; 3 saved, but some files are torn, or could not be read, or not with all their metadata; 4 saved
and whole, but not from the file system snapshot that was asked for; 10 no repository; 11 somebody prunes it just now; 12 wrong password; 130 interrupted.`

const rootExample = `  tarn -r /backup/repo init
  tarn -r /backup/repo backup ~/Photos /etc
  tarn -r /backup/repo snapshots
  tarn -r /backup/repo restore latest --target /somewhere`

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use: "tarn", Short: "Keep backups: whole, small, and sealed", Long: rootLong, Example: rootExample,
		SilenceErrors: true, SilenceUsage: true, Version: versionText(),
		PersistentPreRun: func(cmd *cobra.Command, args []string) {
			if a.noColor {
				a.stdout.color, a.stderr.color = false, false
			}
		},
	}
	root.Flags().Bool("version", false, "print which version this is")
	f := root.PersistentFlags()
	f.BoolP("help", "h", false, "print this")
	f.StringVarP(&a.repository, "repository", "r", os.Getenv("TARN_REPOSITORY"), "the `REPOSITORY` to work with (TARN_REPOSITORY)")
	f.StringVar(&a.passwordFile, "password-file", "", "read the password from `FILE`, which nobody else may be able to read")
	f.StringVar(&a.passwordCommand, "password-command", "", "run `COMMAND`, which prints the password")
	f.Var(&a.kdfMaxMemory, "kdf-max-memory", "let a repository use `SIZE` of memory for hashing the password (256M)")
	f.BoolVar(&a.json, "json", false, "print lines of JSON (see docs/json.md)")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "print the result and errors only")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "say more")
	f.BoolVar(&a.noColor, "no-color", false, "no colours (NO_COLOR)")
	a.store.flags(f)
	a.cache.flags(f)
	f.Lookup("repository").DefValue = "" // the environment is no part of the help
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(flagError)
	root.SetVersionTemplate("tarn {{.Version}}\n")
	root.SetHelpFunc(a.help)
	root.SetHelpCommand(newHelp())
	root.AddCommand(newInit(a), newBackup(a), newSnapshots(a), newLs(a), newRestore(a), newMount(a), newUmount(a), newForget(a), newPrune(a), newCheck(a),
		newRepair(a), newParity(a), newCopy(a), newTag(a), newRewrite(a), newStats(a), newCat(a), newCache(a), newKey(a), newSession(a), newSource(a),
		newBench(a), newVersion(a))
	if err := complete(root); err != nil {
		panic(err) // two commands want to complete one flag
	}
	groups(root) // completion, too
	return root
}

// groups makes the commands that only have others below them print their help, and refuse what they don't have.
func groups(cmd *cobra.Command) {
	if !cmd.HasSubCommands() {
		return
	}
	cmd.Args = commandsOnly
	if cmd.RunE == nil {
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, c := range cmd.Commands() {
		groups(c)
	}
}
