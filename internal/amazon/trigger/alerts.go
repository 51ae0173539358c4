package trigger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Alerts serves a Lambda function that is invoked with batches of messages of an SQS standard queue, each an alert as the
// topic published it: in an SNS notification, or as it is (raw message delivery).
//
// As with a [Handler], the failed messages alone are answered and so delivered again; the event source mapping must have
// ReportBatchItemFailures set. Each failure is one log line, without the message.
type Alerts struct {
	// Parse reads the alert from the text of a message.
	Parse func(message string) (cmek.Alert, error)
	// Alert handles one alert; an error asks for its redelivery.
	Alert func(ctx context.Context, alert cmek.Alert) error
	// Log receives one line for each message that failed. nil: slog.Default.
	Log *slog.Logger
}

var _ lambda.Handler = Alerts{}

// Invoke implements [lambda.Handler]. The answer is an SQSEventResponse; an error means that the whole payload failed.
func (h Alerts) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var batch lambdaevents.SQSEvent
	if err := json.Unmarshal(payload, &batch); err != nil {
		return nil, fmt.Errorf("read payload: %s", clip(err.Error()))
	}
	if batch.Records == nil {
		return nil, errors.New("unknown payload: want an SQS batch")
	}
	for _, m := range batch.Records {
		if m.EventSource != "aws:sqs" || m.MessageId == "" {
			return nil, fmt.Errorf("unknown payload: a record of %q with the id %q, want aws:sqs and an id", clip(m.EventSource), clip(m.MessageId))
		}
	}
	ctx, cancel := withTimeToAnswer(ctx)
	defer cancel()
	// An empty list says that all went well, so it must not be left out.
	answer := lambdaevents.SQSEventResponse{BatchItemFailures: []lambdaevents.SQSBatchItemFailure{}}
	for _, m := range batch.Records {
		if !h.message(ctx, m) {
			answer.BatchItemFailures = append(answer.BatchItemFailures, lambdaevents.SQSBatchItemFailure{ItemIdentifier: m.MessageId})
		}
	}
	return json.Marshal(answer)
}

// message reports whether the message's alert was handled. If not, one log line says why.
func (h Alerts) message(ctx context.Context, m lambdaevents.SQSMessage) (done bool) {
	log := h.Log
	if log == nil {
		log = slog.Default()
	}
	log = log.With("message_id", clip(m.MessageId), "receive_count", clip(m.Attributes["ApproximateReceiveCount"]))
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
	alert, err := h.Parse(string(unwrap(m.Body)))
	if err == nil && (alert.ID == "" || alert.Summary == "") {
		err = errors.New("it holds no alert with an id and a summary")
	}
	if err != nil {
		log.ErrorContext(ctx, "message cannot be understood", "error", clip(err.Error()))
		return false
	}
	if err := h.Alert(ctx, alert); err != nil {
		log.ErrorContext(ctx, "alert not handled", "alert", clip(alert.ID), "severity", clip(string(alert.Severity)),
			"change", clip(string(alert.Change)), "key", clip(string(alert.Key)), "error", err)
		return false
	}
	return true
}
