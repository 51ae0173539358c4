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
	"testing"
	"time"

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

	keyPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"kms:*","Resource":"*"},` +
		`{"Effect":"Allow","Principal":{"AWS":"` + role + `"},"Action":["kms:Encrypt","kms:Decrypt","kms:GenerateDataKey*","kms:DescribeKey","kms:ReEncrypt*"],"Resource":"*"}]}`
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
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, folder: t.TempDir()}
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

// simulate starts the simulator with two clusters of the default world, and a key that nobody uses.
func (w *world) simulate() {
	w.t.Helper()
	seed := simulator.DefaultSeed()
	seed.Clusters = slices.DeleteFunc(seed.Clusters, func(c simulator.ClusterSeed) bool { return c.ID != payments && c.ID != checkout })
	seed.Keys = append(seed.Keys, simulator.KeySeed{URI: newKey, AgeDays: 100, Policy: keyPolicy})
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

// reads reads with each of the tools, which must work whatever keyturn has just done: the key's state, and a plan without changes.
func (w *world) reads(when, folder string) {
	w.t.Helper()
	for _, key := range []string{oldKey, newKey} {
		if state := w.run(0, "aws", "kms", "describe-key", "--key-id", key, "--query", "KeyMetadata.KeyState", "--output", "text"); strings.TrimSpace(state) != "Enabled" {
			w.t.Errorf("%s: the AWS CLI shows key %s as %s", when, key, state)
		}
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

// configure writes a configuration of the cluster's CMEK, with the key and principal given, and returns its folder.
func (w *world) configure(name, cluster, key, principal string) string {
	w.t.Helper()
	folder := filepath.Join(w.folder, name)
	w.must(os.MkdirAll(folder, 0o700))
	text := `terraform {
  required_providers { cockroach = { source = "cockroachdb/cockroach" } }
}
provider "cockroach" {}
resource "cockroach_cmek" "` + name + `" {
  id      = "` + cluster + `"
  regions = [{ region = "` + region + `", key = { type = "AWS_KMS", uri = "` + key + `", auth_principal = "` + principal + `" } }]
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
		folder = w.configure("payments", payments, oldKey, role)
		w.take(folder, "payments", payments, false)
		answer = []string{"--terraform", folder}
	}
	w.reads("before", folder)

	out := w.keyturn(0, append([]string{"rotate", "payments", "--to", newKey, "--by", "ana"}, answer...)...)
	w.reads("after the move, nothing written back", folder) // the provider does not see it
	if w.terraform {
		for _, step := range []string{"state rm cockroach_cmek.payments", "import cockroach_cmek.payments " + payments} {
			if !strings.Contains(out, step) {
				t.Errorf("the command does not print %q:\n%s", step, out)
			}
		}
		w.configure("payments", payments, newKey, role)
		w.take(folder, "payments", payments, true)
		w.reads("written back", folder)
	}
	if got := w.accepted("payments"); len(got) != 1 || got[0] != "keyturn" {
		t.Errorf("PUTs to payments were accepted of %q, want keyturn's alone", got)
	}

	// Another cluster, whose configuration is not written back: a later edit puts the old key back, silently.
	other := ""
	if w.terraform {
		other = w.configure("checkout", checkout, oldKey, role)
		w.take(other, "checkout", checkout, false)
	}
	w.keyturn(0, "rotate", "checkout", "--to", newKey, "--no-terraform", "--by", "ana")
	w.reads("after the second move", other)
	w.putBack(checkout)
	w.keyturn(0, "follow", "--mode", "follow", "-q") // a sweep
	if text := w.chosen("checkout"); !strings.Contains(text, "FAIL") || !strings.Contains(text, "was moved to "+newKey) {
		t.Errorf("a key that was put back is not found:\n%s", text)
	}
	w.keyturn(0, "rotate", "checkout", "--to", oldKey, "--by", "ana", "--reason", "CHG-7")
	if text := w.chosen("checkout"); !strings.Contains(text, "PASS  CMEK-32") {
		t.Errorf("a key that a person accepted is still found:\n%s", text)
	}
	w.reads("after all", other)
	if got := w.accepted("checkout"); len(got) != 2 {
		t.Errorf("%d PUTs to checkout were accepted, want the move's and the one that put the key back", len(got))
	}
}
