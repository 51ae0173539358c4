package alerting

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/cmek"
)

// anchors are the sections of a page, as GitHub makes anchors of headings.
func anchors(t *testing.T, file, heading string) map[string]bool {
	t.Helper()
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, match := range regexp.MustCompile("(?m)^"+heading+" (.+)$").FindAllStringSubmatch(string(page), -1) {
		anchor := regexp.MustCompile("[^a-z0-9 -]").ReplaceAllString(strings.ToLower(match[1]), "")
		found[strings.ReplaceAll(anchor, " ", "-")] = true
	}
	return found
}

func TestRunbook_hasASectionForEveryAlert(t *testing.T) {
	sections := anchors(t, "RUNBOOK.md", "###")
	for _, change := range risk.Changes() {
		row, _ := risk.Of(change)
		anchor, ok := strings.CutPrefix(row.Runbook(), "functions/alerting/RUNBOOK.md#")
		if change == cmek.ChangeRotated {
			continue // never more than information
		}
		if !ok || !sections[anchor] {
			t.Errorf("%q points to %s, and RUNBOOK.md has no such section", change, row.Runbook())
		}
		delete(sections, anchor)
	}
	for anchor := range sections {
		t.Errorf("no alert points to the section %s of RUNBOOK.md", anchor)
	}
	anchor, ok := strings.CutPrefix(repairRunbook, "functions/alerting/README.md#")
	if !ok || !anchors(t, "README.md", "##")[anchor] {
		t.Errorf("a repair points to %s, and README.md has no such section", repairRunbook)
	}
}
