// Command aws is notify's entry point on AWS Lambda: it reads the configuration and wires one channel to its queue and to
// its secret in Secrets Manager. Nothing is called over the network before the first invocation.
package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/trigger"
	"github.com/keyturn/keyturn/internal/config"
)

// settings is the whole configuration; the README of the function lists it.
type settings struct {
	Notify   notify.Settings
	Secret   string     `env:"KEYTURN_CHANNEL_SECRET,required"`
	LogLevel slog.Level `env:"KEYTURN_LOG_LEVEL"`
}

func main() {
	handler, err := wire(os.Environ(), os.Getenv)
	if err != nil {
		fmt.Fprintf(os.Stderr, "notify cannot start; its configuration has these problems:\n%v\n", err)
		os.Exit(1)
	}
	lambda.Start(handler)
}

// wire builds the function from the environment. The error names every problem.
func wire(environ []string, getenv func(string) string) (lambda.Handler, error) {
	s := settings{Notify: notify.DefaultSettings()}
	loading := config.Load(&s, environ)
	aws, err := amazon.ConfigFromEnv(getenv, &http.Client{Timeout: 5 * time.Second})
	if err := errors.Join(loading, err); err != nil {
		return nil, err
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: s.LogLevel})).
		With("function", "notify", "channel", s.Notify.Kind)
	if s.Notify.AllowLoopback {
		log.Warn("this channel may reach loopback addresses by plain http: for tests only")
	}
	function := &notify.Function{
		Channel: s.Notify.Channel(amazon.NewSecret(aws, s.Secret).Value),
		Least:   s.Notify.LeastSeverity(),
		Log:     log,
	}
	return trigger.Alerts{Parse: amazon.ParseMessage, Alert: function.Alert, Log: log}, nil
}
