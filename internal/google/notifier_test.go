package google_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/google"
)

func TestNotifierConforms(t *testing.T) {
	cmektest.NotifierConforms(t, func(t *testing.T) (alert.Notifier, func() []cmektest.Delivery) {
		host := cmektest.PubSub.At(t)
		t.Setenv("PUBSUB_EMULATOR_HOST", host)
		project := newProject()
		owners, operations := newInbox(t, host, project, alert.Owners), newInbox(t, host, project, alert.Operations)
		notifier, err := google.NewNotifier(plainConfig(), google.Topics{Owners: owners.topic, Operations: operations.topic})
		if err != nil {
			t.Fatal(err)
		}
		return notifier, func() []cmektest.Delivery { return append(owners.deliveries(t), operations.deliveries(t)...) }
	})
}

// inbox is a topic with a subscription that receives its messages.
type inbox struct {
	audience            alert.Audience
	host                string
	topic, subscription string
}

func newInbox(t *testing.T, host, project string, audience alert.Audience) inbox {
	t.Helper()
	box := inbox{audience, host, fmt.Sprintf("projects/%s/topics/%s", project, audience), fmt.Sprintf("projects/%s/subscriptions/%s", project, audience)}
	box.call(t, http.MethodPut, box.topic, map[string]any{}, nil)
	box.call(t, http.MethodPut, box.subscription, map[string]any{"topic": box.topic}, nil)
	return box
}

// call calls Pub/Sub's REST API: the product itself needs no client for the other end.
func (b inbox) call(t *testing.T, method, name string, input, output any) {
	t.Helper()
	body, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(method, "http://"+b.host+"/v1/"+name, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s: %s (error %v)", method, name, resp.Status, answer, err)
	}
	if output != nil {
		if err := json.Unmarshal(answer, output); err != nil {
			t.Fatalf("%s: decode answer: %v", name, err)
		}
	}
}

func (b inbox) deliveries(t *testing.T) (deliveries []cmektest.Delivery) {
	t.Helper()
	var received struct {
		ReceivedMessages []struct {
			Message struct {
				Data       []byte
				Attributes map[string]string
			}
		}
	}
	b.call(t, http.MethodPost, b.subscription+":pull", map[string]any{"maxMessages": 10, "returnImmediately": true}, &received)
	for _, m := range received.ReceivedMessages {
		message := string(m.Message.Data)
		at := strings.LastIndex(message, "\n\n")
		deliveries = append(deliveries, cmektest.Delivery{
			Audience: b.audience, Subject: m.Message.Attributes[google.SubjectAttribute], Text: message[:at+1], JSON: []byte(message[at+2:]),
		})
	}
	return deliveries
}

var testTopics = google.Topics{Owners: "projects/p/topics/owners", Operations: "projects/p/topics/operations"}

// publishing is a notifier whose service answers with the status and body, and what it was asked.
func publishing(t *testing.T, status int, body string) (*google.Notifier, *[]string) {
	t.Helper()
	var requests []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ := io.ReadAll(r.Body)
		requests = append(requests, r.Method+" "+r.URL.Path+" "+string(got))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	config := plainConfig()
	config.Endpoint = server.URL
	notifier, err := google.NewNotifier(config, testTopics)
	if err != nil {
		t.Fatal(err)
	}
	return notifier, &requests
}

func TestNotifierSendsAttributesThatSubscriptionsFilterBy(t *testing.T) {
	notifier, requests := publishing(t, http.StatusOK, `{"messageIds":["1"]}`)
	err := notifier.Notify(t.Context(), alert.Alert{
		ID: "01J", Audience: alert.Owners, Severity: alert.Critical, Change: cmek.ChangeKeyPolicy, Summary: strings.Repeat("ü", 600),
	})
	if err != nil || len(*requests) != 1 {
		t.Fatalf("error %v after %d requests", err, len(*requests))
	}
	method, body, _ := strings.Cut((*requests)[0], " {")
	var sent struct {
		Messages []struct {
			Data       string
			Attributes map[string]string
		}
	}
	if err := json.Unmarshal([]byte("{"+body), &sent); err != nil || len(sent.Messages) != 1 || method != "POST /v1/projects/p/topics/owners:publish" {
		t.Fatalf("request is %.200s, error %v", (*requests)[0], err)
	}
	got := sent.Messages[0].Attributes
	if got["severity"] != "critical" || got["change"] != string(cmek.ChangeKeyPolicy) {
		t.Errorf("attributes are %q", got)
	}
	if n := len(got["subject"]); n > 1024 || n < 900 || strings.Contains(got["subject"], "\uFFFD") {
		t.Errorf("the subject has %d bytes: %q", n, got["subject"])
	}
	if data, err := base64.StdEncoding.DecodeString(sent.Messages[0].Data); err != nil || len(data) > alert.MostMessage {
		t.Errorf("the message has %d bytes, error %v", len(data), err)
	}
}

func TestNotifierLeavesOutAttributesWithoutAValue(t *testing.T) {
	notifier, requests := publishing(t, http.StatusOK, `{"messageIds":["1"]}`)
	if err := notifier.Notify(t.Context(), alert.Alert{ID: "01J", Summary: "s"}); err != nil {
		t.Fatal(err)
	}
	if got := (*requests)[0]; strings.Contains(got, `"change"`) || !strings.Contains(got, "topics/operations:publish") {
		t.Errorf("an alert without change and audience was sent as %.200s", got)
	}
}

func TestNotifierDoesNotBelieveAnAnswerThatIsNone(t *testing.T) {
	for name, row := range map[string]struct {
		status int
		body   string
		is     error
	}{
		"we may not":           {403, `{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}`, cmek.ErrDenied},
		"the token is refused": {401, `{"error":{"code":401,"message":"no","status":"UNAUTHENTICATED"}}`, cmek.ErrDenied},
		"no such topic":        {404, `{"error":{"code":404,"message":"no","status":"NOT_FOUND"}}`, cmek.ErrNotFound},
		"too large":            {400, `{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}`, nil},
		"an empty answer":      {200, ``, nil},
		"an answer of nothing": {200, `{}`, nil},
		"no message was taken": {200, `{"messageIds":[]}`, nil},
		"a message without ID": {200, `{"messageIds":[""]}`, nil},
		"two messages":         {200, `{"messageIds":["1","2"]}`, nil},
		"a proxy's page":       {200, `<html>ok</html>`, nil},
		"a proxy's refusal":    {403, `<html>no</html>`, nil},
		"a proxy's not found":  {404, `not found`, nil},
		"an error in disguise": {200, `{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED"}}`, nil},
		"a cut answer":         {200, `{"messageIds":["1"`, nil},
	} {
		notifier, _ := publishing(t, row.status, row.body)
		err := notifier.Notify(t.Context(), alert.Alert{ID: "01J", Summary: "s"})
		denied, missing := errors.Is(err, cmek.ErrDenied), errors.Is(err, cmek.ErrNotFound)
		switch {
		case err == nil:
			t.Errorf("%s: the alert passes for published", name)
		case denied != errors.Is(row.is, cmek.ErrDenied), missing != errors.Is(row.is, cmek.ErrNotFound):
			t.Errorf("%s: error is %v, want one that wraps %v", name, err, row.is)
		case !strings.Contains(err.Error(), "01J") || len(err.Error()) > 500:
			t.Errorf("%s: error %q does not name the alert, or is long", name, err)
		}
	}
}

func TestNotifierDoesNotWaitLongerThanTheClientsTimeout(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer server.Close()
	config := google.Config{HTTP: &http.Client{Timeout: 200 * time.Millisecond}, Endpoint: server.URL}
	notifier, err := google.NewNotifier(config, testTopics)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	err = notifier.Notify(t.Context(), alert.Alert{ID: "01J"})
	if took := time.Since(begin); err == nil || took > 5*time.Second {
		t.Errorf("a service that is always unavailable was given up after %s with error %v", took, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := notifier.Notify(ctx, alert.Alert{ID: "01J"}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a canceled context the error is %v", err)
	}
}

func TestNewNotifierNamesEveryTopicThatIsNone(t *testing.T) {
	for _, name := range []string{"", "topic", "projects/p/subscriptions/topic", "projects/p/topics/", "projects/p/topics/a/b", "projects/p;x/topics/abc",
		"projects//topics/abc", "projects/p/topics/$(rm)", "projects/p/topics/abc\n"} {
		_, err := google.NewNotifier(plainConfig(), google.Topics{Owners: name, Operations: name})
		if err == nil || !strings.Contains(err.Error(), "owners") || !strings.Contains(err.Error(), "operations") {
			t.Errorf("topic %q: error %v, want one about both audiences", name, err)
		}
	}
	for _, name := range []string{"projects/p/topics/abc", "projects/example.com:p-1/topics/keyturn.alerts_1"} {
		if err := google.CheckTopic(name); err != nil {
			t.Errorf("topic %q: %v", name, err)
		}
	}
}
