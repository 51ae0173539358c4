package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/config"
)

func (p *program) configShowCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "show",
		Short: "Show each setting with its value and where it comes from",
		Long: `Show each setting with its value and where it comes from: a flag, the environment, the deployment, or the
default. Secrets are masked. The deployment is asked if one is named, by --deployment, KEYTURN_DEPLOYMENT or a keyturn.yaml
in reach; nothing else is.

Exit code 2: a setting is wrong. All are shown all the same.`,
		Example: `  keyturn config show
  keyturn config show --deployment keyturn -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.showConfig(c.Context()) },
	}
	p.ledgerFlag(c)
	p.serverFlag(c)
	p.variable(c, "mode", "KEYTURN_MODE", "`observe` or follow")
	p.variable(c, "archive", "KEYTURN_ARCHIVE", "where evidence goes: `file:DIR` or s3://BUCKET/PREFIX")
	p.outputFlag(c)
	return c
}

// shownConfig is the output of "keyturn config show -o json".
type shownConfig struct {
	// Deployment is what the deployment publishes, and FoundBy the flag, variable or file that named it; nil and "" if none is used.
	Deployment *deployment.Published `json:"deployment,omitempty"`
	FoundBy    string                `json:"found_by,omitempty"`
	Settings   []shownSetting        `json:"settings"`
	// Problems are what commands would refuse.
	Problems []string `json:"problems"`
}

// shownSetting is one variable. Value is "" if it is not set and has no default, and masked if it is secret.
type shownSetting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

// masked stands for the value of a secret.
const masked = "********"

func (p *program) showConfig(ctx context.Context) error {
	given := slices.Clone(p.environ)
	if err := p.useDeployment(ctx); err != nil {
		return err
	}
	s, err := loadSettings(p.environ, needs{})
	shown := shownConfig{Deployment: p.found, FoundBy: p.foundBy, Problems: []string{}}
	var wrong *configurationError
	if errors.As(err, &wrong) {
		shown.Problems = strings.Split(wrong.problems.Error(), "\n")
	} else if err != nil {
		return err
	}
	without := &program{environ: given}
	for _, d := range append(config.Describe(&s), awsSettings()...) {
		set := p.lookup(d.Name)
		origin := "default"
		switch {
		case p.flagged[d.Name] != "" && set != "":
			origin = p.flagged[d.Name]
		case without.lookup(d.Name) != "":
			origin = "environment"
		case set != "":
			origin = "deployment " + p.found.Name
		case d.Value == "":
			origin = "not set"
		}
		value := cmp.Or(set, d.Value)
		if d.Secret && value != "" {
			value = masked
		}
		shown.Settings = append(shown.Settings, shownSetting{d.Name, value, origin})
	}
	if p.json {
		if err := printJSON(p.out, shown); err != nil {
			return err
		}
	} else {
		p.printConfig(shown)
	}
	if wrong != nil {
		return wrong
	}
	return nil
}

// awsSettings are the variables of the AWS SDK that decide where a deployment is searched.
func awsSettings() []config.Description {
	return []config.Description{{Name: "AWS_PROFILE"}, {Name: "AWS_REGION"}}
}

func (p *program) printConfig(shown shownConfig) {
	if d := shown.Deployment; d != nil {
		tell(p.out, "Deployment %s in %s of account %s, version %s, named by %s\n\n",
			printable(d.Name), printable(d.Region), printable(d.Account), printable(d.Version), printable(shown.FoundBy))
	}
	t := tabwriter.NewWriter(p.out, 0, 0, 3, ' ', 0)
	tell(t, "SETTING\tVALUE\tORIGIN\n")
	for _, s := range shown.Settings {
		tell(t, "%s\t%s\t%s\n", s.Name, cmp.Or(printable(s.Value), "–"), printable(s.Origin))
	}
	_ = t.Flush() // as with tell: a reader that is gone changes nothing
}
