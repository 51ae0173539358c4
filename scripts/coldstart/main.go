// Command coldstart measures how long each Lambda function takes from its start to its first call of the Runtime API's
// /next, and its resident memory at that moment, side by side with a bare hello-world built the same way. Machines are
// noisy, so the runs alternate and medians are compared. It fails if a promise is broken:
//
//	start at most 2.5 × hello-world, memory at most 15 MB, archive at most 6 MB
//
// compliance, which runs once a day and nobody waits for, may take 3 ×, 20 MB and 10 MB: the template of its page finds methods by their names,
// so the linker keeps all methods of the SDK, and it alone links the clients of EventBridge and SQS.
//
// For the functions of Google Cloud, it measures the time to the first answer and the size of the binary:
//
//	at most 3 × a bare function of the framework, at most 32 MB
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	runs        = 31
	mostRatio   = 2.5
	mostMemory  = 15.0 // MB
	mostArchive = 6.0  // MB

	mostRatioOfPages, mostMemoryOfPages, mostArchiveOfPages = 3.0, 20.0, 10.0 // of compliance, MB
)

func main() {
	broken, err := measure()
	if err != nil {
		fmt.Fprintln(os.Stderr, "coldstart:", err)
		os.Exit(1)
	}
	for _, promise := range broken {
		fmt.Fprintln(os.Stderr, "BROKEN:", promise)
	}
	if len(broken) > 0 {
		os.Exit(1)
	}
}

func measure() (broken []string, err error) {
	dir, err := os.MkdirTemp("", "coldstart")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()

	sources, err := filepath.Glob("functions/*/aws")
	if err != nil {
		return nil, err
	}
	names := []string{"hello"}
	packages := map[string]string{"hello": "./scripts/coldstart/hello"}
	for _, source := range sources {
		name := filepath.Base(filepath.Dir(source))
		names = append(names, name)
		packages[name] = "./" + source
	}
	for _, name := range names {
		// As make build does, but for this machine, so that it can run here.
		build := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w -buildid=", "-o", filepath.Join(dir, name), packages[name])
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}

	starts, memory := map[string][]float64{}, map[string][]float64{}
	for range runs {
		for _, name := range names {
			ms, mb, err := start(filepath.Join(dir, name))
			if err != nil {
				return nil, fmt.Errorf("start %s: %w", name, err)
			}
			starts[name], memory[name] = append(starts[name], ms), append(memory[name], mb)
		}
	}

	hello := median(starts["hello"])
	fmt.Printf("%-12s %12s %10s %10s %12s\n", "function", "to /next", "× hello", "memory", "archive")
	for _, name := range names {
		ms, mb := median(starts[name]), median(memory[name])
		mostRatio, mostMemory, mostArchive := mostRatio, mostMemory, mostArchive
		if name == "compliance" {
			mostRatio, mostMemory, mostArchive = mostRatioOfPages, mostMemoryOfPages, mostArchiveOfPages
		}
		archive := "–"
		if info, err := os.Stat(filepath.Join("dist/aws", name+".zip")); err == nil {
			size := float64(info.Size()) / 1e6
			archive = fmt.Sprintf("%.1f MB", size)
			if size > mostArchive {
				broken = append(broken, fmt.Sprintf("%s.zip has %.1f MB, want at most %.0f", name, size, mostArchive))
			}
		}
		fmt.Printf("%-12s %9.1f ms %10.2f %7.1f MB %12s\n", name, ms, ms/hello, mb, archive)
		if name != "hello" && ms/hello > mostRatio {
			broken = append(broken, fmt.Sprintf("%s starts in %.2f × hello-world, want at most %.1f", name, ms/hello, mostRatio))
		}
		if mb > mostMemory {
			broken = append(broken, fmt.Sprintf("%s holds %.1f MB at its first /next, want at most %.0f", name, mb, mostMemory))
		}
	}
	google, err := measureGoogle(dir)
	return append(broken, google...), err
}

// start runs the binary until its first call of /next.
func start(binary string) (ms, mb float64, err error) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, 0, err
	}
	next := make(chan time.Time, 1)
	hold := make(chan struct{})
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/runtime/invocation/next") {
			next <- time.Now()
			<-hold
		}
	})}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	defer close(hold)

	cmd := exec.CommandContext(context.Background(), binary)
	var said strings.Builder
	cmd.Stderr = &said
	cmd.Env = append(environment(), "AWS_LAMBDA_RUNTIME_API="+listener.Addr().String())
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case at := <-next:
		ms = float64(at.Sub(began).Microseconds()) / 1000
		mb, err = resident(cmd.Process.Pid)
	case err := <-exited:
		return 0, 0, fmt.Errorf("it ended before its first /next: %w\n%s", err, said.String())
	case <-time.After(10 * time.Second):
		err = fmt.Errorf("no /next within 10 s")
	}
	_ = cmd.Process.Kill()
	<-exited //nolint:errcheck // it was killed
	return ms, mb, err
}

// environment is a complete configuration; nothing in it is called at a start.
func environment() []string {
	return []string{
		"AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=sample", "AWS_SECRET_ACCESS_KEY=sample", "AWS_LAMBDA_FUNCTION_NAME=keyturn",
		"KEYTURN_LEDGER=dynamodb://keyturn", "KEYTURN_ARCHIVE=s3://keyturn-archive",
		"KEYTURN_ALERTS_TOPIC=arn:aws:sns:us-east-1:111122223333:keyturn-alerts",
		"KEYTURN_OPERATIONS_TOPIC=arn:aws:sns:us-east-1:111122223333:keyturn-operations",
		"KEYTURN_CHANNEL=pagerduty", "KEYTURN_CHANNEL_SECRET=keyturn/pagerduty",
		"KEYTURN_API_KEY_SECRET=arn:aws:secretsmanager:us-east-1:111122223333:secret:keyturn",
		"KEYTURN_DECLARATIONS=s3://keyturn-assets/declarations.json",
	}
}

// resident is the process's VmRSS in MB.
func resident(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of a process (Linux only): %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("no VmRSS in /proc/%d/status", pid)
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
