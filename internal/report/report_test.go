package report_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/report"
	"github.com/keyturn/keyturn/internal/version"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// evil is a name from outside: a formula, a link of a terminal, markup, and more lines than one.
const evil = "=HYPERLINK(\"x\")\x1b]8;;x\x07<b>&\u202e\n+2"

func finding(check string, result checks.Result, severity alert.Severity, subject checks.Subject, why string) checks.Finding {
	c, _ := checks.Of(check)
	return checks.Finding{Check: check, Title: c.Title, Subject: subject, Result: result, Severity: severity, Why: why,
		Evidence: []checks.Evidence{{Need: "cluster", Reading: checks.Reading{ReadAt: noon.Add(-time.Minute), Source: "ledger"}}}}
}

func cluster(name string) checks.Subject {
	return checks.Subject{Kind: checks.ClusterSubject, ID: "id-of-" + name, ClusterID: "id-of-" + name, ClusterName: name, Cloud: checks.AWS}
}

func key(id string) checks.Subject {
	uri := "arn:aws:kms:us-east-1:111122223333:key/" + id
	return checks.Subject{Kind: checks.KeySubject, ID: uri, Key: "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", Cloud: checks.AWS, Account: "111122223333", Region: "us-east-1"}
}

// sample has a finding of every kind, and names that nobody should trust.
func sample() report.Run {
	off := finding("CMEK-08", checks.Fail, alert.Medium, key("a"), "automatic rotation is off")
	off.Fix = []string{"Set the rotation period:", "aws kms enable-key-rotation --key-id a"}
	again := off
	again.Subject = key("b")
	accepted := finding("CMEK-22", checks.Fail, alert.Medium, cluster("orders"), "key is elsewhere")
	accepted.Exception = &checks.Exception{Check: "CMEK-22", Subject: "*", Owner: "a", Approver: "security", Reason: "=residency", Expires: noon.Add(240 * time.Hour)}
	accepted.Notice = "the exception of a expires on 2026-12-09"
	unread := finding("CMEK-20", checks.Error, alert.Medium, key("a"), "grants on the key could not be read: access denied")
	unread.Grants, unread.Fix = []string{"kms:ListGrants in the key policy of a"}, []string{"Grant keyturn's compliance function kms:ListGrants in the key policy of a."}
	unread.Evidence[0].Reading = checks.Reading{Source: "AWS KMS ListGrants", Unread: "access denied", Grant: "kms:ListGrants in the key policy of a"}
	lost := finding("CMEK-01", checks.Fail, alert.High, cluster(evil), "the cluster "+evil+" has no CMEK")
	lost.Fix, lost.Since = []string{"Enable CMEK for " + evil}, noon.Add(-24*time.Hour)
	return report.Run{
		Began: noon.Add(-time.Minute), Ended: noon,
		Population: report.Population{
			Listed: 4, Checked: 2, OutOfScope: []report.Cluster{{ID: "3", Name: "trial", Why: "declared: a trial"}},
			Unread: []report.Cluster{{ID: "4", Name: evil, Why: "GET /cmek: " + evil}},
		},
		Findings: []checks.Finding{
			finding("CMEK-01", checks.Pass, alert.None, cluster("orders"), "CMEK status is ENABLED"), lost,
			finding("CMEK-05", checks.Fail, alert.Critical, key("a"), "the key is disabled"), off, again,
			finding("CMEK-10", checks.Pass, alert.None, key("a"), "young"), finding("CMEK-17", checks.NotApplicable, alert.None, key("r"), "clusters on AWS assume roles"),
			unread, accepted,
		},
		Timelines: []report.Timeline{
			{
				Key: theKey, CryptoperiodDays: 365, Versions: []report.TimelineVersion{{Version: cmek.KeyVersion{Scheme: cmek.RotatedOn, ID: "2026-08-01T00:00:00Z"}}},
				Current: report.TimelineVersion{Version: cmek.KeyVersion{Scheme: cmek.RotatedOn, ID: "2026-08-01T00:00:00Z"}, Since: noon.AddDate(0, -1, 0)},
				Regions: []report.TimelineRegion{{Cluster: "id-of-orders", Name: "orders", Region: "us-east-1"}},
			},
			{Key: "k", Unread: "access denied"},
		},
		Proofs:      []report.Proof{used("orders"), corroborated("orders"), notCorroborated("orders")},
		SinceUnread: "the ledger is " + evil,
	}
}

// The re-encryptions of a cluster: corroborated; not; and followed by a use of an older version.
func corroborated(name string) report.Proof {
	return report.Proof{Cluster: "id-of-" + name, Name: name, Region: "us-east-1", Key: theKey, Version: material(2), DoneAt: noon.Add(-48 * time.Hour), State: report.Corroborated,
		Seen: "updated_at moved", Evidence: "evidence/id-of-" + name + "/20260301T120000Z-000002-us-east-1.json", EvidenceSHA256: hex64(4),
		Record: "proofs/id-of-" + name + "/20260301T120000Z-000001-us-east-1.json", At: noon.Add(-24 * time.Hour), Source: "AWS CloudTrail LookupEvents",
		Use:         &cmek.RecordedUse{Event: "0d1e2f3a-0001", At: noon.Add(-47 * time.Hour), Operation: "GenerateDataKey", By: theUser, Encrypted: material(2)},
		OtherCauses: []string{"a full backup of the cluster, which is encrypted under its key", "=anybody else"}}
}

func notCorroborated(name string) report.Proof {
	p := corroborated(name)
	p.Region, p.State, p.Record, p.At, p.Source, p.Use, p.OtherCauses = "us-west-2", report.NotYetCorroborated, "", time.Time{}, "", nil, nil
	p.Because, p.Evidence, p.EvidenceSHA256 = "nobody has used the key since 2026-11-01 12:00 UTC, says its KMS "+evil, "", ""
	return p
}

func used(name string) report.Proof {
	p := corroborated(name)
	p.Region, p.State = "eu-west-1", report.OldVersionUsed
	p.OldUse = &cmek.RecordedUse{Event: "0d1e2f3a-0002", At: noon.Add(-2 * time.Hour), Operation: "Decrypt", By: theUser, Decrypted: material(1)}
	return p
}

func material(n int) cmek.KeyVersion {
	return cmek.KeyVersion{Scheme: cmek.Material, ID: strings.Repeat(string(rune('a'+n)), 64)}
}

func sampleReport() report.Report {
	return report.New(sample(), version.Version{Version: "v1.2.3", Commit: "abc"})
}

func write(t *testing.T, format func(report.Report, *bytes.Buffer) error) string {
	t.Helper()
	var first, again bytes.Buffer
	if err := format(sampleReport(), &first); err != nil {
		t.Fatal(err)
	}
	if err := format(sampleReport(), &again); err != nil || !bytes.Equal(first.Bytes(), again.Bytes()) {
		t.Errorf("the same run gives other bytes (%v)", err)
	}
	return first.String()
}

func TestSummary_counts_every_finding_once(t *testing.T) {
	r := sampleReport()
	if s := r.Summary; s.Pass != 2 || s.Fail != 4 || s.Accepted != 1 || s.Error != 1 || s.NotApplicable != 1 || s.Severities[alert.Medium] != 2 {
		t.Errorf("%+v", s)
	}
	for severity, want := range map[alert.Severity]bool{alert.Low: true, alert.High: true, alert.Critical: true} {
		if r.Reaches(severity) != want {
			t.Errorf("reaches %s: %t", severity, !want)
		}
	}
}

// What an exception accepts, and an ERROR, are no failures; an ERROR and a cluster that was not read are unread.
func TestReport_of_an_accepted_failure_and_of_errors(t *testing.T) {
	run := sample()
	only := func(check string) report.Report {
		one := report.Run{Ended: noon}
		for _, f := range run.Findings {
			if f.Check == check {
				one.Findings = append(one.Findings, f)
			}
		}
		return report.New(one, version.Version{Version: "x"})
	}
	for check, want := range map[string][2]bool{"CMEK-22": {false, false}, "CMEK-20": {false, true}, "CMEK-08": {true, false}, "CMEK-17": {false, false}} {
		if r := only(check); r.Reaches(alert.Low) != want[0] || r.Unread() != want[1] {
			t.Errorf("%s: reaches %t, unread %t", check, r.Reaches(alert.Low), r.Unread())
		}
	}
	if r := only("CMEK-08"); r.Reaches(alert.High) {
		t.Error("a medium failure reaches high")
	}
	unlisted := report.Run{Ended: noon, Population: report.Population{Listed: 1, Unread: []report.Cluster{{ID: "1", Why: "x"}}}}
	if r := report.New(unlisted, version.Version{Version: "x"}); !r.Unread() {
		t.Error("a cluster that was not read is none")
	}
}

func TestTable_for_people(t *testing.T) {
	got := write(t, func(r report.Report, b *bytes.Buffer) error { return r.Table(b, nil) })
	const file = "testdata/table.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("%s differs (%v); run go test -update and read the difference", file, err)
	}
	if i := strings.IndexFunc(got, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("a character controls the terminal: %q", got[i:min(i+20, len(got))])
	}
}

func compiled(t *testing.T, file string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile(file)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestJSON_is_as_its_schema_says(t *testing.T) {
	schema := compiled(t, "report.schema.json")
	text, err := json.Marshal(sampleReport())
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(decoded(t, string(text))); err != nil {
		t.Error(err)
	}
	empty, err := json.Marshal(report.New(report.Run{}, version.Version{Version: "x"}))
	if err == nil {
		err = schema.Validate(decoded(t, string(empty)))
	}
	if err != nil {
		t.Error(err)
	}
	for _, miss := range []struct{ from, to string }{
		{`"result":"PASS"`, `"result":"WARN"`}, {`"format":1`, `"format":2`}, {`"why":"young"`, `"why":""`},
		{`"check":"CMEK-05"`, `"check":"CMEK-5"`}, {`"severity":"none"`, `"severity":"low"`}, {`"owner":"a"`, `"owner":""`},
		{`"listed":4`, `"listed":-4`}, {`"need":"cluster"`, `"needs":"cluster"`}, {`"kind":"key"`, `"kind":"kex"`},
		{`"result":"FAIL","severity":"medium","why":"key is elsewhere"`, `"result":"ERROR","severity":"medium","why":"key is elsewhere"`},
		{`"began":"2026`, `"began":"x2026`}, {`"cryptoperiod_days":365`, `"cryptoperiod_days":-365`}, {`"version":"rotated:`, `"version":"turned:`},
		{`"region":"us-east-1"}]`, `"region":""}]`}, {`"since":"2026-10`, `"since":"never 2026-10`}, {`"unread":"access denied"}]`, `"read":"access denied"}]`},
		{`"state":"CORROBORATED"`, `"state":"PROVED"`}, {`"evidence_sha256":"`, `"evidence_sha256":"x`}, {`"event":"0d1e2f3a-0001"`, `"event":""`},
		{`"other_causes":["a`, `"other_causes":["","a`}, {`"since_unread":"the`, `"since_unread":"","x":"the`}, {`"old_use":{`, `"older_use":{`},
	} {
		spoiled := strings.Replace(string(text), miss.from, miss.to, 1)
		if spoiled == string(text) {
			t.Errorf("the report has no %s", miss.from)
		} else if schema.Validate(decoded(t, spoiled)) == nil {
			t.Errorf("the schema takes %s", miss.to)
		}
	}
}

func TestOCSF_is_as_its_schema_says(t *testing.T) {
	schema := compiled(t, "testdata/ocsf-compliance-finding-1.8.0.schema.json")
	got := write(t, func(r report.Report, b *bytes.Buffer) error { return r.OCSF(b) })
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if len(lines) != len(sample().Findings) {
		t.Fatalf("%d lines for %d findings", len(lines), len(sample().Findings))
	}
	for i, line := range lines {
		if err := schema.Validate(decoded(t, line)); err != nil {
			t.Errorf("line %d: %v", i, err)
		}
		var event struct {
			SeverityID int `json:"severity_id"`
			StatusID   int `json:"status_id"`
			Compliance struct {
				StatusID int `json:"status_id"`
			} `json:"compliance"`
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatal(err)
		}
		f := sample().Findings[i]
		want := map[checks.Result]int{checks.Pass: 1, checks.Fail: 3, checks.Error: 0, checks.NotApplicable: 99}[f.Result]
		severity := map[alert.Severity]int{alert.None: 1, alert.Medium: 3, alert.High: 4, alert.Critical: 5}[f.Severity]
		status := 0
		if f.Open() {
			status = 1 // new
		} else if f.Exception != nil {
			status = 3 // suppressed
		}
		if event.Compliance.StatusID != want || event.SeverityID != severity || event.StatusID != status {
			t.Errorf("%s %s: %+v", f.Check, f.Result, event)
		}
	}
}

func TestCSV_has_no_formula(t *testing.T) {
	got := write(t, func(r report.Report, b *bytes.Buffer) error { return r.CSV(b) })
	rows, err := csv.NewReader(strings.NewReader(got)).ReadAll()
	if err != nil || len(rows) != 1+len(sample().Findings)+len(sample().Proofs) {
		t.Fatal(len(rows), err)
	}
	for _, row := range rows {
		for _, cell := range row {
			for line := range strings.SplitSeq(cell, "\n") {
				if strings.ContainsAny(line[:min(1, len(line))], "=+-@|%\t\r") || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("%q", line)
				}
			}
		}
	}
	if name := rows[2][slices.Index(rows[0], "cluster_name")]; !strings.HasPrefix(name, "'=HYPERLINK") || !strings.Contains(name, "\n'+2") {
		t.Errorf("%q", name)
	}
	if result := rows[1][2]; result != "PASS" {
		t.Errorf("a harmless cell is %q", result)
	}
}

// A formula may also stand behind blanks and quotes, or be written with wide characters.
func TestCSV_defuses_every_form_of_a_formula(t *testing.T) {
	for text, want := range map[string]string{
		"=1": "'=1", "+1": "'+1", "-1": "'-1", "@x": "'@x", " =1": "' =1", "\"=1": "'\"=1", "＝1": "'＝1", "|x": "'|x", "a\n=1": "a\n'=1", "\t=1": "' =1",
		"\r=1": "' =1", "\tx": " x", "\rx": " x", "a\r=1": "a =1",
		"a;=1": "a;'=1", "a; +1": "a;' +1", ";-1;@x": ";'-1;'@x", "a;\t＝1": "a;' ＝1",
		"a=1": "a=1", "": "", "1-2": "1-2", "a; b=1": "a; b=1", ";": ";",
	} {
		run := report.Run{Findings: []checks.Finding{{Check: "CMEK-01", Why: text}}}
		var b bytes.Buffer
		if err := report.New(run, version.Version{}).CSV(&b); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&b).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if got := rows[1][slices.Index(rows[0], "why")]; got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestJUnit_counts_clusters_that_it_does_not_name(t *testing.T) {
	for _, p := range []report.Population{{Listed: 3, UnreadMore: 3}, {Listed: 3, Unreached: 3}} {
		var b bytes.Buffer
		if err := report.New(report.Run{Population: p}, version.Version{}).JUnit(&b); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), `errors="1"`) || !strings.Contains(b.String(), "3 more clusters") {
			t.Errorf("%+v:\n%s", p, b.String())
		}
	}
}

func TestJUnit_has_a_case_for_each_check_and_each_open_finding(t *testing.T) {
	got := write(t, func(r report.Report, b *bytes.Buffer) error { return r.JUnit(b) })
	type one struct {
		Name    string    `xml:"name,attr"`
		Failure *struct{} `xml:"failure"`
		Error   *struct{} `xml:"error"`
		Skipped *struct{} `xml:"skipped"`
	}
	var suites struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Skipped  int `xml:"skipped,attr"`
		Suites   []struct {
			Name  string `xml:"name,attr"`
			Cases []one  `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(got), &suites); err != nil {
		t.Fatal(err)
	}
	says := map[string]string{}
	for _, s := range suites.Suites {
		id, _, _ := strings.Cut(s.Name, " ")
		for _, c := range s.Cases {
			switch {
			case c.Failure != nil:
				says[id] += "F"
			case c.Error != nil:
				says[id] += "E"
			case c.Skipped != nil:
				says[id] += "S"
			default:
				says[id] += "."
			}
		}
	}
	want := map[string]string{"population": "E", "CMEK-01": "FF", "CMEK-05": "FF", "CMEK-08": "FFF", "CMEK-10": ".", "CMEK-17": "S", "CMEK-20": "EE", "CMEK-22": "SS"}
	for id, w := range want {
		if says[id] != w {
			t.Errorf("%s: %q, want %q", id, says[id], w)
		}
	}
	if len(says) != len(want) || suites.Tests != 14 || suites.Failures != 7 || suites.Errors != 3 || suites.Skipped != 3 {
		t.Errorf("%v, %d tests, %d failures, %d errors, %d skipped", says, suites.Tests, suites.Failures, suites.Errors, suites.Skipped)
	}
}
