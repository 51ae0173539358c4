package google_test

import (
	"os"
	"testing"

	"github.com/keyturn/keyturn/internal/cmektest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	cmektest.StopEmulators()
	os.Exit(code)
}
