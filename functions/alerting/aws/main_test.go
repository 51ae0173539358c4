package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/alerting"
)

func complete() map[string]string {
	return map[string]string{
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "sample", "AWS_SECRET_ACCESS_KEY": "sample",
		"KEYTURN_LEDGER":           "dynamodb://keyturn",
		"KEYTURN_ALERTS_TOPIC":     "arn:aws:sns:us-east-1:111122223333:keyturn-alerts",
		"KEYTURN_OPERATIONS_TOPIC": "arn:aws:sns:us-east-1:111122223333:keyturn-operations",
		"KEYTURN_API_KEY_SECRET":   "keyturn/api-key",
	}
}

func wireWith(env map[string]string) error {
	var environ []string
	for name, value := range env {
		environ = append(environ, name+"="+value)
	}
	_, err := wire(environ)
	return err
}

func TestACompleteConfigurationIsAccepted(t *testing.T) {
	env := complete()
	if err := wireWith(env); err != nil {
		t.Errorf("wire: %v", err)
	}
	env["KEYTURN_REPAIR"], env["KEYTURN_REPAIR_ROLE"] = "true", "arn:aws:iam::{account}:role/keyturn-repair"
	if err := wireWith(env); err != nil {
		t.Errorf("wire with repair: %v", err)
	}
}

func TestAnEmptyConfigurationNamesEveryMissingVariable(t *testing.T) {
	err := wireWith(nil)
	for name := range complete() {
		if err == nil || !strings.Contains(err.Error(), name+" is not set") {
			t.Errorf("the error does not say that %s is not set:\n%v", name, err)
		}
	}
}

func TestEveryWrongValueIsNamedWithWhatItShouldBe(t *testing.T) {
	env := complete()
	want := map[string]string{
		"KEYTURN_LEDGER":           "want dynamodb://TABLE",
		"KEYTURN_ENRICH":           "at most 6s",
		"KEYTURN_RECHECK_EVERY":    "want a duration",
		"KEYTURN_HEALTHY_FOR":      "want a duration",
		"KEYTURN_REQUEST_RATE":     "at most 10",
		"KEYTURN_ALERTS_TOPIC":     "not the ARN of an SNS topic",
		"KEYTURN_OPERATIONS_TOPIC": "not the ARN of an SNS topic",
		"COCKROACH_SERVER":         "http",
		"KEYTURN_REPAIR_ROLE":      "is not set",
	}
	env["KEYTURN_LEDGER"], env["COCKROACH_SERVER"], env["KEYTURN_REPAIR"] = "file:ledger.db", "http://cockroachlabs.cloud", "true"
	env["KEYTURN_ENRICH"], env["KEYTURN_RECHECK_EVERY"], env["KEYTURN_HEALTHY_FOR"] = "20s", "five minutes", "0s"
	env["KEYTURN_REQUEST_RATE"] = "11"
	env["KEYTURN_ALERTS_TOPIC"], env["KEYTURN_OPERATIONS_TOPIC"] = "alerts", "arn:aws:sqs:us-east-1:111122223333:q"
	err := wireWith(env)
	if err == nil {
		t.Fatal("the configuration was accepted")
	}
	for name, hint := range want {
		found := false
		for line := range strings.Lines(err.Error()) {
			found = found || strings.Contains(line, hint) && strings.Contains(line, name)
		}
		if !found {
			t.Errorf("no line names %s with %q in:\n%v", name, hint, err)
		}
	}
}

func TestTheReadmeListsEveryVariableWithItsDefault(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| `?([^|`]+)`? \\|").FindAllStringSubmatch(string(readme), -1) {
		rows[m[1]] = strings.TrimSpace(m[2])
	}
	var check func(v reflect.Value)
	check = func(v reflect.Value) {
		for i := range v.NumField() {
			field := v.Type().Field(i)
			name, required := strings.CutSuffix(field.Tag.Get("env"), ",required")
			switch {
			case name == "" && field.Type.Kind() == reflect.Struct:
				check(v.Field(i))
			case rows[name] == "":
				t.Errorf("README.md has no row for %s", name)
			case required != (rows[name] == "required"):
				t.Errorf("README.md says that %s is %q; required is %v", name, rows[name], required)
			}
			delete(rows, name)
		}
	}
	defaults := map[string]string{}
	for name, value := range rows {
		defaults[name] = value
	}
	check(reflect.ValueOf(settings{}))
	for name := range rows {
		t.Errorf("README.md lists %s, which is no variable", name)
	}

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
