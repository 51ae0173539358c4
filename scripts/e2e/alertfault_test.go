package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/simulator"
)

func TestADeadChannelIsServedWhenItIsBackAndTheOthersHearNothingTwice(t *testing.T) {
	w := newWatch(t, simulator.DefaultSeed())
	w.receiver.refuse(notify.PagerDuty, serverError, hangUp, serverError)
	w.disable(sharedKey)
	w.deliver(1)
	alive := []notify.Kind{notify.Slack, notify.Webhook}
	w.until("the channels that are alive have the alert, and the dead one was tried", func() string {
		for _, kind := range alive {
			if len(w.receiver.got(kind)) == 0 {
				return "the alert on " + string(kind)
			}
		}
		if w.receiver.tried(notify.PagerDuty) == 0 {
			return "an attempt at PagerDuty"
		}
		return ""
	})
	if got := w.receiver.got(notify.PagerDuty); len(got) > 0 {
		t.Fatalf("PagerDuty has %+v, want nothing while it refuses", got)
	}
	told := w.untilTold("PagerDuty has it, too", 1)
	w.checkTrigger(notify.PagerDuty, told[notify.PagerDuty], "was disabled", "payments", "checkout")
	w.pass(healthyFor)
	w.checkTold("after PagerDuty was back", 1)
	if n := w.receiver.tried(notify.PagerDuty); n != 4 {
		t.Errorf("PagerDuty was tried %d times, want 4: three refusals, then success", n)
	}
	for _, kind := range alive {
		if n := w.receiver.tried(kind); n != 1 {
			t.Errorf("%s was tried %d times, want once", kind, n)
		}
	}
}

func TestAnAlertIsOutWithin10SecondsWhateverElseFails(t *testing.T) {
	endToEnd(t)
	ledger := []string{"dynamodb"}
	truth := []string{"cloud", "secretsmanager", "kms", "iam", "sts"}
	for _, tc := range []struct {
		name     string
		outage   outage
		services []string
	}{
		{"Cloud API and KMS hang", hanging, truth},
		{"Cloud API and KMS are down", down, truth},
		{"the ledger hangs", hanging, ledger},
		{"the ledger is down", down, ledger},
		{"everything hangs", hanging, slices.Concat(ledger, truth)},
		{"everything is down", down, slices.Concat(ledger, truth)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWatch(t, simulator.DefaultSeed())
			w.disable(sharedKey)
			w.deliver(1)
			w.alertingWire.interrupt(tc.outage, tc.services...)
			begun := time.Now()
			batch, failed, err := w.alerting.poll()
			must(t, err, "hand over the event")
			w.alertingWire.restore()

			messages := 1
			if slices.Contains(tc.services, "dynamodb") {
				messages = 2 // one without what the ledger knows, one with it
				w.checkPublished(begun, "CRITICAL", "was disabled", "aws kms enable-key", "Usage unknown")
				if len(batch) != 1 || !slices.Equal(batch, failed) {
					t.Errorf("of the messages %v these failed: %v; want the one, because the alert could not be recorded", batch, failed)
				}
			} else {
				w.checkPublished(begun, "CRITICAL", "was disabled", "aws kms enable-key", "payments", "checkout", "unknown: ",
					"the key's state", "backup and maintenance are not known")
				if len(batch) != 1 || len(failed) > 0 {
					t.Errorf("of the messages %v these failed: %v; want one, done with", batch, failed)
				}
			}
			told := w.untilTold("the alert is reported", messages)
			w.pass(healthyFor)
			w.checkTold("in the end", messages)
			w.checkSameIncident(messages)
			for _, kind := range channels {
				w.checkTrigger(kind, told[kind], "CRITICAL", "was disabled", "payments", "checkout", "aws kms enable-key")
			}
		})
	}
}

// checkPublished checks that one alert is on the topic, was on its way there within 10 s, and says all that.
func (w *watch) checkPublished(begun time.Time, says ...string) {
	w.t.Helper()
	attempts := slices.DeleteFunc(w.alertingWire.since(0), func(c call) bool { return !publishes(c) })
	alerts := w.account.published()
	if len(attempts) != 1 || len(alerts) != 1 {
		w.t.Fatalf("alerting published %d times, and %d alerts are on the topic; want 1", len(attempts), len(alerts))
	}
	if took := attempts[0].at.Sub(begun); took > 10*time.Second {
		w.t.Errorf("the alert was on its way to the topic after %s, want at most 10 s", took)
	}
	text := alerts[0].Text()
	if missing := slices.DeleteFunc(says, func(s string) bool { return strings.Contains(text, s) }); len(missing) > 0 {
		w.t.Errorf("the alert lacks %q:\n%s", missing, text)
	}
}

func TestAnAlertGoesOutWhenTheTopicIsBack(t *testing.T) {
	w := newWatch(t, simulator.DefaultSeed())
	w.disable(sharedKey)
	w.deliver(1)
	w.alertingWire.interrupt(down, "sns")
	batch, failed, err := w.alerting.poll()
	must(t, err, "hand over the event")
	if len(batch) != 1 || !slices.Equal(batch, failed) {
		t.Errorf("of the messages %v these failed: %v; want the one, because the alert could not be published", batch, failed)
	}
	w.alertingWire.restore()
	told := w.untilTold("the alert is reported", 1)
	for _, kind := range channels {
		w.checkTrigger(kind, told[kind], "CRITICAL", "payments", "checkout")
	}
	w.pass(healthyFor)
	w.checkTold("after the topic was back", 1)
}

// writesIncident: the write with which alerting records that it told about something.
func writesIncident(c call) bool {
	var input struct {
		Item struct {
			PK struct{ S string } `json:"pk"`
		}
	}
	return c.String() == "dynamodb PutItem" && json.Unmarshal(c.body, &input) == nil && strings.HasPrefix(input.Item.PK.S, "alerting#incident#")
}

func TestNoAlertIsLostWhenTheProcessIsKilled(t *testing.T) {
	endToEnd(t)
	for _, tc := range []struct {
		name string
		when moment
		step func(call) bool
		want int // messages on each channel
	}{
		{"before the alert is published", arriving, publishes, 1},
		{"after the alert is published, before that is answered", answered, publishes, 2},
		{"after the alert is published, before that is recorded", arriving, writesIncident, 2},
		{"after the alert is recorded, before the message is done with", answered, writesIncident, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWatch(t, simulator.DefaultSeed())
			f := &fault{when: tc.when, matches: tc.step, act: func(c call) { c.by.kill() }}
			w.alertingWire.lay(f)
			w.disable(sharedKey)
			w.deliver(1)
			told := w.untilTold("the alert is reported", tc.want)
			w.pass(2 * healthyFor)
			w.checkTold("in the end", tc.want)
			for _, kind := range channels {
				w.checkTrigger(kind, told[kind], "CRITICAL", "was disabled", "payments", "checkout", "aws kms enable-key")
			}
			w.checkSameIncident(tc.want)
			if n := w.alerting.lambda.starts(); !w.alertingWire.hasStruck(f) || n != 2 {
				t.Errorf("the fault has struck: %t, and there were %d processes; want a second after the first was killed", w.alertingWire.hasStruck(f), n)
			}
		})
	}
}

// checkSameIncident checks that the first messages on each channel are one message of one incident.
func (w *watch) checkSameIncident(messages int) {
	w.t.Helper()
	for _, kind := range channels {
		ids := map[string]bool{}
		for _, d := range w.receiver.got(kind)[:messages] {
			ids[fmt.Sprintf("message %q of incident %q", d.id, d.dedupKey)] = true
		}
		if len(ids) != 1 {
			w.t.Errorf("%s has %v, want the same message of the same incident", kind, ids)
		}
	}
}
