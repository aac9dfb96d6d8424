package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"

	"github.com/tarn-backup/tarn/bench"
	"github.com/tarn-backup/tarn/bench/page"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "benchpage:", err)
		os.Exit(1)
	}
}

func run(paths []string) error {
	if len(paths) == 0 {
		return errors.New("usage: benchpage REPORT... >PAGE.html; \"tarn bench run --report FILE\" writes a report")
	}
	all, err := bench.ReadReports(paths)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	if err := page.Write(out, all); err != nil {
		return err
	}
	return out.Flush()
}
