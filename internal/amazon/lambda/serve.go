package lambda

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
)

// Serve runs the function as long as the process lives. wire builds it from the environment, and its error names every problem of
// that; a function that cannot be built writes them out and ends, which Lambda reports as a failed initialization. Nothing should be
// called over the network before the first invocation.
func Serve[H lambda.Handler](function string, wire func(environ []string) (H, error)) {
	if handler, ok := start(function, wire, os.Environ(), os.Stderr); ok {
		lambda.Start(handler)
	}
	os.Exit(1)
}

func start[H lambda.Handler](function string, wire func(environ []string) (H, error), environ []string, out io.Writer) (handler H, ok bool) {
	handler, err := wire(environ)
	if err != nil {
		_, _ = fmt.Fprintf(out, "%s cannot start; its configuration has these problems:\n%v\n", function, err)
	}
	return handler, err == nil
}

// NewLog is the log of a function: one JSON object a line, each with the function's name.
func NewLog(function string, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("function", function)
}
