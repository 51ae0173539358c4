package gcp_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/infra/aws/deployment"
)

// providersVariable names the CLI configuration of Terraform, whose provider_installation says where the google provider is on this
// machine (developer.hashicorp.com/terraform/cli/config/config-file). Tests download nothing.
const providersVariable = "KEYTURN_TERRAFORM_CONFIG"

// terraform runs the program in the folder, and returns what it printed.
func terraform(t *testing.T, folder string, environment []string, arguments ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "terraform", arguments...)
	command.Dir = folder
	command.Env = append(os.Environ(), append([]string{
		"CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_INPUT=0", "TF_CLI_ARGS=-no-color", "GOOGLE_OAUTH_ACCESS_TOKEN=none",
		// What would leave this machine fails.
		"HTTPS_PROXY=http://127.0.0.1:9", "HTTP_PROXY=http://127.0.0.1:9", "NO_PROXY=127.0.0.1,localhost",
	}, environment...)...)
	text, err := command.CombinedOutput()
	return string(text), err
}

// needsTerraform skips the test where the program is not there.
func needsTerraform(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skipf("needs terraform (1.9 or later): %v", err)
	}
}

// needsProvider is the environment with which Terraform finds the google provider. Where nobody says where it is, the test is skipped.
func needsProvider(t *testing.T) []string {
	t.Helper()
	if os.Getenv("KEYTURN_E2E") != "1" {
		t.Skip("an end-to-end test: KEYTURN_E2E=1 runs it")
	}
	needsTerraform(t)
	file := os.Getenv(providersVariable)
	if file == "" {
		t.Skipf("needs the google provider: %s must name a CLI configuration with a filesystem mirror of it", providersVariable)
	}
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("%s: %v", providersVariable, err)
	}
	return []string{"TF_CLI_CONFIG_FILE=" + file}
}

// copied is a copy of the module, for what Terraform writes beside it.
func copied(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	files, err := filepath.Glob("*.tf")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range []string{"modules", "examples", "tests", "filters"} {
		if err := os.CopyFS(filepath.Join(folder, part), os.DirFS(part)); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestTerraform_filesAreFormatted(t *testing.T) {
	needsTerraform(t)
	empty := filepath.Join(t.TempDir(), "empty.tfrc")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := terraform(t, ".", []string{"TF_CLI_CONFIG_FILE=" + empty}, "fmt", "-check", "-diff", "-recursive"); err != nil {
		t.Errorf("terraform fmt would change files: %v\n%s", err, output)
	}
}

// run runs a step and reports its last lines.
func run(t *testing.T, folder string, environment []string, want string, arguments ...string) string {
	t.Helper()
	output, err := terraform(t, folder, environment, arguments...)
	found := regexp.MustCompile(want).FindString(output)
	if err != nil || found == "" {
		t.Fatalf("terraform %s: %v; want %q\n%s", strings.Join(arguments, " "), err, want, output)
	}
	t.Logf("terraform %s: %s", strings.Join(arguments, " "), found)
	return output
}

func TestTerraform_moduleIsValidAndPassesItsTests(t *testing.T) {
	environment := needsProvider(t)
	folder := copied(t)
	run(t, folder, environment, `successfully initialized`, "init")
	run(t, folder, environment, `The configuration is valid`, "validate")
	run(t, folder, environment, `Success! [0-9]{2} passed, 0 failed`, "test")
}

func TestTerraform_examplesCanBePlanned(t *testing.T) {
	environment := needsProvider(t)
	folder := copied(t)
	examples, err := filepath.Glob("examples/*")
	if err != nil || len(examples) < 3 {
		t.Fatalf("the examples are %v, error %v", examples, err)
	}
	for _, example := range examples {
		t.Run(filepath.Base(example), func(t *testing.T) {
			at := filepath.Join(folder, example)
			run(t, at, environment, `successfully initialized`, "init")
			run(t, at, environment, `The configuration is valid`, "validate")
			run(t, at, environment, `Plan: [1-9][0-9]{2} to add, 0 to change, 0 to destroy`, "plan", "-var=dist="+filepath.Join(folder, "tests/dist"), "-out=plan")
			// What the real provider makes of the bindings is what the table says.
			shown := run(t, at, environment, `"format_version"`, "show", "-json", "plan")
			checkPlannedBindings(t, shown[strings.Index(shown, "{"):])
			checkPlannedDeclarations(t, at, shown[strings.Index(shown, "{"):])
		})
	}
}

// checkPlannedBindings checks the roles that are bound, and to whom each is where the plan knows it.
func checkPlannedBindings(t *testing.T, plan string) {
	t.Helper()
	var planned struct {
		PlannedValues struct {
			RootModule planModule `json:"root_module"`
		} `json:"planned_values"`
	}
	if err := json.NewDecoder(strings.NewReader(plan)).Decode(&planned); err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, r := range planned.PlannedValues.RootModule.all() {
		if !regexp.MustCompile("^"+bindings+"$").MatchString(r.Type) || strings.Contains(r.Address, "payments_key") {
			continue
		}
		count++
		if grants[r.Type+"."+r.Name] == "" {
			t.Errorf("%s is not in the table of grants", r.Address)
		}
		if role, known := r.Values["role"].(string); known && strings.HasPrefix(role, "roles/") && predefined[role] == "" {
			t.Errorf("%s grants %s, which the table does not know", r.Address, role)
		}
		toPeople := strings.Contains(grants[r.Type+"."+r.Name], "operator") || strings.Contains(grants[r.Type+"."+r.Name], "viewer") || grants[r.Type+"."+r.Name] == "auditor"
		if member, known := r.Values["member"].(string); known && !toPeople && !strings.HasPrefix(member, "serviceAccount:") {
			t.Errorf("%s grants to %s", r.Address, member)
		}
	}
	if count < 30 {
		t.Errorf("only %d bindings are planned", count)
	}
}

// checkPlannedDeclarations checks that the function reads of what Terraform deploys what "keyturn check" reads of the file itself.
func checkPlannedDeclarations(t *testing.T, example, plan string) {
	t.Helper()
	var planned struct {
		PlannedValues struct {
			RootModule planModule `json:"root_module"`
		} `json:"planned_values"`
	}
	if err := json.NewDecoder(strings.NewReader(plan)).Decode(&planned); err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, r := range planned.PlannedValues.RootModule.all() {
		if r.Type != "google_storage_bucket_object" || r.Name != "declarations" {
			continue
		}
		count++
		content, _ := r.Values["content"].(string)
		got, hash, err := compliance.DeclaredIn(func(context.Context) ([]byte, error) { return []byte(content), nil })(t.Context())
		if err != nil {
			t.Fatalf("the function refuses %s: %v", content, err)
		}
		var want checks.Declarations
		if file := filepath.Join(example, "declarations.yaml"); fileExists(file) {
			if want, _, err = deployment.LoadDeclarations(file); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(plain(t, got), plain(t, want)) || r.Values["name"] != "declarations-"+hash+".json" {
			t.Errorf("%s declares\n%+v\nthe file\n%+v", r.Values["name"], got, want)
		}
	}
	if count != 1 {
		t.Errorf("%d objects hold declarations", count)
	}
}

func fileExists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// plain is the JSON of declarations, in which what is empty and what is absent are the same.
func plain(t *testing.T, d checks.Declarations) (m map[string]any) {
	t.Helper()
	text, err := json.Marshal(d)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

type planModule struct {
	Resources []struct {
		Address, Type, Name string
		Values              map[string]any
	}
	ChildModules []planModule `json:"child_modules"`
}

func (m planModule) all() (resources []struct {
	Address, Type, Name string
	Values              map[string]any
}) {
	resources = slices.Clone(m.Resources)
	for _, child := range m.ChildModules {
		resources = append(resources, child.all()...)
	}
	return resources
}

// The half that is about Pub/Sub is applied for real, and a message on a topic reaches its function.
func TestTerraform_pubsubIsAppliedToTheEmulator(t *testing.T) {
	environment := needsProvider(t)
	emulator := startPubSub(t)
	pushed := make(chan string, 100)
	functions := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		var push struct {
			Subscription string
			Message      struct{ Data []byte }
		}
		if err != nil || json.Unmarshal(body, &push) != nil {
			pushed <- "not a push: " + string(body)
			return
		}
		pushed <- r.URL.Path + " " + push.Subscription + " " + string(push.Message.Data)
	}))
	t.Cleanup(functions.Close)

	at := filepath.Join(copied(t), "tests/emulator")
	variables := []string{"-var=emulator=" + emulator, fmt.Sprintf(`-var=endpoints={rotation="%[1]s/Rotation",alerting="%[1]s/Alerting",notify-slack="%[1]s/Notify"}`, functions.URL)}
	run(t, at, environment, `successfully initialized`, "init")
	run(t, at, environment, `Apply complete! Resources: [1-9][0-9]* added`, append([]string{"apply", "-auto-approve"}, variables...)...)
	run(t, at, environment, `No changes`, append([]string{"plan", "-detailed-exitcode"}, variables...)...)

	var listed struct {
		Subscriptions []struct {
			Name, Topic, Filter, MessageRetentionDuration string
			ExpirationPolicy                              *struct{ TTL string }
			RetryPolicy                                   struct{ MinimumBackoff, MaximumBackoff string }
			PushConfig                                    struct{ PushEndpoint string }
			DeadLetterPolicy                              struct {
				DeadLetterTopic     string
				MaxDeliveryAttempts int
			}
		}
	}
	pubsub(t, emulator, http.MethodGet, "/v1/projects/acme-keyturn/subscriptions?pageSize=100", "", &listed)
	topics := map[string]bool{} // with a subscription
	for _, s := range listed.Subscriptions {
		topics[s.Topic] = true
	}
	// The emulator keeps filters, and does not apply them.
	pushes, filtered := 0, 0
	for _, s := range listed.Subscriptions {
		if s.Filter != "" {
			filtered++
		}
		if s.PushConfig.PushEndpoint == "" {
			continue
		}
		pushes++
		if s.RetryPolicy.MinimumBackoff != "10s" || s.RetryPolicy.MaximumBackoff != "600s" || s.DeadLetterPolicy.MaxDeliveryAttempts != 100 || s.MessageRetentionDuration != "604800s" {
			t.Errorf("the subscription is %+v", s)
		}
		if !topics[s.DeadLetterPolicy.DeadLetterTopic] {
			t.Errorf("dead letters of %s go to %s, which has no subscription", s.Name, s.DeadLetterPolicy.DeadLetterTopic)
		}
		if s.ExpirationPolicy != nil && s.ExpirationPolicy.TTL != "" {
			t.Errorf("%s expires after %s", s.Name, s.ExpirationPolicy.TTL)
		}
	}
	if pushes != 6 || filtered != 2 {
		t.Errorf("%d subscriptions push and %d have a filter; want 6 (two functions with their logs and the feed, a channel with two topics) and 2 (people)", pushes, filtered)
	}

	publish := func(topic, data, attributes string) {
		t.Helper()
		var published struct{ MessageIDs []string }
		body := fmt.Sprintf(`{"messages":[{"data":%q,"attributes":%s}]}`, base64.StdEncoding.EncodeToString([]byte(data)), attributes)
		pubsub(t, emulator, http.MethodPost, "/v1/projects/acme-keyturn/topics/keyturn-"+topic+":publish", body, &published)
		if len(published.MessageIDs) != 1 {
			t.Fatalf("published %v", published.MessageIDs)
		}
	}
	publish("rotation-events", "entry", `{"a":"b"}`)
	publish("alerting-events", "entry", `{"a":"b"}`)
	publish("assets", "asset", `{"a":"b"}`)
	publish("alerts", "grave", `{"severity":"critical"}`)
	publish("alerts", "minor", `{"severity":"high"}`)
	publish("operations", "ours", `{"severity":"medium"}`)
	const subscription = " projects/acme-keyturn/subscriptions/keyturn-"
	want := []string{
		"/Alerting" + subscription + "alerting entry", "/Alerting" + subscription + "alerting-assets asset",
		"/Notify" + subscription + "notify-slack-alerts grave", "/Notify" + subscription + "notify-slack-alerts minor", "/Notify" + subscription + "notify-slack-operations ours",
		"/Rotation" + subscription + "rotation entry", "/Rotation" + subscription + "rotation-assets asset",
	}
	got := map[string]bool{}
	deadline := time.After(30 * time.Second)
	for len(got) < len(want) {
		select {
		case one := <-pushed:
			got[one] = true
		case <-deadline:
			t.Fatalf("pushed are %v, want %v", got, want)
		}
	}
	for _, one := range want {
		if !got[one] {
			t.Errorf("%s was not pushed; pushed are %v", one, got)
		}
	}
	run(t, at, environment, `Destroy complete`, append([]string{"destroy", "-auto-approve"}, variables...)...)
}

// pubsub calls the emulator's REST API.
func pubsub(t *testing.T, emulator, method, path, body string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+emulator+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Timeout: 20 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(text, into) != nil {
		t.Fatalf("%s %s: %s, error %v: %s", method, path, resp.Status, err, text)
	}
}

// startPubSub starts Google's emulator on a free port of the loopback interface.
func startPubSub(t *testing.T) (address string) {
	t.Helper()
	for _, program := range []string{"gcloud", "java"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("needs the Google Cloud CLI with its Pub/Sub emulator, and Java: %v", err)
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	process := exec.Command("gcloud", "beta", "emulators", "pubsub", "start", "--host-port="+address, "--data-dir="+t.TempDir(), "--project=acme-keyturn") // lives until the test has cleaned up
	process.Stdout, process.Stderr = &output, &output
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // gcloud starts Java, which must end with it
	process.WaitDelay = 5 * time.Second
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- process.Wait() }()
	t.Cleanup(func() {
		_ = syscall.Kill(-process.Process.Pid, syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(10 * time.Second):
			_ = syscall.Kill(-process.Process.Pid, syscall.SIGKILL)
			<-exited
		}
	})
	for range 240 {
		select {
		case err := <-exited:
			exited <- err
			t.Fatalf("the emulator ended: %v\n%s", err, output.String())
		case <-time.After(250 * time.Millisecond):
		}
		dial, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = dial.Close()
			return address
		}
	}
	t.Fatal(errors.New("the emulator does not listen after a minute"))
	return ""
}
