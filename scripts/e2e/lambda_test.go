package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// lambda runs a function's binary as AWS Lambda does: one process at a time, started when there is something to do, fed through the
// Runtime API (docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html), killed at its deadline, replaced after its death.
type lambda struct {
	t *testing.T
	// binary is the function's folder; name, arn and timeout are those of the deployed function.
	binary      string
	name, arn   string
	timeout     time.Duration
	environment []string
	log         logbook

	mu      sync.Mutex
	sandbox *sandbox
	invoked int
	started int
}

// How an invocation ends without an answer.
var (
	errInit     = errors.New("init error: the process ended before it asked for an invocation")
	errDied     = errors.New("the process ended before it answered")
	errTimedOut = errors.New("the invocation timed out")
)

// functionError is the answer of a function that failed (POST …/invocation/ID/error).
type functionError struct {
	Type    string `json:"errorType"`
	Message string `json:"errorMessage"`
}

func (e *functionError) Error() string { return e.Type + ": " + e.Message }

// newLambda makes a function with exactly this environment, which Lambda completes with the address of the Runtime API. Nothing
// runs before the first invoke.
func newLambda(t *testing.T, binary string, environment ...string) *lambda {
	l := &lambda{t: t, binary: binary, environment: environment}
	t.Cleanup(l.kill)
	return l
}

// invoke runs one invocation and returns its answer. It starts a process if none is alive.
func (l *lambda) invoke(payload []byte, timeout time.Duration) ([]byte, error) {
	l.mu.Lock()
	if l.sandbox == nil || l.sandbox.dead() {
		l.started++
		l.sandbox = startSandbox(l)
	}
	l.invoked++
	s, id := l.sandbox, fmt.Sprintf("8476a536-e9f4-11e8-9739-%012d", l.invoked)
	l.mu.Unlock()

	const slowestStart = 10 * time.Second // of an init phase, docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
	i := invocation{id: id, payload: payload, deadline: time.Now().Add(timeout), answer: make(chan answer, 1)}
	select {
	case s.next <- &i:
	case <-s.ended:
		return nil, errInit
	case <-time.After(slowestStart):
		s.kill()
		return nil, fmt.Errorf("the process did not ask for an invocation within %s", slowestStart)
	}
	select {
	case a := <-i.answer:
		if a.failure != nil {
			return nil, a.failure
		}
		return a.payload, nil
	case <-s.ended:
		return nil, errDied
	case <-time.After(time.Until(i.deadline)):
		s.kill()
		return nil, errTimedOut
	}
}

// kill ends the process with SIGKILL, wherever it is, and returns when it is gone.
func (l *lambda) kill() {
	l.mu.Lock()
	s := l.sandbox
	l.mu.Unlock()
	if s != nil {
		s.kill()
	}
}

// starts is how many processes there have been.
func (l *lambda) starts() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.started
}

// sandbox is one process and the Runtime API that serves it alone.
type sandbox struct {
	arn     string // the function's
	next    chan *invocation
	process *os.Process
	ended   chan struct{} // closed when the process is gone
	status  *os.ProcessState

	mu      sync.Mutex
	current *invocation
}

type invocation struct {
	id       string
	payload  []byte
	deadline time.Time
	answer   chan answer
}

type answer struct {
	payload []byte
	failure *functionError
}

func startSandbox(l *lambda) *sandbox {
	s := &sandbox{arn: l.arn, next: make(chan *invocation), ended: make(chan struct{})}
	api := httptest.NewServer(s.runtimeAPI(&l.log))
	cmd := exec.Command(filepath.Join(binaries, l.binary))
	// Nothing of the tests' own environment gets in.
	cmd.Env = append([]string{"AWS_LAMBDA_RUNTIME_API=" + strings.TrimPrefix(api.URL, "http://")}, l.environment...)
	cmd.Stdout, cmd.Stderr = &l.log, &l.log
	if err := cmd.Start(); err != nil {
		l.t.Fatalf("start the Lambda binary: %v", err)
	}
	s.process = cmd.Process
	go func() {
		_ = cmd.Wait()
		s.status = cmd.ProcessState
		close(s.ended)
		api.Close()
	}()
	return s
}

func (s *sandbox) dead() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

func (s *sandbox) kill() {
	_ = s.process.Kill()
	<-s.ended
}

// runtimeAPI serves the process. An init error that it reports goes to the log, like one that it prints.
func (s *sandbox) runtimeAPI(log io.Writer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", s.serveNext)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		s.answered(w, r, err, answer{payload: body})
	})
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) {
		failure := &functionError{}
		s.answered(w, r, json.NewDecoder(r.Body).Decode(failure), answer{failure: failure})
	})
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(log, r.Body)
		w.WriteHeader(http.StatusAccepted)
	})
	return mux
}

func (s *sandbox) serveNext(w http.ResponseWriter, r *http.Request) {
	select {
	case i := <-s.next:
		s.mu.Lock()
		s.current = i
		s.mu.Unlock()
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Lambda-Runtime-Aws-Request-Id", i.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(i.deadline.UnixMilli(), 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", s.arn)
		h.Set("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0")
		_, _ = w.Write(i.payload)
	case <-r.Context().Done():
	case <-s.ended:
	}
}

// answered takes the answer to the invocation under way; one to any other is refused as Lambda refuses it.
func (s *sandbox) answered(w http.ResponseWriter, r *http.Request, err error, a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || s.current == nil || r.PathValue("id") != s.current.id {
		http.Error(w, `{"errorType":"InvalidRequestID"}`, http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	s.current.answer <- a
	s.current = nil
}

// logbook keeps what the processes of a function write. It is safe for concurrent use.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// lines returns the lines that contain the text.
func (l *logbook) lines(text string) (found []string) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, text) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// tail is the end of the log, for the message of a failed test.
func (l *logbook) tail() string {
	const most = 4000
	text := l.String()
	return text[max(0, len(text)-most):]
}
