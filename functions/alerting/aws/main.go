// Command aws is alerting's entry point on AWS Lambda. One binary serves both triggers: batches of events from SQS, and ticks from
// EventBridge Scheduler.
package main

import (
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/lambda"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/ledger"
)

// settings is the whole configuration; the README of the function lists it.
type settings struct {
	Alerting alerting.Settings
	AWS      amazon.Settings
	Repair   amazon.RepairSettings
	Cloud    cockroachcloud.Settings
	LogLevel slog.Level `env:"KEYTURN_LOG_LEVEL"`
}

func main() { lambda.Serve("alerting", wire) }

// wire builds the function from the environment. The error names every problem.
func wire(environ []string) (lambda.Handler, error) {
	s := settings{Alerting: alerting.DefaultSettings(), Cloud: cockroachcloud.Settings{RequestRate: alerting.RequestRate}}
	aws, err := amazon.Load(&s, environ, 5*time.Second)
	if err != nil {
		return lambda.Handler{}, err
	}
	notifier, err := s.AWS.Notifier(aws)
	if err != nil {
		return lambda.Handler{}, err
	}
	options := s.Cloud.Options(amazon.NewSecret(aws, s.AWS.APIKeySecret).Value)
	options.Timeout = s.Alerting.Enrich
	cloud, err := cockroachcloud.New(options)
	if err != nil {
		return lambda.Handler{}, err
	}
	f := &alerting.Function{
		Ledger:   ledger.New(s.AWS.Store(aws), rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))),
		Notifier: notifier, KMS: amazon.NewKMS(aws, s.AWS.Readers()), Policies: amazon.NewPolicies(aws, s.AWS.Readers()),
		Cloud: cloud, Settings: s.Alerting, Log: lambda.NewLog("alerting", s.LogLevel),
	}
	if s.Repair.Repair {
		f.Repairer, f.RepairRole = amazon.NewRepairer(aws, s.Repair.RepairRole), s.Repair.RepairRole
	}
	return lambda.Handler{Event: f.Event, Parallel: alerting.Parallel, Subscribes: alerting.Subscribes, Tick: f.Tick, Log: f.Log}, nil
}
