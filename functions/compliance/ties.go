package compliance

import (
	"context"
	"slices"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// ties are what else than a key info of a cluster that is listed ties a key to one. Whoever asks about a key needs them, and the checks do not, so
// that only then the ledger is gone through once more.
func (g *gatherer) ties(ctx context.Context, uri cmek.KeyURI) checks.Fact[[]string] {
	var ties []string
	if slices.ContainsFunc(g.Declared.Keys, func(k checks.KeyDeclaration) bool { return k.Key.SameKey(uri) }) {
		ties = append(ties, "it is declared under compliance in keyturn.yaml")
	}
	if slices.ContainsFunc(g.Declared.ClusterKeys, func(k cmek.KeyURI) bool { return k.SameKey(uri) }) {
		ties = append(ties, "keyturn.yaml says that it is a key of clusters")
	}
	if g.Ledger == nil { // nothing was ever kept
		return checks.Known(ties, time.Now(), "keyturn.yaml")
	}
	if g.known == nil {
		known, err := g.knownKeys(ctx)
		if err != nil {
			return notRead[[]string](fromLedger, err.Error())
		}
		g.known = known
	}
	return checks.Known(append(ties, g.known[uri.Canonical()]...), time.Now(), fromLedger)
}

// knownKeys are the clusters of the ledger by the keys that they have, had, or are to be moved to.
func (g *gatherer) knownKeys(ctx context.Context) (map[string][]string, error) {
	items, err := g.Ledger.Clusters(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string][]string{}
	for _, item := range items {
		says := "the ledger knows it of cluster " + item.Cluster.Name
		if item.Cluster.Name == "" {
			says += item.ID
		}
		for _, uri := range keysOf(item) {
			if all := known[uri.Canonical()]; !slices.Contains(all, says) {
				known[uri.Canonical()] = append(all, says)
			}
		}
	}
	return known, nil
}

func keysOf(item *ledger.Cluster) (keys []cmek.KeyURI) {
	for _, region := range item.CMEK.RegionInfos {
		for _, k := range region.KeyInfos {
			keys = append(keys, k.Spec.URI)
		}
	}
	for _, w := range item.Work {
		keys = append(keys, w.Key)
	}
	for _, d := range item.Done {
		keys = append(keys, d.Key)
	}
	for _, o := range item.Orders {
		keys = append(keys, o.To)
	}
	return keys
}
