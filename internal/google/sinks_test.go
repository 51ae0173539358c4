package google_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/google"
)

// sinksAnswering are sinks whose service answers with the status and body.
func sinksAnswering(status int, body string) (sinks *google.Sinks, asked *string) {
	asked = new(string)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = r.Method + " " + r.URL.EscapedPath()
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})
	return google.NewSinks(google.Config{HTTP: &http.Client{Transport: inProcess{handler}}, Endpoint: "http://google.test"}), asked
}

func TestSink_isReadAsItIs(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       cmek.LogSink
	}{
		{"of a project", `{"name":"keyturn-alerting","destination":"pubsub.googleapis.com/projects/h/topics/t","filter":"a OR b","writerIdentity":"x"}`,
			cmek.LogSink{Destination: "pubsub.googleapis.com/projects/h/topics/t", Filter: "a OR b"}},
		{"disabled, of a folder, with exclusions", `{"destination":"d","filter":"f","disabled":true,"includeChildren":true,"exclusions":[{"name":"a","filter":"x"},{"name":"b","disabled":true},{"name":"c"}]}`,
			cmek.LogSink{Destination: "d", Filter: "f", Disabled: true, IncludeChildren: true, Exclusions: 2}},
	} {
		sinks, asked := sinksAnswering(200, tt.body)
		if got, err := sinks.Sink(t.Context(), "projects/example.com:p/sinks/keyturn-alerting"); err != nil || got != tt.want || *asked != "GET /v2/projects/example.com:p/sinks/keyturn-alerting" {
			t.Errorf("%s: %+v, %v, asked %s", tt.name, got, err, *asked)
		}
	}
}

func TestSubscription_isReadAsItIs(t *testing.T) {
	sinks, asked := sinksAnswering(200, `{"name":"projects/h/subscriptions/keyturn-alerting","topic":"projects/h/topics/t","pushConfig":{"pushEndpoint":"https://f"},"state":"ACTIVE","detached":false,"filter":"x"}`)
	want := cmek.PushSubscription{Topic: "projects/h/topics/t", Endpoint: "https://f", Filter: "x", State: "ACTIVE"}
	if got, err := sinks.Subscription(t.Context(), "projects/h/subscriptions/keyturn-alerting"); err != nil || got != want || *asked != "GET /v1/projects/h/subscriptions/keyturn-alerting" {
		t.Errorf("%+v, %v, asked %s", got, err, *asked)
	}
}

// A refusal names the permission; an answer without what every sink and subscription has is none.
func TestSink_thatCannotBeRead(t *testing.T) {
	refusal := func(code int) string { return fmt.Sprintf(`{"error":{"code":%d,"status":"X","message":"no"}}`, code) }
	for _, tt := range []struct {
		status int
		body   string
		is     error
		grants bool
	}{
		{403, refusal(403), cmek.ErrDenied, true},
		{404, refusal(404), cmek.ErrNotFound, false},
		{404, "<html>", nil, false},
		{200, `{}`, cmek.ErrIncomplete, false},
		{200, `<html>`, nil, false},
	} {
		sinks, _ := sinksAnswering(tt.status, tt.body)
		sink, err := sinks.Sink(t.Context(), "projects/p/sinks/s")
		subscription, err2 := sinks.Subscription(t.Context(), "projects/p/subscriptions/s")
		for permission, err := range map[string]error{"logging.sinks.get on projects/p/sinks/s": err, "pubsub.subscriptions.get on projects/p/subscriptions/s": err2} {
			var missing *cmek.PermissionError
			errors.As(err, &missing)
			if err == nil || tt.is != nil && !errors.Is(err, tt.is) || tt.is == nil && errors.Is(err, cmek.ErrNotFound) || (missing != nil) != tt.grants || missing != nil && missing.Permission != permission {
				t.Errorf("%d %s: %+v, %+v, %v", tt.status, tt.body, sink, subscription, err)
			}
		}
	}
}
