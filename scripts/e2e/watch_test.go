package e2e

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/simulator"
)

// watch is a scene in which keys are put at risk: bus → rule → queue → alerting → topic → a queue and a notify function for
// each channel → receiver. Rotation has put the fleet into the ledger, and does nothing more.
type watch struct {
	*scene
	// alerting reaches the world through a wire of its own.
	alerting      *mapping
	alertingClock *clock
	alertingWire  *wire
	notify        map[notify.Kind]*mapping
	// deployedBatch is how many messages the template lets each channel take at a time.
	deployedBatch map[notify.Kind]int
	receiver      *receiver
	// refusals counts the calls that AWS refused; see refused.
	refusals int
}

// Alerting is as quick as it can be. healthyFor is how long a key must be healthy before its incident is resolved.
const healthyFor = time.Second

var alertingSettings = []string{
	"KEYTURN_RECHECK_EVERY=300ms", "KEYTURN_HEALTHY_FOR=" + healthyFor.String(), "KEYTURN_REPAIR_AFTER=1s", "KEYTURN_LOG_LEVEL=DEBUG",
}

// newWatch sets up a watch with settings for alerting besides those above.
func newWatch(t *testing.T, seed simulator.Seed, more ...string) *watch {
	t.Helper()
	return newWatchOf(t, plain, seed, more...)
}

// newWatchOf is newWatch with another variant of the deployment.
func newWatchOf(t *testing.T, v variant, seed simulator.Seed, more ...string) *watch {
	t.Helper()
	s := newSceneOf(t, v, seed, "KEYTURN_MODE=observe")
	a := s.account
	w := &watch{scene: s, alertingWire: &wire{t: t, account: a}, notify: map[notify.Kind]*mapping{}, deployedBatch: map[notify.Kind]int{}, receiver: newReceiver(t)}
	w.world.Events() // What happened before is nobody's alert.

	w.alerting = a.feed(a.function("alerting-event", s.world, w.alertingWire, slices.Concat(alertingSettings, more)...))
	w.alertingClock = a.clock(a.function("alerting-tick", s.world, w.alertingWire, slices.Concat(alertingSettings, more)...))
	for _, kind := range channels {
		name := "notify-" + string(kind)
		a.store(name, map[notify.Kind]string{notify.Slack: w.receiver.url + slackPath, notify.PagerDuty: routingKey, notify.Webhook: signingKey}[kind])
		url := map[notify.Kind]string{notify.PagerDuty: w.receiver.url + "/v2/enqueue", notify.Webhook: w.receiver.url + "/hook"}[kind]
		w.notify[kind] = a.feed(a.function(name, s.world, w.alertingWire,
			"KEYTURN_CHANNEL_URL="+url, "KEYTURN_ALLOW_LOOPBACK=true", "KEYTURN_LOG_LEVEL=DEBUG"))
		// What is said about one alert is checked whole. A busy machine would make a group of two, which names them only.
		w.deployedBatch[kind], w.notify[kind].batch = w.notify[kind].batch, 1
	}
	return w
}

// inGroups lets the channels take batches as large as they are deployed with.
func (w *watch) inGroups() *watch {
	for kind, batch := range w.deployedBatch {
		w.notify[kind].batch = batch
	}
	return w
}

// step lets every queue and alerting's clock invoke their functions once, and reports whether any message was handled.
func (w *watch) step() (busy bool) {
	w.t.Helper()
	rush := func(m *mapping) {
		handled, err := m.rush()
		busy = busy || handled
		w.note(err)
	}
	rush(w.alerting)
	w.note(w.alertingClock.tick())
	for _, kind := range channels {
		rush(w.notify[kind])
	}
	return busy
}

func (w *watch) note(err error) {
	if err != nil {
		w.troubles = append(w.troubles, err)
	}
}

// pace is the time between two steps.
const pace = 200 * time.Millisecond

// patience is how long a test waits for an alert to arrive on a busy machine.
const patience = 40 * time.Second

// until lets time pass until missing returns ""; see [scene.until].
func (w *watch) until(what string, missing func() string) {
	w.t.Helper()
	for over := wait(patience); ; time.Sleep(pace) {
		w.step()
		lack := missing()
		if lack == "" {
			return
		}
		if over() {
			w.t.Fatalf("waited %s until %s; missing: %s\nfailed invocations: %v\nends of the logs:\n%s",
				patience, what, lack, errors.Join(w.troubles...), w.tails())
		}
	}
}

// tails are the ends of the logs of all functions.
func (w *watch) tails() string {
	text := "alerting:\n" + w.alerting.lambda.log.tail()
	for _, kind := range channels {
		text += "\n" + w.notify[kind].lambda.name + ":\n" + w.notify[kind].lambda.log.tail()
	}
	return text
}

// pass lets so much time pass, and after that as much as it takes to empty the queues.
func (w *watch) pass(d time.Duration) {
	w.t.Helper()
	deadline := time.Now().Add(d)
	for over := wait(d + patience); ; time.Sleep(pace) {
		if busy := w.step(); !busy && time.Now().After(deadline) {
			return
		}
		if over() {
			w.t.Fatalf("the queues do not get empty within %s", patience)
		}
	}
}

// untilTold waits until every channel has taken so many messages, and returns the last one of each.
func (w *watch) untilTold(what string, messages int) map[notify.Kind]delivery {
	w.t.Helper()
	last := map[notify.Kind]delivery{}
	w.until(what, func() string {
		for _, kind := range channels {
			got := w.receiver.got(kind)
			if len(got) < messages {
				return fmt.Sprintf("message %d on %s", messages, kind)
			}
			last[kind] = got[messages-1]
		}
		return ""
	})
	return last
}

// untilHeard waits until each of these channels has taken a message.
func (w *watch) untilHeard(what string, kinds []notify.Kind) {
	w.t.Helper()
	w.until(what+" is reported", func() string {
		for _, kind := range kinds {
			if len(w.receiver.got(kind)) == 0 {
				return "a message on " + string(kind)
			}
		}
		return ""
	})
}

// checkTold checks that no channel has taken more messages than that.
func (w *watch) checkTold(when string, messages int) {
	w.t.Helper()
	for _, kind := range channels {
		if got := w.receiver.got(kind); len(got) != messages {
			w.t.Errorf("%s, %s has taken %d messages, want %d:\n%+v", when, kind, len(got), messages, got)
		}
	}
}
