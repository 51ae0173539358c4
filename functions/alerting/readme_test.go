package alerting

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestTheRunbookHasASectionForEveryAlert(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for _, heading := range regexp.MustCompile("(?m)^### (.+)$").FindAllStringSubmatch(string(readme), -1) {
		// As GitHub makes anchors of headings.
		anchor := regexp.MustCompile("[^a-z0-9 -]").ReplaceAllString(strings.ToLower(heading[1]), "")
		sections[strings.ReplaceAll(anchor, " ", "-")] = false
	}
	use := func(who, runbook string) {
		anchor := strings.TrimPrefix(runbook, "functions/alerting/README.md#")
		if _, ok := sections[anchor]; !ok {
			t.Errorf("%s points to %s, and README.md has no such section", who, runbook)
		}
		sections[anchor] = true
	}
	for _, change := range Subscribes {
		if change != cmek.Rotated { // never more than information
			use(string(change), runbook(change))
		}
	}
	use("a repair", repairRunbook)
	for anchor, used := range sections {
		if !used {
			t.Errorf("no alert points to the section %s", anchor)
		}
	}
}
