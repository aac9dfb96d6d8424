package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/repair"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage"
	"github.com/tarn-backup/tarn/snapshot"
)

// The exit codes. They are restic's where restic has one.
const (
	exitGood         = 0
	exitFailed       = 1
	exitNotWhole     = 3 // saved, but some files are torn, or could not be read, or not with all their metadata
	exitNoSnapshot   = 4 // saved and whole, but not from the file system snapshot that was asked for
	exitNoRepository = 10
	exitBusy         = 11 // somebody prunes just now
	exitPassword     = 12
	exitInterrupted  = 130
)

// errTold ends a command with a code when all has been said.
type errTold int

func (e errTold) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// usageError says that a command line makes no sense.
type usageError struct {
	error
	command string
}

// hinted is an error with a hint of its own.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// withHint adds what a person may do about an error.
func withHint(err error, format string, args ...any) error {
	return hinted{err, fmt.Sprintf(format, args...)}
}

// finish tells an error and returns the exit code.
func (a *app) finish(ctx context.Context, err error) int {
	defer a.stdout.Flush()
	var told errTold
	switch {
	case err == nil:
		if err := a.stdout.Flush(); err != nil { // a full disk, or a pipe that nobody reads
			err = fmt.Errorf("write the result: %w", err)
			a.tell(exitFailed, err)
			return exitFailed
		}
		return exitGood
	case errors.As(err, &told):
		return int(told)
	}
	if isInterrupted(ctx) && !errors.Is(err, errInterrupted) {
		err = errInterrupted // whatever it led to
	}
	code := exitCode(err)
	a.tell(code, err)
	return code
}

// tell prints an error, and a hint if there is one.
func (a *app) tell(code int, err error) {
	a.stdout.Flush()
	hint := a.hint(err)
	if a.json {
		a.emit(errorLine{Type: "error", Code: code, Message: err.Error(), Hint: hint})
		a.stdout.Flush()
		return
	}
	a.sayf("%s %s\n", a.stderr.red("tarn:"), a.stderr.text(err.Error()))
	if hint != "" {
		a.sayf("hint: %s\n", a.stderr.text(hint))
	}
}

func exitCode(err error) int {
	switch {
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.Is(err, repo.ErrNoRepository):
		return exitNoRepository
	case errors.Is(err, repo.ErrPassword):
		return exitPassword
	case errors.Is(err, repair.ErrPruning):
		return exitBusy
	}
	return exitFailed
}

func (a *app) hint(err error) string {
	var own hinted
	var usage usageError
	switch {
	case errors.As(err, &own):
		return own.hint
	case errors.As(err, &usage):
		return fmt.Sprintf("\"%s --help\" says more", usage.command)
	case errors.Is(err, repo.ErrNoRepository) && a.passwordPrefix != "":
		return "check the path of the repository to copy from"
	case errors.Is(err, repo.ErrNoRepository):
		return "check -r or TARN_REPOSITORY; \"tarn init\" makes a repository"
	case errors.Is(err, repo.ErrPassword):
		if a.passwordFrom != "" {
			return "the password came from " + a.passwordFrom
		}
		return ""
	case errors.Is(err, repo.ErrOldKey):
		return "use the new password; the rotation was interrupted, and with that \"tarn key rotate\" or \"tarn key remove\" removes the old ones"
	case errors.Is(err, repo.ErrExists):
		return "back up to it, or name another folder"
	case errors.Is(err, seal.ErrVersion):
		return "update tarn; \"tarn version\" says which one this is"
	case errors.Is(err, repo.ErrBlind):
		return "\"tarn repair trash\" mends this while nobody prunes. Restores are not affected"
	case errors.Is(err, storage.ErrFull):
		return "nothing that was saved is lost: make room and run the same command again, it goes on from there"
	case isDamage(err):
		return "\"tarn check --read-data\" says what else is damaged; snapshots that don't need it are not affected"
	case errors.Is(err, snapshot.ErrNotFound):
		return "\"tarn ls ID --recursive\" lists what a snapshot has"
	case errors.Is(err, fs.ErrPermission) && a.isFar():
		return "docs/repositories.md says where credentials come from, and what they have to allow"
	case errors.Is(err, fs.ErrPermission):
		return "run tarn as a user who may do this"
	}
	return ""
}

// ownHint keeps what this program would say of an error with it: of a second repository the first one knows less.
func (a *app) ownHint(err error) error {
	if hint := a.hint(err); hint != "" {
		return withHint(err, "%s", hint)
	}
	return err
}

// isDamage reports whether stored bytes are damaged, missing, or fewer than they were.
func isDamage(err error) bool {
	return repo.IsCorrupt(err) || errors.Is(err, repo.ErrNoBlob) || errors.Is(err, io.ErrUnexpectedEOF)
}
