package main

import (
	"reflect"
	"testing"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/config/configtest"
)

func TestEnvironment(t *testing.T) {
	configtest.Entry{
		Wire: func(environ []string) error { _, err := wire(environ); return err },
		Complete: map[string]string{
			"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "sample", "AWS_SECRET_ACCESS_KEY": "sample",
			"KEYTURN_LEDGER": "dynamodb://keyturn", "KEYTURN_ARCHIVE": "s3://keyturn-archive/evidence",
			"KEYTURN_ALERTS_TOPIC":     "arn:aws:sns:us-east-1:111122223333:keyturn-alerts",
			"KEYTURN_OPERATIONS_TOPIC": "arn:aws:sns:us-east-1:111122223333:keyturn-operations",
			"KEYTURN_API_KEY_SECRET":   "keyturn/api-key",
		},
		Wrong: [][3]string{
			{"KEYTURN_LEDGER", "file:ledger.db", "want dynamodb://TABLE"},
			{"KEYTURN_ARCHIVE", "dynamodb://table", "want s3://BUCKET/PREFIX"},
			{"KEYTURN_MODE", "maybe", "neither observe nor follow"},
			{"KEYTURN_SETTLE", "five minutes", "want a duration"},
			{"KEYTURN_IN_FLIGHT", "0", "want 1 or more"},
			{"KEYTURN_REQUEST_RATE", "11", "at most 10"},
			{"KEYTURN_ALERTS_TOPIC", "alerts", "not the ARN of an SNS topic"},
			{"COCKROACH_SERVER", "http://cockroachlabs.cloud", "http"},
			{"KEYTURN_CONCURRENCY", "65", "want 1 to 64"},
			{"KEYTURN_OPERATIONS_TOPIC", "arn:aws:sqs:us-east-1:111122223333:q", "not the ARN of an SNS topic"},
		},
	}.Check(t)
}

func TestTheReadmeListsEveryVariableWithItsDefault(t *testing.T) {
	defaults := configtest.Defaults(t, "../README.md", settings{})
	d := rotation.DefaultSettings()
	for name, want := range map[string]string{
		"KEYTURN_MODE": string(d.Mode), "KEYTURN_SETTLE": "5m", "KEYTURN_CONFIRM": "50s", "KEYTURN_IN_FLIGHT": "3", "KEYTURN_SWEEP_EVERY": "15m",
		"KEYTURN_CONCURRENCY": "16", "KEYTURN_POLL": "15s", "KEYTURN_GRACE": "10m", "KEYTURN_REQUEST_RATE": "8",
	} {
		if defaults[name] != want {
			t.Errorf("README.md gives the default of %s as %q, want %s", name, defaults[name], want)
		}
	}
	if got := []string{d.Settle.String(), d.Confirm.String(), d.SweepEvery.String(), d.Poll.String(), d.Grace.String()}; !reflect.DeepEqual(got, []string{"5m0s", "50s", "15m0s", "15s", "10m0s"}) || d.InFlight != 3 || d.Concurrency != 16 {
		t.Errorf("the defaults changed: %+v; change README.md and this test with them", d)
	}
}
