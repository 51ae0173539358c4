package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/functions/alerting"
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

// unknownClusters stand for the clusters that need what an event names when no ledger knows them.
func unknownClusters(e cmek.Event) []cmek.AffectedCluster {
	if e.Key == "" && e.Role == "" && e.Parameters["custom_key_store_id"] == "" {
		return []cmek.AffectedCluster{{Name: "any cluster"}}
	}
	return []cmek.AffectedCluster{{Name: "any cluster that uses it"}}
}

// explain says what a record means. An error is the ledger's.
func (j judge) explain(ctx context.Context, r events.Record) (explanation, error) {
	if r.Event == nil {
		return explanation{
			Change: noChange, Severity: alerting.None, SeverityUnused: alerting.None, Succeeded: true, WayBack: []string{},
			Reason: cmp.Or(r.Source, "this notice") + " concerns no key, and nothing that access to one depends on", source: r.Source,
		}, nil
	}
	e := *r.Event
	facts, err := j.gather(ctx, e)
	if err != nil {
		return explanation{}, err
	}
	a := alerting.Assess(e, facts)
	x := explanation{
		Change: e.Change, Severity: a.Severity, SeverityUnused: a.Unused, Key: e.Key, Principal: cmp.Or(e.Principal, e.Issuer),
		Succeeded: e.Succeeded(), WayBack: []string{}, source: e.Source, role: e.Role, failure: e.Error, amends: e.Amends,
		summary: "Nobody needs to hear of it: " + string(e.Change),
	}
	if !e.Time.IsZero() {
		x.Time = e.Time.UTC().Format(time.RFC3339)
	}
	if j.ledger != nil {
		x.clusters = named(facts.Usage.Clusters)
	}
	if a.Severity != alerting.None {
		x.summary, x.consequence = a.Summary, j.consequence(e, a)
		if e.Succeeded() || e.Change == cmek.UseRefused { // else nothing changed
			x.WayBack = append(x.WayBack, alerting.WayBack(e, facts.Key)...)
		}
	}
	x.Reason = strings.TrimSuffix(x.summary+". "+x.consequence, " ")
	return x, nil
}

// consequence is what breaks and by when, and what the verdict takes for granted.
func (j judge) consequence(e cmek.Event, a alerting.Assessment) string {
	parts := []string{a.Consequence}
	if !a.Deadline.IsZero() {
		parts = append(parts, "It is final on "+a.Deadline.UTC().Format(time.RFC3339)+" at the earliest.")
	}
	if j.ledger == nil {
		switch e.Change {
		case cmek.UseUnexpected, cmek.RoleAssumed:
			parts = append(parts, "It is as it should be if the principal is a cluster's own; only the inventory tells (--ledger).")
		case cmek.UseRefused:
			parts = append(parts, "It is harmless if the principal is not a cluster's; only the inventory tells (--ledger).")
		}
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}

// gather is what is known about an event without asking anybody but the ledger.
func (j judge) gather(ctx context.Context, e cmek.Event) (alerting.Facts, error) {
	facts := alerting.Facts{OurRule: strings.HasPrefix(e.Parameters["rule"], alerting.DefaultSettings().OwnRules)}
	if j.ledger == nil {
		// The worst is taken for granted: a use is a stranger's, a refusal is a cluster's.
		facts.Usage.Clusters, facts.ByCluster, facts.NoInventory = unknownClusters(e), e.Change == cmek.UseRefused, true
		facts.Effect = j.effect(e, nil)
		return facts, nil
	}
	known, clusters, err := alerting.FromLedger(ctx, j.ledger, e)
	if err != nil {
		return facts, err
	}
	facts.Usage, facts.ByCluster = known.Usage, known.ByCluster
	facts.Effect = j.effect(e, clusters)
	return facts, nil
}

// named lists clusters for people; it is never nil.
func named(clusters []cmek.AffectedCluster) []string {
	names := make([]string, len(clusters))
	for i, c := range clusters {
		names[i] = fmt.Sprintf("%s (%s)", cmp.Or(printable(c.Name), "unnamed"), c.ID)
	}
	return names
}
