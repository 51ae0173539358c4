// Command screenshots makes the pictures of README, from what really happens on this machine:
//
//	screenshots bin/keyturn scripts/screenshots
//
// demo.png is what "keyturn demo" writes to a terminal, drawn by xterm.js, report.png the top of the report that it leaves. slack.png is the message that package channel makes of an alert
// of "keyturn simulate --functions": its Block Kit as HTML, in a frame that is like Slack's. Chromium takes the pictures; xterm.js comes
// from npm.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/creack/pty"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/channel"
)

const (
	// xterm draws the terminal.
	xterm = "@xterm/xterm@5.5.0"
	// The terminal, and how many of its rows the picture shows: the first five steps.
	columns, rows, shown = 140, 200, 60
	patience             = 2 * time.Minute
	// demoFolder is where "make run" has it.
	demoFolder = ".keyturn/demo"
)

var (
	//go:embed terminal.html
	terminalPage string
	//go:embed slack.html
	slackPage string
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: screenshots PROGRAM FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		os.Exit(1)
	}
}

func run(program, folder string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	work, err := os.MkdirTemp("", "screenshots")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	if program, err = filepath.Abs(program); err != nil {
		return err
	}
	if err := demo(ctx, program, work, folder); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if err := slack(ctx, program, work, filepath.Join(folder, "slack.png")); err != nil {
		return fmt.Errorf("slack: %w", err)
	}
	return nil
}

// demo runs the demo in a terminal, and shows that and the report.
func demo(ctx context.Context, program, work, folder string) error {
	install := exec.CommandContext(ctx, "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", work, xterm)
	if out, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("install %s: %w\n%s", xterm, err, out)
	}
	command := exec.CommandContext(ctx, program, "demo", "--dir", demoFolder)
	command.Dir, command.Env = work, append(environ(), "TERM=xterm-256color")
	screen, err := pty.StartWithSize(command, &pty.Winsize{Cols: columns, Rows: rows})
	if err != nil {
		return err
	}
	var written bytes.Buffer
	if _, err := io.Copy(&written, screen); err != nil && !errors.Is(err, syscall.EIO) { // EIO is how Linux ends a pseudo-terminal
		return err
	}
	if err := command.Wait(); err != nil {
		return fmt.Errorf("%w\n%s", err, written.String())
	}
	text, err := json.Marshal("$ make run\r\n" + written.String())
	if err != nil {
		return err
	}
	if err := photograph(ctx, terminalPage, work, filepath.Join(folder, "demo.png"), 1205, 22+shown*17, map[string]any{
		"Columns": columns, "Rows": rows, "Text": template.JS(text), //nolint:gosec // it is a JSON string, and the page is only photographed
		"Module": "node_modules/@xterm/xterm",
	}); err != nil {
		return err
	}
	reports, err := filepath.Glob(filepath.Join(work, demoFolder, "archive", "runs", "*", "report.html"))
	if err != nil || len(reports) != 1 {
		return fmt.Errorf("the demo left the reports %q, want one (%w)", reports, err)
	}
	return shoot(ctx, reports[0], work, filepath.Join(folder, "report.png"), 1205, 900)
}

// slack makes somebody schedule the deletion of a key in a simulated world, and renders the alert that keyturn's functions send.
func slack(ctx context.Context, program, work, picture string) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return err
	}
	world := exec.CommandContext(ctx, program, "simulate", "--functions", "--listen", address)
	world.Dir, world.Env = work, environ()
	if err := world.Start(); err != nil {
		return err
	}
	defer func() { _, _ = world.Process.Kill(), world.Wait() }()
	raised, err := raise(ctx, program, work, address)
	if err != nil {
		return err
	}
	var message struct{ Blocks []block }
	sender := channel.Slack{
		URL: func(context.Context) (string, error) { return "https://slack.invalid/", nil },
		Client: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			err := json.NewDecoder(r.Body).Decode(&message)
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("ok")), Request: r}, err
		})},
	}
	if err := sender.Send(ctx, raised); err != nil {
		return err
	}
	return photograph(ctx, slackPage, work, picture, 1000, 630, map[string]any{"Blocks": message.Blocks, "At": raised.Time.Format("15:04")})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// raise schedules the deletion of the world's first key, once the functions have read the fleet, and returns the alert about it.
func raise(ctx context.Context, program, work, address string) (alert.Alert, error) {
	const key = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001"
	_, port, _ := net.SplitHostPort(address)
	ledger := "file:" + filepath.Join(work, ".keyturn", "simulate-"+port, "ledger.db")
	asked := false
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Second) {
		status := exec.CommandContext(ctx, program, "status", "--ledger", ledger)
		status.Env = environ()
		if out, _ := status.Output(); !strings.Contains(string(out), "complete") {
			continue
		}
		if !asked {
			if err := scheduleDeletion(ctx, address, key); err != nil {
				return alert.Alert{}, err
			}
			asked = true
		}
		alerts := exec.CommandContext(ctx, program, "alerts", "-o", "json", "--ledger", ledger)
		alerts.Env = environ()
		out, err := alerts.Output()
		if e := (*exec.ExitError)(nil); err != nil && !errors.As(err, &e) {
			return alert.Alert{}, err
		}
		var open []struct{ Alert alert.Alert }
		if err := json.Unmarshal(out, &open); err == nil && len(open) > 0 {
			return open[0].Alert, nil
		}
	}
	return alert.Alert{}, errors.New("no alert came")
}

func scheduleDeletion(ctx context.Context, address, key string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/", strings.NewReader(`{"KeyId":"`+key+`","PendingWindowInDays":7}`))
	if err != nil {
		return err
	}
	request.Header.Set("X-Amz-Target", "TrentService.ScheduleKeyDeletion")
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=111122223333/20260101/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=0")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("schedule deletion: %s", response.Status)
	}
	return nil
}

// environ is the environment without what would change what the program prints.
func environ() (kept []string) {
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "KEYTURN_") && !strings.HasPrefix(pair, "COCKROACH_") && !strings.HasPrefix(pair, "AWS_") && !strings.HasPrefix(pair, "NO_COLOR") {
			kept = append(kept, pair)
		}
	}
	return kept
}

// photograph writes a page's picture.
func photograph(ctx context.Context, page, work, picture string, width, height int, values any) error {
	parsed, err := template.New("page").Parse(page)
	if err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(work, "page.html"))
	if err != nil {
		return err
	}
	if err := errors.Join(parsed.Execute(file, values), file.Close()); err != nil {
		return err
	}
	return shoot(ctx, file.Name(), work, picture, width, height)
}

// shoot makes a picture of the file's page, as much as such a window shows.
func shoot(ctx context.Context, file, work, picture string, width, height int) error {
	picture, err := filepath.Abs(picture)
	if err != nil {
		return err
	}
	chromium := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--allow-file-access-from-files",
		"--virtual-time-budget=5000", "--user-data-dir="+filepath.Join(work, "profile"), fmt.Sprintf("--window-size=%d,%d", width, height), "--screenshot="+picture, "file://"+file)
	if out, err := chromium.CombinedOutput(); err != nil {
		return fmt.Errorf("chromium: %w\n%s", err, out)
	}
	return nil
}
