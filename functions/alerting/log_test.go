package alerting

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
)

// logLine is a line of the log as alarms read it.
type logLine map[string]any

// logged replaces the log and returns what reads it: the lines with the message.
func (w *world) logged() func(msg string) []logLine {
	var out bytes.Buffer
	w.Log = slog.New(slog.NewJSONHandler(&out, nil))
	return func(msg string) (lines []logLine) {
		w.t.Helper()
		synctest.Wait() // for reads that came too late
		for text := range bytes.Lines(out.Bytes()) {
			var line logLine
			if err := json.Unmarshal(text, &line); err != nil {
				w.t.Fatalf("the log has a line that is not JSON: %s", text)
			}
			if line["msg"] == msg {
				lines = append(lines, line)
			}
		}
		return lines
	}
}

func TestTheLogTellsHowLongAfterItsEventAnAlertWasOut(t *testing.T) {
	for _, row := range []struct {
		what string
		time func(now time.Time) time.Time
		want any
	}{
		{"90.5 s ago", func(now time.Time) time.Time { return now.Add(-90500 * time.Millisecond) }, 90.5},
		{"by a clock that is ahead", func(now time.Time) time.Time { return now.Add(time.Minute) }, 0.0},
		{"at a time that nobody told", func(time.Time) time.Time { return time.Time{} }, nil},
	} {
		onBothSides(t, func(t *testing.T, w *world, s side) {
			log := w.logged()
			e := s.disable(w, "e-1")
			e.Time = row.time(time.Now())
			w.happens(e)
			w.happens(e)
			lines := log("alert sent")
			if len(lines) != 1 || lines[0]["seconds_since_event"] != row.want {
				t.Errorf("for an event %s the log tells %v, want one line with seconds_since_event %v", row.what, lines, row.want)
			}
		})
	}
}

// cloudFormation is how CloudTrail names CloudFormation.
const cloudFormation = "cloudformation.amazonaws.com"

// ruleCall is a call about a rule of our own, via a service or "".
func ruleCall(id, call, via string) cmek.Event {
	return event(id, cmek.ChangeEventRule, of(""), func(e *cmek.Event) {
		e.Source = "aws.events/AWS API Call via CloudTrail/" + call
		e.Parameters = map[string]string{"rule": "keyturn-kms-calls", "via": via}
	})
}

func TestOwn_aDeploymentIsOneAlert(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const deployed = `[MEDIUM] Event rule "keyturn-kms-calls" was changed`
		w.happens(ruleCall("e-1", "PutRule", cloudFormation))
		time.Sleep(5 * time.Minute)
		w.happens(ruleCall("e-2", "PutTargets", cloudFormation))
		w.happens(ruleCall("e-2", "PutTargets", cloudFormation))
		w.want("after a deployment", deployed)
		w.happens(ruleCall("e-3", "PutTargets", ""))
		byHand := `[CRITICAL] Event rule "keyturn-kms-calls" had its targets changed`
		w.want("after somebody changed a target by hand", deployed, byHand)
		time.Sleep(time.Hour)
		w.happens(ruleCall("e-4", "PutRule", cloudFormation))
		w.want("after the next deployment", deployed, byHand, deployed)
	})
}

const heartbeatRole = "keyturn-heartbeat"

// beats is the hourly sign of life.
func beats(edits ...func(*cmek.Event)) cmek.Event {
	edits = append([]func(*cmek.Event){
		by("arn:aws:iam::111122223333:role/" + heartbeatRole), of(unused),
		with("tags", `[{"tagKey":"keyturn-heartbeat","tagValue":"2000-01-01T00:00:00Z"}]`),
	}, edits...)
	return event("beat", cmek.ChangeKeyTags, edits...)
}

func TestTheHeartbeatIsOneLineInTheLogAndNothingElse(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Settings.HeartbeatRole = "arn:aws:iam::{account}:role/" + heartbeatRole
		log := w.logged()
		w.kms.outage, w.cloud.outage, w.told.outage = down, down, down
		e := beats()
		time.Sleep(30 * time.Second)
		w.happens(e)
		lines := log("heartbeat")
		if len(lines) != 1 {
			t.Fatalf("the log has %d lines about the heartbeat, want one", len(lines))
		}
		for name, want := range map[string]any{"level": "INFO", "account": account, "region": "us-east-1", "key": string(unused), "seconds_since_event": 30.0} {
			if got := lines[0][name]; got != want {
				t.Errorf("the heartbeat's line has %s %v, want %v", name, got, want)
			}
		}
		if w.kms.reads > 0 {
			t.Errorf("the heartbeat caused %d reads of its key, want none", w.kms.reads)
		}
	})
}

// An event that took as long as it is until the next one is no sign that events arrive, nor is one that does not say when it was.
func TestHeartbeat_late(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(*cmek.Event)
		want int
	}{
		{"in time", func(e *cmek.Event) { e.Time = time.Now().Add(-59 * time.Minute) }, 1},
		{"late", func(e *cmek.Event) { e.Time = time.Now().Add(-61 * time.Minute) }, 0},
		{"a day late", func(e *cmek.Event) { e.Time = time.Now().Add(-24 * time.Hour) }, 0},
		{"without a time", func(e *cmek.Event) { e.Time = time.Time{} }, 0},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			w.Settings.HeartbeatRole = "arn:aws:iam::{account}:role/" + heartbeatRole
			log := w.logged()
			w.happens(beats(tc.edit))
			w.want("after a heartbeat " + tc.name)
			if n := len(log(LogHeartbeat)); n != tc.want {
				t.Errorf("a heartbeat %s is %d signs of life, want %d", tc.name, n, tc.want)
			}
			if noted := w.beaten(account, "us-east-1"); noted != (tc.want == 1) {
				t.Errorf("a heartbeat %s is in the ledger: %t", tc.name, noted)
			}
		})
	}
}

// beaten reports whether the ledger has a heartbeat of the place.
func (w *world) beaten(account, region string) bool {
	w.t.Helper()
	h, err := w.Ledger.Heartbeat(w.t.Context(), account, region)
	if err != nil {
		w.t.Fatal(err)
	}
	return !h.At.IsZero()
}

// The ledger has a heartbeat of the place that it came from, and of no other. One of another installation, one that cannot be judged, and
// one that says to be of the future are none.
func TestHeartbeat_isInTheLedger(t *testing.T) {
	for _, tc := range []struct {
		name string
		edit func(*world, *cmek.Event)
		want bool
	}{
		{"of ours", func(*world, *cmek.Event) {}, true},
		{"by a clock that is ahead", func(_ *world, e *cmek.Event) { e.Time = time.Now().Add(9 * time.Minute) }, true},
		{"of the future", func(_ *world, e *cmek.Event) { e.Time = time.Now().Add(11 * time.Minute) }, false},
		{"of another installation", func(_ *world, e *cmek.Event) { by("arn:aws:iam::111122223333:role/keyturn-dev-heartbeat")(e) }, false},
		{"of that name in another account", func(_ *world, e *cmek.Event) { by("arn:aws:iam::444455556666:role/" + heartbeatRole)(e) }, false},
		{"on a key that a cluster uses", func(_ *world, e *cmek.Event) { e.Key = key }, false},
		{"that was denied", func(_ *world, e *cmek.Event) { failed("AccessDenied")(e) }, false},
		{"while the ledger hangs", func(w *world, _ *cmek.Event) { w.store.outage = hanging }, false},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			w.Settings.HeartbeatRole = "arn:aws:iam::{account}:role/" + heartbeatRole
			e := beats()
			tc.edit(w, &e)
			if err := w.Event(t.Context(), e); (err != nil) != (w.store.outage == hanging) {
				t.Fatal(err)
			}
			w.store.outage = up
			if got := w.beaten(account, "us-east-1"); got != tc.want {
				t.Errorf("a heartbeat %s is in the ledger: %t", tc.name, got)
			}
			if w.beaten(account, "us-east-2") || w.beaten("444455556666", "us-east-1") {
				t.Errorf("a heartbeat %s counts for another place", tc.name)
			}
		})
	}
}

// While the ledger does not answer, nobody knows whether the key is a cluster's: the event arrived, and is judged when it comes again.
func TestHeartbeat_withoutTheLedger(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Settings.HeartbeatRole = "arn:aws:iam::{account}:role/" + heartbeatRole
		log := w.logged()
		for _, outage := range []outage{down, hanging} {
			w.store.outage = outage
			if err := w.Event(t.Context(), beats(of(key))); err == nil || !strings.Contains(err.Error(), "canary key") {
				t.Errorf("a heartbeat that could not be judged gave %v, want an error", err)
			}
		}
		if n := len(log("heartbeat")); n != 2 {
			t.Errorf("two events that arrived made %d lines in the log", n)
		}
		w.store.outage = up
		w.happens(beats(of(key)))
		w.want("once the ledger answers", "[LOW] Key 1234abcd-12ab-34cd-56ef-1234567890ab had its tags changed")
	})
}

func TestWhatIsNotTheHeartbeatIsJudgedAsEver(t *testing.T) {
	for _, row := range []struct {
		what string
		role string
		e    func() cmek.Event
	}{
		{"somebody else sets the tag", heartbeatRole, func() cmek.Event { return beats(by(role)) }},
		{"a user of that name sets the tag", heartbeatRole, func() cmek.Event { return beats(by("arn:aws:iam::111122223333:user/" + heartbeatRole)) }},
		{"no role is configured", "", func() cmek.Event { return beats() }},
		{"the role sets another tag", heartbeatRole, func() cmek.Event { return beats(with("tags", `[{"tagKey":"Department"}]`)) }},
		{"the role removes the tag", heartbeatRole, func() cmek.Event { return beats(with("tag_keys", "keyturn-heartbeat")) }},
		{"the tags were too long to be kept", heartbeatRole, func() cmek.Event { return beats(with("tags", `[{"tagKey":"keyturn-heartbeat","tag…`)) }},
		{"the role sets another tag, too", heartbeatRole, func() cmek.Event {
			return beats(with("tags", `[{"tagKey":"other","tagValue":"x"},{"tagKey":"keyturn-heartbeat","tagValue":"x"}]`))
		}},
		{"the role sets no tag", heartbeatRole, func() cmek.Event { return beats(with("tags", `[]`)) }},
		{"the role is denied", heartbeatRole, func() cmek.Event { return beats(failed("AccessDenied")) }},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			w.Settings.HeartbeatRole = row.role
			log := w.logged()
			w.happens(row.e())
			if n := len(log("heartbeat")); n != 0 {
				t.Errorf("%s, and the log has %d lines about a heartbeat, want none", row.what, n)
			}
			if n := len(log("no alert")); n != 1 {
				t.Errorf("%s, and it was judged %d times, want once", row.what, n)
			}
		})
	}
	inWorld(t, func(t *testing.T, w *world) {
		w.Settings.HeartbeatRole = "arn:aws:iam::{account}:role/" + heartbeatRole
		e := w.isDisabled("e-1")
		by("arn:aws:iam::111122223333:role/" + heartbeatRole)(&e)
		w.happens(e)
		w.want("after the heartbeat's role disabled a key", disabledAlert)
		w.happens(beats(of(key)))
		w.want("after it set its tag on a key in use", disabledAlert, "[LOW] Key 1234abcd-12ab-34cd-56ef-1234567890ab had its tags changed")
	})
}

func TestASecretThatCannotBeReadIsInTheLogWithItsName(t *testing.T) {
	cloud, err := cockroachcloud.New(cockroachcloud.Options{
		Server: "http://127.0.0.1:1",
		APIKey: func(context.Context) (string, error) {
			return "", errors.New("read secret keyturn/api-key: access denied")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.Cloud = cloud
		log := w.logged()
		w.happens(s.disable(w, "e-1"))
		w.want("without an API key", s.disabledAlert())
		lines := log("document not read")
		if len(lines) != 1 {
			t.Fatalf("the log has %d lines about what was not known, want one", len(lines))
		}
		if text, _ := lines[0]["error"].(string); lines[0]["level"] != "WARN" || !strings.Contains(text, "read secret keyturn/api-key") {
			t.Errorf("the log says %v, want a warning with the secret's name", lines[0])
		}
	})
}
