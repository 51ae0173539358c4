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
			"KEYTURN_CHANNEL":        "slack",
			"KEYTURN_CHANNEL_SECRET": "projects/acme-prod/secrets/slack",
		},
		Wrong: [][3]string{
			{"KEYTURN_CHANNEL", "fax", "none of slack, pagerduty and webhook"},
			{"KEYTURN_CHANNEL_SECRET", "https://hooks.slack.com/services/x", "want projects/PROJECT/secrets/SECRET"},
			{"KEYTURN_LEDGER", "file:ledger.db", "want firestore://PROJECT/DATABASE"},
			{"KEYTURN_MIN_SEVERITY", "loud", "want critical"},
			{"KEYTURN_TIMEOUT", "2h", "from 10s to 1h"},
			{"KEYTURN_GOOGLE_ENDPOINT", "http://example.com", "not https"},
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
