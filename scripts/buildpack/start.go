package buildpack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// startPatience is how long a function may take to answer its first request.
const startPatience = 2 * time.Minute

// Process is a function that runs.
type Process struct {
	// URL is where it answers.
	URL string
	// Ended gets how it ended, once.
	Ended <-chan error

	command *exec.Cmd
}

// Start runs the binary of a function, by its name as in "rotation", as Cloud Run does, until it answers. Its log goes to log. One that ends
// before is an error. When the context ends, so does the function.
func Start(ctx context.Context, binary, function string, environment []string, log io.Writer) (*Process, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	_ = listener.Close()
	_, port, _ := net.SplitHostPort(address)
	command := exec.CommandContext(ctx, binary)
	command.Env = slices.Concat(environment, []string{"PORT=" + port, "FUNCTION_TARGET=" + strings.ToUpper(function[:1]) + function[1:]})
	command.Stderr = log
	if err := command.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	p := &Process{URL: "http://" + address, Ended: ended, command: command}
	for began := time.Now(); time.Since(began) < startPatience; time.Sleep(50 * time.Millisecond) {
		select {
		case err := <-ended:
			return nil, fmt.Errorf("%s ends before it answers: %w", function, errors.Join(err, errors.New("see its log")))
		default:
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, http.NoBody)
		if err != nil {
			p.Kill()
			return nil, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusMethodNotAllowed {
			p.Kill()
			return nil, fmt.Errorf("%s answers GET with %s, want 405", function, response.Status)
		}
		return p, nil
	}
	p.Kill()
	return nil, fmt.Errorf("%s does not answer within %s", function, startPatience)
}

// Kill ends the process.
func (p *Process) Kill() { _ = p.command.Process.Kill() }
