package alerting

import (
	"cmp"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// compose writes the alert of an assessment. The same event and facts give the same bytes.
func compose(e cmek.Event, a Assessment, f Facts, dedupKey string, doubts []string) alert.Alert {
	row, _ := risk.Of(a.Change)
	sent := alert.Alert{
		ID: dedupKey + "@" + e.ID, DedupKey: dedupKey, Audience: alert.Owners, Severity: a.Severity, Change: a.Change,
		Summary: a.Summary, Key: e.Key, Clusters: f.Usage.Clusters, Principal: cmp.Or(e.Principal, string(e.Issuer)), Time: e.Time,
		Deadline: a.Deadline, RecoverySteps: a.RecoverySteps, Runbook: row.Runbook(), Hold: f.Hold,
	}
	parts := []string{a.Impact}
	if a.Incident != "" && len(f.Usage.Clusters) > 0 {
		sent.Clusters = withImpacts(f.Usage.Clusters, f.Impacts)
		parts = append(parts, "Critical maintenance and node failures can restart nodes at any time.")
	}
	if len(f.Usage.Clusters) == 0 && !f.Usage.Complete {
		parts = append(parts, "Usage unknown: the fleet was not read completely within the last hour. Assume that clusters need it.")
	}
	if len(doubts) > 0 {
		doubts = slices.Clone(doubts)
		slices.Sort(doubts)
		parts = append(parts, "Not read in time, so unknown: "+strings.Join(slices.Compact(doubts), "; ")+".")
	}
	sent.Impact = strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
	return sent
}
