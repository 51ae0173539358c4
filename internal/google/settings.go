package google

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"cloud.google.com/go/firestore"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/config"
)

// Settings are what the functions that follow rotations and guard keys have in common.
type Settings struct {
	Ledger config.Location `env:"KEYTURN_LEDGER,required"`

	AlertsTopic     string `env:"KEYTURN_ALERTS_TOPIC,required"`
	OperationsTopic string `env:"KEYTURN_OPERATIONS_TOPIC,required"`

	APIKeySecret string `env:"KEYTURN_API_KEY_SECRET,required"`
}

// Check returns every setting that makes no sense, each naming its variable and what it should be.
func (s Settings) Check() (problems []error) {
	return append(checkLedger(s.Ledger), checkNames(
		name{"KEYTURN_ALERTS_TOPIC", s.AlertsTopic, CheckTopic},
		name{"KEYTURN_OPERATIONS_TOPIC", s.OperationsTopic, CheckTopic},
		name{"KEYTURN_API_KEY_SECRET", s.APIKeySecret, CheckSecret},
	)...)
}

// LedgerSettings say where the ledger is, for a function that can do without.
type LedgerSettings struct {
	Ledger config.Location `env:"KEYTURN_LEDGER"`
}

// Check returns the setting if it makes no sense.
func (s LedgerSettings) Check() []error { return checkLedger(s.Ledger) }

// ArchiveSettings say where evidence is kept.
type ArchiveSettings struct {
	Archive config.Location `env:"KEYTURN_ARCHIVE,required"`
}

// Check returns the setting if it makes no sense.
func (s ArchiveSettings) Check() []error {
	const variable = "KEYTURN_ARCHIVE"
	if s.Archive.Scheme == "gs" {
		return checkNames(name{variable, s.Archive.Name, CheckBucket})
	}
	return s.Archive.CheckScheme(variable, "gs://BUCKET/PREFIX")
}

// DeclarationSettings say where the declarations of the compliance checks are: an object that holds them as JSON.
type DeclarationSettings struct {
	Declarations config.Location `env:"KEYTURN_DECLARATIONS,required"`
}

// Check returns the setting if it makes no sense.
func (s DeclarationSettings) Check() []error {
	return checkObject("KEYTURN_DECLARATIONS", s.Declarations)
}

// Read returns the object's bytes.
func (s DeclarationSettings) Read(c Config) (func(context.Context) ([]byte, error), error) {
	return readObject(c, s.Declarations)
}

// DetectionSettings say where the deployment wrote what its detection consists of: an object of JSON. Without it that is not known.
type DetectionSettings struct {
	Detection config.Location `env:"KEYTURN_DETECTION"`
}

// Check returns the setting if it makes no sense.
func (s DetectionSettings) Check() []error {
	if s.Detection.Scheme == "" {
		return nil
	}
	return checkObject("KEYTURN_DETECTION", s.Detection)
}

// Read returns the object's bytes; nil if none is named.
func (s DetectionSettings) Read(c Config) (func(context.Context) ([]byte, error), error) {
	if s.Detection.Scheme == "" {
		return nil, nil
	}
	return readObject(c, s.Detection)
}

func checkObject(variable string, l config.Location) []error {
	const want = "gs://BUCKET/NAME"
	switch {
	case l.Scheme != "gs":
		return l.CheckScheme(variable, want)
	case l.Prefix == "":
		return []error{fmt.Errorf("%s is %s, which names no object; want %s", variable, l, want)}
	}
	return checkNames(name{variable, l.Name, CheckBucket})
}

func readObject(c Config, l config.Location) (func(context.Context) ([]byte, error), error) {
	bucket, err := NewArchive(c, l.Name, "")
	if err != nil {
		return nil, err
	}
	object := strings.TrimSuffix(l.Prefix, "/")
	return func(ctx context.Context) ([]byte, error) { return bucket.Read(ctx, object, "") }, nil
}

// ChannelSettings say where the secret of a channel is.
type ChannelSettings struct {
	Secret string `env:"KEYTURN_CHANNEL_SECRET,required"`
}

// Check returns the setting if it makes no sense.
func (s ChannelSettings) Check() []error {
	return checkNames(name{"KEYTURN_CHANNEL_SECRET", s.Secret, CheckSecret})
}

// databaseID is the id of a database, of 4 to 63 bytes (Firestore documentation, "Create and manage databases").
var databaseID = regexp.MustCompile(`^[a-z][a-z0-9-]*[a-z0-9]$`)

func isDatabase(id string) bool {
	return id == "" || id == firestore.DefaultDatabaseID || len(id) >= 4 && len(id) <= 63 && databaseID.MatchString(id)
}

func checkLedger(l config.Location) []error {
	const variable, want = "KEYTURN_LEDGER", "firestore://PROJECT/DATABASE"
	if l.Scheme == "firestore" && (!cmek.IsProject(l.Name) || !isDatabase(l.Prefix)) {
		return []error{fmt.Errorf("%s is %s, which names no project or no database; want %s", variable, l, want)}
	}
	return l.CheckScheme(variable, want)
}

// name is a variable's value that must be a name of a certain form.
type name struct {
	variable, value string
	check           func(string) error
}

// checkNames leaves out what is not set: that is reported already, if it is required.
func checkNames(names ...name) (problems []error) {
	for _, n := range names {
		if n.value == "" {
			continue
		}
		if err := n.check(n.value); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", n.variable, err))
		}
	}
	return problems
}

// Load fills the settings as [config.Load] does, and makes the configuration for calls of Google Cloud, each of which is bounded by the
// timeout. The error names every problem of both.
func Load(settings any, environ []string, timeout time.Duration) (Config, error) {
	loading := config.Load(settings, environ)
	c, err := ConfigFromEnv(config.Getenv(environ), &http.Client{Timeout: timeout})
	return c, errors.Join(loading, err)
}

// Store returns the ledger's store.
func (s Settings) Store(c Config) (*Store, error) { return NewStore(c, s.Ledger.Name, s.Ledger.Prefix) }

// Store returns the ledger's store.
func (s LedgerSettings) Store(c Config) (*Store, error) {
	return NewStore(c, s.Ledger.Name, s.Ledger.Prefix)
}

// Store returns the archive.
func (s ArchiveSettings) Store(c Config) (*Archive, error) {
	return NewArchive(c, s.Archive.Name, s.Archive.Prefix)
}

// Notifier returns the notifier for the topics.
func (s Settings) Notifier(c Config) (*Notifier, error) {
	return NewNotifier(c, Topics{Owners: s.AlertsTopic, Operations: s.OperationsTopic})
}
