package stack_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/lifecycle"
	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// deployed is the text of an output as CloudFormation makes it once the key's ARN is known.
func deployed(t *testing.T, value any, arn string) string {
	t.Helper()
	intrinsic, ok := value.(map[string]any)
	if !ok {
		return fmt.Sprint(value)
	}
	if _, ok := intrinsic["Fn::GetAtt"]; ok {
		return arn
	}
	if selected, ok := intrinsic["Fn::Select"].([]any); ok {
		at := int(selected[0].(float64))
		if list, ok := selected[1].([]any); ok {
			return deployed(t, list[at], arn)
		}
		split := selected[1].(map[string]any)["Fn::Split"].([]any)
		return strings.Split(deployed(t, split[1], arn), split[0].(string))[at]
	}
	joined, ok := intrinsic["Fn::Join"].([]any)
	if !ok {
		t.Fatalf("an output is %s", compact(value))
	}
	var parts []string
	for _, part := range joined[1].([]any) {
		parts = append(parts, deployed(t, part, arn))
	}
	return strings.Join(parts, joined[0].(string))
}

// What the stacks put out, joined by the command of the README, enables CMEK on a cluster in all its Regions.
func TestRegionSpecs_areTheBodyOfThePOST(t *testing.T) {
	const cluster = "7c1d9e20-3a4b-4c5d-8e6f-000000000077"
	const east, west = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f701"), cmek.KeyURI("arn:aws:kms:us-west-2:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f702")
	d := full(t)
	d.CMEKKeys = []deployment.CMEKKey{{Name: "orders", Account: "111122223333", Regions: []string{"us-east-1", "us-west-2"}, RotationDays: 365, ClusterAccount: "777788889999"}}
	directory := t.TempDir()
	synthesize(d, directory)
	single, policies := map[string]string{}, map[string]string{}
	for region, arn := range map[string]cmek.KeyURI{"us-east-1": east, "us-west-2": west} {
		made := read(t, filepath.Join(directory, "keyturn-key-orders-"+region+".template.json"))
		policies[region] = compact(made.Resources[made.of("AWS::KMS::Key")[0]].property("KeyPolicy"))
		single["orders-"+region+".json"] = deployed(t, made.Outputs["RegionSpecs"].Value, string(arn))
	}
	multi := templates(t)
	if _, ok := multi["keyturn-key-orders-us-west-2"].Outputs["RegionSpecs"]; ok {
		t.Error("a replica's stack has region specs of its own")
	}
	primary := cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab")
	for name, body := range map[string]string{
		"two keys":         joinedAsTheReadmeSays(t, single),
		"multi-Region key": deployed(t, multi["keyturn-key-orders-us-east-1"].Outputs["RegionSpecs"].Value, string(primary)),
	} {
		if specs, err := lifecycle.ParseSpecs([]byte(body)); err != nil || len(specs) != 2 {
			t.Errorf("%s: keyturn enable -f reads %v (%v) in %s", name, specs, err, body)
		}
		seed := simulator.DefaultSeed()
		seed.Keys = append(seed.Keys, simulator.KeySeed{URI: east, Policy: policies["us-east-1"]}, simulator.KeySeed{URI: west, Policy: policies["us-west-2"]},
			simulator.KeySeed{URI: primary, Replicas: []string{"us-west-2"}, Policy: policies["us-east-1"]})
		seed.Clusters = append(seed.Clusters, simulator.ClusterSeed{ID: cluster, Name: "new", AccountID: "777788889999", Regions: []simulator.RegionSeed{{Name: "us-east-1"}, {Name: "us-west-2"}}})
		world, err := simulator.New(seed, simulator.WithRand(rand.New(rand.NewPCG(1, 2))))
		if err != nil {
			t.Fatal(err)
		}
		if status, answer := post(t, world, cluster, body); status != http.StatusOK || !strings.Contains(answer, `"us-west-2"`) {
			t.Errorf("%s: POST answers %d %s to %s", name, status, answer, body)
		}
	}
	if len(single) != 2 {
		t.Fatalf("single keys: %v", single)
	}
}

// joinedAsTheReadmeSays runs the command that the README shows on the files.
func joinedAsTheReadmeSays(t *testing.T, files map[string]string) string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^\$ (jq -s .* orders-us-east-1\.json orders-us-west-2\.json) > cmek_config\.json$`).FindSubmatch(readme)
	if command == nil {
		t.Fatal("the README does not say how the outputs are joined")
	}
	if _, err := exec.LookPath("jq"); err != nil {
		t.Skip("jq, with which the README joins the outputs, is not installed")
	}
	folder := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.CommandContext(t.Context(), "bash", "-c", string(command[1]))
	c.Dir = folder
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", command[1], err, out)
	}
	return string(out)
}

func post(t *testing.T, world *simulator.World, cluster, body string) (int, string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://cloud.test/api/v1/clusters/"+cluster+"/cmek", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+simulator.SampleAPIKey)
	q.Header.Set("Cc-Version", "2024-09-16")
	resp, err := simulator.Transport(world.CloudAPI()).RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}
