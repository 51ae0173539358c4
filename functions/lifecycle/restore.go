package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
)

// Diagnosis is what a cluster needs before Cockroach Labs' support can restore its CMEK, and what to write to them.
type Diagnosis struct {
	Cluster cmek.Cluster     `json:"cluster"`
	CMEK    cmek.ClusterInfo `json:"cmek"`
	// Findings are in the order in which they are to be fixed; none is left with a Fix once support can act.
	Findings []Finding `json:"findings"`
	// Nodes are those that are not LIVE.
	Nodes []cmek.Node `json:"nodes_not_live,omitempty"`
	// Holds are the keys that are on hold.
	Holds cmek.Holds `json:"holds,omitempty"`
	// Ticket is the text of the support ticket; "" if the CMEK is not being revoked, and was not.
	Ticket string `json:"ticket,omitempty"`
}

// Finding is one condition of a region's access to its key.
type Finding struct {
	Region string `json:"region"`
	// Check is key, versions, key policy or principal, or nodes for nodes that are not shown.
	Check string `json:"check"`
	// OK is nil if it could not be read.
	OK   *bool  `json:"ok" jsonschema:"oneof_type=boolean;null"`
	What string `json:"what"`
	// Fix is what to do; "" if there is nothing to do.
	Fix string `json:"fix,omitempty"`
}

// Ready reports whether all conditions are known to hold.
func (d Diagnosis) Ready() bool {
	return len(d.Findings) > 0 && !slices.ContainsFunc(d.Findings, func(f Finding) bool { return f.OK == nil || !*f.OK })
}

// Healthy reports whether the CMEK is in force and every node is shown and live.
func (d Diagnosis) Healthy() bool {
	return statusOf(d.CMEK) == cmek.Enabled && len(d.Nodes) == 0 && !slices.ContainsFunc(d.Findings, func(f Finding) bool { return f.Check == checkNodes })
}

// checkNodes is the check of nodes that are not shown. One that is shown is judged by its status.
const checkNodes = "nodes"

// Diagnose reads what a restore needs. It writes nothing.
func (f *Function) Diagnose(ctx context.Context, id string) (Diagnosis, error) {
	facts, err := f.read(ctx, Request{Kind: ledger.OperationRevoke, ClusterID: id})
	if err = errors.Join(err, facts.ClusterErr, facts.CMEKErr); err != nil {
		return Diagnosis{}, err
	}
	d := Diagnosis{Cluster: facts.Cluster, CMEK: facts.CMEK}
	for _, spec := range inForce(facts.CMEK) {
		d.Findings = append(d.Findings, conditions(spec, facts)...)
	}
	for _, n := range facts.Nodes {
		if n.Status != cmek.NodeLive {
			d.Nodes = append(d.Nodes, n)
		}
	}
	d.Findings = append(d.Findings, unshownNodes(facts)...)
	for _, h := range facts.Holds.Standing(facts.At) {
		if slices.ContainsFunc(inForce(facts.CMEK), func(s cmek.RegionSpec) bool { return h.On(id, s.KeySpec.URI) }) {
			d.Holds = append(d.Holds, h)
		}
	}
	if revoking(statusOf(facts.CMEK)) {
		d.Ticket = ticket(d, facts)
	}
	return d, nil
}

// unshownNodes says of which nodes it is not known whether they are live: a list that lacks some is no proof.
func unshownNodes(facts Facts) (list []Finding) {
	if facts.NodesErr != nil {
		return []Finding{{Check: checkNodes, What: "the nodes could not be read: " + facts.NodesErr.Error()}}
	}
	shown := map[string]int{}
	for _, n := range facts.Nodes {
		shown[n.Region]++
	}
	for _, r := range facts.Cluster.Regions {
		if n := shown[r.Name]; n < max(r.NodeCount, 1) {
			list = append(list, Finding{Region: r.Name, Check: checkNodes, What: fmt.Sprintf("the Cloud API shows %d of %d nodes", n, r.NodeCount)})
		}
	}
	if len(facts.Nodes) == 0 && len(list) == 0 {
		list = append(list, Finding{Check: checkNodes, What: "the Cloud API shows no node"})
	}
	return list
}

// conditions of one region, in the order in which they must hold.
func conditions(spec cmek.RegionSpec, facts Facts) []Finding {
	found := func(check string, ok *bool, what, fix string) Finding {
		return Finding{Region: spec.Region, Check: check, OK: ok, What: what, Fix: fix}
	}
	yes, no := true, false
	fact, read := facts.Keys[spec.KeySpec.URI]
	access := facts.Access[spec.KeySpec]
	key := func() Finding {
		switch {
		case !read || fact.Err != nil:
			return found("key", nil, fmt.Sprintf("the key %s could not be read: %v", spec.KeySpec.URI, fact.Err), "")
		case fact.Key.State.Usable():
			return found("key", &yes, "the key is enabled", "")
		case fact.Key.State.Unusable():
			return found("key", &no, "the key is "+string(fact.Key.State), wordsOf(spec.KeySpec.Type).enable(spec.KeySpec, fact.Key))
		}
		return found("key", nil, "the key is in a "+string(fact.Key.State)+" state", "")
	}
	list := []Finding{key()}
	if read && fact.Err == nil {
		list = append(list, versions(spec, fact.Key))
	}
	if access.NoPrincipal { // what the key's policy says counts for nobody
		return append(list, found("principal", &no, access.Principal.Why, wordsOf(spec.KeySpec.Type).create(spec.KeySpec)))
	}
	for _, side := range []struct {
		check, good, fix string
		policy.Verdict
	}{
		{"key policy", fmt.Sprintf("%s may use the key", spec.KeySpec.AuthPrincipal), accessFix(spec.KeySpec), access.Key},
		{"principal", fmt.Sprintf("Cockroach Labs may act as %s", spec.KeySpec.AuthPrincipal), trustFix(spec.KeySpec, facts.Cluster), access.Principal},
	} {
		switch side.Decision {
		case policy.Allowed:
			list = append(list, found(side.check, &yes, side.good, ""))
		case policy.Denied:
			list = append(list, found(side.check, &no, side.Why, side.fix))
		default:
			why := side.Why
			if why == "" {
				why = "it was not read"
			}
			list = append(list, found(side.check, nil, why, ""))
		}
	}
	return list
}

// versions: older versions are needed for what was written under them.
func versions(spec cmek.RegionSpec, key cmek.Key) Finding {
	yes, no := true, false
	var lost, unclear []string
	for _, v := range key.Versions {
		switch says := v.Version.Short() + " is " + string(v.State); {
		case v.State.Unusable():
			lost = append(lost, says)
		case !v.State.Usable():
			unclear = append(unclear, says)
		}
	}
	f := Finding{Region: spec.Region, Check: "versions", OK: &yes, What: fmt.Sprintf("versions shown: %d, none of them lost", len(key.Versions))}
	switch {
	case len(key.Versions) == 0: // so it is if they could not be read
		f.OK, f.What = nil, "the KMS shows no version"
	case len(unclear) > 0 && len(lost) == 0:
		f.OK, f.What = nil, strings.Join(unclear, ", ")
	case len(lost) > 0:
		f.OK, f.What, f.Fix = &no, strings.Join(lost, ", "), wordsOf(spec.KeySpec.Type).enable(spec.KeySpec, cmek.Key{State: cmek.KeyDisabled})
	}
	return f
}

// ticket is the text of the support ticket.
func ticket(d Diagnosis, facts Facts) string {
	var b strings.Builder
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, format+"\n", args...) }
	say("Subject: Restore the CMEK of cluster %s (%s)", d.Cluster.Name, d.Cluster.ID)
	say("")
	say("Please restore the CMEK of this CockroachDB Cloud cluster.")
	say("Cluster: %s, id %s, cloud %s, account_id %s, state %s, operation_status %s", d.Cluster.Name, d.Cluster.ID, d.Cluster.CloudProvider,
		d.Cluster.AccountID, d.Cluster.State, d.Cluster.OperationStatus)
	for _, r := range d.CMEK.RegionInfos {
		say("Region %s: %s", r.Region, r.Status)
		for _, k := range r.KeyInfos {
			say("  key %s as %s: %s, updated %s%s", k.Spec.URI, k.Spec.AuthPrincipal, k.Status, k.UpdatedAt.UTC().Format(time.RFC3339), quoted(k.UserMessage))
		}
	}
	if len(d.Nodes) > 0 {
		say("Nodes that are not LIVE: %d", len(d.Nodes))
	}
	if o := facts.Item.Operation; o != nil && o.Kind == ledger.OperationRevoke {
		say("Timeline (UTC): requested by %s at %s: %s", o.By, o.Sent.UTC().Format(time.RFC3339), o.Reason)
		for _, s := range o.Timeline {
			say("  %s  %s", s.At.UTC().Format(time.RFC3339), s.CMEK)
		}
		if !o.Ended.IsZero() {
			say("  %s  %s", o.Ended.UTC().Format(time.RFC3339), o.Why)
		}
	}
	say("Conditions of the keys, read at %s:", facts.At.UTC().Format(time.RFC3339))
	for _, f := range d.Findings {
		say("  %s %s: %s", f.Region, f.Check, f.What)
	}
	return b.String()
}

func quoted(message string) string {
	if message == "" {
		return ""
	}
	return fmt.Sprintf(", %q", message)
}

// AwaitRestore watches until the CMEK reads ENABLED twice and every node is live, and files the evidence. It writes nothing to the Cloud
// API. If ctx ends before, it returns ErrInterrupted with what was read last.
func (f *Function) AwaitRestore(ctx context.Context, id, by string) (Diagnosis, error) {
	said := ""
	began := time.Now()
	var since time.Time
	var timeline []ledger.OperationSighting
	for {
		d, err := f.Diagnose(ctx, id)
		now := time.Now()
		why := "ENABLED and live, read once"
		switch {
		case err != nil:
			why, since = err.Error(), time.Time{}
		case !d.Healthy():
			says := []string{fmt.Sprintf("CMEK %s, %d nodes not live", statusOf(d.CMEK), len(d.Nodes))}
			for _, f := range d.Findings {
				if f.Check == checkNodes {
					says = append(says, strings.TrimSpace(f.Region+" "+f.What))
				}
			}
			why, since = strings.Join(says, ", "), time.Time{}
		case since.IsZero():
			since = now
		}
		if err == nil {
			timeline = sighted(timeline, d.Cluster, d.CMEK, now)
		}
		if why != said {
			said = why
			f.step("waiting", "%s", why)
		}
		if !since.IsZero() && now.Sub(since) >= f.Settings.Confirm {
			return d, f.restored(ctx, d, by, began, timeline)
		}
		select {
		case <-time.After(min(max(f.Settings.Poll, time.Since(began)/20), pollMax)):
		case <-ctx.Done():
			return d, ErrInterrupted
		}
	}
}

// Restoration is the record of a restored cluster, in the chain of its evidence.
type Restoration struct {
	Schema         string                     `json:"schema"`
	Number         int                        `json:"number"`
	PreviousSHA256 string                     `json:"previous_sha256"`
	ClusterID      string                     `json:"cluster_id"`
	ClusterName    string                     `json:"cluster_name"`
	By             string                     `json:"by"`
	WatchedSince   time.Time                  `json:"watched_since"`
	RestoredAt     time.Time                  `json:"restored_at"`
	Timeline       []ledger.OperationSighting `json:"timeline"`
	Conditions     []Finding                  `json:"conditions"`
}

// restored files the record of a cluster whose last operation is its revocation. A cluster that was not revoked by keyturn, or whose
// restore is on record, gets none.
func (f *Function) restored(ctx context.Context, d Diagnosis, by string, began time.Time, timeline []ledger.OperationSighting) error {
	now := time.Now()
	item, err := f.Ledger.UpdateCluster(ctx, d.Cluster.ID, func(item *ledger.Cluster) error {
		if o := item.Operation; o == nil || o.Kind != ledger.OperationRevoke || o.Open() || o.Why == whyRestored {
			return ledger.ErrUnchanged
		}
		o := *item.Operation
		o.Why = whyRestored
		item.Operation = &o
		record := Restoration{Schema: EvidenceSchema, ClusterID: item.ID, ClusterName: d.Cluster.Name, By: by, WatchedSince: began, RestoredAt: now,
			Timeline: timeline, Conditions: d.Findings}
		item.Link(now, "restore", func(number int, previous string) []byte {
			record.Number, record.PreviousSHA256 = number, previous
			data, err := json.MarshalIndent(record, "", "  ")
			if err != nil {
				return fmt.Appendf(nil, `{"schema":%q,"number":%d,"previous_sha256":%q,"error":%q}`, EvidenceSchema, number, previous, err)
			}
			return data
		})
		return nil
	})
	if err != nil {
		return err
	}
	return f.deliver(ctx, item)
}

// whyRestored ends the story of a revocation.
const whyRestored = "restored by Cockroach Labs' support"
