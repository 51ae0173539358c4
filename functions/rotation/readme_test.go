package rotation

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/ledger"
)

func TestTheReadmeHasARunbookForEveryAlert(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("alerts.go")
	if err != nil {
		t.Fatal(err)
	}
	changes := regexp.MustCompile(`cmek\.Change = "([^"]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(changes) < 10 {
		t.Fatalf("found only %d changes in alerts.go", len(changes))
	}
	sections := []string{string(ledger.MessagesMerged)}
	for _, m := range changes {
		sections = append(sections, m[1])
	}
	for _, section := range sections {
		if !strings.Contains(string(readme), "\n### "+section+"\n") {
			t.Errorf("README.md has no section %q", section)
		}
	}
	if want := runbook(ledger.MessagesMerged); ledger.MergedRunbook != want {
		t.Errorf("merged messages name the runbook %q, want %q", ledger.MergedRunbook, want)
	}
}
