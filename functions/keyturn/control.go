package main

import (
	"context"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/internal/ledger"
)

func (p *program) pauseCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "pause",
		Short: "Stop every PUT until resume, on all clusters of the ledger",
		Long: `Stop every PUT until "keyturn resume", on all clusters of the ledger, wherever the function runs.

The order is read before each PUT. What was sent already goes on and is watched to its end; events
still open work, and the alerts still come.`,
		Example: `  keyturn pause --reason "change freeze until Monday"
  keyturn pause --ledger dynamodb://keyturn?region=us-east-1`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withLedger(c.Context(), func(ctx context.Context, l *ledger.Ledger) error {
				pause := ledger.Pause{Since: time.Now(), By: operator(), Reason: reason}
				if err := l.SetPause(ctx, pause); err != nil {
					return err
				}
				tell(p.out, "Paused: no PUT is sent until \"keyturn resume\". What was sent already goes on.\n")
				return nil
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "`why`, for those who find following paused")
	p.ledgerFlag(c)
	return c
}

func (p *program) resumeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "resume",
		Short:   "End a pause",
		Long:    `End a pause: open work goes on with the function's next tick, within a minute or two.`,
		Example: `  keyturn resume`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withLedger(c.Context(), func(ctx context.Context, l *ledger.Ledger) error {
				before, err := l.Paused(ctx)
				if err != nil {
					return err
				}
				if !before.Active() {
					tell(p.out, "Following was not paused.\n")
					return nil
				}
				if err := l.SetPause(ctx, ledger.Pause{}); err != nil {
					return err
				}
				tell(p.out, "Resumed. The pause began %s.\n", when(before.Since, time.Now()))
				return nil
			})
		},
	}
	p.ledgerFlag(c)
	return c
}

func (p *program) releaseCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "release CLUSTER",
		Short: "Let held or failed work of a cluster try again",
		Long: `Let held or failed work of a cluster, by name or id, try again with the next tick.

First settle what it was held for: "keyturn status CLUSTER" shows it. The cluster, its keys and whether
a PUT is still needed are read again before anything is sent.`,
		Example:           `  keyturn release orders`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.completeCluster,
		RunE: func(c *cobra.Command, args []string) error {
			return p.release(c.Context(), args[0])
		},
	}
	p.ledgerFlag(c)
	return c
}

func (p *program) release(ctx context.Context, wanted string) (err error) {
	w, err := p.wire(ctx, needs{ledger: true}, p.err)
	if err != nil {
		return err
	}
	defer w.closeInto(&err)
	clusters, err := w.Ledger.Clusters(ctx)
	if err != nil {
		return err
	}
	c, err := findCluster(clusters, wanted)
	if err != nil {
		return err
	}
	regions, err := w.Release(ctx, c.ID)
	if err != nil {
		return err
	}
	if len(regions) == 0 {
		tell(p.out, "Nothing of %s is held or failed.\n", name(c))
		return nil
	}
	tell(p.out, "Released %s in %s; the next tick tries again.\n", name(c), strings.Join(regions, ", "))
	return nil
}

// withLedger runs do on the ledger alone.
func (p *program) withLedger(ctx context.Context, do func(context.Context, *ledger.Ledger) error) (err error) {
	w, err := p.wire(ctx, needs{ledger: true}, p.err)
	if err != nil {
		return err
	}
	defer w.closeInto(&err)
	return do(ctx, w.Ledger)
}

// operator is who runs the command, for those who find its traces in the ledger.
func operator() string {
	who := "somebody"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		who += "@" + host
	}
	return who
}
