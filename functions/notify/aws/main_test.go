package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/channel"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/config/configtest"
)

func complete() map[string]string {
	return map[string]string{
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "sample", "AWS_SECRET_ACCESS_KEY": "sample",
		"KEYTURN_CHANNEL": "pagerduty", "KEYTURN_CHANNEL_SECRET": "keyturn/pagerduty",
	}
}

func wireWith(env map[string]string) (lambda.Handler, error) {
	var environ []string
	for name, value := range env {
		environ = append(environ, name+"="+value)
	}
	return wire(environ)
}

func TestACompleteConfigurationOfEachChannelIsAccepted(t *testing.T) {
	for _, more := range []map[string]string{
		{},
		{"KEYTURN_CHANNEL_URL": "https://events.eu.pagerduty.com/v2/enqueue", "KEYTURN_MIN_SEVERITY": "critical", "KEYTURN_LEDGER": "dynamodb://keyturn"},
		{"KEYTURN_CHANNEL": "slack", "KEYTURN_RUNBOOKS": "https://git.example.com/acme/keyturn/-/blob/v1"},
		{"KEYTURN_CHANNEL": "webhook", "KEYTURN_CHANNEL_URL": "https://alerts.example.com/keyturn", "KEYTURN_ALLOW_PRIVATE": "true"},
		{"KEYTURN_CHANNEL": "webhook", "KEYTURN_CHANNEL_URL": "http://127.0.0.1:8080/", "KEYTURN_ALLOW_LOOPBACK": "true"},
	} {
		env := complete()
		maps.Copy(env, more)
		if _, err := wireWith(env); err != nil {
			t.Errorf("with %v: %v", more, err)
		}
	}
}

func TestAnEmptyConfigurationNamesEveryMissingVariable(t *testing.T) {
	_, err := wireWith(nil)
	for name := range complete() {
		if err == nil || !strings.Contains(err.Error(), name+" is not set") {
			t.Errorf("the error does not say that %s is not set:\n%v", name, err)
		}
	}
}

func TestEveryWrongValueIsNamedWithWhatItShouldBeAndNoURLIsQuoted(t *testing.T) {
	for _, tc := range []struct {
		set  map[string]string
		want string
	}{
		{map[string]string{"KEYTURN_CHANNEL": "pager"}, `KEYTURN_CHANNEL: "pager" is none of slack, pagerduty and webhook`},
		{map[string]string{"KEYTURN_CHANNEL": "webhook"}, "KEYTURN_CHANNEL_URL is not set; want the URL of the webhook"},
		{map[string]string{"KEYTURN_CHANNEL": "slack", "KEYTURN_CHANNEL_URL": "https://hooks.slack.com/s3cret"}, "KEYTURN_CHANNEL_URL is set; want none for slack"},
		{map[string]string{"KEYTURN_CHANNEL_URL": "http://s3cret.example.com"}, "KEYTURN_CHANNEL_URL: it is plain http, want https"},
		{map[string]string{"KEYTURN_CHANNEL_URL": "http://127.0.0.1/s3cret"}, "KEYTURN_CHANNEL_URL is plain http; want https"},
		{map[string]string{"KEYTURN_CHANNEL_URL": "https://ana:s3cret@example.com"}, "KEYTURN_CHANNEL_URL: it has a user name or password in it"},
		{map[string]string{"KEYTURN_CHANNEL_URL": "s3cret"}, "KEYTURN_CHANNEL_URL: it is not of the form https://HOST/PATH"},
		{map[string]string{"KEYTURN_CHANNEL_URL": "https://s3cret\x7f"}, "KEYTURN_CHANNEL_URL: it is not a URL"},
		{map[string]string{"KEYTURN_LEDGER": "s3://keyturn"}, "KEYTURN_LEDGER is s3://keyturn; want dynamodb://TABLE"},
		{map[string]string{"KEYTURN_MIN_SEVERITY": "urgent"}, `KEYTURN_MIN_SEVERITY is "urgent"; want critical, high`},
		{map[string]string{"KEYTURN_RUNBOOKS": "wiki"}, `KEYTURN_RUNBOOKS is "wiki"; want an https URL`},
		{map[string]string{"KEYTURN_ALLOW_PRIVATE": "maybe"}, `KEYTURN_ALLOW_PRIVATE is "maybe"; want true or false`},
		{map[string]string{"KEYTURN_ALLOW_LOOPBACK": "maybe"}, `KEYTURN_ALLOW_LOOPBACK is "maybe"; want true or false`},
	} {
		env := complete()
		maps.Copy(env, tc.set)
		_, err := wireWith(env)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v: error\n%v\nwant it to say %q, and no URL", tc.set, err, tc.want)
		}
	}
}

// secrets is Secrets Manager's GetSecretValue with these values.
func secrets(t *testing.T, values map[string]string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var input struct {
			SecretID string `json:"SecretId"`
		}
		if err := json.NewDecoder(r.Body).Decode(&input); err != nil || r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" {
			t.Errorf("unexpected call %s: %v", r.Header.Get("X-Amz-Target"), err)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if err := json.NewEncoder(w).Encode(map[string]string{"Name": input.SecretID, "SecretString": values[input.SecretID]}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

const signingKey = "3f9d7c0a5b1e4c8d9a6f2b7e0c4d8a1f"

// Three functions, each behind its own queue, which hands over a message until it is done with, at most three times.
func TestOneDeadChannelNeitherStopsNorRepeatsTheOthers(t *testing.T) {
	got := map[string]int{}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got[r.URL.Path]++
		switch r.URL.Path {
		case "/slack":
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, "no_service")
		case "/pagerduty":
			w.WriteHeader(http.StatusAccepted)
		case "/webhook":
			if err := channel.Verify(signingKey, r.Header, body, time.Now()); err != nil {
				t.Errorf("the webhook's request: %v", err)
			}
		}
	}))
	defer receiver.Close()
	manager := secrets(t, map[string]string{"slack": receiver.URL + "/slack", "pagerduty": strings.Repeat("0", 32), "webhook": signingKey})

	a := alert.Alert{ID: "a", DedupKey: "d", Severity: alert.Critical, Change: cmek.ChangeKeyDisabled, Summary: "s"}
	delivered := map[string]bool{}
	for _, kind := range []notify.Kind{notify.Slack, notify.PagerDuty, notify.Webhook} {
		env := complete()
		maps.Copy(env, map[string]string{
			"AWS_ENDPOINT_URL_SECRETS_MANAGER": manager, "KEYTURN_ALLOW_LOOPBACK": "true",
			"KEYTURN_CHANNEL": string(kind), "KEYTURN_CHANNEL_SECRET": string(kind), "KEYTURN_CHANNEL_URL": receiver.URL + "/" + string(kind),
		})
		if kind == notify.Slack {
			delete(env, "KEYTURN_CHANNEL_URL")
		}
		handler, err := wireWith(env)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		for range 3 {
			answer, err := handler.Invoke(t.Context(), batch(t, a))
			if delivered[string(kind)] = err == nil && string(answer) == `{"batchItemFailures":[]}`; delivered[string(kind)] {
				break
			}
			if err == nil {
				t.Errorf("%s: nothing was delivered, and the invocation succeeded with %s", kind, answer)
			}
		}
	}
	if want := (map[string]bool{"slack": false, "pagerduty": true, "webhook": true}); !reflect.DeepEqual(delivered, want) {
		t.Errorf("delivered: %v, want %v", delivered, want)
	}
	if want := (map[string]int{"/slack": 3, "/pagerduty": 1, "/webhook": 1}); !reflect.DeepEqual(got, want) {
		t.Errorf("requests: %v, want %v", got, want)
	}
}

// batch is the alert as it arrives from the topic by a queue.
func batch(t *testing.T, a alert.Alert) []byte {
	t.Helper()
	data, err := a.JSON()
	if err != nil {
		t.Fatal(err)
	}
	notification, err := json.Marshal(map[string]string{"Type": "Notification", "Message": a.Text() + "\n" + string(data)})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(lambdaevents.SQSEvent{Records: []lambdaevents.SQSMessage{{MessageId: "m", EventSource: "aws:sqs", Body: string(notification)}}})
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func TestTheReadmeListsEveryVariableWithItsDefault(t *testing.T) {
	defaults := settings{Notify: notify.DefaultSettings()}
	rows := configtest.Defaults(t, "../README.md", defaults)
	for name, want := range map[string]string{
		"KEYTURN_ALLOW_PRIVATE":  fmt.Sprint(defaults.Notify.AllowPrivate),
		"KEYTURN_ALLOW_LOOPBACK": fmt.Sprint(defaults.Notify.AllowLoopback), "KEYTURN_LOG_LEVEL": defaults.LogLevel.String(),
	} {
		if rows[name] != want {
			t.Errorf("README.md gives the default of %s as %q, want %s", name, rows[name], want)
		}
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for kind, least := range map[notify.Kind]alert.Severity{notify.Slack: "medium", notify.PagerDuty: "high", notify.Webhook: "info"} {
		if got := (notify.Settings{Kind: kind}).LeastSeverity(); got != least || !strings.Contains(string(readme), fmt.Sprintf("`%s` for %s", least, kind)) {
			t.Errorf("the least severity of %s is %s, want %s and README.md to say so", kind, got, least)
		}
	}
}
