// Package scripts has a test of the workflows only; the scripts are for make.
package scripts

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Whoever can move a tag of an action's repository runs what they like with our token; a digest names one content.
func TestEveryActionIsPinnedByDigest(t *testing.T) {
	workflows, err := filepath.Glob("../.github/workflows/*")
	if err != nil || len(workflows) == 0 {
		t.Fatalf("workflows are %v (%v)", workflows, err)
	}
	pinned := regexp.MustCompile(`^\s*-?\s*uses: [\w./-]+@[0-9a-f]{40} # v[0-9.]+$`)
	for _, file := range workflows {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(data), "\n") {
			if strings.Contains(line, "uses:") && !pinned.MatchString(line) {
				t.Errorf("%s: want a digest, with the version as a comment: %s", filepath.Base(file), strings.TrimSpace(line))
			}
			if strings.Contains(line, "image:") && !strings.Contains(line, "@sha256:") {
				t.Errorf("%s: want an image's digest: %s", filepath.Base(file), strings.TrimSpace(line))
			}
		}
	}
}
