package rotation

import (
	"fmt"
	"strconv"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// off reports whether the cluster's label tells keyturn to leave it alone. Whoever may label a cluster may set it, so its owners are
// notified when it appears and when it disappears.
func off(c cmek.Cluster) bool { return c.Labels["keyturn"] == "off" }

// reportOptOut notifies the owners of a cluster with CMEK that the label keyturn=off was set or removed since the last read.
func reportOptOut(item *ledger.Cluster, read cmek.Cluster, now time.Time) {
	was, is := off(item.Cluster), off(read)
	if was == is || !item.CMEK.HasKeys() || read.State == cmek.StateDeleted {
		return
	}
	id := "opt-out/" + item.ID + "@" + strconv.FormatInt(now.Unix(), 10)
	a := alert.Alert{
		ID: id, DedupKey: id, Audience: alert.Owners, Severity: alert.Medium, Change: changeOptOut, Time: now,
		Clusters: []alert.AffectedCluster{{ID: item.ID, Name: item.Cluster.Name}}, Runbook: runbook(changeOptOut),
	}
	if is {
		a.Summary = fmt.Sprintf("keyturn no longer follows rotations on cluster %s: it has the label keyturn=off", named(item))
		a.Impact = "Its store keys stay on the key version that they have now."
		if n := len(item.Work); n > 0 {
			a.Impact += fmt.Sprintf(" Open follow-through is dropped (regions: %d), unless its request was sent already.", n)
		}
		a.RecoverySteps = []string{"If this is not intended, remove the label keyturn from the cluster: the next sweep opens the work again."}
	} else {
		a.Summary = fmt.Sprintf("keyturn follows rotations on cluster %s again: the label keyturn=off was removed", named(item))
		a.Impact = "Rotations that happened meanwhile are followed now."
	}
	item.Tell(a)
}
