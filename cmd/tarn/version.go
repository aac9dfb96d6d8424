package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker (-X main.version), and nowhere else.
var version = ""

type versionLine struct {
	Type     string `json:"type"`
	Version  string `json:"version"`
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"revision_time,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from a checkout with changes
}

// buildOf says what this program was built from.
func buildOf() versionLine {
	v := versionLine{Type: "version", Version: "(devel)", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	if version != "" {
		v.Version = version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// versionText is what people want to know of it.
func versionText() string {
	v := buildOf()
	return fmt.Sprintf("%s, %s, %s/%s", v.Version, v.Go, v.OS, v.Arch)
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Say which version this is", Args: noArgs,
		Example: "  tarn version --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			v := buildOf()
			if a.json {
				a.emit(v)
				return nil
			}
			a.outf("tarn %s\n", versionText())
			if v.Revision != "" {
				state := ""
				if v.Modified {
					state = ", with changes"
				}
				a.outf("revision %s of %s%s\n", v.Revision, v.Time, state)
			}
			return nil
		},
	}
}
