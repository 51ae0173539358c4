package lambda

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
	handle := h.eventMessage
	switch {
	case h.Alert != nil:
		handle = h.alertMessage
	case h.Event == nil:
		return nil, errors.New("this function takes no events")
	}
	for _, m := range messages {
		if m.EventSource != "aws:sqs" {
			return nil, fmt.Errorf("unknown payload: a record of %q, want aws:sqs", clip(m.EventSource))
		}
	}
	ctx, cancel := withTimeToAnswer(ctx)
	defer cancel()

	// An empty list says that all succeeded, so it must not be left out.
	answer := lambdaevents.SQSEventResponse{BatchItemFailures: []lambdaevents.SQSBatchItemFailure{}}
	var nameless int
	for _, m := range messages {
		if h.message(ctx, m, handle) {
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

// message reports whether the message was handled, or is not for us. If not, one log line per reason is written.
func (h Handler) message(ctx context.Context, m lambdaevents.SQSMessage, handle func(context.Context, *slog.Logger, []byte) bool) (done bool) {
	log := h.Log
	if log == nil {
		log = slog.Default()
	}
	log = log.With("message_id", clip(m.MessageId), "receive_count", clip(m.Attributes["ApproximateReceiveCount"]))
	defer func() {
		if p := recover(); p != nil {
			log.ErrorContext(ctx, "handling message panicked", "error", clip(fmt.Sprint(p)), "stack", string(debug.Stack()))
			done = false
		}
	}()
	if err := ctx.Err(); err != nil {
		log.ErrorContext(ctx, "message left for another delivery: the invocation's time is up", "error", err)
		return false
	}
	return handle(ctx, log, unwrap(m.Body))
}

func (h Handler) eventMessage(ctx context.Context, log *slog.Logger, message []byte) bool {
	decoded, err := events.Decode(message)
	if err != nil {
		log.ErrorContext(ctx, "message cannot be understood", "error", err)
		return false
	}
	if len(decoded) == 0 {
		log.InfoContext(ctx, "message is not for us: nothing in it is a change that we understand")
	}
	done := true
	for _, e := range h.subscribed(decoded) {
		if err := h.Event(ctx, e); err != nil {
			log.ErrorContext(ctx, "event not handled", "event", e.ID, "change", e.Change, "key", e.Key,
				"region", e.Region, "principal", e.Principal, "error", err)
			done = false
		}
	}
	return done
}

func (h Handler) alertMessage(ctx context.Context, log *slog.Logger, message []byte) bool {
	a, err := h.Parse(string(message))
	if err == nil && (a.ID == "" || a.Summary == "") {
		err = errors.New("it holds no alert with an id and a summary")
	}
	if err != nil {
		log.ErrorContext(ctx, "message cannot be understood", "error", clip(err.Error()))
		return false
	}
	if err := h.Alert(ctx, a); err != nil {
		log.ErrorContext(ctx, "alert not handled", "alert", clip(a.ID), "severity", clip(string(a.Severity)),
			"change", clip(string(a.Change)), "key", clip(string(a.Key)), "error", err)
		return false
	}
	return true
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
