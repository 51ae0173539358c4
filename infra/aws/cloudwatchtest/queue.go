package cloudwatchtest

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// A queue is inactive if it holds no message and nobody used it for six hours. An inactive queue publishes nothing, and when it becomes
// active its metrics are up to 15 minutes late
// (docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html).
const (
	inactiveAfter = 6 * time.Hour
	wakingDelay   = 15 * time.Minute
)

// poisonReceives is how often a message is received before SQS leaves it out of ApproximateAgeOfOldestMessage (the same page).
const poisonReceives = 3

// Message is a message in a queue.
type Message struct {
	Body     string
	sent     time.Time
	receives int
	hidden   time.Time // until when it is invisible
}

// Queue is a standard queue of SQS with its metrics. It may be used concurrently.
type Queue struct {
	Name                  string
	Visibility, Retention time.Duration
	// Dead takes messages that were received more often than MostReceives; nil: there is none.
	Dead         *Queue
	MostReceives int
	// Random makes the order of messages one that nobody knows, and hands out the share Twice of them once more while they are hidden. nil:
	// they come in their order, and once.
	Random *rand.Rand
	Twice  float64

	mu         sync.Mutex
	messages   []*Message
	used, woke time.Time
	most       int // receives of one message
}

// Send puts a message into the queue.
func (q *Queue) Send(now time.Time, body string) { q.put(now, &Message{Body: body, sent: now}) }

func (q *Queue) put(now time.Time, messages ...*Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.touch(now)
	q.messages = append(q.messages, messages...)
}

func (q *Queue) touch(now time.Time) {
	if now.Sub(q.used) > inactiveAfter && len(q.messages) == 0 {
		q.woke = now
	}
	q.used = now
}

// Receive takes up to so many visible messages, and moves away those that were received too often.
func (q *Queue) Receive(now time.Time, most int) (batch []*Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.touch(now)
	if q.Random != nil {
		q.Random.Shuffle(min(len(q.messages), 50), func(i, j int) { q.messages[i], q.messages[j] = q.messages[j], q.messages[i] })
	}
	q.messages = slices.DeleteFunc(q.messages, func(m *Message) bool {
		const asked = 1000 // so often, about, the queue is asked while a message is hidden
		switch {
		case len(batch) == most:
		case now.Before(m.hidden):
			if q.Random != nil && q.Random.Float64() < q.Twice/asked {
				batch = append(batch, m)
			}
		case q.Dead != nil && m.receives >= q.MostReceives:
			q.Dead.put(now, &Message{Body: m.Body, sent: m.sent})
			return true
		default:
			m.receives++
			q.most = max(q.most, m.receives)
			m.hidden = now.Add(q.Visibility)
			batch = append(batch, m)
		}
		return false
	})
	return batch
}

// Delete removes messages that were handled.
func (q *Queue) Delete(handled ...*Message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	done := map[*Message]bool{}
	for _, m := range handled {
		done[m] = true
	}
	q.messages = slices.DeleteFunc(q.messages, func(m *Message) bool { return done[m] })
}

// Purge empties the queue.
func (q *Queue) Purge(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.touch(now)
	q.messages = nil
}

// Redrive moves all dead letters back, and returns how many they were.
func (q *Queue) Redrive(now time.Time) int {
	q.Dead.mu.Lock()
	moved := q.Dead.messages
	q.Dead.messages = nil
	q.Dead.mu.Unlock()
	for _, m := range moved {
		m.receives, m.hidden = 0, time.Time{}
	}
	q.put(now, moved...)
	return len(moved)
}

// Len is the number of messages in the queue, visible or not.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.messages)
}

// Receives is how often one message was received at most, not counting what was handed out while it was hidden.
func (q *Queue) Receives() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.most
}

// Publish publishes the queue's metrics of the minute that ends now.
func (q *Queue) Publish(metrics Metrics, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages = slices.DeleteFunc(q.messages, func(m *Message) bool { return q.Retention > 0 && now.Sub(m.sent) > q.Retention })
	if len(q.messages) == 0 && now.Sub(q.used) > inactiveAfter {
		return
	}
	visible, age := 0.0, 0.0
	for _, m := range q.messages {
		if !now.Before(m.hidden) {
			visible++
		}
		if m.receives < poisonReceives {
			age = max(age, now.Sub(m.sent).Seconds())
		}
	}
	known := now.Add(Delay)
	if late := q.woke.Add(wakingDelay); now.Before(late) {
		known = late
	}
	dimensions := Dimensions(map[string]string{"QueueName": q.Name})
	at := now.Add(-time.Minute)
	metrics.Put(Metric{"AWS/SQS", "ApproximateAgeOfOldestMessage", dimensions}, at, known, age)
	metrics.Put(Metric{"AWS/SQS", "ApproximateNumberOfMessagesVisible", dimensions}, at, known, visible)
}
