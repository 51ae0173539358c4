package lambda_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/lambda"
	"github.com/keyturn/keyturn/internal/delivery"
)

var errDead = errors.New("the channel is unavailable")

// alertMessage is an alert as the topic publishes it: text, an empty line, and the JSON on the last line.
func alertMessage(id, summary string) string {
	a := alert.Alert{ID: id, DedupKey: "d", Severity: alert.High, Change: "key disabled", Summary: summary}
	data, err := a.JSON()
	if err != nil {
		panic(err)
	}
	return a.Text() + "\n" + string(data)
}

// snsNotification wraps a message as SNS does (docs.aws.amazon.com/sns/latest/dg/sns-sqs-as-subscriber.html).
func snsNotification(message string) string {
	data, err := json.Marshal(map[string]string{"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:us-east-1:111122223333:alerts",
		"Subject": "[HIGH] s", "Message": message})
	if err != nil {
		panic(err)
	}
	return string(data)
}

// alertBatch has the ids m0, m1, ….
func alertBatch(bodies ...string) []byte {
	batch := lambdaevents.SQSEvent{Records: []lambdaevents.SQSMessage{}}
	for i, body := range bodies {
		batch.Records = append(batch.Records, lambdaevents.SQSMessage{
			MessageId: fmt.Sprint("m", i), EventSource: "aws:sqs", Body: body, Attributes: map[string]string{"ApproximateReceiveCount": "2"},
		})
	}
	payload, err := json.Marshal(batch)
	if err != nil {
		panic(err)
	}
	return payload
}

func TestABatchOfAlertsAnswersExactlyTheMessagesThatFailed(t *testing.T) {
	const all = "all"
	good := snsNotification(alertMessage("good", "s"))
	for _, tc := range []struct {
		name    string
		bodies  []string
		failed  string // the ids; or all, which fails the invocation
		handled string // the IDs of the alerts, those of one call in brackets
		log     string
	}{
		{"an empty batch", nil, "", "", ""},
		{"wrapped and raw", []string{good, alertMessage("raw", "s")}, "", "[good raw]", ""},
		{"one alert twice", []string{good, good}, "", "[good good]", ""},
		{"JSON alone", []string{`{"id":"bare","summary":"s"}`}, "", "[bare]", ""},
		{"a text that is no alert between good ones", []string{good, "hunter2 is down", good}, "m1", "[good good]", delivery.LogUnreadable},
		{"a notification that is no alert", []string{snsNotification(`{"AlarmName":"hunter2"}`)}, all, "", "no alert with an id"},
		{"an alert without a summary", []string{alertMessage("a", "")}, all, "", "no alert with an id"},
		{"null", []string{"null"}, all, "", "no alert with an id"},
		{"an empty body", []string{""}, all, "", "parse alert on the last line"},
		{"a truncated alert", []string{alertMessage("hunter2", "s")[:90]}, all, "", "parse alert on the last line"},
		{"wrong types", []string{`{"id":7}`, "[]"}, all, "", "parse alert on the last line"},
		{"a megabyte of nesting", []string{strings.Repeat("[", 1<<20), good}, "m0", "[good]", "parse alert on the last line"},
		{"a dead channel for one alert", []string{good, alertMessage("dead", "hunter2"), good}, "m1", "[good dead good]", `"alert":"dead","severity":"high","change":"key disabled"`},
		{"a dead channel for all", []string{alertMessage("dead", "s"), alertMessage("dead", "s")}, all, "[dead dead]", errDead.Error()},
		{"a panic between good ones", []string{good, alertMessage("panic", "s"), good}, "m1", "[good panic good] [good] [panic] [good]", delivery.LogPanicked},
		{"a panic alone", []string{alertMessage("panic", "s")}, all, "[panic]", delivery.LogPanicked},
		{"a panic beside one that cannot be read", []string{"hunter2", alertMessage("panic", "s")}, all, "[panic]", delivery.LogPanicked},
		{"an alert that gets no answer", []string{good, alertMessage("short", "s")}, "m1", "[good short]", "it was left out"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var calls []string
			var log bytes.Buffer
			h := lambda.Handler{Parse: amazon.ParseMessage, Log: slog.New(slog.NewJSONHandler(&log, nil)), Alerts: func(_ context.Context, alerts []alert.Alert) (errs []error) {
				var ids []string
				for _, a := range alerts {
					ids = append(ids, a.ID)
				}
				calls = append(calls, fmt.Sprint(ids))
				for _, a := range alerts {
					switch a.ID {
					case "dead":
						errs = append(errs, errDead)
					case "panic":
						panic("boom")
					case "short":
						return errs
					default:
						errs = append(errs, nil)
					}
				}
				return errs
			}}
			answer, err := h.Invoke(t.Context(), alertBatch(tc.bodies...))
			var failed []string
			if tc.failed == all {
				if want := fmt.Sprintf("all %d messages of the batch failed", len(tc.bodies)); answer != nil || err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("answer %s, error %v; want an error that says %q", answer, err, want)
				}
				failed = tc.bodies
			} else {
				if err != nil {
					t.Fatalf("the whole batch failed: %v", err)
				}
				if failed = failedIn(t, answer); strings.Join(failed, " ") != tc.failed {
					t.Errorf("failed are %q, want %q", failed, tc.failed)
				}
			}
			if got := strings.Join(calls, " "); got != tc.handled {
				t.Errorf("handled are %q, want %q", got, tc.handled)
			}
			if lines := strings.Count(log.String(), "\n"); lines != len(failed) || !strings.Contains(log.String(), tc.log) {
				t.Errorf("%d log lines for %d failures, want one each that says %q:\n%s", lines, len(failed), tc.log, &log)
			}
			if strings.Contains(log.String(), "hunter2") {
				t.Errorf("the log holds a piece of a message:\n%s", &log)
			}
		})
	}
}

// failedIn are the ids in the answer to a batch.
func failedIn(t *testing.T, answer []byte) (failed []string) {
	t.Helper()
	if !bytes.HasPrefix(answer, []byte(`{"batchItemFailures":[`)) {
		t.Errorf("the answer %s has no list of failures", answer)
	}
	var response lambdaevents.SQSEventResponse
	if err := json.Unmarshal(answer, &response); err != nil {
		t.Fatal(err)
	}
	for _, f := range response.BatchItemFailures {
		failed = append(failed, f.ItemIdentifier)
	}
	return failed
}

func TestAPayloadThatIsNoBatchOfAlertsIsNamed(t *testing.T) {
	h := lambda.Handler{Parse: amazon.ParseMessage, Alerts: func(context.Context, []alert.Alert) []error { return nil }}
	for payload, want := range map[string]string{
		"hello": "read payload", "": "read payload", `{"Records":[{"messageId":7}]}`: "read payload", "{}": "want an SQS batch", "null": "want an SQS batch",
		`{"Records":[{"EventSource":"aws:sns"}]}`:               `a record of "aws:sns"`,
		`{"Records":[{"eventSource":"aws:sqs","body":"x"}]}`:    "no messageId",
		`{"keyturn":"tick","scheduled":"2026-03-22T18:59:00Z"}`: "takes no ticks",
	} {
		if answer, err := h.Invoke(t.Context(), []byte(payload)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: answer %s, error %v; want an error that says %q", payload, answer, err, want)
		}
	}
}

func TestAlertsThatTheInvocationHasNoTimeForAreDeliveredAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h := lambda.Handler{Parse: amazon.ParseMessage, Log: slog.New(slog.DiscardHandler), Alerts: func(context.Context, []alert.Alert) []error {
		t.Error("it is handed alerts when its time is up")
		return nil
	}}
	if answer, err := h.Invoke(ctx, alertBatch(alertMessage("first", "s"), alertMessage("second", "s"))); answer != nil || err == nil {
		t.Errorf("answer %s, error %v; want an error", answer, err)
	}
}
