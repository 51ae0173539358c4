// Command aws is rotation's entry point on AWS Lambda: it reads the configuration and wires the function to DynamoDB, KMS,
// S3, SNS and Secrets Manager. One binary serves both triggers: batches of events from SQS, and ticks from EventBridge
// Scheduler. Nothing is called over the network before the first invocation.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/trigger"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/config"
	"github.com/keyturn/keyturn/internal/ledger"
)

// settings is the whole configuration; the README of the function lists it.
type settings struct {
	Rotation rotation.Settings

	Ledger  config.Location `env:"KEYTURN_LEDGER,required"`
	Archive config.Location `env:"KEYTURN_ARCHIVE,required"`

	AlertsTopic     string `env:"KEYTURN_ALERTS_TOPIC,required"`
	OperationsTopic string `env:"KEYTURN_OPERATIONS_TOPIC,required"`

	APIKeySecret    string  `env:"KEYTURN_API_KEY_SECRET,required"`
	Server          string  `env:"COCKROACH_SERVER"`
	CloudAPIVersion string  `env:"KEYTURN_CLOUD_API_VERSION"`
	RequestRate     float64 `env:"KEYTURN_REQUEST_RATE"`

	ReaderRole       string `env:"KEYTURN_READER_ROLE"`
	ReaderExternalID string `env:"KEYTURN_READER_EXTERNAL_ID"`

	LogLevel slog.Level `env:"KEYTURN_LOG_LEVEL"`
}

// Check implements the configuration's own rules.
func (s *settings) Check() (problems []error) {
	if s.Ledger.Scheme != "" && s.Ledger.Scheme != "dynamodb" {
		problems = append(problems, fmt.Errorf("KEYTURN_LEDGER is %s; want dynamodb://TABLE", s.Ledger))
	}
	if s.Archive.Scheme != "" && s.Archive.Scheme != "s3" {
		problems = append(problems, fmt.Errorf("KEYTURN_ARCHIVE is %s; want s3://BUCKET/PREFIX", s.Archive))
	}
	for _, topic := range []struct{ variable, arn string }{
		{"KEYTURN_ALERTS_TOPIC", s.AlertsTopic}, {"KEYTURN_OPERATIONS_TOPIC", s.OperationsTopic},
	} {
		if err := amazon.CheckTopic(topic.arn); topic.arn != "" && err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", topic.variable, err))
		}
	}
	if s.RequestRate <= 0 || s.RequestRate > cockroachcloud.UserRate {
		problems = append(problems, fmt.Errorf("KEYTURN_REQUEST_RATE is %v; want more than 0 and at most %v requests/s", s.RequestRate, cockroachcloud.UserRate))
	}
	return problems
}

func main() {
	handler, err := wire(os.Environ(), os.Getenv)
	if err != nil {
		fmt.Fprintf(os.Stderr, "rotation cannot start; its configuration has these problems:\n%v\n", err)
		os.Exit(1)
	}
	lambda.Start(handler)
}

// wire builds the function from the environment. The error names every problem.
func wire(environ []string, getenv func(string) string) (lambda.Handler, error) {
	s := settings{Rotation: rotation.DefaultSettings(), RequestRate: rotationShare}
	problems := []error{config.Load(&s, environ)}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: s.LogLevel})).With("function", "rotation")

	client := &http.Client{Timeout: 10 * time.Second}
	aws, err := amazon.ConfigFromEnv(getenv, client)
	problems = append(problems, err)
	notifier, err := amazon.NewNotifier(aws, amazon.Topics{Owners: s.AlertsTopic, Operations: s.OperationsTopic})
	if errors.Join(problems...) == nil { // else Check has named the variable
		problems = append(problems, err)
	}
	cloud, err := cockroachcloud.New(cockroachcloud.Options{
		Server:  s.Server,
		APIKey:  amazon.NewSecret(aws, s.APIKeySecret).Value,
		Version: s.CloudAPIVersion,
		Rate:    s.RequestRate,
	})
	if err != nil {
		problems = append(problems, fmt.Errorf("%s: %w", cockroachcloud.EnvServer, err))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	s.Rotation.Loopback = cockroachcloud.IsLoopback(s.Server)

	roles := amazon.ReaderRoles{"*": {ARN: s.ReaderRole, ExternalID: s.ReaderExternalID}}
	random := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	function := &rotation.Function{
		Cloud:    cloud,
		KMS:      amazon.NewKMS(aws, roles),
		Ledger:   ledger.New(amazon.NewStore(in(aws, s.Ledger.Region), s.Ledger.Name), random),
		Archive:  amazon.NewArchive(in(aws, s.Archive.Region), s.Archive.Name, s.Archive.Prefix),
		Policies: amazon.NewPolicies(aws, roles),
		Notifier: notifier,
		Settings: s.Rotation,
		Log:      log,
		Holder:   getenv("AWS_LAMBDA_LOG_STREAM_NAME") + "/" + strconv.FormatUint(random.Uint64(), 36),
	}
	return trigger.Handler{
		Event:      func(ctx context.Context, e cmek.Event) error { return function.Event(ctx, e) },
		Subscribes: rotation.Subscribes,
		Tick:       func(ctx context.Context, _ time.Time) error { return function.Tick(ctx) },
		Log:        log,
	}, nil
}

// rotationShare is the part of the API user's 10 requests/s that is rotation's; alerting keeps the rest.
const rotationShare = 8

func in(aws amazon.Config, region string) amazon.Config {
	if region != "" {
		aws.Region = region
	}
	return aws
}
