package main

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/simulator"
)

func TestWrongUsageExitsWith2AndPointsToTheHelp(t *testing.T) {
	b := newBench(t)
	for _, args := range [][]string{
		{"turn"},
		{"status", "--nonsense"},
		{"status", "one", "two"},
		{"release"},
		{"replay"},
		{"plan", "-o", "yaml"},
		{"follow", "now"},
		{"status", "--ledger", ""},
	} {
		o := b.keyturn(t, args...)
		o.wantCode(t, exitUsage, args...)
		wantText(t, "the error", o.err, "keyturn: ", "--help")
		if o.out != "" {
			t.Errorf("keyturn %s wrote to standard output:\n%s", strings.Join(args, " "), o.out)
		}
	}
}

func TestAWrongLedgerIsToldWhereItWasNamed(t *testing.T) {
	b := newBench(t)
	for _, value := range []string{"keyturn", "s3://bucket", "file:"} {
		o := b.keyturn(t, "status", "--ledger", value)
		o.wantCode(t, exitUsage, "status", "--ledger", value)
		wantText(t, "the error", o.err, `"--ledger"`, "want file:PATH, dynamodb://TABLE?region=REGION or firestore://PROJECT/DATABASE")
		if strings.Contains(o.err, "KEYTURN_LEDGER") || strings.Contains(o.err, "s3://BUCKET") {
			t.Errorf("the error about --ledger %s speaks of something else: %s", value, o.err)
		}
	}
	b.environ = append(b.environ, "KEYTURN_LEDGER=keyturn")
	o := b.keyturn(t, "status")
	o.wantCode(t, exitUsage, "status")
	wantText(t, "the error", o.err, `KEYTURN_LEDGER: "keyturn" is not a location`)
}

func TestEveryProblemOfTheConfigurationIsNamedAtOnce(t *testing.T) {
	b := newBench(t)
	b.environ = []string{"KEYTURN_MODE=maybe", "KEYTURN_SETTLE=soon", "KEYTURN_ARCHIVE=ftp://bucket", "KEYTURN_REQUEST_RATE=99"}
	o := b.keyturn(t, "follow")
	o.wantCode(t, exitUsage, "follow")
	wantText(t, "the error", o.err, "KEYTURN_MODE", "observe", "KEYTURN_SETTLE", "duration", "KEYTURN_ARCHIVE", "KEYTURN_LEDGER is not set",
		"KEYTURN_REQUEST_RATE is 99", "COCKROACH_API_KEY is not set")
}

func TestASecretIsNeverShown(t *testing.T) {
	b := newBench(t)
	b.environ = append(b.environ, "COCKROACH_API_KEY=CCDB1_hunter2 with blanks")
	for _, args := range [][]string{{"plan"}, {"follow", "--mode", "follow"}} {
		o := b.keyturn(t, args...)
		o.wantCode(t, exitUsage, args...)
		if strings.Contains(o.out+o.err, "hunter2") {
			t.Errorf("keyturn %s shows the API key:\n%s%s", strings.Join(args, " "), o.out, o.err)
		}
		wantText(t, "the error", o.err, "COCKROACH_API_KEY")
	}
	b.environ = append(b.environ, "COCKROACH_API_KEY="+strings.Replace(simulator.SampleAPIKey, "SAMPLE", "hunter", 1))
	o := b.keyturn(t, "plan")
	o.wantCode(t, exitFailed, "plan")
	wantText(t, "the error", o.err, "401", "check that the API key is right")
	if strings.Contains(o.err, "hunter") {
		t.Errorf("the error shows the API key: %s", o.err)
	}
	if strings.Count(o.err, "\n") != 1 {
		t.Errorf("the error is not one line:\n%s", o.err)
	}
}

func TestEveryCommandHasAHelpWithExamples(t *testing.T) {
	b := newBench(t)
	root := (&program{}).command()
	wantText(t, "the help", b.succeed(t, "--help"), "Exit codes:", "COCKROACH_API_KEY", "KEYTURN_LEDGER")
	for _, c := range root.Commands() {
		if c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		wantText(t, "the help of "+c.Name(), b.succeed(t, c.Name(), "--help"), "Usage:", "Examples:", "keyturn "+c.Name())
	}
}

func TestTheShellCompletesCommandsAndClusters(t *testing.T) {
	b := newBench(t).swept(t)
	wantText(t, "the script", b.succeed(t, "completion", "bash"), "keyturn")
	wantText(t, "what completes retry pay", b.succeed(t, "__complete", "retry", "pay"), "payments\t7c1d9e20-3a4b-4c5d-8e6f-000000000001")
	wantText(t, "what completes status 7c1d", b.succeed(t, "__complete", "status", "7c1d"), "7c1d9e20-3a4b-4c5d-8e6f-000000000003\torders")
	b.environ = nil
	if out := b.succeed(t, "__complete", "retry", ""); strings.Contains(out, "payments") {
		t.Errorf("without a ledger there is nothing to offer:\n%s", out)
	}
}

func TestVersionNamesGoAndThePlatform(t *testing.T) {
	b := newBench(t)
	wantText(t, "the version", b.succeed(t, "version"), "keyturn ", "go1.")
	v := decodeJSON[versions](t, b.succeed(t, "version", "-o", "json"))
	if v.Go == "" || v.Platform == "" || v.Version.Version == "" {
		t.Errorf("version is %+v; want every field but the commit", v)
	}
}
