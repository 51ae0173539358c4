package main

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// declaredKey is a key that people are at work on; see "keyturn incident".
type declaredKey struct {
	Key cmek.KeyURI `json:"key"`
	ledger.Declaration
}

// declaredKeys lists the keys of the clusters and of the open incidents that somebody declared an incident on. The ledger keeps
// declarations by key, so one on a key that neither names is not found.
func declaredKeys(ctx context.Context, l *ledger.Ledger, clusters []*ledger.Cluster, incidents []openIncident) (found []declaredKey, err error) {
	keys := keysOf(clusters)
	for _, i := range incidents {
		if key := i.Alert.Key; key != "" && !slices.ContainsFunc(keys, key.SameKey) {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		d, err := l.Declared(ctx, key)
		if err != nil {
			return nil, err
		}
		if d.Active() {
			found = append(found, declaredKey{key, d})
		}
	}
	return found, nil
}

func printDeclared(out io.Writer, declared []declaredKey, now time.Time) {
	for _, d := range declared {
		tell(out, "Declared %s on %s (\"keyturn incident close\" ends it)\n", describeDeclaration(d.Declaration, now), printable(string(d.Key)))
	}
}
