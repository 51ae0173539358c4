package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

func (p *program) followCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "follow",
		Short: "Sweep the fleet and follow rotations through, until nothing is open",
		Long: `Sweep the fleet and follow rotations through from this terminal, until nothing is open or a person is
needed. This sends PUTs: it refuses unless the mode is follow.

One worker at a time acts on a ledger: if the function in the cloud is at it, this command waits for its
tick to end. Ctrl-C ends after the step that is under way; what is open stays in the ledger, and the next
follow or the function's next tick goes on.

A file ledger serves simulators on loopback only: two ledgers must never drive one fleet.`,
		Example: `  keyturn follow --mode follow --ledger dynamodb://keyturn?region=us-east-1
  KEYTURN_SETTLE=10s keyturn follow --mode follow   # against "keyturn simulate"`,
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
	began := time.Now()
	if err := w.askForSweep(ctx, display); err != nil {
		return err
	}
	tell(display, "Reading the fleet at %s …\n", w.settings.server())
	r := &runner{function: w.Function, display: display, tickEvery: time.Second, lookEvery: 200 * time.Millisecond}
	if w.settings.Ledger.Scheme != "file" {
		r.lookEvery = 3 * time.Second // each look reads the whole ledger
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
			tell(display, "Another worker is at it; waiting for its tick to end.\n")
		}
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return errors.New("interrupted while another worker was at it; nothing was done")
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
		tell(e.display, "%s read, %s of work open.\n", count(sweep.Clusters, "cluster"), count(openWork(v.clusters), "piece"))
	}
	if sweep.Complete.Before(sweep.Ended) && v.problem == nil && time.Since(sweep.Ended) < tickTime {
		return false // the tick is about to end, and to say why
	}
	if openWork(v.clusters) == 0 {
		return undelivered(v.clusters) == 0
	}
	return allBlocked(v.clusters) || v.pause.Active() && !requested(v.clusters)
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
	people := urgent(v.clusters, v.worker)
	printUrgent(display, palette(p.color()), people)
	switch {
	case sweep.Complete.Before(sweep.Ended) && v.problem == nil:
		return fmt.Errorf("the sweep could not read %d of %d clusters; the log of the worker that swept says why", sweep.Failed, sweep.Clusters)
	case sweep.Complete.Before(sweep.Ended):
		return fmt.Errorf("the sweep could not read the whole fleet: %w", v.problem)
	case open > 0 || len(people) > 0:
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

// allBlocked reports whether all open work is held, or waits behind a cluster of its key whose rotation failed for good.
func allBlocked(clusters []*ledger.Cluster) bool {
	type rotation struct {
		key     string
		version cmek.KeyVersion
	}
	stopped := map[rotation]bool{}
	for _, c := range clusters {
		for _, w := range c.Work {
			if w.State == ledger.Held && w.Failed > 0 {
				stopped[rotation{w.Key.Canonical(), w.Version}] = true
			}
		}
	}
	for _, c := range clusters {
		for _, w := range c.Work {
			if w.State != ledger.Held && (w.State == ledger.Requested || !stopped[rotation{w.Key.Canonical(), w.Version}]) {
				return false
			}
		}
	}
	return openWork(clusters) > 0
}
