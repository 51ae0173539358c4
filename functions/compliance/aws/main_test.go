package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
)

// What compliance reads the Cloud API with has no method that writes.
var _ compliance.Cloud = cockroachcloud.Reader{}

func complete() map[string]string {
	return map[string]string{
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "sample", "AWS_SECRET_ACCESS_KEY": "sample",
		"KEYTURN_LEDGER": "dynamodb://keyturn", "KEYTURN_ARCHIVE": "s3://keyturn-archive/evidence", "KEYTURN_DECLARATIONS": "s3://assets/abc.json",
		"KEYTURN_ALERTS_TOPIC":     "arn:aws:sns:us-east-1:111122223333:keyturn-alerts",
		"KEYTURN_OPERATIONS_TOPIC": "arn:aws:sns:us-east-1:111122223333:keyturn-operations",
		"KEYTURN_API_KEY_SECRET":   "keyturn/compliance-api-key",
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
	for _, wrong := range []struct{ variable, value, hint string }{
		{"KEYTURN_DECLARATIONS", "s3://bucket", "names no object"},
		{"KEYTURN_DECLARATIONS", "file:x", "want s3://BUCKET/NAME"},
		{"KEYTURN_ARCHIVE", "file:x", "want s3://BUCKET/PREFIX"},
		{"KEYTURN_COMPLIANCE_AT", "24h", "time of the day"},
		{"KEYTURN_COMPLIANCE_AT", "noon", "want a duration"},
		{"KEYTURN_REQUEST_RATE", "11", "at most 10"},
	} {
		env := complete()
		env[wrong.variable] = wrong.value
		if err := wireWith(env); err == nil || !strings.Contains(err.Error(), wrong.variable) || !strings.Contains(err.Error(), wrong.hint) {
			t.Errorf("%s=%s: %v", wrong.variable, wrong.value, err)
		}
	}
}

func TestReadmeListsEverySettingWithItsDefault(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| `?([^|`]+)`? \\|").FindAllStringSubmatch(string(readme), -1) {
		rows[m[1]] = strings.TrimSpace(m[2])
	}
	var check func(of reflect.Type)
	check = func(of reflect.Type) {
		for field := range fields(of) {
			name, required := strings.CutSuffix(field.Tag.Get("env"), ",required")
			switch {
			case name == "" && field.Type.Kind() == reflect.Struct:
				check(field.Type)
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
	check(reflect.TypeFor[settings]())
	for name := range rows {
		t.Errorf("README.md lists %s, which is no variable", name)
	}
	if d := compliance.DefaultSettings(); d.At != 5*time.Hour || d.Part != 50 {
		t.Errorf("the defaults changed: %+v; change README.md and this test with them", d)
	}
}

func fields(of reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range of.NumField() {
			if !yield(of.Field(i)) {
				return
			}
		}
	}
}
