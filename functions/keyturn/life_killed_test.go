//go:build unix

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// holdingAnswers puts a proxy before the Cloud API that lets writes through and keeps their answers until release is closed. Each
// write is reported once the server has acted.
func (b *bench) holdingAnswers(t *testing.T) (acted <-chan string, release chan struct{}) {
	t.Helper()
	target, err := url.Parse(b.url)
	if err != nil {
		t.Fatal(err)
	}
	tell := make(chan string, 10)
	release = make(chan struct{})
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(resp *http.Response) error {
		if resp.Request.Method != http.MethodGet {
			tell <- resp.Request.Method + " " + resp.Status
			<-release
		}
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	b.environ = append(b.environ, "COCKROACH_SERVER="+server.URL)
	return tell, release
}

// A process that is killed after the server has acted and before it knows: the same command comes to the end, and nothing is sent twice.
func TestAKilledChange_isWatchedByTheNextCommandAndNotSentTwice(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(b *bench) []string
		typed   string
	}{
		{"enable", func(b *bench) []string {
			return []string{"enable", "analytics", "-f", b.file(t, "cmek_config.json", enableAnalytics), "--access-unverified", unverified}
		}, ""},
		{"add-region", func(*bench) []string {
			return []string{"add-region", "payments", "--region", "us-west-2=3", "--key", "arn:aws:kms:us-west-2:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f003",
				"--principal", "arn:aws:iam::111122223333:role/orders-cmek", "--access-unverified", unverified}
		}, ""},
		{"revoke", func(b *bench) []string {
			b.kms(t, "DisableKey", paymentsKey)
			plan := filepath.Join(b.folder, "plan.json")
			b.succeed(t, "revoke", "payments", "--reason", "key compromised", "--shared-key", "checkout moves too", "--out", plan)
			return []string{"apply", plan}
		}, "payments\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			acted, release := b.holdingAnswers(t)
			args := tt.prepare(b)
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			c := exec.CommandContext(t.Context(), self, args...)
			c.Env = slices.Concat(os.Environ(), b.environ, []string{commandVariable + "=1", "TERM=dumb"})
			terminal, err := pty.Start(c)
			if err != nil {
				t.Skipf("no pseudo-terminal can be had: %v", err)
			}
			defer func() { _ = terminal.Close() }()
			go func() { _, _ = io.Copy(io.Discard, terminal) }()
			if _, err := io.WriteString(terminal, tt.typed); err != nil {
				t.Fatal(err)
			}
			select {
			case answer := <-acted:
				if !strings.HasSuffix(answer, "200 OK") {
					t.Fatalf("the server answered %s", answer)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("nothing was sent within 30 s")
			}
			if err := c.Process.Kill(); err != nil { // SIGKILL
				t.Fatal(err)
			}
			_ = c.Wait()
			close(release)

			o := b.typing(t, tt.typed, args...)
			o.wantCode(t, exitFine, args...)
			wantText(t, "the next command", o.out, "is open; watching it", "Done: "+tt.name)
			evidence, _ := filepath.Glob(filepath.Join(b.folder, "archive", "evidence", "*", "*-"+tt.name+".json"))
			if w := b.writes(); len(w) != 1 || len(evidence) != 1 {
				t.Errorf("sent %q, evidence %q, want one each", w, evidence)
			}
		})
	}
}
