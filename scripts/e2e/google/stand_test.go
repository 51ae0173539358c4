package google

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/simulator"
	"github.com/keyturn/keyturn/internal/simulator/language"
)

// stand is a deployment of its own, in a project of its own, before a world of its own.
type stand struct {
	t         *testing.T
	project   string
	world     *simulator.World
	simulator string
	// functions is where "keyturn serve" answers, or what stands before the binaries.
	functions string
	binaries  map[string]string
	// filters are those of the sinks, by function; tick is the request of Cloud Scheduler.
	filters map[string]string
	tick    map[string]any
	// published is what the deployment says of itself.
	published []byte
	// compliance is the environment of the compliance function, and declared what is declared for its checks, by the name of the object.
	// machine is what makes a deployment one on this machine.
	compliance, machine map[string]string
	declaredIn          string
	declared            []byte
	log                 buffer
	handled             int
	// sent are what the sinks published last.
	sent []func()

	mu    sync.Mutex
	slack []string
}

// buffer is a log that is written while it is read.
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

// The fleet: two clusters that share a key of a watched project, and one with a key of its own. Everything in it is a sample.
const (
	sharedKey = "projects/acme-keys/locations/us-east1/keyRings/crdb/cryptoKeys/shared"
	ownKey    = "projects/acme-keys/locations/us-east1/keyRings/crdb/cryptoKeys/ledger"
)

// clusters are the clusters' ids by their names.
var clusters = map[string]string{
	"payments": "7c1d9e20-3a4b-4c5d-8e6f-000000000001", "checkout": "7c1d9e20-3a4b-4c5d-8e6f-000000000002", "books": "7c1d9e20-3a4b-4c5d-8e6f-000000000003",
}

const fleet = `
organization: {id: 3b1f7a52-6d0c-4e8b-9f21-5c7a90d4e613, label: crl-x, name: X, age_days: 900}
api_keys:
  - {secret: CCDB1_SAMPLEsampleSAMPLEsamp_SAMPLEsampleSAMPLEsampleSAMPLEsampleSAMP, service_account: keyturn, roles: [CLUSTER_OPERATOR_WRITER]}
keys:
  - {uri: "` + sharedKey + `", age_days: 300}
  - {uri: "` + ownKey + `", age_days: 300}
clusters:
  - {id: 7c1d9e20-3a4b-4c5d-8e6f-000000000001, name: payments, cloud_provider: GCP, account_id: crl-prod-abc, age_days: 300,
     regions: [{name: us-east1, key: "` + sharedKey + `", auth_principal: "cmek@acme-keys.iam.gserviceaccount.com"}]}
  - {id: 7c1d9e20-3a4b-4c5d-8e6f-000000000002, name: checkout, cloud_provider: GCP, account_id: crl-prod-abc, age_days: 300,
     regions: [{name: us-east1, key: "` + sharedKey + `", auth_principal: "cmek@acme-keys.iam.gserviceaccount.com"}]}
  - {id: 7c1d9e20-3a4b-4c5d-8e6f-000000000003, name: books, cloud_provider: GCP, account_id: crl-prod-abc, age_days: 300,
     regions: [{name: us-east1, key: "` + ownKey + `", auth_principal: "cmek@acme-keys.iam.gserviceaccount.com"}]}
switches: {rotation-duration: 1s, google-propagation: 0s}
`

// declarationsFile is what is declared for the compliance checks.
const declarationsFile = moduleFolder + "/tests/declarations.yaml"

// Alerting is as quick as it can be. healthyFor is how long a key must be healthy before its incident is resolved.
const healthyFor = time.Second

// newStand deploys into the project. What is set besides what the module sets makes the deployment quick, and points it at this machine.
func newStand(t *testing.T, project string, more ...string) *stand {
	t.Helper()
	return newStandOf(t, project, nil, more...)
}

// newStandOf is newStand with the functions that were built of the staged archives, by their names; none: those of "keyturn serve".
func newStandOf(t *testing.T, project string, binaries map[string]string, more ...string) *stand {
	t.Helper()
	enabled(t)
	s := &stand{t: t, project: project}
	slack := httptest.NewServer(http.HandlerFunc(s.serveSlack))
	t.Cleanup(slack.Close)
	seed, err := simulator.LoadSeed([]byte(fleet))
	if err != nil {
		t.Fatal(err)
	}
	secrets := "projects/" + project + "/secrets/" + name
	seed.Google.Secrets = map[string]string{secrets + "-api-key": seed.APIKeys[0].Secret, secrets + "-compliance-api-key": seed.APIKeys[0].Secret, secrets + "-notify-slack": slack.URL}
	if s.world, err = simulator.New(seed); err != nil {
		t.Fatal(err)
	}
	world := httptest.NewServer(s.world.Handler())
	t.Cleanup(world.Close)
	s.simulator = world.URL
	environment := s.readModule()
	s.machine = map[string]string{
		"FIRESTORE_EMULATOR_HOST": cmektest.Firestore.At(t), "PUBSUB_EMULATOR_HOST": cmektest.PubSub.At(t),
		"KEYTURN_GOOGLE_ENDPOINT": s.simulator, "COCKROACH_SERVER": s.simulator, "KEYTURN_ALLOW_LOOPBACK": "true",
		"KEYTURN_SETTLE": "0s", "KEYTURN_CONFIRM": "1s", "KEYTURN_POLL": "500ms",
		"KEYTURN_RECHECK_EVERY": "300ms", "KEYTURN_REVIEW_AFTER": "1s", "KEYTURN_HEALTHY_FOR": healthyFor.String(),
	}
	for _, setting := range more {
		variable, value, _ := strings.Cut(setting, "=")
		s.machine[variable] = value
	}
	maps.Copy(environment, s.machine)
	if s.binaries = binaries; len(binaries) > 0 {
		s.functions = s.runStaged(environment)
	} else {
		s.functions = s.serve(environment)
	}
	deploy(t, project, s.functions)
	s.forget()
	return s
}

// forget keeps the entries of what has happened from the sinks.
func (s *stand) forget() {
	for _, e := range s.world.EventsAfter(s.handled) {
		s.handled = e.Seq
	}
}

// readModule reads the sinks' filters and Cloud Scheduler's request out of the module, and returns the environment of its functions, which
// "keyturn serve" runs in one process.
func (s *stand) readModule() map[string]string {
	s.t.Helper()
	null := cty.NullVal(cty.String)
	m := readModule(s.t, moduleFolder, map[string]cty.Value{
		"project": cty.StringVal(s.project), "name": cty.StringVal(name), "mode": cty.StringVal("follow"), "archive_bucket": null, "api_key_secret": null,
		"compliance_api_key_secret": null, "declarations": cty.StringVal(declarationsFile),
		"heartbeats": cty.MapValEmpty(cty.String), "data_access": cty.False, "runbooks": null, "cockroach_server": cty.StringVal(s.simulator),
		"release": cty.StringVal("v1.2.3"), "region": cty.StringVal("us-east1"), "settings": cty.MapValEmpty(cty.String),
		"watched_projects":          cty.SetVal([]cty.Value{cty.StringVal("acme-keys")}),
		"cockroach_organization_id": cty.StringVal("3b1f7a52-6d0c-4e8b-9f21-5c7a90d4e613"),
		"channels": cty.ObjectVal(map[string]cty.Value{"slack": cty.ObjectVal(map[string]cty.Value{
			"kind": cty.StringVal("slack"), "secret": null, "url": null, "min_severity": null, "allow_private": cty.False,
		})}),
	})
	m.found["own_resources"] = cty.ListVal([]cty.Value{cty.StringVal(name + "-rotation"), cty.StringVal(name)}) // the rest of it are resources
	s.filters = texts(m.local("filters"))
	m.ids["module.pubsub"] = map[string]cty.Value{"pushes": pubsubModule(s.t, s.project, s.functions).local("pushes")}
	published, err := ctyjson.Marshal(m.local("published"), m.local("published").Type())
	if err != nil {
		s.t.Fatal(err)
	}
	s.published = published
	for _, b := range m.blocks["google_cloud_scheduler_job.tick"].Body.Blocks {
		if b.Type == "http_target" {
			s.tick = m.message(&hclsyntax.Body{Attributes: hclsyntax.Attributes{"body": b.Body.Attributes["body"], "headers": b.Body.Attributes["headers"]}}, cty.NilVal)
		}
	}
	// A test of the module shows that Terraform makes the same of the file.
	declared, _, err := deployment.LoadDeclarations(declarationsFile)
	if err == nil {
		s.declared, err = json.Marshal(declared)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	m.found["declared"] = cty.StringVal(string(s.declared))
	s.declaredIn = m.local("source_bucket").AsString() + "/" + m.local("declarations_object").AsString()
	environment := map[string]string{}
	for function, variables := range m.local("own_environment").AsValueMap() {
		if function == "compliance" { // a process of its own, since it has a secret of its own
			s.compliance = texts(variables)
			continue
		}
		for variable, value := range texts(variables) {
			if other, ok := environment[variable]; ok && other != value {
				s.t.Fatalf("%s is %s for %s, and %s for another function", variable, value, function, other)
			}
			environment[variable] = value
		}
	}
	return environment
}

// serve starts the functions, or those that are named, and returns where they are when they answer.
func (s *stand) serve(environment map[string]string, names ...string) (url string) {
	s.t.Helper()
	var out buffer
	command := exec.Command(program, append([]string{"serve", "--listen", "127.0.0.1:0"}, names...)...)
	command.Stdout, command.Stderr, command.Dir = &out, &s.log, s.t.TempDir()
	for _, variable := range slices.Sorted(maps.Keys(environment)) {
		command.Env = append(command.Env, variable+"="+environment[variable])
	}
	if err := command.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	s.t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGINT)
		select {
		case err := <-ended:
			if err != nil {
				s.t.Errorf("keyturn serve ends with %v", err)
			}
		case <-time.After(20 * time.Second):
			_ = command.Process.Kill()
			s.t.Error("keyturn serve does not end")
		}
		if s.t.Failed() {
			text := s.log.String()
			s.t.Logf("the end of the functions' log:\n%s", text[max(0, len(text)-6000):])
		}
	})
	address := regexp.MustCompile(`(?m)^(http://\S+)/(Notify|Compliance)$`)
	s.until("keyturn serve prints its addresses", func() string {
		return map[bool]string{false: out.String() + s.log.String() + "nothing"}[address.MatchString(out.String())]
	})
	return address.FindStringSubmatch(out.String())[1]
}

// serveSlack takes what Slack takes (docs.slack.dev/messaging/sending-messages-using-incoming-webhooks), and keeps its text.
func (s *stand) serveSlack(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	var message struct {
		Text   string
		Blocks []json.RawMessage
	}
	if err != nil || json.Unmarshal(body, &message) != nil || message.Text == "" || len(message.Blocks) == 0 {
		http.Error(w, "no_text", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var text any
	_ = json.Unmarshal(body, &text)
	s.slack = append(s.slack, plain(text))
	_, _ = io.WriteString(w, "ok")
}

// plain are all texts of a message, in lines.
func plain(value any) string {
	var lines []string
	switch v := value.(type) {
	case string:
		lines = append(lines, v)
	case []any:
		for _, one := range v {
			lines = append(lines, plain(one))
		}
	case map[string]any:
		for _, field := range slices.Sorted(maps.Keys(v)) {
			lines = append(lines, plain(v[field]))
		}
	}
	return strings.Join(lines, "\n")
}

// messages are what Slack got that holds all of the texts.
func (s *stand) messages(texts ...string) (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.slack {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(m, text) }) {
			found = append(found, m)
		}
	}
	return found
}

// until repeats until nothing is missing, for two minutes: a busy machine is slow.
func (s *stand) until(what string, missing func() string) {
	s.t.Helper()
	lack := ""
	for began := time.Now(); time.Since(began) < 2*time.Minute; time.Sleep(200 * time.Millisecond) {
		if lack = missing(); lack == "" {
			return
		}
	}
	s.t.Fatalf("not within two minutes: %s; missing: %s", what, lack)
}

// sinks do what Cloud Logging does with the entries that were written since the last time: each sink publishes what its filter selects, as
// often as said. It returns how many entries each function's sink selected.
func (s *stand) sinks(times int) map[string]int {
	s.t.Helper()
	selected := map[string]int{}
	s.sent = nil
	for _, e := range s.world.EventsAfter(s.handled) {
		s.handled = e.Seq
		var push struct {
			Message struct {
				Data       []byte            `json:"data"`
				Attributes map[string]string `json:"attributes"`
			} `json:"message"`
		}
		var entry map[string]any
		if json.Unmarshal(e.Payload, &push) != nil || json.Unmarshal(push.Message.Data, &entry) != nil {
			s.t.Fatalf("not a log entry: %s", e.Payload)
		}
		for function, filter := range s.filters {
			ok, err := language.Selects(filter, entry, language.Documented)
			if err != nil {
				s.t.Fatal(err)
			}
			if !ok {
				continue
			}
			selected[function]++
			publish := func() { s.publish(function+"-events", push.Message.Data, push.Message.Attributes) }
			s.sent = append(s.sent, publish)
			for range times {
				publish()
			}
		}
	}
	return selected
}

// again publishes once more what the sinks published last.
func (s *stand) again() {
	for _, publish := range s.sent {
		publish()
	}
}

func (s *stand) publish(topic string, data []byte, attributes map[string]string) {
	s.t.Helper()
	message := map[string]any{"data": data, "attributes": attributes}
	pubsub(s.t, http.MethodPost, "projects/"+s.project+"/topics/"+name+"-"+topic+":publish", map[string]any{"messages": []any{message}}, nil)
}

// ticks does what Cloud Scheduler does, of every function that has ticks. One that fails, as where the ledger is slow on a busy machine, is
// made good by the next one: what a test waits for shows whether they do their work.
func (s *stand) ticks() {
	s.t.Helper()
	body, err := base64.StdEncoding.DecodeString(s.tick["body"].(string))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, function := range []string{"Rotation", "Alerting"} {
		switch answer := s.tickOf(s.functions+"/"+function, body); answer {
		case "204 No Content":
		case "500 Internal Server Error":
			s.t.Logf("a tick of %s failed, as the functions' log says", function)
		default:
			s.t.Errorf("a tick of %s is answered with %s", function, answer)
		}
	}
}

// tickOf sends a tick, and returns how it is answered.
func (s *stand) tickOf(url string, body []byte) (answer string) {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err.Error()
	}
	for header, value := range s.tick["headers"].(map[string]any) {
		req.Header.Set(header, fmt.Sprint(value))
	}
	req.Header.Set("X-CloudScheduler", "true")
	req.Header.Set("X-CloudScheduler-ScheduleTime", time.Now().UTC().Format(time.RFC3339))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	_ = resp.Body.Close()
	return resp.Status
}

// sweep ticks until the first walk over the fleet has ended: from then on it is known which cluster needs which key.
func (s *stand) sweep() {
	s.t.Helper()
	s.until("a sweep ends", func() string {
		s.ticks()
		return map[bool]string{false: "its line in the log"}[strings.Contains(s.log.String(), rotation.LogSweepEnded)]
	})
}

// gcloud calls the simulated APIs as an operator does.
func (s *stand) gcloud(method, path, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.simulator+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	answer, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s %s: %s %s", method, path, resp.Status, answer)
	}
}
