package main

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/keyturn/setup"
)

func TestConfigShowPrintsEachSettingWithItsOrigin(t *testing.T) {
	b := newBench(t)
	shown := decodeJSON[setup.ShownConfig](t, b.succeed(t, "config", "show", "-o", "json", "--mode", "follow"))
	for name, want := range map[string]setup.ShownSetting{
		"KEYTURN_MODE":           {Value: "follow", Origin: "--mode"},
		"KEYTURN_SETTLE":         {Value: "0s", Origin: "environment"},
		"KEYTURN_IN_FLIGHT":      {Value: "3", Origin: "default"},
		"KEYTURN_READER_ROLE":    {Origin: "not set"},
		"COCKROACH_API_KEY":      {Value: "********", Origin: "environment"},
		"COCKROACH_SERVER":       {Value: b.url, Origin: "environment"},
		"KEYTURN_LEDGER":         {Value: "file:" + b.folder + "/ledger.db", Origin: "environment"},
		"KEYTURN_ALERTS_TOPIC":   {Origin: "not set"},
		"KEYTURN_LOG_LEVEL":      {Value: "WARN", Origin: "default"},
		"KEYTURN_REQUEST_RATE":   {Value: "500", Origin: "environment"},
		"KEYTURN_EXTRA_NOTHING?": {},
	} {
		var got setup.ShownSetting
		for _, s := range shown.Settings {
			if s.Name == name {
				got = s
			}
		}
		want.Name = name
		if got != want && want.Origin != "" || want.Origin == "" && got.Name != "" {
			t.Errorf("%s is %+v, want %+v", name, got, want)
		}
	}
	text := b.succeed(t, "config", "show")
	wantText(t, "the table", text, "SETTING", "ORIGIN", "KEYTURN_IN_FLIGHT", "default", "********")
	if strings.Contains(text, "CCDB1") {
		t.Errorf("the table shows the API key:\n%s", text)
	}
}

func TestConfigShowShowsAllThoughOneIsWrong(t *testing.T) {
	b := newBench(t)
	b.environ = append(b.environ, "KEYTURN_SETTLE=soon", "KEYTURN_IN_FLIHGT=2", "COCKROACH_API_KEY=not a key")
	o := b.keyturn(t, "config", "show", "-o", "json")
	o.wantCode(t, exitUsage, "config", "show")
	shown := decodeJSON[setup.ShownConfig](t, o.out)
	if len(shown.Settings) < 10 || len(shown.Problems) != 2 {
		t.Errorf("%d settings and the problems %q are shown, want all, and two problems", len(shown.Settings), shown.Problems)
	}
	wantText(t, "the error", o.err, `KEYTURN_SETTLE is "soon"`, "KEYTURN_IN_FLIHGT is no setting of keyturn: did you mean KEYTURN_IN_FLIGHT?")
}

func TestAnUnknownVariableIsAnErrorThatNamesTheNearOne(t *testing.T) {
	b := newBench(t)
	b.environ = append(b.environ, "KEYTURN_SETLE=1s", "KEYTURN_ZZZ_NOTHING=x", "KEYTURN_OWN_ROLES=a function's", "KEYTURN=x")
	for _, command := range [][]string{{"status"}, {"plan"}, {"follow", "--mode", "follow"}, {"pause"}, {"alerts"}} {
		o := b.keyturn(t, command...)
		o.wantCode(t, exitUsage, command...)
		wantText(t, "the error", o.err, "KEYTURN_SETLE is no setting of keyturn: did you mean KEYTURN_SETTLE?", "KEYTURN_ZZZ_NOTHING is no setting of keyturn: unset it")
		if strings.Contains(o.err, "KEYTURN_OWN_ROLES is") {
			t.Errorf("the variable of a function is taken for unknown: %s", o.err)
		}
	}
}

func TestAnUnknownParameterOfTheLedgerIsAnError(t *testing.T) {
	b := newBench(t)
	const ledger = "dynamodb://keyturn?regoin=us-east-1"
	o := b.keyturn(t, "status", "--ledger", ledger)
	o.wantCode(t, exitUsage, "status", "--ledger", ledger)
	wantText(t, "the error", o.err, `"regoin"`, "did you mean region?")
	b.environ = append(b.environ, "KEYTURN_LEDGER="+ledger)
	o = b.keyturn(t, "status")
	o.wantCode(t, exitUsage, "status")
	wantText(t, "the error", o.err, "KEYTURN_LEDGER", `"regoin"`, "did you mean region?")
}
