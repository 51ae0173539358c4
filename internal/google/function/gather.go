package function

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/delivery"
)

// mostHeld is how many alerts wait or are being sent at a time. With alerts of the largest size these take 64 MB.
const mostHeld = 250

// gatherer makes batches of alerts that are pushed one by one: a channel where people read gets one message about them, and a pager can
// open the most urgent incidents first. Each alert's request is held until it is known what became of it, so nothing is acknowledged
// that was not sent, and Pub/Sub, which pushes no more than is answered, waits too. One batch is sent at a time; what arrives
// meanwhile is the next one.
type gatherer struct {
	deliver func(context.Context, []delivery.Received) []bool
	window  time.Duration

	mu      sync.Mutex
	held    int
	waiting []waiting
	running bool
}

// waiting is an alert whose request waits for its fate.
type waiting struct {
	delivery.Received
	ctx     context.Context
	handled chan<- bool
}

// add hands the alert over with others, and reports whether it was handled; full if there are too many to take it.
func (g *gatherer) add(ctx context.Context, r delivery.Received) (handled, full bool) {
	if g.window == 0 {
		return g.deliver(ctx, []delivery.Received{r})[0], false
	}
	g.mu.Lock()
	if g.held == mostHeld {
		g.mu.Unlock()
		return false, true
	}
	fate := make(chan bool, 1)
	g.held++
	g.waiting = append(g.waiting, waiting{r, ctx, fate})
	if !g.running {
		g.running = true
		go g.run()
	}
	g.mu.Unlock()
	return <-fate, false
}

// run sends batches until nothing waits any longer, so that it ends with the last request: afterwards Cloud Run may stop the processor.
func (g *gatherer) run() {
	for more := true; more; {
		time.Sleep(g.window)
		g.mu.Lock()
		batch := g.waiting
		g.waiting = nil
		g.mu.Unlock()
		handled := g.send(batch)
		g.mu.Lock()
		g.held -= len(batch)
		g.running = len(g.waiting) > 0
		more = g.running
		g.mu.Unlock()
		for i, w := range batch {
			w.handled <- handled[i]
		}
	}
}

// send hands a batch over. Its time ends with that of the request that has least left.
func (g *gatherer) send(batch []waiting) []bool {
	received := make([]delivery.Received, len(batch))
	for i, w := range batch {
		received[i] = w.Received
	}
	first := slices.MinFunc(batch, func(a, b waiting) int { return deadlineOf(a.ctx).Compare(deadlineOf(b.ctx)) })
	return g.deliver(first.ctx, received)
}

// deadlineOf is when the context of a request ends; each has an end.
func deadlineOf(ctx context.Context) time.Time {
	deadline, _ := ctx.Deadline()
	return deadline
}
