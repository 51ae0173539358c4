// Package compliance proves that all is in order: it gathers facts about clusters and the keys that they depend on, each with when and
// where it was read or why it was not, and runs the catalog of package checks over them. It changes nothing anywhere.
package compliance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

// Function is the use case. Its fields are set before the first call and not changed after.
type Function struct {
	Cloud Cloud
	// Ledger is nil if there is none: what only the ledger knows is unread then.
	Ledger *ledger.Ledger
	AWS    AWS
	Google Google
	// KeyTypes are those of the keys that the installation owns; none: of all keys. Clusters whose keys are of a type that another
	// installation can own are out of scope, and their keys are not read.
	KeyTypes []cmek.KeyType
	// Declared is what the owner declared, valid.
	Declared checks.Declarations

	// Declare reads what the owner declares now, with the hex SHA-256 of the file, before each tick of a run; nil: it is Declared.
	Declare func(context.Context) (checks.Declarations, string, error)
	// Audit is nil if there is no audit credential.
	Audit Audit
	// Detect reads what the deployment's detection consists of; nil: nobody knows.
	Detect func(context.Context) (Detection, error)
	// What the scheduled runs need beside that. Check and Retire do without.
	Archive  Archive
	Notifier alert.Notifier
	// Page writes the page of a run that was walked through, whose manifest is complete but for the page itself; nil: runs have no page.
	Page func(context.Context, io.Writer, *report.Archived) error
	// Caller names whom the cloud takes the function for; nil: nobody can tell.
	Caller func(context.Context) (string, error)
	// Hub takes the failures and their ends; nil: they are reported nowhere else. The function without the option has no permission for it.
	Hub      Hub
	Settings Settings
	Log      *slog.Logger
	// Holder tells the invocations of the function apart.
	Holder string
}

// Archive is an archive that is written and read.
type Archive interface {
	cmek.Archive
	cmek.ArchiveReader
}

// Settings are those of the scheduled runs.
type Settings struct {
	// At is when the day of the runs begins, counted from midnight UTC.
	At time.Duration `env:"KEYTURN_COMPLIANCE_AT"`
	// Part is how many clusters are checked and archived together, Parallel how many items of the ledger are read or written at a time.
	Part     int
	Parallel int
	// PageBytes is how large the parts of a run may be for the function to make a page of them. What it takes grows with them: memory with
	// the clusters and keys, time with the bytes.
	PageBytes int
}

// Check returns what makes no sense.
func (s Settings) Check() (problems []error) {
	if s.At < 0 || s.At >= 24*time.Hour {
		problems = append(problems, fmt.Errorf("KEYTURN_COMPLIANCE_AT is %s; want a time of the day in UTC, from 0h to less than 24h", s.At))
	}
	return problems
}

// DefaultSettings are those of a deployment. A page is made of up to about 5,000 clusters of three regions: some 30 MB of memory, and with
// the 0.07 processors of a function of 128 MB two minutes.
func DefaultSettings() Settings {
	return Settings{At: 5 * time.Hour, Part: 50, Parallel: 8, PageBytes: 300e6}
}

// ErrOutOfScope is the error about named clusters of which none is checked.
var ErrOutOfScope = errors.New("out of scope")

// Check gathers the facts and runs all checks, and says since when each finding stands, or why that is not known. Clusters names
// the clusters that it is about, by id or name; none: all. The error means that the run could not be made at all: the fleet cannot be listed, a
// named cluster does not exist ([cmek.ErrNotFound]), or none of the named ones would be checked ([ErrOutOfScope]).
func (f *Function) Check(ctx context.Context, clusters ...string) (report.Run, error) {
	run := report.Run{Began: time.Now()}
	g := newGatherer(f, fresh)
	if err := g.inventory(ctx); err != nil {
		return run, err
	}
	ids, population, err := g.choose(clusters)
	if err != nil {
		return run, err
	}
	run.Population = population
	g.organization(ctx)
	if len(clusters) == 0 {
		if err := g.rest(ctx); err != nil {
			return run, err
		}
	}
	if err := g.part(ctx, ids); err != nil {
		return run, err
	}
	g.count(&run.Population)
	run.Findings = checks.Run(g.facts, f.Declared, time.Now())
	run.SinceUnread = f.since(ctx, run.Findings, run.Began)
	for _, k := range g.facts.Keys {
		run.Timelines = append(run.Timelines, timeline(k, f.Declared))
	}
	slices.SortFunc(run.Timelines, func(a, b report.Timeline) int { return cmp.Compare(a.Key, b.Key) })
	run.Proofs = g.proofs(ctx)
	run.Ended = time.Now()
	return run, ctx.Err()
}

// Retire decides whether a key, or a version of it, may be disabled or deleted. The key is named by its URI. It is asked of all clusters that
// may have it, also where another installation owns them: whoever owns a key, it is needed by whom it is needed.
func (f *Function) Retire(ctx context.Context, uri cmek.KeyURI, version cmek.KeyVersion) (checks.Retirement, error) {
	own := *f
	own.KeyTypes = []cmek.KeyType{uri.Type()}
	g := newGatherer(&own, fresh)
	if err := g.inventory(ctx); err != nil {
		return checks.Retirement{}, err
	}
	g.retiring = true
	key := g.key(ctx, uri)
	key.Retention, key.Ties = g.retention(ctx, key.Uses.Value), g.ties(ctx, uri)
	return checks.Retire(key, version, time.Now()), ctx.Err()
}
