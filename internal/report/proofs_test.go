package report_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html/atom"

	"github.com/keyturn/keyturn/internal/report"
	"github.com/keyturn/keyturn/internal/version"
)

// proving is a run about one key that regions of each kind use.
func proving() report.Run {
	old, yes, no := used("orders"), corroborated("payments"), notCorroborated("ledger")
	region := func(p report.Proof) report.TimelineRegion {
		return report.TimelineRegion{Cluster: p.Cluster, Name: p.Name, Region: p.Region, Version: p.Version, At: p.DoneAt}
	}
	found, nobody, again := region(yes), region(yes), region(no)
	found.Name, found.Cluster, found.Adopted = "accounts", "id-of-accounts", "updated after the rotation"
	nobody.Name, nobody.Cluster = "inventory", "id-of-inventory"
	again.Region, again.At = "eu-central-1", again.At.Add(time.Hour) // its proof is of the re-encryption before
	outdated := no
	outdated.Region = again.Region
	return report.Run{
		Ended: noon, Proofs: []report.Proof{no, yes, old, outdated},
		Timelines: []report.Timeline{{Key: theKey, Current: report.TimelineVersion{Version: material(2), Since: noon.Add(-72 * time.Hour)},
			Regions: []report.TimelineRegion{region(old), region(yes), region(no), found, nobody, again}}},
	}
}

// moments are the rows of the table beside the timeline, by what happened and where.
func moments(p page) map[string]string {
	all := map[string]string{}
	for _, tr := range within(p.section("rotations"), atom.Tr) {
		var cells []string
		for cell := range tr.ChildNodes() {
			cells = append(cells, words(cell))
		}
		if what, _, found := strings.Cut(cells[0], " key "); found && len(cells) == 5 {
			all[what+" "+cells[2]] = cells[4]
		}
	}
	return all
}

func TestPage_says_who_re_encrypted_and_what_corroborates_it(t *testing.T) {
	p := onDemand(t, proving())
	rows := moments(p)
	for row, want := range map[string][]string{
		"Re-encryption payments, us-east-1": {"By keyturn: updated_at moved", corroborated("payments").Evidence, hex64(4), "CORROBORATED by event 0d1e2f3a-0001: GenerateDataKey",
			"2026-11-27 13:00 UTC", "AWS CloudTrail LookupEvents", "It may also come from: a full backup", corroborated("payments").Record},
		"Re-encryption ledger, us-west-2":         {"By keyturn", "no scheduled run has found its record yet", "NOT YET CORROBORATED nobody has used the key since"},
		"Re-encryption orders, eu-west-1":         {"CORROBORATED by event 0d1e2f3a-0001"},
		"Use of an old version orders, eu-west-1": {"OLD VERSION USED event 0d1e2f3a-0002: Decrypt", "A restore of a backup from before the re-encryption does the same."},
		"Found up to date accounts, us-east-1":    {"Not by keyturn, which found the region up to date: updated after the rotation"},
		"Re-encryption inventory, us-east-1":      {"Not recorded"},
		"Re-encryption ledger, eu-central-1":      {"Not recorded"},
	} {
		for _, part := range want {
			if !strings.Contains(rows[row], part) {
				t.Errorf("%s: %q lacks %q", row, rows[row], part)
			}
		}
	}
	for _, row := range []string{"Found up to date accounts, us-east-1", "Re-encryption inventory, us-east-1", "Re-encryption ledger, eu-central-1"} {
		if strings.Contains(rows[row], "CORROBORATED") || strings.Contains(rows[row], "By keyturn") {
			t.Errorf("%s: %q", row, rows[row])
		}
	}
	p.says("rotations", "the last of each region: 4; 1 corroborated, 2 not yet corroborated, an old version was used after 1 of them", "OLD VERSION USED , 1 of 6 regions")
	p.says("summary", "OLD VERSION USED 1 region used an old key version")
	if text := words(onDemand(t, report.Run{Ended: noon, Proofs: []report.Proof{corroborated("a")}}).section("summary")); strings.Contains(text, "OLD VERSION") {
		t.Errorf("no old version was used: %s", text)
	}
	onDemand(t, report.Run{}).says("rotations", "Not recorded: no re-encryption that keyturn requested.")
}

// What a log shows has other causes, too.
func TestReport_never_calls_a_re_encryption_proved(t *testing.T) {
	claim := regexp.MustCompile(`(?i)\bproo?[fv][a-z]* [a-z]+`)
	for name, write := range map[string]func(*bytes.Buffer) error{
		"table": func(b *bytes.Buffer) error { return report.New(proving(), version.Version{}).Table(b, nil) },
		"csv":   func(b *bytes.Buffer) error { return report.New(proving(), version.Version{}).CSV(b) },
		"html":  func(b *bytes.Buffer) error { b.WriteString(words(onDemand(t, proving()).root)); return nil },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		for _, found := range claim.FindAllString(b.String(), -1) {
			if found != "proves nothing" {
				t.Errorf("%s: %q", name, found)
			}
		}
		if !strings.Contains(b.String(), "CORROBORATED") {
			t.Errorf("%s says nothing of proofs", name)
		}
	}
}

// Records are linked from a page that is in the archive only, and only where they are.
func TestPage_links_to_records(t *testing.T) {
	links := func(p page) (all []string) {
		for _, a := range within(p.section("rotations"), atom.A) {
			all = append(all, attribute(a, "href"))
		}
		return all
	}
	run := proving()
	lines := func(yield func(report.Line, error) bool) {
		_ = yield(report.Line{Proof: &run.Proofs[1]}, nil) && yield(report.Line{Timeline: &run.Timelines[0]}, nil)
	}
	m := report.Manifest{Period: report.Period{Ended: noon}}
	p := run.Proofs[1]
	if got := links(scheduledPage(t, m, lines)); !slices.Equal(got, []string{"../../" + p.Evidence, "../../" + p.Record}) {
		t.Errorf("%q", got)
	}
	if got := links(onDemand(t, run)); len(got) > 0 {
		t.Errorf("on demand: %q", got)
	}
	for _, name := range []string{"evidence/../x.json", "runs/x.json", "/evidence/x.json", "javascript:x", "evidence//x"} {
		run.Proofs[1].Evidence, run.Proofs[1].Record = name, name
		if got := links(scheduledPage(t, m, lines)); len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// A use of an old version is listed however many keys need more attention.
func TestPage_lists_every_use_of_an_old_version(t *testing.T) {
	fleet := largeFleet{clusters: 400}
	p := scheduledPage(t, fleet.manifest(), fleet.lines())
	p.says("rotations", "50 of 1,200 keys", "Uses of an old version after the re-encryption")
	listed := 0
	for _, tr := range within(p.section("rotations"), atom.Tr) {
		if strings.Contains(words(tr), "0d1e2f3a-0002: Decrypt") && !strings.Contains(words(tr), "Use of an old version key") {
			listed++
		}
	}
	if listed != 17 { // six clusters with three regions, of which one is not recorded
		t.Errorf("%d uses are listed", listed)
	}
}

func TestCSV_has_the_re_encryptions(t *testing.T) {
	var b bytes.Buffer
	if err := report.New(proving(), version.Version{}).CSV(&b); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 5 {
		t.Fatal(len(rows), err)
	}
	cell := func(row int, column string) string { return rows[row][slices.Index(rows[0], column)] }
	for row, want := range map[int]map[string]string{
		1: {"result": "NOT YET CORROBORATED", "check": "", "event": "", "evidence": ""},
		2: {"result": "CORROBORATED", "event": "0d1e2f3a-0001", "event_at": "2026-11-27T13:00:00Z", "evidence": corroborated("payments").Evidence, "evidence_sha256": hex64(4),
			"corroborated_by": corroborated("payments").Record, "since": "2026-11-27T12:00:00Z", "cluster_name": "payments", "region": "us-east-1"},
		3: {"result": "OLD VERSION USED", "event": "0d1e2f3a-0002"},
	} {
		for column, text := range want {
			if got := cell(row, column); got != text {
				t.Errorf("row %d: %s is %q, want %q", row, column, got, text)
			}
		}
	}
	if !strings.Contains(cell(1, "why"), "nobody has used the key") || !strings.Contains(cell(2, "other_causes"), "a full backup") || !strings.Contains(cell(3, "why"), "Decrypt") {
		t.Errorf("%q", rows)
	}
}

// That it is not known since when findings stand is said in every format, and not said where it is known.
func TestReport_says_why_since_is_not_known(t *testing.T) {
	const why = "the results of run 7 could not be read"
	formats := map[string]func(report.Report, *bytes.Buffer) error{
		"table": func(r report.Report, b *bytes.Buffer) error { return r.Table(b, nil) },
		"json":  func(r report.Report, b *bytes.Buffer) error { return json.NewEncoder(b).Encode(r) },
		"csv":   func(r report.Report, b *bytes.Buffer) error { return r.CSV(b) },
		"junit": func(r report.Report, b *bytes.Buffer) error { return r.JUnit(b) },
		"ocsf":  func(r report.Report, b *bytes.Buffer) error { return r.OCSF(b) },
		"html":  func(r report.Report, b *bytes.Buffer) error { return r.HTML(b) },
	}
	for name, write := range formats {
		for _, unread := range []string{"", why} {
			run := sample()
			run.SinceUnread = unread
			var b bytes.Buffer
			if err := write(report.New(run, version.Version{Version: "x"}), &b); err != nil {
				t.Fatal(err)
			}
			says := strings.Contains(b.String(), why) || strings.Contains(b.String(), `"since_unread":`) || strings.Contains(b.String(), "is not known</b>")
			if says != (unread != "") {
				t.Errorf("%s: says that it is not known: %t, although the reason is %q", name, says, unread)
			}
		}
	}
}
