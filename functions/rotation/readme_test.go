package rotation

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestTheReadmeHasARunbookForEveryAlert(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("alarms.go")
	if err != nil {
		t.Fatal(err)
	}
	changes := regexp.MustCompile(`cmek\.Change = "([^"]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(changes) < 10 {
		t.Fatalf("found only %d changes in alarms.go", len(changes))
	}
	for _, m := range changes {
		if !strings.Contains(string(readme), "\n### "+m[1]+"\n") {
			t.Errorf("README.md has no section %q", m[1])
		}
	}
}
