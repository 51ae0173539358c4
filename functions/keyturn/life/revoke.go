package life

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/lifecycle"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// mostReason is less than other reasons may have: it becomes that of holds, which are one item of the ledger.
const mostReason = 400

// RevokeCommand is "keyturn revoke".
func (p Commands) RevokeCommand() *cobra.Command {
	var o operationOptions
	var out string
	c := &cobra.Command{
		Use:   "revoke CLUSTER --reason REASON --out PLAN",
		Short: "Plan to revoke a cluster's CMEK: what stops when, and what stands against it",
		Long: `Plan to revoke a cluster's CMEK. Nothing is sent: the plan says which regions, nodes and backups it
concerns and what stops when, and "keyturn apply" carries it out within 15 minutes, if no fact has changed and a person types
the name of the cluster.

The access of the cluster to its keys must be taken away at IAM or at the KMS first. The keys of the cluster are put on hold
before that is asked for: keyturn repairs, rotates and orders nothing there, and the alerts that follow are sent with the hold.
Each hazard has a flag of its own that takes it, with the reason.

A revoked cluster cannot work any more after its nodes restart, and only Cockroach Labs' support can bring it back
("keyturn restore" says what they need).`,
		Example: `  keyturn revoke payments --reason "key compromised, CHG-1234" --dry-run
  keyturn revoke payments --reason "key compromised, CHG-1234" --out plan.json`,
		Args: func(c *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(c, args); err != nil {
				return err
			}
			if o.reason = strings.TrimSpace(terminal.Printable(o.reason)); o.reason == "" || len(o.reason) > mostReason {
				return fmt.Errorf("say why with --reason, in at most %d bytes", mostReason)
			}
			if out == "" && !o.dry {
				return errors.New("name the file for the plan with --out")
			}
			return installation.TrimBy(c, &o.by)
		},
		ValidArgsFunction: p.CompleteCluster,
		RunE:              func(c *cobra.Command, args []string) error { return p.revoke(c.Context(), o, args[0], out) },
	}
	c.Flags().StringVar(&o.reason, "reason", "", "`why`, for everybody who meets it")
	c.Flags().StringVar(&out, "out", "", "the `file` that the plan is written to")
	p.operationFlags(c, &o, ledger.OperationRevoke)
	return c
}

func (p Commands) revoke(ctx context.Context, o operationOptions, wanted, out string) error {
	return p.onCluster(ctx, o, wanted, func(f *operations, cluster cmek.Cluster) error { return p.planRevocation(ctx, f, cluster, o, out) })
}

func (p Commands) planRevocation(ctx context.Context, f *operations, cluster cmek.Cluster, o operationOptions, out string) error {
	plan, refused, err := f.PlanRevocation(ctx, o.request(ledger.OperationRevoke, cluster.ID), f.settings.CloudAPI(), o.dry)
	switch {
	case err != nil:
		return err
	case len(refused) > 0:
		return p.refuse(cluster, refused)
	}
	if !o.dry {
		if err := writePlan(out, plan); err != nil {
			return err
		}
	}
	if p.JSON {
		return p.PrintJSON(plan)
	}
	terminal.Tell(p.Out, "Revoking the CMEK of cluster %s (%s):\n", terminal.Printable(plan.Cluster), plan.ClusterID)
	for _, line := range plan.Stops {
		terminal.Tell(p.Out, "  %s\n", terminal.Printable(line))
	}
	if !o.dry {
		terminal.Tell(p.Out, "Nothing was sent. \"keyturn apply %s\" carries it out until %s.\n", terminal.Printable(out), plan.Expires.Format("15:04:05 UTC"))
	}
	return nil
}

// writePlan writes the plan for its owner to read.
func writePlan(name string, plan lifecycle.Plan) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return &terminal.ConfigurationError{Problems: err}
	}
	return errors.Join(terminal.WriteJSON(file, plan, "  "), file.Close())
}

// ApplyCommand is "keyturn apply".
func (p Commands) ApplyCommand() *cobra.Command {
	var o operationOptions
	yes := false
	c := &cobra.Command{
		Use:   "apply PLAN",
		Short: "Carry out a plan of \"keyturn revoke\", after a person has typed the cluster's name",
		Long: `Carry out a plan of "keyturn revoke" within 15 minutes of its making. The name of the cluster is asked for at the
terminal; without one nothing is sent, and no flag takes its place. Every fact of the plan is read again: if one has changed,
nothing is sent. The keys are held, one PATCH is sent, and the command watches until every region reads REVOKED.

What was sent before by an interrupted command is watched, and not sent again.`,
		Example: `  keyturn apply plan.json`,
		Args: func(c *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(c, args); err != nil {
				return err
			}
			return installation.TrimBy(c, &o.by)
		},
		RunE: func(c *cobra.Command, args []string) error { return p.apply(c.Context(), o, args[0], yes) },
	}
	c.Flags().StringVar(&o.by, "by", "", "`who` applies it (default USER@HOST)")
	c.Flags().BoolVar(&o.dry, "dry-run", false, "say what stands against it; send and write nothing")
	c.Flags().BoolVar(&yes, "yes", false, "refused: only the cluster's name, typed at a terminal, confirms a revocation")
	p.LedgerFlag(c)
	p.ServerFlag(c)
	p.ArchiveFlag(c)
	p.OutputFlag(c)
	return c
}

func (p Commands) apply(ctx context.Context, o operationOptions, file string, yes bool) (err error) {
	data, err := p.readFile(file)
	if err != nil {
		return err
	}
	plan, err := lifecycle.ParsePlan(data)
	if err != nil {
		return &terminal.ConfigurationError{Problems: fmt.Errorf("%s: %w", file, err)}
	}
	f, err := p.operations(ctx, o.dry)
	if err != nil {
		return err
	}
	defer f.close(&err)
	confirmation := lifecycle.Confirmation{By: o.by, Server: f.settings.CloudAPI()}
	if o.dry {
		confirmation.Typed = plan.Cluster
		refused, err := f.CheckPlan(ctx, plan, confirmation)
		if err != nil {
			return err
		}
		return p.concludeDry(planned(plan), lifecycle.Request{Kind: plan.Kind}, refused)
	}
	if yes || !p.Interactive {
		return p.refuse(planned(plan), []lifecycle.Refusal{{Row: "terminal", What: "a revocation is confirmed by a person who types the cluster's name at a terminal", Fix: "run it at a terminal, without --yes"}})
	}
	terminal.Tell(p.Err, "This revokes the CMEK of cluster %s (%s), as planned by %s: %s\n", terminal.Printable(plan.Cluster), terminal.Printable(plan.ClusterID), terminal.Printable(plan.By), terminal.Printable(plan.Reason))
	for _, line := range plan.Stops {
		terminal.Tell(p.Err, "  %s\n", terminal.Printable(line))
	}
	terminal.Tell(p.Err, "Type the name of the cluster to go on: ")
	typed, ok := p.typedLine(ctx)
	if !ok {
		terminal.Tell(p.Err, "\n")
		return p.refuse(planned(plan), []lifecycle.Refusal{{Row: "name", What: "no line with the cluster's name was typed", Fix: "type the name, and then Enter"}})
	}
	confirmation.Typed = typed
	result, err := f.Apply(ctx, plan, confirmation)
	if err != nil {
		return err
	}
	return p.conclude(planned(plan), result)
}

// typedLine waits for a line at the terminal. It reports whether there was one: Ctrl-C ends the wait at once, and what the input ends within was
// not typed to its end.
func (p Commands) typedLine(ctx context.Context) (line string, ok bool) {
	lines := make(chan string, 1) // a read cannot be interrupted; it ends with the program
	go func() {
		defer close(lines)
		if typed, err := bufio.NewReader(io.LimitReader(p.In, 1000)).ReadString('\n'); err == nil {
			lines <- strings.TrimSuffix(strings.TrimSuffix(typed, "\n"), "\r")
		}
	}()
	select {
	case line, ok = <-lines:
	case <-ctx.Done():
	}
	return line, ok && ctx.Err() == nil
}
