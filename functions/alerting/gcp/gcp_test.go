package gcp

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/config"
	"github.com/keyturn/keyturn/internal/config/configtest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestTheModulesLinkedIntoTheFunctionAreThoseOnTheList(t *testing.T) {
	cmektest.LinksModules(t, *update)
}

func TestEnvironment(t *testing.T) {
	configtest.Entry{
		Wire: func(environ []string) error { _, err := Wire(environ); return err },
		Complete: map[string]string{
			"KEYTURN_LEDGER":           "firestore://acme-prod/keyturn",
			"KEYTURN_ALERTS_TOPIC":     "projects/acme-prod/topics/keyturn-alerts",
			"KEYTURN_OPERATIONS_TOPIC": "projects/acme-prod/topics/keyturn-operations",
			"KEYTURN_API_KEY_SECRET":   "projects/acme-prod/secrets/keyturn-api-key",
		},
		Wrong: [][3]string{
			{"KEYTURN_LEDGER", "dynamodb://keyturn", "want firestore://PROJECT/DATABASE"},
			{"KEYTURN_ALERTS_TOPIC", "arn:aws:sns:us-east-1:111122223333:alerts", "want projects/PROJECT/topics/TOPIC"},
			{"KEYTURN_OPERATIONS_TOPIC", "operations", "want projects/PROJECT/topics/TOPIC"},
			{"KEYTURN_API_KEY_SECRET", "keyturn/api-key", "want projects/PROJECT/secrets/SECRET"},
			{"COCKROACH_SERVER", "http://cockroachlabs.cloud", "http"},
			{"KEYTURN_REQUEST_RATE", "11", "at most 10"},
			{"KEYTURN_TIMEOUT", "5s", "from 10s to 1h"},
			{"KEYTURN_GOOGLE_ENDPOINT", "kms.example.com", "want https://HOST"},
			{"KEYTURN_ENRICH", "20s", "at most 6s"},
			{"KEYTURN_REPAIR", "true", "want false"},
		},
	}.Check(t)
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
