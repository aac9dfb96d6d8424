package backup_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/tarn-backup/tarn/backup"
	"github.com/tarn-backup/tarn/repo/storage/memory"
	"github.com/tarn-backup/tarn/snapshot"
)

// named leaves out what has this name.
type named string

func (n named) Match(path string, _ bool) bool { return filepath.Base(path) == string(n) }

// TestSurvey compares what a survey counts with what the backup then holds, for options that leave things out.
func TestSurvey(t *testing.T) {
	src := tree(t)
	for name, text := range map[string]string{"cache/CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55", "cache/big": "12345",
		"marked/.nobackup": "", "marked/left out": "123", snapshot.RestoringName(): "left out, too"} {
		path := filepath.Join(src, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, prepare := range map[string]func(*backup.Options){
		"all":     nil,
		"exclude": func(o *backup.Options) { o.Exclude = named("deep") },
		"larger":  func(o *backup.Options) { o.ExcludeLarger = 1 << 20 },
		"one":     func(o *backup.Options) { o.OneFileSystem = true },
		"a file":  func(o *backup.Options) { o.Paths = []string{filepath.Join(src, "sub/c")} },
		"marks":   func(o *backup.Options) { o.ExcludeCaches, o.ExcludeIfPresent = true, []string{".nobackup"} },
	} {
		t.Run(name, func(t *testing.T) {
			var options backup.Options
			_, rec := must(t, create(t, memory.New()), func(o *backup.Options) {
				if prepare != nil {
					prepare(o)
				}
				options = *o
			}, src)
			files, bytes := backup.Survey(context.Background(), &options)
			if rec.Stats.Files == 0 || files != rec.Stats.Files || bytes != rec.Stats.Bytes {
				t.Errorf("counted %d files of %d bytes, the backup has %d of %d", files, bytes, rec.Stats.Files, rec.Stats.Bytes)
			}
		})
	}
}
