package lambda

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../../../"

func TestEveryMainIsWiringOnly(t *testing.T) {
	const most = 60
	mains, err := filepath.Glob(root + "functions/*/aws/main.go")
	if err != nil || len(mains) < 4 {
		t.Fatalf("found the mains %q (%v)", mains, err)
	}
	for _, main := range mains {
		data, err := os.ReadFile(main)
		if err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(data, []byte("\n")); lines > most {
			t.Errorf("%s has %d lines, want at most %d: what another function needs too belongs into a package", main, lines, most)
		}
		if !bytes.Contains(data, []byte("lambda.Serve(")) {
			t.Errorf("%s does not start by lambda.Serve", main)
		}
	}
}

// An error has one key in every log, so that one query finds all of them.
func TestErrorsAreLoggedUnderOneKey(t *testing.T) {
	other := regexp.MustCompile(`\.(?:Debug|Info|Warn|Error|With|LogAttrs)(?:Context)?\(.*"(?:err|problem|panic|reason)",`)
	for _, pattern := range []string{"functions/*/aws/*.go", "functions/*/gcp/*.go", "functions/notify/*.go", "functions/trailcheck/*.go", "functions/rotation/*.go", "internal/amazon/*.go", "internal/amazon/lambda/*.go", "internal/delivery/*.go", "internal/google/*.go", "internal/google/function/*.go"} {
		files, err := filepath.Glob(root + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %q (%v)", pattern, files, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for i, line := range strings.Split(string(data), "\n") {
				if other.MatchString(line) {
					t.Errorf("%s:%d logs an error under another key than \"error\": %s", file, i+1, strings.TrimSpace(line))
				}
			}
		}
	}
}
