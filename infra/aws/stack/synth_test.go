package stack_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/infra/aws/stack"
)

// resource is one entry of a template.
type resource struct {
	Type           string
	Properties     map[string]any
	Metadata       map[string]any
	DeletionPolicy string
	DependsOn      any
}

type template struct {
	Resources map[string]resource
	Outputs   map[string]struct{ Value any }
}

// of returns the resources of a type, in the order of their ids.
func (t template) of(kind string) (ids []string) {
	for _, id := range slices.Sorted(maps.Keys(t.Resources)) {
		if t.Resources[id].Type == kind {
			ids = append(ids, id)
		}
	}
	return ids
}

// elsewhere is code that needs no build.
func elsewhere(scope constructs.Construct, function string) awslambda.Code {
	id := jsii.String("Code-" + function)
	bucket, ok := scope.Node().TryFindChild(id).(awss3.IBucket)
	if !ok {
		bucket = awss3.Bucket_FromBucketName(scope, id, jsii.String("code"))
	}
	return awslambda.Code_FromBucketV2(bucket, jsii.String(function+".zip"), &awslambda.BucketOptions{ObjectVersion: jsii.String("1")})
}

// synthesize writes the templates of a deployment to a directory.
func synthesize(d deployment.Deployment, directory string) {
	stack.NewApp(d, elsewhere, directory).Synth(nil)
}

// full is the example with everything switched on.
func full(t *testing.T) deployment.Deployment {
	t.Helper()
	d, err := deployment.Load("../keyturn.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d.Repair, d.SecurityHub, d.Mode = true, true, deployment.Follow
	d.Compliance.AuditCredential = true
	d.Accounts[1].Trail = deployment.TrailAsserted
	d.CMEKKeys[0].PrimaryKey = "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
	return d
}

var fullOnce struct {
	sync.Once
	directory string
	templates map[string]template
}

// templates are those of the full deployment, by their stacks' names.
func templates(t *testing.T) map[string]template {
	t.Helper()
	d := full(t)
	fullOnce.Do(func() {
		directory, err := os.MkdirTemp("", "keyturn-synth")
		if err != nil {
			t.Fatal(err)
		}
		synthesize(d, directory)
		fullOnce.directory, fullOnce.templates = directory, map[string]template{}
		for _, file := range files(t, directory) {
			fullOnce.templates[strings.TrimSuffix(filepath.Base(file), ".template.json")] = read(t, file)
		}
	})
	if fullOnce.templates == nil {
		t.Fatal("the deployment could not be synthesized: see the first test that failed")
	}
	return fullOnce.templates
}

func read(t *testing.T, file string) (made template) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &made)
	}
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(fullOnce.directory)
	os.Exit(code)
}

func files(t *testing.T, directory string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(directory, "*.template.json"))
	if err != nil || len(found) == 0 {
		t.Fatalf("there are no templates in %s (%v)", directory, err)
	}
	return found
}

func TestTheStacksAreThoseThatTheDeploymentCallsFor(t *testing.T) {
	got := slices.Sorted(maps.Keys(templates(t)))
	want := []string{
		"keyturn-hub", "keyturn-key-orders-us-east-1", "keyturn-key-orders-us-west-2", "keyturn-roles-111122223333",
		"keyturn-spoke-111122223333-eu-west-1", "keyturn-spoke-111122223333-us-east-1", "keyturn-spoke-111122223333-us-west-2",
		"keyturn-spoke-444455556666-us-east-1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the stacks are %v, want %v", got, want)
	}
}

func TestNoFindingIsLeftUnexplained(t *testing.T) {
	templates(t)
	findings, err := stack.Findings(fullOnce.directory)
	if err != nil {
		t.Fatal(err)
	}
	for _, finding := range findings {
		t.Error(finding)
	}
}

func TestFindingsOfCdkNagAreFound(t *testing.T) {
	directory := t.TempDir()
	app := awscdk.NewApp(&awscdk.AppProps{Outdir: jsii.String(directory)})
	awssqs.NewQueue(awscdk.NewStack(app, jsii.String("careless"), nil), jsii.String("Queue"), nil)
	awscdk.Aspects_Of(app).Add(cdknag.NewAwsSolutionsChecks(nil), nil)
	app.Synth(nil)
	findings, err := stack.Findings(directory)
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(findings, "\n"); !strings.Contains(all, "AwsSolutions-SQS3") || !strings.Contains(all, "AwsSolutions-SQS4") {
		t.Errorf("findings about a careless queue are %q, want AwsSolutions-SQS3 and -SQS4", findings)
	}
}

func TestTwoSynthsAreIdentical(t *testing.T) {
	templates(t)
	again := t.TempDir()
	synthesize(full(t), again)
	for _, file := range files(t, fullOnce.directory) {
		first, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		second, err := os.ReadFile(filepath.Join(again, filepath.Base(file)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Errorf("%s differs between two synths", filepath.Base(file))
		}
	}
}

func TestCfnLintHasNothingToSay(t *testing.T) {
	if os.Getenv("KEYTURN_E2E") != "1" {
		t.Skip("cfn-lint runs with KEYTURN_E2E=1: make e2e")
	}
	templates(t)
	out, err := exec.Command("cfn-lint", append([]string{"--format", "parseable"}, files(t, fullOnce.directory)...)...).CombinedOutput()
	if err != nil {
		t.Errorf("cfn-lint: %v\n%s", err, out)
	}
}
