package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

func (p *program) planCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "plan [CLUSTER]",
		Short: "Say what following would do, and why; send nothing",
		Long: `Say what following would do, and why: for each region, up to date, waiting, blocked, or due for a PUT,
and then which PUTs would leave in which order, past settle times. The Cloud API and the KMS are read
again; nothing is written and no PUT is sent.

The plan is made by the function that follows, and heeds the ledger (what is done, what is open, which
cluster goes first). Without --ledger it judges by what it reads now alone.`,
		Example: `  keyturn plan
  keyturn plan orders --ledger dynamodb://keyturn?region=us-east-1
  keyturn plan --mode follow -o json | jq '.sends[]'`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: p.completeCluster,
		RunE: func(c *cobra.Command, args []string) error {
			return p.plan(c.Context(), args)
		},
	}
	p.ledgerFlag(c)
	p.serverFlag(c)
	p.variable(c, "mode", "KEYTURN_MODE", "`observe` or follow: the mode to plan for")
	p.outputFlag(c)
	return c
}

func (p *program) plan(ctx context.Context, args []string) (err error) {
	w, err := p.wire(ctx, needs{reads: true}, p.err)
	if err != nil {
		return err
	}
	defer w.closeInto(&err)
	var ids []string
	if len(args) > 0 {
		id, err := w.clusterID(ctx, args[0])
		if err != nil {
			return err
		}
		ids = []string{id}
	}
	preview, err := w.Plan(ctx, ids...)
	if err != nil {
		return err
	}
	pause, err := w.Ledger.Paused(ctx)
	if err != nil {
		return err
	}
	report := reportOf(preview, w.settings, pause)
	if p.json {
		err = printJSON(p.out, report)
	} else {
		p.printPlan(report)
	}
	var problems []error
	for _, plan := range preview.Clusters {
		problems = append(problems, plan.Err)
	}
	err = errors.Join(append(problems, err)...)
	if err == nil && len(report.NeedsPerson) > 0 {
		return errNeedsPerson
	}
	return err
}

// clusterIDForm is what the Cloud API's cluster ids look like.
var clusterIDForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// clusterID is the id of a cluster named by id or name, which the ledger need not know.
func (w *wiring) clusterID(ctx context.Context, wanted string) (string, error) {
	if clusterIDForm.MatchString(wanted) {
		return wanted, nil
	}
	known, err := w.Ledger.Clusters(ctx)
	if err != nil {
		return "", err
	}
	if c, err := findCluster(known, wanted); err == nil {
		return c.ID, nil
	}
	const mostPages = 1000
	page := ""
	for range mostPages {
		clusters, next, err := w.Cloud.ClusterPage(ctx, page)
		if err != nil {
			return "", fmt.Errorf("list clusters: %w", err)
		}
		for _, c := range clusters {
			if c.Name == wanted && c.State != cmek.StateDeleted { // A deleted cluster may have had the name before.
				return c.ID, nil
			}
		}
		if next == "" {
			break
		}
		page = next
	}
	return "", fmt.Errorf("the API key sees no cluster %q; check the name, or use the cluster's id", wanted)
}

// planReport is the output of "keyturn plan -o json".
type planReport struct {
	Mode  rotation.Mode `json:"mode"`
	Pause *ledger.Pause `json:"pause,omitempty"`
	// PUTs is the number of PUTs that would be sent, now and after settle times; Sends are the regions that they would carry, in
	// order.
	PUTs     int           `json:"puts"`
	Sends    []sendPlan    `json:"sends"`
	Clusters []clusterPlan `json:"clusters"`
	// Others counts the clusters whose keys another installation follows.
	Others      int      `json:"another_installations,omitempty"`
	NeedsPerson []string `json:"needs_person,omitempty"`

	needs []need
}

// sendPlan is one region of a PUT that would be sent. PUTs are numbered in the order in which they would leave.
type sendPlan struct {
	PUT     int             `json:"put"`
	ID      string          `json:"cluster_id"`
	Name    string          `json:"cluster,omitempty"`
	Region  string          `json:"region"`
	Key     cmek.KeyURI     `json:"key"`
	Version cmek.KeyVersion `json:"version,omitzero"`
	// WaitsFor says what it waits for first; "" if it would leave at once.
	WaitsFor string `json:"waits_for,omitempty"`
}

type clusterPlan struct {
	ID      string       `json:"id"`
	Name    string       `json:"name,omitempty"`
	Regions []regionPlan `json:"regions"`
	// Error is why the cluster could not be read.
	Error string `json:"error,omitempty"`
	// Others is true for a cluster whose keys another installation follows.
	Others bool `json:"another_installations,omitempty"`
	// NotShown is since when and why the Cloud API no longer shows the cluster or its CMEK; nil if it does.
	NotShown *ledger.Unread `json:"not_shown,omitempty"`
}

type regionPlan struct {
	Region  string          `json:"region"`
	Key     cmek.KeyURI     `json:"key,omitempty"`
	Version cmek.KeyVersion `json:"version,omitzero"`
	Act     string          `json:"act"`
	Why     string          `json:"why"`
	// Until is when follow-through would poll again; zero for when a sweep or an event says so.
	Until time.Time `json:"until,omitzero"`
}

// words are the acts as an operator would put them.
var words = map[rotation.Act]string{
	rotation.Adopt:    "note as up to date",
	rotation.Open:     "open work",
	rotation.Drop:     "drop the work",
	rotation.Send:     "send a PUT",
	rotation.Announce: "would send a PUT",
	rotation.Complete: "note as done",
	rotation.Fail:     "note as failed",
}

func reportOf(preview rotation.Preview, s settings, pause ledger.Pause) planReport {
	report := planReport{Mode: s.Rotation.Mode, Clusters: []clusterPlan{}, Sends: []sendPlan{}}
	if pause.Active() {
		report.Pause = &pause
	}
	for _, p := range preview.Clusters {
		c := clusterPlan{ID: p.Item.ID, Name: p.Item.Cluster.Name, Regions: []regionPlan{}}
		if c.Name == "" {
			c.Name = p.Facts.Cluster.Name
		}
		if p.Err != nil {
			c.Error = oneLine(p.Err)
		}
		if p.Others {
			c.Others = true
			report.Others++
		}
		if !p.Item.Unread.IsZero() {
			c.NotShown = &p.Item.Unread
		}
		for _, v := range p.Plan.Verdicts {
			act, ok := words[v.Act]
			switch {
			case v.Act == rotation.Wait && v.Until.IsZero():
				act = "nothing for now"
			case !ok:
				act = string(v.Act)
			}
			c.Regions = append(c.Regions, regionPlan{v.Region, v.Spec.URI, v.Version, act, v.Why, v.Until})
		}
		report.Clusters = append(report.Clusters, c)
		report.needs = append(report.needs, urgentInPlan(p)...)
	}
	for _, send := range preview.Sends {
		report.PUTs = max(report.PUTs, send.Rank)
		report.Sends = append(report.Sends, sendPlan{send.Rank, send.Cluster.ID, send.Cluster.Cluster.Name, send.Region, send.Spec.URI, send.Version, send.Why})
	}
	report.NeedsPerson = whats(report.needs)
	return report
}

// urgentInPlan lists what needs attention: work that is or would be blocked or failed, keys that a cluster needs and
// cannot use, and open alarms that page somebody.
func urgentInPlan(p rotation.ClusterPlan) []need {
	var found []need
	for _, v := range p.Plan.Verdicts {
		fact := p.Facts.Keys[v.Spec.URI]
		if v.Act == rotation.Block || v.Act == rotation.Fail || fact.Err == nil && fact.Key.State.Unusable() {
			found = append(found, need{fmt.Sprintf("%s %s: %s", name(p.Item), v.Region, v.Why), rotationRunbook})
		}
	}
	alarms := paging(p.Item.Alarms)
	if u := p.Item.Unread; !u.IsZero() && len(alarms) == 0 { // found now; the next sweep reports it
		found = append(found, need{fmt.Sprintf("%s: %s", name(p.Item), u.Why), rotationRunbook + "#cluster-not-shown"})
	}
	return append(found, alarms...)
}

func (p *program) printPlan(r planReport) {
	now, c := time.Now(), palette(p.color())
	t := newTable("cluster", "region", "key", "current version", "what to do", "why")
	for _, cluster := range r.Clusters {
		name := printable(cluster.Name)
		if cluster.Error != "" {
			t.AppendRow([]any{name, "", "", "", c.red("unreadable"), printable(cluster.Error)})
			continue
		}
		if cluster.Others {
			t.AppendRow([]any{name, "–", "–", "–", "nothing", "another installation's: its keys are in another cloud's KMS"})
			continue
		}
		if u := cluster.NotShown; u != nil {
			t.AppendRow([]any{name, "–", "–", "–", c.red(stageNotShown), fmt.Sprintf("%s, since %s", printable(u.Why), when(u.Since, now))})
			continue
		}
		if len(cluster.Regions) == 0 {
			t.AppendRow([]any{name, "–", "–", "–", "nothing", "the cluster has no CMEK"})
		}
		for i, region := range cluster.Regions {
			if i > 0 {
				name = ""
			}
			why := printable(region.Why)
			if region.Until.After(now.Add(time.Second)) {
				why += ", next poll " + when(region.Until, now)
			}
			t.AppendRow([]any{name, region.Region, shortKey(region.Key), region.Version.Short(), p.colorAct(region.Act), why})
		}
	}
	printTable(p.out, t)
	tell(p.out, "\n")
	if r.Others > 0 {
		tell(p.out, "%s of another installation: nothing is read or sent there.\n", count(r.Others, "cluster"))
	}
	switch {
	case r.Pause != nil:
		tell(p.out, "Paused %s. No PUT would be sent.\n", describePause(*r.Pause, now))
	case r.Mode == rotation.Observe:
		tell(p.out, "keyturn observes: it sends no PUT until KEYTURN_MODE=follow. Nothing was sent or written now.\n")
	case r.PUTs == 0:
		tell(p.out, "No PUT would be sent. Nothing was sent or written.\n")
	default:
		tell(p.out, "%s would be sent, in this order:\n", count(r.PUTs, "PUT"))
		for _, s := range r.Sends {
			why := ""
			if s.WaitsFor != "" {
				why = "   (now: " + printable(s.WaitsFor) + ")"
			}
			tell(p.out, "%3d. %s %s, key %s, version %s%s\n", s.PUT, printable(s.Name), s.Region, shortKey(s.Key), s.Version.Short(), why)
		}
		tell(p.out, "Nothing was sent or written.\n")
	}
	printUrgent(p.out, c, r.needs)
}

func (p *program) colorAct(act string) string {
	c := palette(p.color())
	switch act {
	case string(rotation.UpToDate), words[rotation.Adopt], words[rotation.Complete]:
		return c.green(act)
	case string(rotation.Block), words[rotation.Fail]:
		return c.red(act)
	case words[rotation.Send], words[rotation.Announce], words[rotation.Open]:
		return c.yellow(act)
	}
	return act
}
