package amazon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/config"
)

// Settings are what the functions that follow rotations and guard keys have in common.
type Settings struct {
	Ledger config.Location `env:"KEYTURN_LEDGER,required"`

	AlertsTopic     string `env:"KEYTURN_ALERTS_TOPIC,required"`
	OperationsTopic string `env:"KEYTURN_OPERATIONS_TOPIC,required"`

	APIKeySecret string `env:"KEYTURN_API_KEY_SECRET,required"`

	ReaderRole       string `env:"KEYTURN_READER_ROLE"`
	ReaderExternalID string `env:"KEYTURN_READER_EXTERNAL_ID"`
}

// Check returns every setting that makes no sense, each naming its variable and what it should be.
func (s Settings) Check() (problems []error) {
	problems = s.Ledger.CheckScheme("KEYTURN_LEDGER", "dynamodb://TABLE")
	for _, topic := range []struct{ variable, arn string }{
		{"KEYTURN_ALERTS_TOPIC", s.AlertsTopic}, {"KEYTURN_OPERATIONS_TOPIC", s.OperationsTopic},
	} {
		if err := CheckTopic(topic.arn); topic.arn != "" && err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", topic.variable, err))
		}
	}
	return problems
}

// LedgerSettings say where the ledger is, for a function that can do without.
type LedgerSettings struct {
	Ledger config.Location `env:"KEYTURN_LEDGER"`
}

// Check returns the setting if it makes no sense.
func (s LedgerSettings) Check() []error {
	return s.Ledger.CheckScheme("KEYTURN_LEDGER", "dynamodb://TABLE")
}

// ArchiveSettings say where evidence is kept.
type ArchiveSettings struct {
	Archive config.Location `env:"KEYTURN_ARCHIVE,required"`
}

// Check returns the setting if it makes no sense.
func (s ArchiveSettings) Check() []error {
	return s.Archive.CheckScheme("KEYTURN_ARCHIVE", "s3://BUCKET/PREFIX")
}

// DeclarationSettings say where the declarations of the compliance checks are: an object that holds them as JSON.
type DeclarationSettings struct {
	Declarations config.Location `env:"KEYTURN_DECLARATIONS,required"`
}

// Check returns the setting if it makes no sense.
func (s DeclarationSettings) Check() []error {
	return checkObject("KEYTURN_DECLARATIONS", s.Declarations)
}

// DetectionSettings say where the deployment wrote what its detection consists of: an object of JSON. Without it that is not known.
type DetectionSettings struct {
	Detection config.Location `env:"KEYTURN_DETECTION"`
}

// Check returns the setting if it makes no sense.
func (s DetectionSettings) Check() []error {
	return checkObject("KEYTURN_DETECTION", s.Detection)
}

// Read returns the object's bytes; nil if none is named.
func (s DetectionSettings) Read(c Config) func(context.Context) ([]byte, error) {
	if s.Detection.Scheme == "" {
		return nil
	}
	return readObject(c, s.Detection)
}

func checkObject(variable string, l config.Location) []error {
	problems := l.CheckScheme(variable, "s3://BUCKET/NAME")
	if len(problems) == 0 && l.Scheme == "s3" && l.Prefix == "" {
		problems = append(problems, fmt.Errorf("%s is %s, which names no object; want s3://BUCKET/NAME", variable, l))
	}
	return problems
}

func readObject(c Config, l config.Location) func(context.Context) ([]byte, error) {
	bucket, name := NewArchive(in(c, l.Region), l.Name, ""), strings.TrimSuffix(l.Prefix, "/")
	return func(ctx context.Context) ([]byte, error) { return bucket.Read(ctx, name, "") }
}

// RepairSettings say whether scheduled deletions are canceled, and as whom.
type RepairSettings struct {
	Repair     bool   `env:"KEYTURN_REPAIR"`
	RepairRole string `env:"KEYTURN_REPAIR_ROLE"`
}

// Check returns the setting that is missing.
func (s RepairSettings) Check() (problems []error) {
	if s.Repair && s.RepairRole == "" {
		problems = append(problems, errors.New("KEYTURN_REPAIR_ROLE is not set; KEYTURN_REPAIR=true needs the role that may cancel deletions, with {account} for the key's account"))
	}
	return problems
}

// Load fills the settings as [config.Load] does, and makes the configuration for calls of AWS, each attempt of which is bounded by
// the timeout. The error names every problem of both.
func Load(settings any, environ []string, timeout time.Duration) (Config, error) {
	loading := config.Load(settings, environ)
	aws, err := ConfigFromEnv(config.Getenv(environ), &http.Client{Timeout: timeout})
	return aws, errors.Join(loading, err)
}

// Store returns the ledger's store.
func (s Settings) Store(c Config) *Store { return NewStore(in(c, s.Ledger.Region), s.Ledger.Name) }

// Store returns the ledger's store.
func (s LedgerSettings) Store(c Config) *Store {
	return NewStore(in(c, s.Ledger.Region), s.Ledger.Name)
}

// Store returns the archive.
func (s ArchiveSettings) Store(c Config) *Archive {
	return NewArchive(in(c, s.Archive.Region), s.Archive.Name, s.Archive.Prefix)
}

// Read returns the object's bytes.
func (s DeclarationSettings) Read(c Config) func(context.Context) ([]byte, error) {
	return readObject(c, s.Declarations)
}

// Notifier returns the notifier for the topics, which [Settings.Check] has checked.
func (s Settings) Notifier(c Config) (*Notifier, error) {
	return NewNotifier(c, Topics{Owners: s.AlertsTopic, Operations: s.OperationsTopic})
}

// Subscribers reads whom the topics reach.
func (s Settings) Subscribers(c Config) *Subscribers {
	return NewSubscribers(c, Topics{Owners: s.AlertsTopic, Operations: s.OperationsTopic})
}

// Readers are the roles by which keys and policies are read.
func (s Settings) Readers() ReaderRoles {
	return ReaderRoles{anyAccount: {ARN: s.ReaderRole, ExternalID: s.ReaderExternalID}}
}

func in(c Config, region string) Config {
	if region != "" {
		c.Region = region
	}
	return c
}
