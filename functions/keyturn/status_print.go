package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/version"
)

// printStatus writes the overview: what concerns all clusters, a line for each region, and what needs attention.
func (p *program) printStatus(s status) {
	now, c := time.Now(), palette(p.color())
	tell(p.out, "Ledger   %s\n", printable(s.Ledger))
	next := ""
	if !s.NextSweep.IsZero() && !s.Sweep.Running() {
		next = "; next one " + nextPoll(s.NextSweep, now)
	}
	tell(p.out, "Sweep    %s%s\n", describeSweep(s.Sweep, s.NotShown, now), next)
	if s.Worker != "" {
		tell(p.out, "Worker   %s\n", printable(s.Worker))
	}
	if s.Pause != nil {
		tell(p.out, "Paused   %s\n", c.yellow(describePause(*s.Pause, now)))
	}
	if n := len(s.Incidents); n > 0 {
		tell(p.out, "Alerts   %s (\"keyturn alerts\")\n", c.red(count(n, "open incident")))
	}
	printHolds(p.out, s.Holds, now)
	tell(p.out, "\n")
	if len(s.Clusters) == 0 {
		tell(p.out, "The ledger knows no cluster yet. The function's first tick, or \"keyturn follow\", reads the fleet.\n")
		printUrgent(p.out, c, s.needs)
		return
	}
	t := p.newSheet(column{name: "cluster"}, column{name: "region"}, column{name: "key", wide: true}, column{name: "state"}, column{name: "key version", wide: true}, column{name: "last done"}, column{name: "why"})
	for _, cluster := range s.Clusters {
		if len(cluster.Regions) == 0 {
			t.add(printable(cluster.Name), "–", "–", "no CMEK", "–", "–", "")
		}
		for i, r := range cluster.Regions {
			name := ""
			if i == 0 {
				name = printable(cluster.Name)
			}
			t.add(p.statusRow(name, cluster, r, now)...)
		}
	}
	t.flush()
	printUrgent(p.out, c, s.needs)
}

func (p *program) statusRow(name string, cluster clusterStatus, r regionStatus, now time.Time) []any {
	state, version, done, waits := string(r.Status), "–", "–", ""
	if r.Done != nil {
		version, done = printable(r.Done.Version.Short()), when(r.Done.At, now)
	}
	switch {
	case r.Work != nil:
		state, waits = r.Stage, printable(r.Work.Reason)+", next poll "+nextPoll(cluster.NextLook, now)
		if !r.Work.Version.IsZero() {
			version = "→ " + printable(r.Work.Version.Short())
		}
	case r.Done != nil && r.Status == cmek.Enabled:
		state = stageUpToDate
	}
	if r.Hold != nil && (r.Work == nil || r.Work.State != ledger.Requested) {
		state, waits = stageOnHold, "ends "+when(r.Hold.Until, now)+": "+printable(r.Hold.Reason)
	}
	if r.risk != nil {
		state, waits = stageAtRisk, fmt.Sprintf("%s %s (keyturn alerts %s)", printable(strings.ToUpper(string(r.risk.Severity))), printable(r.risk.Alert.Summary), r.Incident)
	}
	if u := cluster.NotShown; u != nil {
		// What was last read may be out of date; that it is no longer shown matters more.
		state, waits = stageNotShown, fmt.Sprintf("%s, since %s", printable(u.Why), when(u.Since, now))
	}
	return []any{name, printable(r.Region), shortKey(r.Key), palette(p.color()).state(printable(state)), version, done, waits}
}

func nextPoll(at, now time.Time) string {
	if at.Before(now) && !at.IsZero() {
		return "due"
	}
	return when(at, now)
}

// describeSweep says how the last walk over the fleet went. Clusters of another installation and those that are not shown do not
// make it incomplete; they are counted.
func describeSweep(s ledger.Sweep, notShown int, now time.Time) string {
	parts := []string{count(s.Clusters, "cluster")}
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
		return fmt.Sprintf("running, began %s, %s", when(s.Began, now), read("so far"))
	case s.Complete.Before(s.Ended) && s.Failed > s.Unread:
		return fmt.Sprintf("ended %s, %s", when(s.Ended, now), read(fmt.Sprintf("%d unreadable", s.Failed-s.Unread)))
	case s.Complete.Before(s.Ended):
		return fmt.Sprintf("ended %s, %s", when(s.Ended, now), read("incomplete: the list of clusters could not be read"))
	}
	return fmt.Sprintf("ended %s, %s", when(s.Ended, now), read("complete"))
}

func describePause(pause ledger.Pause, now time.Time) string {
	s := when(pause.Since, now)
	if pause.By != "" {
		s += " by " + printable(pause.By)
	}
	if pause.Reason != "" {
		s += ": " + printable(pause.Reason)
	}
	return s + " (\"keyturn resume\" ends it)"
}

// printUrgent lists what needs attention, if anything does, and where to read on.
func printUrgent(out io.Writer, c palette, needs []need) {
	if len(needs) == 0 {
		return
	}
	tell(out, "\n%s\n", c.bold("Needs attention:"))
	var runbooks []string
	for _, n := range needs {
		tell(out, "  %s\n", c.red(printable(n.what)))
		if n.runbook != "" && !slices.Contains(runbooks, n.runbook) {
			runbooks = append(runbooks, n.runbook)
		}
	}
	tell(out, "\"keyturn status CLUSTER\" and \"keyturn alerts ID\" show the details, with the recovery steps.\n")
	for _, runbook := range runbooks {
		tell(out, "Runbook: %s\n", printable(version.URL(runbook)))
	}
}

// printCluster writes all about one cluster.
func (p *program) printCluster(s clusterStatus) {
	now, c := time.Now(), palette(p.color())
	tell(p.out, "%s   %s   %s\n", c.bold(printable(s.Name)), printable(s.ID), printable(s.State))
	tell(p.out, "read %s, next poll %s, %s\n", when(s.SeenAt, now), nextPoll(s.NextLook, now), count(s.EvidenceRecords, "evidence record"))
	if u := s.NotShown; u != nil {
		tell(p.out, "%s since %s: %s\n", c.red(stageNotShown), when(u.Since, now), printable(u.Why))
		tell(p.out, "if it is really gone: keyturn forget %s --reason \"…\"\n", printable(s.ID))
	}
	if s.Undelivered > 0 {
		tell(p.out, "%s still to be delivered\n", count(s.Undelivered, "message"))
	}
	for _, r := range s.Regions {
		p.printRegion(r, now)
	}
	if len(s.Dropped) > 0 {
		tell(p.out, "\n%s\n", c.bold("Dropped without a PUT"))
	}
	for _, d := range s.Dropped {
		tell(p.out, "  %s   %s   %s: %s\n", when(d.At, now), printable(d.Region), printable(d.Version.Short()), printable(d.Reason))
	}
}

// printOpen writes the incidents that concern the cluster, recovery steps and runbook included, and what of it is on hold.
func (p *program) printOpen(s status) {
	now, c := time.Now(), palette(p.color())
	for _, i := range s.Incidents {
		tell(p.out, "\n%s %s, %s since %s\n%s", c.bold("Incident"), i.ID, i.state(), when(i.Since, now), indent(i.Alert.Text()))
	}
	if len(s.Holds) > 0 {
		tell(p.out, "\n")
	}
	printHolds(p.out, s.Holds, now)
}

func (p *program) printRegion(r regionStatus, now time.Time) {
	c := palette(p.color())
	tell(p.out, "\n%s   %s\n", c.bold(printable(r.Region)), c.state(printable(string(r.Status))))
	fact := func(name, format string, args ...any) {
		tell(p.out, "  %-9s%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	fact("key", "%s", r.Key)
	if r.Done != nil {
		how := "adopted"
		if r.Done.Followed {
			how = "re-encrypted"
		}
		fact("done", "%s, %s %s: %s", r.Done.Version.Short(), how, when(r.Done.At, now), r.Done.Evidence)
	}
	w := r.Work
	if w == nil {
		return
	}
	fact("open", "%s, since %s by %s", w.Version.Short(), when(w.Since, now), w.Trigger.Kind)
	tell(p.out, "  %-9s%s: %s\n", "state", c.state(printable(r.Stage)), printable(w.Reason))
	if w.Attempts+w.Failed+w.Lost > 0 {
		fact("trouble", "%d refused in a row, %d failed, %d without a trace", w.Attempts, w.Failed, w.Lost)
	}
	if w.Request == nil {
		return
	}
	fact("PUT", "%s, %s", when(w.Request.Intent, now), answerOf(w.Request))
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

// indent puts two blanks before each line, and none at the ends of lines.
func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight("  "+line, " \n") + "\n")
	}
	return b.String()
}
