// Command tarn backs up folders to a deduplicating, sealed repository, and gets them back.
//
// Each command has a file of its own, or several that begin with its name, for its flags and what it does, top down. What they share is named by noun: repository.go
// opens one, password.go asks, selector.go finds snapshots, interrupt.go turns signals into the end of a context, errors.go turns errors into
// hints and exit codes. What people see is made by table.go, size.go, name.go, style.go, and progress.go; what programs see by json.go, which
// docs/json.md describes.
//
// Results go to standard output, and all else (progress, warnings, errors) to standard error. Whatever a repository or a source folder
// names is escaped before it comes to a terminal.
//
// Hints for people are made here: the errors of the packages below say what went wrong, and hardly ever what to do.
package main
