package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/ledger"
)

// PauseCommand is "keyturn pause".
func (p Commands) PauseCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "pause",
		Short: "Stop every PUT until resume, on all clusters of the ledger",
		Long: `Stop every PUT until "keyturn resume", on all clusters of the ledger, wherever the function runs.

The order is read before each PUT. What was sent already goes on and is watched to its end; events
still open work, and the alerts still come.`,
		Example: `  keyturn pause --reason "change freeze until Monday"
  keyturn pause --deployment keyturn`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.WithLedger(c.Context(), func(ctx context.Context, l *ledger.Ledger) error {
				pause := ledger.Pause{Since: time.Now(), By: installation.Operator(), Reason: reason}
				if err := l.SetPause(ctx, pause); err != nil {
					return err
				}
				terminal.Tell(p.Out, "Paused: no PUT is sent until \"keyturn resume\". What was sent already goes on.\n")
				return nil
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "`why`, for those who find following paused")
	p.LedgerFlag(c)
	return c
}

// ResumeCommand is "keyturn resume".
func (p Commands) ResumeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "resume",
		Short:   "End a pause",
		Long:    `End a pause: open work goes on with the function's next tick, within a minute or two.`,
		Example: `  keyturn resume`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.WithLedger(c.Context(), func(ctx context.Context, l *ledger.Ledger) error {
				before, err := l.Paused(ctx)
				if err != nil {
					return err
				}
				if !before.Active() {
					terminal.Tell(p.Out, "Following was not paused.\n")
					return nil
				}
				if err := l.SetPause(ctx, ledger.Pause{}); err != nil {
					return err
				}
				terminal.Tell(p.Out, "Resumed. The pause began %s.\n", terminal.When(before.Since, time.Now()))
				return nil
			})
		},
	}
	p.LedgerFlag(c)
	return c
}

// RetryCommand is "keyturn retry".
func (p Commands) RetryCommand() *cobra.Command {
	var done, skip bool
	c := &cobra.Command{
		Use:   "retry CLUSTER",
		Short: "Let blocked, failed or done work of a cluster try again",
		Long: `Let blocked, failed or refused work of a cluster, by name or id, try again with the next tick.

First fix what it is blocked for: "keyturn status CLUSTER" shows it. The cluster, its keys and whether
a PUT is still needed are read again before anything is sent.

With --done, work that is done is reopened, too: one more PUT is sent for each region's current key
version, although the ledger holds that it is done. Use it if you know better than the ledger.

With --skip, nothing of this cluster is tried again; the other clusters of its keys, which wait because
of its failure, go on without it.`,
		Example: `  keyturn retry orders
  keyturn retry orders --skip
  keyturn retry orders --done`,
		Args: func(c *cobra.Command, args []string) error {
			if done && skip {
				return errors.New("--done sends once more, --skip sends nothing; use one of them")
			}
			return cobra.ExactArgs(1)(c, args)
		},
		ValidArgsFunction: p.CompleteCluster,
		RunE: func(c *cobra.Command, args []string) error {
			return p.retry(c.Context(), args[0], done, skip)
		},
	}
	c.Flags().BoolVar(&done, "done", false, "reopen done work, too")
	c.Flags().BoolVar(&skip, "skip", false, "let the other clusters go on instead")
	p.LedgerFlag(c)
	return c
}

func (p Commands) retry(ctx context.Context, wanted string, done, skip bool) error {
	return p.withCluster(ctx, wanted, func(w *installation.Installation, c *ledger.Cluster) error {
		act := w.Skip
		if !skip {
			act = func(ctx context.Context, id string) ([]string, error) { return w.Retry(ctx, id, done) }
		}
		regions, err := act(ctx, c.ID)
		if err != nil {
			return err
		}
		var again, reopened, skipped []string
		for _, region := range regions {
			_, isDone := c.DoneIn(region)
			switch {
			case !skip && slices.ContainsFunc(c.Work, func(w ledger.Work) bool { return w.Region == region }):
				again = append(again, region)
			case done && isDone:
				reopened = append(reopened, region)
			default:
				skipped = append(skipped, region)
			}
		}
		p.sayRetried(c, again, reopened, skipped, done, skip)
		return nil
	})
}

// sayRetried says what retry did: which regions are tried again, which done ones are reopened, and which failures stop nobody.
func (p Commands) sayRetried(c *ledger.Cluster, again, reopened, skipped []string, done, skip bool) {
	n := terminal.ClusterName(c)
	if len(again) > 0 {
		terminal.Tell(p.Out, "The next tick tries %s again in %s. Cluster, key and whether a PUT is still needed are read again before one is sent.\n",
			n, strings.Join(again, ", "))
	}
	if len(reopened) > 0 {
		terminal.Tell(p.Out, "Reopened %s in %s: one more PUT is sent for the current key version, although the ledger holds that it is done.\n",
			n, strings.Join(reopened, ", "))
	}
	if len(skipped) > 0 {
		terminal.Tell(p.Out, "The failure of %s in %s no longer stops the other clusters of its keys. Nothing is sent to %[1]s.\n", n, strings.Join(skipped, ", "))
	}
	if len(again)+len(reopened)+len(skipped) > 0 {
		return
	}
	switch {
	case skip:
		terminal.Tell(p.Out, "Nothing of %s failed, so no other cluster waits for it.\n", n)
	case done && len(c.Work) > 0:
		for _, w := range c.Work {
			terminal.Tell(p.Out, "%s in %s is open already: %s, %s\n", n, w.Region, w.State, w.Reason)
		}
	case done:
		terminal.Tell(p.Out, "Nothing of %s is blocked, failed or done.\n", n)
	default:
		terminal.Tell(p.Out, "Nothing of %s is blocked or failed. \"keyturn retry %s --done\" reopens work that is done.\n", n, n)
	}
}

// ForgetCommand is "keyturn forget".
func (p Commands) ForgetCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "forget CLUSTER --reason REASON",
		Short: "End the record of a cluster that the Cloud API no longer shows",
		Long: `End the record of a cluster, by name or id, that the Cloud API no longer shows to keyturn's API key.

A cluster that is merely not shown may still exist: its keys keep counting as in use, and operations
were notified. Forget it only if it is really gone. Its open work is dropped with the reason; other
clusters of its keys, which waited for it, go on.

A request to the cluster may be in flight. The ledger remembers it: if the Cloud API shows the cluster
again, keyturn follows it again, and checks the outcome of that request before it sends another one.`,
		Example: `  keyturn forget orders --reason "moved to another organization"`,
		Args: func(c *cobra.Command, args []string) error {
			if reason = strings.TrimSpace(terminal.Printable(reason)); reason == "" || len(reason) > mostReason {
				return fmt.Errorf("say how it is known that the cluster is gone with --reason, in at most %d bytes", mostReason)
			}
			return cobra.ExactArgs(1)(c, args)
		},
		ValidArgsFunction: p.CompleteCluster,
		RunE: func(c *cobra.Command, args []string) error {
			return p.withCluster(c.Context(), args[0], func(w *installation.Installation, known *ledger.Cluster) error {
				if err := w.Forget(c.Context(), known.ID, installation.Operator(), reason); err != nil {
					return err
				}
				terminal.Tell(p.Out, "Forgot %s. Operations are notified with the next tick.\n", terminal.ClusterName(known))
				return nil
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "`why` the cluster is known to be gone")
	p.LedgerFlag(c)
	return c
}

// withCluster runs do on a cluster of the ledger, by name or id.
func (p Commands) withCluster(ctx context.Context, wanted string, do func(*installation.Installation, *ledger.Cluster) error) (err error) {
	w, err := p.Open(ctx, installation.Needs{Ledger: true}, p.Err)
	if err != nil {
		return err
	}
	defer w.CloseInto(&err)
	clusters, err := w.Ledger.Clusters(ctx)
	if err != nil {
		return err
	}
	c, err := installation.FindCluster(clusters, wanted)
	if err != nil {
		return err
	}
	return do(w, c)
}
