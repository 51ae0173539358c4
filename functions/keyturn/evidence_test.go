package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/local"
	"github.com/keyturn/keyturn/internal/report"
)

var archiveBegan = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// archiveOf is a folder with two records of a cluster and a run, the SHA-256 of whose manifest is returned.
func archiveOf(t *testing.T) (folder, manifest string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "archive")
	a := local.NewArchive(folder)
	previous := ""
	for n := 1; n <= 2; n++ {
		data, err := json.Marshal(rotation.Evidence{Schema: rotation.EvidenceSchema, Number: n, PreviousSHA256: previous, ClusterID: "c-1"})
		if err != nil {
			t.Fatal(err)
		}
		previous = putInto(t, a, fmt.Sprintf("evidence/c-1/20260301T120000Z-%06d-us-east-1.json", n), data)
	}
	return folder, archivedRun(t, a, report.Head{Cluster: "c-1", Start: archiveBegan, Count: 2, SHA256: previous})
}

// archivedRun archives a run with one failure, and returns the SHA-256 of its manifest.
func archivedRun(t *testing.T, a cmek.Archive, heads ...report.Head) string {
	t.Helper()
	failure := checks.Finding{Check: "CMEK-08", Title: "t", Subject: checks.Subject{Kind: checks.KeySubject, ID: "k"}, Result: checks.Fail, Severity: alert.Medium, Why: "rotation is off", Since: archiveBegan}
	line, err := json.Marshal(report.Line{Finding: &failure})
	if err != nil {
		t.Fatal(err)
	}
	part := report.PartName(archiveBegan, 1, 1, ".jsonl")
	m := report.Manifest{Schema: report.ManifestSchema, Run: 1, ChainStart: archiveBegan, Complete: true, Period: report.Period{Ended: archiveBegan},
		Counts: []report.Count{{Check: "CMEK-08", Fail: 1}}, Chains: heads, Files: []report.File{{Name: part, SHA256: putInto(t, a, part, append(line, '\n'))}}}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return putInto(t, a, report.ManifestName(archiveBegan, 1), data)
}

// putInto archives a file and returns its SHA-256.
func putInto(t *testing.T, a cmek.Archive, name string, data []byte) string {
	t.Helper()
	if err := a.PutIfAbsent(t.Context(), name, data); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func TestEvidence_isListedShownAndVerified(t *testing.T) {
	folder, manifest := archiveOf(t)
	b := newBench(t)
	b.environ = []string{"KEYTURN_ARCHIVE=file:" + folder} // an auditor has no more
	list := b.keyturn(t, "evidence", "list", "c-1")
	list.wantCode(t, exitFine, "evidence", "list")
	wantText(t, "the list", list.out, "-000001-us-east-1.json", "-000002-us-east-1.json")
	show := b.keyturn(t, "evidence", "show", "evidence/c-1/20260301T120000Z-000001-us-east-1.json")
	show.wantCode(t, exitFine, "evidence", "show")
	wantText(t, "the record", show.out, rotation.EvidenceSchema)
	b.keyturn(t, "evidence", "show", "evidence/c-1/none.json").wantCode(t, exitFailed, "evidence", "show")
	b.keyturn(t, "evidence", "verify").wantCode(t, exitNeedsPerson, "evidence", "verify") // nothing vouches for the end of the runs
	good := b.keyturn(t, "evidence", "verify", "--manifest", manifest)
	good.wantCode(t, exitFine, "evidence", "verify")
	wantText(t, "the verdict", good.out, "2 records of re-encryptions", "0 records corroborating them", "1 compliance run with 1 file", "As written", "no ledger")
	b.keyturn(t, "evidence", "verify", "--manifest", strings.ToUpper(manifest)).wantCode(t, exitFine, "evidence", "verify")
	b.keyturn(t, "evidence", "verify", "--manifest", manifest[1:]).wantCode(t, exitUsage, "evidence", "verify")
	b.succeed(t, "evidence", "list", "-o", "json")
	b.succeed(t, "evidence", "verify", "--manifest", manifest, "-o", "json")
	if err := os.WriteFile(filepath.Join(folder, "evidence/c-1/20260301T120000Z-000001-us-east-1.json"), []byte(`{"schema":"keyturn.evidence/v1","number":1,"previous_sha256":""}`), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := b.keyturn(t, "evidence", "verify", "--manifest", manifest)
	bad.wantCode(t, exitNeedsPerson, "evidence", "verify")
	wantText(t, "the verdict", bad.out, "altered", "-000001-us-east-1.json", "1 problem")
	b.environ = []string{"KEYTURN_ARCHIVE=file:" + t.TempDir()}
	for cluster, want := range map[string]string{
		"payments": "archived under payments: name the cluster by its id", ordersCluster: "archived of cluster " + ordersCluster + ".", "": "archived: one is written when",
	} {
		args := []string{"evidence", "list"}
		if cluster != "" {
			args = append(args, cluster)
		}
		wantText(t, "the list of nothing", b.succeed(t, args...), "No record of a re-encryption is "+want)
	}
	nothing := b.keyturn(t, "evidence", "verify")
	nothing.wantCode(t, exitNeedsPerson, "evidence", "verify")
	wantText(t, "what is wrong with nothing", nothing.out, "is it the right one?")
	none := b.keyturn(t, "report")
	none.wantCode(t, exitFailed, "report")
	wantText(t, "the report of nothing", none.err, "no run of the compliance function has ended yet")
	b.environ = []string{"COCKROACH_SERVER=http://localhost"}
	b.keyturn(t, "evidence", "verify").wantCode(t, exitUsage, "evidence", "verify")
}

func TestReport_readsTheArchiveAlone(t *testing.T) {
	folder, manifest := archiveOf(t)
	b := newBench(t)
	b.environ = []string{"KEYTURN_ARCHIVE=file:" + folder}
	for _, args := range [][]string{{}, {"--run", "1"}} {
		o := b.keyturn(t, append([]string{"report"}, args...)...)
		o.wantCode(t, exitFine, args...)
		wantText(t, "the report", o.out, "Run 1", manifest, "FAIL  CMEK-08", "rotation is off")
	}
	for _, format := range []string{"json", "csv", "junit", "ocsf", "html"} {
		o := b.keyturn(t, "report", "--format", format)
		o.wantCode(t, exitFine, format)
		wantText(t, format, o.out, "CMEK-08")
	}
	wantText(t, "the page", b.keyturn(t, "report", "--format", "html").out, "This is the first complete run of its chain", report.PartName(archiveBegan, 1, 1, ".jsonl")[len(report.Folder(archiveBegan, 1)):])
	history := b.keyturn(t, "report", "--from", "2026-03-01", "--to", "2026-03-02")
	history.wantCode(t, exitFine, "report", "--from")
	wantText(t, "the history", history.out, "1 complete run, 1 day without", "2026-03-01 12:00:00, not ended by 2026-03-02")
	for _, args := range [][]string{
		{"--run", "0"}, {"--format", "html5"}, {"--from", "2026-03-01"}, {"--from", "x", "--to", "y"}, {"--from", "2026-03-02", "--to", "2026-03-01"}, {"--from", "0001-01-01", "--to", "9999-12-31"}, {"--from", "2016-03-01", "--to", "2026-03-02"},
		{"--run", "1", "--from", "2026-03-01", "--to", "2026-03-01"}, {"--from", "2026-03-01", "--to", "2026-03-01", "--format", "ocsf"},
	} {
		b.keyturn(t, append([]string{"report"}, args...)...).wantCode(t, exitUsage, args...)
	}
	b.keyturn(t, "report", "--run", "2").wantCode(t, exitFailed, "report", "--run", "2")
}
