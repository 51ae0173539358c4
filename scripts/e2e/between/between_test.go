package between

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/goccy/go-yaml"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

const (
	// payments and checkout are clusters on the key given in simulator.DefaultSeed.
	payments = "7c1d9e20-3a4b-4c5d-8e6f-000000000001"
	checkout = "7c1d9e20-3a4b-4c5d-8e6f-000000000002"
	region   = "us-east-1"
	oldKey   = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001"
	newKey   = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f00a"
	role     = "arn:aws:iam::111122223333:role/payments-cmek"
	// west is a region that payments is given, with a key there; otherRole is what an edit of checkout's configuration is about.
	west      = "us-west-2"
	westKey   = "arn:aws:kms:us-west-2:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f00b"
	otherRole = "arn:aws:iam::111122223333:role/checkout-cmek"

	keyPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"},` +
		`{"Effect":"Allow","Principal":{"AWS":["` + role + `","` + otherRole + `"]},"Action":["kms:Encrypt","kms:Decrypt","kms:GenerateDataKey*","kms:DescribeKey","kms:ReEncrypt*"],"Resource":"*"}]}`
)

// world is the simulator with an environment for the programs that talk to it.
type world struct {
	t       *testing.T
	program string
	folder  string
	server  string
	environ []string
	// terraform: the provider is on this machine.
	terraform bool
	// described is what the AWS CLI first said of each key, without its state.
	described map[string]string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, folder: t.TempDir(), described: map[string]string{}}
	w.program = filepath.Join(w.folder, "keyturn")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", w.program, "../../../functions/keyturn").CombinedOutput(); err != nil {
		t.Fatalf("build keyturn: %v\n%s", err, out)
	}
	w.simulate()
	w.environ = []string{
		"HOME=" + w.folder, "PATH=" + os.Getenv("PATH"), "COCKROACH_SERVER=" + w.server, "COCKROACH_API_KEY=" + simulator.SampleAPIKey,
		"AWS_ENDPOINT_URL_KMS=" + w.server, "AWS_ENDPOINT_URL_IAM=" + w.server, "AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1",
		"AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY=sample", "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
		"KEYTURN_LEDGER=file:" + filepath.Join(w.folder, "ledger.db"), "KEYTURN_ARCHIVE=file:" + filepath.Join(w.folder, "archive"),
		"KEYTURN_SETTLE=1s", "KEYTURN_CONFIRM=1s", "KEYTURN_POLL=1s", "KEYTURN_SWEEP_EVERY=1s",
	}
	file := os.Getenv("KEYTURN_TERRAFORM_CONFIG")
	text, err := os.ReadFile(file) //nolint:gosec // the developer's own file
	switch {
	case file == "" || err != nil || !bytes.Contains(text, []byte("cockroachdb/cockroach")):
		t.Log("without the steps of Terraform: KEYTURN_TERRAFORM_CONFIG names no CLI configuration that has the provider cockroachdb/cockroach")
	default:
		w.terraform = true
		w.environ = append(w.environ, "TF_CLI_CONFIG_FILE="+file, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_INPUT=0", "TF_CLI_ARGS=-no-color")
	}
	return w
}

// simulate starts the simulator with two clusters of the default world, and keys that nobody uses.
func (w *world) simulate() {
	w.t.Helper()
	seed := simulator.DefaultSeed()
	seed.Clusters = slices.DeleteFunc(seed.Clusters, func(c simulator.ClusterSeed) bool { return c.ID != payments && c.ID != checkout })
	for i, k := range seed.Keys {
		if k.URI == oldKey {
			seed.Keys[i].Policy = keyPolicy
		}
	}
	seed.Keys = append(seed.Keys, simulator.KeySeed{URI: newKey, AgeDays: 100, Policy: keyPolicy}, simulator.KeySeed{URI: westKey, AgeDays: 100, Policy: keyPolicy})
	data, err := yaml.Marshal(seed)
	w.must(err)
	file := filepath.Join(w.folder, "seed.yaml")
	w.must(os.WriteFile(file, data, 0o600))
	cmd := exec.Command(w.program, "simulate", "--seed", file, "--rotation-time", "2s", "--switch", "kms-propagation=500ms", "--switch", "kms-rotation-time=500ms")
	cmd.Dir = w.folder
	out, err := cmd.StdoutPipe()
	w.must(err)
	w.must(cmd.Start())
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if address, ok := strings.CutPrefix(lines.Text(), "export COCKROACH_SERVER="); ok {
			w.server = address
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return
		}
	}
	w.t.Fatal("the simulator ended without an address")
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// run runs a program that must end with the exit code, and returns what it printed.
func (w *world) run(code int, program string, args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), program, args...) //nolint:gosec // constants of this test
	cmd.Env, cmd.Dir = w.environ, w.folder
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		w.t.Fatalf("%s %s ended with %d (%v), want %d:\n%s", filepath.Base(program), strings.Join(args, " "), got, err, code, out)
	}
	return string(out)
}

func (w *world) keyturn(code int, args ...string) string {
	w.t.Helper()
	return w.run(code, w.program, args...)
}

// describe reads the keys with the AWS CLI, which takes most of its time to start: all at once.
func (w *world) describe(keys ...string) map[string][]byte {
	w.t.Helper()
	texts, errs := make([][]byte, len(keys)), make([]error, len(keys))
	var wait sync.WaitGroup
	for i, key := range keys {
		wait.Go(func() {
			cmd := exec.CommandContext(w.t.Context(), "aws", "kms", "describe-key", "--region", cmek.KeyURI(key).Location(), "--key-id", key) //nolint:gosec // constants of this test
			cmd.Env, cmd.Dir = w.environ, w.folder
			texts[i], errs[i] = cmd.CombinedOutput()
		})
	}
	wait.Wait()
	answers := map[string][]byte{}
	for i, key := range keys {
		if errs[i] != nil {
			w.t.Fatalf("aws kms describe-key %s: %v\n%s", key, errs[i], texts[i])
		}
		answers[key] = texts[i]
	}
	return answers
}

// reads reads with each of the tools, which must work whatever keyturn has just done, and read what they read before: the keys, of which
// payments' own are in the state given, and a plan without changes.
func (w *world) reads(when, payments, folder string) {
	w.t.Helper()
	texts := w.describe(oldKey, newKey, westKey)
	for key, want := range map[string]string{oldKey: "Enabled", newKey: payments, westKey: payments} {
		var answer struct{ KeyMetadata map[string]any }
		w.must(json.Unmarshal(texts[key], &answer))
		if state := answer.KeyMetadata["KeyState"]; state != want {
			w.t.Errorf("%s: the AWS CLI shows key %s as %v, want %s", when, key, state, want)
		}
		delete(answer.KeyMetadata, "KeyState")
		delete(answer.KeyMetadata, "Enabled")
		rest, err := json.Marshal(answer.KeyMetadata)
		w.must(err)
		if before, ok := w.described[key]; ok && before != string(rest) {
			w.t.Errorf("%s: the AWS CLI shows of key %s\n%s\nand showed before\n%s", when, key, rest, before)
		}
		w.described[key] = string(rest)
	}
	if w.terraform && folder != "" {
		if out := w.run(0, "terraform", "-chdir="+folder, "plan", "-detailed-exitcode"); !strings.Contains(out, "No changes") {
			w.t.Errorf("%s: the plan is\n%s", when, out)
		}
	}
}

type put struct{ Cluster, Caller, Outcome string }

// accepted are the callers of the accepted PUTs to the cluster, in order.
func (w *world) accepted(cluster string) (callers []string) {
	w.t.Helper()
	response, err := http.Get(w.server + "/_simulator/puts")
	w.must(err)
	defer func() { _ = response.Body.Close() }()
	var puts []put
	w.must(json.NewDecoder(response.Body).Decode(&puts))
	for _, p := range puts {
		if p.Cluster == cluster && p.Outcome == "accepted" {
			callers = append(callers, p.Caller)
		}
	}
	return callers
}

// post changes the simulated world as its operators do.
func (w *world) post(path, body string) {
	w.t.Helper()
	response, err := http.Post(w.server+"/_simulator/"+path, "application/json", strings.NewReader(body))
	w.must(err)
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusNoContent {
		w.t.Fatalf("POST %s: %s", path, response.Status)
	}
}

// types runs keyturn at a terminal at which a person types the line; it must succeed.
func (w *world) types(line string, args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), w.program, args...) //nolint:gosec // constants of this test
	cmd.Env, cmd.Dir = append(slices.Clone(w.environ), "TERM=dumb"), w.folder
	terminal, err := pty.Start(cmd)
	w.must(err)
	defer func() { _ = terminal.Close() }()
	_, err = io.WriteString(terminal, line+"\n")
	w.must(err)
	var out bytes.Buffer
	_, _ = io.Copy(&out, terminal) // it ends with an error where the program ends
	if err := cmd.Wait(); err != nil {
		w.t.Fatalf("keyturn %s: %v\n%s", strings.Join(args, " "), err, out.Bytes())
	}
	return out.String()
}

// putBack sends the PUT that puts the old key back, as a person with curl does, and waits for its end.
func (w *world) putBack(cluster string) {
	w.t.Helper()
	body, err := json.Marshal(map[string]any{"region_specs": []cmek.RegionSpec{{Region: region, KeySpec: cmek.KeySpec{Type: cmek.AWSKMS, URI: oldKey, AuthPrincipal: role}}}})
	w.must(err)
	call := func(method string, body []byte) string {
		request, err := http.NewRequestWithContext(w.t.Context(), method, w.server+"/api/v1/clusters/"+cluster+"/cmek", bytes.NewReader(body))
		w.must(err)
		request.Header.Set("Authorization", "Bearer "+simulator.SampleAPIKey)
		request.Header.Set("Cc-Version", "2024-09-16")
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		w.must(err)
		defer func() { _ = response.Body.Close() }()
		text, err := io.ReadAll(response.Body)
		w.must(err)
		if response.StatusCode != http.StatusOK {
			w.t.Fatalf("%s …/cmek: %s %s", method, response.Status, text)
		}
		return string(text)
	}
	call(http.MethodPut, body)
	for end := time.Now().Add(2 * time.Minute); strings.Contains(call(http.MethodGet, nil), "ING\""); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatal("the key that was put back is not in force after two minutes")
		}
	}
}

// placed is a region of a configuration, with its key.
type placed struct{ region, key string }

// configure writes a configuration of the cluster's CMEK, with the principal and regions given, and returns its folder.
func (w *world) configure(name, cluster, principal string, regions ...placed) string {
	w.t.Helper()
	var list []string
	for _, p := range regions {
		list = append(list, `{ region = "`+p.region+`", key = { type = "AWS_KMS", uri = "`+p.key+`", auth_principal = "`+principal+`" } }`)
	}
	folder := filepath.Join(w.folder, name)
	w.must(os.MkdirAll(folder, 0o700))
	text := `terraform {
  required_providers { cockroach = { source = "cockroachdb/cockroach" } }
}
provider "cockroach" {}
resource "cockroach_cmek" "` + name + `" {
  id      = "` + cluster + `"
  regions = [` + strings.Join(list, ", ") + `]
}
`
	w.must(os.WriteFile(filepath.Join(folder, "main.tf"), []byte(text), 0o600))
	return folder
}

// take takes the configuration over into the state, in the order that sends nothing.
func (w *world) take(folder, name, cluster string, again bool) {
	w.t.Helper()
	address := "cockroach_cmek." + name
	if again {
		w.run(0, "terraform", "-chdir="+folder, "state", "rm", address)
	}
	w.run(0, "terraform", "-chdir="+folder, "import", address, cluster)
}

// edit applies what was changed in the configuration, and returns the folder if its plan can be read afterwards. The provider (1.22) sends the
// PUT and waits for its end. Then it may fail, and plan the change again and again: of the region's keys it reads the first with the URI,
// which is the past one with the principal of before.
func (w *world) edit(folder string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), "terraform", "-chdir="+folder, "apply", "-auto-approve") //nolint:gosec // a folder of this test
	cmd.Env, cmd.Dir = w.environ, w.folder
	switch out, err := cmd.CombinedOutput(); {
	case err == nil:
		return folder
	case !bytes.Contains(out, []byte("Provider produced inconsistent result after apply")):
		w.t.Fatalf("terraform apply: %v\n%s", err, out)
	}
	return ""
}

// chosen is the result of CMEK-32 about the cluster.
func (w *world) chosen(cluster string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), w.program, "check", cluster, "--check", "CMEK-32") //nolint:gosec // constants
	cmd.Env, cmd.Dir = w.environ, w.folder
	out, _ := cmd.Output() // its exit code says whether there are findings
	return string(out)
}

func TestOperatorsCommands_amongTheAWSCLIAndTerraform(t *testing.T) {
	if os.Getenv("KEYTURN_E2E") != "1" {
		t.Skip("end-to-end tests run with KEYTURN_E2E=1: make e2e")
	}
	w := newWorld(t)
	answer := []string{"--no-terraform"}
	folder := ""
	if w.terraform {
		folder = w.configure("payments", payments, role, placed{region, oldKey})
		w.take(folder, "payments", payments, false)
		answer = []string{"--terraform", folder}
	}
	w.reads("before", "Enabled", folder)

	out := w.keyturn(0, append([]string{"rotate", "payments", "--to", newKey, "--by", "ana"}, answer...)...)
	w.reads("after the move, nothing written back", "Enabled", folder) // the provider does not see it
	if w.terraform {
		for _, step := range []string{"state rm cockroach_cmek.payments", "import cockroach_cmek.payments " + payments} {
			if !strings.Contains(out, step) {
				t.Errorf("the command does not print %q:\n%s", step, out)
			}
		}
		w.configure("payments", payments, role, placed{region, newKey})
		w.take(folder, "payments", payments, true)
		w.reads("written back", "Enabled", folder)
	}
	if got := w.accepted("payments"); len(got) != 1 || got[0] != "keyturn" {
		t.Errorf("PUTs to payments were accepted of %q, want keyturn's alone", got)
	}

	w.notWrittenBack()
	w.regionAdded(folder)
	w.revokedAndRestored(folder)
}

// notWrittenBack: a cluster is moved whose configuration is not written back, and the next edit of its resource, about something else, puts
// the old key back silently. Without Terraform a person with curl does. It is found, until a person accepts it.
func (w *world) notWrittenBack() {
	w.t.Helper()
	folder := ""
	if w.terraform {
		folder = w.configure("checkout", checkout, role, placed{region, oldKey})
		w.take(folder, "checkout", checkout, false)
	}
	w.keyturn(0, "rotate", "checkout", "--to", newKey, "--no-terraform", "--by", "ana")
	w.reads("after the second move", "Enabled", folder)
	if w.terraform {
		w.configure("checkout", checkout, otherRole, placed{region, oldKey})
		folder = w.edit(folder)
	} else {
		w.putBack(checkout)
	}
	if shown := w.cmekOf("checkout"); !strings.Contains(shown, strings.Join([]string{region, "ENABLED", oldKey, "ENABLED"}, " ")) {
		w.t.Fatalf("the old key was not put back:\n%s", shown)
	}
	if told := w.keyturn(0, "follow", "--mode", "follow", "-q"); !strings.Contains(told, "which an order moved it to") { // a sweep
		w.t.Errorf("no alert says that the order is undone:\n%s", told)
	}
	if text := w.chosen("checkout"); !strings.Contains(text, "FAIL") || !strings.Contains(text, "was moved to "+newKey) {
		w.t.Errorf("a key that was put back is not found:\n%s", text)
	}
	w.keyturn(0, "rotate", "checkout", "--to", oldKey, "--by", "ana", "--reason", "CHG-7")
	if text := w.chosen("checkout"); !strings.Contains(text, "PASS  CMEK-32") {
		w.t.Errorf("a key that a person accepted is still found:\n%s", text)
	}
	w.reads("after the acceptance", "Enabled", folder)
	if got := w.accepted("checkout"); len(got) != 2 {
		w.t.Errorf("%d PUTs to checkout were accepted, want the move's and the one that put the key back", len(got))
	}
}

// regionAdded: payments gets a region, which the configuration must have before the provider's next read.
func (w *world) regionAdded(folder string) {
	w.t.Helper()
	w.keyturn(0, "add-region", "payments", "--region", west+"=3", "--key", westKey, "--principal", role, "--by", "ana")
	if w.terraform {
		w.configure("payments", payments, role, placed{region, newKey}, placed{west, westKey})
		w.take(folder, "payments", payments, true)
	}
	w.reads("after a region was added", "Enabled", folder)
}

// revokedAndRestored: the AWS CLI takes the keys of payments away and gives them back; between them keyturn revokes it, and support restores it.
func (w *world) revokedAndRestored(folder string) {
	w.t.Helper()
	keys := func(operation string) {
		for _, key := range []string{newKey, westKey} {
			w.run(0, "aws", "kms", operation, "--region", cmek.KeyURI(key).Location(), "--key-id", key)
		}
	}
	before := w.cmekOf("payments")
	keys("disable-key")
	plan := filepath.Join(w.folder, "plan.json")
	w.keyturn(0, "revoke", "payments", "--reason", "key compromised", "--out", plan, "--by", "ana",
		"--shared-key", "checkout was on one of them, and needs it for its backups alone")
	w.reads("planned", "Disabled", folder)
	w.types("payments", "apply", plan, "--by", "ana")
	w.reads("after the revocation", "Disabled", folder)
	if out := w.keyturn(3, "restore", "payments", "--dry-run"); !strings.Contains(out, "aws kms enable-key") {
		w.t.Errorf("the commands that restore the access are not shown:\n%s", out)
	}
	keys("enable-key")
	w.post("restore", `{"cluster": "payments"}`) // support
	w.keyturn(0, "restore", "payments", "--by", "ana")
	w.reads("after the restoration", "Enabled", folder)
	if after := w.cmekOf("payments"); after != before {
		w.t.Errorf("the CMEK after revocation and restoration is\n%s\nand was\n%s", after, before)
	}
	if got := w.accepted("payments"); len(got) != 1 {
		w.t.Errorf("%d PUTs to payments were accepted, want the move's alone", len(got))
	}
}

// cmekOf is the cluster's CMEK without its times: region, key and status.
func (w *world) cmekOf(cluster string) (text string) {
	w.t.Helper()
	var info cmek.ClusterInfo
	w.must(json.Unmarshal([]byte(w.keyturn(0, "cmek", cluster, "-o", "json")), &info))
	for _, r := range info.RegionInfos {
		for _, k := range r.KeyInfos {
			text += strings.Join([]string{r.Region, string(r.Status), string(k.Spec.URI), string(k.Status)}, " ") + "\n"
		}
	}
	return text
}
