package lifecycle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

const (
	// PlanSchema names the shape of a plan.
	PlanSchema = "keyturn.plan/v1"
	// PlanLasts is how long a plan may be applied after it was made.
	PlanLasts = 15 * time.Minute

	// planningHold is how long the keys are held for a plan, appliedHold for a revocation.
	planningHold = 24 * time.Hour
	appliedHold  = 30 * 24 * time.Hour
	// mostHoldReason bounds the reason of a hold, in bytes: all holds are one item of the ledger.
	mostHoldReason = 500
)

// Plan is a revocation that an operator is to confirm: what was read, and what stops.
type Plan struct {
	Schema string               `json:"schema"`
	Kind   ledger.OperationKind `json:"kind"`
	// Made and Expires bound when it may be applied.
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
	By      string    `json:"by"`
	Reason  string    `json:"reason"`
	// Server is the base URL of the Cloud API that the facts are of.
	Server    string            `json:"server"`
	ClusterID string            `json:"cluster_id"`
	Cluster   string            `json:"cluster"`
	Waived    map[Hazard]string `json:"waived,omitempty"`
	// Stops says what stops when.
	Stops []string     `json:"stops"`
	Facts PlannedFacts `json:"facts"`
	// Digest is the hex SHA-256 of the plan without it.
	Digest string `json:"digest"`
}

// PlannedFacts are the facts that must not change between a plan and its application.
type PlannedFacts struct {
	State     string           `json:"state"`
	Operation string           `json:"operation_status"`
	Regions   []cmek.Region    `json:"regions"`
	CMEK      cmek.ClusterInfo `json:"cmek"`
	Nodes     []cmek.Node      `json:"nodes"`
	// Keys are states and versions, Access the judgements, by URI.
	Keys    map[string]string `json:"keys"`
	Access  map[string]string `json:"access"`
	Sharing []string          `json:"sharing,omitempty"`
	// Backups are the configured frequency and retention.
	Backups string `json:"backups"`
}

func plannedFacts(f Facts) PlannedFacts {
	p := PlannedFacts{State: f.Cluster.State, Operation: f.Cluster.OperationStatus, Regions: slices.Clone(f.Cluster.Regions), CMEK: arranged(f.CMEK),
		Nodes: slices.Clone(f.Nodes), Keys: map[string]string{}, Access: map[string]string{}, Sharing: f.Sharing, Backups: "not read"}
	slices.SortFunc(p.Regions, func(a, b cmek.Region) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(p.Nodes, func(a, b cmek.Node) int { return strings.Compare(a.Region+" "+a.Name, b.Region+" "+b.Name) })
	for uri, k := range f.Keys {
		p.Keys[string(uri)] = string(k.Key.State) + " " + k.Key.Version.String()
		if k.Err != nil {
			p.Keys[string(uri)] = "not read"
		}
	}
	for spec, a := range f.Access {
		p.Access[string(spec.URI)+" as "+string(spec.AuthPrincipal)] = a.Key.Decision.String() + ", " + a.Principal.Decision.String()
	}
	if f.BackupsErr == nil {
		p.Backups = fmt.Sprintf("every %s, kept %s", f.Backups.Frequency, f.Backups.Retention)
	}
	return p
}

// arranged is the CMEK in one order, and without what Cockroach Labs says in free text.
func arranged(info cmek.ClusterInfo) cmek.ClusterInfo {
	info.RegionInfos = slices.Clone(info.RegionInfos)
	slices.SortFunc(info.RegionInfos, func(a, b cmek.RegionInfo) int { return strings.Compare(a.Region, b.Region) })
	for i := range info.RegionInfos {
		keys := slices.Clone(info.RegionInfos[i].KeyInfos)
		for j := range keys {
			keys[j].UserMessage = ""
		}
		slices.SortFunc(keys, func(a, b cmek.KeyInfo) int {
			if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
				return c
			}
			return strings.Compare(string(a.Spec.URI), string(b.Spec.URI))
		})
		info.RegionInfos[i].KeyInfos = keys
	}
	return info
}

// changes names what differs.
func (p PlannedFacts) changes(now PlannedFacts) (names []string) {
	for _, part := range []struct {
		name     string
		was, now any
	}{
		{"the cluster's state", p.State, now.State},
		{"the cluster's operation status", p.Operation, now.Operation},
		{"the list of regions", p.Regions, now.Regions},
		{"the CMEK", p.CMEK, now.CMEK},
		{"the nodes", p.Nodes, now.Nodes},
		{"a key", p.Keys, now.Keys},
		{"the access to a key", p.Access, now.Access},
		{"the list of other clusters of its keys", p.Sharing, now.Sharing},
		{"the configuration of backups", p.Backups, now.Backups},
	} {
		if !sameJSON(part.was, part.now) {
			names = append(names, part.name)
		}
	}
	return names
}

func sameJSON(a, b any) bool {
	was, err := json.Marshal(a)
	is, err2 := json.Marshal(b)
	return err == nil && err2 == nil && bytes.Equal(was, is)
}

// PlanRevocation reads what a revocation rests on and puts the keys on hold, so that nothing of keyturn's touches them while their access
// is taken away. It sends nothing. With refusals there is no plan.
func (f *Function) PlanRevocation(ctx context.Context, r Request, server string, dry bool) (Plan, []Refusal, error) {
	r.Kind = ledger.OperationRevoke
	facts, found, err := f.Check(ctx, r)
	if err != nil {
		return Plan{}, nil, err
	}
	waivable := !slices.ContainsFunc(found, func(refusal Refusal) bool { return refusal.Waiver == "" })
	if waivable && !dry {
		if err := f.hold(ctx, facts, r, planningHold); err != nil {
			return Plan{}, nil, err
		}
	}
	if len(found) > 0 {
		return Plan{}, found, nil
	}
	p := Plan{
		Schema: PlanSchema, Kind: r.Kind, Made: facts.At.UTC(), Expires: facts.At.Add(PlanLasts).UTC(), By: r.By, Reason: r.Reason, Server: server,
		ClusterID: facts.Cluster.ID, Cluster: facts.Cluster.Name, Waived: r.Waived, Stops: stops(facts), Facts: plannedFacts(facts),
	}
	p.Digest, err = p.digest()
	return p, nil, err
}

func (p Plan) digest() (string, error) {
	p.Digest = ""
	data, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("encode plan: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// ParsePlan reads a plan, and refuses one that was changed.
func ParsePlan(data []byte) (Plan, error) {
	var p Plan
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return Plan{}, fmt.Errorf("read plan: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Plan{}, errors.New("read plan: something follows it in the file; make a new one")
	}
	if p.Schema != PlanSchema || p.Kind != ledger.OperationRevoke {
		return Plan{}, fmt.Errorf("read plan: it is of the schema %q and the kind %q; want %q and %q", p.Schema, p.Kind, PlanSchema, ledger.OperationRevoke)
	}
	if sum, err := p.digest(); err != nil || sum != p.Digest {
		return Plan{}, errors.New("read plan: it was changed after it was made; make a new one")
	}
	return p, nil
}

// stops says what stops when, for people.
func stops(f Facts) []string {
	nodes := map[string]int{}
	for _, n := range f.Nodes {
		nodes[n.Region]++
	}
	var lines []string
	for _, region := range sorted(nodes) {
		lines = append(lines, fmt.Sprintf("region %s: %d nodes run until they restart, on the keys in their memory; a restart then fails", region, nodes[region]))
	}
	lines = append(lines, "at once: no rotation, no new region and no key change is possible any more")
	switch {
	case f.BackupsErr != nil:
		lines = append(lines, "backups: not known, they could not be read")
	default:
		newest := "none of late"
		if !f.Backups.Newest.IsZero() {
			newest = f.Backups.Newest.UTC().Format(time.RFC3339)
		}
		lines = append(lines, fmt.Sprintf("backups: the newest is %s; none is taken after the access is gone, and each needs the key that it was encrypted with for the %d days that it is kept",
			newest, (f.Backups.Retention+24*time.Hour-1)/(24*time.Hour)))
	}
	return append(lines, "only Cockroach Labs' support can bring the cluster back, and only while its keys exist")
}

// hold puts the keys of the cluster on hold. One that stands longer is left as it is.
func (f *Function) hold(ctx context.Context, facts Facts, r Request, length time.Duration) error {
	now := time.Now()
	for _, spec := range inForce(facts.CMEK) {
		held, ok, err := f.Ledger.HoldOnKey(ctx, spec.KeySpec.URI, now)
		if err != nil {
			return err
		}
		until := now.Add(length)
		if ok && !held.Until.Before(until.Add(-time.Hour)) {
			continue
		}
		reason := fmt.Sprintf("revocation of cluster %s: %s", facts.Cluster.Name, r.Reason)
		if _, err := f.Ledger.Hold(ctx, cmek.Hold{Key: spec.KeySpec.URI, Since: now, Until: until, By: r.By, Reason: strings.ToValidUTF8(reason[:min(len(reason), mostHoldReason)], "")}); err != nil {
			return err
		}
		f.step("on hold", "key %s until %s", spec.KeySpec.URI, until.UTC().Format(time.RFC3339))
	}
	return nil
}

// Confirmation is what makes a plan the order of a person.
type Confirmation struct {
	// Typed is the cluster's name as it was typed at a terminal.
	Typed string
	// By is who typed it, Server the Cloud API that the request would go to.
	By, Server string
}

// CheckPlan says what stands against a plan. It sends nothing and writes nothing.
func (f *Function) CheckPlan(ctx context.Context, p Plan, c Confirmation) ([]Refusal, error) {
	if refused := p.confirmed(c, time.Now()); len(refused) > 0 {
		return refused, nil
	}
	_, found, err := f.Check(ctx, p.request(c))
	return found, err
}

func (p Plan) request(c Confirmation) Request {
	return Request{Kind: p.Kind, ClusterID: p.ClusterID, By: c.By, Reason: p.Reason, Waived: maps.Clone(p.Waived), planned: &p.Facts}
}

// Apply carries a plan out. A plan that is too old, of another server, with another name typed, or whose facts have changed is refused,
// and no request leaves. A revocation that was sent before is watched to its end.
func (f *Function) Apply(ctx context.Context, p Plan, c Confirmation) (Result, error) {
	r := p.request(c)
	item, err := f.Ledger.Cluster(ctx, p.ClusterID)
	if err != nil {
		return Result{}, err
	}
	if item.Operation.Open() && !item.Operation.Refused() && sameRequest(*item.Operation, r) {
		return f.Run(ctx, r) // which only watches it
	}
	if refused := p.confirmed(c, time.Now()); len(refused) > 0 {
		return Result{Refusals: refused}, nil
	}
	facts, found, err := f.Check(ctx, r)
	if err != nil || len(found) > 0 {
		return Result{Cluster: facts.Cluster, Refusals: found}, err
	}
	if err := f.hold(ctx, facts, r, appliedHold); err != nil {
		return Result{}, err
	}
	return f.Run(ctx, r)
}

// confirmed says why a plan is not applied as it was confirmed.
func (p Plan) confirmed(c Confirmation, now time.Time) (found []Refusal) {
	refuse := func(row, fix, format string, args ...any) {
		found = append(found, Refusal{Row: row, What: fmt.Sprintf(format, args...), Fix: fix})
	}
	if c.Typed != p.Cluster || c.Typed == "" {
		refuse("name", "type the name of the cluster exactly", "the name typed is %q, and the plan is for %q", c.Typed, p.Cluster)
	}
	if now.Before(p.Made.Add(-time.Minute)) || !now.Before(p.Made.Add(PlanLasts)) || !p.Expires.Equal(p.Made.Add(PlanLasts)) {
		refuse("plan-expired", "make a new plan", "the plan is of %s and may be applied until %s", p.Made.Format(time.RFC3339), p.Expires.Format(time.RFC3339))
	}
	if c.Server != p.Server {
		refuse("plan-server", "apply it to the Cloud API that it was made for", "the plan is for %s, and this command is for %s", p.Server, c.Server)
	}
	return found
}
