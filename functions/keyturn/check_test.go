package main

import (
	"encoding/csv"
	"encoding/xml"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/config"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/report"
)

const (
	ordersCluster = "7c1d9e20-3a4b-4c5d-8e6f-000000000003"
	paymentsARN   = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001"
)

func TestCheck_exitsAsFindingsSay(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"orders", "--check", "CMEK-01"}, exitFine},
		{[]string{ordersCluster, "--check", "CMEK-01", "--check", "CMEK-05"}, exitFine},
		{[]string{"--check", "CMEK-01"}, exitNeedsPerson},                           // high
		{[]string{"--check", "CMEK-01", "--fail-on", "high"}, exitNeedsPerson},      // as severe
		{[]string{"--check", "CMEK-01", "--fail-on", "critical"}, exitFine},         // more severe
		{[]string{"--check", "CMEK-01", "--fail-on", "none"}, exitFine},             // never
		{[]string{"--check", "CMEK-26", "--fail-on", "none"}, exitNeedsPerson},      // an ERROR
		{[]string{"--check", "CMEK-26", "--allow-unread"}, exitFine},                // which is allowed
		{[]string{"--check", "CMEK-01,CMEK-26", "--allow-unread"}, exitNeedsPerson}, // and hides no failure
		{[]string{"orders", "--check", "CMEK-30"}, exitNeedsPerson},                 // of credentials, which are in no cluster
		{[]string{"orders", "--check", "CMEK-30", "--allow-unread"}, exitFine},
		{[]string{"nobody"}, exitFailed},
		{[]string{"--check", "CMEK-19"}, exitUsage},
		{[]string{"--check", "cmek-01"}, exitUsage},
		{[]string{"--format", "html5"}, exitUsage},
		{[]string{"--fail-on", "info"}, exitUsage},
	} {
		b.keyturn(t, append([]string{"check"}, c.args...)...).wantCode(t, c.code, c.args...)
	}
	allowed := b.keyturn(t, "check", "--check", "CMEK-26", "--allow-unread")
	wantText(t, "what is allowed", allowed.err, "could not be read", "--allow-unread")
	wantText(t, "the table", allowed.out, "ERROR  CMEK-26")
	wantText(t, "a check that was asked about nothing", b.keyturn(t, "check", "orders", "--check", "CMEK-30").err, "CMEK-30 was asked about nothing")
	wrong := b.keyturn(t, "check", "--format", "html5", "--check", "X", "--fail-on", "info")
	wantText(t, "every problem at once", wrong.err, "--format", "--check", "--fail-on")
}

func TestCheck_couldNotRun(t *testing.T) {
	b := newBench(t)
	b.environ = append(b.environ, "COCKROACH_API_KEY=CCDB1_wrongWRONGwrongWRONGwr_wrongWRONGwrongWRONGwrongWRONGwrongWRONGw")
	o := b.keyturn(t, "check")
	o.wantCode(t, exitFailed, "check")
	wantText(t, "the error", o.err, "list clusters")
}

func TestCheck_writesEveryFormat(t *testing.T) {
	b := newBench(t)
	out := func(format string) string {
		o := b.keyturn(t, "check", "payments", "--format", format)
		o.wantCode(t, exitNeedsPerson, format) // nobody reads detection
		return o.out
	}
	r := decodeJSON[report.Report](t, out("json"))
	if r.Format != report.Format || r.Population.Listed != 1 || r.Summary.Pass == 0 || len(r.Checks) < 20 || len(r.Timelines) == 0 {
		t.Errorf("%+v", r.Summary)
	}
	for _, f := range r.Findings { // the simulator has no IAM, and a real one is never asked in its name
		if (f.Check == "CMEK-12" || f.Check == "CMEK-16") && f.Result != checks.Error {
			t.Errorf("%s: %s, %s", f.Check, f.Result, f.Why)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(out("csv"))).ReadAll()
	if err != nil || len(rows) != 1+len(r.Findings) {
		t.Errorf("%d rows for %d findings (%v)", len(rows), len(r.Findings), err)
	}
	var suites struct {
		Tests int `xml:"tests,attr"`
	}
	if err := xml.Unmarshal([]byte(out("junit")), &suites); err != nil || suites.Tests < len(r.Checks) {
		t.Errorf("%+v, %v", suites, err)
	}
	if lines := strings.Count(out("ocsf"), "\n"); lines != len(r.Findings) {
		t.Errorf("%d lines for %d findings", lines, len(r.Findings))
	}
	wantText(t, "the table", out("table"), "1 cluster listed", "PASS  CMEK-01")
	wantText(t, "the page", out("html"), "<!doctype html>", "payments", "Not recorded: a run on demand is compared with nothing.", "Each line runs from")
}

func TestCheck_writesAFile(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, []byte(strings.Repeat("x", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	o := b.keyturn(t, "check", "payments", "--format", "html", "--out", file)
	o.wantCode(t, exitNeedsPerson, "--out")
	page, err := os.ReadFile(file)
	if err != nil || !strings.HasSuffix(string(page), "</html>") || o.out != "" {
		t.Errorf("the file ends with %q (%v), the output is %q", page[max(0, len(page)-20):], err, o.out)
	}
	b.keyturn(t, "check", "payments", "--out", filepath.Join(file, "x")).wantCode(t, exitFailed, "--out")
}

// declaring writes a keyturn.yaml with the declarations.
func declaring(t *testing.T, compliance string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keyturn.yaml")
	text := `hub: {account: "111122223333", region: eu-west-1}
cockroachdb: {organization_id: 5f3c1f0e-58c2-4d2a-9a3e-0c1b9a7d2e41}
accounts:
  - id: "111122223333"
    keys: ["` + paymentsARN + `"]
alerts: {email: [a@example.com]}
operations: {sms: ["+15550100123"]}
compliance:
` + compliance
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCheck_comparesWithWhatIsDeclared(t *testing.T) {
	b := newBench(t)
	file := declaring(t, `  thresholds: {cryptoperiod_days: 100}
  out_of_scope: [{cluster: 7c1d9e20-3a4b-4c5d-8e6f-000000000006, reason: no data in it}]
  exceptions: [{check: CMEK-01, subject: 7c1d9e20-3a4b-4c5d-8e6f-000000000005, owner: a, approver: b, reason: revoked on purpose, expires: 2999-01-01}]
`)
	o := b.keyturn(t, "check", "--config", file)
	o.wantCode(t, exitUsage, "an exception that never ends")
	wantText(t, "the problem", o.err, "keyturn config check "+file)

	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	soon := strings.Replace(string(text), "2999-01-01", time.Now().AddDate(0, 0, 100).Format(time.DateOnly), 1)
	if err := os.WriteFile(file, []byte(soon), 0o600); err != nil {
		t.Fatal(err)
	}
	o = b.keyturn(t, "check", "--config", file, "--check", "CMEK-01")
	o.wantCode(t, exitFine, "accepted and out of scope")
	wantText(t, "the table", o.out, "ACCEPTED  CMEK-01", "revoked on purpose", "no data in it")
	b.keyturn(t, "check", "--config", file, "--check", "CMEK-09").wantCode(t, exitNeedsPerson, "a shorter cryptoperiod")
	b.keyturn(t, "check", "--config", filepath.Join(t.TempDir(), "none.yaml")).wantCode(t, exitUsage, "no such file")
}

func TestRetire_saysWhetherAKeyMayGo(t *testing.T) {
	b := newBench(t)
	o := b.keyturn(t, "retire", paymentsARN)
	o.wantCode(t, exitNeedsPerson, "a key in use")
	wantText(t, "the answer", o.out, "NEVER", "cluster payments uses it in us-east-1")
	o = b.keyturn(t, "retire", "-o", "json", "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7ffff")
	o.wantCode(t, exitNeedsPerson, "a key that nobody knows")
	if r := decodeJSON[checks.Retirement](t, o.out); r.Permission != checks.NotKnown || len(r.Reasons) == 0 {
		t.Errorf("%+v", r)
	}
	b.keyturn(t, "retire", "0a5d1c2e…f001").wantCode(t, exitUsage, "without a ledger")
	b.swept(t)
	b.keyturn(t, "retire", "0a5d1c2e…f001").wantCode(t, exitNeedsPerson, "as status prints it")
	b.keyturn(t, "retire", "nothing").wantCode(t, exitFailed, "no key of the ledger")
}

// withGoogle lets the simulator be Google Cloud, too.
func (b *bench) withGoogle() *bench {
	b.environ = append(b.environ, google.EndpointVariable+"="+b.url)
	return b
}

const mixedGoogleKey = "projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/pay"

// One report has the keys of both clouds, and each check of the catalog for each of them.
func TestCheck_readsAMixedFleet(t *testing.T) {
	b := newMixedBench(t).withGoogle()
	o := b.keyturn(t, "check", "--format", "json")
	o.wantCode(t, exitNeedsPerson, "check")
	r := decodeJSON[report.Report](t, o.out)
	found := map[string]checks.Finding{}
	for _, f := range r.Findings {
		found[string(f.Subject.Cloud)+" "+f.Check] = f
	}
	for _, c := range checks.Catalog() {
		for _, cloud := range []checks.Cloud{checks.AWS, checks.GCP} {
			if f, ok := found[string(cloud)+" "+c.ID]; c.Subject != checks.CredentialSubject && (!ok || f.Why == "") {
				t.Errorf("%s on %s is not in the report", c.ID, cloud)
			}
		}
	}
	for check, want := range map[string]checks.Result{
		"CMEK-05": checks.Pass, "CMEK-08": checks.Fail, "CMEK-12": checks.Pass, "CMEK-17": checks.Pass, "CMEK-24": checks.Pass, "CMEK-26": checks.Fail,
	} {
		if f := found["GCP "+check]; f.Result != want {
			t.Errorf("%s on Google Cloud: %s, %s", check, f.Result, f.Why)
		}
	}
	wantText(t, "the page", b.keyturn(t, "check", "--format", "html").out, "aws1", "gcp1")
}

// With the ledger of an installation, a check is about what that installation owns; the rest is accounted for. A ledger on this machine
// is of no installation, and the check is about everything.
func TestCheck_isAboutTheInstallationOfTheLedger(t *testing.T) {
	b := newMixedBench(t).withGoogle()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		const refused = `{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"no"}`
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.Header().Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(refused))), 10))
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, refused)
	}))
	t.Cleanup(refusing.Close)
	t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", refusing.URL)
	o := b.keyturn(t, "check", "--format", "json", "--ledger", "dynamodb://keyturn?region=us-east-1")
	o.wantCode(t, exitNeedsPerson, "check")
	r := decodeJSON[report.Report](t, o.out)
	if p := r.Population; p.Listed != 2 || p.Checked != 1 || len(p.OutOfScope) != 1 || p.OutOfScope[0].Name != "gcp1" || !strings.Contains(p.OutOfScope[0].Why, "GCP_CLOUD_KMS") {
		t.Errorf("%+v", p)
	}
	if !strings.Contains(r.SinceUnread, "AccessDenied") {
		t.Errorf("the ledger is refused, and since when findings stand is not known because %q", r.SinceUnread)
	}
	for _, f := range r.Findings {
		if f.Subject.Cloud == checks.GCP {
			t.Errorf("%s is about %s", f.Check, f.Subject.ID)
		}
	}
	o = b.keyturn(t, "check", "gcp1", "--ledger", "dynamodb://keyturn?region=us-east-1")
	o.wantCode(t, exitFailed, "check")
	wantText(t, "a cluster of another installation", o.err, `cluster "gcp1": out of scope`, "GCP_CLOUD_KMS")
	if p := decodeJSON[report.Report](t, b.keyturn(t, "check", "--format", "json").out).Population; p.Checked != 2 || len(p.OutOfScope) != 0 {
		t.Errorf("with a ledger on this machine: %+v", p)
	}
	for ledger, want := range map[string][]cmek.KeyType{"dynamodb": {cmek.AWSKMS}, "firestore": {cmek.GCPCloudKMS}, "file": nil, "": nil} {
		s := installation.Settings{Ledger: config.Location{Scheme: ledger}}
		if got := s.KeyTypes(); !slices.Equal(got, want) {
			t.Errorf("%q owns %v, want %v", ledger, got, want)
		}
	}
}

// The credentials for a simulator are nobody's at the real Google Cloud.
func TestCheck_leavesGoogleCloudAloneBesideASimulator(t *testing.T) {
	o := newMixedBench(t).keyturn(t, "check", "gcp1", "--check", "CMEK-05")
	o.wantCode(t, exitNeedsPerson, "check")
	wantText(t, "the table", o.out, "ERROR  CMEK-05", "this run does not read it")
}

func TestRetire_onGoogleCloud(t *testing.T) {
	b := newMixedBench(t).withGoogle()
	for _, c := range []struct{ key, want string }{
		{mixedGoogleKey, "cluster gcp1 uses it in us-east1"},
		{mixedGoogleKey + "/cryptoKeyVersions/2", "cluster gcp1 uses it in us-east1"},
		{mixedGoogleKey + "/cryptoKeyVersions/7", "does not show version 7"},
		{mixedGoogleKey + "-none", "NOT KNOWN"},
	} {
		o := b.keyturn(t, "retire", c.key)
		o.wantCode(t, exitNeedsPerson, c.key)
		wantText(t, c.key, o.out, c.want)
	}
}

// What keyturn.yaml lists as keys of clusters is of clusters, also where none names it yet.
func TestRetire_ofAKeyThatIsDeclared(t *testing.T) {
	b := newBench(t)
	const key = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7ffff"
	file := declaring(t, "  thresholds: {cryptoperiod_days: 100}\n")
	for _, tt := range []struct {
		declared  string
		unrelated bool
	}{{paymentsARN, true}, {key, false}} {
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, []byte(strings.Replace(string(text), paymentsARN, tt.declared, 1)), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		o := b.keyturn(t, "retire", key, "--config", file, "-o", "json")
		o.wantCode(t, exitNeedsPerson, "retire")
		if r := decodeJSON[checks.Retirement](t, o.out); r.Permission != checks.NotKnown || r.Unrelated != tt.unrelated {
			t.Errorf("with %s declared: %+v", tt.declared, r)
		}
	}
}
