package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/simulator"
)

var serverLine = regexp.MustCompile(`(?m)^export COCKROACH_SERVER=(http://127\.0\.0\.1:\d+)$`)

func TestSimulateServesAWorldUntilItIsInterrupted(t *testing.T) {
	folder := t.TempDir()
	requestLog, eventLog := filepath.Join(folder, "requests.ndjson"), filepath.Join(folder, "events.ndjson")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out, errs buffer
	p := &program{Program: installation.Program{Terminal: terminal.Terminal{In: strings.NewReader(""), Out: &out, Err: &errs}}}
	ended := make(chan int)
	go func() {
		ended <- p.run(ctx, []string{"simulate", "--request-log", requestLog, "--events", eventLog, "--switch", "cmek-absent=404"})
	}()
	url := awaitServer(t, &out)
	wantText(t, "the guide", out.String(), "export COCKROACH_API_KEY="+simulator.SampleAPIKey, "export AWS_ENDPOINT_URL_KMS="+url,
		"AWS_REGION=us-east-1", "export KEYTURN_LEDGER='file:/", "keyturn follow --mode follow",
		"export KEYTURN_GOOGLE_ENDPOINT="+url+" ", "#   aws kms rotate-key-on-demand --key-id "+paymentsKey+"\n",
		"#   gcloud kms keys versions create --primary --key catalog --keyring crdb --location us-east1 --project acme-data\n")

	if status := get(t, url+"/api/v1/clusters/7c1d9e20-3a4b-4c5d-8e6f-000000000006/cmek"); status != http.StatusNotFound {
		t.Errorf("the CMEK of a cluster without one answers %d; the switch asked for 404", status)
	}
	response, err := http.Post(url+"/_simulator/rotate", "application/json", strings.NewReader(`{"key":"`+paymentsKey+`"}`))
	if err != nil || response.StatusCode != http.StatusNoContent {
		t.Fatalf("rotate answers %v, %v", response, err)
	}
	response.Body.Close()
	interrupt()
	if code := <-ended; code != exitFine {
		t.Errorf("simulate ended with %d, want 0: %s", code, errs.String())
	}

	requests, _ := os.ReadFile(requestLog)
	var first simulator.Request
	if err := json.Unmarshal([]byte(strings.SplitN(string(requests), "\n", 2)[0]), &first); err != nil || first.Status != http.StatusNotFound {
		t.Errorf("the first line of the request log is %+v, %v; want the request above:\n%s", first, err, requests)
	}
	if strings.Contains(string(requests), "CCDB1_") {
		t.Errorf("the request log holds the API key:\n%s", requests)
	}
	events, _ := os.ReadFile(eventLog)
	if !strings.Contains(string(events), "KMS CMK Rotation") {
		t.Errorf("the event log lacks the rotation:\n%s", events)
	}
}

func awaitServer(t *testing.T, out *buffer) string {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if found := serverLine.FindStringSubmatch(out.String()); found != nil {
			return found[1]
		}
	}
	t.Fatalf("simulate printed no address within 10 s:\n%s", out.String())
	return ""
}

func get(t *testing.T, url string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+simulator.SampleAPIKey)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func TestSimulateListensOnLoopbackOnlyAndNamesWrongSwitches(t *testing.T) {
	b := newBench(t)
	bad := filepath.Join(b.folder, "seed.yaml")
	if err := os.WriteFile(bad, []byte("clusters: []\nfleet: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		want []string
	}{
		{[]string{"--listen", "0.0.0.0:0"}, []string{"0.0.0.0:0", "loopback"}},
		{[]string{"--listen", ":8080"}, []string{":8080", "loopback"}},
		{[]string{"--listen", "nowhere"}, []string{"nowhere", "loopback"}},
		{[]string{"--switch", "busy-reply=404", "--switch", "busy"}, []string{"busy-reply", "404", "name=value"}},
		{[]string{"--seed", bad}, []string{"seed.yaml", "fleet"}},
	} {
		args := append([]string{"simulate"}, tc.args...)
		o := b.keyturn(t, args...)
		o.wantCode(t, exitUsage, args...)
		wantText(t, "the error", o.err, tc.want...)
	}
}

func TestSimulateListsItsSwitches(t *testing.T) {
	b := newBench(t)
	for _, args := range [][]string{{"simulate", "--list-switches"}, {"simulate", "--switch", "help"}} {
		wantText(t, "the list", b.succeed(t, args...), "busy-reply=503", "one of: 503, 409, 400", "rotation-duration=")
	}
	switches := decodeJSON[[]simulator.Switch](t, b.succeed(t, "simulate", "--list-switches", "-o", "json"))
	if len(switches) < 20 {
		t.Errorf("%d switches are listed, want all", len(switches))
	}
}

// With --functions a rotation is followed through and a key at risk is reported, while other commands use the same ledger.
func TestSimulateFunctions_followsAndAlerts(t *testing.T) {
	t.Chdir(t.TempDir())
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var out, errs buffer
	p := &program{Program: installation.Program{Terminal: terminal.Terminal{In: strings.NewReader(""), Out: &out, Err: &errs}}}
	ended := make(chan int)
	go func() { ended <- p.run(ctx, []string{"simulate", "--functions", "--rotation-time", "1s"}) }()
	url := awaitServer(t, &out)
	dir, err := filepath.Glob(filepath.Join(".keyturn", "simulate-*", "ledger.db"))
	if err != nil || len(dir) != 1 {
		t.Fatalf("the ledgers are %v, %v; want one", dir, err)
	}
	ledger, err := filepath.Abs(dir[0])
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{environ: []string{"COCKROACH_SERVER=" + url, "COCKROACH_API_KEY=" + simulator.SampleAPIKey, "KEYTURN_LEDGER=file:" + ledger}}
	await := func(what string, happened func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !happened(); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s did not happen within a minute:\n%s%s", what, out.String(), errs.String())
			}
		}
	}
	await("a sweep", func() bool { return strings.Contains(b.keyturn(t, "status").out, "complete") })
	post := func(path, body string) {
		t.Helper()
		response, err := http.Post(url+path, "application/json", strings.NewReader(body))
		if err != nil || response.StatusCode != http.StatusNoContent {
			t.Fatalf("%s answers %v, %v", path, response, err)
		}
		response.Body.Close()
	}
	const catalogKey = "projects/acme-data/locations/us-east1/keyRings/crdb/cryptoKeys/catalog"
	post("/_simulator/rotate", `{"key":"`+ordersKey+`"}`)
	post("/_simulator/rotate", `{"key":"`+catalogKey+`"}`)
	await("the re-encryption", func() bool { return strings.Contains(out.String(), "Cluster orders: the store key is re-encrypted") })
	await("the re-encryption on Google Cloud", func() bool {
		return strings.Contains(out.String(), "Cluster catalog: the store key is re-encrypted under primary:2")
	})
	for _, cluster := range []string{"orders", "catalog"} {
		wantText(t, "the status", b.keyturn(t, "status", cluster).out, "re-encrypted")
	}
	wantText(t, "the error", b.keyturn(t, "hold", "catalog", "--reason", "r").err, `"catalog" is a cluster and a key; say which: `, " or "+catalogKey)
	request, err := http.NewRequest(http.MethodPatch, url+"/v1/"+catalogKey+"/cryptoKeyVersions/2?updateMask=state", strings.NewReader(`{"state":"DISABLED"}`))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("disabling a version answers %v, %v", response, err)
	}
	response.Body.Close()
	await("the alert", func() bool {
		return strings.Contains(out.String(), "[CRITICAL] Version 2 of key catalog was disabled; needed by catalog")
	})
	wantText(t, "the alerts", b.keyturn(t, "alerts").out, "catalog", "critical")
	interrupt()
	if code := <-ended; code != exitFine || errs.String() != "" {
		t.Errorf("simulate ended with %d, and wrote %s", code, errs.String())
	}
}
