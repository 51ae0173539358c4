package checks

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run go test -update and read the difference", file)
	}
}

// The README has the whole catalog.
func TestTable_is_in_the_README(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(readme), "-update -->\n")
	_, after, ended := strings.Cut(rest, "<!-- end -->")
	if !begun || !ended {
		t.Fatal("README.md has no place for the table")
	}
	golden(t, "README.md", before+"-update -->\n"+Table()+"<!-- end -->"+after)
}

// What people read about every failing row.
func TestFixes_of_all_rows(t *testing.T) {
	var out strings.Builder
	for _, r := range rows {
		if r.want != Fail {
			continue
		}
		facts, declared := goodFleet()
		r.change(&facts, &declared)
		for _, f := range Run(facts, declared, now) {
			if f.Check != r.check || f.Result != Fail || f.Subject.Cloud != r.cloud {
				continue
			}
			fmt.Fprintf(&out, "## %s %s: %s\n%s\n%s\n", r.check, r.cloud, r.name, f.Subject.ID, f.Why)
			for _, step := range f.Fix {
				fmt.Fprintln(&out, "-", step)
			}
			out.WriteByte('\n')
			break
		}
	}
	golden(t, "testdata/fixes.txt", out.String())
}

func isCommand(step string) bool {
	return slices.ContainsFunc([]string{"aws ", "gcloud ", "keyturn "}, func(p string) bool { return strings.HasPrefix(step, p) })
}

// Ids come from outside. Whatever they hold, a step is one line, and a command of it runs nothing else.
func TestFixes_with_hostile_ids_run_nothing_else(t *testing.T) {
	const evil = "x'; touch pwned; `touch pwned` $(touch pwned) \"\u202e\nrm -rf"
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, r := range rows {
		facts, declared := goodFleet()
		r.change(&facts, &declared)
		for i := range facts.Accounts {
			for j := range facts.Accounts[i].Watch.Value.Parts {
				facts.Accounts[i].Watch.Value.Parts[j].Name = evil
			}
			for j := range facts.Accounts[i].Trails.Value {
				facts.Accounts[i].Trails.Value[j].Name = evil
			}
		}
		for i := range facts.Keys {
			for j := range facts.Keys[i].Grants.Value {
				facts.Keys[i].Grants.Value[j].ID = evil
			}
			for j := range facts.Keys[i].Uses.Value {
				facts.Keys[i].Uses.Value[j].ClusterName = evil
			}
		}
		for i := range facts.Clusters {
			facts.Clusters[i].ID += evil
			for j := range facts.Clusters[i].Audit.Value {
				facts.Clusters[i].Audit.Value[j].By = evil
			}
		}
		for i := range facts.Credentials {
			facts.Credentials[i].Name += evil
		}
		for _, f := range Run(facts, declared, now) {
			for _, text := range append([]string{f.Why, f.Notice}, f.Fix...) {
				if strings.ContainsFunc(text, invisible) {
					t.Fatalf("%s: %q", f.Check, text)
				}
			}
			if f.Check != r.check || f.Result != Fail {
				continue
			}
			for _, step := range f.Fix {
				if !isCommand(step) {
					continue
				}
				name, rest, _ := strings.Cut(step, " ")
				run := exec.Command(shell, "-c", name+"() { :; }; "+name+" "+rest) //nolint:gosec // it is what the test is about
				run.Dir = dir
				if out, err := run.CombinedOutput(); err != nil || len(out) > 0 {
					t.Fatalf("%s: %q: %v %s", f.Check, step, err, out)
				}
				if _, err := os.Stat(dir + "/pwned"); err == nil {
					t.Fatalf("%s: %q runs something else", f.Check, step)
				}
			}
		}
	}
}

func TestSteps_quote_or_replace_what_they_print(t *testing.T) {
	for _, tt := range []struct{ value, want string }{
		{"abc-1", "aws x --name abc-1"},
		{"a b", "aws x --name 'a b'"},
		{"-f", "aws x --name=-f"},
		{"a'b", `aws x --name 'a'\''b'`},
		{"", "aws x --name NAME"},
		{"file:///etc/passwd", "aws x --name NAME"},
		{"a\u202eb", "aws x --name NAME"},
		{"file://" + policyFile, "aws x --name file://policy.json"},
	} {
		var p plan
		p.run("aws x", nil, "name", tt.value)
		if got := p.steps[len(p.steps)-1]; got != tt.want {
			t.Errorf("%q: %s, want %s", tt.value, got, tt.want)
		}
		if explained := len(p.steps) == 2; explained != strings.HasSuffix(tt.want, "NAME") {
			t.Errorf("%q: %v", tt.value, p.steps)
		}
	}
}

func TestKeysOfGoogle_are_named_as_gcloud_wants_them(t *testing.T) {
	for _, uri := range []cmek.KeyURI{gkey, "//cloudkms.googleapis.com/" + gkey, gkey + "/cryptoKeyVersions/3"} {
		var p plan
		p.gcloud(uri, "describe")
		if want := "gcloud kms keys describe payments --keyring crdb --location us-east1 --project acme-keys"; p.steps[0] != want {
			t.Errorf("%s: %v", uri, p.steps)
		}
	}
}

func TestSeverities_are_all_reached(t *testing.T) {
	reached := map[string]bool{}
	for _, r := range rows {
		check, _ := Of(r.check)
		if s := r.severity; r.want == Fail && s != "" {
			reached[r.check+" "+string(s)] = true
		} else if r.want == Fail {
			reached[r.check+" "+string(check.Severity())] = true
		}
	}
	for _, c := range Catalog() {
		for _, s := range c.Severities {
			if !reached[c.ID+" "+string(s)] {
				t.Errorf("no row of %s is %s", c.ID, s)
			}
		}
	}
}
