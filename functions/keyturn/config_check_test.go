package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/keyturn/setup"
)

func TestConfigCheckNamesEveryProblemWithItsLine(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(b.folder, "keyturn.yaml")
	if err := os.WriteFile(file, []byte("hub: {account: \"111122223333\", region: us-esat-1}\nmdoe: follow\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := b.keyturn(t, "config", "check", file)
	o.wantCode(t, exitUsage, "config", "check", file)
	wantText(t, "the output", o.out, file+`:1: hub.region is "us-esat-1": did you mean us-east-1?`, file+`:2: mdoe is no field: did you mean mode?`, "operations is missing")
	wantText(t, "the error", o.err, file+" has 6 problems")
	if got := strings.Count(o.out, "\n"); got != 6 {
		t.Errorf("there are %d lines, want one for each of 6 problems:\n%s", got, o.out)
	}

	o = b.keyturn(t, "config", "check", file, "-o", "json")
	o.wantCode(t, exitUsage, "config", "check", file, "-o", "json")
	if checked := decodeJSON[setup.CheckedFile](t, o.out); len(checked.Problems) != 6 || checked.File != file || checked.Problems[0].Message == "" {
		t.Errorf("the JSON is %+v, want 6 problems of %s", checked, file)
	}
}

func TestConfigCheckTakesTheExample(t *testing.T) {
	b := newBench(t)
	example := "../../infra/aws/keyturn.example.yaml"
	wantText(t, "the output", b.succeed(t, "config", "check", example), "without problems")
	if checked := decodeJSON[setup.CheckedFile](t, b.succeed(t, "config", "check", example, "-o", "json")); checked.Problems == nil || len(checked.Problems) > 0 {
		t.Errorf("the JSON is %+v, want an empty list of problems", checked)
	}
	t.Chdir(b.folder)
	o := b.keyturn(t, "config", "check")
	o.wantCode(t, exitUsage, "config", "check")
	wantText(t, "the error", o.err, "keyturn.yaml", "keyturn.example.yaml")
}

// A deployment on Google Cloud is described by Terraform, and what it declares for the checks by a file with that section alone.
func TestConfigCheckTakesDeclarationsAlone(t *testing.T) {
	b := newBench(t)
	example := "../../infra/gcp/examples/one-project/declarations.yaml"
	wantText(t, "the output", b.succeed(t, "config", "check", example), "declares what compliance checks compare with, without problems")
	file := filepath.Join(b.folder, "declarations.yaml")
	for text, want := range map[string][]string{
		"compliance:\n  thresholds: {cryptoperiod_dais: 90}\n": {":2: compliance.thresholds.cryptoperiod_dais is no field", "has 1 problem"},
		"compliance:\n  out_of_scope:\n  - {cluster: a}\n":     {"compliance.out_of_scope[0]", "has 1 problem"},
		"compliances: {}\n":              {":1: compliances is no field: did you mean compliance?", "hub"},
		"compliance: {}\nmode: follow\n": {"hub"}, // a deployment, which lacks the rest
		"":                               {"the file is empty"},
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		o := b.keyturn(t, "config", "check", file)
		o.wantCode(t, exitUsage, "config", "check", file)
		wantText(t, text, o.out+o.err, want...)
	}
}
