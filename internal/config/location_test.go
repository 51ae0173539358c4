package config_test

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/config"
)

func TestParseLocation(t *testing.T) {
	for text, want := range map[string]config.Location{
		"dynamodb://keyturn":                  {Scheme: "dynamodb", Name: "keyturn"},
		"dynamodb://keyturn?region=eu-west-1": {Scheme: "dynamodb", Name: "keyturn", Region: "eu-west-1"},
		"s3://evidence/team/a/":               {Scheme: "s3", Name: "evidence", Prefix: "team/a/"},
		"s3://evidence":                       {Scheme: "s3", Name: "evidence"},
		"firestore://acme-prod/keyturn":       {Scheme: "firestore", Name: "acme-prod", Prefix: "keyturn"},
		"firestore://acme-prod/(default)":     {Scheme: "firestore", Name: "acme-prod", Prefix: "(default)"},
		"firestore://acme-prod":               {Scheme: "firestore", Name: "acme-prod"},
		"firestore://example.com:acme/db/":    {Scheme: "firestore", Name: "example.com:acme", Prefix: "db"},
		"gs://evidence":                       {Scheme: "gs", Name: "evidence"},
		"gs://evidence/team/a":                {Scheme: "gs", Name: "evidence", Prefix: "team/a/"},
		"file:.keyturn/ledger.db":             {Scheme: "file", Name: ".keyturn/ledger.db"},
		"file:///var/lib/keyturn.db":          {Scheme: "file", Name: "/var/lib/keyturn.db"},
	} {
		got, err := config.ParseLocation(text)
		if err != nil || got != want {
			t.Errorf("ParseLocation(%q) = %+v, %v; want %+v", text, got, err, want)
		}
		if again, err := config.ParseLocation(got.String()); err != nil || again != got {
			t.Errorf("%q written back as %q reads as %+v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "keyturn", "dynamodb://", "dynamodb://table/sub", "file:", "https://example.com",
		"dynamodb://table?regoin=us-east-1", "dynamodb://table?region=", "dynamodb://table?region=a&region=b", "dynamodb://table?region=us-east-1&x=y",
		"s3://bucket/a?region=us-east-1#b", "dynamodb://me@table", "s3://bucket?REGION=us-east-1", "dynamodb://table?%zz", "dynamodb://table?us-east-1",
		"firestore://", "firestore:///keyturn", "firestore://acme/a/b", "firestore://acme/db?region=us-east1", "firestore://me@acme/db", "firestore:acme/db",
		"gs://", "gs:///prefix", "gs://bucket?region=us-east1", "gs://bucket/a#b", "gs://bucket/a b", "gcs://bucket", "GS://bucket",
	} {
		if got, err := config.ParseLocation(text); err == nil {
			t.Errorf("ParseLocation(%q) = %+v; want an error", text, got)
		}
	}
}

func TestAnUnknownParameterOfALocationNamesTheNearOne(t *testing.T) {
	_, err := config.ParseLocation("dynamodb://keyturn?regoin=us-east-1")
	if err == nil || !strings.Contains(err.Error(), `the parameter "regoin"`) || !strings.Contains(err.Error(), "did you mean region?") {
		t.Errorf("the error is %v, want one that names regoin and region", err)
	}
}
