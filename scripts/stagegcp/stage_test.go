package main

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/report"
	"github.com/keyturn/keyturn/internal/simulator"
	"github.com/keyturn/keyturn/scripts/buildpack"
)

func TestMain(m *testing.M) {
	code := m.Run()
	cmektest.StopEmulators()
	os.Exit(code)
}

func TestOnlyUsed_leavesOutModulesWithoutPackagesAndReplacements(t *testing.T) {
	text, used := onlyUsed(`# a.example/used v1.0.0
## explicit; go 1.26
a.example/used
a.example/used/inner
# b.example/unused v1.1.0
## explicit
# github.com/keyturn/keyturn v0.0.0 => /somewhere/keyturn
## explicit; go 1.26
github.com/keyturn/keyturn/events
# c.example/unused v1.1.0
## explicit
# github.com/keyturn/keyturn => /somewhere/keyturn
`)
	const want = `# a.example/used v1.0.0
## explicit; go 1.26
a.example/used
a.example/used/inner
# github.com/keyturn/keyturn v0.0.0
## explicit; go 1.26
github.com/keyturn/keyturn/events
`
	if text != want || len(used) != 2 || !used["a.example/used"] || !used[keyturn] {
		t.Errorf("left are %v:\n%s", used, text)
	}
}

// The staged archives, and the binaries that the buildpack makes of them.
func staged(t *testing.T) (binaries map[string]string) {
	t.Helper()
	first, second := t.TempDir(), t.TempDir()
	t.Chdir("../..")
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{first, second} {
		if err := stageAll("v1.2.3", folder); err != nil {
			t.Fatal(err)
		}
	}
	binaries = map[string]string{}
	for _, function := range []string{"rotation", "alerting", "notify", "compliance"} {
		archive := filepath.Join(first, function+".zip")
		data, err := os.ReadFile(archive)
		if err != nil {
			t.Fatal(err)
		}
		again, err := os.ReadFile(filepath.Join(second, function+".zip"))
		if err != nil || !bytes.Equal(data, again) {
			t.Errorf("%s: a second archive has other bytes (%v)", function, err)
		}
		holdsNothingElse(t, archive, root)
		binary := filepath.Join(t.TempDir(), function)
		if err := buildpack.Build(t.Context(), archive, filepath.Join(t.TempDir(), "source"), binary); err != nil {
			t.Fatalf("build %s: %v", function, err)
		}
		info, err := os.Stat(binary)
		if err != nil || info.Size() > 32e6 {
			t.Errorf("%s has %d bytes (%v), want at most 32 MB", function, info.Size(), err)
		}
		binaries[function] = binary
	}
	return binaries
}

// holdsNothingElse checks the archive for tests and for what only this machine has.
func holdsNothingElse(t *testing.T, archive, root string) {
	t.Helper()
	r, err := zip.OpenReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	last := ""
	for _, f := range r.File {
		if strings.HasSuffix(f.Name, "_test.go") || strings.Contains(f.Name, "testdata/") || f.Name <= last && !strings.Contains(f.Name, "/") {
			t.Errorf("%s holds %s after %s", archive, f.Name, last)
		}
		last = f.Name
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil || bytes.Contains(data, []byte(root)) || bytes.Contains(data, []byte(os.TempDir()+"/stagegcp")) {
			t.Errorf("%s names a folder of this machine (%v)", f.Name, err)
		}
	}
}

// fleet is a cluster with its key on Google Cloud, and the secrets of the functions. Everything in it is a sample.
const fleet = `
organization: {id: 3b1f7a52-6d0c-4e8b-9f21-5c7a90d4e613, label: crl-x, name: X, age_days: 900}
api_keys:
  - {secret: CCDB1_SAMPLEsampleSAMPLEsamp_SAMPLEsampleSAMPLEsampleSAMPLEsampleSAMP, service_account: keyturn, roles: [CLUSTER_OPERATOR_WRITER]}
keys:
  - {uri: "projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/pay", age_days: 300}
clusters:
  - id: 7c1d9e20-3a4b-4c5d-8e6f-000000000002
    name: payments
    cloud_provider: GCP
    account_id: "crl-prod-abc"
    age_days: 300
    regions: [{name: us-east1, key: "projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/pay", auth_principal: "cmek@acme.iam.gserviceaccount.com"}]
switches: {rotation-duration: 1s}
`

const key = "projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/pay"

// stand is one machine's Google Cloud: simulator, emulators, the functions, and a server as Slack.
type stand struct {
	t         *testing.T
	world     *simulator.World
	simulator string
	pubsub    string
	functions map[string]*process
	handled   int

	mu    sync.Mutex
	slack []string
}

type process struct {
	url string
	log lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newStand(t *testing.T, binaries map[string]string) *stand {
	t.Helper()
	s := &stand{t: t, functions: map[string]*process{}}
	slack := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.slack = append(s.slack, string(body))
		s.mu.Unlock()
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(slack.Close)
	seed, err := simulator.LoadSeed([]byte(fleet))
	if err != nil {
		t.Fatal(err)
	}
	seed.Google.Secrets = map[string]string{"projects/acme/secrets/api-key": seed.APIKeys[0].Secret, "projects/acme/secrets/slack": slack.URL}
	if s.world, err = simulator.New(seed); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.world.Handler())
	t.Cleanup(server.Close)
	s.simulator, s.pubsub = server.URL, "http://"+cmektest.PubSub.At(t)
	for _, topic := range []string{"alerts", "operations"} {
		s.call(http.MethodPut, s.pubsub+"/v1/projects/acme/topics/"+topic, `{}`)
		s.call(http.MethodPut, s.pubsub+"/v1/projects/acme/subscriptions/"+topic, `{"topic":"projects/acme/topics/`+topic+`"}`)
	}
	firestore, database := cmektest.Firestore.At(t), fmt.Sprintf("e2e-%d", time.Now().UnixNano())
	// Cloud Run may run several instances of each.
	for instance, function := range map[string]string{"rotation": "rotation", "rotation too": "rotation", "alerting": "alerting", "notify": "notify", "compliance": "compliance", "compliance too": "compliance"} {
		s.functions[instance] = s.start(function, binaries[function], append([]string{
			"FIRESTORE_EMULATOR_HOST=" + firestore, "PUBSUB_EMULATOR_HOST=" + strings.TrimPrefix(s.pubsub, "http://"),
			"KEYTURN_GOOGLE_ENDPOINT=" + s.simulator, "COCKROACH_SERVER=" + s.simulator,
			"KEYTURN_LEDGER=firestore://acme/" + database, "KEYTURN_ARCHIVE=gs://acme-evidence/e2e",
			"KEYTURN_ALERTS_TOPIC=projects/acme/topics/alerts", "KEYTURN_OPERATIONS_TOPIC=projects/acme/topics/operations",
			"KEYTURN_API_KEY_SECRET=projects/acme/secrets/api-key",
			"KEYTURN_MODE=follow", "KEYTURN_SETTLE=0s", "KEYTURN_CONFIRM=1s", "KEYTURN_POLL=1s",
			"KEYTURN_DECLARATIONS=gs://acme-source/declarations.json", "KEYTURN_COMPLIANCE_AT=0h",
			"KEYTURN_CHANNEL=slack", "KEYTURN_CHANNEL_SECRET=projects/acme/secrets/slack", "KEYTURN_ALLOW_LOOPBACK=true",
		}, "K_SERVICE="+function))
	}
	return s
}

// start runs a function until it answers.
func (s *stand) start(function, binary string, environment []string) *process {
	s.t.Helper()
	p := &process{}
	running, err := buildpack.Start(s.t.Context(), binary, function, environment, &p.log)
	if err != nil {
		s.t.Fatalf("%v:\n%s", err, p.log.String())
	}
	p.url = running.URL
	s.t.Cleanup(func() {
		running.Kill()
		<-running.Ended
		if s.t.Failed() {
			s.t.Logf("the log of %s:\n%s", function, p.log.String())
		}
	})
	return p
}

// call makes a request, and returns the answer to one that succeeds.
func (s *stand) call(method, url, body string) []byte {
	s.t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 && resp.StatusCode != http.StatusConflict {
		s.t.Fatalf("%s %s: %s %s (%v)", method, url, resp.Status, answer, err)
	}
	return answer
}

// post posts a body to a function, and returns the status.
func (s *stand) post(function, body string, header ...string) int {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.functions[function].url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Error(err)
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func (s *stand) tick(function string) int {
	s.t.Helper()
	return s.post(function, `{"keyturn":"tick"}`, "X-CloudScheduler", "true", "X-CloudScheduler-ScheduleTime", time.Now().UTC().Format(time.RFC3339))
}

// atOnce makes the same call of several instances several times at once, and wants 204 from each.
func (s *stand) atOnce(what string, instances []string, call func(instance string) int) {
	s.t.Helper()
	var group sync.WaitGroup
	for _, instance := range instances {
		for range 3 {
			group.Go(func() {
				if status := call(instance); status != http.StatusNoContent {
					s.t.Errorf("%s answers %s with %d, want 204", instance, what, status)
				}
			})
		}
	}
	group.Wait()
}

// deliver pushes what the simulator's log sinks sent, and returns how many entries that were.
func (s *stand) deliver() (entries int) {
	s.t.Helper()
	for _, e := range s.world.EventsAfter(s.handled) {
		s.handled = e.Seq
		entries++
		s.atOnce("an entry", []string{"rotation", "rotation too", "alerting"}, func(instance string) int { return s.post(instance, string(e.Payload)) })
	}
	return entries
}

// ticks lets both instances of rotation tick, several times at once.
func (s *stand) ticks() {
	s.t.Helper()
	s.atOnce("a tick", []string{"rotation", "rotation too"}, s.tick)
}

// alerts pulls what was published to the topic, as pushes.
func (s *stand) alerts(topic string) (pushes []string) {
	s.t.Helper()
	var pulled struct {
		Received []struct {
			AckID   string          `json:"ackId"`
			Message json.RawMessage `json:"message"`
		} `json:"receivedMessages"`
	}
	subscription := "projects/acme/subscriptions/" + topic
	if err := json.Unmarshal(s.call(http.MethodPost, s.pubsub+"/v1/"+subscription+":pull", `{"maxMessages":100,"returnImmediately":true}`), &pulled); err != nil {
		s.t.Fatal(err)
	}
	for _, r := range pulled.Received {
		s.call(http.MethodPost, s.pubsub+"/v1/"+subscription+":acknowledge", fmt.Sprintf(`{"ackIds":[%q]}`, r.AckID))
		pushes = append(pushes, fmt.Sprintf(`{"message":%s,"subscription":%q,"deliveryAttempt":1}`, r.Message, subscription))
	}
	return pushes
}

// until repeats until it is so, for a minute.
func (s *stand) until(what string, so func() bool) {
	s.t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(300 * time.Millisecond) {
		if so() {
			return
		}
	}
	s.t.Fatalf("not within a minute: %s", what)
}

func TestStagedFunctions(t *testing.T) {
	if os.Getenv("KEYTURN_E2E") != "1" {
		t.Skip("builds four programs from scratch and starts emulators: set KEYTURN_E2E=1, or run make e2e")
	}
	binaries := staged(t)
	t.Run("with a wrong configuration", func(t *testing.T) { doNotServe(t, binaries) })
	t.Run("get real events", func(t *testing.T) { handleEvents(t, newStand(t, binaries)) })
}

func handleEvents(t *testing.T, s *stand) {

	poison := base64.StdEncoding.EncodeToString([]byte(`{"hunter2":`))
	for function, p := range s.functions {
		if strings.HasPrefix(function, "compliance") { // which takes no messages
			if status := s.post(function, `{"message":{"data":"`+poison+`","messageId":"p1"},"subscription":"s"}`); status != http.StatusBadRequest {
				t.Errorf("%s answers a message with %d, want 400", function, status)
			}
			continue
		}
		if status := s.post(function, `{"message":{"data":"`+poison+`","messageId":"p1","attributes":{"logging.googleapis.com/timestamp":"x"}},"subscription":"s"}`); status != http.StatusInternalServerError {
			t.Errorf("%s answers a message that cannot be read with %d, want 500", function, status)
		}
		s.until(function+" logs the message", func() bool { return strings.Contains(p.log.String(), "message cannot be understood") })
		if strings.Contains(p.log.String(), "hunter2") {
			t.Errorf("%s logs a payload:\n%s", function, p.log.String())
		}
		if status := s.post(function, "hello"); status != http.StatusBadRequest {
			t.Errorf("%s answers what is no push with %d, want 400", function, status)
		}
	}

	for _, function := range []string{"rotation", "alerting"} {
		if status := s.tick(function); status != http.StatusNoContent {
			t.Errorf("%s answers a tick with %d, want 204", function, status)
		}
	}
	if status := s.tick("notify"); status != http.StatusBadRequest {
		t.Errorf("notify answers a tick with %d, want 400", status)
	}
	if n := len(s.world.PUTs()); n != 0 {
		t.Errorf("%d PUTs before any rotation", n)
	}

	if err := s.world.Rotate(key); err != nil {
		t.Fatal(err)
	}
	if s.deliver() == 0 {
		t.Error("the rotation left no entry")
	}
	s.until("the store key is encrypted under the new version", func() bool {
		s.ticks()
		return len(s.world.PUTs()) > 0
	})
	for began := time.Now(); time.Since(began) < 5*time.Second; time.Sleep(time.Second) { // the operation ends meanwhile
		s.ticks()
	}

	s.call(http.MethodPatch, s.simulator+"/v1/"+key+"/cryptoKeyVersions/1?updateMask=state", `{"state":"DISABLED"}`)
	if s.deliver() == 0 {
		t.Error("the change left no entry")
	}
	s.until("Slack gets the alert", func() bool {
		for _, push := range s.alerts("alerts") {
			if status := s.post("notify", push); status != http.StatusNoContent {
				t.Errorf("notify answers an alert with %d, want 204", status)
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return strings.Contains(strings.Join(s.slack, "\n"), "payments")
	})
	if puts := s.world.PUTs(); len(puts) != 1 {
		t.Errorf("the rotation led to the PUTs %v, want one", puts)
	}
	runChecks(t, s)
}

// runChecks lets both instances of compliance tick at once: they leave one run, with the page that the function itself makes.
func runChecks(t *testing.T, s *stand) {
	source, err := google.NewArchive(google.Config{HTTP: &http.Client{Timeout: 10 * time.Second}, Endpoint: s.simulator}, "acme-source", "")
	if err == nil {
		err = source.PutIfAbsent(t.Context(), "declarations.json", []byte("{}"))
	}
	if err != nil {
		t.Fatal(err)
	}
	s.atOnce("a tick", []string{"compliance", "compliance too"}, s.tick)
	files := map[string]int{}
	for object := range s.world.Objects() {
		if name, isRun := strings.CutPrefix(object, "acme-evidence/e2e/"+report.RunsFolder); isRun {
			files[name[strings.LastIndex(name, "/")+1:]]++
		}
	}
	for _, name := range []string{"population.json", "part-0001.jsonl", "part-0001.csv", "report.html", "manifest.json"} {
		if files[name] != 1 {
			t.Errorf("the archive has %d files %s of runs, want 1: %v", files[name], name, files)
		}
	}
	if n := len(s.alerts("operations")) + len(s.alerts("alerts")); n == 0 {
		t.Error("nobody was notified of the run")
	}
}

// doNotServe: every problem is said, and the process ends.
func doNotServe(t *testing.T, binaries map[string]string) {
	for function, binary := range binaries {
		cmd := exec.CommandContext(t.Context(), binary)
		cmd.Env = []string{"FUNCTION_TARGET=" + strings.ToUpper(function[:1]) + function[1:], "PORT=1", "KEYTURN_TIMEOUT=soon"}
		out, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), function+" cannot start") ||
			!strings.Contains(string(out), "KEYTURN_TIMEOUT") || strings.Count(string(out), "is not set") < 2 {
			t.Errorf("%s ends with %v and says\n%s", function, err, out)
		}
	}
}
