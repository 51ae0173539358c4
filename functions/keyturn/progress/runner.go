// Package progress runs the rotation function in this process and shows how each piece of work moves, painted over a terminal, in lines,
// or as NDJSON.
package progress

import (
	"context"
	"errors"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Runner runs the rotation function in this process, as its schedule does in the cloud, and shows what the ledger shows.
type Runner struct {
	Function *rotation.Function
	Display  Display
	progress progress
	// TickEvery and PollEvery are the pauses between two ticks, and between two polls of the ledger.
	TickEvery, PollEvery time.Duration
}

// TickTime bounds one tick. The tick stops taking up new work a tenth of that before its end, and after Ctrl-C the running
// tick is waited for, so that no request is cut off and the lease goes back.
const TickTime = 20 * time.Second

// View is what one poll of the ledger shows.
type View struct {
	Clusters []*ledger.Cluster
	Worker   *ledger.Worker
	Pause    ledger.Pause
	Holds    cmek.Holds
	// Problem is the last error that a tick returned; Failures counts ticks that failed in a row.
	Problem  error
	Failures int
}

// Read reads the ledger.
func (v *View) Read(ctx context.Context, l *ledger.Ledger) (err error) {
	if v.Clusters, err = l.Clusters(ctx); err != nil {
		return err
	}
	if v.Worker, err = l.Worker(ctx); err != nil {
		return err
	}
	if v.Pause, err = l.Paused(ctx); err != nil {
		return err
	}
	v.Holds, err = l.Holds(ctx)
	return err
}

// ended notes how a tick ended.
func (v *View) ended(err error) {
	if err == nil {
		v.Failures = 0
		return
	}
	v.Problem = err
	v.Failures++
}

// Until runs until finished says so or ctx ends, and returns the last view. After ctx it returns ctx's error.
func (r *Runner) Until(ctx context.Context, finished func(View) bool) (View, error) {
	var v View
	if err := r.look(ctx, &v); err != nil {
		return v, err
	}
	stop := make(chan struct{})
	ended := make(chan error)
	go r.tick(ctx, stop, ended)
	for {
		select {
		case err := <-ended:
			v.ended(err)
			if err != nil {
				terminal.Tell(r.Display, "tick: %s\n", terminal.OneLine(err))
			}
		case <-time.After(r.PollEvery):
		case <-ctx.Done():
			terminal.Tell(r.Display, "Stopping after the step that is under way; Ctrl-C again ends at once.\n")
			return v, errors.Join(ctx.Err(), r.drain(ctx, stop, ended, &v))
		}
		if err := r.look(ctx, &v); err != nil && ctx.Err() == nil {
			return v, errors.Join(err, r.drain(ctx, stop, ended, &v))
		}
		if ctx.Err() == nil && finished(v) {
			return v, r.drain(ctx, stop, ended, &v)
		}
	}
}

// tick runs ticks one after the other until stop is closed, and reports the end of each; then it closes ended.
func (r *Runner) tick(ctx context.Context, stop <-chan struct{}, ended chan<- error) {
	defer close(ended)
	for {
		// Ctrl-C does not reach it: a tick that is cut off may leave a PUT whose outcome nobody knows.
		whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), TickTime)
		err := r.Function.Tick(whole)
		cancel()
		select {
		case ended <- err:
		case <-stop:
			return
		}
		select {
		case <-time.After(r.TickEvery):
		case <-stop:
			return
		}
	}
}

// drain waits for the running tick and polls a last time.
func (r *Runner) drain(ctx context.Context, stop chan struct{}, ended <-chan error, v *View) error {
	close(stop)
	for err := range ended {
		v.ended(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), TickTime)
	defer cancel()
	return r.look(ctx, v)
}

// look reads the ledger and shows what moved.
func (r *Runner) look(ctx context.Context, v *View) error {
	if err := v.Read(ctx, r.Function.Ledger); err != nil {
		return err
	}
	if moved := r.progress.observe(v.Clusters, time.Now()); len(moved) > 0 {
		r.Display.show(r.progress.tracks, moved)
	}
	return nil
}

// Followed counts the pieces of work that were seen.
func (r *Runner) Followed() int { return len(r.progress.tracks) }

// OpenWork counts the open pieces of work.
func OpenWork(clusters []*ledger.Cluster) (n int) {
	for _, c := range clusters {
		n += len(c.Work)
	}
	return n
}

// Undelivered counts the alerts and records that are still to be delivered.
func Undelivered(clusters []*ledger.Cluster) (n int) {
	for _, c := range clusters {
		n += len(c.Messages)
	}
	return n
}
