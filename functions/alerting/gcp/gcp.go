// Package gcp is alerting's entry point on Google Cloud. One function serves both triggers: events that Pub/Sub pushes, and ticks of Cloud
// Scheduler.
package gcp

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/google/function"
	"github.com/keyturn/keyturn/internal/ledger"
)

// settings is the whole configuration; the README of the function lists it. Nothing is repaired on Google Cloud: alerts have the commands.
type settings struct {
	Alerting alerting.Settings
	Google   google.Settings
	Cloud    cockroachcloud.Settings
	Function function.Settings
	// Repair is known on AWS alone.
	Repair bool `env:"KEYTURN_REPAIR"`
}

// Check returns what only makes sense on another cloud.
func (s settings) Check() (problems []error) {
	if s.Repair {
		problems = append(problems, errors.New("KEYTURN_REPAIR is true; want false: on Google Cloud nothing is repaired, and alerts name the commands"))
	}
	return problems
}

// parallel is how many events an instance handles at a time, while others of the requests that infra/gcp lets it have wait.
const parallel = 10

func init() { function.Register("Alerting", "alerting", Wire) }

// Wire builds the function from the environment. The error names every problem.
func Wire(environ []string) (function.Handler, error) {
	s := settings{
		Alerting: alerting.DefaultSettings(), Cloud: cockroachcloud.Settings{RequestRate: alerting.RequestRate}, Function: function.DefaultSettings(),
	}
	config, err := google.Load(&s, environ, 5*time.Second)
	if err != nil {
		return function.Handler{}, err
	}
	store, storeErr := s.Google.Store(config)
	keys, keysErr := google.NewKMS(config)
	notifier, notifierErr := s.Google.Notifier(config)
	secret, secretErr := google.NewSecret(config, s.Google.APIKeySecret)
	if err := errors.Join(storeErr, keysErr, notifierErr, secretErr); err != nil {
		return function.Handler{}, err
	}
	options := s.Cloud.Options(secret.Value)
	options.Timeout = s.Alerting.Enrich
	cloud, err := cockroachcloud.New(options)
	if err != nil {
		return function.Handler{}, err
	}
	f := &alerting.Function{
		Ledger:   ledger.New(store, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))),
		Notifier: notifier, KMS: keys, Policies: google.NewPolicies(config),
		Cloud: cloud, Settings: s.Alerting, Log: function.NewLog("alerting", s.Function.LogLevel),
	}
	h := function.Handler{Settings: s.Function}
	h.Event, h.Parallel, h.Subscribes, h.Tick, h.Log = f.Event, parallel, alerting.Subscribes, f.Tick, f.Log
	return h, nil
}
