package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// buildVersion is what this program was built from; its JSON is the output of "keyturn version -o json".
type buildVersion struct {
	Version string `json:"version"`
	// Commit is "" if the program was not built in a checkout; Modified tells that it held changes.
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func readBuildVersion() buildVersion {
	v := buildVersion{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func (p *program) versionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "version",
		Short:   "Show version, commit and Go version",
		Example: `  keyturn version -o json`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := readBuildVersion()
			if p.json {
				return printJSON(p.out, v)
			}
			line := "keyturn " + v.Version
			if v.Commit != "" {
				line += " (" + v.Commit
				if v.Modified {
					line += ", modified"
				}
				line += ")"
			}
			tell(p.out, "%s, %s %s\n", line, v.Go, v.Platform)
			return nil
		},
	}
	p.outputFlag(c)
	return c
}
