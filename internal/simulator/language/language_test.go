package language_test

import (
	"testing"

	"github.com/keyturn/keyturn/internal/simulator/language"
)

func TestSelects_asDocumented(t *testing.T) {
	entry := map[string]any{
		"logName": "projects/p/logs/cloudaudit.googleapis.com%2Factivity", "a": "true", "b": "true", "c": "false",
		"protoPayload": map[string]any{"methodName": "google.iam.admin.v1.SetIAMPolicy"}, "timestamp": "2026-03-01T12:00:00.5Z",
	}
	for filter, want := range map[string]bool{
		`log_id("cloudaudit.googleapis.com/activity")`: true, `log_id("cloudaudit.googleapis.com/data_access")`: false, `log_id("activity")`: false,
		`a="true"`: true, `a="TRUE"`: true, `a="tru"`: false, `a:"RU"`: true, `a=~"^tr"`: true, `a=~"^TR"`: false, `a=~"ru"`: true,
		`NOT c="true"`: true, `-c="true"`: true, `x="true"`: false, `NOT x="true"`: true, `x:"true"`: false,
		// OR binds closer than AND: (a OR b) AND c.
		`a="true" OR b="true" AND c="true"`: false, `a="true" OR (b="true" AND c="true")`: true,
		`a="true" c="true"`: false, `a="true" b="true"`: true, `a=("x" OR "true")`: true, `a=("x" OR "y")`: false,
		"a=\"true\" -- AND c=\"true\"\nAND b=\"true\"":      true,
		`protoPayload.methodName=~"(^|[.])(SetIamPolicy)$"`: false, `protoPayload.methodName=~"(^|[.])(SetIAMPolicy)$"`: true,
		`protoPayload.methodName="google.iam.admin.v1.SetIamPolicy"`: true,
		`timestamp>="2026-03-01T12:00:00.5Z"`:                        true, `timestamp>="2026-03-01T12:00:01Z"`: false, `timestamp<"2026-03-01T12:00:01Z"`: true,
		`timestamp<"2026-03-01T13:00:00.5+01:00"`: false, `x>="2026-03-01T12:00:00Z"`: false,
	} {
		if got, err := language.Selects(filter, entry, language.Documented); err != nil || got != want {
			t.Errorf("%s selects the entry: %t (%v), want %t", filter, got, err, want)
		}
	}
}

func TestSelects_refusesWhatItDoesNotKnow(t *testing.T) {
	entry := map[string]any{"a": "true", "n": 1}
	for _, filter := range []string{``, `a`, `a=`, `a="true`, `a=true`, `a="true" OR`, `(a="true"`, `a="true")`, `a=~"("`, `n>"0"`, `n>="0"`, `timestamp>="today"`, `a=("true"`, `log_id("x"`, `a="true" ; b`} {
		if got, err := language.Selects(filter, entry, language.Documented); err == nil || got {
			t.Errorf("%q: selects %t, error %v; want an error", filter, got, err)
		}
	}
}
