// Package live has the commands that show an installation's fleet and act on it: status, alerts, plan, follow, hold, release, pause, resume,
// retry and forget.
package live

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/progress"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Commands makes the commands of this package. Their flags set what is embedded.
type Commands struct{ *installation.Program }

// StatusCommand is "keyturn status".
func (p Commands) StatusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "status [CLUSTER]",
		Short: "Show what the ledger knows: regions, open work, incidents, the last sweep",
		Long: `Show what the ledger knows: for each region the key version its store key is encrypted under,
open work and what it waits for, open incidents, what is paused or on hold, and the last sweep and the
next one. A region's line shows the worst of it: "at risk" where an incident is open about its key.

Only the ledger is read, so the answer is as old as the last poll; "keyturn plan" reads afresh. Clusters
whose keys another installation follows are not in the ledger; the sweep counts them. With the name or id
of a cluster, all about that one, and each incident with its recovery steps and runbook.

With --deployment or --ledger several times all installations are shown as one fleet, as where there is one on
each cloud: each line names its installation. One that cannot be read is said, and exits with 3.`,
		Example: `  keyturn status --deployment keyturn --deployment acme-keyturn/keyturn
  keyturn status --ledger file:.keyturn/demo/ledger.db
  keyturn status orders
  keyturn status -o json | jq '.clusters[].regions[] | select(.work)'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: p.CompleteCluster,
		RunE: func(c *cobra.Command, args []string) error {
			return p.Watched(c.Context(), func(ctx context.Context) error {
				if len(p.Each()) > 1 {
					return p.fleetStatus(ctx, args)
				}
				return p.status(ctx, args)
			})
		},
	}
	p.LedgerFlag(c)
	p.OutputFlag(c)
	p.WatchFlag(c)
	return c
}

func (p Commands) status(ctx context.Context, args []string) (err error) {
	w, err := p.Open(ctx, installation.Needs{Ledger: true}, p.Err)
	if err != nil {
		return err
	}
	defer w.CloseInto(&err)
	s, err := readStatus(ctx, w, args)
	if err != nil {
		return err
	}
	switch {
	case p.JSON:
		err = p.PrintJSON(s)
	case len(args) > 0:
		p.printCluster(s.Clusters[0])
		p.printOpen(s)
	default:
		p.printStatus(s)
	}
	if err == nil && len(s.NeedsPerson) > 0 {
		return terminal.ErrNeedsPerson
	}
	return err
}

// Status is what the ledger knows; its JSON is the output of "keyturn status -o json".
type Status struct {
	Ledger string `json:"ledger"`
	// Pause is nil unless following is paused.
	Pause *ledger.Pause `json:"pause,omitempty"`
	// Sweep is the walk under way or the last one; Worker holds the lease now, "" if nobody does.
	Sweep ledger.Sweep `json:"sweep"`
	// NotShown counts the clusters that the Cloud API no longer shows.
	NotShown int    `json:"not_shown,omitempty"`
	Worker   string `json:"worker,omitempty"`
	// NextSweep is when the next sweep is due; zero before the first one.
	NextSweep time.Time `json:"next_sweep,omitzero"`
	// Incidents are what "keyturn alerts" lists; of one cluster, what concerns it.
	Incidents []OpenIncident  `json:"incidents"`
	Clusters  []clusterStatus `json:"clusters"`
	// NeedsPerson says, a line each, what needs attention.
	NeedsPerson []string `json:"needs_person,omitempty"`
	// Holds are the holds that stand.
	Holds cmek.Holds `json:"holds,omitempty"`

	// needs are what NeedsPerson says, with the runbooks.
	needs []need
}

type clusterStatus struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	State    string    `json:"state,omitempty"`
	SeenAt   time.Time `json:"seen_at,omitzero"`
	NextLook time.Time `json:"next_look,omitzero"`
	// NotShown is since when and why the Cloud API no longer shows the cluster or its CMEK; nil if it does.
	NotShown *ledger.Unread   `json:"not_shown,omitempty"`
	Regions  []regionStatus   `json:"regions"`
	Dropped  []ledger.Dropped `json:"dropped,omitempty"`
	// Operation is the last request of a command that changes the CMEK, without its baseline; nil if there was none.
	Operation *ledger.Operation `json:"operation,omitempty"`
	// EvidenceRecords counts the records in the cluster's chain.
	EvidenceRecords int `json:"evidence_records"`
	// Undelivered counts alerts and records that are still to be delivered.
	Undelivered int `json:"undelivered,omitempty"`
}

// regionStatus is one region, or one piece of work of it if several are open.
type regionStatus struct {
	Region string `json:"region"`
	// Status is the Cloud API's, as last read.
	Status cmek.Status `json:"status,omitempty"`
	Key    cmek.KeyURI `json:"key,omitempty"`
	// Done is the last key version that the store key is known to be encrypted under, nil if none is known.
	Done *ledger.Done `json:"done,omitempty"`
	// Work is nil if nothing is open; Stage is then where it stands, in one word.
	Work  *ledger.Work `json:"work,omitempty"`
	Stage string       `json:"stage,omitempty"`
	// Incident is the id of the worst incident about the region's key or the region, "" if there is none; Hold is the hold that
	// keeps keyturn away.
	Incident string     `json:"incident,omitempty"`
	Hold     *cmek.Hold `json:"hold,omitempty"`
	// Pin is the alias that the region follows, and how both stand; nil if it follows none.
	Pin *ledger.Pinned `json:"pin,omitempty"`
	// WriteBack are the addresses of Terraform's resources whose configuration is to name Key, because an order or a pin moved the region to
	// it within the last 30 days. Whether that was done keyturn does not know.
	WriteBack []string `json:"write_back,omitempty"`

	risk *OpenIncident
}

// sweepOverdue is how long no sweep may have ended before what the ledger knows is called out of date: three sweeps.
const sweepOverdue = 45 * time.Minute

// withRisks adds to each region what is worse than what its last re-encryption says. The incidents are in the order of their urgency.
func (s clusterStatus) withRisks(incidents []OpenIncident, holds cmek.Holds) clusterStatus {
	for i := range s.Regions {
		r := &s.Regions[i]
		for _, incident := range incidents {
			if r.Incident == "" && incident.pages() && incident.about(s.ID, *r) {
				r.Incident, r.risk = incident.ID, &incident
			}
		}
		if h, held := holds.Find(s.ID, r.Key, time.Now()); held {
			r.Hold = &h
		}
	}
	return s
}

func readStatus(ctx context.Context, w *installation.Installation, args []string) (Status, error) {
	var v progress.View
	if err := v.Read(ctx, w.Ledger); err != nil {
		return Status{}, err
	}
	clusters, worker, holds := v.Clusters, v.Worker, v.Holds
	incidents, err := openIncidents(ctx, w.Ledger)
	if err != nil {
		return Status{}, err
	}
	if len(args) > 0 {
		c, err := installation.FindCluster(clusters, args[0])
		if err != nil {
			return Status{}, err
		}
		clusters = []*ledger.Cluster{c}
		incidents = slices.DeleteFunc(incidents, func(i OpenIncident) bool { return !i.concerns(c.ID) })
	}
	now := time.Now()
	if holds = holds.Standing(now); len(args) > 0 {
		holds = slices.DeleteFunc(holds, func(h cmek.Hold) bool {
			return h.ClusterID != clusters[0].ID && !slices.ContainsFunc(installation.KeysOf(clusters), h.Key.SameKey)
		})
	}
	slices.SortFunc(clusters, func(a, b *ledger.Cluster) int {
		return cmp.Or(cmp.Compare(a.Cluster.Name, b.Cluster.Name), cmp.Compare(a.ID, b.ID))
	})
	s := Status{
		Ledger: w.Settings.Ledger.String(), Sweep: worker.Sweep, Clusters: []clusterStatus{}, needs: urgent(clusters), Incidents: incidents, Holds: holds,
	}
	if !worker.Sweep.Began.IsZero() {
		s.NextSweep = worker.Sweep.Began.Add(w.Settings.Rotation.SweepEvery)
		if since := now.Sub(cmp.Or(worker.Sweep.Ended, worker.Sweep.Began)); since > sweepOverdue {
			s.needs = append(s.needs, need{fmt.Sprintf("No sweep has ended for %s: what is shown may be out of date", since.Round(time.Minute)), rotationRunbook + "#sweep-incomplete"})
		}
	}
	for _, i := range incidents {
		if i.pages() {
			s.needs = append(s.needs, need{i.Alert.Headline(), i.Alert.Runbook})
		}
	}
	s.NeedsPerson = whats(s.needs)
	if v.Pause.Active() {
		s.Pause = &v.Pause
	}
	if now.Before(worker.Until) {
		s.Worker = worker.Holder
	}
	for _, c := range clusters {
		s.Clusters = append(s.Clusters, statusOf(c).withRisks(incidents, holds))
		if !c.Unread.IsZero() {
			s.NotShown++
		}
	}
	return s, nil
}

func statusOf(c *ledger.Cluster) clusterStatus {
	s := clusterStatus{
		ID: c.ID, Name: c.Cluster.Name, State: c.Cluster.State, SeenAt: c.SeenAt, NextLook: c.NextLook,
		Regions: []regionStatus{}, Dropped: c.Dropped, EvidenceRecords: c.Chain.Count, Undelivered: len(c.Messages),
	}
	if !c.Unread.IsZero() {
		s.NotShown = &c.Unread
	}
	if c.Operation != nil {
		last := *c.Operation
		last.Baseline = nil
		s.Operation = &last
	}
	shown := map[string]bool{}
	for _, info := range c.CMEK.RegionInfos {
		shown[info.Region] = true
		s.Regions = append(s.Regions, regionsOf(c, info)...)
	}
	for _, w := range c.Work {
		if !shown[w.Region] { // the region is gone from the inventory, its work is not settled yet
			shown[w.Region] = true
			s.Regions = append(s.Regions, regionsOf(c, cmek.RegionInfo{Region: w.Region})...)
		}
	}
	return s
}

// regionsOf has one entry for each piece of the region's open work, or one if there is none.
func regionsOf(c *ledger.Cluster, info cmek.RegionInfo) []regionStatus {
	r := regionStatus{Region: info.Region, Status: info.Status}
	current, _ := info.Current()
	r.Key = current.Spec.URI
	if done, ok := c.DoneIn(info.Region); ok {
		r.Done = &done
		r.Key = cmp.Or(r.Key, done.Key)
	}
	if pinned, ok := c.PinnedIn(info.Region); ok {
		r.Pin = &pinned
	}
	if last, moved := c.LastMove(info.Region); moved && last.To == r.Key && time.Since(last.At) < 30*24*time.Hour {
		r.WriteBack = rotation.Addresses(last.Terraform)
	}
	var regions []regionStatus
	for _, w := range c.Work {
		if w.Region == info.Region {
			open := r
			open.Key, open.Work, open.Stage = w.Key, &w, stage(w)
			regions = append(regions, open)
		}
	}
	if len(regions) == 0 {
		return []regionStatus{r}
	}
	return regions
}

// stage is where a piece of open work stands: its state, or what was last seen of its request.
func stage(w ledger.Work) string {
	if w.State != ledger.Requested {
		return string(w.State)
	}
	if !w.Request.StuckSince.IsZero() {
		return progress.StageStuck
	}
	for i := len(w.Request.Timeline) - 1; i >= 0; i-- {
		if seen := w.Request.Timeline[i].Region; seen != "" {
			return string(seen)
		}
	}
	return progress.StageRequested
}

// need is something that needs attention, and where to read on, which may be "".
type need struct{ what, runbook string }

// whats are the needs without their runbooks; nil if there are none.
func whats(needs []need) (found []string) {
	for _, n := range needs {
		found = append(found, n.what)
	}
	return found
}

// rotationRunbook is where rotation's runbook has a section for each alert.
const rotationRunbook = "functions/rotation/README.md"

// urgent lists the work that needs attention: what is blocked, failed or stuck, and clusters that are not shown.
func urgent(clusters []*ledger.Cluster) []need {
	var found []need
	for _, c := range clusters {
		for _, w := range c.Work {
			add := func(is, section string) {
				found = append(found, need{fmt.Sprintf("%s %s %s: %s", terminal.ClusterName(c), w.Region, is, w.Reason), rotationRunbook + section})
			}
			switch {
			case w.State == ledger.Blocked:
				add("is blocked", "#follow-through-blocked")
			case w.Failed > 0:
				add("failed", "#rotation-failed")
			case w.Request != nil && !w.Request.StuckSince.IsZero():
				add("is stuck", "#rotation-stuck")
			}
		}
		if len(paging(c.Alarms)) == 0 && !c.Unread.IsZero() { // its alert comes when a sweep could have said that it is deleted
			found = append(found, need{fmt.Sprintf("Cluster %s: %s", terminal.ClusterName(c), c.Unread.Why), rotationRunbook + "#cluster-not-shown"})
		}
	}
	return found
}

func paging(alarms []ledger.Alarm) []need {
	var found []need
	for _, a := range alarms {
		if a.Alert.Severity.AtLeast(alert.High) {
			found = append(found, need{a.Alert.Headline(), a.Alert.Runbook})
		}
	}
	return found
}
