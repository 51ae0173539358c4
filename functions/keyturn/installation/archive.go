package installation

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/local"
)

// Archive is the archive for those who read it.
type Archive struct {
	cmek.ArchiveReader
	// Ledger is nil if none is named, or the one that is named does not exist.
	Ledger *ledger.Ledger
	close  func() error
}

// OpenArchive opens the archive that is named, or that of the deployment. It asks for nothing but that: whoever may only read the archive
// names it, and no ledger.
func (p *Program) OpenArchive(ctx context.Context) (*Archive, error) {
	if p.Lookup("KEYTURN_ARCHIVE") == "" {
		if err := p.UseDeployment(ctx); err != nil {
			return nil, err
		}
	}
	s, err := LoadSettings(p.Environ, Needs{})
	if err != nil {
		return nil, err
	}
	a := &Archive{close: func() error { return nil }}
	var aws amazon.Config
	if s.Archive.Scheme == "s3" || s.Ledger.Scheme == "dynamodb" {
		if aws, err = LoadAWS(ctx, ""); err != nil {
			return nil, err
		}
	}
	var googleCloud google.Config
	if s.Archive.Scheme == "gs" || s.Ledger.Scheme == "firestore" {
		if googleCloud, err = p.LoadGoogle(); err != nil {
			return nil, err
		}
	}
	switch s.Archive.Scheme {
	case "s3":
		a.ArchiveReader = amazon.NewArchive(in(aws, s.Archive), s.Archive.Name, s.Archive.Prefix)
	case "gs":
		if a.ArchiveReader, err = google.NewArchive(googleCloud, s.Archive.Name, s.Archive.Prefix); err != nil {
			return nil, &terminal.ConfigurationError{Problems: err}
		}
	case "file":
		a.ArchiveReader = local.NewArchive(s.Archive.Name)
	default:
		return nil, &terminal.ConfigurationError{Problems: errors.New("KEYTURN_ARCHIVE is not set; want file:DIR, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX (or use --archive, or name a deployment with --deployment)")}
	}
	switch _, missing := os.Stat(s.Ledger.Name); {
	case s.Ledger.Scheme == "dynamodb":
		a.Ledger = ledger.New(amazon.NewStore(in(aws, s.Ledger), s.Ledger.Name), NewRandom())
	case s.Ledger.Scheme == "firestore":
		store, err := google.NewStore(googleCloud, s.Ledger.Name, s.Ledger.Prefix) //nolint:contextcheck // a client outlives the call that makes it
		if err != nil {
			return nil, err
		}
		a.Ledger = ledger.New(store, NewRandom())
	case s.Ledger.Scheme == "file" && !errors.Is(missing, fs.ErrNotExist):
		store, err := local.OpenStore(ctx, s.Ledger.Name)
		if err != nil {
			return nil, err
		}
		a.Ledger, a.close = ledger.New(store, NewRandom()), store.Close
	}
	return a, nil
}

// CloseInto releases the ledger and reports a failure in err, unless there is an error already.
func (a *Archive) CloseInto(err *error) {
	if closed := a.close(); *err == nil {
		*err = closed
	}
}
