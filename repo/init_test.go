package repo_test

import (
	"errors"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage/dir"
)

// TestManyInitsAtOnce has machines make the same repository at the same moment: one of them does, the others are told, and nothing of theirs is left.
func TestManyInitsAtOnce(t *testing.T) {
	path := t.TempDir() + "/repo"
	kdf := seal.DefaultKDF
	kdf.MemoryKiB, kdf.Passes = 8<<10, 1
	made := make([]*repo.Repo, 8)
	var all errgroup.Group
	for i := range made {
		all.Go(func() error {
			d, err := dir.Create(path)
			if err != nil {
				return err
			}
			defer d.Close()
			made[i], err = repo.Init(t.Context(), d, []byte("far"), repo.InitOptions{KDF: kdf})
			if errors.Is(err, repo.ErrExists) {
				return nil
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	d, err := dir.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	r := openFar(t, d, repo.Far{})
	n := 0
	for _, m := range made {
		if m == nil {
			continue
		}
		if n++; m.Config().Repo != r.Config().Repo {
			t.Error("somebody made a repository that is not the one which is there")
		}
	}
	keys, err := r.Keys(t.Context())
	if n != 1 || err != nil || len(keys) != 1 {
		t.Errorf("%d made it, and it has %d keys (%v)", n, len(keys), err)
	}
}
