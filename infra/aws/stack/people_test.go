package stack_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/infra/aws/deployment"
)

// peoplesPolicies are the managed policies for people, by name.
func peoplesPolicies(t *testing.T, made template) map[string][]statement {
	t.Helper()
	found := map[string][]statement{}
	for _, id := range made.of("AWS::IAM::ManagedPolicy") {
		r := made.Resources[id]
		document := map[string]any{"PolicyDocument": r.property("PolicyDocument")}
		found[r.property("ManagedPolicyName").(string)] = statements(t, resource{Properties: map[string]any{"Policies": []any{document}}})
		if n := len(compact(r.property("PolicyDocument"))); n > 6144 {
			t.Errorf("policy %s has %d characters, want at most 6,144", id, n)
		}
	}
	return found
}

func TestPeopleMayDoWhatTheGoldenFilesSay(t *testing.T) {
	policies := peoplesPolicies(t, hub(t))
	for _, name := range []string{"keyturn-viewer", "keyturn-operator", "keyturn-auditor"} {
		var text strings.Builder
		fmt.Fprintf(&text, "policy %s\n", name)
		for _, s := range policies[name] {
			fmt.Fprintf(&text, "\n%s\n", strings.Join(s.actions, "\n"))
			for _, on := range s.resources {
				fmt.Fprintf(&text, "    on %s\n", on)
			}
			if s.condition != nil {
				fmt.Fprintf(&text, "    if %s\n", compact(s.condition))
			}
		}
		file := filepath.Join("testdata/people", name+".txt")
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if golden, err := os.ReadFile(file); err != nil || string(golden) != text.String() {
			t.Errorf("what policy %s allows differs from %s (%v); it is now\n%s", name, file, err, text.String())
		}
	}
}

func TestThePoliciesOfPeopleHaveEveryGrantAndNoOther(t *testing.T) {
	policies := peoplesPolicies(t, hub(t))
	for name, grants := range map[string][]deployment.Grant{"keyturn-viewer": deployment.ViewerGrants(), "keyturn-operator": deployment.OperatorGrants(), "keyturn-auditor": deployment.AuditorGrants()} {
		var want, got []string
		for _, g := range grants {
			want = append(want, g.Action)
		}
		for _, s := range policies[name] {
			got = append(got, s.actions...)
			if slices.Contains(s.actions, "dynamodb:PutItem") && s.condition == nil {
				t.Errorf("%s may write every item of the ledger's table", name)
			}
			for _, on := range s.resources {
				if on == "*" {
					t.Errorf("%s may %v on everything", name, s.actions)
				}
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s may %v, want %v", name, got, want)
		}
	}
	for _, s := range policies["keyturn-auditor"] {
		for _, on := range s.resources {
			listed := s.condition != nil && strings.Contains(compact(s.condition), "archive/runs/*")
			if !strings.HasSuffix(on, "/archive/runs/*") && !listed {
				t.Errorf("who audits may %v on %s", s.actions, on)
			}
		}
	}
	for _, s := range policies["keyturn-viewer"] {
		for _, action := range s.actions {
			if strings.Contains(action, "Put") || strings.Contains(action, "Publish") {
				t.Errorf("who looks may %s", action)
			}
		}
	}
}

func TestManyAccountsFitIntoThePoliciesOfPeople(t *testing.T) {
	d := full(t)
	for i := range 200 {
		account := fmt.Sprintf("%012d", 500000000000+i)
		d.Accounts = append(d.Accounts, deployment.Account{ID: account, Roles: []string{"arn:aws:iam::" + account + ":role/payments-cmek"}, Trail: deployment.TrailAsserted})
	}
	directory := t.TempDir()
	synthesize(d, directory)
	policies := peoplesPolicies(t, read(t, filepath.Join(directory, "keyturn-hub.template.json")))
	if !strings.Contains(fmt.Sprint(policies["keyturn-viewer"]), "arn:aws:iam::*:role/keyturn-reader") {
		t.Error("the reader roles of 200 accounts are not named by their common name")
	}
}

func TestTheHubPublishesWhatACommandNeeds(t *testing.T) {
	made := hub(t)
	ids := made.of("AWS::SSM::Parameter")
	if len(ids) != 1 {
		t.Fatalf("the hub has the parameters %v, want one", ids)
	}
	parameter := made.Resources[ids[0]]
	if parameter.property("Name") != "/keyturn/keyturn" || parameter.property("Tier") != "Standard" {
		t.Errorf("the parameter is %s", compact(parameter.Properties))
	}
	p, err := deployment.ParsePublished("keyturn", arn(parameter.property("Value")))
	if err != nil {
		t.Fatalf("a command cannot read it: %v", err)
	}
	for _, c := range []struct{ what, got, want string }{
		{"ledger", p.Ledger, "dynamodb://<Ledger>?region=us-east-1"}, {"archive", p.Archive, "s3://<Archive>/archive?region=us-east-1"},
		{"alerts", p.AlertsTopic, "<Alerts>"}, {"operations", p.OperationsTopic, "<Operations>"}, {"reader role", p.ReaderRole, "arn:aws:iam::{account}:role/keyturn-reader"},
		{"organization", p.OrganizationID, "5f3c1f0e-58c2-4d2a-9a3e-0c1b9a7d2e41"}, {"mode", p.Mode, "follow"}, {"version", p.Version, "unknown"},
		{"settings", fmt.Sprint(p.Settings), "map[KEYTURN_SETTLE:5m]"}, {"account", p.Account, "111122223333"},
	} {
		if c.got != c.want {
			t.Errorf("the hub publishes as %s %q, want %q", c.what, c.got, c.want)
		}
	}
	var functions []string
	for _, id := range made.of("AWS::Lambda::Function") {
		if name, ok := made.Resources[id].property("FunctionName").(string); ok {
			functions = append(functions, strings.TrimPrefix(name, "keyturn-"))
		}
	}
	slices.Sort(functions)
	if !slices.Equal(p.Functions, functions) {
		t.Errorf("the hub publishes the functions %v, and has %v", p.Functions, functions)
	}
	for _, output := range []string{"DeploymentParameter", "ViewerPolicyArn", "OperatorPolicyArn", "AuditorPolicyArn", "Version"} {
		if _, ok := made.Outputs[output]; !ok {
			t.Errorf("the hub has no output %s", output)
		}
	}
}

func TestTheVersionIsStampedWhereverPeopleLook(t *testing.T) {
	d := full(t)
	d.Version = "v1.2.3-rc.1+dirty"
	directory := t.TempDir()
	synthesize(d, directory)
	for _, file := range files(t, directory) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		made := read(t, file)
		if !strings.Contains(string(data), `(v1.2.3-rc.1+dirty)"`) {
			t.Errorf("the description of %s lacks the version", filepath.Base(file))
		}
		for _, id := range made.of("AWS::Lambda::Function") {
			if name, _ := made.Resources[id].property("FunctionName").(string); name == "" {
				continue // the CDK's own, behind a custom resource
			}
			if variables := compact(made.Resources[id].property("Environment")); !strings.Contains(variables, `"KEYTURN_VERSION":"v1.2.3-rc.1+dirty"`) {
				t.Errorf("function %s is not told its version: %s", id, variables)
			}
		}
		if filepath.Base(file) == "keyturn-hub.template.json" && made.Outputs["Version"].Value != "v1.2.3-rc.1+dirty" {
			t.Errorf("the output is %v", made.Outputs["Version"].Value)
		}
	}
}
