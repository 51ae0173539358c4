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
	"github.com/keyturn/keyturn/internal/config/configtest"
)

// What compliance reads the Cloud API with has no method that writes.
var _ compliance.Cloud = cockroachcloud.Reader{}

var update = flag.Bool("update", false, "rewrite the golden files")

func TestTheModulesLinkedIntoTheFunctionAreThoseOnTheList(t *testing.T) {
	cmektest.LinksModules(t, *update)
}

func TestEnvironment(t *testing.T) {
	configtest.Entry{
		Wire: func(environ []string) error { _, err := Wire(environ); return err },
		Complete: map[string]string{
			"KEYTURN_LEDGER":           "firestore://acme-prod/keyturn",
			"KEYTURN_ARCHIVE":          "gs://acme-evidence/evidence",
			"KEYTURN_DECLARATIONS":     "gs://acme-keyturn-source/declarations-abc.json",
			"KEYTURN_ALERTS_TOPIC":     "projects/acme-prod/topics/keyturn-alerts",
			"KEYTURN_OPERATIONS_TOPIC": "projects/acme-prod/topics/keyturn-operations",
			"KEYTURN_API_KEY_SECRET":   "projects/acme-prod/secrets/keyturn-compliance-api-key",
		},
		Wrong: [][3]string{
			{"KEYTURN_LEDGER", "dynamodb://keyturn", "want firestore://PROJECT/DATABASE"},
			{"KEYTURN_ARCHIVE", "s3://acme-evidence", "want gs://BUCKET/PREFIX"},
			{"KEYTURN_DECLARATIONS", "gs://acme-keyturn-source", "names no object"},
			{"KEYTURN_DECLARATIONS", "s3://assets/abc.json", "want gs://BUCKET/NAME"},
			{"KEYTURN_DETECTION", "gs://acme-keyturn-source", "names no object"},
			{"KEYTURN_DETECTION", "s3://assets/abc.json", "want gs://BUCKET/NAME"},
			{"KEYTURN_AUDIT_API_KEY_SECRET", "keyturn/api-key", "want projects/PROJECT/secrets/SECRET"},
			{"KEYTURN_ROTATION_API_KEY_SECRET", "keyturn/api-key", "want projects/PROJECT/secrets/SECRET"},
			{"KEYTURN_ALERTS_TOPIC", "arn:aws:sns:us-east-1:111122223333:alerts", "want projects/PROJECT/topics/TOPIC"},
			{"KEYTURN_OPERATIONS_TOPIC", "operations", "want projects/PROJECT/topics/TOPIC"},
			{"KEYTURN_API_KEY_SECRET", "keyturn/api-key", "want projects/PROJECT/secrets/SECRET"},
			{"KEYTURN_COMPLIANCE_AT", "24h", "time of the day"},
			{"KEYTURN_REQUEST_RATE", "11", "at most 10"},
			{"KEYTURN_TIMEOUT", "5s", "from 10s to 1h"},
			{"KEYTURN_GOOGLE_ENDPOINT", "kms.example.com", "want https://HOST"},
		},
	}.Check(t)
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
