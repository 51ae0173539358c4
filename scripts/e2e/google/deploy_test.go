package google

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zclconf/go-cty/cty"

	"github.com/keyturn/keyturn/internal/cmektest"
)

const (
	moduleFolder = "../../../infra/gcp"
	pubsubFolder = moduleFolder + "/modules/pubsub"
	// name is that of every deployment under test; projects tell them apart.
	name = "keyturn"
)

// providersVariable names the CLI configuration of Terraform, whose provider_installation says where the google provider is on this
// machine (developer.hashicorp.com/terraform/cli/config/config-file). Tests download nothing.
const providersVariable = "KEYTURN_TERRAFORM_CONFIG"

// providerMissing says why Terraform cannot apply anything here; "" if it can.
func providerMissing() string {
	if _, err := exec.LookPath("terraform"); err != nil {
		return "terraform (1.9 or later) is not installed"
	}
	if os.Getenv(providersVariable) == "" {
		return "needs the google provider: " + providersVariable + " must name a CLI configuration with a filesystem mirror of it"
	}
	return ""
}

// deploy makes the topics and subscriptions of the module in the emulator, pushing to the functions at the URL. Without the provider they
// are made of the module's own text.
func deploy(t *testing.T, project, functions string) {
	t.Helper()
	if why := providerMissing(); why != "" {
		t.Logf("not applied by Terraform but made of the module's text: %s", why)
		makeParsed(t, project, functions)
		return
	}
	apply(t, project, functions)
}

// endpoints are where messages are pushed, by function.
func endpoints(functions string) map[string]string {
	return map[string]string{"rotation": functions + "/Rotation", "alerting": functions + "/Alerting", "notify-slack": functions + "/Notify"}
}

// initialized is a copy of the module in which "terraform init" was run, for all tests.
var initialized struct {
	sync.Once
	folder string
	err    error
}

// apply runs Terraform on the part of the module that the emulator serves.
func apply(t *testing.T, project, functions string) {
	t.Helper()
	initialized.Do(func() {
		if initialized.folder, initialized.err = os.MkdirTemp("", "keyturn-terraform-*"); initialized.err != nil {
			return
		}
		for _, part := range []string{"modules", "tests"} {
			if initialized.err = os.CopyFS(filepath.Join(initialized.folder, part), os.DirFS(filepath.Join(moduleFolder, part))); initialized.err != nil {
				return
			}
		}
		_, initialized.err = terraform(initialized.folder, "init")
	})
	if initialized.err != nil {
		t.Fatal(initialized.err)
	}
	where, err := json.Marshal(endpoints(functions))
	if err != nil {
		t.Fatal(err)
	}
	output, err := terraform(initialized.folder, "apply", "-auto-approve", "-state="+filepath.Join(t.TempDir(), "terraform.tfstate"),
		"-var=emulator="+cmektest.PubSub.At(t), "-var=project="+project, "-var=endpoints="+string(where))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(strings.TrimSpace(output[max(0, strings.LastIndex(output, "Apply complete")):strings.LastIndex(output, "Outputs:")]))
}

// terraform runs the program in the part of the copy that is for the emulator.
func terraform(folder string, arguments ...string) (output string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "terraform", arguments...)
	command.Dir = filepath.Join(folder, "tests", "emulator")
	command.Env = append(os.Environ(),
		"TF_CLI_CONFIG_FILE="+os.Getenv(providersVariable), "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_INPUT=0", "TF_CLI_ARGS=-no-color",
		// What would leave this machine fails.
		"HTTPS_PROXY=http://127.0.0.1:9", "HTTP_PROXY=http://127.0.0.1:9", "NO_PROXY=127.0.0.1,localhost",
	)
	text, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("terraform %s: %w\n%s", arguments[0], err, text)
	}
	return string(text), nil
}

// pubsubModule is the part of the module that is about Pub/Sub.
func pubsubModule(t *testing.T, project, functions string) *module {
	t.Helper()
	where := map[string]cty.Value{}
	for f, url := range endpoints(functions) {
		where[f] = cty.StringVal(url)
	}
	return readModule(t, pubsubFolder, map[string]cty.Value{
		"project": cty.StringVal(project), "name": cty.StringVal(name), "channels": cty.SetVal([]cty.Value{cty.StringVal("slack")}), "feed": cty.True,
		"endpoints": cty.MapVal(where), "account": cty.NullVal(cty.String),
	})
}

// makeParsed makes what the text of the module says.
func makeParsed(t *testing.T, project, functions string) {
	t.Helper()
	m := pubsubModule(t, project, functions)
	for _, kind := range []string{"topic", "subscription"} {
		for _, address := range slices.Sorted(maps.Keys(m.blocks)) {
			if !strings.HasPrefix(address, "google_pubsub_"+kind+".") {
				continue
			}
			m.ids[address] = map[string]cty.Value{}
			for key, each := range m.instances(address) {
				message := m.message(m.blocks[address].Body, each)
				id := fmt.Sprintf("projects/%s/%ss/%s", project, kind, message["name"])
				delete(message, "name")
				delete(message, "project") // both are in its address
				pubsub(t, http.MethodPut, id, message, nil)
				m.ids[address][key] = cty.ObjectVal(map[string]cty.Value{"id": cty.StringVal(id)})
			}
		}
	}
}

// pubsub calls the emulator's REST API about a resource.
func pubsub(t *testing.T, method, resource string, message, into any) {
	t.Helper()
	body, err := json.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+cmektest.PubSub.At(t)+"/v1/"+resource, strings.NewReader(string(body)))
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
	if err != nil || resp.StatusCode != http.StatusOK || into != nil && json.Unmarshal(text, into) != nil {
		t.Fatalf("%s %s of %s: %s %s (%v)", method, resource, body, resp.Status, text, err)
	}
}

// listed are the topics and subscriptions of a project, as the emulator shows them.
func listed(t *testing.T, project string) map[string]any {
	t.Helper()
	found := map[string]any{}
	for _, kind := range []string{"topics", "subscriptions"} {
		var page map[string][]map[string]any
		pubsub(t, http.MethodGet, "projects/"+project+"/"+kind+"?pageSize=1000", nil, &page)
		for _, one := range page[kind] {
			if labels, ok := one["labels"].(map[string]any); ok && len(labels) == 1 && labels["goog-terraform-provisioned"] != nil {
				delete(one, "labels") // the provider's own
			}
			found[kind+" "+fmt.Sprint(one["name"])] = one
		}
	}
	return found
}

// What is made of the module's text is what Terraform makes of it, so that tests without the provider are about the same deployment.
func TestDeployment_parsedAsTerraformAppliesIt(t *testing.T) {
	enabled(t)
	if why := providerMissing(); why != "" {
		t.Skip(why)
	}
	const first, second = "acme-applied", "acme-parsed"
	apply(t, first, "http://127.0.0.1:1")
	makeParsed(t, second, "http://127.0.0.1:1")
	applied, parsed := listed(t, first), listed(t, second)
	if len(applied) != 19 {
		t.Errorf("Terraform makes %d topics and subscriptions, want 19", len(applied))
	}
	text, err := json.Marshal(parsed)
	var renamed map[string]any
	if err != nil || json.Unmarshal([]byte(strings.ReplaceAll(string(text), second, first)), &renamed) != nil {
		t.Fatal(err)
	}
	for name := range applied {
		if !reflect.DeepEqual(applied[name], renamed[name]) {
			t.Errorf("%s:\napplied %v\nparsed  %v", name, applied[name], renamed[name])
		}
	}
	if len(renamed) != len(applied) {
		t.Errorf("%d are applied, %d parsed", len(applied), len(renamed))
	}
}
