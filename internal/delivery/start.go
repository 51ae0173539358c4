package delivery

import (
	"fmt"
	"io"
	"os"
)

// Start builds a function from the environment. wire's error names every problem of that; a function that cannot be built writes them
// out and ends the process, which platforms report as a failed start. Nothing should be called over the network before the first
// request.
func Start[H any](function string, wire func(environ []string) (H, error)) H {
	handler, ok := start(function, wire, os.Environ(), os.Stderr)
	if !ok {
		os.Exit(1)
	}
	return handler
}

func start[H any](function string, wire func(environ []string) (H, error), environ []string, out io.Writer) (handler H, ok bool) {
	handler, err := wire(environ)
	if err != nil {
		_, _ = fmt.Fprintf(out, "%s cannot start; its configuration has these problems:\n%v\n", function, err)
	}
	return handler, err == nil
}
