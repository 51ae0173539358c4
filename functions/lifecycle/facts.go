package lifecycle

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
)

// Facts are all that the decision about a request rests on. What could not be read has an error in its place.
type Facts struct {
	// At is when the reading began.
	At         time.Time
	Cluster    cmek.Cluster
	ClusterErr error
	CMEK       cmek.ClusterInfo
	CMEKErr    error
	// Item is the cluster's item in the ledger.
	Item   *ledger.Cluster
	Paused ledger.Pause
	Holds  cmek.Holds
	// Keys and Access are about the keys that the request concerns.
	Keys   map[cmek.KeyURI]KeyFact
	Access map[cmek.KeySpec]Access

	// The rest is read to revoke only.

	Nodes      []cmek.Node
	NodesErr   error
	Backups    cmek.Backups
	BackupsErr error
	// Sharing are the other clusters, by name or id, that use one of the keys, as far as the ledger knows. Swept is when the last complete
	// sweep ended, by which it knows all of them.
	Sharing []string
	Swept   time.Time
}

// KeyFact is a key, or why it could not be read.
type KeyFact struct {
	Key cmek.Key
	Err error
}

// Access is whether a cluster may use a key: by the key's own policies, and by those of the principal that it acts as.
type Access struct {
	Key, Principal policy.Verdict
	// NoPrincipal: the principal does not exist, so that nobody is admitted.
	NoPrincipal bool
}

// read reads the facts. The error is about the ledger: without it nothing is decided.
func (f *Function) read(ctx context.Context, r Request) (facts Facts, err error) {
	facts.At = time.Now()
	if facts.Item, err = f.Ledger.Cluster(ctx, r.ClusterID); err != nil {
		return facts, err
	}
	if facts.Paused, err = f.Ledger.Paused(ctx); err != nil {
		return facts, err
	}
	if facts.Holds, err = f.Ledger.Holds(ctx); err != nil {
		return facts, err
	}
	facts.Cluster, facts.ClusterErr = f.Cloud.Cluster(ctx, r.ClusterID)
	facts.CMEK, facts.CMEKErr = f.Cloud.CMEK(ctx, r.ClusterID)
	specs := r.specs()
	if r.Kind == ledger.OperationRevoke {
		specs = inForce(facts.CMEK)
		facts.Nodes, facts.NodesErr = f.Cloud.Nodes(ctx, r.ClusterID)
		facts.Backups, facts.BackupsErr = f.Details.Backups(ctx, r.ClusterID, 2)
		worker, err := f.Ledger.Worker(ctx)
		if err != nil {
			return facts, err
		}
		facts.Swept = worker.Sweep.Complete
		if facts.Sharing, err = f.sharing(ctx, r.ClusterID, specs); err != nil {
			return facts, err
		}
	}
	f.readKeys(ctx, &facts, specs)
	return facts, ctx.Err()
}

// inForce are the keys that the regions may run on: all that are not of the past.
func inForce(info cmek.ClusterInfo) (specs []cmek.RegionSpec) {
	for _, region := range info.RegionInfos {
		for _, k := range region.KeyInfos {
			if spec := (cmek.RegionSpec{Region: region.Region, KeySpec: k.Spec}); k.Status != cmek.Disabled && !slices.Contains(specs, spec) {
				specs = append(specs, spec)
			}
		}
	}
	return specs
}

// sharing are the other clusters of the ledger that name one of the keys. A cluster that cannot be decoded may be one: it is an error.
func (f *Function) sharing(ctx context.Context, id string, specs []cmek.RegionSpec) (names []string, err error) {
	for _, spec := range specs {
		clusters, err := f.Ledger.ByKey(ctx, spec.KeySpec.URI)
		if err != nil {
			return nil, err
		}
		for _, c := range clusters {
			if c.ID == id {
				continue
			}
			name := c.Cluster.Name
			if name == "" {
				name = c.ID
			}
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// readKeys reads each key once, and what decides about the access to it.
func (f *Function) readKeys(ctx context.Context, facts *Facts, specs []cmek.RegionSpec) {
	facts.Keys, facts.Access = map[cmek.KeyURI]KeyFact{}, map[cmek.KeySpec]Access{}
	var organization string
	for _, spec := range specs {
		uri := spec.KeySpec.URI
		cloud, ok := f.Keys[spec.KeySpec.Type]
		if !ok || checkURI(uri) != "" {
			continue
		}
		if _, read := facts.Keys[uri]; !read {
			key, err := cloud.KMS.Key(ctx, uri)
			facts.Keys[uri] = KeyFact{key, err}
		}
		if _, judged := facts.Access[spec.KeySpec]; judged || cloud.Policies == nil {
			continue
		}
		if organization == "" {
			organization, _ = f.Details.OrganizationID(ctx) // without it, the judgement says that it is unclear
		}
		use := cmek.Use{ClusterID: facts.Cluster.ID, CloudAccount: facts.Cluster.AccountID, Spec: spec.KeySpec}
		facts.Access[spec.KeySpec] = judge(use, organization, readDocuments(ctx, cloud.Policies, use), facts.At)
	}
}

// document is a policy document, or why it could not be read.
type document struct {
	text string
	err  error
}

// mostDocuments bounds the documents of one use.
const mostDocuments = 200

// readDocuments reads the documents of a use, until those that are known name nothing more.
func readDocuments(ctx context.Context, policies cmek.Policies, use cmek.Use) map[string]document {
	documents, known := map[string]document{}, map[string]string{}
	for {
		before := len(documents)
		for _, name := range policies.Deciding(use, known) {
			if _, tried := documents[name]; tried || len(documents) == mostDocuments {
				continue
			}
			text, err := policies.Document(ctx, name)
			if err == nil && text == "" {
				err = errors.New("the document is empty")
			}
			documents[name] = document{text, err}
			if err == nil {
				known[name] = text
			}
		}
		if len(documents) == before {
			return documents
		}
	}
}
