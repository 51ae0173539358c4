package google_test

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/google"
)

type allSettings struct {
	Google  google.Settings
	Archive google.ArchiveSettings
	Channel google.ChannelSettings

	Declared google.DeclarationSettings
}

func completeSettings() map[string]string {
	return map[string]string{
		"KEYTURN_LEDGER": "firestore://acme-prod/keyturn", "KEYTURN_ARCHIVE": "gs://acme-evidence/team/",
		"KEYTURN_ALERTS_TOPIC": "projects/acme-prod/topics/keyturn-alerts", "KEYTURN_OPERATIONS_TOPIC": "projects/acme-prod/topics/keyturn-operations",
		"KEYTURN_API_KEY_SECRET": "projects/acme-prod/secrets/keyturn-api-key", "KEYTURN_CHANNEL_SECRET": "projects/123456789012/secrets/slack",
		"KEYTURN_DECLARATIONS": "gs://acme-source/declarations-abc.json",
	}
}

func load(env map[string]string) error {
	var environ []string
	for name, value := range env {
		environ = append(environ, name+"="+value)
	}
	_, err := google.Load(&allSettings{}, environ, 0)
	return err
}

func TestSettings_withOneWrong(t *testing.T) {
	if err := load(completeSettings()); err != nil {
		t.Errorf("complete settings: %v", err)
	}
	for variable, values := range map[string][]string{
		"KEYTURN_LEDGER": {"", "dynamodb://keyturn", "file:ledger.db", "gs://acme", "firestore://Acme/keyturn", "firestore://acme/K", "firestore://acme/ab",
			"firestore://acme/(other)", "firestore://", "keyturn"},
		"KEYTURN_ARCHIVE":          {"", "s3://acme-evidence", "firestore://acme/keyturn", "gs://ACME", "gs://-x"},
		"KEYTURN_ALERTS_TOPIC":     {"", "alerts", "arn:aws:sns:us-east-1:111122223333:alerts", "projects/acme/topics/", "projects/acme/subscriptions/alerts"},
		"KEYTURN_OPERATIONS_TOPIC": {"", "projects//topics/alerts", "projects/acme/topics/alerts/x"},
		"KEYTURN_API_KEY_SECRET":   {"", "keyturn/api-key", "projects/acme/secrets/a b", "projects/acme/secrets/key/versions/newest"},
		"KEYTURN_CHANNEL_SECRET":   {"", "https://hooks.slack.com/services/x", "projects/acme/secrets/"},
		"KEYTURN_DECLARATIONS":     {"", "s3://acme/declarations.json", "gs://acme-source", "gs://acme-source/", "gs://ACME/declarations.json", "file:declarations.json"},
	} {
		for _, value := range values {
			env := completeSettings()
			env[variable] = value
			err := load(env)
			if err == nil || strings.Count(err.Error(), "\n") > 0 || !strings.HasPrefix(err.Error(), variable) {
				t.Errorf("%s=%s: error %v; want one line that begins with the variable", variable, value, err)
			}
		}
	}
	for variable, values := range map[string][]string{
		"KEYTURN_LEDGER":         {"firestore://acme", "firestore://acme/(default)", "firestore://example.com:acme/keyturn", "firestore://123456789012/keyturn"},
		"KEYTURN_ARCHIVE":        {"gs://acme-evidence", "gs://acme.example.com/a/b"},
		"KEYTURN_DECLARATIONS":   {"gs://acme-source/a/b.json"},
		"KEYTURN_API_KEY_SECRET": {"projects/acme/secrets/key/versions/7", "projects/acme/secrets/key/versions/latest"},
	} {
		for _, value := range values {
			env := completeSettings()
			if env[variable] = value; load(env) != nil {
				t.Errorf("%s=%s: %v", variable, value, load(env))
			}
		}
	}
}

func TestSettings_withAllMissing(t *testing.T) {
	err := load(nil)
	for variable := range completeSettings() {
		if err == nil || !strings.Contains(err.Error(), variable+" is not set") {
			t.Errorf("the error does not say that %s is not set:\n%v", variable, err)
		}
	}
}
