package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/keyturn/keyturn/scripts/buildpack"
)

const (
	mostGoogleRatio  = 3.0
	mostGoogleBinary = 32.0 // MB
)

// measureGoogle measures the functions for Google Cloud, built from their archives as the buildpack does: from their start to the first
// message that they answer with success, side by side with a bare function of the framework.
func measureGoogle(dir string) (broken []string, err error) {
	archives, err := filepath.Glob("dist/gcp/*.zip")
	if err != nil {
		return nil, err
	}
	if len(archives) == 0 {
		return nil, errors.New("found no dist/gcp/*.zip; run make stage-gcp")
	}
	ctx := context.Background()
	const hello = "googlehello"
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", filepath.Join(dir, hello), "./scripts/coldstart/"+hello)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w\n%s", hello, err, out)
	}
	names := []string{hello}
	for _, archive := range archives {
		name := strings.TrimSuffix(filepath.Base(archive), ".zip")
		if err := buildpack.Build(ctx, archive, filepath.Join(dir, name+"-source"), filepath.Join(dir, "google-"+name)); err != nil {
			return nil, err
		}
		names = append(names, "google-"+name)
	}

	starts, memory := map[string][]float64{}, map[string][]float64{}
	for range runs {
		for _, name := range names {
			ms, mb, err := startGoogle(ctx, filepath.Join(dir, name), name)
			if err != nil {
				return nil, fmt.Errorf("start %s: %w", name, err)
			}
			starts[name], memory[name] = append(starts[name], ms), append(memory[name], mb)
		}
	}

	bare := median(starts[hello])
	fmt.Printf("\n%-16s %12s %10s %10s %12s\n", "function", "to success", "× hello", "memory", "binary")
	for _, name := range names {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		ms, size := median(starts[name]), float64(info.Size())/1e6
		fmt.Printf("%-16s %9.1f ms %10.2f %7.1f MB %9.1f MB\n", name, ms, ms/bare, median(memory[name]), size)
		if ms/bare > mostGoogleRatio {
			broken = append(broken, fmt.Sprintf("%s answers after %.2f × the time of a bare function, want at most %.1f", name, ms/bare, mostGoogleRatio))
		}
		if size > mostGoogleBinary {
			broken = append(broken, fmt.Sprintf("%s has %.1f MB, want at most %.0f", name, size, mostGoogleBinary))
		}
	}
	return broken, nil
}

// startGoogle runs the binary until it has answered a message that needs nothing of the outside world.
func startGoogle(ctx context.Context, binary, name string) (ms, mb float64, err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, 0, err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return 0, 0, err
	}
	_, port, _ := net.SplitHostPort(address)
	target := map[string]string{"google-rotation": "Rotation", "google-alerting": "Alerting", "google-notify": "Notify", "google-compliance": "Compliance"}[name]
	cmd := exec.CommandContext(ctx, binary)
	var said bytes.Buffer
	cmd.Stderr = &said
	cmd.Env = append(googleEnvironment(), "FUNCTION_TARGET="+target, "PORT="+port)
	if target == "" {
		cmd.Env = append(cmd.Env, "FUNCTION_TARGET=Hello")
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}()
	message := `{"logName":"projects/acme/logs/syslog","textPayload":"not for us"}`
	if target == "Notify" {
		message = "not for this channel\n" + `{"id":"a1","severity":"info","summary":"not for this channel"}`
	}
	body := fmt.Sprintf(`{"message":{"data":%q,"messageId":"m1"},"subscription":"s"}`, base64.StdEncoding.EncodeToString([]byte(message)))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	const pause = 100 * time.Microsecond
	for time.Since(began) < 10*time.Second {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address, strings.NewReader(body))
		if err != nil {
			return 0, 0, err
		}
		resp, err := client.Do(req)
		if err != nil {
			time.Sleep(pause)
			continue
		}
		ms = float64(time.Since(began).Microseconds()) / 1000
		if err := resp.Body.Close(); err != nil {
			return 0, 0, err
		}
		// Compliance takes ticks only, and a tick asks the ledger: that it refuses the message is its first answer that needs nothing.
		if refused := resp.StatusCode >= http.StatusBadRequest; refused != (target == "Compliance") || refused && resp.StatusCode != http.StatusBadRequest {
			return 0, 0, fmt.Errorf("it answers with %s\n%s", resp.Status, said.Bytes())
		}
		mb, err = resident(cmd.Process.Pid)
		return ms, mb, err
	}
	return 0, 0, errors.New("no answer within 10 s\n" + said.String())
}

// googleEnvironment is a complete configuration; nothing in it is called at a start.
func googleEnvironment() []string {
	return []string{
		"KEYTURN_LEDGER=firestore://acme/keyturn", "KEYTURN_ARCHIVE=gs://acme-evidence",
		"KEYTURN_ALERTS_TOPIC=projects/acme/topics/keyturn-alerts", "KEYTURN_OPERATIONS_TOPIC=projects/acme/topics/keyturn-operations",
		"KEYTURN_API_KEY_SECRET=projects/acme/secrets/keyturn-api-key",
		"KEYTURN_CHANNEL=webhook", "KEYTURN_CHANNEL_URL=https://example.com", "KEYTURN_CHANNEL_SECRET=projects/acme/secrets/webhook", "KEYTURN_MIN_SEVERITY=critical",
		"KEYTURN_DECLARATIONS=gs://acme-source/declarations.json", "KEYTURN_LOG_LEVEL=ERROR",
	}
}
