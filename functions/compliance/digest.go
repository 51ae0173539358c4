package compliance

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/report"
)

// The changes that compliance reports.
const (
	ChangeFailed     cmek.Change = "compliance check failed"
	ChangeRun        cmek.Change = "compliance run"
	ChangeIncomplete cmek.Change = "compliance run incomplete"
	ChangeOldVersion cmek.Change = "old key version used"
)

const runbook = "functions/compliance/README.md#alerts"

// digestOf is the one message about a run: what changed, how many clusters were read, and the hash of the manifest, which so has a copy
// outside of the archive. It follows from the manifest alone.
func digestOf(m report.Manifest, sha256 string) alert.Alert {
	id := fmt.Sprintf("compliance/%s/%d", m.ChainStart.UTC().Format("20060102T150405Z"), m.Run)
	a := alert.Alert{
		ID: id, DedupKey: id, Audience: alert.Owners, Severity: alert.Info, Change: ChangeRun, Time: m.Period.Ended, Runbook: runbook,
		Summary: fmt.Sprintf("Compliance run %d: %s", m.Run, changesOf(m.Changes)),
	}
	for s, n := range m.Changes.Failed {
		if n > 0 {
			a.Severity = alert.Worse(a.Severity, s)
		}
	}
	if a.Severity == alert.Info && m.Changes.Unanswered > 0 {
		a.Severity = alert.Low
	}
	if !m.Complete {
		a.Audience, a.Severity, a.Change = alert.Operations, alert.High, ChangeIncomplete
		a.Summary = fmt.Sprintf("Compliance run %d is incomplete: %s", m.Run, m.Incomplete)
	}
	p := m.Population
	text := []string{fmt.Sprintf("%d clusters listed = %d checked + %d out of scope + %d not read.", p.Listed, p.Checked, len(p.OutOfScope), p.Missing())}
	if !m.Complete {
		text[0] = fmt.Sprintf("%d of %d clusters were reached. The last complete run stays the one that counts.", p.Checked+p.Missing()-p.Unreached, p.Listed)
	}
	if m.MissedRuns > 0 {
		text = append(text, fmt.Sprintf("Days without a run before it: %d.", m.MissedRuns))
	}
	for _, c := range m.Changes.First[:min(len(m.Changes.First), mostLines)] {
		text = append(text, fmt.Sprintf("%s: %s (%s) %s: %s", c.Kind, c.Check, c.Severity, c.Subject, c.Why))
	}
	if more := changed(m.Changes) - mostLines; more > 0 {
		text = append(text, fmt.Sprintf("And %d more.", more))
	}
	if m.HubRefusals > 0 {
		text = append(text, fmt.Sprintf("Security Hub refused %d reports, which the next run sends again: %s", m.HubRefusals, strings.Join(m.HubRefused, "; ")))
	}
	if m.Unreported > 0 {
		text = append(text, fmt.Sprintf("%d failures are not in Security Hub: no more than %d are reported at a time.", m.Unreported, mostReported))
	}
	if m.NoPage != "" {
		text = append(text, fmt.Sprintf("There is no page in the archive: %s. To make it: keyturn report --format html --run %d --out report.html", m.NoPage, m.Run))
	}
	text = append(text, "SHA-256 of the manifest: "+sha256)
	a.Impact = strings.Join(text, "\n")
	if a.Severity != alert.Info {
		a.RecoverySteps = []string{fmt.Sprintf("keyturn report --run %d", m.Run)}
	}
	return a
}

// mostLines is how many changes a digest names.
const mostLines = 10

func changed(c report.Changes) int {
	n := c.Accepted + c.Recovered + c.Unanswered + c.Answered
	for _, failed := range c.Failed {
		n += failed
	}
	return n
}

// changesOf are the changes in one line.
func changesOf(c report.Changes) string {
	var parts []string
	part := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	for _, s := range []alert.Severity{alert.Critical, alert.High, alert.Medium, alert.Low} {
		part(c.Failed[s], "new "+string(s)+" failures")
	}
	part(c.Unanswered, "without an answer for the second run")
	part(c.Recovered, "recovered")
	part(c.Accepted, "newly accepted")
	part(c.Answered, "answered again")
	part(c.Alone, "alerted by itself")
	part(c.Mirrored, "reported by open incidents")
	if len(parts) == 0 {
		return "nothing changed"
	}
	return strings.Join(parts, ", ")
}

// failureAlert is the alert about a critical failure that nothing else reports.
func failureAlert(f checks.Finding, key string, run int) alert.Alert {
	a := alert.Alert{
		ID: fmt.Sprintf("%s@%d", key, f.Since.Unix()), DedupKey: key, Audience: alert.Owners, Severity: f.Severity, Change: ChangeFailed,
		Summary: fmt.Sprintf("%s, %s: %s: %s", f.Check, f.Title, report.Name(f.Subject), brief(f.Why)), Impact: clause(f.Check),
		RecoverySteps: append(slices.Clone(f.Fix[:min(len(f.Fix), mostLines)]), fmt.Sprintf("keyturn report --run %d", run)),
		Key:           f.Subject.Key, Principal: string(f.Subject.Principal), Time: f.Since, Runbook: runbook,
	}
	if f.Subject.ClusterID != "" {
		a.Clusters = []alert.AffectedCluster{{ID: f.Subject.ClusterID, Name: f.Subject.ClusterName}}
		if f.Subject.Region != "" {
			a.Clusters[0].Regions = []string{f.Subject.Region}
		}
	}
	return a
}

func clause(check string) string {
	c, _ := checks.Of(check)
	return "What must hold: " + c.Clause
}
