package lambda

import (
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/keyturn/keyturn/internal/delivery"
)

// Serve runs the function as long as the process lives. wire builds it from the environment; see [delivery.Start].
func Serve[H lambda.Handler](function string, wire func(environ []string) (H, error)) {
	lambda.Start(delivery.Start(function, wire))
}

// NewLog is the log of a function: one JSON object a line, each with the function's name.
func NewLog(function string, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("function", function)
}
