package restore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tarn-backup/tarn/snapshot"
)

// checkNode refuses what must never reach the file system, and what no backup writes.
func checkNode(n *snapshot.Node) error {
	if err := checkName(n.Name); err != nil {
		return err
	}
	if n.Type == snapshot.Symlink {
		if n.Target == "" || len(n.Target) > targetMax || strings.IndexByte(n.Target, 0) >= 0 {
			return fmt.Errorf("bad symlink target of %d bytes", len(n.Target))
		}
	}
	if !n.Type.Valid() {
		return fmt.Errorf("unknown type %d", n.Type)
	}
	if n.Mode > 0o7777 {
		return fmt.Errorf("bad mode %#o", n.Mode)
	}
	return nil
}

// targetMax is the longest target of a symlink, PATH_MAX without its NUL.
const targetMax = 4095

// checkName allows only names that are one component and name an entry.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("empty name")
	case name == "." || name == "..":
		return fmt.Errorf("name %q is not an entry's", name)
	case len(name) > nameMax:
		return fmt.Errorf("name of %d bytes, the limit is %d", len(name), nameMax)
	case strings.ContainsAny(name, badInNames):
		return fmt.Errorf("name %q has a forbidden character", name)
	}
	return checkLocalName(name)
}
