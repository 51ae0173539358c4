package stack_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/infra/aws/cloudwatchtest"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/lambda"
	"github.com/keyturn/keyturn/internal/channel"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

// within is how soon everything of a storm must be delivered, and mostMessages how many messages Slack may get of it.
const (
	within       = 3 * time.Minute
	mostMessages = 15
)

// limit of a channel: it takes burst requests at once, and rate a second after that. More is a 429 that asks for a pause.
type limit struct {
	burst, rate float64
	retryAfter  time.Duration
}

// outside is a channel's other side.
type outside struct {
	limit
	take    func(body []byte)
	latency time.Duration

	mu      sync.Mutex
	down    int // the status that it answers everything with; 0: it is up
	tokens  float64
	at      time.Time
	refused int
	taken   int
	last    time.Time
}

func (o *outside) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	time.Sleep(o.latency)
	o.mu.Lock()
	defer o.mu.Unlock()
	answer := func(status int) (*http.Response, error) {
		resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: r}
		if status == http.StatusTooManyRequests && o.retryAfter > 0 {
			resp.Header.Set("Retry-After", strconv.Itoa(int(o.retryAfter.Seconds())))
		}
		return resp, nil
	}
	now := time.Now()
	if o.at.IsZero() {
		o.tokens = o.burst
	} else {
		o.tokens = min(o.burst, o.tokens+o.rate*now.Sub(o.at).Seconds())
	}
	o.at = now
	switch {
	case o.down != 0:
		return answer(o.down)
	case o.tokens < 1:
		o.refused++
		return answer(http.StatusTooManyRequests)
	}
	o.tokens--
	o.taken++
	o.last = now
	o.take(body)
	return answer(http.StatusOK)
}

// world is the three channels, each behind a queue with the deployed numbers.
type world struct {
	t      *testing.T
	queues map[notify.Kind]*cloudwatchtest.Mapping
	sides  map[notify.Kind]*outside

	mu sync.Mutex
	// alerts and ends are how many of each Slack's messages count; posted are the messages.
	alerts, ends int
	posted       []string
	// open are PagerDuty's incidents, opened how often it has paged.
	open   map[string]bool
	opened int
	// hooked counts the alerts that the webhook got, by id.
	hooked map[string]int
}

const (
	slackSecret = "https://hooks.slack.com/services/x"
	pagerSecret = "0123456789abcdef0123456789abcdef"
	hookSecret  = "0123456789abcdef"
)

// functionOf is the function that serves the deployment's channel of the kind.
var functionOf = map[notify.Kind]string{notify.Slack: "keyturn-notify-slack", notify.PagerDuty: "keyturn-notify-pagerduty", notify.Webhook: "keyturn-notify-siem"}

// newWorld must be called in the bubble. The queues have the numbers of the template.
func newWorld(t *testing.T, slack limit, twice float64) *world {
	w := &world{t: t, queues: map[notify.Kind]*cloudwatchtest.Mapping{}, open: map[string]bool{}, hooked: map[string]int{}}
	w.sides = map[notify.Kind]*outside{
		notify.Slack:     {take: w.slack, limit: slack, latency: 150 * time.Millisecond},
		notify.PagerDuty: {take: w.pagerDuty, limit: limit{burst: 30, rate: 2}, latency: 200 * time.Millisecond},
		notify.Webhook:   {take: w.webhook, limit: limit{burst: 1e6}, latency: time.Second},
	}
	is := func(s string) channel.Secret { return func(context.Context) (string, error) { return s, nil } }
	store := cmektest.NewStore()
	for kind, side := range w.sides {
		client := &http.Client{Transport: side}
		out := map[notify.Kind]notify.Channel{
			notify.Slack:     channel.Slack{Client: client, URL: is(slackSecret)},
			notify.PagerDuty: channel.PagerDuty{Client: client, RoutingKey: is(pagerSecret)},
			notify.Webhook:   channel.Webhook{Client: client, URL: "https://example.com", Key: is(hookSecret)},
		}[kind]
		seed := uint64(0)
		m := feedOf(t, functionOf[kind])
		m.Queue.Twice, m.Queue.Random = twice, rand.New(rand.NewPCG(1, uint64(len(kind))))
		m.Start = func() cloudwatchtest.Handler {
			seed++
			l := ledger.New(store, rand.New(rand.NewPCG(2, seed)))
			f := &notify.Function{
				Channel: out, Least: notify.Settings{Kind: kind}.LeastSeverity(), Log: quiet,
				Pages: func(ctx context.Context, change func(*ledger.Pages) error) error {
					return l.UpdatePages(ctx, "p", change)
				},
			}
			return lambda.Handler{Alerts: f.Alerts, Parse: amazon.ParseMessage, Log: quiet}
		}
		w.queues[kind] = m
	}
	return w
}

var (
	countOfAlerts = regexp.MustCompile(`(\d+) alerts? \(`)
	countOfEnds   = regexp.MustCompile(`(\d+) incidents? resolved`)
)

// feedOf feeds the function from its queue, with the numbers that the template of the hub has.
func feedOf(t *testing.T, function string) *cloudwatchtest.Mapping {
	t.Helper()
	f := deploy(t, hub(t)).fed[function]
	if f == nil {
		t.Fatalf("nothing feeds %s", function)
	}
	return &f.Mapping
}

var quiet = slog.New(slog.DiscardHandler)

func (w *world) slack(body []byte) {
	var m struct{ Text string }
	if err := json.Unmarshal(body, &m); err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.posted = append(w.posted, m.Text)
	alerts, ends := countOfAlerts.FindStringSubmatch(m.Text), countOfEnds.FindStringSubmatch(m.Text)
	number := func(m []string) int {
		if m == nil {
			return 0
		}
		n, _ := strconv.Atoi(m[1])
		return n
	}
	switch {
	case alerts == nil && ends == nil && strings.HasPrefix(m.Text, "[RESOLVED]"):
		w.ends++
	case alerts == nil && ends == nil:
		w.alerts++
	}
	w.alerts, w.ends = w.alerts+number(alerts), w.ends+number(ends)
}

func (w *world) pagerDuty(body []byte) {
	var e struct {
		Action string `json:"event_action"`
		Key    string `json:"dedup_key"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case e.Action == "resolve":
		delete(w.open, e.Key)
	case !w.open[e.Key]:
		w.open[e.Key] = true
		w.opened++
	}
}

func (w *world) webhook(body []byte) {
	var a alert.Alert
	if err := json.Unmarshal(body, &a); err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hooked[a.ID]++
}

// publish sends the alerts to all queues, spread evenly over the time.
func (w *world) publish(alerts []alert.Alert, over time.Duration) {
	for _, a := range alerts {
		w.send(a)
		time.Sleep(over / time.Duration(len(alerts)))
	}
}

// send puts the alert into all queues, as the topic does.
func (w *world) send(a alert.Alert) {
	message, err := a.Message()
	if err != nil {
		w.t.Error(err)
	}
	notification, err := json.Marshal(map[string]string{"Type": "Notification", "Message": message})
	if err != nil {
		w.t.Error(err)
	}
	for _, q := range w.queues {
		q.Queue.Send(time.Now(), string(notification))
	}
}

// settle waits until all queues are empty, and fails after the limit.
func (w *world) settle(limit time.Duration) {
	for begun := time.Now(); ; time.Sleep(time.Second) {
		left := 0
		for _, q := range w.queues {
			left += q.Queue.Len()
		}
		if left == 0 {
			return
		}
		if time.Since(begun) > limit {
			w.t.Errorf("%d messages are left after %s", left, limit)
			return
		}
	}
}

// simulate runs the queues in a bubble, after the edits.
func simulate(t *testing.T, slack limit, twice float64, during func(*testing.T, *world), edits ...func(*world)) {
	t.Helper()
	hub(t) // a program of its own makes the templates, and none may run in a bubble
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, slack, twice)
		for _, edit := range edits {
			edit(w)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		for _, q := range w.queues {
			g.Go(func() { q.Run(ctx) })
		}
		during(t, w)
		cancel()
		g.Wait()
	})
}

func TestTheReadmeOfNotifyHasTheDeployedNumbers(t *testing.T) {
	readme, err := os.ReadFile("../../../functions/notify/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for kind, function := range functionOf {
		d := feedOf(t, function)
		row := fmt.Sprintf("\n| %s | %d | %.0f s | %d | %.0f s | %.0f s | %d |\n", kind, d.Batch, d.Window.Seconds(), d.Concurrency, d.Timeout.Seconds(), d.Queue.Visibility.Seconds(), d.Queue.MostReceives)
		if !strings.Contains(string(readme), row) {
			t.Errorf("the README of notify lacks the deployed numbers:%s", row)
		}
		if hidden := d.Queue.Visibility; hidden < 6*d.Timeout+d.Window || hidden <= channel.LongestPause || d.Batch > 10 && d.Window < time.Second {
			t.Errorf("%s: hidden for %s, batch %d, window %s; want a visibility timeout of six times the time limit and the window, longer than any pause; and a window for batches of more than 10", kind, hidden, d.Batch, d.Window)
		}
	}
}

// disabled are the alerts about keys that ana disables.
func disabled(keys int) (alerts []alert.Alert) {
	for i := range keys {
		key := cmek.KeyURI(fmt.Sprintf("arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-%012d", i))
		a := alert.Alert{
			ID: alert.IncidentKey(alert.KeyUnusable, string(key)) + "@e", DedupKey: alert.IncidentKey(alert.KeyUnusable, string(key)), Audience: alert.Owners,
			Severity: alert.Critical, Change: cmek.ChangeKeyDisabled, Key: key, Summary: "Key " + key.ID() + " was disabled", Time: time.Now(),
			Principal: "arn:aws:sts::111122223333:assumed-role/admin/ana", Impact: strings.Repeat("Nodes that restart cannot rejoin. ", 20),
			RecoverySteps: []string{"aws kms enable-key --region us-east-1 --key-id " + string(key)}, Runbook: "functions/alerting/RUNBOOK.md#key-disabled",
		}
		for c := range 3 {
			a.Clusters = append(a.Clusters, alert.AffectedCluster{ID: fmt.Sprintf("%d-%d", i, c), Name: fmt.Sprintf("c%d-%d", i, c)})
		}
		alerts = append(alerts, a)
	}
	return alerts
}

// failedClusters are rotation's alerts about the clusters of one key.
func failedClusters(clusters int) (alerts []alert.Alert) {
	for i := range clusters {
		id := fmt.Sprintf("rotate-failed/%d", i)
		alerts = append(alerts, alert.Alert{
			ID: id, DedupKey: id, Severity: alert.High, Change: "rotate failed", Key: "arn:aws:kms:us-east-1:111122223333:key/one", Summary: fmt.Sprintf("Cluster c%d could not be re-encrypted", i),
			Clusters: []alert.AffectedCluster{{ID: fmt.Sprint(i), Name: fmt.Sprintf("c%d", i)}}, Time: time.Now(),
		})
	}
	return alerts
}

// largeAlert is alerting's alert about one key of so many clusters.
func largeAlert(clusters int) []alert.Alert {
	a := disabled(1)[0]
	a.Clusters = nil
	for i := range clusters {
		a.Clusters = append(a.Clusters, alert.AffectedCluster{ID: fmt.Sprint(i), Name: fmt.Sprintf("cluster-%d", i), Regions: []string{"us-east-1"}})
	}
	return []alert.Alert{a}
}

func ends(alerts []alert.Alert) (all []alert.Alert) {
	for _, a := range alerts {
		a.ID, a.Resolved, a.Severity, a.Time, a.Summary = a.ID+"/resolved", true, alert.Info, time.Now(), "Resolved: "+a.Summary
		all = append(all, a)
	}
	return all
}

func TestAStormReachesEveryChannelInTime(t *testing.T) {
	keys := func() []alert.Alert { return disabled(1000) }
	for _, tc := range []struct {
		name   string
		alerts func() []alert.Alert
		over   time.Duration
		slack  limit
		twice  float64
	}{
		{"1000 keys within a minute", keys, time.Minute, usual, 0},
		{"1000 keys within a minute, some arrive twice", keys, time.Minute, usual, 0.02},
		{"1000 keys within a minute, Slack takes one message in 10 s", keys, time.Minute, tight, 0.02},
		{"1000 keys within a minute, Slack asks for 30 s", keys, time.Minute, slow, 0},
		{"1000 keys at once", keys, time.Second, tight, 0},
		{"500 clusters of one key", func() []alert.Alert { return failedClusters(500) }, time.Minute, usual, 0},
		{"one key of 500 clusters", func() []alert.Alert { return largeAlert(500) }, time.Second, usual, 0},
		{"100 keys within a minute", func() []alert.Alert { return disabled(100) }, time.Minute, tight, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			simulate(t, tc.slack, tc.twice, func(t *testing.T, w *world) {
				alerts, begun := tc.alerts(), time.Now()
				w.publish(alerts, tc.over)
				w.settle(within)
				for kind, q := range w.queues {
					side := w.sides[kind]
					if took := side.last.Sub(begun); took > within {
						t.Errorf("%s has all after %s, want %s at most", kind, took.Round(time.Second), within)
					}
					invoked, failed := q.Invocations()
					if dead := q.Queue.Dead.Len(); dead > 0 || failed > 0 || q.Queue.Receives() > 1 {
						t.Errorf("%s: %d dead letters, %d failed invocations, up to %d receives of a message; want 0, 0, 1", kind, dead, failed, q.Queue.Receives())
					}
					t.Logf("%s: %d requests in %d invocations, %d refused, after %s", kind, side.taken, invoked, side.refused, side.last.Sub(begun).Round(time.Second))
				}
				w.check(alerts, tc.twice)
			})
		})
	}
}

// What Slack may take: as it says, one message in 10 s, and with longer pauses.
var (
	usual = limit{burst: 10, rate: 1, retryAfter: 10 * time.Second}
	tight = limit{burst: 1, rate: 0.1, retryAfter: 10 * time.Second}
	slow  = limit{burst: 1, rate: 1, retryAfter: 30 * time.Second}
)

// The model fails with the wrong numbers.
func TestSmallBatchesFloodSlack(t *testing.T) {
	simulate(t, usual, 0, func(_ *testing.T, w *world) {
		w.publish(disabled(200), time.Minute)
		w.settle(3 * time.Hour)
		if len(w.posted) <= mostMessages {
			t.Errorf("with batches of 5 and no window 200 alerts are %d messages, want more than %d", len(w.posted), mostMessages)
		}
	}, func(w *world) { w.queues[notify.Slack].Batch, w.queues[notify.Slack].Window = 5, 0 })
}

// What takes one message in half a minute cannot have all within three. It has all in the end, and waiting costs few receives.
func TestASlowSlackLosesNothing(t *testing.T) {
	simulate(t, limit{burst: 1, rate: 1. / 30, retryAfter: 30 * time.Second}, 0, func(t *testing.T, w *world) {
		w.publish(disabled(1000), time.Minute)
		w.settle(time.Hour)
		q := w.queues[notify.Slack]
		// Which of two invocations asks first varies, and with it the receives: 5 or 6.
		if dead, receives := q.Queue.Dead.Len(), q.Queue.Receives(); dead > 0 || receives > q.Queue.MostReceives-3 || w.alerts != 1000 {
			t.Errorf("%d dead letters, up to %d receives of a message, %d alerts in Slack; want 0, three less than %d at most, and 1000", dead, receives, w.alerts, q.Queue.MostReceives)
		}
	})
}

// The longest pause that is believed costs one receive, because a message is hidden for longer.
func TestTheLongestPauseCostsOneReceive(t *testing.T) {
	simulate(t, limit{burst: 1, rate: 1. / 300, retryAfter: 24 * time.Hour}, 0, func(t *testing.T, w *world) {
		w.publish(disabled(1), time.Second)
		w.settle(time.Minute)
		alerts := failedClusters(1)
		w.publish(alerts, time.Second)
		w.settle(15 * time.Minute)
		if receives := w.queues[notify.Slack].Queue.Receives(); receives != 2 || w.alerts != 2 {
			t.Errorf("the second alert took %d receives, and Slack has %d; want 2 and 2", receives, w.alerts)
		}
	})
}

func TestTheEndOfAStormEndsWhatItOpened(t *testing.T) {
	for _, last := range []int{0, 999} {
		simulate(t, usual, 0.02, func(t *testing.T, w *world) {
			alerts := disabled(1000)
			w.publish(alerts, time.Minute)
			w.settle(within)
			all := ends(alerts)
			all[0], all[last] = all[last], all[0]
			w.posted = nil
			w.publish(all[1:], 2*time.Minute)
			w.settle(within)
			if len(w.open) != 1 {
				t.Errorf("one of 1000 incidents has not ended, and PagerDuty has %d open", len(w.open))
			}
			w.publish(all[:1], time.Second)
			w.settle(within)
			if len(w.open) != 0 || w.opened != notify.MostPages+1 {
				t.Errorf("in the end PagerDuty has open: %v, after %d pages; want none of %d", w.open, w.opened, notify.MostPages+1)
			}
			if w.ends < 1000 || len(w.posted) > 2*mostMessages {
				t.Errorf("Slack has %d ends in %d messages, want 1000 in %d at most", w.ends, len(w.posted), 2*mostMessages)
			}
		})
	}
}

func TestARedriveAfterAnOutageIsClean(t *testing.T) {
	simulate(t, usual, 0, func(t *testing.T, w *world) {
		down := map[notify.Kind]int{notify.Slack: http.StatusNotFound, notify.PagerDuty: http.StatusInternalServerError, notify.Webhook: http.StatusServiceUnavailable}
		for kind, side := range w.sides {
			side.mu.Lock()
			side.down = down[kind]
			side.mu.Unlock()
		}
		alerts := disabled(300)
		w.publish(alerts, time.Minute)
		w.settle(3 * time.Hour)
		for _, side := range w.sides {
			side.mu.Lock()
			side.down = 0
			side.mu.Unlock()
		}
		for kind, q := range w.queues {
			if invoked, failed := q.Invocations(); failed != invoked {
				t.Errorf("%s: %d of %d invocations failed, want all: nothing was delivered", kind, failed, invoked)
			}
			if moved := q.Queue.Redrive(time.Now()); moved != len(alerts) {
				t.Errorf("%s: %d messages were redriven, want %d", kind, moved, len(alerts))
			}
		}
		w.settle(within)
		w.check(alerts, 0)
	})
}

func TestAPoisonedMessageHidesNothingAndFailsAnInvocation(t *testing.T) {
	simulate(t, usual, 0, func(t *testing.T, w *world) {
		for _, q := range w.queues {
			q.Queue.Send(time.Now(), "no alert at all")
		}
		alerts := disabled(100)
		w.publish(alerts, 10*time.Second)
		w.settle(3 * time.Hour)
		w.check(alerts, 0)
		for kind, q := range w.queues {
			if _, failed := q.Invocations(); q.Queue.Dead.Len() != 1 || failed == 0 {
				t.Errorf("%s: %d dead letters, %d failed invocations; want 1, and some", kind, q.Queue.Dead.Len(), failed)
			}
		}
	})
}

// check compares what the channels have with the alerts.
func (w *world) check(alerts []alert.Alert, twice float64) {
	w.t.Helper()
	if n := len(w.posted); n == 0 || n > mostMessages {
		w.t.Errorf("Slack has %d messages, want 1 to %d: %q", n, mostMessages, w.posted)
	}
	if w.alerts < len(alerts) || w.alerts > len(alerts) && twice == 0 {
		w.t.Errorf("Slack's messages count %d alerts, want %d: %q", w.alerts, len(alerts), w.posted)
	}
	if want := min(len(alerts), notify.MostPages+1); w.opened != want || len(w.open) != want {
		w.t.Errorf("PagerDuty has paged %d times, and %d incidents are open; want %d", w.opened, len(w.open), want)
	}
	missing, again := 0, 0
	for _, a := range alerts {
		switch n := w.hooked[a.ID]; {
		case n == 0:
			missing++
		case n > 1:
			again++
		}
	}
	if missing > 0 || again > 0 && twice == 0 {
		w.t.Errorf("the webhook lacks %d alerts, and got %d more than once", missing, again)
	}
}
