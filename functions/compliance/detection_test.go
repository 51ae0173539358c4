package compliance_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// bridge is EventBridge and SQS of all accounts: rules and counts of messages by account, Region, bus and name. What is in denied is refused.
type bridge struct {
	mu     sync.Mutex
	rules  map[string]cmek.EventRule
	queues map[string]int
	denied map[string]bool
	reads  int
}

func (b *bridge) Rule(_ context.Context, account, region, bus, name string) (cmek.EventRule, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	if b.denied[name] {
		return cmek.EventRule{}, &cmek.PermissionError{Permission: "events:DescribeRule on rule " + name, Err: fmt.Errorf("read rule: %w", cmek.ErrDenied)}
	}
	rule, ok := b.rules[strings.Join([]string{account, region, bus, name}, "/")]
	if !ok {
		return rule, fmt.Errorf("read rule %s: %w", name, cmek.ErrNotFound)
	}
	return rule, nil
}

func (b *bridge) Waiting(_ context.Context, account, owner, region, queue string) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	waiting, ok := b.queues[strings.Join([]string{account, owner, region, queue}, "/")]
	if !ok {
		return 0, errors.New("no such queue")
	}
	return waiting, nil
}

// enable is the command of the CLI.
func (b *bridge) enable(account, region, bus, name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := strings.Join([]string{account, region, bus, name}, "/")
	rule := b.rules[id]
	rule.State = "ENABLED"
	b.rules[id] = rule
}

// logging is Cloud Logging and Pub/Sub, by whole names.
type logging struct {
	sinks         map[string]cmek.LogSink
	subscriptions map[string]cmek.PushSubscription
	denied        bool
	usesLeftOut   bool
}

func (l *logging) Sink(_ context.Context, name string) (cmek.LogSink, error) {
	if l.denied {
		return cmek.LogSink{}, &cmek.PermissionError{Permission: "logging.sinks.get on " + name, Err: fmt.Errorf("read sink: %w", cmek.ErrDenied)}
	}
	sink, ok := l.sinks[name]
	if !ok {
		return sink, fmt.Errorf("read sink %s: %w", name, cmek.ErrNotFound)
	}
	return sink, nil
}

func (l *logging) Subscription(_ context.Context, name string) (cmek.PushSubscription, error) {
	subscription, ok := l.subscriptions[name]
	if !ok {
		return subscription, fmt.Errorf("read subscription %s: %w", name, cmek.ErrNotFound)
	}
	return subscription, nil
}

// UsesKept is 40 days, unless the sink _Default is said to be broken.
func (l *logging) UsesKept(context.Context, string) (time.Duration, error) {
	if l.usesLeftOut {
		return 0, errors.New("the sink _Default leaves some out")
	}
	return 40 * 24 * time.Hour, nil
}

const (
	hubBus      = "arn:aws:events:us-east-1:999900001111:event-bus/keyturn"
	alertsQueue = "arn:aws:sqs:us-east-1:999900001111:keyturn-alerting-event"
	pattern     = `{"source":["aws.kms"],"detail-type":["x"]}`
	reordered   = `{"detail-type": ["x"], "source": ["aws.kms"]}`
	filterText  = "a OR b"

	ourSink         = "projects/acme/sinks/keyturn-alerting"
	ourSubscription = "projects/hub/subscriptions/keyturn-alerting"
	ourTopic        = "projects/hub/topics/keyturn-alerting-events"
)

// watched gives the world a deployment that detects changes in the places of paymentsKey and of googleKey, all of it as it was deployed, with
// heartbeats that came through just now.
func (w *world) watched() {
	w.t.Helper()
	w.detected = compliance.Detection{
		Rules: []compliance.RulesIn{{Account: "111122223333", Region: "us-east-1", Target: hubBus, DeadLetters: []string{"keyturn-forward-dead"}, Heartbeats: []string{"us-east-1"},
			Rules: []compliance.Rule{{Name: "keyturn-kms-calls", Pattern: compliance.PatternHash(pattern)}, {Name: "keyturn-kms-use", Pattern: compliance.PatternHash(pattern), ReadOnly: true}}}},
		Hub: compliance.RulesIn{Account: "999900001111", Region: "us-east-1", Bus: "keyturn", DeadLetters: []string{"keyturn-alerting-event-dead"},
			Rules: []compliance.Rule{{Name: "keyturn-alerting-event-kms", Pattern: compliance.PatternHash(pattern), Target: alertsQueue}}},
		Sinks:         []compliance.Sink{{Parent: "projects/acme", Name: "keyturn-alerting", Destination: "pubsub.googleapis.com/" + ourTopic, Filter: compliance.TextHash(filterText)}},
		Subscriptions: []compliance.Subscription{{Name: ourSubscription, Topic: ourTopic}},
		Heartbeats:    []string{"acme"},
	}
	w.Detect = func(context.Context) (compliance.Detection, error) { return w.detected, nil }
	w.bridge = &bridge{denied: map[string]bool{}, rules: map[string]cmek.EventRule{
		"111122223333/us-east-1//keyturn-kms-calls":     {State: "ENABLED", Pattern: reordered, Targets: []string{"arn:x", hubBus}},
		"111122223333/us-east-1//keyturn-kms-use":       {State: "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", Pattern: pattern, Targets: []string{hubBus}},
		"/us-east-1/keyturn/keyturn-alerting-event-kms": {State: "ENABLED", Pattern: pattern, Targets: []string{alertsQueue}},
	}, queues: map[string]int{"111122223333/111122223333/us-east-1/keyturn-forward-dead": 0, "/999900001111/us-east-1/keyturn-alerting-event-dead": 0}}
	w.AWS.Rules = w.bridge
	w.logging = &logging{sinks: map[string]cmek.LogSink{ourSink: {Destination: "pubsub.googleapis.com/" + ourTopic, Filter: filterText}},
		subscriptions: map[string]cmek.PushSubscription{ourSubscription: {Topic: ourTopic, Endpoint: "https://f", State: "ACTIVE"}}}
	w.Google.Sinks = w.logging
	w.beat("111122223333", "us-east-1", 0)
	w.beat("acme", "", 0)
}

// beat notes a heartbeat of so long ago.
func (w *world) beat(account, region string, ago time.Duration) {
	w.t.Helper()
	if err := w.Ledger.NoteHeartbeat(w.t.Context(), account, region, ledger.Heartbeat{At: time.Now().Add(-ago), Arrived: time.Now()}); err != nil {
		w.t.Fatal(err)
	}
}

const (
	onAWS = "CMEK-25 AWS/111122223333/us-east-1"
	onGCP = "CMEK-25 GCP/acme"
)

// Whatever part of the detection is not as it was deployed, the place that it is for fails, and what cannot be read is an ERROR.
func TestDetection_is_compared_with_what_was_deployed(t *testing.T) {
	rule := func(id string, change func(*cmek.EventRule)) func(*world) {
		return func(w *world) { r := w.bridge.rules[id]; change(&r); w.bridge.rules[id] = r }
	}
	const calls, use, hub = "111122223333/us-east-1//keyturn-kms-calls", "111122223333/us-east-1//keyturn-kms-use", "/us-east-1/keyturn/keyturn-alerting-event-kms"
	sink := func(change func(*cmek.LogSink)) func(*world) {
		return func(w *world) { s := w.logging.sinks[ourSink]; change(&s); w.logging.sinks[ourSink] = s }
	}
	subscription := func(change func(*cmek.PushSubscription)) func(*world) {
		return func(w *world) {
			s := w.logging.subscriptions[ourSubscription]
			change(&s)
			w.logging.subscriptions[ourSubscription] = s
		}
	}
	for _, tt := range []struct {
		name, key string
		change    func(*world)
		want      checks.Result
		why       string
	}{
		{"all is there", onAWS, func(*world) {}, checks.Pass, "3 parts"},
		{"a rule disabled", onAWS, rule(calls, func(r *cmek.EventRule) { r.State = "DISABLED" }), checks.Fail, "keyturn-kms-calls is disabled"},
		{"a rule with a state of tomorrow", onAWS, rule(calls, func(r *cmek.EventRule) { r.State = "PAUSED" }), checks.Fail, "the state PAUSED"},
		{"a rule without a state", onAWS, rule(calls, func(r *cmek.EventRule) { r.State = "" }), checks.Fail, "the state"},
		{"a rule that sees more", onAWS, rule(calls, func(r *cmek.EventRule) { r.State = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS" }), checks.Pass, ""},
		{"a rule that does not see uses", onAWS, rule(use, func(r *cmek.EventRule) { r.State = "ENABLED" }), checks.Fail, "does not see read-only calls"},
		{"a rule without targets", onAWS, rule(calls, func(r *cmek.EventRule) { r.Targets = nil }), checks.Fail, "does not lead to " + hubBus},
		{"a rule with another target", onAWS, rule(calls, func(r *cmek.EventRule) { r.Targets = []string{hubBus + "-x"} }), checks.Fail, "does not lead to " + hubBus},
		{"a narrower pattern", onAWS, rule(calls, func(r *cmek.EventRule) { r.Pattern = `{"source":["aws.kms"],"detail-type":["y"]}` }), checks.Fail, "another pattern"},
		{"no pattern", onAWS, rule(calls, func(r *cmek.EventRule) { r.Pattern = "" }), checks.Fail, "another pattern"},
		{"a rule deleted", onAWS, func(w *world) { delete(w.bridge.rules, calls) }, checks.Fail, "keyturn-kms-calls does not exist"},
		{"a rule of the hub disabled", onAWS, rule(hub, func(r *cmek.EventRule) { r.State = "DISABLED" }), checks.Fail, "keyturn-alerting-event-kms is disabled"},
		{"a rule of the hub that leads elsewhere", onAWS, rule(hub, func(r *cmek.EventRule) { r.Targets = []string{hubBus} }), checks.Fail, "does not lead to " + alertsQueue},
		{"dead letters", onAWS, func(w *world) { w.bridge.queues["111122223333/111122223333/us-east-1/keyturn-forward-dead"] = 2 }, checks.Fail, "2 messages"},
		{"dead letters of the hub", onAWS, func(w *world) { w.bridge.queues["/999900001111/us-east-1/keyturn-alerting-event-dead"] = 1 }, checks.Fail, "1 messages"},
		{"no queue for dead letters", onAWS, func(w *world) { clear(w.bridge.queues) }, checks.Error, "no such queue"},
		{"a rule that is denied", onAWS, func(w *world) { w.bridge.denied["keyturn-kms-use"] = true }, checks.Error, "read rule"},
		{"a rule of the hub that is denied", onAWS, func(w *world) { w.bridge.denied["keyturn-alerting-event-kms"] = true }, checks.Error, "read rule"},
		{"a Region that nobody watches", onAWS, func(w *world) { w.detected.Rules[0].Region = "eu-west-1" }, checks.Fail, "does not watch it"},
		{"an account that nobody watches", onAWS, func(w *world) { w.detected.Rules[0].Account = "444455556666" }, checks.Fail, "does not watch it"},
		{"nobody knows what was deployed", onAWS, func(w *world) { w.Detect = nil }, checks.Error, "does not know what"},
		{"what was deployed cannot be read", onAWS, func(w *world) {
			w.Detect = compliance.DetectionIn(func(context.Context) ([]byte, error) { return nil, fmt.Errorf("get object: %w", cmek.ErrDenied) })
		}, checks.Error, "get object"},
		{"what was deployed is something else", onAWS, func(w *world) {
			w.Detect = compliance.DetectionIn(func(context.Context) ([]byte, error) { return []byte(`{}`), nil })
		}, checks.Error, "not what a deployment writes"},
		{"nothing reads rules", onAWS, func(w *world) { w.AWS.Rules = nil }, checks.Error, "does not read it"},

		{"a heartbeat of two hours ago", onAWS, func(w *world) { time.Sleep(121 * time.Minute) }, checks.Fail, "the last heartbeat is of"},
		{"a heartbeat of another Region of the account", onAWS, func(w *world) {
			w.detected.Rules[0].Heartbeats = []string{"eu-west-1"}
			w.beat("111122223333", "eu-west-1", time.Minute)
		}, checks.Pass, "last heartbeat of AWS/111122223333/eu-west-1"},
		{"the other Region's never came, and its own of before counts no more", onAWS, func(w *world) { w.detected.Rules[0].Heartbeats = []string{"eu-west-1"} },
			checks.Fail, "no heartbeat of AWS/111122223333/eu-west-1 ever came through"},
		{"of two other Regions the older counts", onAWS, func(w *world) {
			w.detected.Rules[0].Heartbeats = []string{"eu-west-1", "us-west-2"}
			w.beat("111122223333", "eu-west-1", time.Minute)
			w.beat("111122223333", "us-west-2", 3*time.Hour)
		}, checks.Fail, "of AWS/111122223333/us-west-2"},
		{"no heartbeat is sent", onAWS, func(w *world) { w.detected.Rules[0].Heartbeats = nil }, checks.Fail, "no heartbeat is sent"},
		{"a heartbeat of another account", onAWS, func(w *world) {
			w.detected.Rules[0].Heartbeats = nil
			w.detected.Rules = append(w.detected.Rules, compliance.RulesIn{Account: "444455556666", Region: "us-east-1", Heartbeats: []string{"us-east-1"}})
			w.beat("444455556666", "us-east-1", 0)
		}, checks.Fail, "no heartbeat is sent"},
		{"a heartbeat of the future", onAWS, func(w *world) { w.beat("111122223333", "us-east-1", -24*time.Hour) }, checks.Error, "in the future"},
		{"no ledger", onAWS, func(w *world) { w.Ledger = nil }, checks.Error, "no ledger"},

		{"all is there", onGCP, func(*world) {}, checks.Pass, "2 parts"},
		{"a sink disabled", onGCP, sink(func(s *cmek.LogSink) { s.Disabled = true }), checks.Fail, "is disabled"},
		{"a sink with another filter", onGCP, sink(func(s *cmek.LogSink) { s.Filter += " " }), checks.Fail, "another filter"},
		{"a sink that takes everything", onGCP, sink(func(s *cmek.LogSink) { s.Filter = "" }), checks.Fail, "another filter"},
		{"a sink with an exclusion", onGCP, sink(func(s *cmek.LogSink) { s.Exclusions = 1 }), checks.Fail, "exclusions"},
		{"a sink that leads elsewhere", onGCP, sink(func(s *cmek.LogSink) { s.Destination += "-x" }), checks.Fail, "does not lead to"},
		{"a sink deleted", onGCP, func(w *world) { clear(w.logging.sinks) }, checks.Fail, "does not exist"},
		{"a sink that is denied", onGCP, func(w *world) { w.logging.denied = true }, checks.Error, "read sink"},
		{"a subscription of another topic", onGCP, subscription(func(s *cmek.PushSubscription) { s.Topic = "_deleted-topic_" }), checks.Fail, "is not of topic"},
		{"a detached subscription", onGCP, subscription(func(s *cmek.PushSubscription) { s.Detached = true }), checks.Fail, "is not of topic"},
		{"a subscription that does not push", onGCP, subscription(func(s *cmek.PushSubscription) { s.Endpoint = "" }), checks.Fail, "does not push"},
		{"a subscription with an error", onGCP, subscription(func(s *cmek.PushSubscription) { s.State = "RESOURCE_ERROR" }), checks.Fail, "RESOURCE_ERROR"},
		{"a subscription with a filter", onGCP, subscription(func(s *cmek.PushSubscription) { s.Filter = "x" }), checks.Fail, "its filter"},
		{"a subscription deleted", onGCP, func(w *world) { clear(w.logging.subscriptions) }, checks.Fail, "does not exist"},
		{"a sink of the organization above", onGCP, above("organizations/9", true), checks.Pass, "2 parts"},
		{"a sink of the folder above", onGCP, above("folders/77", true), checks.Pass, "2 parts"},
		{"a sink above that leaves out what is below", onGCP, above("organizations/9", false), checks.Fail, "does not include projects below"},
		{"a sink of another folder", onGCP, above("folders/78", true), checks.Fail, "does not watch it"},
		{"a sink of another project", onGCP, func(w *world) { w.detected.Sinks[0].Parent = "projects/acme-x" }, checks.Fail, "does not watch it"},
		{"an old heartbeat", onGCP, func(w *world) { time.Sleep(121 * time.Minute) }, checks.Fail, "the last heartbeat is of"},
		{"a heartbeat of another project", onGCP, func(w *world) { w.detected.Heartbeats = []string{"other"}; w.beat("other", "", 0) }, checks.Fail, "no heartbeat is sent"},
		{"a heartbeat of another project below the organization's sink", onGCP, func(w *world) {
			above("organizations/9", true)(w)
			w.detected.Heartbeats = []string{"other"}
			w.beat("other", "", 0)
		}, checks.Pass, "last heartbeat of GCP/other"},
		{"nothing reads sinks", onGCP, func(w *world) { w.Google.Sinks = nil }, checks.Error, "does not read it"},
	} {
		t.Run(tt.key+": "+tt.name, func(t *testing.T) {
			withinSeed(t, mixedFleet(), func(t *testing.T, w *world) {
				w.watched()
				tt.change(w)
				f := results(w.check())[tt.key]
				if f.Result != tt.want || !strings.Contains(f.Why, tt.why) {
					t.Errorf("%s: %s", f.Result, f.Why)
				}
				if denied := strings.Contains(tt.name, "denied"); denied && len(f.Grants) != 1 {
					t.Errorf("grants %q", f.Grants)
				}
			})
		})
	}
}

// above lets the sink be one of what is above the project.
func above(parent string, children bool) func(*world) {
	return func(w *world) {
		w.detected.Sinks[0].Parent = parent
		s := w.logging.sinks[ourSink]
		s.IncludeChildren = children
		w.logging.sinks[parent+"/sinks/keyturn-alerting"] = s
	}
}

// A place is read once, however many clusters have keys there.
func TestDetection_is_read_once_for_each_place(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		w.watched()
		w.check()
		if w.bridge.reads != 3 {
			t.Errorf("%d reads of 3 rules", w.bridge.reads)
		}
	})
}

func TestPatternHash_is_of_the_pattern_and_not_of_its_spelling(t *testing.T) {
	if compliance.PatternHash(pattern) != compliance.PatternHash(reordered) || compliance.PatternHash("x") != "" || compliance.PatternHash("") != "" {
		t.Error("two spellings have two hashes, or what is no pattern has one")
	}
	hashes := []string{}
	for _, p := range []string{pattern, `{"source":["aws.kms"]}`, `{"detail-type":["x"],"source":["aws.kms","b"]}`, `{}`} {
		hashes = append(hashes, compliance.PatternHash(p))
	}
	slices.Sort(hashes)
	if len(slices.Compact(hashes)) != 4 {
		t.Error("two patterns have one hash")
	}
}
