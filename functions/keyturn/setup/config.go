package setup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/config"
)

// ConfigCommand is "keyturn config".
func (p Commands) ConfigCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Check keyturn.yaml, and show the settings that apply",
		Example: `  keyturn config check
  keyturn config show`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(p.configCheckCommand(), p.configShowCommand())
	return c
}

// CheckedFile is the output of "keyturn config check -o json".
type CheckedFile struct {
	File     string              `json:"file"`
	Problems deployment.Problems `json:"problems"`
}

func (p Commands) configCheckCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check keyturn.yaml: every problem at once, with its line and its fix",
		Long: `Check the file that describes a deployment, keyturn.yaml unless another one is named: every problem at once, with
its line, the field, and what to write instead. Nothing is built, and no cloud is called. A file with the section
compliance alone is one for Google Cloud, and need describe no deployment.
"make synth" checks the same before it builds anything.

Exit code 2: the file has problems.`,
		Example: `  keyturn config check
  keyturn config check infra/aws/keyturn.example.yaml -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := installation.DeploymentFile
			if len(args) > 0 {
				file = args[0]
			}
			return p.checkFile(file)
		},
	}
	p.OutputFlag(c)
	return c
}

func (p Commands) checkFile(file string) error {
	checked := CheckedFile{File: file, Problems: deployment.Problems{}}
	_, alone, err := deployment.LoadDeclarations(file)
	if err != nil && !errors.As(err, &checked.Problems) {
		if errors.Is(err, os.ErrNotExist) {
			err = &terminal.ConfigurationError{Problems: err}
		}
		return err
	}
	if p.JSON {
		if err := p.PrintJSON(checked); err != nil {
			return err
		}
	}
	if len(checked.Problems) > 0 {
		return p.reportProblems(checked)
	}
	if !p.JSON {
		is := "is a deployment"
		if alone {
			is = "declares what compliance checks compare with,"
		}
		terminal.Tell(p.Out, "%s %s without problems.\n", terminal.Printable(file), is)
	}
	return nil
}

// reportProblems prints each problem as FILE:LINE, which editors and terminals make a link of.
func (p Commands) reportProblems(checked CheckedFile) error {
	for _, problem := range checked.Problems {
		place := checked.File
		if problem.Line > 0 {
			place = fmt.Sprintf("%s:%d", place, problem.Line)
		}
		if !p.JSON {
			terminal.Tell(p.Out, "%s: %s\n", terminal.Printable(place), terminal.Printable(problem.Message))
		}
	}
	return &terminal.ConfigurationError{Problems: fmt.Errorf("%s has %s", checked.File, terminal.Count(len(checked.Problems), "problem"))}
}

func (p Commands) configShowCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "show",
		Short: "Show each setting with its value and where it comes from",
		Long: `Show each setting with its value and where it comes from: a flag, the environment, the deployment, or the
default. Secrets are masked. The deployment is read if one is named, by --deployment, KEYTURN_DEPLOYMENT or a keyturn.yaml
in reach; no other call is made.

Exit code 2: a setting is wrong. All are shown nevertheless.`,
		Example: `  keyturn config show
  keyturn config show --deployment keyturn -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.showConfig(c.Context()) },
	}
	p.LedgerFlag(c)
	p.ServerFlag(c)
	p.Variable(c, "mode", "KEYTURN_MODE", "`observe` or follow")
	p.ArchiveFlag(c)
	p.OutputFlag(c)
	return c
}

// ShownConfig is the output of "keyturn config show -o json".
type ShownConfig struct {
	// Deployment is what the deployment publishes, and FoundBy the flag, variable or file that named it; nil and "" if none is used.
	Deployment *deployment.Published `json:"deployment,omitempty"`
	FoundBy    string                `json:"found_by,omitempty"`
	Settings   []ShownSetting        `json:"settings"`
	// Problems are what commands would refuse.
	Problems []string `json:"problems"`
}

// ShownSetting is one variable. Value is "" if it is not set and has no default, and masked if it is secret.
type ShownSetting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

// masked stands for the value of a secret.
const masked = "********"

func (p Commands) showConfig(ctx context.Context) error {
	given := slices.Clone(p.Environ)
	if err := p.UseDeployment(ctx); err != nil {
		return err
	}
	s, err := installation.LoadSettings(p.Environ, installation.Needs{})
	shown := ShownConfig{Deployment: p.Found, FoundBy: p.FoundBy, Problems: []string{}}
	var wrong *terminal.ConfigurationError
	if errors.As(err, &wrong) {
		shown.Problems = strings.Split(wrong.Problems.Error(), "\n")
	} else if err != nil {
		return err
	}
	without := &terminal.Terminal{Environ: given}
	// The AWS SDK's decide where a deployment is searched.
	for _, d := range append(config.Describe(&s), config.Description{Name: "AWS_PROFILE"}, config.Description{Name: "AWS_REGION"}) {
		set := p.Lookup(d.Name)
		origin := "default"
		switch {
		case p.Flagged[d.Name] != "" && set != "":
			origin = p.Flagged[d.Name]
		case without.Lookup(d.Name) != "":
			origin = "environment"
		case set != "":
			origin = "deployment " + p.Found.Name
		case d.Value == "":
			origin = "not set"
		}
		value := cmp.Or(set, d.Value)
		if d.Secret && value != "" {
			value = masked
		}
		shown.Settings = append(shown.Settings, ShownSetting{d.Name, value, origin})
	}
	if p.JSON {
		if err := p.PrintJSON(shown); err != nil {
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

func (p Commands) printConfig(shown ShownConfig) {
	if d := shown.Deployment; d != nil {
		terminal.Tell(p.Out, "Deployment %s in %s of account %s, version %s, named by %s\n\n",
			terminal.Printable(d.Name), terminal.Printable(d.Region), terminal.Printable(d.Account), terminal.Printable(d.Version), terminal.Printable(shown.FoundBy))
	}
	t := tabwriter.NewWriter(p.Out, 0, 0, 3, ' ', 0)
	terminal.Tell(t, "SETTING\tVALUE\tORIGIN\n")
	for _, s := range shown.Settings {
		terminal.Tell(t, "%s\t%s\t%s\n", s.Name, cmp.Or(terminal.Printable(s.Value), "–"), terminal.Printable(s.Origin))
	}
	_ = t.Flush() // as with tell: a reader that is gone changes nothing
}
