package installation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/clouds"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/config"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/local"
)

// Installation is the rotation function with its settings. What a command does not need is nil.
type Installation struct {
	*rotation.Function
	Settings Settings
	// AWS is zero where nothing of AWS is needed.
	AWS amazon.Config
	// Google is who calls Google Cloud, found out at the first call.
	Google google.Config
	// Clouds read keys and policies, by the type of key: all that can be read from here, also those that the installation does not follow. It is
	// nil where nothing is read.
	Clouds map[cmek.KeyType]KeyCloud
	// Close releases the ledger.
	Close func() error
}

// KeyCloud reads the keys of one cloud, and what decides about their use.
type KeyCloud struct {
	KMS      cmek.KMS
	Policies cmek.Policies
}

// Open builds what a command needs from the environment. messages receives the log, and alerts if the command puts.
func (p *Program) Open(ctx context.Context, n Needs, messages io.Writer) (*Installation, error) {
	if several := p.Each(); len(several) > 1 {
		return nil, errSeveral(len(several))
	}
	if err := p.UseDeployment(ctx); err != nil {
		return nil, err
	}
	s, err := LoadSettings(p.Environ, n)
	if err != nil {
		return nil, err
	}
	aws, err := s.aws(ctx)
	if err != nil {
		return nil, err
	}
	googleCloud, err := p.LoadGoogle()
	if err != nil {
		return nil, err
	}
	store, done, err := s.openLedger(ctx, aws, googleCloud)
	if err != nil {
		return nil, err
	}
	random := NewRandom()
	f := &rotation.Function{
		Ledger:   ledger.New(store, random),
		Settings: s.Rotation,
		Log:      slog.New(slog.NewTextHandler(messages, &slog.HandlerOptions{Level: s.LogLevel})).With("function", "rotation"),
		Holder:   Holder(random),
	}
	var keyClouds map[cmek.KeyType]KeyCloud
	if n.Reads || n.Puts {
		if keyClouds, err = p.keyClouds(s, aws, googleCloud); err != nil { //nolint:contextcheck // a client outlives the call that makes it
			return nil, errors.Join(&terminal.ConfigurationError{Problems: err}, done())
		}
		s.follow(f, keyClouds, googleCloud)
	}
	if n.Reads || n.Puts {
		f.Cloud, err = cockroachcloud.New(cockroachcloud.Options{
			Server: s.Server, APIKey: cockroachcloud.StaticAPIKey(s.APIKey), Version: s.CloudAPIVersion, Rate: s.RequestRate,
		})
	}
	if n.Puts && err == nil {
		f.Archive, err = s.archive(aws, googleCloud)
	}
	if n.Puts && err == nil {
		f.Notifier, err = s.notifier(aws, googleCloud, briefly{local.NewTerminal(messages, bool(p.Palette())), messages}) //nolint:contextcheck // a client outlives the call that makes it
	}
	if err != nil {
		return nil, errors.Join(&terminal.ConfigurationError{Problems: err}, done())
	}
	return &Installation{f, s, aws, googleCloud, keyClouds, done}, nil
}

// LoadGoogle is the configuration for calls of Google Cloud, with the application default credentials of who runs the command.
func (p *Program) LoadGoogle() (google.Config, error) {
	c, err := google.ConfigFromEnv(p.Lookup, &http.Client{Timeout: 10 * time.Second})
	if err != nil {
		return c, &terminal.ConfigurationError{Problems: err}
	}
	return c, nil
}

// keyClouds are the clouds whose keys can be read with what is set: not AWS where the ledger is on Google Cloud, since nothing says in whose name; and
// not Google Cloud where the Cloud API is on this machine, and no endpoint of a simulator is named.
func (p *Program) keyClouds(s Settings, aws amazon.Config, googleCloud google.Config) (map[cmek.KeyType]KeyCloud, error) {
	all := map[cmek.KeyType]KeyCloud{}
	if s.Ledger.Scheme != "firestore" {
		roles := amazon.ReaderRoles{"*": {ARN: s.ReaderRole, ExternalID: s.ReaderExternalID}}
		of := KeyCloud{KMS: amazon.NewKMS(aws, roles), Policies: amazon.NewPolicies(aws, roles)}
		if !p.reaches("IAM", s) {
			of.Policies = withoutRoles{of.Policies}
		}
		all[cmek.AWSKMS] = of
	}
	if s.Ledger.Scheme == "firestore" || !s.Rotation.Loopback || googleCloud.Endpoint != "" {
		keys, err := google.NewKMS(googleCloud)
		if err != nil {
			return nil, err
		}
		all[cmek.GCPCloudKMS] = KeyCloud{KMS: keys, Policies: google.NewPolicies(googleCloud)}
	}
	return all, nil
}

// follow lets the function follow the keys of the ledger's own cloud. With a ledger on this machine those are AWS's, and Google Cloud's too where
// its endpoint is named, as that of a simulator is. It reads policies, where roles can be read: they decide about orders.
func (s *Settings) follow(f *rotation.Function, all map[cmek.KeyType]KeyCloud, googleCloud google.Config) {
	keys, documents := clouds.KMS{}, clouds.Policies{}
	if of, can := all[cmek.AWSKMS]; can {
		keys[cmek.AWSKMS] = of.KMS
		if _, without := of.Policies.(withoutRoles); !without {
			documents.AWS = of.Policies
		}
	}
	local := s.Ledger.Scheme == "file" && googleCloud.Endpoint != ""
	if of, can := all[cmek.GCPCloudKMS]; can && (local || s.Ledger.Scheme == "firestore") {
		keys[cmek.GCPCloudKMS], documents.Google = of.KMS, of.Policies
	}
	f.KMS, f.KeyTypes, f.Aliases = keys, keys.Types(), keys
	if documents != (clouds.Policies{}) {
		f.Policies = documents
	}
}

// KeyTypes are those of the keys that the ledger's installation owns; none: of all, as with a ledger on this machine.
func (s *Settings) KeyTypes() []cmek.KeyType {
	switch s.Ledger.Scheme {
	case "dynamodb":
		return []cmek.KeyType{cmek.AWSKMS}
	case "firestore":
		return []cmek.KeyType{cmek.GCPCloudKMS}
	}
	return nil
}

// withoutRoles reads no policies of roles: a simulator of AWS has none.
type withoutRoles struct{ cmek.Policies }

func (p withoutRoles) Document(ctx context.Context, name string) (string, error) {
	if strings.HasPrefix(name, "arn:aws:iam:") {
		return "", errors.New("AWS_ENDPOINT_URL_IAM is not set, and the Cloud API is on this machine")
	}
	return p.Policies.Document(ctx, name)
}

// reaches reports whether calls of a service of AWS are wanted: the credentials for a simulator are nobody's at the real AWS.
func (p *Program) reaches(service string, s Settings) bool {
	return !s.Rotation.Loopback || p.Lookup("AWS_ENDPOINT_URL_"+service) != "" || p.Lookup("AWS_ENDPOINT_URL") != ""
}

// NewRandom is a source of randomness that is seeded anew.
func NewRandom() *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) }

// Holder names this process in the worker's lease, for people who wonder who is at it.
func Holder(random *rand.Rand) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("keyturn on %s, process %d, %x", host, os.Getpid(), random.Uint32())
}

// aws loads the SDK's shared profiles, if anything of AWS is needed.
func (s *Settings) aws(ctx context.Context) (amazon.Config, error) {
	reads := s.needs.Reads || s.needs.Puts
	if !reads && s.Ledger.Scheme != "dynamodb" || s.Ledger.Scheme == "firestore" {
		return amazon.Config{}, nil
	}
	aws, err := LoadAWS(ctx, "")
	var wrong *terminal.ConfigurationError
	if err != nil && !errors.As(err, &wrong) {
		return aws, err
	}
	var problems []error
	if wrong != nil {
		problems = append(problems, wrong.Problems)
	}
	if aws.Region == "" &&
		(s.Ledger.Scheme == "dynamodb" && s.Ledger.Region == "" || s.needs.Puts && s.Archive.Scheme == "s3" && s.Archive.Region == "") {
		problems = append(problems, errors.New("AWS_REGION is not set; want the Region of the ledger and the archive (or add ?region=REGION to them)"))
	}
	if err := errors.Join(problems...); err != nil {
		return aws, &terminal.ConfigurationError{Problems: err}
	}
	return aws, nil
}

// openLedger opens the store. A command that can do without a ledger gets an empty one, which is gone after the command, if
// none is named or there is none yet.
func (s *Settings) openLedger(ctx context.Context, aws amazon.Config, googleCloud google.Config) (store ledger.Store, done func() error, err error) {
	_, missing := os.Stat(s.Ledger.Name)
	absent := s.Ledger.Scheme == "file" && errors.Is(missing, fs.ErrNotExist)
	switch {
	case s.Ledger.Scheme == "dynamodb":
		return amazon.NewStore(in(aws, s.Ledger), s.Ledger.Name), func() error { return nil }, nil
	case s.Ledger.Scheme == "firestore":
		store, err := google.NewStore(googleCloud, s.Ledger.Name, s.Ledger.Prefix) //nolint:contextcheck // a client outlives the call that makes it
		return store, func() error { return nil }, err
	case absent && s.needs.Ledger:
		return nil, nil, &terminal.ConfigurationError{Problems: fmt.Errorf(
			"there is no ledger at %s; check KEYTURN_LEDGER or --ledger (\"keyturn follow\" begins a new one)", s.Ledger.Name)}
	case s.Ledger.Scheme == "file" && (!absent || s.needs.Puts):
		file, err := local.OpenStore(ctx, s.Ledger.Name)
		if err != nil {
			return nil, nil, err
		}
		return file, file.Close, nil
	}
	folder, err := os.MkdirTemp("", "keyturn-")
	if err != nil {
		return nil, nil, fmt.Errorf("make empty ledger: %w", err)
	}
	file, err := local.OpenStore(ctx, filepath.Join(folder, "ledger.db"))
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(folder))
	}
	return file, func() error { return errors.Join(file.Close(), os.RemoveAll(folder)) }, nil
}

func (s *Settings) archive(aws amazon.Config, googleCloud google.Config) (cmek.Archive, error) {
	switch s.Archive.Scheme {
	case "s3":
		return amazon.NewArchive(in(aws, s.Archive), s.Archive.Name, s.Archive.Prefix), nil
	case "gs":
		return google.NewArchive(googleCloud, s.Archive.Name, s.Archive.Prefix)
	}
	return local.NewArchive(s.Archive.Name), nil
}

// notifier tells the person at the terminal, and the topics if they are named.
func (s *Settings) notifier(aws amazon.Config, googleCloud google.Config, terminal alert.Notifier) (alert.Notifier, error) {
	switch {
	case s.AlertsTopic == "" && s.OperationsTopic == "":
		return terminal, nil
	case s.Ledger.Scheme == "firestore":
		topics, err := google.NewNotifier(googleCloud, google.Topics{Owners: s.AlertsTopic, Operations: s.OperationsTopic})
		if err != nil {
			return nil, err
		}
		return everyone{topics, terminal}, nil
	}
	topics, err := amazon.NewNotifier(aws, amazon.Topics{Owners: s.AlertsTopic, Operations: s.OperationsTopic})
	if err != nil {
		return nil, err
	}
	return everyone{topics, terminal}, nil
}

func in(aws amazon.Config, l config.Location) amazon.Config {
	if l.Region != "" {
		aws.Region = l.Region
	}
	return aws
}

// CloseInto releases the ledger and reports a failure in err, unless there is an error already.
func (w *Installation) CloseInto(err *error) {
	if closed := w.Close(); *err == nil {
		*err = closed
	}
}

// WithLedger runs do on the ledger alone.
func (p *Program) WithLedger(ctx context.Context, do func(context.Context, *ledger.Ledger) error) (err error) {
	w, err := p.Open(ctx, Needs{Ledger: true}, p.Err)
	if err != nil {
		return err
	}
	defer w.CloseInto(&err)
	return do(ctx, w.Ledger)
}

// Operator is who runs the command, for those who find its traces in the ledger.
func Operator() string {
	who := "somebody"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		who += "@" + host
	}
	return who
}

// everyone notifies all, even if some cannot be reached.
type everyone []alert.Notifier

// Notify joins the errors; a repetition tells those again who were reached.
func (all everyone) Notify(ctx context.Context, a alert.Alert) error {
	var problems []error
	for _, n := range all {
		problems = append(problems, n.Notify(ctx, a))
	}
	return errors.Join(problems...)
}

// briefly tells news that ask for nothing in one line, and hands everything else on.
type briefly struct {
	full alert.Notifier
	out  io.Writer
}

// Notify implements alert.Notifier.
func (b briefly) Notify(ctx context.Context, a alert.Alert) error {
	if a.Severity != alert.Info {
		return b.full.Notify(ctx, a)
	}
	if _, err := fmt.Fprintln(b.out, a.Headline()); err != nil {
		return fmt.Errorf("show alert %s: %w", a.ID, err)
	}
	return nil
}
