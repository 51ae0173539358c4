package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/infra/aws/deployment"
)

// deploymentFile describes a deployment.
const deploymentFile = "keyturn.yaml"

func (p *program) configCommand() *cobra.Command {
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

// checkedFile is the output of "keyturn config check -o json".
type checkedFile struct {
	File     string              `json:"file"`
	Problems deployment.Problems `json:"problems"`
}

func (p *program) configCheckCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check keyturn.yaml: every problem at once, with its line and its fix",
		Long: `Check the file that describes a deployment, keyturn.yaml unless another one is named: every problem at once, with
its line, the field, and what to write instead. Nothing is built, and nothing outside of this machine is asked.
"make synth" checks the same before it builds anything.

Exit code 2: the file has problems.`,
		Example: `  keyturn config check
  keyturn config check infra/aws/keyturn.example.yaml -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			file := deploymentFile
			if len(args) > 0 {
				file = args[0]
			}
			return p.checkFile(file)
		},
	}
	p.outputFlag(c)
	return c
}

func (p *program) checkFile(file string) error {
	checked := checkedFile{File: file, Problems: deployment.Problems{}}
	if _, err := deployment.Load(file); err != nil && !errors.As(err, &checked.Problems) {
		if errors.Is(err, os.ErrNotExist) {
			err = &configurationError{err}
		}
		return err
	}
	if p.json {
		if err := printJSON(p.out, checked); err != nil {
			return err
		}
	}
	if len(checked.Problems) > 0 {
		return p.reportProblems(checked)
	}
	if !p.json {
		tell(p.out, "%s is a deployment without problems.\n", printable(file))
	}
	return nil
}

// reportProblems prints each problem as FILE:LINE, which editors and terminals make a link of.
func (p *program) reportProblems(checked checkedFile) error {
	for _, problem := range checked.Problems {
		place := checked.File
		if problem.Line > 0 {
			place = fmt.Sprintf("%s:%d", place, problem.Line)
		}
		if !p.json {
			tell(p.out, "%s: %s\n", printable(place), printable(problem.Message))
		}
	}
	return &configurationError{fmt.Errorf("%s has %s", checked.File, count(len(checked.Problems), "problem"))}
}
