package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/ledger"
)

func (p *program) followCommand() *cobra.Command {
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
	p.variable(c, "mode", "KEYTURN_MODE", "`follow` to act")
	p.ledgerFlag(c)
	p.serverFlag(c)
	p.variable(c, "archive", "KEYTURN_ARCHIVE", "where evidence goes: `file:DIR` or s3://BUCKET/PREFIX")
	p.outputFlag(c)
	return c
}

func (p *program) follow(ctx context.Context) (err error) {
	display := p.newDisplay()
	w, err := p.wire(ctx, needs{puts: true}, display)
	if err != nil {
		return err
	}
	defer w.closeInto(&err)
	if err := w.sayWhatIsSent(ctx, display); err != nil {
		return err
	}
	began := time.Now()
	if err := w.askForSweep(ctx, display); err != nil {
		return err
	}
	tell(display, "Reading the fleet at %s …\n", w.settings.server())
	r := &runner{function: w.Function, display: display, tickEvery: time.Second, lookEvery: 200 * time.Millisecond}
	if w.settings.Ledger.Scheme != "file" {
		r.lookEvery = 3 * time.Second // each poll reads the whole ledger
	}
	e := &ending{began: began, display: display}
	v, err := r.until(ctx, e.reached)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted; %s of work open in the ledger, for the next follow or the function's next tick", count(openWork(v.clusters), "piece"))
	case err != nil:
		return err
	case v.failures >= mostFailures:
		return fmt.Errorf("%d ticks failed in a row: %w", v.failures, v.problem)
	}
	return p.concludeFollow(display, v, len(r.progress.tracks))
}

// sayWhatIsSent says, on an installation that never sent a PUT, how many it is going to send. It is the plan that "keyturn plan"
// shows. That the fleet cannot be read is no reason to stop: each PUT is decided upon afresh.
func (w *wiring) sayWhatIsSent(ctx context.Context, display display) error {
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
		tell(display, "This installation has sent no PUT yet. How many it is going to send is not known: %s\n", oneLine(err))
		return nil
	}
	tell(display, "This installation has sent no PUT yet. %s\n", firstSends(preview))
	return nil
}

// hasSent reports whether a PUT was ever sent to the cluster.
func hasSent(c *ledger.Cluster) bool {
	return slices.ContainsFunc(c.Done, func(d ledger.Done) bool { return d.Followed }) ||
		slices.ContainsFunc(c.Work, func(w ledger.Work) bool { return w.Request != nil })
}

// firstSends says how many PUTs a plan holds and which clusters they go to.
func firstSends(preview rotation.Preview) string {
	const listed = 10
	puts, clusters, unread := 0, []string(nil), 0
	for _, send := range preview.Sends {
		puts = max(puts, send.Rank)
		if n := name(send.Cluster); !slices.Contains(clusters, n) {
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
		more := ""
		if n := len(clusters) - listed; n > 0 {
			more = fmt.Sprintf(" and %d more", n)
		}
		says = fmt.Sprintf("It is going to send %s, in this order: %s%s.", count(puts, "PUT"), strings.Join(clusters[:min(len(clusters), listed)], ", "), more)
	}
	if unread > 0 {
		says += fmt.Sprintf(" %s could not be read.", count(unread, "cluster"))
	}
	return says
}

// askForSweep makes the next tick begin a walk over the fleet, unless one is under way. It waits for another worker to give
// the lease back.
func (w *wiring) askForSweep(ctx context.Context, display display) error {
	for told := false; ; told = true {
		now := time.Now()
		worker, err := w.Ledger.Lease(ctx, w.Holder, now, now.Add(tickTime))
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
			tell(display, "Another worker has the lease; waiting for its tick to end.\n")
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
	display display
	swept   bool
}

func (e *ending) reached(v view) bool {
	sweep := v.worker.Sweep
	if v.failures >= mostFailures {
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
		tell(e.display, "%s read%s, %s of work open.\n", count(sweep.Clusters, "cluster"), others, count(openWork(v.clusters), "piece"))
	}
	if sweep.Complete.Before(sweep.Ended) && v.problem == nil && time.Since(sweep.Ended) < tickTime {
		return false // the tick is about to end, and to say why
	}
	if openWork(v.clusters) == 0 {
		return undelivered(v.clusters) == 0
	}
	return allBlocked(v) || v.pause.Active() && !requested(v.clusters)
}

// concludeFollow says how it ended.
func (p *program) concludeFollow(display display, v view, followed int) error {
	open, sweep := openWork(v.clusters), v.worker.Sweep
	switch {
	case open == 0:
		tell(display, "Nothing is open: %s of work followed through.\n", count(followed, "piece"))
	case v.pause.Active():
		tell(display, "%s of work open, and following is paused %s.\n", count(open, "piece"), describePause(v.pause, time.Now()))
	}
	printHolds(display, v.holds.Standing(time.Now()), time.Now())
	needs := urgent(v.clusters)
	for _, c := range v.clusters {
		needs = append(needs, paging(c.Alarms)...)
	}
	needs = append(needs, paging(v.worker.Alarms)...)
	printUrgent(display, palette(p.color()), needs)
	switch {
	case sweep.Complete.Before(sweep.Ended) && v.problem == nil:
		return fmt.Errorf("the sweep could not read %d of %d clusters; the log of the worker that swept says why", sweep.Failed-sweep.Unread, sweep.Clusters)
	case sweep.Complete.Before(sweep.Ended):
		return fmt.Errorf("the sweep could not read the whole fleet: %w", v.problem)
	case open > 0 || len(needs) > 0:
		return errNeedsPerson
	}
	return nil
}

func undelivered(clusters []*ledger.Cluster) (n int) {
	for _, c := range clusters {
		n += len(c.Messages)
	}
	return n
}

func openWork(clusters []*ledger.Cluster) (n int) {
	for _, c := range clusters {
		n += len(c.Work)
	}
	return n
}

func requested(clusters []*ledger.Cluster) bool {
	for _, c := range clusters {
		for _, w := range c.Work {
			if w.State == ledger.Requested {
				return true
			}
		}
	}
	return false
}

// allBlocked reports whether none of the open work goes on soon by itself: it is blocked or on hold, waits behind the failure of another
// cluster of its key, or belongs to a cluster that is not shown.
func allBlocked(v view) bool {
	now := time.Now()
	for _, c := range v.clusters {
		for _, w := range c.Work {
			_, held := v.holds.Find(c.ID, w.Key, now)
			waits := w.State == ledger.Blocked || held && w.State == ledger.Due
			if !waits && c.Unread.IsZero() && !rotation.Stopped(v.clusters, c, w, now) {
				return false
			}
		}
	}
	return openWork(v.clusters) > 0
}
