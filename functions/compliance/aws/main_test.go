package main

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/config/configtest"
)

// What compliance reads the Cloud API with has no method that writes.
var _ compliance.Cloud = cockroachcloud.Reader{}

func TestEnvironment(t *testing.T) {
	configtest.Entry{
		Wire: func(environ []string) error { _, err := wire(environ); return err },
		Complete: map[string]string{
			"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "sample", "AWS_SECRET_ACCESS_KEY": "sample",
			"KEYTURN_LEDGER": "dynamodb://keyturn", "KEYTURN_ARCHIVE": "s3://keyturn-archive/evidence", "KEYTURN_DECLARATIONS": "s3://assets/abc.json",
			"KEYTURN_ALERTS_TOPIC":     "arn:aws:sns:us-east-1:111122223333:keyturn-alerts",
			"KEYTURN_OPERATIONS_TOPIC": "arn:aws:sns:us-east-1:111122223333:keyturn-operations",
			"KEYTURN_API_KEY_SECRET":   "keyturn/compliance-api-key",
		},
		Wrong: [][3]string{
			{"KEYTURN_DECLARATIONS", "s3://bucket", "names no object"},
			{"KEYTURN_DECLARATIONS", "file:x", "want s3://BUCKET/NAME"},
			{"KEYTURN_DETECTION", "s3://bucket", "names no object"},
			{"KEYTURN_DETECTION", "gs://bucket/x", "want s3://BUCKET/NAME"},
			{"KEYTURN_ARCHIVE", "file:x", "want s3://BUCKET/PREFIX"},
			{"KEYTURN_COMPLIANCE_AT", "24h", "time of the day"},
			{"KEYTURN_COMPLIANCE_AT", "noon", "want a duration"},
			{"KEYTURN_REQUEST_RATE", "11", "at most 10"},
		},
	}.Check(t)
}

func TestTheReadmeListsEveryVariable(t *testing.T) {
	configtest.Defaults(t, "../README.md", settings{})
	if d := compliance.DefaultSettings(); d.At != 5*time.Hour || d.Part != 50 {
		t.Errorf("the defaults changed: %+v; change README.md and this test with them", d)
	}
}
