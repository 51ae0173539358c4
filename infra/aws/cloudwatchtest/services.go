package cloudwatchtest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Delay is how long it takes at most until a metric of an active service is known, and a metric that a filter makes of a log. AWS
// promises nothing; both are usually there within a minute.
const Delay = 2 * time.Minute

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

// Queue is a standard queue of SQS with its metrics.
type Queue struct {
	Name                  string
	Visibility, Retention time.Duration
	// Dead takes messages that were received more often than MostReceives; nil: there is none.
	Dead         *Queue
	MostReceives int

	messages   []*Message
	used, woke time.Time
}

// Send puts a message into the queue.
func (q *Queue) Send(now time.Time, body string) {
	q.touch(now)
	q.messages = append(q.messages, &Message{Body: body, sent: now})
}

func (q *Queue) touch(now time.Time) {
	if now.Sub(q.used) > inactiveAfter && len(q.messages) == 0 {
		q.woke = now
	}
	q.used = now
}

// Receive takes up to so many visible messages, and moves away those that were received too often.
func (q *Queue) Receive(now time.Time, most int) (batch []*Message) {
	q.touch(now)
	q.messages = slices.DeleteFunc(q.messages, func(m *Message) bool {
		if len(batch) == most || now.Before(m.hidden) {
			return false
		}
		if m.receives++; q.Dead != nil && m.receives > q.MostReceives {
			q.Dead.touch(now)
			q.Dead.messages = append(q.Dead.messages, &Message{Body: m.Body, sent: m.sent})
			return true
		}
		m.hidden = now.Add(q.Visibility)
		batch = append(batch, m)
		return false
	})
	return batch
}

// Delete removes messages that were handled.
func (q *Queue) Delete(handled ...*Message) {
	q.messages = slices.DeleteFunc(q.messages, func(m *Message) bool { return slices.Contains(handled, m) })
}

// Purge empties the queue.
func (q *Queue) Purge(now time.Time) { q.touch(now); q.messages = nil }

// Len is the number of messages in the queue, visible or not.
func (q *Queue) Len() int { return len(q.messages) }

// Publish publishes the queue's metrics of the minute that ends now.
func (q *Queue) Publish(metrics Metrics, now time.Time) {
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

// Invoked publishes the metrics of an invocation of a Lambda function. Their time is that of its beginning
// (docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html).
func Invoked(metrics Metrics, function string, began time.Time, took time.Duration, failed bool) {
	errors := 0.0
	if failed {
		errors = 1
	}
	put := lambda(metrics, function, began, began.Add(took))
	put("Invocations", 1)
	put("Errors", errors)
	put("Duration", float64(took.Milliseconds()))
	put("Throttles", 0)
}

// Throttled publishes the metrics of an invocation that was not let through. It is no invocation.
func Throttled(metrics Metrics, function string, at time.Time) {
	lambda(metrics, function, at, at)("Throttles", 1)
}

func lambda(metrics Metrics, function string, at, ended time.Time) func(name string, value float64) {
	return func(name string, value float64) {
		metrics.Put(Metric{"AWS/Lambda", name, Dimensions(map[string]string{"FunctionName": function})}, at.Truncate(time.Minute), ended.Add(Delay), value)
	}
}

// Filter is a metric filter of a log group, as CloudFormation has it.
type Filter struct {
	Log, Pattern string
	Metric       Metric // without dimensions
	Value        string
	// Dimensions are fields of a line, by the dimensions' names.
	Dimensions map[string]string
}

// Log writes a line to a log group, and publishes what its filters make of it.
func Log(metrics Metrics, filters []Filter, log, line string, at time.Time) error {
	var fields map[string]any
	_ = json.Unmarshal([]byte(line), &fields) // a filter of words takes any line
	for _, f := range filters {
		if f.Log != log {
			continue
		}
		matches, err := Matches(f.Pattern, line)
		if err != nil {
			return err
		}
		value, constant := 0.0, true
		if name, ok := strings.CutPrefix(f.Value, "$."); ok {
			value, constant = fields[name].(float64)
		} else if _, err := fmt.Sscanf(f.Value, "%g", &value); err != nil {
			return fmt.Errorf("value %q of a metric filter: %w", f.Value, err)
		}
		metric, dimensions := f.Metric, map[string]string{}
		for name, field := range f.Dimensions {
			dimensions[name], _ = fields[strings.TrimPrefix(field, "$.")].(string)
		}
		metric.Dimensions = Dimensions(dimensions)
		if matches && constant {
			metrics.Put(metric, at, at.Add(Delay), value)
		}
	}
	return nil
}

var (
	words      = regexp.MustCompile(`^"([^"]+)"$`)
	comparison = regexp.MustCompile(`^\$\.(\w+) (?:= "([^"]*)"|= (\*)|(NOT EXISTS))$`)
)

// Matches reports whether a filter pattern matches a line
// (docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html), as far as our patterns go: quoted words, or comparisons
// of a JSON line's fields that are joined by && or by ||.
func Matches(pattern, line string) (bool, error) {
	if m := words.FindStringSubmatch(pattern); m != nil {
		return strings.Contains(line, m[1]), nil
	}
	inner, ok := strings.CutPrefix(pattern, "{ ")
	inner, closed := strings.CutSuffix(inner, " }")
	if !ok || !closed || strings.Contains(inner, "&&") && strings.Contains(inner, "||") {
		return false, fmt.Errorf("filter pattern %q is not understood", pattern)
	}
	joint, all := " || ", false
	if strings.Contains(inner, "&&") {
		joint, all = " && ", true
	}
	var fields map[string]any
	isJSON := json.Unmarshal([]byte(line), &fields) == nil
	result := all
	for part := range strings.SplitSeq(inner, joint) {
		m := comparison.FindStringSubmatch(part)
		if m == nil {
			return false, fmt.Errorf("filter pattern %q is not understood: %q", pattern, part)
		}
		value, there := fields[m[1]]
		holds := there && value == m[2]
		switch {
		case m[3] != "":
			holds = there
		case m[4] != "":
			holds = !there
		}
		if all {
			result = result && holds
		} else {
			result = result || holds
		}
	}
	return result && isJSON, nil
}
