package cmektest

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// LinksModules checks that the function in the test's folder links exactly the modules that testdata/modules.txt lists,
// or rewrites the list. What is linked into a function is a decision, for its size and for who must be trusted; it does not
// change unseen.
func LinksModules(t *testing.T, update bool) {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", "lambda.norpc", "-f", "{{with .Module}}{{.Path}}{{end}}", ".")
	list.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	modules := strings.Fields(string(out))
	slices.Sort(modules)
	got := strings.Join(slices.Compact(modules), "\n") + "\n"
	const golden = "testdata/modules.txt"
	if update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("linked into the function:\n%s\nwant (%s; make golden rewrites it):\n%s", got, golden, want)
	}
}
