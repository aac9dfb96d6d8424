package check_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/tarn-backup/tarn/repo"
	"github.com/tarn-backup/tarn/repo/check"
	"github.com/tarn-backup/tarn/repo/seal"
	"github.com/tarn-backup/tarn/repo/storage/memory"
)

func Example() {
	ctx := context.Background()
	s := memory.New()
	r, err := repo.Init(ctx, s, []byte("secret"), repo.InitOptions{KDF: seal.KDF{MemoryKiB: 8 << 10, Passes: 1, Lanes: 1}})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := s.Put(ctx, "index/desktop.ini", []byte("[ViewState]")); err != nil {
		fmt.Println(err)
	}
	sum, err := check.Run(ctx, r, check.Options{ReadData: true}, func(f check.Finding) { fmt.Println(f) })
	fmt.Println(sum.Errors, sum.Warnings, err)
	// Output:
	// warning: index/desktop.ini: this is none of tarn's; it is left alone
	// 0 1 <nil>
}

func ExampleScrub() {
	ctx := context.Background()
	s := memory.New()
	name := "snapshots/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	for _, data := range []string{"hello", "hellp"} {
		if err := s.Put(ctx, name, []byte(data)); err != nil {
			fmt.Println(err)
		}
		sum, err := check.Scrub(ctx, s, func(f check.Finding) { fmt.Println(f.Problem) })
		fmt.Println(sum.Errors, err)
	}
	// Output:
	// 0 <nil>
	// damaged: the hash of its bytes is not its name
	// 1 <nil>
}

func TestFindingString(t *testing.T) {
	f := check.Finding{Severity: check.Error, Object: "snapshots/ab", Problem: "damaged", Effect: "it is lost", Paths: []string{"a\x1b", "b"}, More: 3}
	if got, want := f.String(), `error: snapshots/ab: damaged; it is lost: "a\x1b" "b" and 3 more`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
