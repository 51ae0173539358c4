package trigger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"github.com/keyturn/keyturn/events"
)

// batch handles the messages one after the other and answers with those that failed
// (docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html).
func (h Handler) batch(ctx context.Context, messages []lambdaevents.SQSMessage) ([]byte, error) {
	if h.Event == nil {
		return nil, errors.New("this function takes no events")
	}
	for _, m := range messages {
		if m.EventSource != "aws:sqs" {
			return nil, fmt.Errorf("unknown payload: a record of %q, want aws:sqs", clip(m.EventSource))
		}
	}
	ctx, cancel := withTimeToAnswer(ctx)
	defer cancel()

	// An empty list says that all went well, so it must not be left out.
	answer := lambdaevents.SQSEventResponse{BatchItemFailures: []lambdaevents.SQSBatchItemFailure{}}
	var nameless int
	for _, m := range messages {
		if h.message(ctx, m) {
			continue
		}
		if m.MessageId == "" {
			nameless++
			continue
		}
		answer.BatchItemFailures = append(answer.BatchItemFailures, lambdaevents.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
	}
	// Lambda takes a failure without an identifier for a failure of the whole batch; an error says so openly.
	if nameless > 0 {
		return nil, fmt.Errorf("%d failed messages have no messageId: the whole batch is to be delivered again", nameless)
	}
	return json.Marshal(answer)
}

// message reports whether the message is done with: handled, or not for us. If not, one log line per reason is written.
func (h Handler) message(ctx context.Context, m lambdaevents.SQSMessage) (done bool) {
	log := h.logger().With(
		"message_id", clip(m.MessageId),
		"receive_count", clip(m.Attributes["ApproximateReceiveCount"]))
	defer func() {
		if p := recover(); p != nil {
			log.ErrorContext(ctx, "handling message panicked", "panic", clip(fmt.Sprint(p)), "stack", string(debug.Stack()))
			done = false
		}
	}()
	if err := ctx.Err(); err != nil {
		log.ErrorContext(ctx, "message left for another delivery: the invocation's time is up", "error", err)
		return false
	}
	decoded, err := events.Decode(unwrap(m.Body))
	if err != nil {
		log.ErrorContext(ctx, "message cannot be understood", "error", err)
		return false
	}
	if len(decoded) == 0 {
		log.InfoContext(ctx, "message is not for us: nothing in it is a change that we understand")
	}
	done = true
	for _, e := range h.subscribed(decoded) {
		if err := h.Event(ctx, e); err != nil {
			log.ErrorContext(ctx, "event not handled", "event", e.ID, "change", e.Change, "key", e.Key,
				"region", e.Region, "principal", e.Principal, "error", err)
			done = false
		}
	}
	return done
}

func (h Handler) logger() *slog.Logger {
	if h.Log == nil {
		return slog.Default()
	}
	return h.Log
}

// unwrap takes the message out of an SNS notification (docs.aws.amazon.com/sns/latest/dg/SendMessageToSQS.html); any
// other body is a message by itself.
func unwrap(body string) []byte {
	var notification struct{ Type, Message string }
	if err := json.Unmarshal([]byte(body), &notification); err == nil && notification.Type == "Notification" {
		return []byte(notification.Message)
	}
	return []byte(body)
}

// withTimeToAnswer ends ctx a little before Lambda kills the function, so that the messages not yet handled are answered
// as failed and those handled are not delivered again.
func withTimeToAnswer(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	reserve := min(time.Second, time.Until(deadline)/10)
	return context.WithDeadline(ctx, deadline.Add(-reserve))
}
