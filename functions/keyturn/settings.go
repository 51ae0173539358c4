package main

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/config"
	"github.com/keyturn/keyturn/internal/google"
)

// settings are read from the environment, under the names that the rotation function uses too.
type settings struct {
	Rotation rotation.Settings

	Ledger  config.Location `env:"KEYTURN_LEDGER"`
	Archive config.Location `env:"KEYTURN_ARCHIVE"`

	AlertsTopic     string `env:"KEYTURN_ALERTS_TOPIC"`
	OperationsTopic string `env:"KEYTURN_OPERATIONS_TOPIC"`

	APIKey          string  `env:"COCKROACH_API_KEY"`
	Server          string  `env:"COCKROACH_SERVER"`
	CloudAPIVersion string  `env:"KEYTURN_CLOUD_API_VERSION"`
	RequestRate     float64 `env:"KEYTURN_REQUEST_RATE"`

	ReaderRole       string `env:"KEYTURN_READER_ROLE"`
	ReaderExternalID string `env:"KEYTURN_READER_EXTERNAL_ID"`

	// OrganizationID is what a role's trust policy must ask for as external id.
	OrganizationID string `env:"KEYTURN_ORGANIZATION_ID"`

	LogLevel slog.Level `env:"KEYTURN_LOG_LEVEL"`

	needs needs
}

// needs is what a command cannot do without.
type needs struct {
	// ledger: one is named and exists.
	ledger bool
	// reads: it asks the Cloud API and the KMS.
	reads bool
	// puts: it sends PUTs, keeps evidence and notifies people. It reads too, and a ledger that is named may be new.
	puts bool
	// asked: a person asks for each of its requests, so that it sends them in every mode.
	asked bool
}

// The shares of the API user's 10 requests/s: one who only looks must leave room for the function that works.
const (
	lookingRate = cockroachcloud.DefaultRate
	workingRate = 8
)

// configurationError is every problem of the configuration.
type configurationError struct{ problems error }

func (e *configurationError) Error() string {
	problems := strings.Split(e.problems.Error(), "\n")
	if len(problems) == 1 {
		return problems[0]
	}
	return fmt.Sprintf("the configuration has %d problems:\n  %s", len(problems), strings.Join(problems, "\n  "))
}

func (e *configurationError) Unwrap() error { return e.problems }

func loadSettings(environ []string, n needs) (settings, error) {
	s := settings{Rotation: rotation.DefaultSettings(), LogLevel: slog.LevelWarn, RequestRate: lookingRate, needs: n}
	if n.puts {
		s.RequestRate = workingRate
	}
	if err := errors.Join(unknownVariables(environ), config.Load(&s, environ)); err != nil {
		return s, &configurationError{err}
	}
	s.Rotation.Loopback = cockroachcloud.IsLoopback(s.Server)
	if s.Archive.Scheme == "" && s.Ledger.Scheme == "file" {
		s.Archive = config.Location{Scheme: "file", Name: filepath.Join(filepath.Dir(s.Ledger.Name), "archive")}
	}
	return s, nil
}

// Check implements the configuration's own rules.
func (s *settings) Check() (problems []error) {
	bad := func(when bool, format string, args ...any) {
		if when {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	needsLedger := s.needs.ledger || s.needs.puts
	bad(needsLedger && s.Ledger.Scheme == "", "KEYTURN_LEDGER is not set; want file:PATH or dynamodb://TABLE?region=REGION (or use --ledger, or name a deployment with --deployment)")
	bad(s.Ledger.Scheme != "" && s.Ledger.Scheme != "file" && s.Ledger.Scheme != "dynamodb",
		"KEYTURN_LEDGER is %s; want file:PATH or dynamodb://TABLE?region=REGION", s.Ledger)
	bad(s.Archive.Scheme != "" && s.Archive.Scheme != "file" && s.Archive.Scheme != "s3",
		"KEYTURN_ARCHIVE is %s; want file:DIR or s3://BUCKET/PREFIX", s.Archive)
	bad(!(s.RequestRate > 0 && s.RequestRate <= cockroachcloud.UserRate),
		"KEYTURN_REQUEST_RATE is %v; want more than 0 and at most %v requests/s", s.RequestRate, cockroachcloud.UserRate)
	if s.needs.reads || s.needs.puts {
		problems = append(problems, s.checkCloud()...)
	}
	if s.needs.puts {
		problems = append(problems, s.checkPuts()...)
	}
	return problems
}

func (s *settings) checkCloud() []error {
	if s.APIKey == "" {
		return []error{errors.New("COCKROACH_API_KEY is not set; want the secret of an API key (CCDB1_…) whose service account has Cluster Operator")}
	}
	given := map[string]string{cockroachcloud.EnvAPIKey: s.APIKey, cockroachcloud.EnvServer: s.Server}
	if _, err := cockroachcloud.FromEnv(func(name string) string { return given[name] }); err != nil {
		return []error{err}
	}
	return nil
}

// checkPuts are the rules for what acts on a fleet.
func (s *settings) checkPuts() (problems []error) {
	if s.Rotation.Mode != rotation.Follow && !s.needs.asked {
		problems = append(problems, fmt.Errorf(
			"KEYTURN_MODE is %s, and this command sends PUTs; add --mode follow to act, or use \"keyturn plan\" to see what it would do", s.Rotation.Mode))
	}
	// Two ledgers must never drive one fleet.
	if s.Ledger.Scheme == "file" && !cockroachcloud.IsLoopback(s.Server) {
		problems = append(problems, fmt.Errorf("the ledger %s is on this machine only, "+
			"but PUTs would go to %s: another ledger may drive that fleet; name the deployment (--deployment NAME) "+
			"or its ledger (--ledger \"dynamodb://TABLE?region=REGION\"), or a simulator on loopback (--server)", s.Ledger, s.server()))
	}
	if s.Ledger.Scheme != "dynamodb" {
		return problems
	}
	for _, v := range []struct {
		missing    bool
		name, want string
	}{
		{s.Archive.Scheme != "s3", "KEYTURN_ARCHIVE", "s3://BUCKET/PREFIX, where the function keeps its evidence"},
		{s.AlertsTopic == "", "KEYTURN_ALERTS_TOPIC", "the ARN of the SNS topic for owners of clusters and keys"},
		{s.OperationsTopic == "", "KEYTURN_OPERATIONS_TOPIC", "the ARN of the SNS topic for those who run keyturn"},
	} {
		if v.missing {
			problems = append(problems, fmt.Errorf("%s goes with a shared ledger; want %s", v.name, v.want))
		}
	}
	return problems
}

// variables are the names of all that this program or a function of keyturn's reads: what is set for functions may be in the
// environment of a command, too.
func variables() []string {
	names := slices.Concat(config.Variables(&settings{}), config.Variables(&alerting.Settings{}), config.Variables(&notify.Settings{}),
		deployment.Variables(), []string{deploymentVariable, google.EndpointVariable})
	slices.Sort(names)
	return slices.Compact(names)
}

// unknownVariables reports variables that nothing reads: a misspelled setting would be ignored silently.
func unknownVariables(environ []string) error {
	var problems []error
	known, seen := variables(), map[string]bool{}
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, "KEYTURN_") || slices.Contains(known, name) || seen[name] {
			continue
		}
		seen[name] = true
		fix := "unset it"
		if near := config.Near(name, known); near != "" {
			fix = "did you mean " + near + "?"
		}
		problems = append(problems, fmt.Errorf("%s is no setting of keyturn: %s", printable(name), fix))
	}
	return errors.Join(problems...)
}

func (s *settings) server() string {
	if s.Server == "" {
		return cockroachcloud.DefaultServer
	}
	return s.Server
}
