package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-backup/tarn/blob"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/storage"
)

// options are those that need nothing but the flags.
func (f *checkFlags) options() (check.Options, error) {
	o := check.Options{ReadData: f.data > 0, Fraction: float64(f.data), Turn: uint64(time.Now().Unix() / daySeconds)}
	if f.data > 0 && f.subset != "" {
		return o, errors.New("--read-data and --read-data-subset: give one of them")
	}
	if _, err := f.age(); err != nil {
		return o, err
	}
	if f.subset == "" {
		o.ReadData = o.ReadData || f.older != ""
		return o, nil
	}
	o.ReadData = true
	if n, m, ok := strings.Cut(f.subset, "/"); ok {
		part, err1 := strconv.ParseUint(n, 10, 32)
		parts, err2 := strconv.ParseUint(m, 10, 32)
		if err1 != nil || err2 != nil || part < 1 || part > parts {
			return o, fmt.Errorf("--read-data-subset %q: want the number of a part and how many there are, like 2/10", f.subset)
		}
		o.Fraction, o.Turn = 1/float64(parts), part-1
		return o, nil
	}
	if strings.HasSuffix(f.subset, "%") {
		return o, f.share(&o)
	}
	var s size // looks picks the packs
	if err := s.Set(f.subset); err != nil {
		return o, fmt.Errorf("--read-data-subset %q: want a part like 2/10, a share like 10%% or a size like 5G", f.subset)
	}
	return o, nil
}

func (f *checkFlags) share(o *check.Options) error {
	var s share
	if err := s.Set(f.subset); err != nil {
		return fmt.Errorf("--read-data-subset %q: %w", f.subset, err)
	}
	o.Fraction = float64(s)
	return nil
}

const daySeconds = 24 * 60 * 60

// age reads --older-than; it is negative if that was not given.
func (f *checkFlags) age() (time.Duration, error) {
	if f.older == "" {
		return -1, nil
	}
	var l length
	if err := l.Set(f.older); err != nil {
		return 0, fmt.Errorf("--older-than %q: %w", f.older, err)
	}
	return time.Duration(l), nil
}

// keeper keeps which packs were found good, and when.
type keeper struct {
	app    *app
	repo   *repo.Repo
	looks  *repo.Looks
	proven int
}

// looks lets a check that reads data look at what was looked at longest ago, and note what it finds good.
func (a *app) looks(ctx context.Context, r *repo.Repo, f *checkFlags, o *check.Options) (*keeper, error) {
	k := &keeper{app: a, repo: r}
	if !o.ReadData {
		return k, nil
	}
	var bad error
	var err error
	if k.looks, bad, err = r.Looks(ctx); err != nil {
		return nil, err
	}
	if bad != nil {
		a.detailf("%v", bad) // the check itself reports it, too
	}
	now := time.Now()
	o.Proven = func(pack blob.Name) {
		k.looks.Note(pack, now)
		k.proven++
	}
	var limit size
	if f.subset != "" && !strings.ContainsAny(f.subset, "/%") {
		if err := limit.Set(f.subset); err != nil {
			return nil, err
		}
	}
	age, err := f.age()
	if err != nil || limit == 0 && age < 0 {
		return k, err
	}
	share, turn := o.Fraction, o.Turn
	o.Pick = func(packs map[blob.Name]int64) map[blob.Name]bool {
		picked := k.pick(packs, now.Add(-max(age, 0)), int64(limit))
		for n := range picked {
			picked[n] = check.InShare(n, share, turn)
		}
		return picked
	}
	return k, nil
}

// pick chooses the packs that nobody looked at since a time, the longest ago first, up to about limit bytes; 0 is no limit.
func (k *keeper) pick(packs map[blob.Name]int64, since time.Time, limit int64) map[blob.Name]bool {
	var names []blob.Name
	for n := range packs {
		if !k.looks.Last(n).After(since) {
			names = append(names, n)
		}
	}
	slices.SortFunc(names, func(a, b blob.Name) int {
		return cmp.Or(k.looks.Last(a).Compare(k.looks.Last(b)), strings.Compare(a.String(), b.String()))
	})
	picked, sum := map[blob.Name]bool{}, int64(0)
	for _, n := range names {
		if limit > 0 && sum >= limit {
			break
		}
		picked[n] = true
		sum += packs[n]
	}
	return picked
}

// keep stores the dates. That it can't, on storage that can only be read, does not make the check less true.
func (k *keeper) keep(ctx context.Context) {
	if k.proven == 0 {
		return
	}
	v, err := k.repo.TakeView(ctx)
	if err == nil {
		err = k.repo.PutLooks(ctx, k.looks, v.Packs)
	}
	if err != nil {
		k.app.detailf("when the packs were looked at could not be kept: %v", err)
	}
}

// scrub compares hashes with names, without a key.
func (a *app) scrub(ctx context.Context, args []string) error {
	if len(args) > 0 {
		return usageError{errors.New("--scrub looks at everything: it takes no snapshots"), "tarn check"}
	}
	place, err := a.location()
	if err != nil {
		return err
	}
	d, err := a.reach(ctx, place, mustExist)
	if errors.Is(err, storage.ErrNotExist) {
		return fmt.Errorf("%s: %w", place.text, repo.ErrNoRepository)
	}
	if err != nil {
		return err
	}
	defer d.Close()
	begin := time.Now()
	sum, err := check.Scrub(ctx, d, a.finding)
	if err != nil {
		return err
	}
	if a.json {
		a.checkDone(&sum, check.Options{}, time.Since(begin))
	} else {
		a.outf("hashed %s and %s, %s; took %s\n", counted(sum.PacksRead, "pack"), counted(sum.Objects, "other object"),
			bytesText(uint64(sum.BytesRead)), tookText(time.Since(begin)))
	}
	if sum.Errors > 0 {
		if !a.json {
			a.outf("%s\n", a.stdout.red("damaged: "+errorsText(&sum)))
		}
		return errTold(exitFailed)
	}
	if !a.json {
		a.outf("%s\n", a.stdout.green("every hash is right"))
	}
	return nil
}
