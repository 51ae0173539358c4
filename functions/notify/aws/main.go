// Command aws is notify's entry point on AWS Lambda: one channel with its queue, and its secret in Secrets Manager.
package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/lambda"
	"github.com/keyturn/keyturn/internal/ledger"
)

// settings is the whole configuration; the README of the function lists it.
type settings struct {
	Notify   notify.Settings
	AWS      amazon.LedgerSettings
	Secret   string     `env:"KEYTURN_CHANNEL_SECRET,required"`
	LogLevel slog.Level `env:"KEYTURN_LOG_LEVEL"`
}

func main() { lambda.Serve("notify", wire) }

// wire builds the function from the environment. The error names every problem.
func wire(environ []string) (lambda.Handler, error) {
	s := settings{Notify: notify.DefaultSettings()}
	aws, err := amazon.Load(&s, environ, 5*time.Second)
	if err != nil {
		return lambda.Handler{}, err
	}
	log := lambda.NewLog("notify", s.LogLevel).With("channel", s.Notify.Kind)
	if s.Notify.AllowLoopback {
		log.Warn("this channel may reach loopback addresses by plain http: for tests only")
	}
	f := &notify.Function{
		Channel: s.Notify.Channel(amazon.NewSecret(aws, s.Secret).Value), Least: s.Notify.LeastSeverity(), Log: log,
	}
	if s.AWS.Ledger.Scheme != "" {
		l := ledger.New(s.AWS.Store(aws), rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
		f.Pages = func(ctx context.Context, change func(*ledger.Pages) error) error {
			return l.UpdatePages(ctx, s.Secret, change)
		}
	}
	return lambda.Handler{Alerts: f.Alerts, Parse: amazon.ParseMessage, Log: log}, nil
}
