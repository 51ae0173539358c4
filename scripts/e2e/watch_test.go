package e2e

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/simulator"
)

// watch is a scene in which keys are endangered: bus → rule → queue → alerting → topic → a queue and a notify function for
// each channel → receiver. Rotation has put the fleet into the ledger, and does nothing more.
type watch struct {
	*scene
	// alerting reaches the world through a wire of its own.
	alerting     *mapping
	alertingWire *wire
	notify       map[notify.Kind]*mapping
	receiver     *receiver
	// refusals counts the calls that AWS refused; see emitRefused.
	refusals int
}

// Alerting is as quick as it can be. wellFor is how long a key must read well before its incident is resolved.
const wellFor = time.Second

var alertingSettings = []string{
	"KEYTURN_RECHECK_EVERY=300ms", "KEYTURN_WELL_FOR=" + wellFor.String(), "KEYTURN_LOG_LEVEL=DEBUG",
}

// newWatch sets up a watch with settings for alerting besides those above.
func newWatch(t *testing.T, seed simulator.Seed, more ...string) *watch {
	t.Helper()
	s := newScene(t, seed, "KEYTURN_MODE=observe")
	w := &watch{scene: s, alertingWire: &wire{t: t}, notify: map[notify.Kind]*mapping{}, receiver: newReceiver(t)}
	w.world.Events() // What happened before is nobody's alert.

	// The real ones are longer; a message that failed comes back as soon as this.
	redelivery := map[string]string{"VisibilityTimeout": "2"}
	changes := s.account.createQueue("changes", redelivery)
	s.account.createRule(alertingFunction, changes, alerting.Subscribes)
	w.alerting = w.function(alertingFunction, changes, slices.Concat(
		endpoints(s.world, w.alertingWire), s.account.environment(), alertingSettings,
		[]string{"KEYTURN_ORGANIZATION_ID=" + seed.Organization.ID, "AWS_ENDPOINT_URL_STS=" + w.alertingWire.to("sts", toMoto(t))}, more))

	for _, kind := range channels {
		q := s.account.createQueue(string(kind), redelivery)
		_, err := sns.NewFromConfig(s.account.config).Subscribe(t.Context(), &sns.SubscribeInput{
			TopicArn: &s.account.alerts, Protocol: aws.String("sqs"), Endpoint: &q.arn,
		})
		must(t, err, "subscribe channel "+string(kind))
		w.notify[kind] = w.function(notifyFunction, q, w.channelEnvironment(kind))
	}
	return w
}

// function makes a function that the queue feeds.
func (w *watch) function(name string, q queue, environment []string) *mapping {
	l := newLambda(w.t, name, slices.Concat(lambdaEnvironment(name), environment)...)
	m := &mapping{t: w.t, account: w.account, queue: q, lambda: l, secrets: []string{slackPath, routingKey, signingKey}}
	w.t.Cleanup(m.checkLog)
	return m
}

// channelEnvironment configures notify for a channel of the receiver, and stores the channel's secret.
func (w *watch) channelEnvironment(kind notify.Kind) []string {
	secret := map[notify.Kind]string{notify.Slack: w.receiver.url + slackPath, notify.PagerDuty: routingKey, notify.Webhook: signingKey}[kind]
	url := map[notify.Kind]string{notify.PagerDuty: w.receiver.url + "/v2/enqueue", notify.Webhook: w.receiver.url + "/hook"}[kind]
	name := w.account.name + "-" + string(kind)
	w.account.createSecret(name, secret)
	return []string{
		"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + w.alertingWire.to("secretsmanager", toMoto(w.t)),
		"AWS_ENDPOINT_URL=http://127.0.0.1:1", // Nothing else may be called.
		"KEYTURN_CHANNEL=" + string(kind), "KEYTURN_CHANNEL_SECRET=" + name, "KEYTURN_CHANNEL_URL=" + url,
		"KEYTURN_ALLOW_LOOPBACK=true", "KEYTURN_LOG_LEVEL=DEBUG",
	}
}

// step lets every queue and alerting's clock invoke their functions once, and reports whether any message was handled.
func (w *watch) step() (busy bool) {
	w.t.Helper()
	poll := func(m *mapping) {
		batch, failed, err := m.poll()
		busy = busy || len(batch) > len(failed)
		w.note(err)
	}
	poll(w.alerting)
	w.note(w.alerting.lambda.tick(w.tickTime))
	for _, kind := range channels {
		poll(w.notify[kind])
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
	for deadline := time.Now().Add(patience); ; time.Sleep(pace) {
		w.step()
		lack := missing()
		if lack == "" {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("waited %s until %s; missing: %s\nfailed invocations: %v\nend of alerting's log:\n%s",
				patience, what, lack, errors.Join(w.troubles...), w.alerting.lambda.log.tail())
		}
	}
}

// pass lets so much time pass, and after that as much as it takes to empty the queues.
func (w *watch) pass(d time.Duration) {
	w.t.Helper()
	deadline := time.Now().Add(d)
	for limit := deadline.Add(patience); ; time.Sleep(pace) {
		if busy := w.step(); !busy && time.Now().After(deadline) {
			return
		}
		if time.Now().After(limit) {
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
	w.until(what+" is told", func() string {
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
