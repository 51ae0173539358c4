package rotation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// reportUndone notifies the owners of a cluster, once, that a region which an order moved to another key is on that key no more. Such a change
// is somebody's, or Terraform's without showing it, and nobody's order: it is never moved back.
func reportUndone(item *ledger.Cluster, info cmek.ClusterInfo, now time.Time) {
	for _, region := range info.RegionInfos {
		last, moved := item.LastMove(region.Region)
		current, distinct := region.Current()
		ordered := slices.ContainsFunc(item.Work, func(w ledger.Work) bool { return w.Region == region.Region && w.Order != "" })
		if !moved || distinct != 1 || ordered {
			continue
		}
		is, was := current.Spec.URI != last.To, !last.Undone.IsZero()
		if is == was {
			continue
		}
		last.Undone = time.Time{}
		if is {
			last.Undone = now
			item.Tell(undoneAlert(item, last, current.Spec.URI, now))
		}
		item.Orders = slices.Clone(item.Orders)
		item.Orders[slices.IndexFunc(item.Orders, func(e ledger.OrderEnd) bool { return e.ID == last.ID })] = last
	}
}

func undoneAlert(item *ledger.Cluster, e ledger.OrderEnd, uri cmek.KeyURI, now time.Time) alert.Alert {
	id := e.UndoneAlert(item.ID)
	return alert.Alert{
		ID: id, DedupKey: id, Audience: alert.Owners, Severity: alert.High, Change: changeOrderUndone, Key: uri, Time: now,
		Clusters: []alert.AffectedCluster{{ID: item.ID, Name: item.Cluster.Name, Regions: []string{e.Region}}},
		Summary:  fmt.Sprintf("Cluster %s is on key %s in %s, and not on %s, which an order moved it to", named(item), uri.ID(), e.Region, e.To.ID()),
		Impact: "Somebody moved the store key outside keyturn since. An edit of the resource in Terraform does so, without showing it, while its configuration names " +
			"the key of before. keyturn follows the rotations of the key that the region has now, and does not move it back.",
		RecoverySteps: []string{
			"Find out who sent the PUT. If Terraform manages the CMEK, apply nothing there until its configuration names the key of the order; the command prints the steps.",
			strings.Join([]string{"keyturn rotate", item.ID, "--region", alert.ShellWord(e.Region), "--to", alert.ShellWord(string(e.To)), "--terraform TERRAFORM"}, " "),
			"If the key that the region has now is the right one, accept it; nothing is sent. Replace REASON below:",
			strings.Join([]string{"keyturn rotate", item.ID, "--region", alert.ShellWord(e.Region), "--to", alert.ShellWord(string(uri)), "--reason REASON"}, " "),
		},
		Runbook: runbook(changeOrderUndone),
	}
}
