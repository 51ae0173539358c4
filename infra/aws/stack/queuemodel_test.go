package stack_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"github.com/keyturn/keyturn/internal/amazon/lambda"
)

// deployed are the numbers of a queue and the function behind it, as the template has them.
type deployed struct {
	batch, concurrency, mostReceives int
	window, visibility, timeout      time.Duration
}

// feedOf reads the numbers of the function from the template of the hub.
func feedOf(t *testing.T, function string) (d deployed) {
	t.Helper()
	h := hub(t)
	number := func(r resource, path ...string) int {
		n, _ := r.property(path...).(float64)
		return int(n)
	}
	for _, id := range h.of("AWS::Lambda::EventSourceMapping") {
		m := h.Resources[id]
		f := h.Resources[m.property("FunctionName", "Ref").(string)]
		if f.property("FunctionName") != function {
			continue
		}
		q := h.Resources[m.property("EventSourceArn", "Fn::GetAtt").([]any)[0].(string)]
		second := func(n int) time.Duration { return time.Duration(n) * time.Second }
		return deployed{
			batch: number(m, "BatchSize"), window: second(number(m, "MaximumBatchingWindowInSeconds")), concurrency: number(m, "ScalingConfig", "MaximumConcurrency"),
			mostReceives: number(q, "RedrivePolicy", "maxReceiveCount"), visibility: second(number(q, "VisibilityTimeout")), timeout: second(number(f, "Timeout")),
		}
	}
	t.Fatalf("nothing feeds %s", function)
	return d
}

// queueModel is a standard queue of SQS with a dead-letter queue, and Lambda's event source mapping that feeds a function from it
// (docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html): pollers gather messages for a batch until it is full or the window
// is over, and hand it to an instance of the function as soon as the concurrency allows. Everything that the model leaves open works
// against the function: pollers hold a batch while they wait, so that it gets no larger, and some messages arrive twice.
type queueModel struct {
	deployed
	// start makes an instance of the function.
	start func() lambda.Handler
	// twice is the share of messages that are handed out once more while they are hidden.
	twice float64

	mu       sync.Mutex
	random   *rand.Rand
	waiting  []*message
	dead     []*message
	idle     []lambda.Handler
	slots    chan struct{}
	failed   int // invocations
	invoked  int
	receives int // the most of one message, deliveries by mistake not counted
}

type message struct {
	id, body string
	visible  time.Time
	receives int
}

const (
	pollers      = 5
	mostPerPoll  = 10
	mostPayload  = 6 << 20
	invokeTime   = 30 * time.Millisecond
	betweenPolls = 100 * time.Millisecond
	onePoll      = 50 * time.Millisecond
)

func (q *queueModel) send(body string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, &message{id: fmt.Sprintf("m%d", len(q.waiting)+q.random.IntN(1e9)), body: body, visible: time.Now()})
}

// redrive moves all dead letters back.
func (q *queueModel) redrive() (moved int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range q.dead {
		m.receives, m.visible = 0, time.Now()
	}
	moved = len(q.dead)
	q.waiting, q.dead = append(q.waiting, q.dead...), nil
	return moved
}

// run feeds the function until the context ends.
func (q *queueModel) run(ctx context.Context) {
	q.slots = make(chan struct{}, q.concurrency)
	var g sync.WaitGroup
	for range pollers {
		g.Go(func() {
			for ctx.Err() == nil {
				if batch := q.gather(ctx); len(batch) > 0 {
					q.slots <- struct{}{}
					q.invoke(ctx, batch)
					<-q.slots
				} else {
					time.Sleep(betweenPolls)
				}
			}
		})
	}
	g.Wait()
}

// gather is one poller's batch.
func (q *queueModel) gather(ctx context.Context) (batch []*message) {
	var first time.Time
	size := 0
	for ctx.Err() == nil {
		for _, m := range q.receive(min(mostPerPoll, q.batch-len(batch))) {
			batch, size = append(batch, m), size+len(m.body)
		}
		if first.IsZero() && len(batch) > 0 {
			first = time.Now()
		}
		if len(batch) == 0 || len(batch) == q.batch || size > mostPayload/2 || time.Since(first) >= q.window {
			return batch
		}
		time.Sleep(onePoll)
	}
	return batch
}

// receive takes visible messages, in any order. One that was received too often goes to the dead letters.
func (q *queueModel) receive(most int) (batch []*message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	q.random.Shuffle(min(len(q.waiting), 50), func(i, j int) { q.waiting[i], q.waiting[j] = q.waiting[j], q.waiting[i] })
	q.waiting = slices.DeleteFunc(q.waiting, func(m *message) bool {
		if len(batch) == most {
			return false
		}
		if m.visible.After(now) {
			if q.random.Float64() < q.twice/1000 { // asked about a thousand times while it is hidden
				batch = append(batch, m)
			}
			return false
		}
		if m.receives == q.mostReceives {
			q.dead = append(q.dead, m)
			return true
		}
		m.receives++
		q.receives = max(q.receives, m.receives)
		m.visible = now.Add(q.visibility)
		batch = append(batch, m)
		return false
	})
	return batch
}

func (q *queueModel) invoke(ctx context.Context, batch []*message) {
	var event lambdaevents.SQSEvent
	for _, m := range batch {
		event.Records = append(event.Records, lambdaevents.SQSMessage{MessageId: m.id, EventSource: "aws:sqs", Body: m.body})
	}
	payload, err := json.Marshal(event)
	if err != nil {
		panic(err)
	}
	instance := q.instance()
	time.Sleep(invokeTime)
	ctx, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	answer, err := instance.Invoke(ctx, payload)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.idle = append(q.idle, instance)
	q.invoked++
	if err != nil {
		q.failed++
		return
	}
	var response lambdaevents.SQSEventResponse
	if err := json.Unmarshal(answer, &response); err != nil {
		panic(err)
	}
	again := map[string]bool{}
	for _, f := range response.BatchItemFailures {
		again[f.ItemIdentifier] = true
	}
	done := map[*message]bool{}
	for _, m := range batch {
		done[m] = !again[m.id]
	}
	q.waiting = slices.DeleteFunc(q.waiting, func(m *message) bool { return done[m] })
}

func (q *queueModel) instance() lambda.Handler {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.idle); n > 0 {
		last := q.idle[n-1]
		q.idle = q.idle[:n-1]
		return last
	}
	return q.start()
}

func (q *queueModel) left() (waiting, dead int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting), len(q.dead)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))
