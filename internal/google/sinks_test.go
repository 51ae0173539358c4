package google_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

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

// Uses count as kept only if nothing leaves some out on the way to the bucket, and the bucket says for how long.
func TestUsesKept_isTheRetentionOfTheDefaultBucket(t *testing.T) {
	const bucket, to = `{"name":"x","retentionDays":30,"lifecycleState":"ACTIVE"}`, `"destination":"logging.googleapis.com/projects/p/locations/global/buckets/_Default"`
	for _, tt := range []struct {
		name, sink, bucket string
		want               time.Duration
		permission         string
	}{
		{"kept", `{` + to + `,"filter":"NOT LOG_ID(\"cloudaudit.googleapis.com/activity\")"}`, bucket, 30 * 24 * time.Hour, ""},
		{"a disabled sink", `{` + to + `,"disabled":true}`, bucket, 0, ""},
		{"an exclusion", `{` + to + `,"exclusions":[{"name":"x"}]}`, bucket, 0, ""},
		{"a filter about them", `{` + to + `,"filter":"NOT LOG_ID(\"cloudaudit.googleapis.com/data_access\")"}`, bucket, 0, ""},
		{"another bucket", `{"destination":"logging.googleapis.com/projects/p/locations/global/buckets/mine"}`, bucket, 0, ""},
		{"a bucket that says nothing", `{` + to + `}`, `{"lifecycleState":"ACTIVE"}`, 0, ""},
		{"a bucket that is to be deleted", `{` + to + `}`, `{"retentionDays":30,"lifecycleState":"DELETE_REQUESTED"}`, 0, ""},
		{"a sink that is denied", "", bucket, 0, "logging.sinks.get on projects/p/sinks/_Default"},
		{"a bucket that is denied", `{` + to + `}`, "", 0, "logging.buckets.get on projects/p/locations/global/buckets/_Default"},
	} {
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := map[string]string{"/v2/projects/p/sinks/_Default": tt.sink, "/v2/projects/p/locations/global/buckets/_Default": tt.bucket}[r.URL.Path]
			if body == "" {
				w.WriteHeader(http.StatusForbidden)
				body = `{"error":{"code":403,"status":"PERMISSION_DENIED","message":"no"}}`
			}
			fmt.Fprint(w, body)
		})
		sinks := google.NewSinks(google.Config{HTTP: &http.Client{Transport: inProcess{handler}}, Endpoint: "http://google.test"})
		got, err := sinks.UsesKept(t.Context(), "projects/p")
		var missing *cmek.PermissionError
		errors.As(err, &missing)
		if got != tt.want || (err == nil) != (tt.want > 0) || (missing != nil) != (tt.permission != "") || missing != nil && missing.Permission != tt.permission {
			t.Errorf("%s: %s, %v", tt.name, got, err)
		}
	}
}
