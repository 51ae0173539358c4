package installation

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/config"
)

// Variable adds a flag that overrides an environment variable. A name in backquotes within usage stands for its value.
func (p *Program) Variable(c *cobra.Command, flag, variable, usage string) {
	c.Flags().Func(flag, usage+" ("+variable+")", func(value string) error {
		if strings.TrimSpace(value) == "" {
			return errors.New("the value is empty")
		}
		p.set(flag, variable, value)
		return nil
	})
}

// set gives a variable the value of a flag.
func (p *Program) set(flag, variable, value string) {
	p.Environ = append(p.Environ, variable+"="+value)
	if p.Flagged == nil {
		p.Flagged = map[string]string{}
	}
	p.Flagged[variable] = "--" + flag
}

// MostReason is more than people write as a reason or as their name, and less than any channel holds.
const MostReason = 1000

// TrimBy makes the value of --by fit to be shown; without the flag it is whoever runs the command.
func TrimBy(c *cobra.Command, by *string) error {
	if !c.Flags().Changed("by") {
		*by = Operator()
	}
	if *by = strings.TrimSpace(terminal.Printable(*by)); *by == "" || len(*by) > MostReason {
		return fmt.Errorf("say who with --by, in at most %d bytes", MostReason)
	}
	return nil
}

// LedgerFlag adds --ledger, which overrides KEYTURN_LEDGER.
func (p *Program) LedgerFlag(c *cobra.Command) {
	c.Flags().Func("ledger", "the ledger: `file:PATH`, dynamodb://TABLE?region=REGION or firestore://PROJECT/DATABASE (KEYTURN_LEDGER)", func(value string) error {
		l, err := config.ParseLocation(value)
		if err != nil && strings.Contains(value, "?") {
			return err
		}
		if err != nil || !isLedger(l) {
			return errors.New("not a ledger; want " + wantLedger)
		}
		p.ledgers = append(p.ledgers, value)
		p.set("ledger", "KEYTURN_LEDGER", value)
		return nil
	})
}

// ServerFlag adds --server, which overrides COCKROACH_SERVER.
func (p *Program) ServerFlag(c *cobra.Command) {
	p.Variable(c, "server", "COCKROACH_SERVER", "base `URL` of the CockroachDB Cloud API")
}

// DeploymentFlag adds --deployment to the root of all commands.
func (p *Program) DeploymentFlag(root *cobra.Command) {
	root.PersistentFlags().Func("deployment", "the deployment to work on, by `name`; on Google Cloud by PROJECT/NAME ("+deploymentVariable+", or a keyturn.yaml in reach)", func(name string) error {
		if strings.TrimSpace(name) == "" {
			return errors.New("the value is empty")
		}
		p.deployments = append(p.deployments, name)
		return nil
	})
}

// ArchiveFlag adds --archive, which overrides KEYTURN_ARCHIVE.
func (p *Program) ArchiveFlag(c *cobra.Command) {
	p.Variable(c, "archive", "KEYTURN_ARCHIVE", "the archive of evidence and compliance runs: `file:DIR`, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")
}
