package installation

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/config"
	"github.com/keyturn/keyturn/internal/google"
)

// Settings are read from the environment, under the names that the rotation function uses too.
type Settings struct {
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

	needs Needs
}

// Needs is what a command cannot do without.
type Needs struct {
	// Ledger: one is named and exists.
	Ledger bool
	// Reads: it asks the Cloud API and the KMS.
	Reads bool
	// Puts: it sends PUTs, keeps evidence and notifies people. It reads too, and a ledger that is named may be new.
	Puts bool
	// Asked: a person asks for each of its requests, so that it sends them in every mode.
	Asked bool
}

// WorkingRate is the share of the API user's 10 requests/s for what acts: one who only looks must leave room for it.
const WorkingRate = 8

// LoadSettings reads the settings, and checks what a command with these needs cannot do without. An error is a terminal.ConfigurationError with every
// problem.
func LoadSettings(environ []string, n Needs) (Settings, error) {
	s := Settings{Rotation: rotation.DefaultSettings(), LogLevel: slog.LevelWarn, RequestRate: cockroachcloud.DefaultRate, needs: n}
	if n.Puts {
		s.RequestRate = WorkingRate
	}
	if err := errors.Join(unknownVariables(environ), config.Load(&s, environ)); err != nil {
		return s, &terminal.ConfigurationError{Problems: err}
	}
	s.Rotation.Loopback = cockroachcloud.IsLoopback(s.Server)
	if s.Archive.Scheme == "" && s.Ledger.Scheme == "file" {
		s.Archive = config.Location{Scheme: "file", Name: filepath.Join(filepath.Dir(s.Ledger.Name), "archive")}
	}
	return s, nil
}

// Check implements the configuration's own rules.
func (s *Settings) Check() (problems []error) {
	bad := func(when bool, format string, args ...any) {
		if when {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	needsLedger := s.needs.Ledger || s.needs.Puts
	bad(needsLedger && s.Ledger.Scheme == "", "KEYTURN_LEDGER is not set; want %s (or use --ledger, or name a deployment with --deployment)", wantLedger)
	bad(s.Ledger.Scheme != "" && !isLedger(s.Ledger), "KEYTURN_LEDGER is %s; want %s", s.Ledger, wantLedger)
	if s.Ledger.Scheme == "firestore" {
		problems = append(problems, google.LedgerSettings{Ledger: s.Ledger}.Check()...)
	}
	bad(s.Archive.Scheme != "" && !slices.Contains([]string{"file", "s3", "gs"}, s.Archive.Scheme),
		"KEYTURN_ARCHIVE is %s; want file:DIR, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX", s.Archive)
	// How many requests a simulator takes is a switch of it.
	bad(!(s.RequestRate > 0 && (s.RequestRate <= cockroachcloud.UserRate || cockroachcloud.IsLoopback(s.Server))),
		"KEYTURN_REQUEST_RATE is %v; want more than 0 and at most %v requests/s", s.RequestRate, cockroachcloud.UserRate)
	if s.needs.Reads || s.needs.Puts {
		problems = append(problems, s.CheckCloud()...)
	}
	if s.needs.Puts {
		problems = append(problems, s.checkPuts()...)
	}
	return problems
}

// wantLedger is what a ledger is named like, and isLedger whether one is.
const wantLedger = "file:PATH, dynamodb://TABLE?region=REGION or firestore://PROJECT/DATABASE"

func isLedger(l config.Location) bool {
	return slices.Contains([]string{"file", "dynamodb", "firestore"}, l.Scheme)
}

// CheckCloud returns what is wrong with the settings for the Cloud API.
func (s *Settings) CheckCloud() []error {
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
func (s *Settings) checkPuts() (problems []error) {
	if s.Rotation.Mode != rotation.Follow && !s.needs.Asked {
		problems = append(problems, fmt.Errorf(
			"KEYTURN_MODE is %s, and this command sends PUTs; add --mode follow to act, or use \"keyturn plan\" to see what it would do", s.Rotation.Mode))
	}
	// Two ledgers must never drive one fleet.
	if s.Ledger.Scheme == "file" && !cockroachcloud.IsLoopback(s.Server) {
		problems = append(problems, fmt.Errorf("the ledger %s is on this machine only, "+
			"but PUTs would go to %s: another ledger may drive that fleet; name the deployment (--deployment NAME) "+
			"or its ledger (--ledger \"dynamodb://TABLE?region=REGION\" or \"firestore://PROJECT/DATABASE\"), or a simulator on loopback (--server)", s.Ledger, s.CloudAPI()))
	}
	type variable struct {
		missing    bool
		name, want string
	}
	for _, v := range map[string][]variable{
		"dynamodb": {
			{s.Archive.Scheme != "s3", "KEYTURN_ARCHIVE", "s3://BUCKET/PREFIX, where the function keeps its evidence"},
			{s.AlertsTopic == "", "KEYTURN_ALERTS_TOPIC", "the ARN of the SNS topic for owners of clusters and keys"},
			{s.OperationsTopic == "", "KEYTURN_OPERATIONS_TOPIC", "the ARN of the SNS topic for those who run keyturn"},
		},
		"firestore": {
			{s.Archive.Scheme != "gs", "KEYTURN_ARCHIVE", "gs://BUCKET/PREFIX, where the function keeps its evidence"},
			{s.AlertsTopic == "", "KEYTURN_ALERTS_TOPIC", "projects/PROJECT/topics/TOPIC, for owners of clusters and keys"},
			{s.OperationsTopic == "", "KEYTURN_OPERATIONS_TOPIC", "projects/PROJECT/topics/TOPIC, for those who run keyturn"},
		},
	}[s.Ledger.Scheme] {
		if v.missing {
			problems = append(problems, fmt.Errorf("%s goes with a shared ledger; want %s", v.name, v.want))
		}
	}
	return problems
}

// variables are the names of all that this program or a function of keyturn's reads: what is set for functions may be in the
// environment of a command, too.
func variables() []string {
	names := slices.Concat(config.Variables(&Settings{}), config.Variables(&alerting.Settings{}), config.Variables(&notify.Settings{}),
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
		problems = append(problems, fmt.Errorf("%s is no setting of keyturn: %s", terminal.Printable(name), fix))
	}
	return errors.Join(problems...)
}

// CloudAPI is the base URL of the Cloud API, the vendor's unless another one is set.
func (s *Settings) CloudAPI() string { return cmp.Or(s.Server, cockroachcloud.DefaultServer) }
