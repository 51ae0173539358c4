package main

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/internal/config/configtest"
)

func TestEnvironment(t *testing.T) {
	entry := configtest.Entry{
		Wire: func(environ []string) error { _, err := wire(environ); return err },
		Complete: map[string]string{
			"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "sample", "AWS_SECRET_ACCESS_KEY": "sample",
			"KEYTURN_LEDGER":           "dynamodb://keyturn",
			"KEYTURN_ALERTS_TOPIC":     "arn:aws:sns:us-east-1:111122223333:keyturn-alerts",
			"KEYTURN_OPERATIONS_TOPIC": "arn:aws:sns:us-east-1:111122223333:keyturn-operations",
			"KEYTURN_API_KEY_SECRET":   "keyturn/api-key",
		},
		Wrong: [][3]string{
			{"KEYTURN_LEDGER", "file:ledger.db", "want dynamodb://TABLE"},
			{"KEYTURN_ENRICH", "20s", "at most 6s"},
			{"KEYTURN_RECHECK_EVERY", "five minutes", "want a duration"},
			{"KEYTURN_HEALTHY_FOR", "0s", "want a duration"},
			{"KEYTURN_REQUEST_RATE", "11", "at most 10"},
			{"KEYTURN_ALERTS_TOPIC", "alerts", "not the ARN of an SNS topic"},
			{"KEYTURN_OPERATIONS_TOPIC", "arn:aws:sqs:us-east-1:111122223333:q", "not the ARN of an SNS topic"},
			{"COCKROACH_SERVER", "http://cockroachlabs.cloud", "http"},
			{"KEYTURN_REPAIR", "true", "KEYTURN_REPAIR_ROLE is not set"},
		},
	}
	entry.Check(t)

	entry.Complete["KEYTURN_REPAIR"], entry.Complete["KEYTURN_REPAIR_ROLE"] = "true", "arn:aws:iam::{account}:role/keyturn-repair"
	var environ []string
	for name, value := range entry.Complete {
		environ = append(environ, name+"="+value)
	}
	if _, err := wire(environ); err != nil {
		t.Errorf("wire with repair: %v", err)
	}
}

func TestTheReadmeListsEveryVariableWithItsDefault(t *testing.T) {
	defaults := configtest.Defaults(t, "../README.md", settings{})
	d := alerting.DefaultSettings()
	for name, want := range map[string]time.Duration{"KEYTURN_ENRICH": d.Enrich, "KEYTURN_RECHECK_EVERY": d.RecheckEvery, "KEYTURN_HEALTHY_FOR": d.HealthyFor} {
		if got, err := time.ParseDuration(defaults[name]); err != nil || got != want {
			t.Errorf("README.md gives the default of %s as %q, want %s", name, defaults[name], want)
		}
	}
	if defaults["KEYTURN_REQUEST_RATE"] != "1" || defaults["KEYTURN_REPAIR"] != "false" {
		t.Error("README.md gives other defaults of KEYTURN_REQUEST_RATE or KEYTURN_REPAIR than 1, false")
	}
}
