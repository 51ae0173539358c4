package stack_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/infra/aws/stack"
	"github.com/keyturn/keyturn/internal/cmek"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// statement is one of a role's permissions.
type statement struct {
	actions   []string
	resources []string
	condition any
	why       string
}

// role is a role of the deployment with all that it may do.
type role struct {
	stack      string
	name       string
	trust      string
	statements []statement
}

// roles returns the roles of all stacks that are ours, in the order of their names. Roles of clusters are not: they have no
// permissions.
func roles(t *testing.T) []role { t.Helper(); return rolesOf(t, templates(t)) }

func rolesOf(t *testing.T, templates map[string]template) (found []role) {
	t.Helper()
	for name, made := range templates {
		for _, id := range append(made.of("AWS::IAM::Policy"), made.of("AWS::IAM::ManagedPolicy")...) {
			if id := digest.ReplaceAllString(id, ""); strings.Contains(name, "-hub") && (id == "ViewerPolicy" || id == "OperatorPolicy" || id == "AuditorPolicy") {
				continue // of people; their tests are in people_test.go
			}
			t.Errorf("%s: policy %s stands beside the roles; the roles of a small deployment should hold all their permissions themselves", name, id)
		}
		for _, id := range made.of("AWS::IAM::Role") {
			r := made.Resources[id]
			if r.Properties["ManagedPolicyArns"] != nil {
				t.Errorf("%s: role %s has managed policies", name, id)
			}
			roleName, _ := r.Properties["RoleName"].(string)
			if strings.HasSuffix(roleName, "-cmek") {
				if r.Properties["Policies"] != nil {
					t.Errorf("%s: the cluster's role %s has permissions; the key's policy is to have them", name, id)
				}
				continue
			}
			found = append(found, role{name, roleName, compact(r.Properties["AssumeRolePolicyDocument"]), statements(t, r)})
		}
	}
	slices.SortFunc(found, func(a, b role) int { return strings.Compare(a.stack+a.name, b.stack+b.name) })
	return found
}

func statements(t *testing.T, r resource) (found []statement) {
	t.Helper()
	why, _ := r.Metadata[stack.WhyWildcards].(map[string]any)
	policies, _ := r.Properties["Policies"].([]any)
	for _, policy := range policies {
		document := policy.(map[string]any)["PolicyDocument"].(map[string]any)
		for _, s := range document["Statement"].([]any) {
			s := s.(map[string]any)
			if s["Effect"] != "Allow" || s["NotAction"] != nil || s["NotResource"] != nil {
				t.Errorf("a statement of %v does not simply allow: %s", r.Properties["RoleName"], compact(s))
			}
			one := statement{condition: s["Condition"]}
			for _, action := range list(s["Action"]) {
				one.actions = append(one.actions, action.(string))
			}
			for _, resource := range list(s["Resource"]) {
				one.resources = append(one.resources, arn(resource))
			}
			slices.Sort(one.actions)
			for _, action := range one.actions {
				if reason, ok := why[action].(string); ok {
					one.why = reason
				}
			}
			found = append(found, one)
		}
	}
	return found
}

func list(value any) []any {
	if all, ok := value.([]any); ok {
		return all
	}
	return []any{value}
}

var digest = regexp.MustCompile(`[0-9A-F]{8}$`)

// arn writes a resource as a person would: <logical id> stands for the ARN of a resource of the stacks.
func arn(value any) string {
	switch value := value.(type) {
	case string:
		return value
	case map[string]any:
		if ref, ok := value["Ref"].(string); ok {
			return "<" + digest.ReplaceAllString(ref, "") + ">"
		}
		if get, ok := value["Fn::GetAtt"].([]any); ok {
			return "<" + digest.ReplaceAllString(get[0].(string), "") + ">"
		}
		if join, ok := value["Fn::Join"].([]any); ok {
			var text strings.Builder
			for _, part := range join[1].([]any) {
				text.WriteString(arn(part))
			}
			return text.String()
		}
	}
	return compact(value)
}

func compact(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(data)
}

func TestTheRolesMayDoWhatTheGoldenFilesSay(t *testing.T) {
	const directory = "testdata/roles"
	want := map[string]bool{}
	for _, r := range roles(t) {
		var text strings.Builder
		fmt.Fprintf(&text, "role %s\n\ntrusts\n    %s\n", r.name, r.trust)
		for _, s := range r.statements {
			fmt.Fprintf(&text, "\n%s\n", strings.Join(s.actions, "\n"))
			for _, resource := range s.resources {
				fmt.Fprintf(&text, "    on %s\n", contentHash.ReplaceAllString(resource, "HASH"))
			}
			if s.condition != nil {
				fmt.Fprintf(&text, "    if %s\n", compact(s.condition))
			}
			if s.why != "" {
				fmt.Fprintf(&text, "    # %s\n", s.why)
			}
		}
		file := filepath.Join(directory, r.stack, r.name+".txt")
		want[file] = true
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		golden, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("role %s has no golden file: %v; make golden writes it", r.name, err)
		} else if string(golden) != text.String() {
			t.Errorf("what role %s may do differs from %s; it is now\n%s", r.name, file, text.String())
		}
	}
	golden, err := filepath.Glob(directory + "/*/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range golden {
		if want[file] {
			continue
		}
		if *update {
			_ = os.Remove(file)
		} else {
			t.Errorf("%s is of a role that there is not", file)
		}
	}
}

func TestNoRoleMayDoMoreThanItCanName(t *testing.T) {
	for _, r := range roles(t) {
		for _, s := range r.statements {
			for _, action := range s.actions {
				if strings.Contains(action, "*") {
					t.Errorf("%s may do %s, which is a wildcard", r.name, action)
				}
			}
			for _, resource := range s.resources {
				if strings.Contains(resource, "*") && s.why == "" {
					t.Errorf("%s may %v on %s, and no reason is given for the wildcard", r.name, s.actions, resource)
				}
			}
		}
		if strings.Contains(r.trust, `"*"`) {
			t.Errorf("%s trusts everybody: %s", r.name, r.trust)
		}
	}
}

// reading matches the actions on keys that neither change nor use them.
var reading = regexp.MustCompile(`^kms:(?:Describe|Get|List)`)

func TestNoFunctionMayChangeOrUseAKey(t *testing.T) {
	for _, r := range roles(t) {
		var of []string
		for _, s := range r.statements {
			for _, action := range s.actions {
				if strings.HasPrefix(action, "kms:") && !reading.MatchString(action) {
					of = append(of, action)
				}
				if strings.HasPrefix(action, "iam:") && !strings.HasPrefix(action, "iam:Get") && !strings.HasPrefix(action, "iam:List") {
					of = append(of, action)
				}
			}
		}
		slices.Sort(of)
		switch want := map[string][]string{
			// These are no functions: one is assumed by alerting if its owner wants repairs, the other tags a key of our own.
			"keyturn-repair":              {"kms:CancelKeyDeletion", "kms:EnableKey"},
			"keyturn-heartbeat-us-east-1": {"kms:TagResource"},
		}[r.name]; {
		case !slices.Equal(of, want):
			t.Errorf("%s may %v, want %v", r.name, of, want)
		}
	}
}

func TestARoleThatReadsManyKeysKeepsWithinTheLimitsOfIAM(t *testing.T) {
	d := full(t)
	d.Accounts[0].Keys = nil
	want := map[string]int{}
	for i := range 600 {
		key := fmt.Sprintf("arn:aws:kms:ap-southeast-2:111122223333:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e%04d", i)
		d.Accounts[0].Keys = append(d.Accounts[0].Keys, cmek.KeyURI(key))
		want[key] = 1
	}
	directory := t.TempDir()
	synthesize(d, directory)
	made := read(t, filepath.Join(directory, "keyturn-roles-111122223333.template.json"))
	for _, id := range made.of("AWS::IAM::Role") {
		r := made.Resources[id]
		if r.property("RoleName") == "orders-cmek" {
			continue
		}
		if n := len(compact(r.Properties["Policies"])); n > 10240 {
			t.Errorf("the inline policies of %s have %d characters, want at most 10,240", id, n)
		}
		arns := list(r.Properties["ManagedPolicyArns"])
		if len(arns) > 10 {
			t.Errorf("%s has %d managed policies, want at most 10", id, len(arns))
		}
		named := map[string]int{}
		documents := []any{r.Properties["Policies"]}
		for _, reference := range arns {
			policy := made.Resources[reference.(map[string]any)["Ref"].(string)].property("PolicyDocument")
			if n := len(compact(policy)); n > 6144 {
				t.Errorf("a managed policy of %s has %d characters, want at most 6,144", id, n)
			}
			documents = append(documents, policy)
		}
		for _, key := range keyARN.FindAllString(compact(documents), -1) {
			named[key]++
		}
		if !maps.Equal(named, want) {
			t.Errorf("%s names %d keys, want each of %d once", id, len(named), len(want))
		}
	}
}

var keyARN = regexp.MustCompile(`arn:aws:kms:[a-z0-9-]+:[0-9]+:key/[0-9a-f-]+`)
