package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/functions/compliance/planned"
	"github.com/keyturn/keyturn/internal/report"
)

const plans = "../compliance/planned/testdata/"

// offline is a bench without a key for the Cloud API, and without a ledger.
func offline(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.environ = slices.DeleteFunc(b.environ, func(pair string) bool {
		return strings.HasPrefix(pair, "COCKROACH_API_KEY=") || strings.HasPrefix(pair, "KEYTURN_LEDGER=") || strings.HasPrefix(pair, "KEYTURN_DEPLOYMENT=")
	})
	return b
}

func TestCheckOfAPlan_exitsAsFindingsSay(t *testing.T) {
	b := offline(t)
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"google-quiet"}, exitFine},
		{[]string{"google-new"}, exitFine},
		{[]string{"google-denied"}, exitNeedsPerson},
		{[]string{"google-denied", "--fail-on", "critical"}, exitNeedsPerson},
		{[]string{"google-denied", "--fail-on", "none"}, exitFine},
		{[]string{"google-exposed", "--fail-on", "none"}, exitNeedsPerson},                  // an ERROR
		{[]string{"google-exposed", "--fail-on", "none", "--allow-unread"}, exitFine},       // which is allowed
		{[]string{"google-exposed", "--allow-unread"}, exitNeedsPerson},                     // and hides no failure
		{[]string{"google-quiet", "--format", "csv"}, exitUsage},                            // a change has no such form
		{[]string{"google-quiet", "orders"}, exitUsage},                                     // nor clusters
		{[]string{"google-quiet", "--check", "CMEK-04"}, exitUsage},                         // nor checks
		{[]string{"google-quiet", "--role", "arn:aws:iam::111122223333:role/x"}, exitUsage}, // nor a document beside it
		{[]string{"nothing"}, exitFailed},
	} {
		args := append([]string{"check", "--terraform-plan", plans + c.args[0] + ".json"}, c.args[1:]...)
		b.keyturn(t, args...).wantCode(t, c.code, args...)
	}
	b.keyturn(t, "check", "--terraform-plan", plans+"README.md").wantCode(t, exitFailed, "no plan")
	wantText(t, "the error", b.keyturn(t, "check", "--terraform-plan", plans+"README.md").err, "no JSON object", "terraform show -json")
	for _, args := range [][]string{{"--terraform-plan", ""}, {"--policy", ""}, {"--key", ""}, {"--role", ""}, {"--policy", "x"}, {"--key", "x"}, {"--role", "x"}, {"--policy", "x", "--key", "k", "--role", "r"}} {
		b.keyturn(t, append([]string{"check"}, args...)...).wantCode(t, exitUsage, args...)
	}
}

func TestCheckOfAPlan_printsALineForEachFinding(t *testing.T) {
	b := offline(t)
	losses := b.keyturn(t, "check", "--terraform-plan", plans+"google-losses.json")
	wantText(t, "the findings", losses.out,
		"FAIL  critical  google_kms_crypto_key.payments: destroys: the key is destroyed",
		`FAIL  critical  google_kms_crypto_key_iam_member.cluster["orders"]: cuts off: `,
		"FAIL  medium  google_kms_crypto_key.orders: rotation: automatic rotation is off",
		"FAIL  high  google_kms_crypto_key.payments: deletion window: a destruction waits 24 hours",
		"Judged by: no inventory of clusters: everybody whom a document admits before the change is assumed to need it")
	wantText(t, "a good plan", b.keyturn(t, "check", "--terraform-plan", plans+"google-quiet.json").out, "No findings in 4 changes")

	o := b.keyturn(t, "check", "--terraform-plan", plans+"google-losses.json", "-o", "json")
	r := decodeJSON[planned.Report](t, o.out)
	if len(r.Findings) < 5 || r.Judged == 0 || r.Inventory == "" || r.Findings[0].Address != "google_kms_crypto_key.orders" {
		t.Errorf("%+v", r)
	}
	file := filepath.Join(b.folder, "out.json")
	b.keyturn(t, "check", "--terraform-plan", plans+"google-losses.json", "--format", "json", "--out", file)
	if data, err := os.ReadFile(file); err != nil || string(data) != o.out {
		t.Errorf("%s (%v)", data, err)
	}
}

// With the clusters of the simulator, a change is about what they use.
func TestCheckOfAPlan_readsTheClusters(t *testing.T) {
	b := newBench(t)
	policy := filepath.Join(b.folder, "policy.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	role := b.roleOf(t, paymentsARN)
	write(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}]}`)
	o := b.keyturn(t, "check", "--policy", policy, "--key", paymentsARN, "-o", "json")
	o.wantCode(t, exitNeedsPerson, "a policy without the role")
	r := decodeJSON[planned.Report](t, o.out)
	if len(r.Findings) == 0 || r.Findings[0].Question != planned.CutsOff || r.Findings[0].Result != checks.Fail || r.Inventory != "all clusters" {
		t.Errorf("%+v", r)
	}
	write(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"},` +
		`{"Effect":"Allow","Principal":{"AWS":"` + role + `"},"Action":["kms:Encrypt","kms:Decrypt","kms:GenerateDataKey*","kms:DescribeKey","kms:ReEncrypt*"],"Resource":"*"}]}`)
	b.keyturn(t, "check", "--policy", policy, "--key", paymentsARN).wantCode(t, exitFine, "a policy with the role")
	write(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:*","Resource":"*"}]}`)
	b.keyturn(t, "check", "--policy", policy, "--role", role).wantCode(t, exitNeedsPerson, "a policy that denies")
	write(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}`)
	b.keyturn(t, "check", "--policy", policy, "--role", role).wantCode(t, exitFine, "a policy about something else")
	write(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)
	b.keyturn(t, "check", "--policy", policy, "--role", role).wantCode(t, exitNeedsPerson, "a trust policy without the cluster's account")
	write(`{"Version"`)
	b.keyturn(t, "check", "--policy", policy, "--role", role).wantCode(t, exitFailed, "a policy that is cut")
}

// roleOf is the role that a cluster uses the key as.
func (b *bench) roleOf(t *testing.T, key string) string {
	t.Helper()
	out := b.keyturn(t, "check", "--format", "json").out
	for _, f := range decodeJSON[report.Report](t, out).Findings {
		if f.Subject.Kind == checks.AccessSubject && string(f.Subject.Key) == key {
			return string(f.Subject.Principal)
		}
	}
	t.Fatal("no cluster uses the key")
	return ""
}
