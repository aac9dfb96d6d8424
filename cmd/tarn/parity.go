package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/parity"
)

type parityLine struct {
	Type      string `json:"type"`
	Data      string `json:"data"`
	Metadata  string `json:"metadata"`
	Covered   int    `json:"packs_covered"`
	Uncovered int    `json:"packs_uncovered"`
	Groups    int    `json:"groups"`
	Unsound   int    `json:"groups_unsound"`
}

func newParity(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "parity [N/K|off]", Short: "Protect packs against damage on the disk", Args: argsBetween(0, 1),
		Long: `With N/K each group of N packs gets K objects of Reed-Solomon parity: any K of the N + K may be damaged or lost, and
"tarn repair packs" makes them again. 10/1 costs a tenth of the space, 10/2 a fifth; more where a backup stores few
packs, since its last group is shorter: the parity of one pack alone is as long as the pack. It is for single bad sectors and lost files, not
for a lost disk: that needs a copy elsewhere.

The setting holds for all that is saved from now on, and parity is made for the packs that have none yet, which reads them. "off"
ends it; packs that hold nothing but metadata keep 10/1, as is usual. Without an argument this tells what there is.`,
		Example: "  tarn parity\n  tarn parity 10/2\n  tarn parity off",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.parity(cmd.Context(), args)
		},
	}
}

// parsePolicy reads a policy as people write it.
func parsePolicy(s string) (repo.Policy, error) {
	p := repo.DefaultPolicy()
	if s == "" {
		return p, nil
	}
	ratio, err := parity.ParseRatio(s)
	if err == nil && !ratio.IsZero() {
		p = repo.Policy{Data: ratio, Meta: ratio}
	}
	return p, err
}

func (a *app) parity(ctx context.Context, args []string) error {
	var policy repo.Policy
	if len(args) > 0 {
		var err error
		if policy, err = parsePolicy(args[0]); err != nil {
			return err
		}
	}
	r, err := a.openWith(ctx, noCache)
	if err != nil {
		return err
	}
	defer r.Close()
	if len(args) > 0 {
		if err := r.SetParityPolicy(ctx, policy); err != nil {
			return err
		}
	}
	if policy, err = r.ParityPolicy(ctx); err != nil {
		return err
	}
	set, err := r.Parity(ctx) // before the view, as RenewParity wants it
	if err != nil {
		return err
	}
	v, err := r.Refresh(ctx)
	if err != nil {
		return err
	}
	packs, err := r.ParityPacks(ctx, v, nil)
	if err != nil {
		return err
	}
	damaged := 0
	if len(args) > 0 {
		bad, err := set.Cover(ctx, packs, func(p parity.Pack) { a.detailf("read pack %s", p.Name.Short()) })
		if err != nil {
			return err
		}
		if set, err = r.Parity(ctx); err != nil {
			return err
		}
		damaged = len(bad)
	}
	for _, f := range set.Faults {
		a.warnf("%v", f)
	}
	a.parityDone(policy, set.Coverage(packs))
	if damaged > 0 {
		a.notef("hint: %s damaged: \"tarn repair packs\"", counted(damaged, "pack"))
		return errTold(exitFailed)
	}
	return nil
}

func (a *app) parityDone(p repo.Policy, c *parity.Coverage) {
	if a.json {
		a.emit(parityLine{"parity", p.Data.String(), p.Meta.String(), c.Covered, c.Uncovered, c.Groups, c.Unsound})
		return
	}
	a.outf("parity of data %s, of metadata %s\n", p.Data, p.Meta)
	a.outf("%s protected, %d still to be; %s\n", counted(c.Covered, "pack"), c.Uncovered, counted(c.Groups, "group"))
	if c.Unsound > 0 {
		a.notef("%s no longer whole: \"tarn repair packs\" makes them again", counted(c.Unsound, "group"))
	}
}
