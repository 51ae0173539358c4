package live

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/progress"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/version"
)

// printStatus writes the overview: what concerns all clusters, a line for each region, and what needs attention.
func (p Commands) printStatus(s Status) {
	now := time.Now()
	p.printLedger(s, now)
	if len(s.Clusters) > 0 {
		t := p.NewSheet(statusColumns...)
		for _, cluster := range s.Clusters {
			for _, cells := range p.statusRows(cluster, now) {
				t.Add(cells...)
			}
		}
		t.Flush()
	}
	printUrgent(p.Out, p.Palette(), s.needs)
}

// printLedger writes what concerns all clusters of a ledger.
func (p Commands) printLedger(s Status, now time.Time) {
	c := p.Palette()
	terminal.Tell(p.Out, "Ledger   %s\n", terminal.Printable(s.Ledger))
	next := ""
	if !s.NextSweep.IsZero() && !s.Sweep.Running() {
		next = "; next one " + nextPoll(s.NextSweep, now)
	}
	terminal.Tell(p.Out, "Sweep    %s%s\n", describeSweep(s.Sweep, s.NotShown, now), next)
	if s.Worker != "" {
		terminal.Tell(p.Out, "Worker   %s\n", terminal.Printable(s.Worker))
	}
	if s.Pause != nil {
		terminal.Tell(p.Out, "Paused   %s\n", c.Yellow(describePause(*s.Pause, now)))
	}
	if n := len(s.Incidents); n > 0 {
		terminal.Tell(p.Out, "Alerts   %s (\"keyturn alerts\")\n", c.Red(terminal.Count(n, "open incident")))
	}
	printHolds(p.Out, s.Holds, now)
	for _, cluster := range s.Clusters {
		printOperation(p.Out, cluster, now)
	}
	terminal.Tell(p.Out, "\n")
	if len(s.Clusters) == 0 {
		terminal.Tell(p.Out, "The ledger knows no cluster yet. The function's first tick, or \"keyturn follow\", reads the fleet.\n")
	}
}

var statusColumns = []terminal.Column{{Name: "cluster"}, {Name: "region"}, {Name: "key", Wide: true}, {Name: "state"}, {Name: "key version", Wide: true}, {Name: "last done"}, {Name: "why"}}

// statusRows are the cluster's regions, a row each; the first one has the cluster's name.
func (p Commands) statusRows(cluster clusterStatus, now time.Time) (rows [][]any) {
	if len(cluster.Regions) == 0 {
		return [][]any{{terminal.Printable(cluster.Name), "–", "–", "no CMEK", "–", "–", ""}}
	}
	for i, r := range cluster.Regions {
		name := ""
		if i == 0 {
			name = terminal.Printable(cluster.Name)
		}
		rows = append(rows, p.statusRow(name, cluster, r, now))
	}
	return rows
}

func (p Commands) statusRow(name string, cluster clusterStatus, r regionStatus, now time.Time) []any {
	state, version, done, waits := string(r.Status), "–", "–", ""
	if r.Done != nil {
		version, done = terminal.Printable(r.Done.Version.Short()), terminal.When(r.Done.At, now)
	}
	switch {
	case r.Work != nil:
		state, waits = r.Stage, terminal.Printable(r.Work.Reason)+", next poll "+nextPoll(cluster.NextLook, now)
		if !r.Work.Version.IsZero() {
			version = "→ " + terminal.Printable(r.Work.Version.Short())
		}
	case r.Done != nil && r.Status == cmek.Enabled:
		state = progress.StageUpToDate
		if len(r.WriteBack) > 0 {
			waits = "moved to this key; Terraform's configuration must name it, too: " + terminal.Printable(strings.Join(r.WriteBack, ", "))
		}
	}
	if r.Hold != nil && (r.Work == nil || r.Work.State != ledger.Requested) {
		state, waits = progress.StageOnHold, "ends "+terminal.When(r.Hold.Until, now)+": "+terminal.Printable(r.Hold.Reason)
	}
	if r.risk != nil {
		state, waits = progress.StageAtRisk, fmt.Sprintf("%s %s (keyturn alerts %s)", terminal.Printable(strings.ToUpper(string(r.risk.Severity))), terminal.Printable(r.risk.Alert.Summary), r.Incident)
	}
	if u := cluster.NotShown; u != nil {
		// What was last read may be out of date; that it is no longer shown matters more.
		state, waits = progress.StageNotShown, fmt.Sprintf("%s, since %s", terminal.Printable(u.Why), terminal.When(u.Since, now))
	}
	return []any{name, terminal.Printable(r.Region), terminal.ShortKey(r.Key), progress.State(p.Palette(), terminal.Printable(state)), version, done, waits}
}

func nextPoll(at, now time.Time) string {
	if at.Before(now) && !at.IsZero() {
		return "due"
	}
	return terminal.When(at, now)
}

// describeSweep says how the last walk over the fleet went. Clusters of another installation and those that are not shown do not
// make it incomplete; they are counted.
func describeSweep(s ledger.Sweep, notShown int, now time.Time) string {
	parts := []string{terminal.Count(s.Clusters, "cluster")}
	if s.Others > 0 {
		parts = append(parts, fmt.Sprintf("%d of another installation", s.Others))
	}
	if notShown > 0 {
		parts = append(parts, fmt.Sprintf("%d not shown", notShown))
	}
	read := func(end string) string { return strings.Join(append(parts, end), ", ") }
	switch {
	case s.Began.IsZero():
		return "never"
	case s.Running():
		return fmt.Sprintf("running, began %s, %s", terminal.When(s.Began, now), read("so far"))
	case s.Complete.Before(s.Ended) && s.Failed > s.Unread:
		return fmt.Sprintf("ended %s, %s", terminal.When(s.Ended, now), read(fmt.Sprintf("%d unreadable", s.Failed-s.Unread)))
	case s.Complete.Before(s.Ended):
		return fmt.Sprintf("ended %s, %s", terminal.When(s.Ended, now), read("incomplete: the list of clusters could not be read"))
	}
	return fmt.Sprintf("ended %s, %s", terminal.When(s.Ended, now), read("complete"))
}

func describePause(pause ledger.Pause, now time.Time) string {
	return ordered(pause.Since, pause.By, pause.Reason, now) + " (\"keyturn resume\" ends it)"
}

// ordered says since when, by whom and why something is in force.
func ordered(since time.Time, by, reason string, now time.Time) string {
	s := terminal.When(since, now)
	if by != "" {
		s += " by " + terminal.Printable(by)
	}
	if reason != "" {
		s += ": " + terminal.Printable(reason)
	}
	return s
}

// printUrgent lists what needs attention, if anything does, and where to read on.
func printUrgent(out io.Writer, c terminal.Palette, needs []need) {
	if len(needs) == 0 {
		return
	}
	terminal.Tell(out, "\n%s\n", c.Bold("Needs attention:"))
	var runbooks []string
	for _, n := range needs {
		terminal.Tell(out, "  %s\n", c.Red(terminal.Printable(n.what)))
		if n.runbook != "" && !slices.Contains(runbooks, n.runbook) {
			runbooks = append(runbooks, n.runbook)
		}
	}
	terminal.Tell(out, "\"keyturn status CLUSTER\" and \"keyturn alerts ID\" show the details, with the recovery steps.\n")
	for _, runbook := range runbooks {
		terminal.Tell(out, "Runbook: %s\n", terminal.Printable(version.URL(runbook)))
	}
}

// printCluster writes all about one cluster.
func (p Commands) printCluster(s clusterStatus) {
	now, c := time.Now(), p.Palette()
	terminal.Tell(p.Out, "%s   %s   %s\n", c.Bold(terminal.Printable(s.Name)), terminal.Printable(s.ID), terminal.Printable(s.State))
	terminal.Tell(p.Out, "read %s, next poll %s, %s\n", terminal.When(s.SeenAt, now), nextPoll(s.NextLook, now), terminal.Count(s.EvidenceRecords, "evidence record"))
	printOperation(p.Out, s, now)
	if u := s.NotShown; u != nil {
		terminal.Tell(p.Out, "%s since %s: %s\n", c.Red(progress.StageNotShown), terminal.When(u.Since, now), terminal.Printable(u.Why))
		terminal.Tell(p.Out, "if it is really gone: keyturn forget %s --reason \"…\"\n", terminal.Printable(s.ID))
	}
	if s.Undelivered > 0 {
		terminal.Tell(p.Out, "%s still to be delivered\n", terminal.Count(s.Undelivered, "message"))
	}
	for _, r := range s.Regions {
		p.printRegion(r, now)
	}
	if len(s.Dropped) > 0 {
		terminal.Tell(p.Out, "\n%s\n", c.Bold("Dropped without a PUT"))
	}
	for _, d := range s.Dropped {
		terminal.Tell(p.Out, "  %s   %s   %s: %s\n", terminal.When(d.At, now), terminal.Printable(d.Region), terminal.Printable(aimOf(d.Key, d.Version, d.Order)), terminal.Printable(d.Reason))
	}
}

// printOpen writes the incidents that concern the cluster, recovery steps and runbook included, and what of it is on hold.
func (p Commands) printOpen(s Status) {
	now, c := time.Now(), p.Palette()
	for _, i := range s.Incidents {
		terminal.Tell(p.Out, "\n%s %s, %s since %s\n%s", c.Bold("Incident"), i.ID, i.state(), terminal.When(i.Since, now), terminal.Indent(i.Alert.Text()))
	}
	if len(s.Holds) > 0 {
		terminal.Tell(p.Out, "\n")
	}
	printHolds(p.Out, s.Holds, now)
}

// aimOf says in few words what work is to reach: a key version, or, while an order's is not read yet, the key that the region is moved to.
func aimOf(key cmek.KeyURI, version cmek.KeyVersion, order string) string {
	switch {
	case !version.IsZero():
		return version.Short()
	case order != "":
		return "move to key " + terminal.ShortKey(key)
	}
	return "key " + terminal.ShortKey(key)
}

// printOperation writes a line for an operator's request to the cluster that has no end on record. One that was refused is not on its way,
// unless it has left a trace all the same, which the command reads first.
func printOperation(out io.Writer, s clusterStatus, now time.Time) {
	o := s.Operation
	if !o.Open() {
		return
	}
	state, next := "is open", "watches it"
	if o.Refused() {
		state, next = "was refused", "begins anew"
	}
	terminal.Tell(out, "A request %s at cluster %s: %s, by %s, sent %s; the same command again %s\n", state, terminal.Printable(s.Name), terminal.Printable(string(o.Kind)),
		terminal.Printable(o.By), terminal.When(o.Sent, now), next)
}

func (p Commands) printRegion(r regionStatus, now time.Time) {
	c := p.Palette()
	terminal.Tell(p.Out, "\n%s   %s\n", c.Bold(terminal.Printable(r.Region)), progress.State(c, terminal.Printable(string(r.Status))))
	fact := func(name, format string, args ...any) {
		terminal.Tell(p.Out, "  %-9s%s\n", name, terminal.Printable(fmt.Sprintf(format, args...)))
	}
	fact("key", "%s", r.Key)
	if r.Done != nil {
		how := "adopted"
		if r.Done.Followed {
			how = "re-encrypted"
		}
		fact("done", "%s, %s %s: %s", aimOf(r.Done.Key, r.Done.Version, r.Done.Order), how, terminal.When(r.Done.At, now), r.Done.Evidence)
	}
	if r.Pin != nil {
		fact("pin", "%s", describePinned(*r.Pin, now))
	}
	w := r.Work
	if w == nil {
		return
	}
	fact("open", "%s, since %s by %s", aimOf(w.Key, w.Version, w.Order), terminal.When(w.Since, now), w.Trigger.Kind)
	terminal.Tell(p.Out, "  %-9s%s: %s\n", "state", progress.State(c, terminal.Printable(r.Stage)), terminal.Printable(w.Reason))
	if w.Attempts+w.Failed+w.Lost > 0 {
		fact("trouble", "%d refused in a row, %d failed, %d without a trace", w.Attempts, w.Failed, w.Lost)
	}
	if w.Request == nil {
		return
	}
	fact("PUT", "%s, %s", terminal.When(w.Request.Intent, now), answerOf(w.Request))
	for _, seen := range w.Request.Timeline {
		fact("", "%s   %s %s", seen.At.UTC().Format(time.TimeOnly), seen.Region, seen.Operation)
	}
}

func answerOf(r *ledger.Request) string {
	if r.Answer == nil {
		return "no answer on record yet"
	}
	s := string(r.Answer.Outcome)
	if r.Answer.HTTPStatus != 0 {
		s += fmt.Sprintf(" (HTTP %d)", r.Answer.HTTPStatus)
	}
	return strings.TrimSpace(s + " " + r.Answer.Message)
}
