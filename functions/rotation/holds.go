package rotation

import (
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// holdEndsSoon is how long before its end operations are notified that a hold of some length ends.
const holdEndsSoon = time.Hour

func aboutHold(dedupKey string) bool { return strings.HasPrefix(dedupKey, alert.OnHold+"/") }

// holdKey tells a hold from the one before it on the same subject.
func holdKey(h cmek.Hold) string {
	return alert.IncidentKey(alert.OnHold, fmt.Sprintf("%s@%d", h.Argument(), h.Since.Unix()))
}

// holdConditions has one alert for each hold that stands. It is one severity higher when the hold is about to end: whoever is at
// work there has to know that keyturn goes on.
func holdConditions(holds cmek.Holds, now time.Time) (found []alert.Alert) {
	for _, h := range holds.Standing(now) {
		a := alert.Alert{
			DedupKey: holdKey(h), Audience: alert.Operations, Severity: alert.Info, Change: changeHold, Key: h.Key, Time: h.Since, Hold: &h,
			Summary:       fmt.Sprintf("On hold: %s", h.Subject()),
			Impact:        "keyturn sends no PUT and repairs nothing there. Alerts still come, and events still open work.",
			RecoverySteps: []string{"To end the hold now:", onCluster("release", h.Argument())},
		}
		if h.ClusterID != "" {
			a.Clusters = []alert.AffectedCluster{{ID: h.ClusterID, Name: h.Cluster}}
		}
		if left := h.Until.Sub(now); left <= holdEndsSoon && h.Until.Sub(h.Since) > 2*holdEndsSoon {
			a.Severity = alert.Low
			a.Summary = fmt.Sprintf("The hold of %s ends at %s", h.Subject(), h.Until.UTC().Format(time.RFC3339))
			a.Impact = "From then on keyturn sends the PUTs that are due there, and repairs as configured."
			a.RecoverySteps = []string{"To prolong it, with your reason for REASON:", onCluster("hold", h.Argument()) + " --for 24h --reason REASON"}
		}
		found = append(found, a)
	}
	return found
}

// holdEnded is the summary of a hold's alert, which says how it ended if it has.
func holdEnded(a alert.Alert, holds cmek.Holds) string {
	if a.Hold == nil {
		return a.Summary
	}
	how := "expired"
	for _, h := range holds {
		if h.Same(*a.Hold) && h.Since.Equal(a.Hold.Since) && !h.Released.IsZero() {
			how = "was released by " + h.ReleasedBy
		}
	}
	return fmt.Sprintf("The hold of %s %s; keyturn goes on there", a.Hold.Subject(), how)
}
