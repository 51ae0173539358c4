package rotation

import (
	"fmt"
	"slices"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// turn decides whether it is the cluster's turn among all clusters of the key: one canary goes first, then at most inFlight
// at a time; a failure of any stops the rest. The fleet is every cluster that names the key.
func turn(fleet []*ledger.Cluster, self string, key cmek.KeyURI, version cmek.KeyVersion, inFlight int) (ok bool, why string) {
	canaryDone := false
	var flying []string
	for _, c := range fleet {
		for _, d := range c.Done {
			canaryDone = canaryDone || d.Followed && d.Version == version && d.Key.SameKey(key)
		}
		for _, w := range c.Work {
			if w.Version != version || !w.Key.SameKey(key) || c.ID == self {
				continue
			}
			if w.Failed > 0 {
				return false, fmt.Sprintf("stopped: the rotation of cluster %s failed", named(c))
			}
			if w.State == ledger.Requested && !slices.Contains(flying, named(c)) {
				flying = append(flying, named(c))
			}
		}
	}
	switch {
	case !canaryDone && len(flying) > 0:
		return false, fmt.Sprintf("waits for the canary %s", flying[0])
	case len(flying) >= inFlight:
		return false, fmt.Sprintf("waits for its turn: %d clusters of the key are in flight", len(flying))
	}
	return true, ""
}

func named(c *ledger.Cluster) string {
	if c.Cluster.Name != "" {
		return c.Cluster.Name
	}
	return c.ID
}
