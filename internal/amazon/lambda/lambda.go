// Package lambda is the runtime layer of the functions on AWS Lambda: it turns what Lambda delivers into events, alerts and ticks,
// and what became of them into the answer that a queue needs.
package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/internal/delivery"
)

// Handler serves a Lambda function that is invoked
//
//   - with a batch of messages of an SQS standard queue, each an EventBridge event or an alert, bare or in an SNS notification;
//   - with a tick of EventBridge Scheduler, whose input must be
//     {"keyturn":"tick","schedule":"<aws.scheduler.schedule-arn>","scheduled":"<aws.scheduler.scheduled-time>"};
//   - with one EventBridge event, for replays and tests by hand.
//
// All of them arrive at least once and in any order. Of a batch, the failed messages alone are answered and so delivered
// again; the event source mapping must have ReportBatchItemFailures set. If all of them failed, the invocation fails, and so
// counts in Lambda's metric Errors. Why messages failed is logged, once each, because the answer has no room for it. Errors of a tick or
// a bare event are returned, and the Lambda runtime logs them.
type Handler delivery.Handler

func (h Handler) delivery() delivery.Handler { return delivery.Handler(h) }

var _ lambda.Handler = Handler{}

// invocation is what distinguishes the kinds of payload.
type invocation struct {
	Records    []lambdaevents.SQSMessage `json:"Records"`
	Keyturn    string                    `json:"keyturn"`
	Scheduled  string                    `json:"scheduled"`
	Source     string                    `json:"source"`
	DetailType string                    `json:"detail-type"`
}

// nothing is the answer to a payload that wants none.
var nothing = []byte("null")

// Invoke implements the runtime's Handler. The answer to a batch is an SQSEventResponse, to anything else null. An error means
// that the whole payload failed.
func (h Handler) Invoke(ctx context.Context, payload []byte) ([]byte, error) {
	var p invocation
	if err := json.Unmarshal(payload, &p); err != nil {
		return nil, fmt.Errorf("read payload: %s", delivery.Clip(err.Error()))
	}
	switch {
	case p.Records != nil:
		return h.batch(ctx, p.Records)
	case p.Keyturn == "tick":
		return nothing, h.tick(ctx, p.Scheduled)
	case p.Source != "" && p.DetailType != "":
		return nothing, h.event(ctx, payload)
	}
	return nil, errors.New("unknown payload: want an SQS batch, a tick of EventBridge Scheduler " +
		`({"keyturn":"tick",…}), or an EventBridge event`)
}

func (h Handler) tick(ctx context.Context, scheduled string) error {
	if h.Tick == nil {
		return errors.New("this function takes no ticks")
	}
	if _, err := time.Parse(time.RFC3339, scheduled); err != nil {
		return fmt.Errorf("read tick: scheduled %q is not an RFC 3339 time", delivery.Clip(scheduled))
	}
	return h.Tick(ctx)
}

func (h Handler) event(ctx context.Context, payload []byte) error {
	if h.Event == nil {
		return errors.New("this function takes no events")
	}
	decoded, err := events.Decode(payload)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range h.delivery().Subscribed(decoded) {
		if err := h.Event(ctx, e); err != nil {
			errs = append(errs, fmt.Errorf("handle %s of %s: %w", e.Change, e.Key, err))
		}
	}
	return errors.Join(errs...)
}
