package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/schema"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
)

func (p *program) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema [COMMAND]",
		Short: "Print the JSON Schema of a command's JSON output",
		Long: `Print the JSON Schema of what a command prints with -o json (of check, with --format json). follow and explain print
one such object a line, and so does status under --watch; the others print one document.

Without a command the names of all are listed.`,
		Example: `  keyturn schema
  keyturn schema plan
  keyturn schema config show`,
		ValidArgs: schema.Names(),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				terminal.Tell(p.Out, "%s\n", strings.Join(schema.Names(), "\n"))
				return nil
			}
			name := strings.Join(args, "-")
			text, ok := schema.Of(name)
			if !ok {
				return &terminal.ConfigurationError{Problems: fmt.Errorf("no schema %q; there are %s", name, strings.Join(schema.Names(), ", "))}
			}
			terminal.Tell(p.Out, "%s", text)
			return nil
		},
	}
}
