package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/version"
)

// versions is the output of "keyturn version -o json".
type versions struct {
	version.Version
	// Deployment is what the deployment was made from, if one was named, and Comparison "same", "different" or "unknown".
	Deployment string `json:"deployment,omitempty"`
	Comparison string `json:"comparison,omitempty"`
}

func (p *program) versionCommand() *cobra.Command {
	var short bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Show version, commit and Go version, and the deployment's version",
		Long: `Show what this program was built from. With --deployment (or KEYTURN_DEPLOYMENT) also what the deployment was
made from, and whether the two differ: a program may not know what a newer deployment wrote.`,
		Example: `  keyturn version -o json
  keyturn version --deployment keyturn`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v := versions{Version: version.Read()}
			if short {
				terminal.Tell(p.Out, "%s\n", v.Version.Version)
				return nil
			}
			var missing error
			if p.NamesDeployment() {
				if _, missing = p.FindDeployment(c.Context()); missing == nil {
					v.Deployment, v.Comparison = p.Found.Version, installation.CompareVersions(v.Version.Version, p.Found.Version)
				}
			}
			if p.JSON {
				return errors.Join(p.PrintJSON(v), missing)
			}
			p.printVersions(v)
			return missing
		},
	}
	c.Flags().BoolVar(&short, "short", false, "show the program's version only")
	p.OutputFlag(c)
	return c
}

func (p *program) printVersions(v versions) {
	terminal.Tell(p.Out, "%s\n", v.Version)
	if v.Deployment == "" {
		return
	}
	terminal.Tell(p.Out, "deployment %s %s\n", terminal.Printable(p.Found.Name), terminal.Printable(v.Deployment))
	switch v.Comparison {
	case installation.DifferentVersion:
		terminal.Tell(p.Out, "They differ. Install the deployment's version, or deploy this one.\n")
	case installation.UnknownVersion:
		terminal.Tell(p.Out, "Whether they are the same is not known: one of them was not built in a checkout of a commit.\n")
	}
}
