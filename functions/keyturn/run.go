package main

import (
	"context"
	"errors"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// runner runs the rotation function in this process, as its schedule does in the cloud, and shows what the ledger shows.
type runner struct {
	function *rotation.Function
	display  display
	progress progress
	// tickEvery and lookEvery are the pauses between two ticks, and between two polls of the ledger.
	tickEvery, lookEvery time.Duration
}

// tickTime bounds one tick. The tick stops taking up new work a tenth of that before its end, and after Ctrl-C the running
// tick is waited for, so that no request is cut off and the lease goes back.
const tickTime = 20 * time.Second

// view is what one poll of the ledger shows.
type view struct {
	clusters []*ledger.Cluster
	worker   *ledger.Worker
	pause    ledger.Pause
	holds    cmek.Holds
	// problem is the last error that a tick returned; failures counts ticks that failed in a row.
	problem  error
	failures int
}

// ended notes how a tick ended.
func (v *view) ended(err error) {
	if err == nil {
		v.failures = 0
		return
	}
	v.problem = err
	v.failures++
}

// until runs until finished says so or ctx ends, and returns the last view. After ctx it returns ctx's error.
func (r *runner) until(ctx context.Context, finished func(view) bool) (view, error) {
	var v view
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
				tell(r.display, "tick: %s\n", oneLine(err))
			}
		case <-time.After(r.lookEvery):
		case <-ctx.Done():
			tell(r.display, "Stopping after the step that is under way; Ctrl-C again ends at once.\n")
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
func (r *runner) tick(ctx context.Context, stop <-chan struct{}, ended chan<- error) {
	defer close(ended)
	for {
		// Ctrl-C does not reach it: a tick that is cut off may leave a PUT whose outcome nobody knows.
		whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), tickTime)
		err := r.function.Tick(whole)
		cancel()
		select {
		case ended <- err:
		case <-stop:
			return
		}
		select {
		case <-time.After(r.tickEvery):
		case <-stop:
			return
		}
	}
}

// drain waits for the running tick and polls a last time.
func (r *runner) drain(ctx context.Context, stop chan struct{}, ended <-chan error, v *view) error {
	close(stop)
	for err := range ended {
		v.ended(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tickTime)
	defer cancel()
	return r.look(ctx, v)
}

// look reads the ledger and shows what moved.
func (r *runner) look(ctx context.Context, v *view) (err error) {
	if v.clusters, err = r.function.Ledger.Clusters(ctx); err != nil {
		return err
	}
	if v.worker, err = r.function.Ledger.Worker(ctx); err != nil {
		return err
	}
	if v.pause, err = r.function.Ledger.Paused(ctx); err != nil {
		return err
	}
	if v.holds, err = r.function.Ledger.Holds(ctx); err != nil {
		return err
	}
	moved := r.progress.observe(v.clusters, time.Now())
	if len(moved) > 0 {
		r.display.show(r.progress.tracks, moved)
	}
	return nil
}
