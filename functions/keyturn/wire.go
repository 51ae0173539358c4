package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/config"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/local"
)

// wiring is the rotation function with its settings. What a command does not need is nil.
type wiring struct {
	*rotation.Function
	settings settings
	// close releases the ledger.
	close func() error
}

// wire builds what a command needs from the environment. messages receives the log, and alerts if the command puts.
func (p *program) wire(ctx context.Context, n needs, messages io.Writer) (*wiring, error) {
	if err := p.useDeployment(ctx); err != nil {
		return nil, err
	}
	s, err := loadSettings(p.environ, n)
	if err != nil {
		return nil, err
	}
	aws, err := s.aws(ctx)
	if err != nil {
		return nil, err
	}
	store, done, err := s.openLedger(ctx, aws)
	if err != nil {
		return nil, err
	}
	random := newRandom()
	f := &rotation.Function{
		Ledger:   ledger.New(store, random),
		Settings: s.Rotation,
		Log:      slog.New(slog.NewTextHandler(messages, &slog.HandlerOptions{Level: s.LogLevel})).With("function", "rotation"),
		Holder:   holder(random),
	}
	if n.reads || n.puts {
		f.KMS = amazon.NewKMS(aws, amazon.ReaderRoles{"*": {ARN: s.ReaderRole, ExternalID: s.ReaderExternalID}})
		f.Cloud, err = cockroachcloud.New(cockroachcloud.Options{
			Server: s.Server, APIKey: cockroachcloud.StaticAPIKey(s.APIKey), Version: s.CloudAPIVersion, Rate: s.RequestRate,
		})
	}
	if n.puts && err == nil {
		f.Archive = s.archive(aws)
		f.Notifier, err = s.notifier(aws, briefly{local.NewTerminal(messages, p.color()), messages})
	}
	if err != nil {
		return nil, errors.Join(&configurationError{err}, done())
	}
	return &wiring{f, s, done}, nil
}

func newRandom() *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) }

// holder names this process in the worker's lease, for people who wonder who is at it.
func holder(random *rand.Rand) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("keyturn on %s, process %d, %x", host, os.Getpid(), random.Uint32())
}

// aws loads the SDK's shared profiles, if anything of AWS is needed.
func (s *settings) aws(ctx context.Context) (amazon.Config, error) {
	reads := s.needs.reads || s.needs.puts
	if !reads && s.Ledger.Scheme != "dynamodb" {
		return amazon.Config{}, nil
	}
	aws, err := loadAWS(ctx, "")
	var wrong *configurationError
	if err != nil && !errors.As(err, &wrong) {
		return aws, err
	}
	var problems []error
	if wrong != nil {
		problems = append(problems, wrong.problems)
	}
	if aws.Region == "" &&
		(s.Ledger.Scheme == "dynamodb" && s.Ledger.Region == "" || s.needs.puts && s.Archive.Scheme == "s3" && s.Archive.Region == "") {
		problems = append(problems, errors.New("AWS_REGION is not set; want the Region of the ledger and the archive (or add ?region=REGION to them)"))
	}
	if err := errors.Join(problems...); err != nil {
		return aws, &configurationError{err}
	}
	return aws, nil
}

// openLedger opens the store. A command that can do without a ledger gets an empty one, which is gone after the command, if
// none is named or there is none yet.
func (s *settings) openLedger(ctx context.Context, aws amazon.Config) (store ledger.Store, done func() error, err error) {
	_, missing := os.Stat(s.Ledger.Name)
	absent := s.Ledger.Scheme == "file" && errors.Is(missing, fs.ErrNotExist)
	switch {
	case s.Ledger.Scheme == "dynamodb":
		return amazon.NewStore(in(aws, s.Ledger), s.Ledger.Name), func() error { return nil }, nil
	case absent && s.needs.ledger:
		return nil, nil, &configurationError{fmt.Errorf(
			"there is no ledger at %s; check KEYTURN_LEDGER or --ledger (\"keyturn follow\" begins a new one)", s.Ledger.Name)}
	case s.Ledger.Scheme == "file" && (!absent || s.needs.puts):
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

func (s *settings) archive(aws amazon.Config) cmek.Archive {
	if s.Archive.Scheme == "s3" {
		return amazon.NewArchive(in(aws, s.Archive), s.Archive.Name, s.Archive.Prefix)
	}
	return local.NewArchive(s.Archive.Name)
}

// notifier tells the person at the terminal, and the topics if they are named.
func (s *settings) notifier(aws amazon.Config, terminal alert.Notifier) (alert.Notifier, error) {
	if s.AlertsTopic == "" && s.OperationsTopic == "" {
		return terminal, nil
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

// closeInto releases the ledger and reports a failure in err, unless there is an error already.
func (w *wiring) closeInto(err *error) {
	if closed := w.close(); *err == nil {
		*err = closed
	}
}
