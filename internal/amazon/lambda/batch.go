package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"github.com/keyturn/keyturn/internal/delivery"
)

// batch handles the messages and answers with those that failed
// (docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html). If all of them failed, so did the invocation: SQS delivers
// all again either way, but Lambda's metric Errors counts nothing else.
func (h Handler) batch(ctx context.Context, messages []lambdaevents.SQSMessage) ([]byte, error) {
	handle := h.alertMessages
	switch {
	case h.Alerts != nil:
	case h.Event != nil:
		handle = h.eventMessages
	default:
		return nil, errors.New("this function takes no events")
	}
	for _, m := range messages {
		if m.EventSource != "aws:sqs" {
			return nil, fmt.Errorf("unknown payload: a record of %q, want aws:sqs", delivery.Clip(m.EventSource))
		}
	}
	ctx, cancel := delivery.WithTimeToAnswer(ctx)
	defer cancel()

	done := handle(ctx, messages)
	// An empty list says that all succeeded, so it must not be left out.
	answer := lambdaevents.SQSEventResponse{BatchItemFailures: []lambdaevents.SQSBatchItemFailure{}}
	var failed, nameless int
	for i, m := range messages {
		if done[i] {
			continue
		}
		failed++
		if m.MessageId == "" {
			nameless++
		}
		answer.BatchItemFailures = append(answer.BatchItemFailures, lambdaevents.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
	}
	switch {
	case nameless > 0:
		// Lambda takes a failure without an identifier for a failure of the whole batch; an error says so openly.
		return nil, fmt.Errorf("%d failed messages have no messageId: the whole batch is to be delivered again", nameless)
	case failed > 0 && failed == len(messages):
		return nil, fmt.Errorf("all %d messages of the batch failed; the log says why", failed)
	}
	return json.Marshal(answer)
}

// eventMessages handles the messages, Parallel at a time in their order, and reports which are done with.
func (h Handler) eventMessages(ctx context.Context, messages []lambdaevents.SQSMessage) []bool {
	done := make([]bool, len(messages))
	places := make(chan struct{}, max(1, h.Parallel))
	var group sync.WaitGroup
	for i, m := range messages {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			done[i] = h.delivery().Events(ctx, h.logFor(m), unwrap(m.Body))
		})
	}
	group.Wait()
	return done
}

// alertMessages hands all alerts of the batch over at once, and reports which messages are done with; see eventMessages.
func (h Handler) alertMessages(ctx context.Context, messages []lambdaevents.SQSMessage) []bool {
	done := make([]bool, len(messages))
	var (
		alerts []delivery.Received
		of     []int // the message of each alert
	)
	for i, m := range messages {
		if a, ok := h.delivery().Read(ctx, h.logFor(m), string(unwrap(m.Body))); ok {
			alerts, of = append(alerts, a), append(of, i)
		}
	}
	for n, handled := range h.delivery().Deliver(ctx, alerts) {
		done[of[n]] = handled
	}
	return done
}

func (h Handler) logFor(m lambdaevents.SQSMessage) *slog.Logger {
	return h.delivery().Logger().With("message_id", delivery.Clip(m.MessageId), "receive_count", delivery.Clip(m.Attributes["ApproximateReceiveCount"]))
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
