// Package gcp is notify's entry point on Google Cloud: one channel with its push subscription, and its secret in Secret Manager.
package gcp

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/google/function"
	"github.com/keyturn/keyturn/internal/ledger"
)

// settings is the whole configuration; the README of the function lists it.
type settings struct {
	Notify   notify.Settings
	Google   google.LedgerSettings
	Channel  google.ChannelSettings
	Function function.Settings
}

// gather is how long an alert waits for others on each kind of channel: so Slack gets at most one message a second, which is its limit
// (docs.slack.dev/apis/web-api/rate-limits), and what was paged is written at most once a second, which is what one document of Firestore
// takes for long (firebase.google.com/docs/firestore/best-practices). A program behind a webhook groups for itself.
var gather = map[notify.Kind]time.Duration{notify.Slack: time.Second, notify.PagerDuty: time.Second}

func init() { function.Register("Notify", "notify", Wire) }

// Wire builds the function from the environment. The error names every problem.
func Wire(environ []string) (function.Handler, error) {
	s := settings{Notify: notify.DefaultSettings(), Function: function.DefaultSettings()}
	config, err := google.Load(&s, environ, 5*time.Second)
	if err != nil {
		return function.Handler{}, err
	}
	log := function.NewLog("notify", s.Function.LogLevel).With("channel", s.Notify.Kind)
	if s.Notify.AllowLoopback {
		log.Warn("this channel may reach loopback addresses by plain http: for tests only")
	}
	secret, err := google.NewSecret(config, s.Channel.Secret)
	if err != nil {
		return function.Handler{}, err
	}
	f := &notify.Function{Channel: s.Notify.Channel(secret.Value), Least: s.Notify.LeastSeverity(), Log: log}
	if s.Google.Ledger.Scheme != "" {
		store, err := s.Google.Store(config)
		if err != nil {
			return function.Handler{}, err
		}
		l := ledger.New(store, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
		f.Pages = func(ctx context.Context, change func(*ledger.Pages) error) error {
			return l.UpdatePages(ctx, s.Channel.Secret, change)
		}
	}
	return handler(f, s.Notify.Kind, s.Function), nil
}

func handler(f *notify.Function, kind notify.Kind, s function.Settings) function.Handler {
	h := function.Handler{Settings: s, Gather: gather[kind]}
	h.Alerts, h.Parse, h.Log = f.Alerts, alert.ParseMessage, f.Log
	return h
}
