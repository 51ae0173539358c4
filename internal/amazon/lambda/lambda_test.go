package lambda

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"

	"github.com/keyturn/keyturn/internal/cmek"
)

var errBusy = errors.New("ledger is busy")

func TestABatchAnswersExactlyTheMessagesThatFailed(t *testing.T) {
	rotation := sample(t, "kms-cmk-rotation-automatic")
	busy := strings.ReplaceAll(rotation, "1234abcd-", "b0b0b0b0-")
	panics := strings.ReplaceAll(rotation, "1234abcd-", "dead0000-")
	for _, tc := range []struct {
		name    string
		bodies  []string // message i has the id "m<i>"
		want    string   // the answer; or the failures of an invocation that fails
		handled int
	}{
		{"an empty batch", nil, `{"batchItemFailures":[]}`, 0},
		{"all handled", []string{rotation, sample(t, "cloudtrail-rotatekey-automatic")}, `{"batchItemFailures":[]}`, 2},
		{"one message twice", []string{rotation, rotation}, `{"batchItemFailures":[]}`, 2},
		{"not for us", []string{sample(t, "foreign-ec2-state-change"), sample(t, "foreign-custom-event-with-other-types")},
			`{"batchItemFailures":[]}`, 0},
		{"a bad message between good ones", []string{rotation, "rotate, please", rotation},
			`{"batchItemFailures":[{"itemIdentifier":"m1"}]}`, 2},
		{"a failing event between good ones", []string{rotation, busy, rotation},
			`{"batchItemFailures":[{"itemIdentifier":"m1"}]}`, 2},
		{"a panic between good ones", []string{rotation, panics, rotation},
			`{"batchItemFailures":[{"itemIdentifier":"m1"}]}`, 2},
		{"nothing but failures", []string{"", busy, "{"}, "all 3 messages", 0},
		{"a failing event alone", []string{busy}, "all 1 messages", 0},
		{"a panic alone", []string{panics}, "all 1 messages", 0},
		{"a message that is not for us beside a bad one", []string{"{", sample(t, "foreign-ec2-state-change")},
			`{"batchItemFailures":[{"itemIdentifier":"m0"}]}`, 0},
		{"a truncated event", []string{rotation[:len(rotation)/2]}, "all 1 messages", 0},
		{"wrong types", []string{sample(t, "bad/resources-is-a-string"), `[]`, `7`}, "all 3 messages", 0},
		{"an alias", []string{sample(t, "bad/alias-as-key-id")}, "all 1 messages", 0},
		{"a megabyte of nesting", []string{strings.Repeat("[", 1<<20), rotation},
			`{"batchItemFailures":[{"itemIdentifier":"m0"}]}`, 1},
		{"SNS notifications", []string{notification(rotation), notification("rotate, please")},
			`{"batchItemFailures":[{"itemIdentifier":"m1"}]}`, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var handled int
			var log bytes.Buffer
			h := Handler{Log: slog.New(slog.NewJSONHandler(&log, nil)), Event: func(_ context.Context, e cmek.Event) error {
				switch {
				case strings.Contains(string(e.Key), "b0b0b0b0"):
					return errBusy
				case strings.Contains(string(e.Key), "dead0000"):
					panic("boom")
				}
				handled++
				return nil
			}}
			got, err := h.Invoke(t.Context(), batchOf(tc.bodies...))
			failures := strings.Count(tc.want, "itemIdentifier")
			if strings.HasPrefix(tc.want, "all ") {
				failures = len(tc.bodies)
				if got != nil || err == nil || !strings.Contains(err.Error(), tc.want+" of the batch failed") {
					t.Errorf("answer %s, error %v; want an error that says %q", got, err, tc.want)
				}
			} else if err != nil || string(got) != tc.want {
				t.Errorf("answer is %s, error %v; want %s", got, err, tc.want)
			}
			if handled != tc.handled {
				t.Errorf("%d events were handled, want %d", handled, tc.handled)
			}
			if lines := strings.Count(log.String(), "ERROR"); lines != failures {
				t.Errorf("%d log lines for %d failures:\n%s", lines, failures, &log)
			}
			if lines := strings.Count(log.String(), "\n"); lines > len(tc.bodies) {
				t.Errorf("%d log lines for %d messages:\n%s", lines, len(tc.bodies), &log)
			}
		})
	}
}

func TestEventsThatTheFunctionDoesNotSubscribeToAreDoneWithQuietly(t *testing.T) {
	rotated, disabled := sample(t, "kms-cmk-rotation-automatic"), sample(t, "cloudtrail-disablekey")
	for _, tc := range []struct {
		name       string
		subscribes []cmek.Change
		want       []cmek.Change
	}{
		{"rotations only", []cmek.Change{cmek.ChangeRotated}, []cmek.Change{cmek.ChangeRotated}},
		{"two changes", []cmek.Change{cmek.ChangeKeyDisabled, cmek.ChangeRotated}, []cmek.Change{cmek.ChangeRotated, cmek.ChangeKeyDisabled}},
		{"all", nil, []cmek.Change{cmek.ChangeRotated, cmek.ChangeKeyDisabled}},
	} {
		var got []cmek.Change
		var log bytes.Buffer
		h := Handler{Subscribes: tc.subscribes, Log: slog.New(slog.NewJSONHandler(&log, nil)), Event: func(_ context.Context, e cmek.Event) error {
			got = append(got, e.Change)
			return nil
		}}
		answer, err := h.Invoke(t.Context(), batchOf(rotated, disabled))
		if err != nil || string(answer) != `{"batchItemFailures":[]}` {
			t.Errorf("%s: answer %s, error %v; want no failures", tc.name, answer, err)
		}
		for _, payload := range []string{rotated, disabled} {
			if _, err := h.Invoke(t.Context(), []byte(payload)); err != nil {
				t.Errorf("%s: a bare event failed: %v", tc.name, err)
			}
		}
		if want := append(tc.want, tc.want...); !slices.Equal(got, want) {
			t.Errorf("%s: handled %q, want %q, from the queue and then by hand", tc.name, got, want)
		}
		if log.Len() > 0 {
			t.Errorf("%s: want nothing in the log:\n%s", tc.name, &log)
		}
	}
}

func TestALogLineSaysWhichMessageFailedAndWhyWithoutItsBody(t *testing.T) {
	secret := strings.Replace(sample(t, "kms-cmk-rotation-automatic"), `"detail": {`, `"detail": {"note": "hunter2",`, 1)
	for _, tc := range []struct {
		name, body string
		event      func(context.Context, cmek.Event) error
		want       []string
	}{
		{"handling failed", secret, func(context.Context, cmek.Event) error { return errBusy }, []string{
			`"msg":"event not handled"`, `"error":"ledger is busy"`, `"change":"rotated"`, `"region":"us-west-2"`,
			`"key":"arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"`,
			`"event":"6a7e8feb-b491-4cf7-a9f1-bf3703467718"`}},
		{"decoding failed", strings.Replace(secret, `"version": "0"`, `"version": "7"`, 1), nil, []string{
			`"msg":"message cannot be understood"`, `version \"7\": unknown`}},
		{"handling panicked", secret, func(context.Context, cmek.Event) error { panic("boom") }, []string{
			`"msg":"handling message panicked"`, `"error":"boom"`, "lambda_test.go"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log bytes.Buffer
			h := Handler{Log: slog.New(slog.NewJSONHandler(&log, nil)), Event: tc.event}
			if h.Event == nil {
				h.Event = accept
			}
			if _, err := h.Invoke(t.Context(), batchOf(tc.body)); err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error %v, want one that holds nothing of the body", err)
			}
			for _, want := range append(tc.want, `"message_id":"m0"`, `"receive_count":"3"`, `"level":"ERROR"`) {
				if !strings.Contains(log.String(), want) {
					t.Errorf("the log lacks %s:\n%s", want, &log)
				}
			}
			if strings.Contains(log.String(), "hunter2") {
				t.Errorf("the log holds a piece of the body:\n%s", &log)
			}
		})
	}
}

func TestAFailedMessageWithoutAnIDFailsTheWholeBatch(t *testing.T) {
	h := Handler{Event: accept, Log: slog.New(slog.DiscardHandler)}
	bad := []byte(`{"Records":[{"eventSource":"aws:sqs","body":"x"},{"messageId":"m1","eventSource":"aws:sqs","body":"x"}]}`)
	if answer, err := h.Invoke(t.Context(), bad); err == nil {
		t.Errorf("answer is %s, want an error: the message cannot be named", answer)
	}
	good, _ := json.Marshal(sample(t, "kms-cmk-rotation-automatic"))
	answer, err := h.Invoke(t.Context(), []byte(`{"Records":[{"eventSource":"aws:sqs","body":`+string(good)+`}]}`))
	if err != nil || string(answer) != `{"batchItemFailures":[]}` {
		t.Errorf("a handled message without an id: answer %s, error %v; want no failures", answer, err)
	}
}

func TestMessagesThatTheInvocationHasNoTimeForAreDeliveredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var handled int
		h := Handler{Log: slog.New(slog.DiscardHandler), Event: func(ctx context.Context, _ cmek.Event) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Second):
				handled++
				return nil
			}
		}}
		rotation := sample(t, "kms-cmk-rotation-automatic")
		answer, err := h.Invoke(ctx, batchOf(rotation, rotation, rotation))
		if err != nil {
			t.Fatal(err)
		}
		if want := `{"batchItemFailures":[{"itemIdentifier":"m1"},{"itemIdentifier":"m2"}]}`; string(answer) != want || handled != 1 {
			t.Errorf("answer is %s after %d handled, want %s after 1", answer, handled, want)
		}
		if ctx.Err() != nil {
			t.Error("the answer came after the invocation's deadline, want it before")
		}
	})
}

func TestATickIsHandledOnce(t *testing.T) {
	ticks := 0
	h := Handler{Tick: func(context.Context) error { ticks++; return nil }}
	answer, err := h.Invoke(t.Context(), []byte(`{"keyturn":"tick",
		"schedule":"arn:aws:scheduler:us-west-2:111122223333:schedule/default/keyturn","scheduled":"2026-03-22T18:59:00Z"}`))
	if err != nil || string(answer) != "null" || ticks != 1 {
		t.Errorf("answer %s, error %v, %d ticks; want null, none and one", answer, err, ticks)
	}
}

func TestABareEventIsHandledAndItsErrorsReturned(t *testing.T) {
	rotation := []byte(sample(t, "kms-cmk-rotation-automatic"))
	if answer, err := (Handler{Event: accept}).Invoke(t.Context(), rotation); err != nil || string(answer) != "null" {
		t.Errorf("answer %s, error %v; want null and none", answer, err)
	}
	fail := func(context.Context, cmek.Event) error { return errBusy }
	if _, err := (Handler{Event: fail}).Invoke(t.Context(), rotation); !errors.Is(err, errBusy) {
		t.Errorf("error is %v, want %v", err, errBusy)
	}
}

func TestAPayloadThatCannotBeServedIsNamed(t *testing.T) {
	rotation := sample(t, "kms-cmk-rotation-automatic")
	everything := Handler{Event: accept, Tick: func(context.Context) error { return nil }}
	for _, tc := range []struct {
		name    string
		handler Handler
		payload string
		want    string
	}{
		{"no JSON", everything, "hello", "read payload"},
		{"nothing", everything, "", "read payload"},
		{"an array", everything, "[]", "read payload"},
		{"null", everything, "null", "want an SQS batch, a tick"},
		{"an empty object", everything, "{}", "want an SQS batch, a tick"},
		{"another kind of Scheduler input", everything, `{"keyturn":"tock"}`, "want an SQS batch, a tick"},
		{"records of another source", everything, `{"Records":[{"EventSource":"aws:sns"}]}`, `a record of "aws:sns"`},
		{"records of wrong types", everything, `{"Records":[{"messageId":7}]}`, "read payload"},
		{"a megabyte of nesting", everything, strings.Repeat(`{"Records":[`, 1<<17), "read payload"},
		{"a tick without a time", everything, `{"keyturn":"tick"}`, `scheduled "" is not an RFC 3339 time`},
		{"a tick whose time was not filled in", everything,
			`{"keyturn":"tick","scheduled":"<aws.scheduler.scheduled-time>"}`, "is not an RFC 3339 time"},
		{"a bare event that cannot be understood", everything, sample(t, "bad/alias-as-key-id"), "is an alias"},
		{"a tick for a function without one", Handler{}, `{"keyturn":"tick","scheduled":"2026-03-22T18:59:00Z"}`, "takes no ticks"},
		{"an event for a function without one", Handler{}, rotation, "takes no events"},
		{"a batch for a function without events", Handler{}, string(batchOf(rotation)), "takes no events"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := tc.handler.Invoke(t.Context(), []byte(tc.payload))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error is %v, want it to say %q", err, tc.want)
			}
			if len(err.Error()) > 300 {
				t.Errorf("the error is %d bytes long, want a readable line", len(err.Error()))
			}
		})
	}
}

func accept(context.Context, cmek.Event) error { return nil }

// batchOf is the payload of an SQS event source mapping
// (docs.aws.amazon.com/lambda/latest/dg/with-sqs.html); message i has the id "m<i>" and was received three times.
func batchOf(bodies ...string) []byte {
	batch := lambdaevents.SQSEvent{Records: []lambdaevents.SQSMessage{}}
	for i, body := range bodies {
		batch.Records = append(batch.Records, lambdaevents.SQSMessage{
			MessageId:      "m" + string(rune('0'+i)),
			ReceiptHandle:  "MessageReceiptHandle",
			Body:           body,
			Attributes:     map[string]string{"ApproximateReceiveCount": "3"},
			EventSource:    "aws:sqs",
			EventSourceARN: "arn:aws:sqs:us-west-2:111122223333:keyturn-rotation",
			AWSRegion:      "us-west-2",
		})
	}
	payload, err := json.Marshal(batch)
	if err != nil {
		panic(err)
	}
	return payload
}

// notification wraps a message as SNS does on its way to a queue
// (docs.aws.amazon.com/sns/latest/dg/SendMessageToSQS.html).
func notification(message string) string {
	text, err := json.Marshal(map[string]string{
		"Type":             "Notification",
		"MessageId":        "63a3f6b6-d533-4a47-aef9-fcf5cf758c76",
		"TopicArn":         "arn:aws:sns:us-west-2:111122223333:rotations",
		"Message":          message,
		"Timestamp":        "2025-05-23T03:11:55.901Z",
		"SignatureVersion": "1",
	})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// sample is a payload of package events.
func sample(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("../../../events/testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
