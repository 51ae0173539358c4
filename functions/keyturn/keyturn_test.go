package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/keyturn/keyturn/functions/keyturn/demo"
	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/simulator"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	paymentsKey = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001"
	ordersKey   = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f002"
)

// bench is a simulated world on a loopback address, and an environment that points at it.
type bench struct {
	*simulator.World
	url     string
	folder  string
	environ []string
	// dir is where a keyturn.yaml is searched for; "" for nowhere.
	dir string
}

// newBench is the simulator's sample company at a pace for tests. The settings are name=value of its switches.
func newBench(t *testing.T, switches ...string) *bench {
	t.Helper()
	return newBenchOf(t, simulator.DefaultSeed(), switches...)
}

// newBenchOf is a bench with another world than the sample company.
func newBenchOf(t *testing.T, seed simulator.Seed, switches ...string) *bench {
	t.Helper()
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append([]string{"rotation-duration=100ms", "kms-propagation=0s", "kms-rotation-time=0s", "rate-limit=1000"}, switches...) {
		name, value, _ := strings.Cut(s, "=")
		if err := world.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(world.Handler())
	t.Cleanup(server.Close)
	// The AWS SDK reads the process' own environment.
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_KMS": server.URL, "AWS_REGION": "us-east-1", "AWS_PROFILE": "",
		"AWS_ACCESS_KEY_ID": demo.SampleAccessKeyID, "AWS_SECRET_ACCESS_KEY": demo.SampleSecretAccessKey, "AWS_SESSION_TOKEN": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	folder := t.TempDir()
	return &bench{World: world, url: server.URL, folder: folder, environ: []string{
		"COCKROACH_SERVER=" + server.URL, "COCKROACH_API_KEY=" + simulator.SampleAPIKey,
		"KEYTURN_LEDGER=file:" + filepath.Join(folder, "ledger.db"),
		"KEYTURN_SETTLE=0s", "KEYTURN_CONFIRM=100ms", "KEYTURN_POLL=50ms", "KEYTURN_REQUEST_RATE=500",
	}}
}

// outcome is what a run of the command line left behind.
type outcome struct {
	code     int
	out, err string
}

// keyturn runs the command line.
func (b *bench) keyturn(t *testing.T, args ...string) outcome {
	t.Helper()
	o := b.keyturnWith(t.Context(), "", args...)
	checkJSON(t, args, o.out)
	return o
}

func (b *bench) keyturnWith(ctx context.Context, input string, args ...string) outcome {
	var out, errs buffer
	p := &program{Program: installation.Program{
		Terminal: terminal.Terminal{In: strings.NewReader(input), Out: &out, Err: &errs, Environ: append([]string(nil), b.environ...)}, Dir: b.dir,
	}}
	return outcome{p.run(ctx, args), out.String(), errs.String()}
}

// succeed runs the command line and fails the test unless it exits with 0.
func (b *bench) succeed(t *testing.T, args ...string) string {
	t.Helper()
	o := b.keyturn(t, args...)
	o.wantCode(t, exitFine, args...)
	return o.out
}

func (o outcome) wantCode(t *testing.T, code int, args ...string) {
	t.Helper()
	if o.code != code {
		t.Fatalf("keyturn %s exited with %d, want %d\nstdout:\n%s\nstderr:\n%s", strings.Join(args, " "), o.code, code, o.out, o.err)
	}
}

func wantText(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s lacks %q:\n%s", what, part, text)
		}
	}
}

// rotate gives keys new material and returns the events about it.
func (b *bench) rotate(t *testing.T, keys ...string) (events []string) {
	t.Helper()
	b.Events()
	for _, key := range keys {
		if err := b.Rotate(key); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range b.Events() {
		events = append(events, string(e.Payload))
	}
	return events
}

// swept makes a ledger that knows the fleet.
func (b *bench) swept(t *testing.T) *bench {
	t.Helper()
	b.succeed(t, "follow", "--mode", "follow")
	return b
}

func decodeJSON[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("decode output: %v\n%s", err, text)
	}
	return v
}

var times = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d:\d\d`)

// golden compares the text with a file of testdata. Times and the bench's own paths do not count.
func (b *bench) golden(t *testing.T, file, text string) {
	t.Helper()
	text = times.ReplaceAllString(text, "TIME")
	text = strings.NewReplacer(b.folder, "FOLDER", b.url, "URL").Replace(text)
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("the output differs from %s (-update rewrites it):\n%s", path, text)
	}
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
