package life

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/lifecycle"
	"github.com/keyturn/keyturn/internal/cmek"
)

// planned is the cluster of a plan, for messages.
func planned(plan lifecycle.Plan) cmek.Cluster {
	return cmek.Cluster{ID: plan.ClusterID, Name: plan.Cluster}
}

// RestoreCommand is "keyturn restore".
func (p Commands) RestoreCommand() *cobra.Command {
	var o operationOptions
	var ticket string
	c := &cobra.Command{
		Use:   "restore CLUSTER",
		Short: "Say what a revoked cluster needs, write the support ticket, and watch until it is restored",
		Long: `Say what a cluster needs before Cockroach Labs' support can restore its CMEK, since the API has no call for it:
the key, its versions, the key's policy and the principal are checked in this order, each with the command that fixes it. The
text of the support ticket, with ids and timeline, goes to the file that --ticket names, or to the standard output.

Then the cluster is watched until its CMEK reads ENABLED and every node is live, and the evidence is kept; Ctrl-C ends that.
Nothing is sent to the Cloud API but reads. Exit code 3: something is still missing, or the watch was ended before.`,
		Example: `  keyturn restore payments --dry-run
  keyturn restore payments --ticket ticket.txt`,
		Args: func(c *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(c, args); err != nil {
				return err
			}
			return installation.TrimBy(c, &o.by)
		},
		ValidArgsFunction: p.CompleteCluster,
		RunE:              func(c *cobra.Command, args []string) error { return p.restore(c.Context(), o, args[0], ticket) },
	}
	c.Flags().StringVar(&o.by, "by", "", "`who` asks for it (default USER@HOST)")
	c.Flags().BoolVar(&o.dry, "dry-run", false, "say what is missing; write nothing, and do not watch")
	c.Flags().StringVar(&ticket, "ticket", "", "the `file` that the support ticket is written to")
	p.LedgerFlag(c)
	p.ServerFlag(c)
	p.ArchiveFlag(c)
	p.OutputFlag(c)
	return c
}

func (p Commands) restore(ctx context.Context, o operationOptions, wanted, ticket string) error {
	return p.onCluster(ctx, o, wanted, func(f *operations, cluster cmek.Cluster) error { return p.restoreCluster(ctx, f, cluster, o, ticket) })
}

func (p Commands) restoreCluster(ctx context.Context, f *operations, cluster cmek.Cluster, o operationOptions, ticket string) error {
	d, err := f.Diagnose(ctx, cluster.ID)
	switch {
	case err != nil && !errors.Is(err, cmek.ErrNotFound):
		return err
	case err != nil || !d.CMEK.HasKeys():
		return p.refuse(cluster, []lifecycle.Refusal{{Row: "no-cmek", What: "the Cloud API shows no key of the cluster, so that there is nothing to restore", Fix: `if it had a CMEK, ask Cockroach Labs' support; otherwise "keyturn enable" enables it`}})
	}
	if ticket != "" && d.Ticket != "" && !o.dry {
		if err := os.WriteFile(ticket, []byte(d.Ticket), 0o600); err != nil {
			return &terminal.ConfigurationError{Problems: err}
		}
	}
	if !p.JSON {
		if o.dry {
			ticket = ""
		}
		p.printDiagnosis(d, ticket)
	}
	if !o.dry {
		d, err = f.AwaitRestore(ctx, cluster.ID, o.by)
		if err != nil && !errors.Is(err, lifecycle.ErrInterrupted) {
			return err
		}
	}
	if p.JSON {
		if err := p.PrintJSON(d); err != nil {
			return err
		}
	}
	if !d.Healthy() {
		return terminal.ErrNeedsPerson
	}
	if !p.JSON {
		terminal.Tell(p.Out, "The CMEK of cluster %s reads ENABLED, and every node is live.\n", terminal.Printable(cluster.Name))
		for _, h := range d.Holds {
			terminal.Tell(p.Out, "Still on hold: %s. \"keyturn release %s\" ends it.\n", terminal.Printable(h.Subject()), terminal.Printable(h.Argument()))
		}
	}
	return nil
}

func (p Commands) printDiagnosis(d lifecycle.Diagnosis, ticket string) {
	p.printCMEK(d.CMEK)
	now := time.Now()
	p.printFindings(d.Findings)
	if n := len(d.Nodes); n > 0 {
		terminal.Tell(p.Out, "%s not live.\n", terminal.Count(n, "node"))
	}
	for _, h := range d.Holds {
		terminal.Tell(p.Out, "On hold, ends %s: %s: %s\n", terminal.When(h.Until, now), terminal.Printable(h.Subject()), terminal.Printable(h.Reason))
	}
	switch {
	case d.Ticket == "":
	case ticket != "":
		terminal.Tell(p.Out, "The support ticket is in %s.\n", terminal.Printable(ticket))
	default:
		terminal.Tell(p.Out, "\nThe support ticket:\n\n%s\n", terminal.PrintableLines(d.Ticket))
	}
}

// printFindings prints conditions, each with its fix.
func (p Commands) printFindings(findings []lifecycle.Finding) {
	c := p.Palette()
	for _, f := range findings {
		mark := c.Yellow("not known")
		if f.OK != nil && *f.OK {
			mark = c.Green("ok       ")
		} else if f.OK != nil {
			mark = c.Red("missing  ")
		}
		terminal.Tell(p.Out, "%s  %s %s: %s\n", mark, terminal.Printable(f.Region), f.Check, terminal.Printable(f.What))
		if f.Fix != "" {
			terminal.Tell(p.Out, "           Fix: %s\n", terminal.Printable(f.Fix))
		}
	}
}
