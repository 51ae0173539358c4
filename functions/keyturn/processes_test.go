package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// commandVariable, in the environment, makes the test binary the program itself.
const commandVariable = "TEST_COMMAND_OF_KEYTURN"

func TestMain(m *testing.M) {
	if os.Getenv(commandVariable) != "" {
		main()
	}
	code := m.Run()
	// When all tests ran, each JSON output was checked against its schema.
	if names := unchecked(); code == 0 && flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.list").Value.String() == "" && !testing.Short() && len(names) > 0 {
		fmt.Printf("no output of %v was checked against its schema\n", names)
		code = 1
	}
	os.Exit(code)
}

// process runs the command line as a process of its own, and returns its output.
func (b *bench) process(t *testing.T, args ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, args...)
	c.Env = slices.Concat(os.Environ(), b.environ, []string{commandVariable + "=1"})
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("keyturn %q: %v\n%s", args, err, out)
	}
	return string(out)
}

func TestPauseWorksWhileFollowHasTheLedgerOpen(t *testing.T) {
	b := newBench(t, "rotation-duration=1h").swept(t)
	b.rotate(t, ordersKey)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	ended := make(chan outcome, 1)
	go func() { ended <- b.keyturnWith(ctx, "", "follow", "--mode", "follow") }()
	for deadline := time.Now().Add(20 * time.Second); len(b.PUTs()) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no PUT was sent within 20 s")
		}
	}

	wantText(t, "pause", b.process(t, "pause", "--reason", "emergency"), "Paused: no PUT is sent")
	wantText(t, "status", b.process(t, "status"), "emergency")
	select {
	case o := <-ended:
		t.Fatalf("follow ended with %d before it was interrupted:\n%s%s", o.code, o.out, o.err)
	default:
	}
	interrupt()
	o := <-ended
	wantText(t, "the end of follow", o.err, "interrupted")
}

func TestDamagedLedgerIsReportedByEveryCommand(t *testing.T) {
	b := newBench(t).swept(t)
	path := b.folder + "/ledger.db"
	if err := os.Truncate(path, 9000); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"status"}, {"pause"}, {"follow", "--mode", "follow"}, {"alerts"}, {"plan"}} {
		o := b.keyturn(t, args...)
		o.wantCode(t, exitFailed, args...)
		wantText(t, "the error", o.err, path, "damaged", "restore a backup", "keyturn follow")
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 9000 {
		t.Errorf("the damaged ledger has changed (error %v)", err)
	}
}
