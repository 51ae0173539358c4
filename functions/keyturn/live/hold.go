package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// What bounds a hold: one that nobody remembers keeps store keys behind.
const (
	defaultHold = 24 * time.Hour
	longestHold = 30 * 24 * time.Hour
	// mostHoldReason is less than other reasons may have: all holds are one item of the ledger.
	mostHoldReason = 500
)

// HoldCommand is "keyturn hold".
func (p Commands) HoldCommand() *cobra.Command {
	var hold cmek.Hold
	length := defaultHold
	c := &cobra.Command{
		Use:   "hold [KEY|CLUSTER] --reason REASON",
		Short: "Leave a key or a cluster alone for a while: no PUT, no order, no repair",
		Long: `Leave a key or a cluster alone for a while: until the hold ends keyturn sends no PUT, carries out no order, and
repairs nothing there. What was sent already goes on and is watched; events still open work; alerts still
come, with the hold in them. Operations are notified when it begins, an hour before it ends, and when it
has ended.

A key is named by its ARN, by its id if the ledger knows it, or by the short form that "keyturn status"
prints; a cluster by name or id. On what is on hold already, the hold gets the new end and reason.

Without an argument the holds are listed, those too that ended in the last 90 days. "keyturn release"
ends one.`,
		Example: `  keyturn hold 0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001 --reason "key compromised, CHG-1234"
  keyturn hold orders --for 3d --reason "change freeze"
  keyturn hold`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			if err := installation.TrimBy(c, &hold.By); err != nil {
				return err
			}
			if hold.Reason = strings.TrimSpace(terminal.Printable(hold.Reason)); hold.Reason == "" || len(hold.Reason) > mostHoldReason {
				return fmt.Errorf("say why with --reason, in at most %d bytes", mostHoldReason)
			}
			return cobra.ExactArgs(1)(c, args)
		},
		ValidArgsFunction: p.completeHeld,
		RunE: func(c *cobra.Command, args []string) error {
			return p.WithLedger(c.Context(), func(ctx context.Context, l *ledger.Ledger) error {
				if len(args) == 0 {
					return p.listHolds(ctx, l)
				}
				return p.hold(ctx, l, args[0], hold, length)
			})
		},
	}
	c.Flags().StringVar(&hold.Reason, "reason", "", "`why`, for everybody who meets the hold")
	c.Flags().StringVar(&hold.By, "by", "", "`who` gives the order (default USER@HOST)")
	c.Flags().Func("for", "how long, as `24h` or 3d; at most 30d (default 24h)", func(value string) (err error) {
		length, err = parseHoldLength(value)
		return err
	})
	p.LedgerFlag(c)
	p.OutputFlag(c)
	return c
}

// ReleaseCommand is "keyturn release".
func (p Commands) ReleaseCommand() *cobra.Command {
	var by string
	c := &cobra.Command{
		Use:   "release KEY|CLUSTER",
		Short: "End a hold: what is due there goes on",
		Long: `End the hold of a key or of a cluster, and no other: a key whose cluster is on hold, too, stays so until that
hold ends. The next tick takes up what is due there.`,
		Example: `  keyturn release 0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001
  keyturn release orders`,
		Args: func(c *cobra.Command, args []string) error {
			if err := installation.TrimBy(c, &by); err != nil {
				return err
			}
			return cobra.ExactArgs(1)(c, args)
		},
		ValidArgsFunction: p.completeStanding,
		RunE: func(c *cobra.Command, args []string) error {
			return p.WithLedger(c.Context(), func(ctx context.Context, l *ledger.Ledger) error {
				return p.release(ctx, l, args[0], by)
			})
		},
	}
	c.Flags().StringVar(&by, "by", "", "`who` ends it (default USER@HOST)")
	p.LedgerFlag(c)
	return c
}

// parseHoldLength reads a length of time in hours and smaller units, or in whole days.
func parseHoldLength(value string) (length time.Duration, err error) {
	if days, isDays := strings.CutSuffix(value, "d"); isDays {
		var n int
		n, err = strconv.Atoi(days)
		length = time.Duration(min(max(n, -1), 1000)) * 24 * time.Hour
	} else {
		length, err = time.ParseDuration(value)
	}
	if err != nil || length <= 0 || length > longestHold {
		return 0, errors.New("want a time like 90m, 24h or 3d, of at most 30d")
	}
	return length, nil
}

func (p Commands) hold(ctx context.Context, l *ledger.Ledger, wanted string, h cmek.Hold, length time.Duration) error {
	subject, err := findSubject(ctx, l, wanted)
	if err != nil {
		return err
	}
	now := time.Now()
	h.Key, h.ClusterID, h.Cluster = subject.Key, subject.ClusterID, subject.Cluster
	h.Since, h.Until = now, now.Add(length)
	before, err := l.Hold(ctx, h)
	if err != nil {
		return err
	}
	if p.JSON {
		return p.PrintJSON(cmek.Holds{h})
	}
	terminal.Tell(p.Out, "On hold until %s (%s): %s. keyturn sends no PUT and repairs nothing there; alerts still come.\n",
		h.Until.UTC().Format(time.RFC3339), terminal.When(h.Until, now), terminal.Printable(h.Subject()))
	if !before.Since.IsZero() {
		terminal.Tell(p.Out, "It was on hold already: %s.\n", ordered(before.Since, before.By, before.Reason, now))
	}
	return p.warnOfHold(ctx, l, h)
}

// warnOfHold says what the hold does not stop, and whether it is about anything that the ledger knows.
func (p Commands) warnOfHold(ctx context.Context, l *ledger.Ledger, h cmek.Hold) error {
	clusters, err := l.Clusters(ctx)
	if err != nil {
		return err
	}
	known := false
	for _, c := range clusters {
		keys := installation.KeysOf([]*ledger.Cluster{c})
		if h.ClusterID != c.ID && !slices.ContainsFunc(keys, h.Key.SameKey) {
			continue
		}
		known = true
		if slices.ContainsFunc(c.Work, func(w ledger.Work) bool { return w.State == ledger.Requested && h.On(c.ID, w.Key) }) {
			terminal.Tell(p.Out, "A PUT to cluster %s is under way and goes on.\n", terminal.ClusterName(c))
		}
	}
	if !known {
		terminal.Tell(p.Out, "The ledger knows no cluster that this is about.\n")
	}
	return nil
}

func (p Commands) release(ctx context.Context, l *ledger.Ledger, wanted, by string) error {
	subject, err := findSubject(ctx, l, wanted)
	if err != nil {
		return err
	}
	now := time.Now()
	released, ok, err := l.Release(ctx, subject, now, by)
	if err != nil {
		return err
	}
	if !ok {
		terminal.Tell(p.Out, "There is no hold of %s. \"keyturn hold\" lists those that stand.\n", terminal.Printable(subject.Subject()))
		return nil
	}
	terminal.Tell(p.Out, "Released %s. The hold was ordered %s.\n", terminal.Printable(released.Subject()), ordered(released.Since, released.By, released.Reason, now))
	holds, err := l.Holds(ctx)
	if err != nil {
		return err
	}
	if standing := holds.Standing(now); len(standing) > 0 {
		terminal.Tell(p.Out, "%s still stand: \"keyturn hold\" lists them.\n", terminal.Count(len(standing), "other hold"))
	}
	return nil
}

// findSubject finds what a hold is about: a key, or a cluster that the ledger or a hold knows.
func findSubject(ctx context.Context, l *ledger.Ledger, wanted string) (cmek.Hold, error) {
	if strings.HasPrefix(wanted, "arn:") || strings.HasPrefix(wanted, "projects/") {
		key, err := installation.FindKey(ctx, l, wanted)
		return cmek.Hold{Key: key}, err
	}
	clusters, err := l.Clusters(ctx)
	if err != nil {
		return cmek.Hold{}, err
	}
	holds, err := l.Holds(ctx)
	if err != nil {
		return cmek.Hold{}, err
	}
	c, noCluster := installation.FindCluster(clusters, wanted)
	key, noKey := installation.FindKey(ctx, l, wanted)
	switch {
	case noCluster == nil && noKey == nil:
		return cmek.Hold{}, fmt.Errorf("%q is a cluster and a key; say which: %s or %s", wanted, c.ID, key)
	case noCluster == nil:
		return cmek.Hold{ClusterID: c.ID, Cluster: c.Cluster.Name}, nil
	case noKey == nil:
		return cmek.Hold{Key: key}, nil
	}
	for _, h := range holds.Standing(time.Now()) { // the ledger may have forgotten what it is about
		if wanted == h.ClusterID || h.Cluster != "" && wanted == h.Cluster || h.Key != "" && (wanted == h.Key.ID() || wanted == terminal.ShortKey(h.Key)) {
			return cmek.Hold{Key: h.Key, ClusterID: h.ClusterID, Cluster: h.Cluster}, nil
		}
	}
	if clusterIDForm.MatchString(wanted) {
		return cmek.Hold{ClusterID: wanted}, nil
	}
	return cmek.Hold{}, fmt.Errorf("the ledger knows no key and no cluster %q; \"keyturn status\" lists those it knows, and any key can be named by its ARN", wanted)
}

// listHolds lists the holds, those that stand first.
func (p Commands) listHolds(ctx context.Context, l *ledger.Ledger) error {
	holds, err := l.Holds(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	slices.SortStableFunc(holds, func(a, b cmek.Hold) int {
		ended := func(h cmek.Hold) int {
			if h.Stands(now) {
				return 0
			}
			return 1
		}
		return cmp.Or(ended(a)-ended(b), b.Since.Compare(a.Since))
	})
	if p.JSON {
		return p.PrintJSON(append(cmek.Holds{}, holds...))
	}
	if len(holds) == 0 {
		terminal.Tell(p.Out, "Nothing is on hold.\n")
		return nil
	}
	t := p.NewSheet(terminal.Column{Name: "on hold"}, terminal.Column{Name: "since", Wide: true}, terminal.Column{Name: "until"}, terminal.Column{Name: "by", Wide: true}, terminal.Column{Name: "reason"})
	for _, h := range holds {
		until := terminal.When(h.Until, now)
		switch {
		case !h.Released.IsZero():
			until = "released " + terminal.When(h.Released, now) + " by " + terminal.Printable(h.ReleasedBy)
		case !h.Stands(now):
			until = "expired " + until
		}
		t.Add(terminal.Printable(h.Subject()), terminal.When(h.Since, now), until, terminal.Printable(h.By), terminal.Printable(h.Reason))
	}
	t.Flush()
	return nil
}

// printHolds writes a line for each hold that stands.
func printHolds(out io.Writer, holds cmek.Holds, now time.Time) {
	for _, h := range holds {
		terminal.Tell(out, "On hold, ends %s: %s, ordered %s (\"keyturn release\" ends it now)\n", terminal.When(h.Until, now), terminal.Printable(h.Subject()), ordered(h.Since, h.By, h.Reason, now))
	}
}

// completeHeld offers the keys and clusters of the ledger.
func (p Commands) completeHeld(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	clusters, directive := p.CompleteCluster(c, args, begun)
	keys, _ := p.CompleteKey(c, args, begun)
	return append(clusters, keys...), directive
}

// completeStanding offers what is on hold.
func (p Commands) completeStanding(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return p.Complete(c, args, func(ctx context.Context, l *ledger.Ledger, offer func(argument, about string)) error {
		holds, err := l.Holds(ctx)
		for _, h := range holds.Standing(time.Now()) {
			if argument := cmp.Or(h.Cluster, h.ClusterID, h.Key.ID()); strings.HasPrefix(argument, begun) {
				offer(argument, h.Reason)
			}
		}
		return err
	})
}
