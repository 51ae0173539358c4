package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/live"
)

func TestTheDemoFollowsRotationsAndWatchesOverAKeyByItself(t *testing.T) {
	b := newBench(t)
	dir := filepath.Join(b.folder, "demo")
	began := time.Now()
	out := b.succeed(t, "demo", "--dir", dir)
	if took := time.Since(began); took > 18*time.Second {
		t.Errorf("the demo took %s, want less than 18 s", took)
	}
	wantText(t, "the demo", out,
		"1. A first sweep", "10 clusters were read; 9 of them", "2. Two keys of AWS KMS and one of Cloud KMS are rotated", "gcloud kms keys versions create --primary --key catalog", "They opened 8 pieces of work",
		"due", "requested", "ROTATING", "ENABLED", "done            updated_at moved", "waits for the canary",
		"0 pieces of work opened; PUTs before 7, after 7.", "Done.", "7 of them PUTs", "Cluster catalog: the store key is re-encrypted under primary:2 in us-east1",
		"5. Somebody schedules the deletion", "[CRITICAL] Key 0a5d1c2e", "- refunds in us-east-1: the next backup fails, within ", "1. aws kms cancel-key-deletion",
		"6. The deletion is canceled", "1 incident still open, and nothing is resolved", "7. The key is enabled", "[RESOLVED]", "evidence    8 files",
		"8. The fleet is checked", "checks of 10 clusters", "The compliance report, for a browser:",
		"keyturn status --ledger file:"+filepath.Join(dir, "ledger.db"))
	if strings.Contains(out, "\x1b") {
		t.Error("the output holds control sequences although it goes to no terminal")
	}
	wantCanariesFirst(t, out)
	evidence, _ := filepath.Glob(filepath.Join(dir, "archive", "evidence", "*", "*.json"))
	if len(evidence) != 8 {
		t.Errorf("%d evidence files, want one for each of 8 regions", len(evidence))
	}
	pages, _ := filepath.Glob(filepath.Join(dir, "archive", "runs", "*", "report.html"))
	if len(pages) != 1 || !strings.HasSuffix(out, pages[0]+"\n") {
		t.Fatalf("the demo does not end with the path of the report, of %q", pages)
	}
	if page, err := os.ReadFile(pages[0]); err != nil || !strings.Contains(string(page), "ledger-eu") || strings.Contains(string(page), "scheduled for deletion") {
		t.Errorf("the report does not show the fleet as it is at the end: %v", err)
	}
	wantText(t, "the verification", b.succeed(t, "evidence", "verify", "--archive", "file:"+filepath.Join(dir, "archive"), "--ledger", "file:"+filepath.Join(dir, "ledger.db")), "8 records of re-encryptions", "0 records corroborating them", "1 compliance run")
	wantText(t, "the report", b.succeed(t, "report", "--archive", "file:"+filepath.Join(dir, "archive")), "8; 8 not yet corroborated", "this run does not read AWS CloudTrail LookupEvents")
	s := decodeJSON[live.Status](t, b.succeed(t, "status", "-o", "json", "--ledger", "file:"+filepath.Join(dir, "ledger.db")))
	if len(s.Clusters) != 9 || len(s.NeedsPerson) != 0 {
		t.Errorf("afterwards the ledger has %d clusters and needs attention for %q; want 9 and nothing", len(s.Clusters), s.NeedsPerson)
	}
	wantText(t, "the list of incidents", b.succeed(t, "alerts", "--ledger", "file:"+filepath.Join(dir, "ledger.db")), "No incident is open.")
	if _, err := os.Stat(filepath.Join(dir, ".keyturn-demo")); err != nil {
		t.Errorf("the next demo refuses the folder: %v", err)
	}
}

// wantCanariesFirst checks that of the clusters on the key of payments, a second one is requested only after one is done.
func wantCanariesFirst(t *testing.T, out string) {
	t.Helper()
	lines := regexp.MustCompile(`(?m)^ +[0-9.]+s  (payments|checkout|invoices|refunds) .*(requested|done)`).FindAllStringSubmatch(out, -1)
	if len(lines) < 3 {
		t.Fatalf("the demo shows too little of the key's clusters:\n%s", out)
	}
	canary := lines[0][1]
	for _, line := range lines {
		if line[1] == canary && line[2] == "done" {
			return
		}
		if line[1] != canary {
			t.Errorf("%s is %s before the canary %s is done", line[1], line[2], canary)
		}
	}
}

func TestTheDemoRefusesAFolderThatIsNotItsOwn(t *testing.T) {
	b := newBench(t)
	ledger := filepath.Join(b.folder, "ledger.db")
	if err := os.WriteFile(ledger, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := b.keyturn(t, "demo", "--dir", b.folder)
	o.wantCode(t, exitFailed, "demo")
	wantText(t, "the error", o.err, ledger, "is not of a demo", "--dir")
	if left, _ := os.ReadFile(ledger); string(left) != "precious" {
		t.Errorf("the file holds %q now, want it untouched", left)
	}
}
