package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/keyturn/explain"
	"github.com/keyturn/keyturn/internal/alert"
)

// What people paste, and how bad it is: without a ledger the worst is assumed of the clusters, and nothing more than that.
func TestExplainRatesWhatPeoplePaste(t *testing.T) {
	for _, tc := range []struct {
		file  string
		worst alert.Severity
		most  alert.Severity
	}{
		{"assumerole-refused-to-own-account.json", alert.None, alert.Low},
		{"trust-policy-for-a-service-only.json", alert.Critical, alert.Critical},
		{"dry-run.json", alert.None, alert.None},
		{"aws-managed-alias.json", alert.None, alert.None},
		{"deny-one-key.json", alert.High, alert.Critical},
		{"deny-one-region.json", alert.High, alert.Critical},
	} {
		data, err := os.ReadFile(filepath.Join("testdata", "paste", tc.file))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(explainText(t.Context(), string(data), "-o", "json").out) {
			x := decodeJSON[explain.Explanation](t, line)
			if !x.Severity.AtLeast(tc.worst) || x.Severity.Above(tc.most) {
				t.Errorf("%s: %s is %s because %s; want %s to %s", tc.file, x.Change, x.Severity, x.Reason, tc.worst, tc.most)
			}
		}
	}
}

// A Deny on the cluster's own key is tried on the keys that the ledger knows.
func TestExplainTriesADenyOnTheClustersRealKeys(t *testing.T) {
	b := newBench(t).swept(t)
	b.environ = append(b.environ, "KEYTURN_ORGANIZATION_ID=our-organization")
	ledger := "KEYTURN_LEDGER=file:" + filepath.Join(b.folder, "ledger.db")
	deny := func(resource string) string {
		return withPolicy("PutRolePolicy", "policyDocument", `{"Effect":"Deny","Action":"kms:*","Resource":"`+resource+`"}`)
	}
	for _, tc := range []struct {
		name, payload string
		with, without alert.Severity
	}{
		{"the cluster's own key", deny(paymentsKey), alert.Critical, alert.High},
		{"all keys", deny("*"), alert.Critical, alert.Critical},
		{"keys of another Region", deny("arn:aws:kms:eu-west-1:111122223333:key/*"), alert.High, alert.High},
		{"a trust policy for a service only", withPolicy("UpdateAssumeRolePolicy", "policyDocument",
			`{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}`), alert.Critical, alert.Critical},
	} {
		environ := b.environ
		for variable, want := range map[string]alert.Severity{ledger: tc.with, "KEYTURN_LEDGER=": tc.without} {
			b.environ = append(slices.Clip(environ), variable)
			o := b.keyturnWith(t.Context(), tc.payload, "explain", "-o", "json")
			if x := decodeJSON[explain.Explanation](t, o.out); x.Severity != want {
				t.Errorf("%s, with %s: %s because %s; want %s", tc.name, variable, x.Severity, x.Reason, want)
			}
		}
		b.environ = environ
	}
}
