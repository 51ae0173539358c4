package google

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/keyturn/keyturn/internal/cmektest"
)

// program is the built keyturn.
var program string

// enabled skips the test unless end-to-end tests are asked for.
func enabled(t *testing.T) {
	t.Helper()
	if program == "" {
		t.Skip("an end-to-end test: KEYTURN_E2E=1 runs it, as make e2e does")
	}
}

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "end-to-end tests on Google Cloud:", err)
		code = 1
	}
	os.Exit(code)
}

// run builds the program before the tests, and takes away after them what they left.
func run(m *testing.M) (code int, err error) {
	if os.Getenv("KEYTURN_E2E") != "1" {
		return m.Run(), nil // each test skips itself and says why
	}
	// The tests mostly wait.
	if err := flag.Set("test.parallel", "8"); err != nil {
		return 1, err
	}
	folder, err := os.MkdirTemp("", "keyturn-e2e-*")
	if err != nil {
		return 1, err
	}
	defer func() {
		cmektest.StopEmulators()
		_ = os.RemoveAll(folder)
		_ = os.RemoveAll(initialized.folder)
	}()
	program = filepath.Join(folder, "keyturn")
	if out, err := exec.Command("go", "build", "-o", program, "../../../functions/keyturn").CombinedOutput(); err != nil {
		return 1, fmt.Errorf("build keyturn: %w\n%s", err, out)
	}
	return m.Run(), nil
}
