package installation

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

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

// LedgerFlag adds --ledger, which overrides KEYTURN_LEDGER.
func (p *Program) LedgerFlag(c *cobra.Command) {
	c.Flags().Func("ledger", "the ledger: `file:PATH` or dynamodb://TABLE?region=REGION (KEYTURN_LEDGER)", func(value string) error {
		l, err := config.ParseLocation(value)
		if err != nil && strings.Contains(value, "?") {
			return err
		}
		if err != nil || l.Scheme != "file" && l.Scheme != "dynamodb" {
			return errors.New("not a ledger; want file:PATH or dynamodb://TABLE?region=REGION")
		}
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
	root.PersistentFlags().Func("deployment", "the deployment on AWS to work on, by `name` ("+deploymentVariable+", or a keyturn.yaml in reach)", func(name string) error {
		if strings.TrimSpace(name) == "" {
			return errors.New("the value is empty")
		}
		p.deployment = name
		return nil
	})
}
