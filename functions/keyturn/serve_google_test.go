package main

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/simulator"
)

// serving is the environment of the functions against a simulated world with the secrets that they need.
func serving(t *testing.T) []string {
	t.Helper()
	seed := simulator.DefaultSeed()
	seed.Google.Secrets = map[string]string{"projects/acme/secrets/api-key": simulator.SampleAPIKey, "projects/acme/secrets/slack": "http://127.0.0.1:1"}
	b := newBenchOf(t, seed)
	return []string{
		"COCKROACH_SERVER=" + b.url, "KEYTURN_GOOGLE_ENDPOINT=" + b.url, "KEYTURN_LEDGER=firestore://acme/" + fmt.Sprintf("serve-%d", time.Now().UnixNano()),
		"KEYTURN_ARCHIVE=gs://acme-evidence", "KEYTURN_ALERTS_TOPIC=projects/acme/topics/alerts", "KEYTURN_OPERATIONS_TOPIC=projects/acme/topics/operations",
		"KEYTURN_API_KEY_SECRET=projects/acme/secrets/api-key", "KEYTURN_CHANNEL=slack", "KEYTURN_CHANNEL_SECRET=projects/acme/secrets/slack",
		"KEYTURN_DECLARATIONS=gs://acme-source/declarations.json", "KEYTURN_LOG_LEVEL=ERROR",
	}
}

// served runs the command, and returns what makes a request to it, and what ends it and returns its exit code.
func served(t *testing.T, environ []string) (request func(method, path, body string) int, end func() int) {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	t.Cleanup(interrupt)
	var out, errs buffer
	p := &program{Program: installation.Program{Terminal: terminal.Terminal{In: strings.NewReader(""), Out: &out, Err: &errs, Environ: environ}}}
	ended := make(chan int, 1)
	go func() { ended <- p.run(ctx, []string{"serve", "--listen", "127.0.0.1:0"}) }()
	address := regexp.MustCompile(`(?m)^(http://127\.0\.0\.1:\d+)/Notify$`)
	for deadline := time.Now().Add(10 * time.Second); !address.MatchString(out.String()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it prints no address:\n%s%s", out.String(), errs.String())
		}
	}
	wantText(t, "what it prints", out.String(), "/Rotation\n", "/Alerting\n")
	url := address.FindStringSubmatch(out.String())[1]
	return func(method, path, body string) int {
			req, err := http.NewRequest(method, url+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-CloudScheduler", "true")
			req.Header.Set("X-CloudScheduler-ScheduleTime", "2026-03-01T12:00:00Z")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			return resp.StatusCode
		}, func() int {
			interrupt()
			return <-ended
		}
}

func TestServe_answersAsTheFunctionsDo(t *testing.T) {
	request, end := served(t, serving(t))
	const poison = `{"message":{"data":"eyJhIjo=","messageId":"m1"},"subscription":"s"}`
	for _, tc := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/Rotation", "", 405}, {"POST", "/Rotation", "hello", 400}, {"POST", "/Rotation", poison, 500},
		{"POST", "/Alerting", "hello", 400}, {"POST", "/Alerting", poison, 500},
		{"POST", "/Compliance", "hello", 400}, {"POST", "/Compliance", poison, 400}, // it takes no messages
		{"POST", "/Notify", `{"keyturn":"tick"}`, 400}, {"POST", "/Notify", poison, 500},
		{"POST", "/", `{"keyturn":"tick"}`, 404}, {"POST", "/rotation", `{"keyturn":"tick"}`, 404},
	} {
		if status := request(tc.method, tc.path, tc.body); status != tc.want {
			t.Errorf("%s %s of %s: %d, want %d", tc.method, tc.path, tc.body, status, tc.want)
		}
	}
	if code := end(); code != exitFine {
		t.Errorf("it ends with %d, want 0", code)
	}
}

func TestServe_ticksOverTheEmulators(t *testing.T) {
	t.Setenv("FIRESTORE_EMULATOR_HOST", cmektest.Firestore.At(t))
	defer cmektest.StopEmulators()
	request, end := served(t, serving(t))
	for _, path := range []string{"/Rotation", "/Alerting"} {
		if status := request("POST", path, `{"keyturn":"tick"}`); status != 204 {
			t.Errorf("a tick at %s is answered with %d, want 204", path, status)
		}
	}
	if code := end(); code != exitFine {
		t.Errorf("it ends with %d, want 0", code)
	}
}

func TestServe_refusals(t *testing.T) {
	complete := serving(t)
	for _, tc := range []struct {
		name    string
		environ []string
		args    []string
		want    []string
	}{
		{"nothing set", nil, nil, []string{"Rotation: KEYTURN_LEDGER is not set", "Rotation: KEYTURN_ARCHIVE is not set", "Alerting: KEYTURN_ALERTS_TOPIC is not set", "Notify: KEYTURN_CHANNEL is not set"}},
		{"a function that there is not", complete, []string{"compliance"}, []string{`there is no function "compliance"; want Rotation, Alerting, Notify, Compliance`}},
		{"one without its settings", nil, []string{"Compliance"}, []string{"Compliance: KEYTURN_DECLARATIONS is not set"}},
		{"an address of the network", complete, []string{"--listen", "0.0.0.0:0"}, []string{"0.0.0.0:0", "loopback addresses only"}},
		{"no address", complete, []string{"--listen", "here"}, []string{`--listen is "here"`}},
		{"an emulated ledger and a real fleet", append(complete, "FIRESTORE_EMULATOR_HOST=127.0.0.1:1", "COCKROACH_SERVER=https://cockroachlabs.cloud"), nil, []string{"FIRESTORE_EMULATOR_HOST is set"}},
		{"an emulated ledger and the default server", append(complete, "FIRESTORE_EMULATOR_HOST=127.0.0.1:1", "COCKROACH_SERVER="), nil, []string{"FIRESTORE_EMULATOR_HOST is set"}},
	} {
		var out, errs buffer
		p := &program{Program: installation.Program{Terminal: terminal.Terminal{In: strings.NewReader(""), Out: &out, Err: &errs, Environ: tc.environ}}}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if code := p.run(ctx, append([]string{"serve"}, tc.args...)); code != exitUsage || ctx.Err() != nil {
			t.Errorf("%s: it ends with %d, want %d", tc.name, code, exitUsage)
		}
		cancel()
		wantText(t, tc.name, errs.String(), tc.want...)
	}
}
