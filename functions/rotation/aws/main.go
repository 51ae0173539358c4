// Command aws is rotation's entry point on AWS Lambda. One binary serves both triggers: batches of events from SQS, and ticks from
// EventBridge Scheduler.
package main

import (
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/lambda"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/ledger"
)

// settings is the whole configuration; the README of the function lists it.
type settings struct {
	Rotation rotation.Settings
	AWS      amazon.Settings
	Evidence amazon.ArchiveSettings
	Cloud    cockroachcloud.Settings
	LogLevel slog.Level `env:"KEYTURN_LOG_LEVEL"`
}

func main() { lambda.Serve("rotation", wire) }

// wire builds the function from the environment. The error names every problem.
func wire(environ []string) (lambda.Handler, error) {
	s := settings{Rotation: rotation.DefaultSettings(), Cloud: cockroachcloud.Settings{RequestRate: rotation.RequestRate}}
	aws, err := amazon.Load(&s, environ, 10*time.Second)
	if err != nil {
		return lambda.Handler{}, err
	}
	notifier, err := s.AWS.Notifier(aws)
	if err != nil {
		return lambda.Handler{}, err
	}
	cloud, err := cockroachcloud.New(s.Cloud.Options(amazon.NewSecret(aws, s.AWS.APIKeySecret).Value))
	if err != nil {
		return lambda.Handler{}, err
	}
	s.Rotation.Loopback = cockroachcloud.IsLoopback(s.Cloud.Server)
	log, random := lambda.NewLog("rotation", s.LogLevel), rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	keys := amazon.NewKMS(aws, s.AWS.Readers())
	f := &rotation.Function{
		Cloud: cloud, KMS: keys, Aliases: keys, Policies: amazon.NewPolicies(aws, s.AWS.Readers()),
		Ledger: ledger.New(s.AWS.Store(aws), random), Archive: s.Evidence.Store(aws), Notifier: notifier,
		Subscribers: s.AWS.Subscribers(aws),
		Settings:    s.Rotation, Log: log,
		Holder: os.Getenv("AWS_LAMBDA_LOG_STREAM_NAME") + "/" + strconv.FormatUint(random.Uint64(), 36),
	}
	return lambda.Handler{Event: f.Event, Subscribes: rotation.Subscribes, Tick: f.Tick, Log: log}, nil
}
