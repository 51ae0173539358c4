package cmektest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The emulators of gcloud, which all tests of a package share. A package that uses them calls [StopEmulators] at the end of TestMain.
var (
	Firestore = Emulator{command: []string{"emulators", "firestore", "start"}}
	PubSub    = Emulator{command: []string{"beta", "emulators", "pubsub", "start"}, hasDataDir: true}
)

// StopEmulators ends those that were started.
func StopEmulators() {
	Firestore.stop()
	PubSub.stop()
}

// Emulator is a program of gcloud on a free port of the loopback interface.
type Emulator struct {
	command    []string
	hasDataDir bool

	once    sync.Once
	process *exec.Cmd
	output  bytes.Buffer
	dir     string
	host    string
	problem error
}

// At returns the emulator's host and port. Without the emulator the test is skipped, or fails if KEYTURN_E2E=1.
func (e *Emulator) At(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skipf("needs gcloud %v, which takes seconds to start: left out of short tests", e.command)
	}
	e.once.Do(e.start)
	if e.problem != nil {
		if os.Getenv("KEYTURN_E2E") == "1" {
			t.Fatalf("start gcloud %v: %v", e.command, e.problem)
		}
		t.Skipf("needs gcloud %v (Google Cloud CLI with Java): %v", e.command, e.problem)
	}
	return e.host
}

func (e *Emulator) start() {
	for _, program := range []string{"gcloud", "java"} {
		if _, e.problem = exec.LookPath(program); e.problem != nil {
			return
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		e.problem = err
		return
	}
	e.host = listener.Addr().String()
	_ = listener.Close()

	arguments := append(append([]string{}, e.command...), "--host-port="+e.host, "--quiet")
	if e.hasDataDir {
		if e.dir, e.problem = os.MkdirTemp("", "keyturn-emulator-*"); e.problem != nil {
			return
		}
		arguments = append(arguments, "--data-dir="+e.dir)
	}
	e.process = exec.CommandContext(context.Background(), "gcloud", arguments...)
	e.process.Stdout, e.process.Stderr = &e.output, &e.output
	e.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // gcloud starts others, which must end with it
	if e.problem = e.process.Start(); e.problem != nil {
		e.process = nil
		return
	}
	e.problem = e.wait()
}

// wait returns when the emulator answers, or has ended.
func (e *Emulator) wait() error {
	const tries, pause = 600, 100 * time.Millisecond
	ended := make(chan error, 1)
	go func() { ended <- e.process.Wait() }()
	for range tries {
		select {
		case err := <-ended:
			return fmt.Errorf("it ended: %w: %s", err, tail(e.output.Bytes()))
		case <-time.After(pause):
		}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+e.host+"/", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			return resp.Body.Close()
		}
	}
	return fmt.Errorf("no answer at %s in %s", e.host, tries*pause)
}

func tail(output []byte) []byte { return output[max(0, len(output)-500):] }

func (e *Emulator) stop() {
	if e.process != nil {
		_ = syscall.Kill(-e.process.Process.Pid, syscall.SIGKILL)
	}
	if e.dir != "" {
		_ = os.RemoveAll(e.dir)
	}
}
