package cloudwatchtest

import (
	"testing"
	"time"
)

func TestFilterPatterns(t *testing.T) {
	for _, row := range []struct {
		pattern, line string
		want          bool
	}{
		{`"read secret"`, `{"error":"read secret x: denied"}`, true}, {`"read secret"`, `read  secret`, false}, {`"read secret"`, "plain read secret", true},
		{`{ $.msg = "a" }`, `{"msg":"a"}`, true}, {`{ $.msg = "a" }`, `{"msg":"ab"}`, false}, {`{ $.msg = "a" }`, `msg = a`, false}, {`{ $.msg = "" }`, `{}`, false},
		{`{ $.msg = "a" || $.msg = "b" }`, `{"msg":"b"}`, true}, {`{ $.msg = "a" || $.msg = "b" }`, `{"msg":"c"}`, false},
		{`{ $.msg = "a" && $.n = * }`, `{"msg":"a","n":0}`, true}, {`{ $.msg = "a" && $.n = * }`, `{"msg":"a"}`, false}, {`{ $.msg = "a" && $.n = * }`, `{"n":1}`, false},
		{`{ $.msg = "a" && $.e NOT EXISTS }`, `{"msg":"a"}`, true}, {`{ $.msg = "a" && $.e NOT EXISTS }`, `{"msg":"a","e":"x"}`, false}, {`{ $.e NOT EXISTS }`, `text`, false},
	} {
		if got, err := Matches(row.pattern, row.line); err != nil || got != row.want {
			t.Errorf("%s matches %s: %t (%v), want %t", row.pattern, row.line, got, err, row.want)
		}
	}
	for _, pattern := range []string{"", "read", `[a, b]`, `{ $.a > 1 }`, `{ $.a = "1" && $.b = "2" || $.c = "3" }`, `{ $.a.b = "1" }`} {
		if _, err := Matches(pattern, "{}"); err == nil {
			t.Errorf("%q is understood, want an error", pattern)
		}
	}
}

// The age of the oldest message says nothing about a message from its third receive on.
func TestAPoisonMessageLeavesTheAgeMetricAndTheQueue(t *testing.T) {
	dead := &Queue{Name: "dead"}
	q := &Queue{Name: "q", Visibility: 90 * time.Second, Dead: dead, MostReceives: 5}
	m := Metrics{}
	q.Send(noon, "poison")
	for now := noon; now.Before(noon.Add(30 * time.Minute)); now = now.Add(10 * time.Second) {
		q.Receive(now, 10)
		if now.Second() == 0 {
			q.Publish(m, now)
			dead.Publish(m, now)
		}
	}
	of := func(name string) func(queue string, minute int) (float64, time.Duration, bool) {
		return func(queue string, minute int) (float64, time.Duration, bool) {
			for _, p := range m[Metric{"AWS/SQS", name, "QueueName=" + queue}] {
				if p.at.Equal(noon.Add(time.Duration(minute) * time.Minute)) {
					return p.value, p.known.Sub(p.at), true
				}
			}
			return 0, 0, false
		}
	}
	age, visible := of("ApproximateAgeOfOldestMessage"), of("ApproximateNumberOfMessagesVisible")
	for minute, want := range map[int]float64{0: 60, 1: 120, 2: 0, 3: 0, 10: 0} { // received at 0, 90 and 180 s
		if got, _, ok := age("q", minute); !ok || got != want {
			t.Errorf("after minute %d the age is %v (%t), want %v", minute, got, ok, want)
		}
	}
	if _, _, ok := visible("dead", 3); ok {
		t.Error("an inactive queue publishes metrics")
	}
	if got, delay, ok := visible("dead", 7); !ok || got != 1 || delay != 15*time.Minute+30*time.Second {
		t.Errorf("the dead letters read %v (%t) after %s, want 1 after the 15 minutes that an inactive queue takes", got, ok, delay)
	}
	if q.Len() != 0 || dead.Len() != 1 {
		t.Errorf("there are %d messages and %d dead letters, want 0 and 1", q.Len(), dead.Len())
	}
}
