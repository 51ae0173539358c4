// Command aws is alerting's entry point on AWS Lambda: it reads the configuration and wires the function to DynamoDB, KMS,
// IAM, SNS and Secrets Manager. One binary serves both triggers: batches of events from SQS, and ticks from EventBridge
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
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/trigger"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/config"
	"github.com/keyturn/keyturn/internal/ledger"
)

// settings is the whole configuration; the README of the function lists it.
type settings struct {
	Alerting alerting.Settings

	Ledger config.Location `env:"KEYTURN_LEDGER,required"`

	AlertsTopic     string `env:"KEYTURN_ALERTS_TOPIC,required"`
	OperationsTopic string `env:"KEYTURN_OPERATIONS_TOPIC,required"`

	APIKeySecret    string  `env:"KEYTURN_API_KEY_SECRET,required"`
	Server          string  `env:"COCKROACH_SERVER"`
	CloudAPIVersion string  `env:"KEYTURN_CLOUD_API_VERSION"`
	RequestRate     float64 `env:"KEYTURN_REQUEST_RATE"`

	ReaderRole       string `env:"KEYTURN_READER_ROLE"`
	ReaderExternalID string `env:"KEYTURN_READER_EXTERNAL_ID"`

	Repair     bool   `env:"KEYTURN_REPAIR"`
	RepairRole string `env:"KEYTURN_REPAIR_ROLE"`

	LogLevel slog.Level `env:"KEYTURN_LOG_LEVEL"`
}

// Check implements the configuration's own rules.
func (s *settings) Check() (problems []error) {
	if s.Ledger.Scheme != "" && s.Ledger.Scheme != "dynamodb" {
		problems = append(problems, fmt.Errorf("KEYTURN_LEDGER is %s; want dynamodb://TABLE", s.Ledger))
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
	if s.Repair && s.RepairRole == "" {
		problems = append(problems, errors.New("KEYTURN_REPAIR_ROLE is not set; KEYTURN_REPAIR=true needs the role that may cancel deletions, with {account} for the key's account"))
	}
	return problems
}

func main() {
	handler, err := wire(os.Environ(), os.Getenv)
	if err != nil {
		fmt.Fprintf(os.Stderr, "alerting cannot start; its configuration has these problems:\n%v\n", err)
		os.Exit(1)
	}
	lambda.Start(handler)
}

// wire builds the function from the environment. The error names every problem.
func wire(environ []string, getenv func(string) string) (lambda.Handler, error) {
	s := settings{Alerting: alerting.DefaultSettings(), RequestRate: alertingShare}
	problems := []error{config.Load(&s, environ)}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: s.LogLevel})).With("function", "alerting")

	aws, err := amazon.ConfigFromEnv(getenv, &http.Client{Timeout: 5 * time.Second})
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
		Timeout: s.Alerting.Enrich,
	})
	if err != nil {
		problems = append(problems, fmt.Errorf("%s: %w", cockroachcloud.EnvServer, err))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}

	ledgerAWS := aws
	if s.Ledger.Region != "" {
		ledgerAWS.Region = s.Ledger.Region
	}
	roles := amazon.ReaderRoles{"*": {ARN: s.ReaderRole, ExternalID: s.ReaderExternalID}}
	function := &alerting.Function{
		Ledger:   ledger.New(amazon.NewStore(ledgerAWS, s.Ledger.Name), rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))),
		Notifier: notifier,
		KMS:      amazon.NewKMS(aws, roles),
		Policies: amazon.NewPolicies(aws, roles),
		Cloud:    cloud,
		Settings: s.Alerting,
		Log:      log,
	}
	if s.Repair {
		function.Repairer, function.RepairRole = amazon.NewRepairer(aws, s.RepairRole), s.RepairRole
	}
	return trigger.Handler{
		Event:      function.Event,
		Subscribes: alerting.Subscribes,
		Tick:       func(ctx context.Context, _ time.Time) error { return function.Tick(ctx) },
		Log:        log,
	}, nil
}

// alertingShare is the part of the API user's 10 requests/s that is alerting's; rotation has the rest.
const alertingShare = 2
