package planned_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/planned"
)

// TestRealTerraform_makesTheSamePlans makes the plans of testdata again, and the same is found in them.
func TestRealTerraform_makesTheSamePlans(t *testing.T) {
	if os.Getenv("KEYTURN_E2E") != "1" {
		t.Skip("an end-to-end test: KEYTURN_E2E=1 runs it")
	}
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skipf("needs terraform (1.9 or later): %v", err)
	}
	providers := os.Getenv("KEYTURN_TERRAFORM_CONFIG")
	if providers == "" {
		t.Skip("needs the google provider: KEYTURN_TERRAFORM_CONFIG must name a CLI configuration with a filesystem mirror of it")
	}
	for _, name := range []string{"google-new", "google-losses", "google-quiet", "google-exposed", "google-denied"} {
		folder := t.TempDir()
		put := func(from, to string) {
			t.Helper()
			data, err := os.ReadFile(filepath.Join("testdata", from))
			if err == nil {
				err = os.MkdirAll(filepath.Dir(filepath.Join(folder, to)), 0o755)
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(folder, to), data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		put(name+".tf", "main.tf")
		if name == "google-new" {
			put("google-new-cmek.tf", "cmek/main.tf")
		} else {
			put("google-existing.tfstate.json", "terraform.tfstate")
		}
		run := func(arguments ...string) []byte {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			c := exec.CommandContext(ctx, "terraform", arguments...)
			c.Dir = folder
			c.Env = append(os.Environ(), "TF_CLI_CONFIG_FILE="+providers, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_INPUT=0", "GOOGLE_OAUTH_ACCESS_TOKEN=none",
				"HTTPS_PROXY=http://127.0.0.1:9", "HTTP_PROXY=http://127.0.0.1:9", "NO_PROXY=127.0.0.1,localhost") // what would leave this machine fails
			out, err := c.Output()
			if err != nil {
				t.Fatalf("%s: terraform %s: %v\n%s", name, strings.Join(arguments, " "), err, out)
			}
			return out
		}
		run("init", "-no-color")
		run("plan", "-no-color", "-refresh=false", "-out", "tfplan")
		got := said(judge(t, run("show", "-json", "tfplan"), planned.Known{}))
		if want := said(judge(t, fixture(t, name), planned.Known{})); !slices.Equal(got, want) {
			t.Errorf("%s: of a plan made now %q, of the one in testdata %q", name, got, want)
		}
		state, err := planned.Parse(run("show", "-json"))
		if err == nil || !strings.Contains(err.Error(), "state") && name != "google-new" {
			t.Errorf("%s: a state is taken for a plan: %v, %v", name, state, err)
		}
		if _, err := planned.Parse(run("plan", "-json", "-refresh=false")); err == nil || !strings.Contains(err.Error(), "the log of") {
			t.Errorf("%s: a log is taken for a plan: %v", name, err)
		}
		binary, err := os.ReadFile(filepath.Join(folder, "tfplan"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := planned.Parse(binary); err == nil || !strings.Contains(err.Error(), "own format") {
			t.Errorf("%s: a file of -out is taken for a plan: %v", name, err)
		}
	}
}
