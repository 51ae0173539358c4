package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/progress"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/ledger"
)

// FollowCommand is "keyturn follow".
func (p Commands) FollowCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "follow",
		Short: "Sweep the fleet and follow rotations through, until nothing is open",
		Long: `Sweep the fleet and follow rotations through from this terminal, until nothing is open or something
needs attention. This sends PUTs: it refuses unless the mode is follow. Where keyturn has never sent one,
it first says how many it is going to send.

One worker at a time acts on a ledger: if the function in the cloud is working, this command waits for
its tick to end. Ctrl-C ends after the step that is under way; what is open stays in the ledger, and the next
follow or the function's next tick goes on.

A file ledger serves simulators on loopback only: two ledgers must never drive one fleet.`,
		Example: `  keyturn follow --mode follow --deployment keyturn
  KEYTURN_SETTLE=10s KEYTURN_CONFIRM=5s keyturn follow --mode follow`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.follow(c.Context())
		},
	}
	p.Variable(c, "mode", "KEYTURN_MODE", "`follow` to act")
	p.LedgerFlag(c)
	p.ServerFlag(c)
	p.ArchiveFlag(c)
	p.OutputFlag(c)
	return c
}

func (p Commands) follow(ctx context.Context) (err error) {
	display := progress.NewDisplay(&p.Terminal)
	w, err := p.Open(ctx, installation.Needs{Puts: true}, display)
	if err != nil {
		return err
	}
	defer w.CloseInto(&err)
	if err := sayWhatIsSent(ctx, w, display); err != nil {
		return err
	}
	began := time.Now()
	if err := askForSweep(ctx, w, display); err != nil {
		return err
	}
	terminal.Tell(display, "Reading the fleet at %s …\n", w.Settings.CloudAPI())
	r := &progress.Runner{Function: w.Function, Display: display, TickEvery: time.Second, PollEvery: 200 * time.Millisecond}
	if w.Settings.Ledger.Scheme != "file" {
		r.PollEvery = 3 * time.Second // each poll reads the whole ledger
	}
	e := &ending{began: began, display: display}
	v, err := r.Until(ctx, e.reached)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted; %s of work open in the ledger, for the next follow or the function's next tick", terminal.Count(progress.OpenWork(v.Clusters), "piece"))
	case err != nil:
		return err
	case v.Failures >= mostFailures:
		return fmt.Errorf("%d ticks failed in a row: %w", v.Failures, v.Problem)
	}
	return p.concludeFollow(display, v, r.Followed())
}

// sayWhatIsSent says, on an installation that never sent a PUT, how many it is going to send. It is the plan that "keyturn plan"
// shows. That the fleet cannot be read is no reason to stop: each PUT is decided upon afresh.
func sayWhatIsSent(ctx context.Context, w *installation.Installation, display progress.Display) error {
	known, err := w.Ledger.Clusters(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(known, hasSent) {
		return nil
	}
	preview, err := w.Plan(ctx, rotation.Planning{Fresh: true})
	if ctx.Err() != nil {
		return errors.New("interrupted while the fleet was read; nothing was sent")
	}
	if err != nil {
		terminal.Tell(display, "This installation has sent no PUT yet. How many it is going to send is not known: %s\n", terminal.OneLine(err))
		return nil
	}
	terminal.Tell(display, "This installation has sent no PUT yet. %s\n", firstSends(preview))
	return nil
}

// hasSent reports whether a PUT was ever sent to the cluster.
func hasSent(c *ledger.Cluster) bool {
	return slices.ContainsFunc(c.Done, func(d ledger.Done) bool { return d.Followed }) ||
		slices.ContainsFunc(c.Work, func(w ledger.Work) bool { return w.Request != nil })
}

// firstSends says how many PUTs a plan holds and which clusters they go to.
func firstSends(preview rotation.Preview) string {
	puts, clusters, unread := 0, []string(nil), 0
	for _, send := range preview.Sends {
		puts = max(puts, send.Rank)
		if n := terminal.ClusterName(send.Cluster); !slices.Contains(clusters, n) {
			clusters = append(clusters, n)
		}
	}
	for _, c := range preview.Clusters {
		if c.Err != nil {
			unread++
		}
	}
	says := "It is going to send none now (\"keyturn plan --mode follow\" says why)."
	if puts > 0 {
		says = fmt.Sprintf("It is going to send %s, in this order: %s.", terminal.Count(puts, "PUT"), few(clusters, 10))
	}
	if unread > 0 {
		says += fmt.Sprintf(" %s could not be read.", terminal.Count(unread, "cluster"))
	}
	return says
}

// askForSweep makes the next tick begin a walk over the fleet, unless one is under way. It waits for another worker to give
// the lease back.
func askForSweep(ctx context.Context, w *installation.Installation, display progress.Display) error {
	for told := false; ; told = true {
		now := time.Now()
		worker, err := w.Ledger.Lease(ctx, w.Holder, now, now.Add(progress.TickTime))
		if err == nil {
			if !worker.Sweep.Running() {
				worker.Sweep.Began = time.Time{}
			}
			worker.Holder, worker.Until = "", time.Time{}
			err = w.Ledger.SaveWorker(ctx, worker, now)
		}
		if !errors.Is(err, ledger.ErrLeased) {
			return err
		}
		if !told {
			terminal.Tell(display, "Another worker has the lease; waiting for its tick to end.\n")
		}
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return errors.New("interrupted while another worker had the lease; nothing was done")
		}
	}
}

// mostFailures is the number of ticks that fail in a row before follow gives up.
const mostFailures = 5

// ending decides when there is nothing left to follow.
type ending struct {
	began   time.Time
	display progress.Display
	swept   bool
}

func (e *ending) reached(v progress.View) bool {
	sweep := v.Worker.Sweep
	if v.Failures >= mostFailures {
		return true
	}
	if sweep.Running() || sweep.Ended.Before(e.began) {
		return false
	}
	if !e.swept {
		e.swept = true
		others := ""
		if sweep.Others > 0 {
			others = fmt.Sprintf(", %d of another installation left alone", sweep.Others)
		}
		terminal.Tell(e.display, "%s read%s, %s of work open.\n", terminal.Count(sweep.Clusters, "cluster"), others, terminal.Count(progress.OpenWork(v.Clusters), "piece"))
	}
	if sweep.Complete.Before(sweep.Ended) && v.Problem == nil && time.Since(sweep.Ended) < progress.TickTime {
		return false // the tick is about to end, and to say why
	}
	if progress.OpenWork(v.Clusters) == 0 {
		return progress.Undelivered(v.Clusters) == 0
	}
	return allBlocked(v) || v.Pause.Active() && !requested(v.Clusters)
}

// concludeFollow says how it ended.
func (p Commands) concludeFollow(display progress.Display, v progress.View, followed int) error {
	open, sweep := progress.OpenWork(v.Clusters), v.Worker.Sweep
	switch {
	case open == 0:
		terminal.Tell(display, "Nothing is open: %s of work followed through.\n", terminal.Count(followed, "piece"))
	case v.Pause.Active():
		terminal.Tell(display, "%s of work open, and following is paused %s.\n", terminal.Count(open, "piece"), describePause(v.Pause, time.Now()))
	}
	printHolds(display, v.Holds.Standing(time.Now()), time.Now())
	needs := urgent(v.Clusters)
	for _, c := range v.Clusters {
		needs = append(needs, paging(c.Alarms)...)
	}
	needs = append(needs, paging(v.Worker.Alarms)...)
	printUrgent(display, p.Palette(), needs)
	switch {
	case sweep.Complete.Before(sweep.Ended) && v.Problem == nil:
		return fmt.Errorf("the sweep could not read %d of %d clusters; the log of the worker that swept says why", sweep.Failed-sweep.Unread, sweep.Clusters)
	case sweep.Complete.Before(sweep.Ended):
		return fmt.Errorf("the sweep could not read the whole fleet: %w", v.Problem)
	case open > 0 || len(needs) > 0:
		return terminal.ErrNeedsPerson
	}
	return nil
}

func requested(clusters []*ledger.Cluster) bool {
	return slices.ContainsFunc(clusters, func(c *ledger.Cluster) bool {
		return slices.ContainsFunc(c.Work, func(w ledger.Work) bool { return w.State == ledger.Requested })
	})
}

// allBlocked reports whether none of the open work goes on soon by itself: it is blocked or on hold, waits behind the failure of another
// cluster of its key, or belongs to a cluster that is not shown.
func allBlocked(v progress.View) bool {
	now := time.Now()
	for _, c := range v.Clusters {
		for _, w := range c.Work {
			_, held := v.Holds.Find(c.ID, w.Key, now)
			waits := w.State == ledger.Blocked || held && w.State == ledger.Due
			if !waits && c.Unread.IsZero() && !rotation.Stopped(v.Clusters, c, w, now) {
				return false
			}
		}
	}
	return progress.OpenWork(v.Clusters) > 0
}
