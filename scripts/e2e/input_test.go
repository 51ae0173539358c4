package e2e

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/simulator"
)

// notice is a KMS CMK Rotation event as AWS documents it; see [sample].
func notice(t *testing.T, replace ...string) string {
	t.Helper()
	return sample(t, "kms-cmk-rotation-automatic", replace...)
}

// sample is an event as AWS documents it, with each old text replaced by the new one that follows it.
func sample(t *testing.T, name string, replace ...string) string {
	t.Helper()
	data, err := os.ReadFile("../../events/testdata/" + name + ".json")
	must(t, err, "read sample")
	changed := strings.NewReplacer(replace...).Replace(string(data))
	if len(replace) > 0 && changed == string(data) {
		t.Fatalf("the sample holds nothing of %q", replace)
	}
	return changed
}

const sampleKey = "arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

// mostSQSBytes is the size of the largest message that SQS takes: 1 MiB
// (docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html).
const mostSQSBytes = 1 << 20

func TestABadMessageGoesToTheDeadLetterQueueAloneAndSaysWhy(t *testing.T) {
	s := newScene(t, simulator.DefaultSeed())
	whole := notice(t)
	bad := []struct {
		name, body, reason string
	}{
		{"no JSON", "rotation of a key: please follow", "not JSON"},
		{"a truncated notice", whole[:len(whole)/2], "ends too early"},
		{"as deep a nesting as SQS takes", strings.Repeat(`{"a":`, mostSQSBytes/5), "not JSON"},
		{"an unknown version of the envelope", notice(t, `"version": "0"`, `"version": "7"`), `version \"7\": unknown`},
		{"a detail of the wrong type", notice(t, `"detail": {`, `"detail": "text", "was": {`), "payload.detail: got a string"},
		{"a key id of the wrong type", notice(t, `"key-id": "`, `"key-id": ["a"], "was": "`), "key-id: got an array"},
		{"an alias in place of the key", notice(t, "key/1234", "alias/1234", `"key-id": "1234`, `"key-id": "alias/1234`), "is an alias"},
	}
	good := []struct{ name, body string }{
		{"an ARN of another service beside another key", notice(t, `"`+sampleKey+`"`, `"arn:aws:s3:::bucket/key"`, `"key-id": "1234`, `"key-id": "5678`)},
		{"an event of another service", `{"version":"0","id":"1","source":"aws.ec2","detail-type":"EC2 Instance State-change Notification","detail":{}}`},
		{"a key that nobody uses", whole},
	}
	before := s.wire.count()
	ids := map[string]string{} // by the case's name
	for _, m := range bad {
		ids[m.name] = s.account.send(s.events.queue, m.body)
	}
	for _, m := range good {
		ids[m.name] = s.account.send(s.events.queue, m.body)
	}
	batch, failed, err := s.events.poll()
	must(t, err, "hand over the batch")
	if len(batch) != len(ids) {
		t.Fatalf("the batch has %d messages, want all %d", len(batch), len(ids))
	}
	for _, m := range bad {
		lines := s.events.lambda.log.lines(ids[m.name])
		if !slices.Contains(failed, ids[m.name]) {
			t.Errorf("%s: the message is not among the failures of the batch", m.name)
		}
		if len(lines) != 1 || !strings.Contains(lines[0], "message cannot be understood") || !strings.Contains(lines[0], m.reason) {
			t.Errorf("%s: the log says %q; want one line that says %q", m.name, lines, m.reason)
		}
	}
	for _, m := range good {
		if slices.Contains(failed, ids[m.name]) {
			t.Errorf("%s: the message failed; want it to be done with", m.name)
		}
	}
	if lines := s.events.lambda.log.lines(sampleKey); len(lines) != 1 || !strings.Contains(lines[0], "no known cluster uses the key") {
		t.Errorf("of the key that nobody uses the log says %q, want one line that says so", lines)
	}
	for _, c := range s.wire.since(before) {
		if c.String() != "dynamodb Query" {
			t.Errorf("the messages made the function call %s; want it to ask the ledger only", c)
		}
	}

	var dead []string
	s.until("the bad messages are in the dead-letter queue", 60*time.Second, func() string {
		if dead = append(dead, s.account.drain(s.account.queueNamed("rotation-event-dead"))...); len(dead) < len(bad) {
			return "some of the bad messages"
		}
		return ""
	})
	for _, m := range bad {
		if !slices.Contains(dead, m.body) {
			t.Errorf("%s: the message is not in the dead-letter queue as it came", m.name)
		}
	}
	if len(dead) != len(bad) {
		t.Errorf("%d messages are in the dead-letter queue, want the %d bad ones", len(dead), len(bad))
	}
	if puts := s.world.PUTs(); len(puts) > 0 {
		t.Errorf("the messages caused PUTs: %+v", puts)
	}
	if n := s.events.lambda.starts(); n != 1 {
		t.Errorf("%d processes were needed, want 1 that survives everything", n)
	}
}

func TestAPayloadThatIsNoneOfOursIsAnErrorAndNotACrash(t *testing.T) {
	s := newScene(t, simulator.DefaultSeed())
	before := s.wire.count()
	for _, tc := range []struct{ name, payload, reason string }{
		{"no JSON", "rotation", "read payload"},
		{"a truncated batch", `{"Records":[{"messageId":"1"`, "read payload"},
		{"a deep nesting", strings.Repeat("[", mostSQSBytes), "read payload"},
		{"an empty object", "{}", "unknown payload"},
		{"records of the wrong type", `{"Records":{"messageId":"1"}}`, "read payload"},
		{"records of another service", `{"Records":[{"eventSource":"aws:kinesis","messageId":"1","body":"{}"}]}`, "aws:kinesis"},
		{"a tick without its time", `{"keyturn":"tick","scheduled":"noon"}`, "RFC 3339"},
		{"a notice that is cut short", notice(t, `"resources": [`, `"resources": "none", "were": [`), "payload.resources: got a string"},
	} {
		_, err := s.events.lambda.invoke([]byte(tc.payload), 10*time.Second)
		var failure *functionError
		if !errors.As(err, &failure) || !strings.Contains(failure.Message, tc.reason) {
			t.Errorf("%s: the answer is %v; want an error of the function that says %q", tc.name, err, tc.reason)
		}
	}
	if calls := s.wire.since(before); len(calls) > 0 {
		t.Errorf("the payloads made the function call %v, want nothing", calls)
	}
	if n := s.events.lambda.starts(); n != 1 {
		t.Errorf("%d processes were needed, want 1 that survives everything", n)
	}
}
