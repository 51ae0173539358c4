package lambda

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/internal/alert"
)

// What the log says about a message that will never be handled as it is, and about code that failed on one. Metrics are made of both,
// because Lambda counts an invocation of which only some messages failed as a success.
const (
	LogUnreadable = "message cannot be understood"
	LogPanicked   = "handling message panicked"
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
			return nil, fmt.Errorf("unknown payload: a record of %q, want aws:sqs", clip(m.EventSource))
		}
	}
	ctx, cancel := withTimeToAnswer(ctx)
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

// eventMessages handles the messages, Parallel at a time in their order, and reports which are done with. For each other one, a log line
// per reason is written.
func (h Handler) eventMessages(ctx context.Context, messages []lambdaevents.SQSMessage) []bool {
	done := make([]bool, len(messages))
	places := make(chan struct{}, max(1, h.Parallel))
	var group sync.WaitGroup
	for i, m := range messages {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			log := h.logFor(m)
			done[i] = inTime(ctx, log) && protected(ctx, log, func() bool { return h.eventMessage(ctx, log, unwrap(m.Body)) })
		})
	}
	group.Wait()
	return done
}

func (h Handler) eventMessage(ctx context.Context, log *slog.Logger, message []byte) bool {
	decoded, err := events.Decode(message)
	if err != nil {
		log.ErrorContext(ctx, LogUnreadable, "error", err)
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

// alertMessages hands all alerts of the batch over at once, and reports which messages are done with; see eventMessages.
func (h Handler) alertMessages(ctx context.Context, messages []lambdaevents.SQSMessage) []bool {
	done := make([]bool, len(messages))
	var (
		alerts []alert.Alert
		logs   []*slog.Logger
		of     []int // the message of each alert
	)
	for i, m := range messages {
		log := h.logFor(m)
		if !inTime(ctx, log) {
			continue
		}
		if a, ok := h.alertIn(ctx, log, m); ok {
			alerts, logs, of = append(alerts, a), append(logs, log), append(of, i)
		}
	}
	if len(alerts) == 0 {
		return done
	}
	handled, panicked := h.alerts(ctx, alerts, logs)
	for n, i := range of {
		if panicked && len(alerts) > 1 {
			// One of them is to blame. Some of the others may have been sent and are sent again: better twice than never.
			handled, _ := h.alerts(ctx, alerts[n:n+1], logs[n:n+1])
			done[i] = handled[0]
			continue
		}
		done[i] = handled[n]
	}
	return done
}

func (h Handler) alertIn(ctx context.Context, log *slog.Logger, m lambdaevents.SQSMessage) (a alert.Alert, ok bool) {
	ok = protected(ctx, log, func() bool {
		var err error
		a, err = h.Parse(string(unwrap(m.Body)))
		if err == nil && (a.ID == "" || a.Summary == "") {
			err = errors.New("it holds no alert with an id and a summary")
		}
		if err != nil {
			log.ErrorContext(ctx, LogUnreadable, "error", clip(err.Error()))
		}
		return err == nil
	})
	return a, ok
}

// alerts reports which of the alerts were handled. A panic of several is not logged: it is to be found out whose it was.
func (h Handler) alerts(ctx context.Context, alerts []alert.Alert, logs []*slog.Logger) (handled []bool, panicked bool) {
	handled = make([]bool, len(alerts))
	defer func() {
		if p := recover(); p != nil {
			panicked = true
			if len(alerts) == 1 {
				logPanic(ctx, logs[0], p)
			}
		}
	}()
	errs := h.Alerts(ctx, alerts)
	for i, a := range alerts {
		err := errors.New("it was left out")
		if i < len(errs) {
			err = errs[i]
		}
		if handled[i] = err == nil; !handled[i] {
			logs[i].ErrorContext(ctx, "alert not handled", "alert", clip(a.ID), "severity", clip(string(a.Severity)),
				"change", clip(string(a.Change)), "key", clip(string(a.Key)), "error", err)
		}
	}
	return handled, false
}

func (h Handler) logFor(m lambdaevents.SQSMessage) *slog.Logger {
	return cmp.Or(h.Log, slog.Default()).With("message_id", clip(m.MessageId), "receive_count", clip(m.Attributes["ApproximateReceiveCount"]))
}

// inTime reports whether there is time left for another message.
func inTime(ctx context.Context, log *slog.Logger) bool {
	err := ctx.Err()
	if err != nil {
		log.ErrorContext(ctx, "message left for another delivery: the invocation's time is up", "error", err)
	}
	return err == nil
}

// protected is what f returns, and false if it panics.
func protected(ctx context.Context, log *slog.Logger, f func() bool) (done bool) {
	defer func() {
		if p := recover(); p != nil {
			logPanic(ctx, log, p)
			done = false
		}
	}()
	return f()
}

func logPanic(ctx context.Context, log *slog.Logger, p any) {
	log.ErrorContext(ctx, LogPanicked, "error", clip(fmt.Sprint(p)), "stack", string(debug.Stack()))
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
