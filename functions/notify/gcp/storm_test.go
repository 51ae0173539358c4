package gcp

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/channel"
	"github.com/keyturn/keyturn/internal/google/function"
)

// slack takes so many requests at once, and one a second after that. More is a 429 that asks for a pause.
type slack struct {
	burst      float64
	retryAfter time.Duration
	downUntil  time.Duration // since the beginning

	mu        sync.Mutex
	began, at time.Time
	tokens    float64
	messages  int
	alerts    int
	refused   int
	last      time.Time
}

var counted = regexp.MustCompile(`(\d+) alerts? \(`)

func (s *slack) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	time.Sleep(150 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := func(status int, text string) (*http.Response, error) {
		resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}
		if status == http.StatusTooManyRequests && s.retryAfter > 0 {
			resp.Header.Set("Retry-After", strconv.Itoa(int(s.retryAfter.Seconds())))
		}
		return resp, nil
	}
	now := time.Now()
	s.tokens, s.at = min(s.burst, s.tokens+now.Sub(s.at).Seconds()), now
	switch {
	case now.Sub(s.began) < s.downUntil:
		return answer(http.StatusServiceUnavailable, "")
	case s.tokens < 1:
		s.refused++
		return answer(http.StatusTooManyRequests, "rate_limited")
	}
	s.tokens--
	var message struct{ Text string }
	if err := json.Unmarshal(body, &message); err != nil {
		return nil, err
	}
	n := 1
	if m := counted.FindStringSubmatch(message.Text); m != nil {
		n, _ = strconv.Atoi(m[1])
	}
	s.messages, s.alerts, s.last = s.messages+1, s.alerts+n, now
	return answer(http.StatusOK, "ok")
}

// pubsub is a push subscription with its model of the endpoint: the window of open requests begins small, grows with each success, and
// halves with each failure (cloud.google.com/pubsub/docs/push, "Push delivery rate"); a message that failed waits for its own backoff. In
// front of the instances, Cloud Run refuses what is more than they take at a time.
type pubsub struct {
	instances   []http.Handler
	concurrency int

	mu       sync.Mutex
	changed  *sync.Cond
	window   float64
	open     int
	busy     []int
	attempts int
	dead     int
}

const (
	firstWindow, mostWindow   = 3, 3000
	mostAttempts              = 100
	leastBackoff, mostBackoff = 10 * time.Second, 600 * time.Second
)

// deliver pushes the message until it is acknowledged or has been tried too often.
func (p *pubsub) deliver(body string) {
	backoff := leastBackoff
	for try := 1; ; try++ {
		if p.push(body) {
			return
		}
		if try == mostAttempts {
			p.mu.Lock()
			p.dead++
			p.mu.Unlock()
			return
		}
		time.Sleep(backoff)
		backoff = min(2*backoff, mostBackoff)
	}
}

func (p *pubsub) push(body string) (acknowledged bool) {
	p.mu.Lock()
	for float64(p.open) >= p.window {
		p.changed.Wait()
	}
	p.open++
	p.attempts++
	instance := 0
	for i, busy := range p.busy {
		if busy < p.busy[instance] {
			instance = i
		}
	}
	status := http.StatusTooManyRequests
	if p.busy[instance] < p.concurrency {
		p.busy[instance]++
		p.mu.Unlock()
		w := httptest.NewRecorder()
		p.instances[instance].ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
		p.mu.Lock()
		p.busy[instance]--
		status = w.Code
	}
	defer p.mu.Unlock()
	p.open--
	acknowledged = status == http.StatusNoContent
	if acknowledged {
		p.window = min(mostWindow, p.window+1)
	} else {
		p.window = max(1, p.window/2)
	}
	p.changed.Broadcast()
	return acknowledged
}

func TestAStormReachesSlackInFewMessagesWithinMinutes(t *testing.T) {
	const alerts = 1000
	for _, tc := range []struct {
		name         string
		slack        *slack
		over         time.Duration // in which the alerts are published
		instances    int
		concurrency  int
		within       time.Duration
		mostMessages int
	}{
		{"at once", &slack{burst: 5}, 0, 1, 250, 4 * time.Minute, 20},
		{"at once, two instances", &slack{burst: 5}, 0, 2, 250, 4 * time.Minute, 30},
		{"at once, more than are held", &slack{burst: 5}, 0, 1, 1000, 4 * time.Minute, 20},
		{"within a minute", &slack{burst: 5}, time.Minute, 2, 250, 4 * time.Minute, 40},
		{"Slack asks for pauses", &slack{burst: 1, retryAfter: 30 * time.Second}, 0, 2, 250, 6 * time.Minute, 30},
		{"Slack is down for two minutes", &slack{burst: 5, downUntil: 2 * time.Minute}, 0, 1, 250, 10 * time.Minute, 30},
		{"a lower concurrency", &slack{burst: 5}, 0, 1, 80, 6 * time.Minute, 30},
		{"the lowest concurrency", &slack{burst: 5}, 0, 2, 8, 30 * time.Minute, 150},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &pubsub{concurrency: tc.concurrency, window: firstWindow, busy: make([]int, tc.instances)}
				p.changed = sync.NewCond(&p.mu)
				began := time.Now()
				tc.slack.began, tc.slack.at, tc.slack.tokens = began, began, tc.slack.burst
				for range tc.instances {
					p.instances = append(p.instances, instanceOf(tc.slack))
				}
				var group sync.WaitGroup
				for i := range alerts {
					group.Go(func() {
						time.Sleep(tc.over * time.Duration(i) / alerts)
						p.deliver(pushOf(t, i))
					})
				}
				group.Wait()
				took := tc.slack.last.Sub(began)
				t.Logf("%d alerts in %d messages within %s; %d requests, of which Slack refused %d", tc.slack.alerts, tc.slack.messages, took.Round(time.Second), p.attempts, tc.slack.refused)
				switch {
				case tc.slack.alerts != alerts || p.dead > 0:
					t.Errorf("%d of %d alerts reached Slack, %d were given up", tc.slack.alerts, alerts, p.dead)
				case took > tc.within || tc.slack.messages > tc.mostMessages:
					t.Errorf("it took %s and %d messages, want at most %s and %d", took, tc.slack.messages, tc.within, tc.mostMessages)
				}
			})
		})
	}
}

// instanceOf is the function as it is wired for Slack, but for the network.
func instanceOf(s *slack) http.Handler {
	quiet := slog.New(slog.DiscardHandler)
	f := &notify.Function{Least: notify.Settings{Kind: notify.Slack}.LeastSeverity(), Log: quiet, Channel: channel.Slack{
		Client: &http.Client{Transport: s}, URL: func(context.Context) (string, error) { return "https://hooks.slack.com/services/x", nil },
	}}
	return function.New(handler(f, notify.Slack, function.DefaultSettings()))
}

func pushOf(t *testing.T, i int) string {
	key := fmt.Sprintf("projects/acme-prod/locations/us-east1/keyRings/r/cryptoKeys/k%d", i)
	message, err := alert.Alert{
		ID: fmt.Sprint("alert-", i), DedupKey: "key-unusable/" + key, Severity: alert.Critical, Change: "key version disabled", Summary: "a version of " + key + " is disabled",
	}.Message()
	if err != nil {
		t.Error(err)
	}
	return fmt.Sprintf(`{"message":{"data":%q,"messageId":"%d"},"subscription":"projects/acme-prod/subscriptions/slack","deliveryAttempt":1}`,
		base64.StdEncoding.EncodeToString([]byte(message)), i)
}
