package cockroachcloud

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// throttle spends the request budget evenly and stands still while the server asks for it.
type throttle struct {
	bucket *rate.Limiter

	mu     sync.Mutex
	paused time.Time // until then
}

// newThrottle has a burst of one: the server's budget is counted over all clients of the service account, and a burst of
// ours would take it from the others.
func newThrottle(perSecond float64) *throttle {
	return &throttle{bucket: rate.NewLimiter(rate.Limit(perSecond), 1)}
}

// wait blocks until a request may be sent. It returns an error at once if ctx would end before that.
func (t *throttle) wait(ctx context.Context) error {
	// Each further lap needs another rate-limit answer in the meantime; after a pause the waiting requests queue at the
	// bucket again, so that they do not all leave at its end.
	for {
		if t.bucket.Wait(ctx) != nil {
			return fmt.Errorf("wait for rate limit: %w", endOf(ctx))
		}
		pause := t.remainingPause()
		if pause <= 0 {
			return nil
		}
		if err := sleep(ctx, pause); err != nil {
			return fmt.Errorf("wait %v that the server asked for: %w", pause, err)
		}
	}
}

// pause holds back every request that has not left yet.
func (t *throttle) pause(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if until := time.Now().Add(d); until.After(t.paused) {
		t.paused = until
	}
}

func (t *throttle) remainingPause() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Until(t.paused)
}

// sleep waits for d. It returns an error when ctx ends, or at once if ctx would end before d is over.
func sleep(ctx context.Context, d time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return endOf(ctx)
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return endOf(ctx)
	}
}

// endOf is why ctx ended, or will have ended before what was waited for.
func endOf(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return context.DeadlineExceeded
}
