package rotation

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// What rotation's alerts are about; each has a section in the function's README.
const (
	changeFollowed          cmek.Change = "re-encrypted"
	changeAnnounced         cmek.Change = "would re-encrypt"
	changeKeyUnusable       cmek.Change = "key unusable"
	changeKeyUnreadable     cmek.Change = "key unreadable"
	changeRotateFailed      cmek.Change = "rotation failed"
	changeStuck             cmek.Change = "rotation stuck"
	changeOverdue           cmek.Change = "follow-through overdue"
	changeHeld              cmek.Change = "follow-through held"
	changeRefused           cmek.Change = "requests refused"
	changeClusterUnreadable cmek.Change = "cluster unreadable"
	changeAPIKeyRefused     cmek.Change = "API key refused"
	changeSweepIncomplete   cmek.Change = "sweep incomplete"
	changeUndelivered       cmek.Change = "messages undelivered"
)

func runbook(change cmek.Change) string {
	return "functions/rotation/README.md#" + strings.ToLower(strings.ReplaceAll(string(change), " ", "-"))
}

// ring compares the conditions that hold now with the alarms that are open: a new condition is told once, and so is the end
// of one. A condition that could not be judged this time stays as it was.
func ring(item *ledger.Cluster, f Facts, now time.Time, s Settings) {
	if f.Gone {
		// Not resolved: nobody can tell any more.
		for i := range item.Alarms {
			a := &item.Alarms[i].Alert
			a.Summary = fmt.Sprintf("Cluster %s is gone, or keyturn may no longer see it; open until then: %s", item.Cluster.Name, a.Summary)
		}
	}
	conditions, unjudged := conditions(item, f, now, s)
	item.Alarms = transitions(item.Alarms, conditions, unjudged, now, &item.Outbox)
}

// transitions tells about each condition that began or ended, and returns the alarms that are open now.
func transitions(open []ledger.Alarm, conditions []cmek.Alert, unjudged func(key string) bool, now time.Time, out *ledger.Outbox) []ledger.Alarm {
	holds := func(key string) bool {
		return slices.ContainsFunc(conditions, func(a cmek.Alert) bool { return a.DedupKey == key })
	}
	var alarms []ledger.Alarm
	for _, alarm := range open {
		if holds(alarm.Key) || unjudged(alarm.Key) {
			alarms = append(alarms, alarm)
			continue
		}
		end := alarm.Alert
		end.ID = fmt.Sprintf("%s@%d/resolved", alarm.Key, alarm.Since.Unix())
		end.Resolved, end.Severity, end.Time = true, cmek.Info, now
		end.Consequence, end.WayBack, end.Deadline = "", nil, time.Time{}
		out.Tell(end)
	}
	for _, alert := range conditions {
		alert.ID = fmt.Sprintf("%s@%d", alert.DedupKey, now.Unix())
		alert.Runbook = runbook(alert.Change)
		if alert.Time.IsZero() {
			alert.Time = now
		}
		i := slices.IndexFunc(alarms, func(a ledger.Alarm) bool { return a.Key == alert.DedupKey })
		switch {
		case i < 0:
			alarms = append(alarms, ledger.Alarm{Key: alert.DedupKey, Since: now, Alert: alert})
			out.Tell(alert)
		case news(alarms[i].Alert, alert):
			alarms[i].Alert = alert
			out.Tell(alert)
		}
	}
	return alarms
}

// news reports whether an open alarm has become another one: more or less urgent, due at another time, or, where the summary
// names a state and not a server's words, in another state.
func news(told, now cmek.Alert) bool {
	state := now.Change == changeKeyUnusable || now.Change == changeHeld
	return told.Severity != now.Severity || !told.Deadline.Equal(now.Deadline) || state && told.Summary != now.Summary
}

// conditions lists what is wrong with the cluster now, one alert for each incident, and tells which dedup keys could not be
// judged.
func conditions(item *ledger.Cluster, f Facts, now time.Time, s Settings) (found []cmek.Alert, unjudged func(string) bool) {
	if f.Gone {
		return nil, func(string) bool { return false }
	}
	judged, needed := map[string]bool{}, map[string]bool{}
	for _, info := range item.CMEK.RegionInfos {
		spec, distinct := info.Current()
		for _, kind := range []string{keyUnusable, keyUnreadable} {
			needed[keyAlarm(kind, item, spec.Spec.URI)] = true
		}
		fact, read := f.Keys[spec.Spec.URI]
		passing := fact.Err != nil && !errors.Is(fact.Err, cmek.ErrDenied) && item.KeyFailures < keyFailuresToReport
		if distinct != 1 || !read || passing {
			continue
		}
		found = append(found, keyConditions(item, spec.Spec, fact, judged)...)
	}
	found = append(found, workConditions(item, f, now, s)...)
	return found, func(key string) bool { return needed[key] && !judged[key] }
}

// Kinds of alarms about a key of a cluster.
const (
	keyUnusable   = "key-unusable"
	keyUnreadable = "key-unreadable"
)

// keyAlarm is the dedup key of an alarm about a key. It names the cluster, because each cluster tells the beginning and the
// end for itself.
func keyAlarm(kind string, item *ledger.Cluster, uri cmek.KeyURI) string {
	return kind + "/" + item.ID + "/" + string(uri)
}

// keyConditions judges one key that the cluster needs.
func keyConditions(item *ledger.Cluster, spec cmek.KeySpec, fact KeyFact, judged map[string]bool) []cmek.Alert {
	// By the region's own URI: a replica of a multi-Region key is disabled and deleted on its own.
	unusable, unreadable := keyAlarm(keyUnusable, item, spec.URI), keyAlarm(keyUnreadable, item, spec.URI)
	if judged[unreadable] {
		return nil // another region with the same key
	}
	judged[unreadable] = true
	if fact.Err != nil {
		summary := fmt.Sprintf("keyturn cannot read key %s: %v", spec.URI.ID(), fact.Err)
		if errors.Is(fact.Err, cmek.ErrDenied) {
			summary = fmt.Sprintf("keyturn may not read key %s", spec.URI.ID())
		}
		return []cmek.Alert{{
			DedupKey: unreadable, Audience: cmek.Operations, Severity: cmek.High, Change: changeKeyUnreadable, Key: spec.URI,
			Clusters:    affected(item, spec.URI),
			Summary:     summary,
			Consequence: "Rotations of this key cannot be followed, and whether it is healthy is not known. This says nothing about the key itself.",
			WayBack:     []string{fmt.Sprintf("If access was denied: allow keyturn's role kms:DescribeKey, kms:GetKeyRotationStatus and kms:ListKeyRotations in the key policy of %s.", spec.URI)},
		}}
	}
	judged[unusable] = true
	if !fact.Key.State.Unusable() {
		return nil
	}
	return []cmek.Alert{{
		DedupKey: unusable, Audience: cmek.Owners, Severity: cmek.Critical, Change: changeKeyUnusable, Key: spec.URI,
		Clusters:    affected(item, spec.URI),
		Deadline:    fact.Key.DeletionDate,
		Summary:     fmt.Sprintf("The key of cluster %s in %s is %s", item.Cluster.Name, spec.URI.Location(), fact.Key.State),
		Consequence: "Nodes that restart cannot rejoin the cluster, and managed backups fail without a message. Running nodes go on with the keys they hold in memory.",
		WayBack:     wayBack(spec.URI, fact.Key.State),
	}}
}

// wayBack is how a key is made usable again, as commands.
func wayBack(uri cmek.KeyURI, state cmek.KeyState) []string {
	check := "Then check the cluster; nodes that restarted meanwhile may need Cockroach Labs support."
	if uri.Type() != cmek.AWSKMS {
		return []string{"Enable the key again in its KMS: " + string(uri), check}
	}
	at := fmt.Sprintf("--region %s --key-id %s", uri.Location(), uri)
	enable := "aws kms enable-key " + at
	switch state {
	case cmek.KeyDisabled:
		return []string{enable, check}
	case cmek.KeyDeletionScheduled:
		return []string{"aws kms cancel-key-deletion " + at, enable + "   (canceling alone leaves the key disabled)", check}
	case cmek.KeyPendingImport:
		return []string{"Import the same key material again: aws kms import-key-material " + at + " …", check}
	case cmek.KeyNotFound:
		return []string{"aws kms describe-key " + at + "   (does the key exist, in this Region and account?)", check}
	}
	return []string{"aws kms describe-key " + at, check}
}

// workConditions judges what is open and what the cluster itself reports.
func workConditions(item *ledger.Cluster, f Facts, now time.Time, s Settings) []cmek.Alert {
	var found []cmek.Alert
	add := func(code string, change cmek.Change, severity cmek.Severity, regions []string, summary, consequence string, wayBack ...string) {
		found = append(found, cmek.Alert{
			DedupKey: code + "/" + item.ID, Audience: cmek.Owners, Severity: severity, Change: change, Summary: summary,
			Consequence: consequence, WayBack: wayBack,
			Clusters: []cmek.AffectedCluster{{ID: item.ID, Name: item.Cluster.Name, Regions: regions}},
		})
	}
	name := item.Cluster.Name
	pick := func(match func(ledger.Work) bool) (regions []string, reason string) {
		for _, w := range item.Work {
			if match(w) {
				regions, reason = append(regions, w.Region), w.Reason
			}
		}
		return regions, reason
	}

	failed, reason := pick(func(w ledger.Work) bool { return w.Failed > 0 })
	if len(failed) == 0 {
		failed, reason = cloudFailure(item)
	}
	if len(failed) > 0 {
		add("rotate-failed", changeRotateFailed, cmek.Critical, failed,
			fmt.Sprintf("A CMEK operation of cluster %s failed: %s", name, reason),
			"The store key is not known to be wrapped under the new key version. Other clusters of the same key wait.",
			"Read Cockroach Labs' message above and the key's policy; mend what it names.",
			"keyturn release "+item.ID+"   (lets keyturn try again)")
	}
	if stuck, _ := pick(func(w ledger.Work) bool { return w.Request != nil && !w.Request.StuckSince.IsZero() }); len(stuck) > 0 {
		add("stuck", changeStuck, cmek.High, stuck,
			fmt.Sprintf("The re-encryption of cluster %s has been running for more than %s", name, stuckAfter),
			"keyturn goes on watching and sends nothing more to the cluster.",
			"Open a support case with Cockroach Labs and name the cluster id "+item.ID+".")
	}
	if refused, reason := pick(func(w ledger.Work) bool { return w.Attempts >= refusalsToReport }); len(refused) > 0 {
		add("refused", changeRefused, cmek.High, refused,
			fmt.Sprintf("The Cloud API refuses to re-encrypt cluster %s: %s", name, reason),
			"The store key stays wrapped under the older key version. keyturn tries again at growing intervals.",
			"Check that the cluster's principal may still use the key, and that keyturn's API key has Cluster Operator on the cluster.")
	}
	if denied, reason := pick(func(w ledger.Work) bool {
		return w.Attempts > 0 && w.Request != nil && w.Request.Answer != nil && w.Request.Answer.Denied
	}); len(denied) > 0 {
		add("put-denied", changeAPIKeyRefused, cmek.High, denied,
			fmt.Sprintf("The Cloud API denies keyturn's API key the PUT to cluster %s: %s", name, reason),
			"The store key stays wrapped under the older key version. keyturn tries again at growing intervals, with the secret read afresh.",
			"Give keyturn's service account Cluster Operator on the cluster (or its folder), or store a working API key in the secret.")
		found[len(found)-1].Audience = cmek.Operations
	}
	if held, reason := pick(func(w ledger.Work) bool { return w.State == ledger.Held && w.Failed == 0 && !keyHeld(w, f) }); len(held) > 0 {
		add("held", changeHeld, cmek.Medium, held,
			fmt.Sprintf("The follow-through for cluster %s is held: %s", name, reason),
			"The store key stays wrapped under the older key version until this is settled.",
			"keyturn status "+item.ID, "keyturn release "+item.ID+"   (once it is settled, if keyturn does not notice by itself)")
	}
	if ambiguous := severalKeys(item); len(ambiguous) > 0 {
		add("ambiguous", changeHeld, cmek.Medium, ambiguous,
			fmt.Sprintf("Cluster %s has several ENABLED key specs in one region, so keyturn follows none of them there", name),
			"Rotations of these keys are not followed in these regions until one spec is left.",
			"keyturn status "+item.ID, "Ask Cockroach Labs support which spec is in force.")
	}
	if !item.FailingSince.IsZero() && now.Sub(item.FailingSince) >= undeliveredToReport {
		add("undelivered", changeUndelivered, cmek.High, nil,
			fmt.Sprintf("keyturn has not been able to deliver messages about cluster %s for over an hour", name),
			"Evidence or alerts wait in the ledger; none is lost.",
			"Look at the function's log for the reason: the archive or a topic refuses.")
		found[len(found)-1].Audience = cmek.Operations
	}
	if overdue, reason := pick(func(w ledger.Work) bool { return s.Mode == Follow && now.Sub(w.Since) >= overdueAfter }); len(overdue) > 0 {
		add("overdue", changeOverdue, cmek.High, overdue,
			fmt.Sprintf("The key of cluster %s rotated over a day ago and the store key is still not re-encrypted: %s", name, reason),
			"The store key stays wrapped under the older key version.",
			"keyturn status "+item.ID)
	}
	return found
}

// severalKeys lists the regions with more than one ENABLED key spec.
func severalKeys(item *ledger.Cluster) (regions []string) {
	for _, info := range item.CMEK.RegionInfos {
		open := slices.ContainsFunc(item.Work, func(w ledger.Work) bool { return w.Region == info.Region }) // held, and told so
		if _, distinct := info.Current(); distinct > 1 && !open {
			regions = append(regions, info.Region)
		}
	}
	return regions
}

// keyHeld reports whether the work is held because of its key's state, which has an alarm of its own.
func keyHeld(w ledger.Work, f Facts) bool {
	fact, read := f.Keys[w.Key]
	return read && fact.Err == nil && fact.Key.State.Unusable()
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

// affected is the cluster with those of its regions that use the key.
func affected(item *ledger.Cluster, uri cmek.KeyURI) []cmek.AffectedCluster {
	a := cmek.AffectedCluster{ID: item.ID, Name: item.Cluster.Name}
	for _, info := range item.CMEK.RegionInfos {
		if spec, n := info.Current(); n == 1 && spec.Spec.URI == uri {
			a.Regions = append(a.Regions, info.Region)
		}
	}
	return []cmek.AffectedCluster{a}
}

func followedAlert(item *ledger.Cluster, done []ledger.Done, now time.Time) cmek.Alert {
	var regions []string
	for _, d := range done {
		regions = append(regions, d.Region)
	}
	return cmek.Alert{
		ID:       fmt.Sprintf("followed/%s/%d", item.ID, item.Chain.Count),
		DedupKey: fmt.Sprintf("followed/%s/%d", item.ID, item.Chain.Count),
		Audience: cmek.Owners, Severity: cmek.Info, Change: changeFollowed, Key: done[0].Key, Time: now,
		Clusters: []cmek.AffectedCluster{{ID: item.ID, Name: item.Cluster.Name, Regions: regions}},
		Summary: fmt.Sprintf("Cluster %s: the store key is re-encrypted under %s in %s", item.Cluster.Name,
			done[0].Version.Short(), strings.Join(regions, ", ")),
		Runbook: runbook(changeFollowed),
	}
}

func announcedAlert(item *ledger.Cluster, verdicts []Verdict, now time.Time) cmek.Alert {
	var regions []string
	for _, v := range verdicts {
		regions = append(regions, v.Region)
	}
	v := verdicts[0]
	id := fmt.Sprintf("would-follow/%s/%s/%s", item.ID, strings.Join(regions, "+"), v.Version)
	return cmek.Alert{
		ID: id, DedupKey: id, Audience: cmek.Owners, Severity: cmek.Low, Change: changeAnnounced, Key: v.Spec.URI, Time: now,
		Clusters: []cmek.AffectedCluster{{ID: item.ID, Name: item.Cluster.Name, Regions: regions}},
		Summary: fmt.Sprintf("Cluster %s: the store key in %s is not wrapped under the key's current version %s",
			item.Cluster.Name, strings.Join(regions, ", "), v.Version.Short()),
		Consequence: "keyturn observes and sent nothing. Following is switched on with KEYTURN_MODE=follow.",
		WayBack:     []string{"keyturn plan " + item.ID},
		Runbook:     runbook(changeAnnounced),
	}
}
