package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"github.com/tarn-backup/tarn/repo/pack"
)

// pipeSegment is how many bytes are compressed as one, as tarn does.
const pipeSegment = 4 << 20

// Piped is what a pipe has done.
type Piped struct {
	Type   string `json:"type"`
	Files  int    `json:"files"`
	Read   int64  `json:"bytes_read"`
	Packed int64  `json:"bytes_packed"` // what the segments have when they are compressed
}

// Pipe reads all files below a folder, hashes them, and compresses them in segments, with one goroutine per processor; and that is all. No
// backup that does these three things can be faster: it is what the others are compared with.
func Pipe(ctx context.Context, dir string) (Piped, error) {
	workers := make([]pipe, runtime.GOMAXPROCS(0))
	paths := make(chan []string, 2*len(workers))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(paths)
		return batches(ctx, dir, paths)
	})
	for i := range workers {
		workers[i] = pipe{hash: blake3.New(), compress: pack.NewCompressor(pack.Default), segment: make([]byte, 0, pipeSegment)}
		group.Go(func() error { return workers[i].run(ctx, paths) })
	}
	err := group.Wait()
	done := Piped{Type: "piped"}
	for i := range workers {
		done.Files += workers[i].done.Files
		done.Read += workers[i].done.Read
		done.Packed += workers[i].done.Packed
	}
	return done, err
}

// batches sends the regular files below dir, some at a time.
func batches(ctx context.Context, dir string, paths chan<- []string) error {
	const batch = 64
	var list []string
	send := func() error {
		select {
		case paths <- list:
			list = nil
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if list = append(list, path); len(list) == batch {
			return send()
		}
		return nil
	})
	if err == nil && len(list) > 0 {
		err = send()
	}
	return err
}

// pipe is what one goroutine works with.
type pipe struct {
	hash     *blake3.Hasher
	compress *pack.Compressor
	segment  []byte
	sum      [32]byte
	done     Piped
}

func (p *pipe) run(ctx context.Context, paths <-chan []string) error {
	for list := range paths {
		for _, path := range list {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := p.file(path); err != nil {
				return fmt.Errorf("pipe %s: %w", path, err)
			}
		}
	}
	p.flush()
	return nil
}

func (p *pipe) file(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	p.done.Files++
	for {
		at := len(p.segment)
		n, err := io.ReadFull(f, p.segment[at:cap(p.segment)])
		p.segment = p.segment[:at+n]
		if n > 0 {
			p.hash.Reset()
			p.hash.Write(p.segment[at:])
			p.hash.Sum(p.sum[:0])
		}
		p.done.Read += int64(n)
		if len(p.segment) == cap(p.segment) {
			p.flush()
		}
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (p *pipe) flush() {
	if len(p.segment) > 0 {
		p.done.Packed += int64(len(p.compress.Compress(p.segment)))
		p.segment = p.segment[:0]
	}
}
