package gcp

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestTheModulesLinkedIntoTheFunctionAreThoseOnTheList(t *testing.T) {
	cmektest.LinksModules(t, *update)
}

func complete() map[string]string {
	return map[string]string{
		"KEYTURN_CHANNEL":        "slack",
		"KEYTURN_CHANNEL_SECRET": "projects/acme-prod/secrets/slack",
	}
}

func wireWith(env map[string]string) error {
	var environ []string
	for name, value := range env {
		environ = append(environ, name+"="+value)
	}
	_, err := Wire(environ)
	return err
}

func TestWire_completeConfiguration(t *testing.T) {
	if err := wireWith(complete()); err != nil {
		t.Errorf("Wire: %v", err)
	}
}

func TestWire_emptyConfiguration(t *testing.T) {
	err := wireWith(nil)
	for name := range complete() {
		if err == nil || !strings.Contains(err.Error(), name+" is not set") {
			t.Errorf("the error does not say that %s is not set:\n%v", name, err)
		}
	}
}

func TestWire_everyWrongValueIsNamed(t *testing.T) {
	env := complete()
	hints := map[string][2]string{ // the value, and what its line says
		"KEYTURN_CHANNEL":         {"fax", "none of slack, pagerduty and webhook"},
		"KEYTURN_CHANNEL_SECRET":  {"https://hooks.slack.com/services/x", "want projects/PROJECT/secrets/SECRET"},
		"KEYTURN_LEDGER":          {"file:ledger.db", "want firestore://PROJECT/DATABASE"},
		"KEYTURN_MIN_SEVERITY":    {"loud", "want critical"},
		"KEYTURN_TIMEOUT":         {"2h", "from 10s to 1h"},
		"KEYTURN_GOOGLE_ENDPOINT": {"http://example.com", "not https"},
	}
	for name, hint := range hints {
		env[name] = hint[0]
	}
	err := wireWith(env)
	if err == nil {
		t.Fatal("the configuration was accepted")
	}
	for name, hint := range hints {
		found := false
		for line := range strings.Lines(err.Error()) {
			found = found || strings.Contains(line, name) && strings.Contains(line, hint[1])
		}
		if !found {
			t.Errorf("no line names %s with %q in:\n%v", name, hint[1], err)
		}
	}
}

func TestTheReadmeNamesEveryVariable(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range config.Variables(&settings{}) {
		if !strings.Contains(string(readme), "`"+name+"`") {
			t.Errorf("README.md does not name %s", name)
		}
	}
}
