package live

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/progress"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// PlanCommand is "keyturn plan".
func (p Commands) PlanCommand() *cobra.Command {
	var f planFilter
	var fresh, detailed bool
	c := &cobra.Command{
		Use:   "plan [CLUSTER…]",
		Short: "Show what following would do, and why; send nothing",
		Long: `Show what following would do, and why: for each region, up to date, waiting, blocked, or due for a PUT,
and then which PUTs would leave in which order, past settle times. Nothing is written and no PUT is sent.

The plan is made by the function that follows, and uses the ledger (what is done, what is open, which
cluster goes first). Clusters are as the last complete sweep read them, if that was within three sweeps,
and its age is shown; --fresh reads every cluster again, at the request rate, and shows rows as they
come. Without a ledger all is read. Keys are read in any case. Ctrl-C ends the reading and shows the plan
for what was read.

It exits with 3 if something needs attention or could not be read; with --detailed-exitcode, with 5 if
nothing does and a PUT is due.`,
		Example: `  keyturn plan
  keyturn plan orders payments --fresh
  keyturn plan --only due,held --label env=prod
  keyturn plan --mode follow -o json | jq '.sends[]'`,
		ValidArgsFunction: p.CompleteClusters,
		RunE: func(c *cobra.Command, args []string) error {
			f.clusters = append(f.clusters, args...)
			return p.plan(c.Context(), f, fresh, detailed)
		},
	}
	f.flags(c)
	c.Flags().BoolVar(&fresh, "fresh", false, "read every cluster again")
	c.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 5 if a PUT is due")
	p.LedgerFlag(c)
	p.ServerFlag(c)
	p.Variable(c, "mode", "KEYTURN_MODE", "`observe` or follow: the mode to plan for")
	p.OutputFlag(c)
	return c
}

func (p Commands) plan(ctx context.Context, f planFilter, fresh, detailed bool) (err error) {
	w, err := p.Open(ctx, installation.Needs{Reads: true}, p.Err)
	if err != nil {
		return err
	}
	defer w.CloseInto(&err)
	request := rotation.Planning{Fresh: fresh}
	for _, wanted := range f.clusters {
		id, err := clusterID(ctx, w, wanted)
		if err != nil {
			return err
		}
		request.Clusters = append(request.Clusters, id)
	}
	table := p.newPlanTable(f)
	request.Seen = p.progressOf(ctx, table)
	preview, unlisted := w.Plan(ctx, request)
	if unlisted != nil && preview.Read == 0 {
		return unlisted
	}
	report := reportOf(preview, w.Settings, f)
	if p.JSON {
		if err := p.PrintJSON(report); err != nil {
			return err
		}
	} else {
		p.printPlan(report, table)
	}
	switch {
	case unlisted != nil:
		return fmt.Errorf("the plan is about the %s read: %w", terminal.Count(report.Read, "cluster"), unlisted)
	case report.Partial:
		return fmt.Errorf("interrupted: %d of %s were read, and the plan is about these", report.Read, terminal.Count(report.Of, "cluster"))
	case report.nothingRead():
		return fmt.Errorf("no cluster could be read: %s", strings.Join(report.NeedsPerson, "; "))
	case len(report.NeedsPerson) > 0:
		return terminal.ErrNeedsPerson
	case detailed && report.due():
		return terminal.ErrDue
	}
	return nil
}

// planFilter is what a plan is shown of.
type planFilter struct {
	// clusters are names or ids, keys any form that a key is known by, labels NAME=VALUE.
	clusters, keys, regions, labels []string
	only                            []string
}

// What --only selects.
const (
	onlyDue        = "due"
	onlyHeld       = "held"
	onlyBlocked    = "blocked"
	onlyUnreadable = "unreadable"
)

func (f *planFilter) flags(c *cobra.Command) {
	c.Flags().StringSliceVar(&f.clusters, "cluster", nil, "only this cluster, by `name` or id")
	c.Flags().StringSliceVar(&f.keys, "key", nil, "only what uses this key, by `ARN`, id or short id")
	c.Flags().StringSliceVar(&f.regions, "region", nil, "only this `region` of the clusters")
	c.Flags().Func("label", "only clusters with this `NAME=VALUE`", func(value string) error {
		if name, _, found := strings.Cut(value, "="); name == "" || !found {
			return errors.New("want NAME=VALUE")
		}
		f.labels = append(f.labels, value)
		return nil
	})
	choices := []string{onlyDue, onlyHeld, onlyBlocked, onlyUnreadable}
	c.Flags().Func("only", "only what is `due`, held, blocked or unreadable; several with commas", func(value string) error {
		for only := range strings.SplitSeq(value, ",") {
			if !slices.Contains(choices, only) {
				return errors.New("want due, held, blocked or unreadable")
			}
			f.only = append(f.only, only)
		}
		return nil
	})
	// The flag exists: it was just added.
	_ = c.RegisterFlagCompletionFunc("only", cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
}

// cluster reports whether anything of the cluster may be shown.
func (f planFilter) cluster(c *ledger.Cluster, facts cmek.Cluster) bool {
	return !slices.ContainsFunc(f.labels, func(label string) bool {
		name, value, _ := strings.Cut(label, "=")
		return cmp.Or(c.Cluster.Labels[name], facts.Labels[name]) != value
	})
}

// region reports whether a region may be shown.
func (f planFilter) region(region string, key cmek.KeyURI) bool {
	return (len(f.regions) == 0 || slices.Contains(f.regions, region)) &&
		(len(f.keys) == 0 || slices.ContainsFunc(f.keys, func(wanted string) bool {
			return wanted == string(key) || wanted == key.ID() || wanted == terminal.ShortKey(key)
		}))
}

// kind reports whether what is of that kind, one of the words of --only or "", may be shown.
func (f planFilter) kind(of string) bool { return len(f.only) == 0 || slices.Contains(f.only, of) }

// byRegion reports whether only some regions of clusters are shown.
func (f planFilter) byRegion() bool { return len(f.regions)+len(f.keys) > 0 }

// clusterIDForm is what the Cloud API's cluster ids look like.
var clusterIDForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// clusterID is the id of a cluster named by id or name, which the ledger need not know.
func clusterID(ctx context.Context, w *installation.Installation, wanted string) (string, error) {
	known, err := w.Ledger.Clusters(ctx)
	if err != nil {
		return "", err
	}
	if clusterIDForm.MatchString(wanted) {
		if c, err := installation.FindCluster(known, wanted); err == nil {
			return c.ID, nil // as the Cloud API writes it
		}
		return wanted, nil
	}
	// A deleted cluster may have had the name before.
	known = slices.DeleteFunc(known, func(c *ledger.Cluster) bool { return c.Cluster.State == cmek.StateDeleted })
	switch c, err := installation.FindCluster(known, wanted); {
	case err == nil:
		return c.ID, nil
	case !errors.Is(err, installation.ErrNoCluster):
		return "", notOneCluster{err}
	}
	var named []string
	const mostPages = 1000
	page := ""
	for range mostPages {
		clusters, next, err := w.Cloud.ClusterPage(ctx, page)
		if err != nil {
			return "", fmt.Errorf("list clusters: %w", err)
		}
		for _, c := range clusters {
			if c.Name == wanted && c.State != cmek.StateDeleted {
				named = append(named, c.ID)
			}
		}
		switch {
		case next != "":
			page = next
			continue
		case len(named) == 1:
			return named[0], nil
		case len(named) > 1:
			return "", notOneCluster{fmt.Errorf("%d clusters are named %q; use one of their ids", len(named), wanted)}
		}
		return "", notOneCluster{fmt.Errorf("the API key sees no cluster %q; check the name, or use the cluster's id", wanted)}
	}
	return "", fmt.Errorf("list clusters: no end after %d pages", mostPages)
}

// notOneCluster is the error of a name that no cluster has, or several.
type notOneCluster struct{ error }

// PlanReport is the output of "keyturn plan -o json".
type PlanReport struct {
	Mode  rotation.Mode `json:"mode"`
	Pause *ledger.Pause `json:"pause,omitempty"`
	Holds cmek.Holds    `json:"holds,omitempty"`
	// ReadAt is when the sweep ended that read the clusters; absent if the plan read them itself.
	ReadAt time.Time `json:"clusters_read_at,omitzero"`
	// Read clusters of Of were read; fewer if the plan was interrupted, which Partial says.
	Read    int  `json:"clusters_read"`
	Of      int  `json:"clusters_known"`
	Partial bool `json:"partial"`
	// PUTs is the number of PUTs that would be sent, now and after settle times; Sends are the regions that they would carry, in
	// order.
	PUTs     int           `json:"puts"`
	Sends    []sendPlan    `json:"sends"`
	Clusters []clusterPlan `json:"clusters"`
	// Others counts the clusters whose keys another installation follows.
	Others int `json:"another_installations,omitempty"`
	// NeedsPerson says, a line each, what needs attention: each cause once.
	NeedsPerson []string `json:"needs_person,omitempty"`
	// RecoverySteps are what to do about keys that cannot be read or used.
	RecoverySteps []string `json:"recovery_steps,omitempty"`

	needs []need
}

// due reports whether a PUT would be sent, or would in the mode that follows.
func (r PlanReport) due() bool {
	return r.PUTs > 0 || slices.ContainsFunc(r.Clusters, func(c clusterPlan) bool {
		return slices.ContainsFunc(c.Regions, func(v RegionPlan) bool { return v.kind() == onlyDue })
	})
}

// nothingRead reports whether there are clusters and none of them could be read.
func (r PlanReport) nothingRead() bool {
	return len(r.Clusters) > 0 && !slices.ContainsFunc(r.Clusters, func(c clusterPlan) bool { return c.Error == "" })
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
	Regions []RegionPlan `json:"regions"`
	// Error is why the cluster could not be read.
	Error string `json:"error,omitempty"`
	// Others is true for a cluster whose keys another installation follows.
	Others bool `json:"another_installations,omitempty"`
	// NotShown is since when and why the Cloud API no longer shows the cluster or its CMEK; nil if it does.
	NotShown *ledger.Unread `json:"not_shown,omitempty"`
}

// RegionPlan is what would be done about one region of a cluster, and why.
type RegionPlan struct {
	Region  string          `json:"region"`
	Key     cmek.KeyURI     `json:"key,omitempty"`
	Version cmek.KeyVersion `json:"version,omitzero"`
	Act     string          `json:"act"`
	Why     string          `json:"why"`
	// Until is when follow-through would poll again; zero for when a sweep or an event says so.
	Until time.Time `json:"until,omitzero"`

	// unread: the region's key could not be read.
	unread bool
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

// kind is the word of --only for the region's state, or "".
func (r RegionPlan) kind() string {
	switch {
	case r.unread:
		return onlyUnreadable
	case strings.HasPrefix(r.Why, rotation.OnHold):
		return onlyHeld
	case r.Act == string(rotation.Block) || r.Act == words[rotation.Fail]:
		return onlyBlocked
	case r.Act == words[rotation.Open] || r.Act == words[rotation.Send] || r.Act == words[rotation.Announce]:
		return onlyDue
	}
	return ""
}

// kind is the word of --only for a cluster of which no region is shown, or "".
func (c clusterPlan) kind() string {
	if c.Error != "" || c.NotShown != nil {
		return onlyUnreadable
	}
	return ""
}

func nameOf(p rotation.ClusterPlan) string { return cmp.Or(p.Item.Cluster.Name, p.Facts.Cluster.Name) }

// clusterPlanOf is what is shown of a cluster, and false if that is nothing.
func clusterPlanOf(p rotation.ClusterPlan, f planFilter) (c clusterPlan, shown bool) {
	c = clusterPlan{ID: p.Item.ID, Name: nameOf(p), Regions: []RegionPlan{}, Others: p.Others}
	if !f.cluster(p.Item, p.Facts.Cluster) {
		return c, false
	}
	if p.Err != nil {
		c.Error = terminal.OneLine(p.Err)
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
		fact, read := p.Facts.Keys[v.Spec.URI]
		r := RegionPlan{v.Region, v.Spec.URI, v.Version, act, v.Why, v.Until, read && fact.Err != nil}
		if f.region(r.Region, r.Key) && f.kind(r.kind()) {
			c.Regions = append(c.Regions, r)
		}
	}
	return c, len(c.Regions) > 0 || !f.byRegion() && f.kind(c.kind())
}

func reportOf(preview rotation.Preview, s installation.Settings, f planFilter) PlanReport {
	report := PlanReport{
		Mode: s.Rotation.Mode, Clusters: []clusterPlan{}, Sends: []sendPlan{}, Holds: preview.Holds.Standing(time.Now()), ReadAt: preview.Swept,
		Read: preview.Read, Of: preview.Of, Partial: preview.Read < preview.Of, Others: preview.Others,
	}
	if preview.Pause.Active() {
		report.Pause = &preview.Pause
	}
	var unread causes
	// They were read several at a time, and are in the order in which they came.
	clusters := slices.SortedFunc(slices.Values(preview.Clusters), func(a, b rotation.ClusterPlan) int {
		return cmp.Or(cmp.Compare(nameOf(a), nameOf(b)), cmp.Compare(a.Item.ID, b.Item.ID))
	})
	for _, p := range clusters {
		c, shown := clusterPlanOf(p, f)
		if !shown {
			continue
		}
		report.Clusters = append(report.Clusters, c)
		report.needs = append(report.needs, urgentInPlan(p)...)
		if p.Err != nil {
			unread.add(cmp.Or(c.Name, c.ID), strings.ReplaceAll(c.Error, c.ID, "CLUSTER"))
		}
	}
	for _, cause := range unread {
		report.needs = append(report.needs, need{cause.String(), rotationRunbook + "#cluster-unreadable"})
	}
	for _, trouble := range preview.Troubles {
		report.needs = append(report.needs, need{fmt.Sprintf("%s (%s)", trouble.Summary, terminal.Count(trouble.AffectedCount(), "cluster")), trouble.Runbook})
		report.RecoverySteps = append(report.RecoverySteps, trouble.RecoverySteps...)
	}
	for _, unread := range preview.Unread {
		report.needs = append(report.needs, need{unread.String(), rotationRunbook + "#key-unreadable"})
		report.RecoverySteps = append(report.RecoverySteps, toRead(unread, s.ReaderRole)...)
	}
	for _, send := range preview.Sends {
		if f.cluster(send.Cluster, cmek.Cluster{}) && f.region(send.Region, send.Spec.URI) {
			report.PUTs = max(report.PUTs, send.Rank)
			report.Sends = append(report.Sends, sendPlan{send.Rank, send.Cluster.ID, send.Cluster.Cluster.Name, send.Region, send.Spec.URI, send.Version, send.Why})
		}
	}
	report.NeedsPerson = whats(report.needs)
	return report
}

// toRead is what to do about keys that could not be read.
func toRead(u rotation.UnreadKeys, readerRole string) []string {
	if !u.Denied || u.Keys[0].Type() != cmek.AWSKMS {
		return nil
	}
	account := u.Keys[0].Account()
	role := strings.ReplaceAll(readerRole, "{account}", account)
	said := "Let " + role + " read them"
	if role == "" {
		role, said = "ROLE_ARN", "Let your role read them (\"aws sts get-caller-identity\" names its session)"
	}
	statement, err := json.Marshal(amazon.ReaderStatement(account, role))
	if err != nil {
		panic(err) // it is made of strings
	}
	var keys []string
	for _, key := range u.Keys {
		keys = append(keys, string(key))
	}
	return []string{fmt.Sprintf("%s. The statement to add to the policy of %s: %s", said, few(keys, 3), statement)}
}

// causes groups what could not be read by why.
type causes []cause

type cause struct {
	why   string
	names []string
}

func (all *causes) add(name, why string) {
	i := slices.IndexFunc(*all, func(c cause) bool { return c.why == why })
	if i < 0 {
		i = len(*all)
		*all = append(*all, cause{why: why})
	}
	(*all)[i].names = append((*all)[i].names, name)
}

func (c cause) String() string {
	return fmt.Sprintf("%s could not be read (%s): %s", terminal.Count(len(c.names), "cluster"), few(c.names, 3), c.why)
}

// few are the first of the names, and the number of the others.
func few(names []string, most int) string {
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}

// urgentInPlan lists what needs attention: work that is or would be blocked or failed, and open incidents that page somebody. Keys
// are not among it: what is wrong with one concerns all its clusters.
func urgentInPlan(p rotation.ClusterPlan) []need {
	var found []need
	for _, v := range p.Plan.Verdicts {
		fact := p.Facts.Keys[v.Spec.URI]
		if (v.Act == rotation.Block || v.Act == rotation.Fail) && fact.Err == nil && !fact.Key.State.Unusable() {
			found = append(found, need{fmt.Sprintf("%s %s: %s", terminal.ClusterName(p.Item), v.Region, v.Why), rotationRunbook})
		}
	}
	alarms := paging(p.Item.Alarms)
	if u := p.Item.Unread; !u.IsZero() && len(alarms) == 0 { // found now; the next sweep reports it
		found = append(found, need{fmt.Sprintf("%s: %s", terminal.ClusterName(p.Item), u.Why), rotationRunbook + "#cluster-not-shown"})
	}
	return append(found, alarms...)
}

// planTable shows clusters as they are read, and at the end those that were not shown as they are then.
type planTable struct {
	p      Commands
	filter planFilter
	sheet  *terminal.Sheet
	// shown holds the rows of each cluster that is shown already, by its id.
	shown map[string][][]any
}

func (p Commands) newPlanTable(f planFilter) *planTable {
	return &planTable{p: p, filter: f, shown: map[string][][]any{}, sheet: p.NewSheet(
		terminal.Column{Name: "cluster", AtLeast: 16}, terminal.Column{Name: "region", AtLeast: 12}, terminal.Column{Name: "key", AtLeast: 13, Wide: true},
		terminal.Column{Name: "current version", AtLeast: 22, Wide: true}, terminal.Column{Name: "what to do", AtLeast: 18}, terminal.Column{Name: "why"})}
}

// show adds the cluster's rows, unless they are shown already. It reports whether there were any to add.
func (t *planTable) show(c clusterPlan, now time.Time) bool {
	rows := t.p.planRows(c, now)
	if before, ok := t.shown[c.ID]; ok && reflect.DeepEqual(before, rows) {
		return false
	}
	t.shown[c.ID] = rows
	for i, row := range rows {
		name := any("")
		if i == 0 {
			name = cmp.Or(terminal.Printable(c.Name), terminal.Printable(c.ID))
		}
		t.sheet.Add(append([]any{name}, row...)...)
	}
	return len(rows) > 0
}

// planRows are the rows of a cluster without its name.
func (p Commands) planRows(cluster clusterPlan, now time.Time) (rows [][]any) {
	c := p.Palette()
	whole := func(act, why string) [][]any { return [][]any{{"–", "–", "–", act, why}} }
	switch u := cluster.NotShown; {
	case cluster.Error != "":
		return whole(c.Red("unreadable"), terminal.Printable(cluster.Error))
	case cluster.Others:
		return whole("nothing", "another installation's: its keys are in another cloud's KMS")
	case u != nil:
		return whole(c.Red(progress.StageNotShown), fmt.Sprintf("%s, since %s", terminal.Printable(u.Why), terminal.When(u.Since, now)))
	case len(cluster.Regions) == 0:
		return whole("nothing", "the cluster has no CMEK")
	}
	for _, region := range cluster.Regions {
		why := terminal.Printable(region.Why)
		if region.Until.After(now.Add(time.Second)) {
			why += ", next poll " + terminal.When(region.Until, now)
		}
		rows = append(rows, []any{terminal.Printable(region.Region), terminal.ShortKey(region.Key), terminal.Printable(region.Version.Short()), p.colorAct(region.Act), why})
	}
	return rows
}

// progressOf shows the clusters as they are read, with the rate and the time left.
func (p Commands) progressOf(ctx context.Context, t *planTable) func(rotation.ClusterPlan, int, int) {
	began := time.Now()
	var told time.Time
	return func(plan rotation.ClusterPlan, read, of int) {
		now := time.Now()
		if !p.JSON && (plan.Err != nil || plan.Others || plan.Item.CMEK.HasKeys()) {
			if c, shown := clusterPlanOf(plan, t.filter); shown && t.show(c, now) {
				t.sheet.Flush()
			}
		}
		const every = 10 * time.Second
		if took := now.Sub(began); !p.Quiet && read < of && took >= every && now.Sub(told) >= every && ctx.Err() == nil {
			told = now
			left := time.Duration(float64(took) / float64(read) * float64(of-read))
			terminal.Tell(p.Err, "%d of %s read, %.1f/s, about %s left\n", read, terminal.Count(of, "cluster"), float64(read)/took.Seconds(), terminal.Roughly(left))
		}
	}
}

func (p Commands) printPlan(r PlanReport, t *planTable) {
	now, c := time.Now(), p.Palette()
	streamed := len(t.shown) > 0
	var changed []clusterPlan
	for _, cluster := range r.Clusters {
		if before, ok := t.shown[cluster.ID]; !ok || !reflect.DeepEqual(before, p.planRows(cluster, now)) {
			changed = append(changed, cluster)
		}
	}
	if streamed && len(changed) > 0 {
		terminal.Tell(p.Out, "\nOtherwise, now that all clusters of their keys are read:\n")
	}
	for _, cluster := range changed {
		t.show(cluster, now)
	}
	t.sheet.Flush()
	terminal.Tell(p.Out, "\n")
	if !r.ReadAt.IsZero() {
		terminal.Tell(p.Out, "The clusters are as the sweep read them that ended %s (--fresh reads them again); the keys were read now.\n", terminal.When(r.ReadAt, now))
	}
	if r.Partial {
		terminal.Tell(p.Out, "%s\n", c.Yellow(fmt.Sprintf("Partial: %d of %s were read.", r.Read, terminal.Count(r.Of, "cluster"))))
	}
	if r.Others > 0 {
		terminal.Tell(p.Out, "%s of another installation: nothing is read or sent there.\n", terminal.Count(r.Others, "cluster"))
	}
	printHolds(p.Out, r.Holds, now)
	switch {
	case r.Pause != nil:
		terminal.Tell(p.Out, "Paused %s. No PUT would be sent.\n", describePause(*r.Pause, now))
	case r.Mode == rotation.Observe:
		terminal.Tell(p.Out, "keyturn observes: it sends no PUT until KEYTURN_MODE=follow. Nothing was sent or written now.\n")
	case r.PUTs == 0:
		terminal.Tell(p.Out, "No PUT would be sent. Nothing was sent or written.\n")
	default:
		p.printSends(r)
	}
	printUrgent(p.Out, c, r.needs)
	if len(r.RecoverySteps) > 0 {
		terminal.Tell(p.Out, "%s\n", c.Bold("Recovery steps:"))
	}
	for i, step := range r.RecoverySteps {
		terminal.Tell(p.Out, "%3d. %s\n", i+1, terminal.Printable(step))
	}
}

func (p Commands) printSends(r PlanReport) {
	terminal.Tell(p.Out, "%s would be sent, in this order:\n", terminal.Count(r.PUTs, "PUT"))
	for _, s := range r.Sends {
		why := ""
		if s.WaitsFor != "" {
			why = "   (now: " + terminal.Printable(s.WaitsFor) + ")"
		}
		terminal.Tell(p.Out, "%3d. %s %s, key %s, version %s%s\n", s.PUT, terminal.Printable(s.Name), s.Region, terminal.ShortKey(s.Key), s.Version.Short(), why)
	}
	terminal.Tell(p.Out, "Nothing was sent or written.\n")
}

func (p Commands) colorAct(act string) string {
	c := p.Palette()
	switch act {
	case string(rotation.UpToDate), words[rotation.Adopt], words[rotation.Complete]:
		return c.Green(act)
	case string(rotation.Block), words[rotation.Fail]:
		return c.Red(act)
	case words[rotation.Send], words[rotation.Announce], words[rotation.Open]:
		return c.Yellow(act)
	}
	return act
}
