// Package lifecycle changes a cluster's CMEK when an operator asks for it: enable it, add a region with its key, revoke it, and find out
// what a revoked cluster needs to be restored. Rotations, and moves to other keys, are package rotation's.
//
// It is a use case of its own, start to finish on any cloud, and so it stands beside the functions, with their imports and their rules
// for decisions; no event and no schedule calls it, so it has no entry points beside the command line's.
//
// A request goes one way: facts are read, refusals makes of them a list of what stands against it, and only if that is empty the intent
// is swapped into the cluster's ledger item, where it and a PUT of a rotation exclude each other. Then one request leaves, and its answer
// is classified; follow, like refusals pure, tells from reads what became of it. A request of unknown outcome is never sent again.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Cloud is what an operation needs of the CockroachDB Cloud API. Reads may be repeated by the implementation; a write is sent at most
// once for each call, and what is known about it is in the answer.
type Cloud interface {
	ClusterPage(ctx context.Context, page string) (clusters []cmek.Cluster, next string, err error)
	Cluster(ctx context.Context, id string) (cmek.Cluster, error)
	CMEK(ctx context.Context, id string) (cmek.ClusterInfo, error)
	Nodes(ctx context.Context, id string) ([]cmek.Node, error)
	EnableCMEK(ctx context.Context, id string, specs []cmek.RegionSpec) cmek.Answer
	AddRegions(ctx context.Context, to cmek.Cluster, additions []cmek.AddedRegion) cmek.Answer
	RevokeCMEK(ctx context.Context, id string) cmek.Answer
}

// Details are what else is read about a cluster.
type Details interface {
	// OrganizationID is what AWS roles ask for as external id.
	OrganizationID(ctx context.Context) (string, error)
	// Backups reads how backups are configured, and the newest of the last periods of their frequency.
	Backups(ctx context.Context, id string, periods int) (cmek.Backups, error)
}

// KeyCloud reads the keys and policies of one cloud. Policies is nil if they cannot be read.
type KeyCloud struct {
	KMS      cmek.KMS
	Policies cmek.Policies
}

// Function is everything that operations need. Its methods may be called from several processes on one ledger.
type Function struct {
	Cloud   Cloud
	Details Details
	Keys    map[cmek.KeyType]KeyCloud
	Ledger  *ledger.Ledger
	Archive cmek.Archive

	Settings Settings
	// Report is called with each step; nil for no reports.
	Report func(Step)
}

// Step is a step of an operation, for people who watch.
type Step struct {
	At time.Time `json:"at"`
	// Stage is one of checked, sending, refused, accepted, unknown, waiting, or a result of the ledger's.
	Stage  string `json:"stage"`
	Detail string `json:"detail,omitempty"`
}

// Settings are the times of operations.
type Settings struct {
	// Confirm is how far apart two reads must be that show the end of an operation.
	Confirm time.Duration
	// Poll is the shortest time between two reads of an operation.
	Poll time.Duration
	// Grace is how long a request of unknown outcome is given to leave a trace.
	Grace time.Duration
	// Propagation is how long a request is sent again that is refused because policies may not have spread yet.
	Propagation time.Duration
}

// DefaultSettings are those of an installation.
func DefaultSettings() Settings {
	return Settings{Confirm: 50 * time.Second, Poll: 5 * time.Second, Grace: 10 * time.Minute, Propagation: 10 * time.Minute}
}

const (
	// factsLast is how old facts may be when a request is to leave, sendWithin how long it may take to leave from then on.
	factsLast  = 2 * time.Minute
	sendWithin = 30 * time.Second
	// pollMax is the longest time between two reads of an operation.
	pollMax = 2 * time.Minute
	// retryMin and retryMax bound the growing pause between two requests of which the first was refused.
	retryMin, retryMax = 15 * time.Second, time.Minute
)

// Request is what an operator asks for.
type Request struct {
	Kind      ledger.OperationKind
	ClusterID string
	// Specs are the keys of all regions, to enable; Additions the new regions, to add.
	Specs     []cmek.RegionSpec
	Additions []cmek.AddedRegion
	// By is who asks, Reason why, Waived the hazards taken, each with the reason.
	By, Reason string
	Waived     map[Hazard]string

	// planned is what was shown to the operator, who confirmed it: the facts must still be these.
	planned *PlannedFacts
}

// specs are the keys that are new to the cluster.
func (r Request) specs() []cmek.RegionSpec {
	specs := slices.Clone(r.Specs)
	for _, a := range r.Additions {
		specs = append(specs, cmek.RegionSpec{Region: a.Region, KeySpec: a.KeySpec})
	}
	return specs
}

// Result is how an operation stands when a command returns.
type Result struct {
	Cluster cmek.Cluster `json:"-"`
	// Already: the cluster is as asked for, and nothing was sent by this command.
	Already bool `json:"already,omitempty"`
	// Refusals are what stands against it: if there are any, nothing was sent.
	Refusals []Refusal `json:"refusals,omitempty"`
	// Operation is the operation as on record; nil if there is none.
	Operation *ledger.Operation `json:"operation,omitempty"`
}

// Done reports whether the cluster is as asked for.
func (r Result) Done() bool {
	return r.Already || r.Operation != nil && r.Operation.Result == ledger.OperationDone
}

// ErrInterrupted is the error of a command that ended before its operation did. What is open goes on, and the same command watches it.
var ErrInterrupted = errors.New("interrupted; the same command goes on: it watches what was sent, and sends nothing twice")

// ErrReplaced is the error of a command whose operation was followed to its end by another command, and then gave way to another request.
var ErrReplaced = errors.New("another command has followed the request to its end, and another request to the cluster has begun; \"keyturn evidence list\" has its record")

// Check reads the facts and says what stands against the request. It sends nothing and writes nothing.
func (f *Function) Check(ctx context.Context, r Request) (Facts, []Refusal, error) {
	facts, err := f.read(ctx, r)
	if err != nil {
		return facts, nil, err
	}
	return facts, refusals(r, facts), nil
}

// Run carries the request out and returns when its end is on record, when two hours have passed without one, or when ctx ends. The same
// request made again, after whatever interruption, goes on watching what is open, and sends nothing twice.
func (f *Function) Run(ctx context.Context, r Request) (Result, error) {
	item, err := f.Ledger.Cluster(ctx, r.ClusterID)
	if err != nil {
		return Result{}, err
	}
	open := item.Operation.Open() && sameRequest(*item.Operation, r)
	if open && !item.Operation.Refused() {
		f.step("waiting", "the request of %s, sent %s, is open; watching it", item.Operation.By, item.Operation.Sent.UTC().Format(time.RFC3339))
		return f.finish(ctx, r)
	}
	if r.Kind == ledger.OperationRevoke && r.planned == nil {
		return Result{Refusals: []Refusal{{Row: "unplanned", What: "a revocation needs a plan that was confirmed", Fix: "make one"}}}, nil
	}
	facts, found, err := f.Check(ctx, r)
	switch {
	case err != nil:
		return Result{}, err
	case open && trace(*item.Operation, facts.Cluster, facts.CMEK) != "":
		f.step("waiting", "the request that was refused has left a trace all the same; watching it")
		return f.finish(ctx, r)
	case !open && asAskedFor(r, facts):
		return Result{Cluster: facts.Cluster, Already: true, Operation: item.Operation}, nil
	case len(found) > 0 && open: // it was refused before, and must not be sent again
		result, err := f.giveUp(ctx, r)
		result.Cluster, result.Refusals = facts.Cluster, found
		return result, err
	case len(found) > 0:
		return Result{Cluster: facts.Cluster, Refusals: found}, nil
	}
	f.step("checked", "nothing stands against it")
	return f.send(ctx, r, facts)
}

// finish watches the open operation to its end.
func (f *Function) finish(ctx context.Context, r Request) (Result, error) {
	item, err := f.watch(ctx, r)
	if item == nil {
		return Result{}, err
	}
	return Result{Cluster: item.Cluster, Operation: item.Operation}, err
}

// sameRequest reports whether the operation is what the request asks for.
func sameRequest(o ledger.Operation, r Request) bool {
	if o.Kind != r.Kind || !sameSpecs(o.Specs, r.specs()) || len(o.Nodes) != len(r.Additions) {
		return false
	}
	return !slices.ContainsFunc(r.Additions, func(a cmek.AddedRegion) bool { return o.Nodes[a.Region] != a.Nodes })
}

func sameSpecs(a, b []cmek.RegionSpec) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(s cmek.RegionSpec) bool { return !slices.Contains(b, s) })
}

func (f *Function) step(stage, format string, args ...any) {
	if f.Report != nil {
		f.Report(Step{At: time.Now(), Stage: stage, Detail: fmt.Sprintf(format, args...)})
	}
}

var idForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// IsID reports whether the text has the form of the Cloud API's cluster ids.
func IsID(text string) bool { return idForm.MatchString(text) }

// ErrSeveral is, wrapped, the error of a name that several clusters have.
var ErrSeveral = errors.New("several clusters have that name")

// Find reads the cluster of that id or name. Of several with one name none is meant.
func (f *Function) Find(ctx context.Context, wanted string) (cmek.Cluster, error) {
	if IsID(wanted) {
		return f.Cloud.Cluster(ctx, wanted)
	}
	var named []cmek.Cluster
	const mostPages = 10_000
	page := ""
	for range mostPages {
		clusters, next, err := f.Cloud.ClusterPage(ctx, page)
		if err != nil {
			return cmek.Cluster{}, err
		}
		for _, c := range clusters {
			if c.Name == wanted && c.State != cmek.StateDeleted {
				named = append(named, c)
			}
		}
		switch {
		case next == page && next != "": // on the pages that are not shown there may be another of that name
			return cmek.Cluster{}, fmt.Errorf("find cluster %q: the page %q of the list of clusters names itself as the next", wanted, page)
		case next != "":
			page = next
			continue
		case len(named) == 1:
			return named[0], nil
		case len(named) > 1:
			return cmek.Cluster{}, fmt.Errorf("find cluster %q: %w, %d of them; use one of their ids", wanted, ErrSeveral, len(named))
		}
		return cmek.Cluster{}, fmt.Errorf("find cluster %q: %w: the API key shows none of that name", wanted, cmek.ErrNotFound)
	}
	return cmek.Cluster{}, fmt.Errorf("find cluster %q: the list of clusters has no end after %d pages", wanted, mostPages)
}
