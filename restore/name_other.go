//go:build !linux

package restore

import (
	"fmt"
	"os"
	"path/filepath"
)

// WTF-8 takes up to three bytes for each of the 255 UTF-16 units of a name on Windows.
const (
	nameMax    = 765
	badInNames = "/\x00" + string(os.PathSeparator)
)

// checkLocalName refuses names that mean something else here, as "NUL" and "a:b" do on Windows.
func checkLocalName(name string) error {
	if !filepath.IsLocal(name) || filepath.Base(name) != name {
		return fmt.Errorf("name %q can't be used on this system", name)
	}
	return nil
}
