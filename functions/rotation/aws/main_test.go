package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/rotation"
)

func complete() map[string]string {
	return map[string]string{
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "sample", "AWS_SECRET_ACCESS_KEY": "sample",
		"KEYTURN_LEDGER": "dynamodb://keyturn", "KEYTURN_ARCHIVE": "s3://keyturn-archive/evidence",
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
	if err := wireWith(complete()); err != nil {
		t.Errorf("wire: %v", err)
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
		"KEYTURN_ARCHIVE":          "want s3://BUCKET/PREFIX",
		"KEYTURN_MODE":             "neither observe nor follow",
		"KEYTURN_SETTLE":           "want a duration",
		"KEYTURN_IN_FLIGHT":        "want 1 or more",
		"KEYTURN_REQUEST_RATE":     "at most 10",
		"KEYTURN_ALERTS_TOPIC":     "not the ARN of an SNS topic",
		"COCKROACH_SERVER":         "http",
		"KEYTURN_CONCURRENCY":      "want 1 to 64",
		"KEYTURN_OPERATIONS_TOPIC": "not the ARN of an SNS topic",
	}
	env["KEYTURN_LEDGER"], env["KEYTURN_ARCHIVE"] = "file:ledger.db", "dynamodb://table"
	env["KEYTURN_MODE"], env["KEYTURN_SETTLE"], env["KEYTURN_IN_FLIGHT"] = "maybe", "five minutes", "0"
	env["KEYTURN_REQUEST_RATE"], env["KEYTURN_CONCURRENCY"] = "11", "65"
	env["KEYTURN_ALERTS_TOPIC"], env["KEYTURN_OPERATIONS_TOPIC"] = "alerts", "arn:aws:sqs:us-east-1:111122223333:q"
	env["COCKROACH_SERVER"] = "http://cockroachlabs.cloud"
	err := wireWith(env)
	if err == nil {
		t.Fatal("the configuration was accepted")
	}
	for name, hint := range want {
		found := false
		for line := range strings.Lines(err.Error()) {
			found = found || (strings.Contains(line, hint) && (strings.Contains(line, name) || strings.Contains(line, env[name])))
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
			case name == "": // not read from the environment
				continue
			case rows[name] == "":
				t.Errorf("README.md has no row for %s", name)
			case required != (rows[name] == "required"):
				t.Errorf("README.md says that %s is %q; required is %v", name, rows[name], required)
			}
			delete(rows, name)
		}
	}
	check(reflect.ValueOf(settings{Rotation: rotation.DefaultSettings()}))
	for name := range rows {
		t.Errorf("README.md lists %s, which is no variable", name)
	}

	d := rotation.DefaultSettings()
	for name, want := range map[string]string{
		"KEYTURN_MODE": string(d.Mode), "KEYTURN_SETTLE": "5m", "KEYTURN_CONFIRM": "50s", "KEYTURN_IN_FLIGHT": "3", "KEYTURN_SWEEP_EVERY": "15m",
		"KEYTURN_CONCURRENCY": "16", "KEYTURN_POLL": "15s", "KEYTURN_GRACE": "10m", "KEYTURN_REQUEST_RATE": "8",
	} {
		if !regexp.MustCompile("(?m)^\\| `" + name + "` \\| `" + want + "` \\|").Match(readme) {
			t.Errorf("README.md does not give the default of %s as %s", name, want)
		}
	}
	if got := []string{d.Settle.String(), d.Confirm.String(), d.SweepEvery.String(), d.Poll.String(), d.Grace.String()}; !reflect.DeepEqual(got, []string{"5m0s", "50s", "15m0s", "15s", "10m0s"}) || d.InFlight != 3 || d.Concurrency != 16 {
		t.Errorf("the defaults changed: %+v; change README.md and this test with them", d)
	}
}
