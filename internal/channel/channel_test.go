package channel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	routingKey = "0123456789abcdef0123456789abcdef"
	signingKey = "3f9d7c0a5b1e4c8d9a6f2b7e0c4d8a1f"
)

// receiver is a server that answers as told and keeps what it got.
type receiver struct {
	*httptest.Server
	status  int
	answer  string
	headers http.Header // of the answer
	got     []*http.Request
	bodies  [][]byte
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{status: http.StatusOK}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Errorf("read request: %v", err)
		}
		r.got, r.bodies = append(r.got, req), append(r.bodies, body)
		for name := range r.headers {
			w.Header().Set(name, r.headers.Get(name))
		}
		w.WriteHeader(r.status)
		fmt.Fprint(w, r.answer)
	}))
	t.Cleanup(r.Close)
	return r
}

type sender interface {
	Send(ctx context.Context, a alert.Alert) error
}

// channels are the three, all sending to the receiver.
func (r *receiver) channels() map[string]sender {
	client, url := NewClient(Reach{Loopback: true}), r.URL+"/hook/T0SECRET?token=t0ken"
	return map[string]sender{
		"slack":     Slack{Client: client, URL: is(url)},
		"pagerduty": PagerDuty{Client: client, RoutingKey: is(routingKey), Endpoint: url},
		"webhook":   Webhook{Client: client, URL: url, Key: is(signingKey)},
	}
}

func is(value string) Secret {
	return func(context.Context) (string, error) { return value, nil }
}

func firing() alert.Alert {
	const key = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	return alert.Alert{
		ID: "deletion-scheduled/1234abcd@1772362800", DedupKey: "deletion-scheduled/" + key, Audience: alert.Owners,
		Severity: alert.Critical, Change: cmek.ChangeDeletionScheduled, Key: key,
		Summary: "The key of clusters orders and payments is scheduled for deletion",
		Impact:  "From now on nodes that restart cannot rejoin, and after the deadline the data can never be read again.",
		RecoverySteps: []string{
			"aws kms cancel-key-deletion --region us-east-1 --key-id " + key,
			"aws kms enable-key --region us-east-1 --key-id " + key,
			"keyturn status orders payments",
		},
		Clusters: []alert.AffectedCluster{
			{ID: "c-1", Name: "orders", Regions: []string{"us-east-1", "us-west-2"}, Impact: "the next backup fails, within 1h"}, {ID: "c-2", Name: "payments"},
		},
		Principal: "arn:aws:sts::111122223333:assumed-role/admin/ana",
		Time:      time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC),
		Deadline:  time.Date(2026, 3, 8, 11, 0, 0, 0, time.UTC),
		Runbook:   "functions/alerting/README.md#deletion-scheduled",
	}
}

// alerts are the kinds that look different.
func alerts() map[string]alert.Alert {
	resolved := firing()
	resolved.Resolved, resolved.Severity, resolved.Time = true, alert.Info, resolved.Time.Add(time.Hour)
	resolved.ID, resolved.Summary = resolved.ID+"/resolved", "Resolved: "+resolved.Summary
	resolved.Impact, resolved.RecoverySteps, resolved.Deadline = "The key is enabled again, seen twice 10 min apart.", nil, time.Time{}

	keyless := firing()
	keyless.Key, keyless.DedupKey, keyless.Severity, keyless.Change = "", "role-deleted/crdb", alert.High, cmek.ChangePrincipalDeleted
	keyless.Summary, keyless.Deadline = "The role that orders uses its key with was deleted", time.Time{}

	bare := alert.Alert{ID: "i", DedupKey: "d", Severity: alert.Medium, Change: "follow-through held", Summary: "Work is held"}

	huge := firing()
	huge.Summary = strings.Repeat("a very long summary & ", 60)
	huge.Clusters, huge.DedupKey = nil, huge.DedupKey+strings.Repeat("/long", 60)
	for i := range 30 {
		huge.Clusters = append(huge.Clusters, alert.AffectedCluster{ID: fmt.Sprintf("c-%02d", i), Name: strings.Repeat("n", 20), Regions: []string{"us-east-1", "eu-west-1"}})
	}
	for i := range 14 {
		huge.RecoverySteps = append(huge.RecoverySteps, fmt.Sprintf("command %d %s", i, strings.Repeat("<x>", 150)))
	}
	huge.RecoverySteps[1] = "put back the policy " + strings.Repeat("x", 3000)

	hostile := firing()
	hostile.Summary = "<!channel> *now*\nRecovery steps:\u202e <https://evil.example|click>"
	hostile.Principal, hostile.RecoverySteps = "&lt;!here&gt; <@U1>", []string{"echo ```\n<!here> `id`"}
	hostile.Clusters, hostile.Runbook = []alert.AffectedCluster{{ID: "c>1", Name: "<!everyone>"}}, "x|y>z <!here>"

	return map[string]alert.Alert{
		"firing": firing(), "resolved": resolved, "without-key": keyless, "bare": bare, "huge": huge, "hostile": hostile,
	}
}

func TestEachChannelSendsExactlyTheseMessages(t *testing.T) {
	for kind, a := range alerts() {
		r := newReceiver(t)
		for name, channel := range r.channels() {
			if err := channel.Send(t.Context(), a); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			body := r.bodies[len(r.bodies)-1]
			var got bytes.Buffer
			if err := json.Indent(&got, body, "", "  "); err != nil {
				t.Fatalf("%s sends no JSON: %v", name, err)
			}
			got.WriteByte('\n')
			golden := "testdata/" + name + "-" + kind + ".json"
			if *update {
				if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s sends for the alert %q:\n%s\nwant (%s; -update rewrites it):\n%s", name, kind, &got, golden, want)
			}
			req := r.got[len(r.got)-1]
			if req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/json" || req.URL.RequestURI() != "/hook/T0SECRET?token=t0ken" {
				t.Errorf("%s sends %s %s with %v", name, req.Method, req.URL, req.Header)
			}
		}
	}
}

func TestARepeatedAlertHasTheSameBytesOnEachChannel(t *testing.T) {
	r := newReceiver(t)
	for name, channel := range r.channels() {
		r.bodies = nil
		for range 2 {
			if err := channel.Send(t.Context(), firing()); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(r.bodies[0], r.bodies[1]) {
			t.Errorf("%s: the repeat differs:\n%s\n%s", name, r.bodies[0], r.bodies[1])
		}
	}
}

func TestARefusalSaysWhatTheChannelAnsweredAndWhetherToTryAgain(t *testing.T) {
	const pagerDutyAnswer = `{"status":"invalid event","message":"Event object is invalid","errors":["Length of 'routing_key' is incorrect (should be 32 characters)"]}`
	const hopeless = "fix the channel's secret or URL"
	for _, tc := range []struct {
		channel   string
		status    int
		answer    string
		retry     string
		permanent bool
		wait      time.Duration
		want      string
	}{
		{"slack", 404, "no_service", "", true, 0, "post to Slack: the channel answered 404 Not Found (no_service); the same will not be accepted later either: " + hopeless},
		{"slack", 410, "channel_is_archived", "", true, 0, "(channel_is_archived)"},
		{"slack", 403, "<html>Forbidden by " + routingKey, "", true, 0, "403 Forbidden; "},
		{"slack", 429, "rate_limited", "30", false, 30 * time.Second, "429 Too Many Requests (rate_limited)"},
		{"slack", 302, "", "", true, 0, "302 Found"},
		{"pagerduty", 400, pagerDutyAnswer, "", true, 0, "400 Bad Request (Event object is invalid: Length of 'routing_key' is incorrect"},
		{"pagerduty", 400, `{"message":"no such key ` + routingKey + `"}`, "", true, 0, "(no such key [hidden])"},
		{"pagerduty", 429, "", "", false, time.Second, "429 Too Many Requests"},
		{"pagerduty", 500, "oops", "", false, 0, "500 Internal Server Error"},
		{"webhook", 401, "bad signature for " + signingKey, "", true, 0, "post webhook: the channel answered 401 Unauthorized; "},
		{"webhook", 503, "", "86400", false, 5 * time.Minute, "503 Service Unavailable"},
		{"webhook", 503, "", "soon", false, 0, "503"},
		{"webhook", 408, "", "-7", false, 0, "408"},
		{"webhook", 429, "", "99999999999999999999", false, time.Second, "429"},
		{"webhook", 429, "", "Sun, 01 Mar 2020 00:00:00 GMT", false, time.Second, "429"},
	} {
		r := newReceiver(t)
		r.status, r.answer, r.headers = tc.status, tc.answer, http.Header{"Retry-After": {tc.retry}, "Location": {"/elsewhere"}}
		err := r.channels()[tc.channel].Send(t.Context(), firing())
		refused, ok := errors.AsType[*Refused](err)
		if !ok {
			t.Errorf("%s %d: error %v, want a refusal", tc.channel, tc.status, err)
			continue
		}
		if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), hopeless) != tc.permanent {
			t.Errorf("%s %d: the error is\n%v\nwant it to say %q, and that trying again is useless: %t", tc.channel, tc.status, err, tc.want, tc.permanent)
		}
		if refused.Permanent() != tc.permanent || refused.RetryAfter != tc.wait {
			t.Errorf("%s %d with Retry-After %q: permanent %t, wait %s; want %t, %s", tc.channel, tc.status, tc.retry, refused.Permanent(), refused.RetryAfter, tc.permanent, tc.wait)
		}
		if len(r.got) != 1 {
			t.Errorf("%s %d: %d requests for one alert, want 1", tc.channel, tc.status, len(r.got))
		}
	}
}

func TestNoErrorShowsASecretOrAURL(t *testing.T) {
	down := newReceiver(t)
	channels := down.channels()
	down.Close()
	client := NewClient(Reach{})
	for i, url := range []string{
		"https://s3cret.invalid/hook/T0SECRET?token=t0ken", "http://s3cret.example/hook/T0SECRET", "https://ana:s3cret@example.com/T0SECRET",
		"s3cret", "://s3cret", "https://s3cret.example/\x7f", "https://169.254.169.254/T0SECRET", "https://[::1%25s3cret]/T0SECRET", "http://127.0.0.1/T0SECRET",
	} {
		channels[fmt.Sprint("slack ", i)] = Slack{Client: client, URL: is(url)}
		channels[fmt.Sprint("webhook ", i)] = Webhook{Client: client, URL: url, Key: is(signingKey)}
		channels[fmt.Sprint("pagerduty ", i)] = PagerDuty{Client: client, Endpoint: url, RoutingKey: is(routingKey)}
	}
	channels["a short key"] = Webhook{Client: client, URL: "https://s3cret.example", Key: is("s3cret")}
	for name, channel := range channels {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		err := channel.Send(ctx, firing())
		cancel()
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, secret := range []string{"s3cret", "T0SECRET", "t0ken", routingKey, signingKey, "127.0.0.1:"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error shows %q: %v", name, secret, err)
			}
		}
	}
}

func TestASecretThatCannotBeReadSendsNothing(t *testing.T) {
	broken := errors.New("secrets are closed today")
	unread := func(context.Context) (string, error) { return "", broken }
	for _, channel := range []sender{Slack{URL: unread}, PagerDuty{RoutingKey: unread}, Webhook{Key: unread}} {
		if err := channel.Send(t.Context(), firing()); !errors.Is(err, broken) {
			t.Errorf("%T: error %v, want %v", channel, err, broken)
		}
	}
}

func TestASilentChannelEndsWithTheContext(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer server.Close()
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := Slack{Client: NewClient(Reach{Loopback: true}), URL: is(server.URL)}.Send(ctx, firing())
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
	}
	if got := NewClient(Reach{}).Timeout; got <= 0 || got > 10*time.Second {
		t.Errorf("a client waits for %s, want at most 10 s", got)
	}
}

func TestPagerDutySeveritiesAndDedupKeys(t *testing.T) {
	for ours, theirs := range map[alert.Severity]string{
		alert.Critical: "critical", alert.High: "error", alert.Medium: "warning", alert.Low: "info", alert.Info: "info", "new": "error",
	} {
		if got := (PagerDuty{}).event(alert.Alert{Severity: ours}).Payload.Severity; got != theirs {
			t.Errorf("%s is PagerDuty's %s, want %s", ours, got, theirs)
		}
	}
	long := alert.Alert{DedupKey: strings.Repeat("é", 200)}
	other := alert.Alert{DedupKey: strings.Repeat("é", 200) + "!", Resolved: true}
	end := long
	end.Resolved = true
	if a, b := dedupKey(long), dedupKey(end); a != b || len(a) > 255 || !utf8.ValidString(a) {
		t.Errorf("a long dedup key becomes %q and for the resolution %q; want one valid text of at most 255 bytes", a, b)
	}
	if dedupKey(long) == dedupKey(other) {
		t.Error("two long dedup keys become one")
	}
	if got := dedupKey(alert.Alert{ID: "i"}); got != "i" {
		t.Errorf("an alert without an incident has the dedup key %q, want its ID", got)
	}
}

func TestASlackMessageStaysWithinTheLimitsOfBlockKit(t *testing.T) {
	all := alerts()
	wide := all["huge"]
	wide.Key, wide.Principal = cmek.KeyURI(strings.Repeat("&", 5000)), strings.Repeat("ключ", 5000)
	wide.Impact, wide.DedupKey, wide.Runbook = strings.Repeat("<", 9000), strings.Repeat("&", 2000), strings.Repeat("r", 5000)
	wide.Change, wide.Clusters[0].Name = cmek.Change(strings.Repeat("&", 500)), strings.Repeat("&", 5000)
	all["wide"] = wide
	for kind, a := range all {
		m := Slack{}.message(a)
		if len(m.Blocks) > 50 || len(m.Text) > 4000 {
			t.Errorf("%s: %d blocks and %d bytes of notice, want at most 50 and 4000", kind, len(m.Blocks), len(m.Text))
		}
		check := func(what string, texts []slackText, count, most int) {
			if len(texts) > count {
				t.Errorf("%s: %d %s, want at most %d", kind, len(texts), what, count)
			}
			for _, text := range texts {
				if len(text.Text) == 0 || len(text.Text) > most || !utf8.ValidString(text.Text) {
					t.Errorf("%s: a %s has %d bytes, want valid text of 1 to %d:\n%s", kind, what, len(text.Text), most, text.Text)
				}
			}
		}
		for _, block := range m.Blocks {
			if block.Text != nil {
				most := 3000
				if block.Type == "header" {
					most = 150
				}
				check(block.Type, []slackText{*block.Text}, 1, most)
			}
			check("field", block.Fields, 10, 2000)
			check("element", block.Elements, 10, 3000)
		}
	}
}

func TestMarkupIsNeverCutWithinAnEntity(t *testing.T) {
	for most := 4; most < 30; most++ {
		got := mrkdwn("a&b<c>d&e<f>g&h", most)
		if rest := strings.NewReplacer("&amp;", "", "&lt;", "", "&gt;", "").Replace(got); strings.Contains(rest, "&") || len(got) > most {
			t.Errorf("cut to %d bytes it is %q", most, got)
		}
	}
}

func TestSlackMakesNoLinkOfANameInAnAlert(t *testing.T) {
	for kind, a := range alerts() {
		data, err := json.Marshal(Slack{}.message(a))
		if err != nil {
			t.Fatal(err)
		}
		var walk func(node any)
		walk = func(node any) {
			switch node := node.(type) {
			case []any:
				for _, child := range node {
					walk(child)
				}
			case map[string]any:
				if node["type"] == "mrkdwn" && node["verbatim"] != true || node["type"] == "plain_text" && node["verbatim"] != nil {
					t.Errorf("%s: text is not taken as it is: %v", kind, node)
				}
				for _, child := range node {
					walk(child)
				}
			}
		}
		var message map[string]any
		if err := json.Unmarshal(data, &message); err != nil {
			t.Fatal(err)
		}
		walk(message)
		if message["unfurl_links"] != false || message["unfurl_media"] != false {
			t.Errorf("%s: links are shown with their content", kind)
		}
	}
}
