package bench

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// How the workloads are made. All that is random has a fixed seed.

const linuxArchives = "/usr/src/linux-source-*.tar.*" // of Debian's package linux-source

func makeLinux(ctx context.Context, p *Prepared) error {
	found, err := filepath.Glob(linuxArchives)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		archive := found[len(found)-1]
		p.what = filepath.Base(archive)
		_, err := Measure(ctx, Command{Args: []string{"tar", "-xf", archive, "-C", p.Tree}})
		return err
	}
	root, err := output(ctx, Command{Args: []string{"go", "env", "GOROOT"}})
	if err != nil {
		return fmt.Errorf("no %s (apt-get install linux-source), and no Go: %w", linuxArchives, err)
	}
	if p.what, err = output(ctx, Command{Args: []string{"go", "version"}}); err != nil {
		return err
	}
	_, err = Measure(ctx, Command{Args: []string{"cp", "-a", root + "/.", p.Tree}})
	return err
}

const (
	smallCount     = 200_000
	smallPerFolder = 1000
)

// makeSmall cuts texts into pieces.
func makeSmall(ctx context.Context, p *Prepared) error {
	linux, err := p.other(ctx, "linux")
	if err != nil {
		return err
	}
	p.what = linux.what
	random, made := rand.New(rand.NewPCG(1, 1)), 0
	err = files(ctx, linux.Tree, func(path string, d fs.DirEntry) error {
		switch filepath.Ext(path) {
		case ".c", ".h", ".txt", ".rst", ".go":
		default:
			return nil
		}
		text, err := os.ReadFile(path)
		for err == nil && len(text) > 0 && made < smallCount {
			n := min(1024+random.IntN(3073), len(text))
			err = writeNumbered(p.Tree, made, ".txt", text[:n])
			made, text = made+1, text[n:]
		}
		if made == smallCount && err == nil {
			err = fs.SkipAll
		}
		return err
	})
	if err == nil && made < smallCount {
		err = fmt.Errorf("only %d files: %s has too little text; install linux-source", made, linux.what)
	}
	return err
}

// writeNumbered writes file number n, of a thousand in each folder.
func writeNumbered(tree string, n int, ext string, data []byte) error {
	dir := filepath.Join(tree, fmt.Sprintf("%04d", n/smallPerFolder))
	if n%smallPerFolder == 0 {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, fmt.Sprintf("%07d%s", n, ext)), data, 0o644)
}

const (
	mediaCount = 5000
	mediaMean  = 140_000 // bytes
)

func makeMedia(ctx context.Context, p *Prepared) error {
	random := rand.New(rand.NewChaCha8([32]byte{2}))
	for n := range mediaCount {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		data := make([]byte, 1000+int(random.ExpFloat64()*mediaMean)) // as sizes of pictures are: most of them small, some large
		fill(random, data)
		dir := filepath.Join(p.Tree, fmt.Sprintf("%02d", n/100))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d.jpg", n)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func fill(random *rand.Rand, data []byte) {
	for len(data) >= 8 {
		binary.LittleEndian.PutUint64(data, random.Uint64())
		data = data[8:]
	}
	for i := range data {
		data[i] = byte(random.Uint32())
	}
}

// makeMillion makes so many files: a tenth of them hold their number.
func makeMillion(number int) func(context.Context, *Prepared) error {
	return func(ctx context.Context, p *Prepared) error {
		for n := range number {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			var data []byte
			if n%10 == 0 {
				data = fmt.Appendf(nil, "this is file number %d\n", n)
			}
			if err := writeNumbered(p.Tree, n, "", data); err != nil {
				return err
			}
		}
		return nil
	}
}

const releasesOf = "k8s.io/kubernetes"

func releases() []string { return []string{"v1.31.0", "v1.31.3", "v1.32.0", "v1.33.0"} }

// makeVersions takes releases from the module cache; the first lies in the tree, and the others beside it.
func makeVersions(ctx context.Context, p *Prepared) error {
	p.what = strings.Join(releases(), ", ")
	for n, version := range releases() {
		dir, err := downloaded(ctx, releasesOf+"@"+version)
		if err != nil {
			return err
		}
		to := p.version(n)
		if n == 0 {
			to = p.current()
		}
		if _, err := Measure(ctx, Command{Args: []string{"cp", "-a", "--no-preserve=mode", dir, to}}); err != nil {
			return err
		}
	}
	return nil
}

// downloaded is the folder of a module in the module cache.
func downloaded(ctx context.Context, module string) (string, error) {
	var out strings.Builder
	cmd := Command{Args: []string{"go", "mod", "download", "-json", module}, Dir: os.TempDir(), Stdout: &out}
	if _, err := Measure(ctx, cmd); err != nil {
		return "", err
	}
	var m struct{ Dir string }
	if err := json.Unmarshal([]byte(out.String()), &m); err != nil || m.Dir == "" {
		return "", fmt.Errorf("go mod download %s: no folder: %w", module, err)
	}
	return m.Dir, nil
}

func (p *Prepared) version(n int) string { return filepath.Join(p.dir, fmt.Sprintf("version%d", n)) }
func (p *Prepared) current() string      { return filepath.Join(p.Tree, "source") }

func nextVersion(_ context.Context, p *Prepared, n int) error {
	if err := os.Rename(p.current(), p.version(n-1)); err != nil {
		return err
	}
	return os.Rename(p.version(n), p.current())
}

// firstVersion puts the first release back. The one that is not beside the tree is in it; or none is, between two renames.
func firstVersion(p *Prepared) error {
	for n := range releases() {
		if _, err := os.Lstat(p.version(n)); errors.Is(err, fs.ErrNotExist) {
			if n == 0 {
				return nil
			}
			if err := os.Rename(p.current(), p.version(n)); err != nil {
				return err
			}
		}
	}
	return os.Rename(p.version(0), p.current())
}

const (
	imageName = "disk.img"
	imageSize = "2G"
	addedSize = 20 << 20 // bytes of new files in a changed image: a hundredth of it
)

func makeVM(ctx context.Context, p *Prepared) error {
	linux, err := p.other(ctx, "linux")
	if err != nil {
		return err
	}
	p.what = linux.what
	args := []string{tool("mke2fs"), "-q", "-t", "ext4", "-E", "hash_seed=00000000-0000-0000-0000-000000000001", "-U", "00000000-0000-0000-0000-000000000002",
		"-d", linux.Tree, filepath.Join(p.Tree, imageName), imageSize}
	_, err = Measure(ctx, Command{Args: args})
	return err
}

// tool is a program of the system, which may be where only root looks.
func tool(name string) string {
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path := filepath.Join(dir, name); exists(path) {
			return path
		}
	}
	return name
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// changeVM works on the file system in the image as a guest would: new files, and as many old ones removed.
func changeVM(ctx context.Context, p *Prepared, n int) error {
	image := filepath.Join(p.Tree, imageName)
	old, err := p.putAside(image)
	if err != nil {
		return err
	}
	if err := copyFile(image, old); err != nil {
		return err
	}
	linux, err := p.other(ctx, "linux")
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(p.dir, "change")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	script, err := changeScript(ctx, scratch, linux.Tree, n)
	if err != nil {
		return err
	}
	_, err = Measure(ctx, Command{Args: []string{tool("debugfs"), "-w", "-f", script, image}})
	return err
}

// changeScript writes what debugfs shall do, and the files that it adds: what old ones hold, in another order.
func changeScript(ctx context.Context, scratch, tree string, n int) (string, error) {
	random := rand.New(rand.NewPCG(3, uint64(n)))
	var script strings.Builder
	added, size := 0, 0
	err := files(ctx, tree, func(path string, d fs.DirEntry) error {
		if random.IntN(100) > 0 || strings.ContainsAny(path, " \"\\") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(tree, path)
		if err != nil {
			return err
		}
		lines := strings.SplitAfter(string(text), "\n")
		random.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
		name := filepath.Join(scratch, fmt.Sprint("file", added))
		fmt.Fprintf(&script, "rm /%s\nwrite %s /new%d\n", rel, name, added)
		added++
		if err := os.WriteFile(name, []byte(strings.Join(lines, "")), 0o644); err != nil {
			return err
		}
		if size += len(text); size > addedSize {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	path := filepath.Join(scratch, "script")
	return path, os.WriteFile(path, []byte(script.String()), 0o644)
}
