package explain

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// judge explains records with what is at hand: the record, and the ledger if there is one.
type judge struct {
	// ledger is nil if there is none: the key is then taken to be in use.
	ledger *ledger.Ledger
	// organizationID is the external id that a role's trust policy must ask for; "" if it is not known.
	organizationID string
}

// noChange is the change of records that concern no key.
const noChange cmek.Change = "none"

// explain says what a record means. An error is the ledger's.
func (j judge) explain(ctx context.Context, r events.Record) (Explanation, error) {
	if r.Event == nil {
		x := Explanation{
			Change: noChange, Severity: alert.None, SeverityUnused: alert.None, Succeeded: true, RecoverySteps: []string{},
			Reason: cmp.Or(r.Source, "this notice") + " concerns no key, and nothing that access to one depends on", source: r.Source,
		}
		if r.Why != "" {
			x.source += ": " + r.Why
			x.Reason = x.source
		}
		return x, nil
	}
	e := *r.Event
	var err error
	if j.ledger != nil {
		if e, err = alerting.Named(ctx, j.ledger, e); err != nil {
			return Explanation{}, err
		}
	}
	facts, noted, err := j.gather(ctx, e)
	if err != nil {
		return Explanation{}, err
	}
	a := alerting.Assess(e, facts)
	x := Explanation{
		Change: e.Change, Severity: a.Severity, SeverityUnused: a.Unused, Key: e.Key, Principal: cmp.Or(e.Principal, string(e.Issuer)),
		Succeeded: e.Succeeded(), RecoverySteps: []string{}, source: e.Source, version: cmp.Or(e.On.ID, e.Version.ID), role: string(e.Identity), failure: e.Error, amends: e.Amends,
		summary: "No alert: " + string(e.Change),
	}
	if !e.Time.IsZero() {
		x.Time = e.Time.UTC().Format(time.RFC3339)
	}
	if j.ledger != nil {
		x.clusters = named(facts.Usage.Clusters)
	}
	if a.Severity != alert.None {
		row, _ := risk.Of(a.Change)
		x.Change, x.summary, x.impact = a.Change, a.Summary, j.impact(row, a, noted)
		if e.Succeeded() || row.Kind == risk.Refused || row.Kind == risk.Failed { // else nothing changed
			x.RecoverySteps = append(x.RecoverySteps, a.RecoverySteps...)
		}
	}
	x.Reason = strings.TrimSuffix(x.summary+". "+x.impact, " ")
	return x, nil
}

// impact is what fails and by when, and what the verdict assumes.
func (j judge) impact(row risk.Row, a alerting.Assessment, noted time.Time) string {
	parts := []string{a.Impact}
	if !a.Deadline.IsZero() {
		parts = append(parts, "It is final on "+a.Deadline.UTC().Format(time.RFC3339)+" at the earliest.")
	}
	if !noted.IsZero() {
		age := "within the last two minutes"
		if d := time.Since(noted); d >= 2*time.Minute {
			age = "the oldest document " + terminal.Roughly(d) + " ago"
		}
		parts = append(parts, "What the record does not carry is as the ledger noted it, "+age+".")
	}
	switch {
	case j.ledger != nil || !row.Kind.Used():
	case row.Kind == risk.Refused:
		parts = append(parts, "If the principal is not a cluster's, there is no impact; only the inventory shows that (--ledger).")
	default:
		parts = append(parts, "If the principal is a cluster's own, this is normal; only the inventory shows that (--ledger).")
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}

// gather is what is known about an event without asking anybody but the ledger. A document that the event carries is compared with
// what the ledger has noted; what alerting would read in the cloud is taken as a sweep noted it, the oldest at the time noted, and else
// not known.
func (j judge) gather(ctx context.Context, e cmek.Event) (facts alerting.Facts, noted time.Time, err error) {
	var clusters []*ledger.Cluster
	if j.ledger == nil {
		facts = alerting.WithoutInventory(e)
	} else if facts, clusters, err = alerting.FromLedger(ctx, j.ledger, e); err != nil {
		return facts, noted, err
	}
	facts.Own = own(e)
	var docs alerting.Documents
	uses := alerting.Uses(clusters)
	if j.ledger != nil {
		if docs, err = alerting.NotedDocuments(ctx, j.ledger, e, uses); err != nil {
			return facts, noted, err
		}
	}
	docs.OrganizationID = j.organizationID
	facts.Effect = alerting.Effects(e, docs, uses, facts.Usage)
	if facts.Effect != nil {
		noted = docs.Oldest
	}
	return facts, noted, nil
}

// own assumes that what is named after keyturn is part of it: nothing tells explain what was deployed. A role is judged by what
// happened to it, as if it were a cluster's: anybody can give it such a name.
func own(e cmek.Event) bool {
	return e.Identity == "" && risk.Names(e, func(name string) bool {
		return name == "keyturn" || strings.HasPrefix(name, "keyturn-") || strings.HasPrefix(name, "keyturn/")
	})
}

// named lists clusters for people; it is never nil.
func named(clusters []alert.AffectedCluster) []string {
	names := make([]string, len(clusters))
	for i, c := range clusters {
		names[i] = fmt.Sprintf("%s (%s)", cmp.Or(terminal.Printable(c.Name), "unnamed"), c.ID)
	}
	return names
}
