package rotation

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// What rotation's alerts are about; each has a section in the function's README.
const (
	changeFollowed          cmek.Change = "re-encrypted"
	changeAnnounced         cmek.Change = "would re-encrypt"
	changeKeyUnusable       cmek.Change = alert.ChangeKeyUnusable
	changeKeyUnreadable     cmek.Change = "key unreadable"
	changeRotateFailed      cmek.Change = "rotation failed"
	changeStuck             cmek.Change = "rotation stuck"
	changeOverdue           cmek.Change = "follow-through overdue"
	changeBlocked           cmek.Change = "follow-through blocked"
	changeLost              cmek.Change = "requests lost"
	changeRefused           cmek.Change = "requests refused"
	changeClusterUnreadable cmek.Change = "cluster unreadable"
	changeClusterUnshown    cmek.Change = "cluster not shown"
	changeForgotten         cmek.Change = "cluster forgotten"
	changeOptOut            cmek.Change = "opt-out changed"
	changeMoved             cmek.Change = "moved to another key"
	changeOrderDropped      cmek.Change = "order dropped"
	changeAliasMoved        cmek.Change = "alias moved"
	changeAliasMissing      cmek.Change = "alias missing"
	changeAliasUnread       cmek.Change = "alias unread"
	changePinDrifted        cmek.Change = "pin drifted"
	changeOrderUndone       cmek.Change = "order undone"
	changeHold              cmek.Change = "on hold"
	changeReadsRewound      cmek.Change = "reads rewound"
	changeAPIKeyRefused     cmek.Change = "API key refused"
	changeSweepIncomplete   cmek.Change = "sweep incomplete"
	changeUndelivered       cmek.Change = "messages undelivered"
	changeSubscribersLost   cmek.Change = "subscribers lost"
	changeSubscribersUnread cmek.Change = "subscribers unread"
)

func runbook(change cmek.Change) string {
	return "functions/rotation/README.md#" + strings.ToLower(strings.ReplaceAll(string(change), " ", "-"))
}

// reportConditions compares the conditions that hold now with the incidents that are open: a new condition is reported once, and
// so is the end of one.
func reportConditions(item *ledger.Cluster, f Facts, now time.Time, s Settings) {
	if f.Gone {
		// Not resolved: nobody can say any more.
		for i := range item.Alarms {
			a := &item.Alarms[i].Alert
			a.Summary = fmt.Sprintf("Cluster %s is deleted; open until then: %s", item.Cluster.Name, a.Summary)
		}
		item.Alarms = transitions(item.Alarms, nil, never, now, &item.Outbox)
		return
	}
	for i := range item.Alarms {
		// Of an earlier release, which reported keys by cluster. The end of such an alarm says nothing about the key.
		if a := &item.Alarms[i].Alert; aboutKeys(item.Alarms[i].Key) && !strings.HasPrefix(a.Summary, nowByKey) {
			a.Summary = nowByKey + a.Summary
		}
	}
	item.Alarms = transitions(item.Alarms, workConditions(item, f, now, s), func(key string) bool { return unjudged(key, item, f) }, now, &item.Outbox)
}

// unjudged reports whether an incident of the cluster cannot be judged by these facts: what was not read ends nothing.
func unjudged(key string, item *ledger.Cluster, f Facts) bool {
	code, _, _ := strings.Cut(key, "/")
	switch code {
	case "cluster-unreadable":
		return !readable(item, f)
	case aliasMoved, aliasMissing, pinDrifted:
		return pinUnjudged(key, item, f)
	case "refused", "refused-key":
		return slices.ContainsFunc(item.Work, func(w ledger.Work) bool {
			return w.Attempts >= refusalsToReport && w.State == ledger.Requested // its answer is not known yet
		})
	}
	return false
}

const nowByKey = "From now on reported for the key as a whole: "

func never(string) bool { return false }

// transitions reports each condition that began or ended, and returns those that are open now. One that unjudged names stays as
// it is.
func transitions(open []ledger.Alarm, conditions []alert.Alert, unjudged func(key string) bool, now time.Time, out *ledger.Outbox) []ledger.Alarm {
	holds := func(key string) bool {
		return slices.ContainsFunc(conditions, func(a alert.Alert) bool { return a.DedupKey == key })
	}
	var alarms []ledger.Alarm
	for _, alarm := range open {
		if holds(alarm.Key) || unjudged(alarm.Key) {
			alarms = append(alarms, alarm)
			continue
		}
		end := alarm.Alert
		end.ID = fmt.Sprintf("%s@%d/resolved", alarm.Key, alarm.Since.Unix())
		end.Resolved, end.Severity, end.Time = true, alert.Info, now
		end.Impact, end.RecoverySteps, end.Deadline = "", nil, time.Time{}
		out.Tell(end)
	}
	for _, sent := range conditions {
		sent.ID = fmt.Sprintf("%s@%d", sent.DedupKey, now.Unix())
		sent.Runbook = runbook(sent.Change)
		if sent.Time.IsZero() {
			sent.Time = now
		}
		i := slices.IndexFunc(alarms, func(a ledger.Alarm) bool { return a.Key == sent.DedupKey })
		switch {
		case i < 0:
			alarms = append(alarms, ledger.Alarm{Key: sent.DedupKey, Since: now, Alert: sent})
			out.Tell(sent)
		case news(alarms[i].Alert, sent):
			alarms[i].Alert = sent
			out.Tell(sent)
		}
	}
	return alarms
}

// news reports whether an open alarm has become another one: more or less urgent, due at another time, or, where the summary
// names a state and not a server's words, in another state.
func news(reported, now alert.Alert) bool {
	state := now.Change == changeKeyUnusable || now.Change == changeBlocked || now.Change == changeSubscribersLost
	was, _, _ := strings.Cut(reported.Summary, `: "`) // without what the server says of it
	is, _, _ := strings.Cut(now.Summary, `: "`)
	more := now.Change == changeAPIKeyRefused && len(now.Clusters) >= 2*max(1, len(reported.Clusters))
	return more || reported.Severity != now.Severity || !reported.Deadline.Equal(now.Deadline) || state && was != is
}

// workConditions lists what is wrong with the cluster now, one alert for each incident.
func workConditions(item *ledger.Cluster, f Facts, now time.Time, s Settings) []alert.Alert {
	c := conditions{item: item, facts: f, now: now}
	c.failures()
	c.requests()
	c.refusals()
	c.blocked()
	c.visibility(s)
	c.pins(s)
	if !item.FailingSince.IsZero() && now.Sub(item.FailingSince) >= undeliveredToReport {
		c.add("undelivered", changeUndelivered, alert.High, nil,
			fmt.Sprintf("keyturn has not been able to deliver messages about cluster %s for over an hour", named(item)),
			"Evidence or alerts wait in the ledger; none is lost.",
			"Read the function's log for the reason: the archive or a topic refuses.").Audience = alert.Operations
	}
	overdue, reason := c.pick(func(w ledger.Work) bool { return s.Mode == Follow && w.Order == "" && now.Sub(w.Since) >= overdueAfter })
	if len(overdue) > 0 {
		c.add("overdue", changeOverdue, alert.High, overdue,
			fmt.Sprintf("The key of cluster %s rotated over a day ago and the store key is still not re-encrypted: %s", named(item), reason),
			"The store key stays encrypted under the older key version.",
			onCluster("status", item.ID))
	}
	for i := range c.found {
		a := &c.found[i]
		a.Hold = alert.HoldOn(a.Key, a.Clusters, f.Holds, now)
	}
	return c.found
}

// conditions collects what is wrong with one cluster.
type conditions struct {
	item  *ledger.Cluster
	facts Facts
	now   time.Time
	found []alert.Alert
}

// add adds a condition and returns it for changes. The code is the first part of its dedup key.
func (c *conditions) add(code string, change cmek.Change, severity alert.Severity, regions []string, summary, impact string, recovery ...string) *alert.Alert {
	c.found = append(c.found, alert.Alert{
		DedupKey: code + "/" + c.item.ID, Audience: alert.Owners, Severity: severity, Change: change, Summary: summary,
		Impact: impact, RecoverySteps: recovery,
		Clusters: []alert.AffectedCluster{{ID: c.item.ID, Name: c.item.Cluster.Name, Regions: regions}},
	})
	return &c.found[len(c.found)-1]
}

// onCluster is a command of keyturn about a cluster, as a recovery step shows it.
func onCluster(command, id string) string { return "keyturn " + command + " " + alert.ShellWord(id) }

// pick returns the regions of the work that matches, and the reason of the last of it.
func (c *conditions) pick(match func(ledger.Work) bool) (regions []string, reason string) {
	for _, w := range c.item.Work {
		if match(w) {
			regions, reason = append(regions, w.Region), w.Reason
		}
	}
	return regions, reason
}

func (c *conditions) failures() {
	failed, reason := c.pick(func(w ledger.Work) bool { return w.Failed > 0 })
	if len(failed) == 0 {
		failed, reason = cloudFailure(c.item)
	}
	if len(failed) > 0 {
		c.add("rotate-failed", changeRotateFailed, alert.Critical, failed,
			fmt.Sprintf("A CMEK operation of cluster %s failed: %s", named(c.item), reason),
			"The store key is not known to be encrypted under the new key version. Other clusters of the same key wait.",
			"Read Cockroach Labs' message above and the key's policy; fix what they name.",
			"Then send the PUT again:", onCluster("retry", c.item.ID),
			"Or let the other clusters of the key go on without this one:", onCluster("retry --skip", c.item.ID))
	}
}

// requests reports requests that take too long or leave no trace.
func (c *conditions) requests() {
	stuck, _ := c.pick(func(w ledger.Work) bool {
		return w.State == ledger.Requested && w.Request != nil && !w.Request.StuckSince.IsZero()
	})
	if len(stuck) > 0 {
		c.add("stuck", changeStuck, alert.High, stuck,
			fmt.Sprintf("The re-encryption of cluster %s has been running for more than %s", named(c.item), stuckAfter),
			"keyturn keeps polling and sends nothing more to the cluster.",
			"Open a support case with Cockroach Labs and name the cluster id "+c.item.ID+".")
	}
	isLost := func(w ledger.Work) bool { return w.Lost > 1 && w.State != ledger.Blocked }
	lost, _ := c.pick(isLost)
	if len(lost) > 0 && (reports(c.item, "lost/"+c.item.ID) || !c.namedByAnother("lost/", isLost)) {
		waiting := c.waitingFor(isLost)
		impact := "The store key stays encrypted under the older key version."
		if len(waiting) > 0 {
			impact = fmt.Sprintf("Its store key and those of %d more clusters of the key, none of which has been re-encrypted yet, stay encrypted under the older key version.", len(waiting))
		}
		a := c.add("lost", changeLost, alert.High, lost,
			fmt.Sprintf("Requests to re-encrypt cluster %s get no usable answer and leave no trace", named(c.item)),
			impact+" keyturn tries again after growing waits, at most once an hour, and reads before each try.",
			"Check the network between keyturn and the Cloud API: a proxy may answer in its place.",
			onCluster("status", c.item.ID))
		a.Clusters = append(a.Clusters, waiting...)
	}
}

// refusals reports a cluster whose PUTs are refused, with all that wait for it. A key that is refused for every cluster tried has one
// alert of its own; all other keys of the cluster are one alert about it.
func (c *conditions) refusals() {
	var own []refusal
	for _, r := range c.refused() {
		if !r.all {
			own = append(own, r)
			continue
		}
		for i := range c.item.Alarms { // the end of the canary's own incident must not read as if it had recovered
			if a := &c.item.Alarms[i]; a.Key == "refused/"+c.item.ID && !strings.HasPrefix(a.Alert.Summary, nowByKey) {
				a.Alert.Summary = nowByKey + a.Alert.Summary
			}
		}
		if c.reportedByAnother(r.work.Key, r.code()) {
			continue // one alert about the key is enough
		}
		all := together(r.waiting, affected(c.others(r.work, 1)))
		a := c.add("refused-key", changeRefused, alert.Critical, r.regions,
			fmt.Sprintf("The Cloud API refuses to re-encrypt every cluster that was tried with key %s: %s", r.work.Key.ID(), r.reason),
			fmt.Sprintf("The store keys of %d clusters stay encrypted under the older key version. keyturn tries one of them once an hour, and goes on when one is accepted.", len(all)+1),
			r.recovery(c.item.ID)...)
		a.DedupKey, a.Key = r.code(), r.work.Key
		a.Clusters = append(a.Clusters, all...)
	}
	c.ownRefusals(own)
}

// ownRefusals reports the keys of the cluster that are not known to be refused for others.
func (c *conditions) ownRefusals(own []refusal) {
	own = slices.DeleteFunc(own, func(r refusal) bool {
		// One alert is enough for clusters of one key, which most often have one cause.
		return len(r.waiting) == 0 && slices.ContainsFunc(r.also, func(other *ledger.Cluster) bool { return reports(other, "refused/"+other.ID) })
	})
	if len(own) == 0 {
		return
	}
	var regions, recovery []string
	var waiting, all []alert.AffectedCluster
	for _, r := range own {
		regions, recovery, waiting = append(regions, r.regions...), append(recovery, r.recovery(c.item.ID)...), together(waiting, r.waiting)
		all = together(together(all, r.waiting), affected(r.also))
	}
	impact := "The store key stays encrypted under the older key version. keyturn tries again at growing intervals."
	if len(waiting) > 0 {
		impact = fmt.Sprintf("Its store key and those of %d more clusters of the key stay encrypted under the older key version: they wait for this one, their canary. "+
			"keyturn tries again at growing intervals, and with another cluster after %s.", len(waiting), canaryPatience)
	}
	summary := fmt.Sprintf("The Cloud API refuses to re-encrypt cluster %s: %s", named(c.item), own[0].reason)
	if w := own[0].work; w.Order != "" && len(own) == 1 {
		o := c.facts.orderOf(w)
		summary = fmt.Sprintf("The Cloud API refuses to move cluster %s to key %s: %s", named(c.item), w.Key.ID(), own[0].reason)
		impact = fmt.Sprintf("%s The region stays on key %s. keyturn tries again at growing intervals.", whoOrdered(o), w.From.URI)
		if len(waiting) > 0 {
			impact += fmt.Sprintf(" The moves of %d more clusters to that key wait for this one, their canary; after %s another one is tried.", len(waiting), canaryPatience)
		}
		if o.Alias == "" {
			recovery = append(recovery, "If the move is not wanted any more, cancel it:", onCluster("rotate", c.item.ID)+" --cancel")
		}
	}
	a := c.add("refused", changeRefused, alert.High, regions, summary, impact, recovery...)
	if len(own) == 1 {
		a.Key = own[0].work.Key
	}
	a.Clusters = append(a.Clusters, all...)
}

// refusal is what is known about the refused PUTs of the cluster for one key.
type refusal struct {
	// work is the first of the key's work that is refused, regions are those of all of it.
	work    ledger.Work
	regions []string
	reason  string
	// waiting are the clusters that wait for this one, and also those whose PUTs are refused, too.
	waiting []alert.AffectedCluster
	also    []*ledger.Cluster
	// all: every cluster that was tried with the key is refused.
	all bool
}

func (r refusal) code() string { return "refused-key/" + r.work.Key.Canonical() }

func (r refusal) recovery(clusterID string) []string {
	return []string{"Check that the cluster's principal may still use the key " + string(r.work.Key) + ":", onCluster("plan", clusterID)}
}

// refused lists the keys for which PUTs of the cluster are refused.
func (c *conditions) refused() (found []refusal) {
	for _, w := range c.item.Work {
		if w.Attempts < refusalsToReport || denied(w) || w.State != ledger.Due || busyFor(w) {
			continue
		}
		if i := slices.IndexFunc(found, func(r refusal) bool { return r.work.Key.SameKey(w.Key) }); i >= 0 {
			found[i].regions = append(found[i].regions, w.Region)
			continue
		}
		r := refusal{work: w, regions: []string{w.Region}, reason: w.Reason}
		if w.Request != nil && refused(w.Request) && w.Request.Answer.Message != "" {
			r.reason = w.Request.Answer.Message // the work's own reason may be newer: that it is due again
		}
		var canaryDone bool
		if r.waiting, canaryDone = c.waiting(w); !canaryDone {
			// A cluster stays refused until a PUT of it is accepted: that the answer to the last one is not known changes nothing.
			r.all = len(c.others(w, 1)) > 0 || reports(c.item, r.code()) || c.reportedByAnother(w.Key, r.code())
		}
		r.also = c.others(w, refusalsToReport)
		found = append(found, r)
	}
	return found
}

// denied reports whether our API key was denied the last PUT for the work, which is reported once for all clusters.
func denied(w ledger.Work) bool {
	return w.Attempts > 0 && w.Request != nil && w.Request.Answer != nil && w.Request.Answer.Denied
}

// putDenied is the alert for an API key that may not send PUTs to the clusters, by id with their names.
func putDenied(clusters map[string]string) alert.Alert {
	a := alert.Alert{
		DedupKey: "put-denied", Audience: alert.Operations, Severity: alert.High, Change: changeAPIKeyRefused,
		Summary:       "The Cloud API denies keyturn's API key the PUT that re-encrypts store keys",
		Impact:        "The store keys of these clusters, and of those that wait for them, stay encrypted under the older key version. keyturn tries again at growing intervals, and reads the secret again each time.",
		RecoverySteps: []string{"Give keyturn's service account Cluster Operator on the clusters (or their folder), or store a working API key in the secret."},
	}
	for _, id := range slices.Sorted(maps.Keys(clusters)) {
		a.Clusters = append(a.Clusters, alert.AffectedCluster{ID: id, Name: clusters[id]})
	}
	return a
}

// busyFor reports whether the work was refused because of the moment only, a busy cluster or a spent rate limit, and not for long.
func busyFor(w ledger.Work) bool {
	return w.Attempts < busyRefusalsToReport && w.Request != nil && w.Request.Answer != nil && w.Request.Answer.Busy
}

// waiting lists the other clusters of the work's key version that are not re-encrypted and wait for its canary; none if that is done.
func (c *conditions) waiting(work ledger.Work) (waiting []alert.AffectedCluster, canaryDone bool) {
	f := decision{c.facts, c.item, c.now, Settings{}}.fleet(work, work.Version)
	if f.canaryDone {
		return nil, true
	}
	for _, p := range f.waiting {
		if p.cluster.ID == c.item.ID {
			continue
		}
		a := alert.AffectedCluster{ID: p.cluster.ID, Name: p.cluster.Cluster.Name}
		for _, w := range p.cluster.Work {
			if concerns(w, work.Key, work.Version) {
				a.Regions = append(a.Regions, w.Region)
			}
		}
		waiting = append(waiting, a)
	}
	return waiting, false
}

// waitingFor lists the clusters that wait for work of this one that matches.
func (c *conditions) waitingFor(match func(ledger.Work) bool) (waiting []alert.AffectedCluster) {
	for _, w := range c.item.Work {
		if match(w) {
			more, _ := c.waiting(w)
			waiting = together(waiting, more)
		}
	}
	return waiting
}

// namedByAnother reports whether an open incident of another cluster, of the kind given, names this one as waiting with the same
// key as its work that matches.
func (c *conditions) namedByAnother(kind string, match func(ledger.Work) bool) bool {
	return slices.ContainsFunc(c.item.Work, func(w ledger.Work) bool {
		return match(w) && slices.ContainsFunc(c.facts.Fleet[w.Key.Canonical()], func(other *ledger.Cluster) bool {
			return other != nil && other.ID != c.item.ID && slices.ContainsFunc(other.Alarms, func(a ledger.Alarm) bool {
				return a.Key == kind+other.ID && slices.ContainsFunc(a.Alert.Clusters, func(n alert.AffectedCluster) bool { return n.ID == c.item.ID })
			})
		})
	})
}

func affected(clusters []*ledger.Cluster) (list []alert.AffectedCluster) {
	for _, c := range clusters {
		list = append(list, alert.AffectedCluster{ID: c.ID, Name: c.Cluster.Name})
	}
	return list
}

// together is both lists, each cluster once, with its regions in both.
func together(list, more []alert.AffectedCluster) []alert.AffectedCluster {
	at := map[string]int{}
	for i, a := range list {
		at[a.ID] = i
	}
	for _, a := range more {
		i, listed := at[a.ID]
		if !listed {
			at[a.ID], list = len(list), append(list, a)
			continue
		}
		for _, region := range a.Regions {
			if !slices.Contains(list[i].Regions, region) {
				list[i].Regions = append(slices.Clip(list[i].Regions), region)
			}
		}
	}
	return list
}

// reportedByAnother reports whether another cluster of the key has the incident open.
func (c *conditions) reportedByAnother(key cmek.KeyURI, dedupKey string) bool {
	return slices.ContainsFunc(c.facts.Fleet[key.Canonical()], func(other *ledger.Cluster) bool {
		return other != nil && other.ID != c.item.ID && reports(other, dedupKey)
	})
}

// reports reports whether the cluster has the incident open.
func reports(c *ledger.Cluster, dedupKey string) bool {
	return slices.ContainsFunc(c.Alarms, func(a ledger.Alarm) bool { return a.Key == dedupKey })
}

// others lists the other clusters whose PUTs for the work's key version were refused so often in a row, or more.
func (c *conditions) others(work ledger.Work, refusals int) (others []*ledger.Cluster) {
	for _, other := range c.facts.Fleet[work.Key.Canonical()] {
		if other != nil && other.ID != c.item.ID && !leftAlone(other) && slices.ContainsFunc(other.Work, func(w ledger.Work) bool {
			return concerns(w, work.Key, work.Version) && w.Attempts >= refusals
		}) {
			others = append(others, other)
		}
	}
	return others
}

func (c *conditions) blocked() {
	blocked, reason := c.pick(func(w ledger.Work) bool {
		info, _ := c.item.CMEK.Region(w.Region)
		// A failed region has an incident of its own, and so has a key.
		return w.State == ledger.Blocked && w.Order == "" && w.Failed == 0 && !info.Status.Failed() && !keyBlocked(w, c.facts)
	})
	c.blockedOrders()
	if len(blocked) > 0 {
		c.add("held", changeBlocked, alert.Medium, blocked,
			fmt.Sprintf("The follow-through for cluster %s is blocked: %s", named(c.item), reason),
			"The store key stays encrypted under the older key version until this is fixed.",
			"Read why, and fix it:", onCluster("status", c.item.ID), "If keyturn does not notice by itself that it is fixed:", onCluster("retry", c.item.ID))
	}
	if ambiguous := severalKeys(c.item); len(ambiguous) > 0 {
		c.add("ambiguous", changeBlocked, alert.Medium, ambiguous,
			fmt.Sprintf("Cluster %s has several ENABLED key specs in one region, so keyturn follows none of them there", named(c.item)),
			"Rotations of these keys are not followed in these regions until one spec is left.",
			onCluster("status", c.item.ID), "Ask Cockroach Labs support which spec is in force.")
	}
}

// blockedOrders reports each order that is blocked: what was ordered, by whom and why, and what takes it back.
func (c *conditions) blockedOrders() {
	for _, w := range c.item.Work {
		if info, _ := c.item.CMEK.Region(w.Region); w.Order == "" || w.State != ledger.Blocked || w.Failed > 0 || info.Status.Failed() {
			continue // a failed region has an incident of its own
		}
		o := c.facts.orderOf(w)
		region := alert.ShellWord(w.Region)
		impact := fmt.Sprintf("The region stays on key %s, and keyturn follows the rotations of that one.", w.From.URI)
		if w.Request != nil {
			impact = "A request was sent for it; what became of that is not certain."
		}
		steps := []string{"Read what keeps it, and fix that. It then goes on by itself:", onCluster("status", c.item.ID)}
		if w.Request != nil {
			steps = append(steps, "If keyturn does not notice by itself that it is fixed:", onCluster("retry", c.item.ID))
		}
		if w.Trigger.Kind == fromPin {
			steps = append(steps, "If the region is not to follow the alias any more:", onCluster("unpin", c.item.ID)+" --region "+region)
		} else {
			impact += fmt.Sprintf(" The order expires at %s.", o.At.Add(ledger.OrderExpires).UTC().Format(time.RFC3339))
			steps = append(steps, "If the move is not wanted any more, cancel it:", onCluster("rotate", c.item.ID)+" --region "+region+" --cancel")
		}
		a := c.add("order-blocked", changeBlocked, alert.Medium, []string{w.Region},
			fmt.Sprintf("The move of cluster %s in %s to key %s is blocked: %s", named(c.item), w.Region, w.Key.ID(), w.Reason), whoOrdered(o)+" "+impact, steps...)
		a.DedupKey, a.Key = "order-blocked/"+c.item.ID+"/"+w.Region, w.Key
	}
}

// whoOrdered is a sentence about where an order comes from.
func whoOrdered(o ledger.Order) string {
	by, why := cmp.Or(o.By, "somebody"), ""
	if o.Reason != "" {
		why = fmt.Sprintf(" (%s)", o.Reason)
	}
	if o.Alias != "" {
		return fmt.Sprintf("%s pinned the region to alias %s%s.", by, o.Alias, why)
	}
	return fmt.Sprintf("%s ordered it%s.", by, why)
}

// visibility reports a cluster, or a region of it, that is no longer shown.
func (c *conditions) visibility(s Settings) {
	const impact = "keyturn keeps what it last read: the keys still count as in use, and nothing is dropped. Their rotations are not followed there meanwhile."
	forget := []string{"Only if the cluster is gone, end its record and this alert. Replace REASON below:", onCluster("forget", c.item.ID) + " --reason REASON"}
	if open := reports(c.item, "cluster-unshown/"+c.item.ID); !open && c.item.Unread.Why == whyHidden && c.now.Sub(c.item.Unread.Since) < s.SweepEvery {
		return // it may be deleted, which only the list of a sweep tells
	}
	if !c.item.Unread.IsZero() {
		a := c.add("cluster-unshown", changeClusterUnshown, alert.High, nil,
			fmt.Sprintf("Cluster %s: %s", named(c.item), c.item.Unread.Why), impact,
			append([]string{"Check that keyturn's service account still has Cluster Operator on the cluster (or its folder)."}, forget...)...)
		a.Audience = alert.Operations
		c.addWaiting(a, func(w ledger.Work) bool { return w.State == ledger.Requested })
		return
	}
	var partial []string
	for region, since := range c.item.Partial {
		if c.now.Sub(since) >= busyWait*10 {
			partial = append(partial, region)
		}
	}
	if slices.Sort(partial); len(partial) > 0 {
		a := c.add("region-unshown", changeClusterUnshown, alert.Medium, partial,
			fmt.Sprintf("Cluster %s: the Cloud API shows a region in the cluster or in its CMEK, but not in both: %s", named(c.item), strings.Join(partial, ", ")),
			impact, onCluster("status", c.item.ID), "Ask Cockroach Labs support if the region should have a key.")
		a.Audience = alert.Operations
		c.addWaiting(a, func(w ledger.Work) bool { return w.State == ledger.Requested && slices.Contains(partial, w.Region) })
	}
}

// addWaiting adds the clusters to the alert that wait for the request of work that matches.
func (c *conditions) addWaiting(a *alert.Alert, match func(ledger.Work) bool) {
	waiting := c.waitingFor(match)
	if len(waiting) == 0 || hiddenFor(c.item, c.now) {
		return
	}
	a.Clusters = append(a.Clusters, waiting...)
	a.Impact += fmt.Sprintf(" A request to it is open, and %d more clusters of the key wait for its outcome, %s at most.", len(waiting), canaryPatience)
}

// rewoundAlert reports that reads older than one before them have become the truth.
func rewoundAlert(item *ledger.Cluster, now time.Time) alert.Alert {
	id := fmt.Sprintf("reads-rewound/%s@%d", item.ID, now.Unix())
	return alert.Alert{
		ID: id, DedupKey: id, Audience: alert.Operations, Severity: alert.Medium, Change: changeReadsRewound, Time: now,
		Clusters:      []alert.AffectedCluster{{ID: item.ID, Name: item.Cluster.Name}},
		Summary:       fmt.Sprintf("The Cloud API has shown an earlier CMEK state of cluster %s than before, %d times over %s", named(item), olderReads, olderLimit),
		Impact:        "keyturn now takes this state for the truth. A key or a change that it showed before is no longer shown.",
		RecoverySteps: []string{onCluster("status", item.ID), "Ask Cockroach Labs support whether the cluster's CMEK was restored to an earlier state."},
		Runbook:       runbook(changeReadsRewound),
	}
}

func forgottenAlert(item *ledger.Cluster, by, reason string, now time.Time) alert.Alert {
	id := fmt.Sprintf("forgotten/%s@%d", item.ID, now.Unix())
	return alert.Alert{
		ID: id, DedupKey: id, Audience: alert.Operations, Severity: alert.Low, Change: changeForgotten, Time: now, Principal: by,
		Clusters: []alert.AffectedCluster{{ID: item.ID, Name: item.Cluster.Name}},
		Summary:  fmt.Sprintf("Cluster %s was forgotten by %s: %s", named(item), by, reason),
		Impact:   "keyturn no longer counts its keys as in use. If the Cloud API shows the cluster again, keyturn follows it again.",
		Runbook:  runbook(changeForgotten),
	}
}

// severalKeys lists the regions with more than one ENABLED key spec.
func severalKeys(item *ledger.Cluster) (regions []string) {
	for _, info := range item.CMEK.RegionInfos {
		open := slices.ContainsFunc(item.Work, func(w ledger.Work) bool { return w.Region == info.Region }) // blocked, and reported so
		if _, distinct := info.Current(); distinct > 1 && !open {
			regions = append(regions, info.Region)
		}
	}
	return regions
}

// keyBlocked reports whether the work is blocked because of its key's state, which has an incident of its own.
func keyBlocked(w ledger.Work, f Facts) bool {
	if w.Order != "" {
		return false
	}
	fact, read := f.Keys[w.Key]
	if !read || fact.Err != nil {
		return strings.HasPrefix(w.Reason, whyKeyIs) // as it was when the key was last read
	}
	return fact.Key.State.Unusable()
}

// cloudFailure finds a failure that Cockroach Labs reports and that is not ours.
func cloudFailure(item *ledger.Cluster) (regions []string, reason string) {
	for _, info := range item.CMEK.RegionInfos {
		if info.Status.Failed() {
			regions, reason = append(regions, info.Region), string(info.Status)
			for _, k := range info.KeyInfos {
				if k.Status.Failed() || k.UserMessage != "" {
					reason = strings.TrimSpace(string(info.Status) + " " + k.UserMessage)
				}
			}
		}
	}
	if len(regions) == 0 && item.Cluster.OperationStatus == cmek.CMEKOperationFailed {
		for _, info := range item.CMEK.RegionInfos {
			regions = append(regions, info.Region)
		}
		reason = item.Cluster.OperationStatus
	}
	return regions, reason
}

// movedAlert reports an order that was carried out. The old key is never said to be needless: backups were written under it.
// What its order says of Terraform decides what is to be done: the provider's next edit of the resource would put the old key back.
func movedAlert(item *ledger.Cluster, w ledger.Work, terraform string, now time.Time) alert.Alert {
	id := fmt.Sprintf("moved/%s/%s", item.ID, w.Order)
	return alert.Alert{
		ID: id, DedupKey: id, Audience: alert.Owners, Severity: alert.Info, Change: changeMoved, Key: w.Key, Time: now,
		Clusters: []alert.AffectedCluster{{ID: item.ID, Name: item.Cluster.Name, Regions: []string{w.Region}}},
		Summary:  fmt.Sprintf("Cluster %s: the store key in %s is encrypted with key %s", named(item), w.Region, w.Key.ID()),
		Impact: fmt.Sprintf("The old key %s is still needed: backups of before this day can only be restored with it. With the longest retention that can be chosen that is until %s.",
			w.From.URI, StillNeeded(now).Format(time.DateOnly)),
		RecoverySteps: writeBack(item.ID, w, terraform),
		Runbook:       runbook(changeMoved),
	}
}

// longestRetention is the longest time for which managed backups can be kept (CockroachDB docs, "Managed backups": 2, 7, 30, 90 or 365
// days).
const longestRetention = 365 * 24 * time.Hour

// StillNeeded is until when a key that was replaced at that time may be needed to restore a managed backup.
func StillNeeded(replaced time.Time) time.Time { return replaced.Add(longestRetention).UTC() }

func followedAlert(item *ledger.Cluster, done []ledger.Done, now time.Time) alert.Alert {
	var regions []string
	for _, d := range done {
		regions = append(regions, d.Region)
	}
	return alert.Alert{
		ID:       fmt.Sprintf("followed/%s/%d", item.ID, item.Chain.Count),
		DedupKey: fmt.Sprintf("followed/%s/%d", item.ID, item.Chain.Count),
		Audience: alert.Owners, Severity: alert.Info, Change: changeFollowed, Key: done[0].Key, Time: now,
		Clusters: []alert.AffectedCluster{{ID: item.ID, Name: item.Cluster.Name, Regions: regions}},
		Summary: fmt.Sprintf("Cluster %s: the store key is re-encrypted under %s in %s", item.Cluster.Name,
			done[0].Version.Short(), strings.Join(regions, ", ")),
		Runbook: runbook(changeFollowed),
	}
}

func announcedAlert(item *ledger.Cluster, verdicts []Verdict, now time.Time) alert.Alert {
	var regions []string
	for _, v := range verdicts {
		regions = append(regions, v.Region)
	}
	v := verdicts[0]
	id := fmt.Sprintf("would-follow/%s/%s/%s", item.ID, strings.Join(regions, "+"), v.Version)
	return alert.Alert{
		ID: id, DedupKey: id, Audience: alert.Owners, Severity: alert.Low, Change: changeAnnounced, Key: v.Spec.URI, Time: now,
		Clusters: []alert.AffectedCluster{{ID: item.ID, Name: item.Cluster.Name, Regions: regions}},
		Summary: fmt.Sprintf("Cluster %s: the store key in %s is not encrypted under the key's current version %s",
			item.Cluster.Name, strings.Join(regions, ", "), v.Version.Short()),
		Impact:        "keyturn observes and sent nothing. Following is switched on with KEYTURN_MODE=follow.",
		RecoverySteps: []string{onCluster("plan", item.ID)},
		Runbook:       runbook(changeAnnounced),
	}
}
