package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/tarn-backup/tarn/testing/torture"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}

func run() error {
	var o torture.Options
	flag.IntVar(&o.Entries, "entries", 0, "entries of the folder \"many\" (default 2000)")
	flag.IntVar(&o.Levels, "levels", 0, "levels of the folder \"deep\" (default 40)")
	flag.BoolVar(&o.Huge, "huge", false, "make a sparse file of more than 4 GiB too")
	describe := flag.Bool("describe", false, "describe the folder")
	remove := flag.Bool("remove", false, "remove the folder")
	flag.Parse()
	if flag.NArg() != 1 {
		return errors.New("want one folder")
	}
	dir := flag.Arg(0)
	switch {
	case *remove:
		return torture.Remove(dir)
	case *describe:
		lines, err := torture.Describe(dir)
		for _, line := range lines {
			fmt.Println(line)
		}
		return err
	}
	skipped, err := torture.Make(dir, o)
	for _, s := range skipped {
		fmt.Println("left out:", s)
	}
	return err
}
