package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/version"
)

// versions is the output of "keyturn version -o json".
type versions struct {
	version.Version
	// Deployment is what the deployment was made from, if one was named, and Comparison "same", "different" or "unknown".
	Deployment string `json:"deployment,omitempty"`
	Comparison string `json:"comparison,omitempty"`
}

// Values of versions.Comparison.
const (
	sameVersion      = "same"
	differentVersion = "different"
	unknownVersion   = "unknown"
)

// compareVersions compares what two programs were made from. Without a version each could be any.
func compareVersions(program, deployed string) string {
	switch {
	case program == version.Unknown || deployed == version.Unknown || deployed == deployment.UnknownVersion:
		return unknownVersion
	case program == deployed:
		return sameVersion
	}
	return differentVersion
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
				tell(p.out, "%s\n", v.Version.Version)
				return nil
			}
			var missing error
			if p.namesDeployment() {
				if _, missing = p.findDeployment(c.Context()); missing == nil {
					v.Deployment, v.Comparison = p.found.Version, compareVersions(v.Version.Version, p.found.Version)
				}
			}
			if p.json {
				return errors.Join(printJSON(p.out, v), missing)
			}
			p.printVersions(v)
			return missing
		},
	}
	c.Flags().BoolVar(&short, "short", false, "show the program's version only")
	p.outputFlag(c)
	return c
}

func (p *program) printVersions(v versions) {
	tell(p.out, "%s\n", v.Version)
	if v.Deployment == "" {
		return
	}
	tell(p.out, "deployment %s %s\n", printable(p.found.Name), printable(v.Deployment))
	switch v.Comparison {
	case differentVersion:
		tell(p.out, "They differ. Install the deployment's version, or deploy this one.\n")
	case unknownVersion:
		tell(p.out, "Whether they are the same is not known: one of them was not built in a checkout of a commit.\n")
	}
}
