package gcp

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/config"
)

// What compliance reads the Cloud API with has no method that writes.
var _ compliance.Cloud = cockroachcloud.Reader{}

var update = flag.Bool("update", false, "rewrite the golden files")

func TestTheModulesLinkedIntoTheFunctionAreThoseOnTheList(t *testing.T) {
	cmektest.LinksModules(t, *update)
}

func complete() map[string]string {
	return map[string]string{
		"KEYTURN_LEDGER":           "firestore://acme-prod/keyturn",
		"KEYTURN_ALERTS_TOPIC":     "projects/acme-prod/topics/keyturn-alerts",
		"KEYTURN_OPERATIONS_TOPIC": "projects/acme-prod/topics/keyturn-operations",
		"KEYTURN_API_KEY_SECRET":   "projects/acme-prod/secrets/keyturn-api-key",
		"KEYTURN_ARCHIVE":          "gs://acme-evidence/evidence",
		"KEYTURN_DECLARATIONS":     "gs://acme-keyturn-source/declarations-abc.json",
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
		"KEYTURN_LEDGER":           {"dynamodb://keyturn", "want firestore://PROJECT/DATABASE"},
		"KEYTURN_ALERTS_TOPIC":     {"arn:aws:sns:us-east-1:111122223333:alerts", "want projects/PROJECT/topics/TOPIC"},
		"KEYTURN_OPERATIONS_TOPIC": {"operations", "want projects/PROJECT/topics/TOPIC"},
		"KEYTURN_API_KEY_SECRET":   {"keyturn/api-key", "want projects/PROJECT/secrets/SECRET"},
		"COCKROACH_SERVER":         {"http://cockroachlabs.cloud", "http"},
		"KEYTURN_REQUEST_RATE":     {"11", "at most 10"},
		"KEYTURN_TIMEOUT":          {"5s", "from 10s to 1h"},
		"KEYTURN_GOOGLE_ENDPOINT":  {"kms.example.com", "want https://HOST"},
		"KEYTURN_ARCHIVE":          {"s3://acme-evidence", "want gs://BUCKET/PREFIX"},
		"KEYTURN_DECLARATIONS":     {"gs://acme-keyturn-source", "names no object"},
		"KEYTURN_COMPLIANCE_AT":    {"24h", "time of the day"},
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
	_, section, _ := strings.Cut(string(readme), "\n### On Google Cloud\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, name := range config.Variables(&settings{}) {
		if !strings.Contains(section, "`"+name+"`") {
			t.Errorf("the section of README.md about Google Cloud does not name %s", name)
		}
	}
}
