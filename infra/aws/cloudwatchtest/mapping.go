package cloudwatchtest

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"
)

// Handler is a function on Lambda.
type Handler interface {
	Invoke(ctx context.Context, payload []byte) ([]byte, error)
}

// Deliver invokes the function with messages of the queue, and removes those that it has handled
// (docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html). The error is that of the invocation: nothing is removed then.
func (q *Queue) Deliver(ctx context.Context, function Handler, batch []*Message) error {
	var event lambdaevents.SQSEvent
	for i, m := range batch {
		event.Records = append(event.Records, lambdaevents.SQSMessage{MessageId: strconv.Itoa(i), EventSource: "aws:sqs", Body: m.Body})
	}
	payload, err := json.Marshal(event)
	if err != nil {
		return err
	}
	answer, err := function.Invoke(ctx, payload)
	if err != nil {
		return err
	}
	var response lambdaevents.SQSEventResponse
	if err := json.Unmarshal(answer, &response); err != nil {
		return fmt.Errorf("read answer %q of a function: %w", answer, err)
	}
	failed := map[string]bool{}
	for _, f := range response.BatchItemFailures {
		failed[f.ItemIdentifier] = true
	}
	var done []*Message
	for i, m := range batch {
		if !failed[strconv.Itoa(i)] {
			done = append(done, m)
		}
	}
	q.Delete(done...)
	return nil
}

// Mapping is Lambda's event source mapping, which feeds a function from a queue
// (docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html): pollers gather messages for a batch until it is full or the window is
// over, and hand it to an instance of the function as soon as the concurrency allows. Everything that AWS leaves open works against the
// function: pollers hold a batch while they wait, so that it gets no larger, and a batch has no more than a poll brings where there is no window.
type Mapping struct {
	Queue              *Queue
	Batch, Concurrency int
	Window, Timeout    time.Duration
	// Start makes an instance of the function.
	Start func() Handler

	mu              sync.Mutex
	idle            []Handler
	invoked, failed int
}

const (
	pollers      = 5
	mostPerPoll  = 10
	mostPayload  = 6 << 20
	invokeTime   = 30 * time.Millisecond
	betweenPolls = 100 * time.Millisecond
	onePoll      = 50 * time.Millisecond
)

// Run feeds the function until the context ends.
func (m *Mapping) Run(ctx context.Context) {
	slots := make(chan struct{}, m.Concurrency)
	var g sync.WaitGroup
	for range max(pollers, m.Concurrency) {
		g.Go(func() {
			for ctx.Err() == nil {
				if batch := m.gather(ctx); len(batch) > 0 {
					slots <- struct{}{}
					m.invoke(ctx, batch)
					<-slots
				} else {
					time.Sleep(betweenPolls)
				}
			}
		})
	}
	g.Wait()
}

// gather is one poller's batch.
func (m *Mapping) gather(ctx context.Context) (batch []*Message) {
	var first time.Time
	size := 0
	for ctx.Err() == nil {
		for _, got := range m.Queue.Receive(time.Now(), min(mostPerPoll, m.Batch-len(batch))) {
			batch, size = append(batch, got), size+len(got.Body)
		}
		if first.IsZero() && len(batch) > 0 {
			first = time.Now()
		}
		if len(batch) == 0 || len(batch) == m.Batch || size > mostPayload/2 || time.Since(first) >= m.Window {
			return batch
		}
		time.Sleep(onePoll)
	}
	return batch
}

func (m *Mapping) invoke(ctx context.Context, batch []*Message) {
	instance := m.instance()
	time.Sleep(invokeTime)
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	err := m.Queue.Deliver(ctx, instance, batch)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.idle = append(m.idle, instance)
	m.invoked++
	if err != nil {
		m.failed++
	}
}

func (m *Mapping) instance() Handler {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.idle); n > 0 {
		last := m.idle[n-1]
		m.idle = m.idle[:n-1]
		return last
	}
	return m.Start()
}

// Invocations is how many there were, and how many of them failed.
func (m *Mapping) Invocations() (all, failed int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.invoked, m.failed
}
