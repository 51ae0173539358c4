package rotation

import (
	"fmt"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// decide takes the reads over into the item and carries out on it what they call for.
func decide(item *ledger.Cluster, r Reads, claimed, now time.Time, s Settings) (Facts, Plan) {
	facts := absorb(item, r, now)
	facts.Claimed = claimed
	plan := Decide(facts, item, now, s)
	transition(item, facts, plan, now, s)
	return facts, plan
}

// decidePoll is the swap of a poll: what the reads call for, and the claim of the PUT that the plan wants sent.
func decidePoll(item *ledger.Cluster, r Reads, now time.Time, s Settings) Plan {
	_, plan := decide(item, r, time.Time{}, now, s)
	if len(plan.Put) > 0 {
		claim(item, plan.Put, now)
	}
	return plan
}

// decideSend is the swap before a PUT: it reports whether the claimed PUT leaves, which the item says from then on. If it does
// not, the claim is taken back.
func decideSend(item *ledger.Cluster, r Reads, put []cmek.RegionSpec, intent, now time.Time, s Settings) (plan Plan, leaves bool) {
	facts, plan := decide(item, r, intent, now, s)
	if leaves = stands(item, plan, put, intent, now); leaves {
		depart(item, facts, put, intent, now)
	} else {
		unclaim(item, intent)
	}
	return plan, leaves
}

// transition carries a plan out on the ledger item: the states of the work, what must be reported about them, and when to poll
// again. It is pure like Decide, so that it can be repeated on a fresh item after a conflict.
func transition(item *ledger.Cluster, f Facts, p Plan, now time.Time, s Settings) {
	if readable(item, f) {
		item.Failures = 0
	}
	var done []ledger.Done
	var announced []Verdict
	var kept []ledger.Work
	opened := false
	for _, v := range p.Verdicts {
		if v.work < 0 {
			switch v.Act {
			case Adopt:
				item.SetDone(adopted(v, now))
			case Open:
				opened = true
				if v.order.ID != "" {
					kept = append(kept, ordered(v.order, v.Why, now))
					continue
				}
				kept = append(kept, revived(item, ledger.Work{Region: v.Region, Key: v.Spec.URI, Version: v.Version, State: ledger.Due,
					Reason: "the new version settles", Trigger: ledger.Trigger{Kind: "sweep", Time: now}, Since: now, RotatedAt: v.RotatedAt}))
			}
			continue
		}
		w := item.Work[v.work]
		switch v.Act {
		case Drop:
			item.Dropped = dropped(item.Dropped, w, v.Why, now)
			if w.Order != "" {
				endOrder(item, w, v, now)
			}
		case Adopt:
			item.SetDone(adopted(v, now))
			item.Dropped = dropped(item.Dropped, w, "adopted: "+v.Why, now)
		case Complete:
			w.Request = v.watched
			previous, _ := item.DoneIn(w.Region)
			d := ledger.Done{Region: w.Region, Key: w.Key, Version: w.Version, At: now, Followed: true, Order: w.Order, Sent: w.Request.LeftAt(), Evidence: v.Why}
			item.SetDone(d)
			file(item, w, d, previous)
			if w.Order == "" {
				done = append(done, d)
				continue
			}
			v.reached, v.order = true, f.orderOf(w)
			endOrder(item, w, v, now)
			item.Tell(movedAlert(item, w, v.order.Terraform, now))
		default:
			if v.Act == Resend || v.Act == Supersede && unsettled(w) {
				doubt(item, w)
			}
			if w = moved(w, v, now); w.State == ledger.Due && w.Claim == nil {
				w = revived(item, w)
			}
			if v.Act == Announce {
				announced = append(announced, v)
			}
			kept = append(kept, w)
		}
	}
	if openRequest(item.Work) && !openRequest(kept) {
		opened = release(kept) || opened
	}
	item.Work = kept
	if len(done) > 0 {
		item.Tell(followedAlert(item, done, now))
	}
	if len(announced) > 0 {
		item.Tell(announcedAlert(item, announced, now))
	}
	if f.CMEKRead {
		reportUndone(item, f.CMEK, f.ReadAt)
	}
	reportConditions(item, f, now, s)
	schedule(item, p, now, opened, s)
}

// unsettled reports whether a request for the work may have been carried out, and no read showed it.
func unsettled(w ledger.Work) bool {
	return w.Request != nil && (w.State == ledger.Requested || w.Request.GivenUp) && !refused(w.Request)
}

// doubt forgets which version is done in the region of work whose request may have been carried out: if that version becomes primary
// again, the store key may be under the work's. On AWS no version comes back.
func doubt(item *ledger.Cluster, w ledger.Work) {
	done, ok := item.DoneIn(w.Region)
	if ok && w.Version.Scheme == cmek.Primary && done.Version != w.Version {
		done.Version = cmek.KeyVersion{}
		item.SetDone(done)
	}
}

func openRequest(works []ledger.Work) bool {
	return slices.ContainsFunc(works, func(w ledger.Work) bool { return w.State == ledger.Requested })
}

// release gives the work that waited for the cluster's own request its place in the order, now that no request is open. It reports
// whether there is any.
func release(works []ledger.Work) (any bool) {
	for i := range works {
		if w := &works[i]; w.Detained && w.Reason == whyInFlight {
			w.Detained, any = false, true
		}
	}
	return any
}

// readable reports whether all that follow-through needs to read of the cluster was read: a list, or half of it, does not prove it.
func readable(item *ledger.Cluster, f Facts) bool {
	return f.CMEKRead && (f.ClusterRead && !f.Listed || len(item.Work) == 0)
}

// moved is the work that stays open after the verdict.
func moved(w ledger.Work, v Verdict, now time.Time) ledger.Work {
	if v.watched == nil && !v.Version.IsZero() {
		if w.Version != v.Version {
			w.Version, w.VersionSeen = v.Version, now
		}
		w.RotatedAt = v.RotatedAt
	}
	if w.Claim != nil && !w.Claimed(now) {
		w.Claim = nil // its worker is gone; nothing has left
	}
	if v.unread && w.State == ledger.Blocked {
		return w // what blocks it was read, and still stands
	}
	w.Reason, w.Detained = v.Why, v.detained
	if v.watched != nil {
		w.Request = v.watched
	}
	switch v.Act {
	case Block:
		w.State = ledger.Blocked
	case Fail:
		w.Failed++
		w.Request.Ended = true
		w.State, w.NotBefore = ledger.Due, now.Add(backoff(w.Failed+1))
		if w.Failed > 1 {
			w.State = ledger.Blocked
		}
	case Resend:
		w.Lost++
		w.Request.GivenUp = true
		w.State = ledger.Due
		if v.last {
			w.State, w.Reason = ledger.Blocked, whyLost
		}
	case Supersede:
		// A new version is new work: what became of requests for the old one does not concern it.
		w = ledger.Work{Region: w.Region, Key: w.Key, Order: w.Order, From: w.From, Version: v.Version, VersionSeen: now, RotatedAt: v.RotatedAt, State: ledger.Due,
			Reason: v.Why, Trigger: w.Trigger, Since: w.Since, Retried: w.Failed > 0 || w.Retried}
	case Wait:
		if v.unread {
			break
		}
		w.State = ledger.Due
		if v.watched != nil {
			w.State = ledger.Requested
		}
	case Announce:
		w.State, w.Announced = ledger.Due, true
	case Send:
		w.State = ledger.Due
	}
	return w
}

// claim notes that the regions' work is about to be sent. Nothing may leave before send has turned the claim into a request.
func claim(item *ledger.Cluster, put []cmek.RegionSpec, now time.Time) {
	for _, spec := range put {
		for i := range item.Work {
			if w := &item.Work[i]; w.State == ledger.Due && carries(spec, item.Work, *w) {
				w.Claim = &ledger.Claim{Intent: now}
			}
		}
	}
	item.NextLook = now.Add(answerWithin)
}

// stands reports whether the claim is still ours, soon enough after the intent, and the plan is the one that was claimed: the
// same regions, each with the same key spec.
func stands(item *ledger.Cluster, plan Plan, put []cmek.RegionSpec, intent, now time.Time) bool {
	if now.Sub(intent) > sendWithin || !slices.Equal(plan.Put, put) {
		return false
	}
	for _, spec := range put {
		ours := func(work ledger.Work) bool {
			return work.Region == spec.Region && work.Claim != nil && work.Claim.Intent.Equal(intent)
		}
		if !slices.ContainsFunc(item.Work, ours) {
			return false
		}
	}
	return true
}

// depart turns the claim of the intent given into a request with its baseline: from the moment the item is swapped in, a PUT may
// have been sent.
func depart(item *ledger.Cluster, f Facts, put []cmek.RegionSpec, intent, now time.Time) {
	for _, spec := range put {
		for i := range item.Work {
			w := &item.Work[i]
			if w.Region != spec.Region || w.Claim == nil || !w.Claim.Intent.Equal(intent) {
				continue
			}
			info, _ := f.CMEK.Region(w.Region)
			key := info.Newest(spec.KeySpec.URI)
			w.State, w.Reason, w.Claim, w.Key = ledger.Requested, "sending", nil, spec.KeySpec.URI
			w.Detained, w.NotBefore = false, time.Time{}
			updated := key.UpdatedAt
			if f.Undated[undatedName(w.Region, spec.KeySpec.URI)] {
				updated = time.Time{} // the inventory's is of before this read: what differs from it need not be of after
			}
			w.Request = &ledger.Request{Intent: intent, Sent: now, Baseline: &ledger.Baseline{ReadAt: f.ReadAt, Region: info.Status,
				Key: key.Status, UpdatedAt: updated, Operation: f.Cluster.OperationStatus}}
		}
	}
	item.NoteSent(now)
	unclaim(item, intent)
	item.NextLook = now.Add(answerWithin)
}

// unclaim takes back the claims of the intent given: nothing was sent. The request before them stays.
func unclaim(item *ledger.Cluster, intent time.Time) {
	for i := range item.Work {
		if w := &item.Work[i]; w.Claim != nil && w.Claim.Intent.Equal(intent) {
			w.Claim = nil
		}
	}
}

// stay takes back requests that are in the ledger but never left, and brings back those before them.
func stay(item *ledger.Cluster, before []ledger.Work, intent, now time.Time) {
	for i := range item.Work {
		w := &item.Work[i]
		if w.Claim != nil && w.Claim.Intent.Equal(intent) {
			w.Claim, w.Detained = nil, true // others of the key need not wait for a cluster that cannot be read
		}
		if w.Request == nil || !w.Request.Intent.Equal(intent) || w.Request.Answer != nil {
			continue
		}
		w.State, w.Request = ledger.Due, nil
		for _, old := range before {
			if old.Region == w.Region && old.Since.Equal(w.Since) && old.Version == w.Version && old.Order == w.Order {
				w.Request = old.Request
			}
		}
	}
	item.WaitUntil(now.Add(backoffMin))
}

// answer notes what is known about the PUT of the intent given.
func answer(item *ledger.Cluster, intent time.Time, a cmek.Answer, now time.Time, s Settings) {
	for i := range item.Work {
		w := &item.Work[i]
		if w.State != ledger.Requested || !w.Request.Intent.Equal(intent) {
			continue
		}
		r := *w.Request
		r.Answer, r.Answered = &a, now
		w.Request = &r
		switch a.Outcome {
		case cmek.Refused:
			w.Attempts++
			w.State = ledger.Due
			w.NotBefore = now.Add(max(refusalWait(a, w.Attempts, s), a.RetryAfter))
			w.Reason = fmt.Sprintf("refused: %s", a.Message)
			if w.RefusedSince.IsZero() {
				w.RefusedSince = now
			}
			item.WaitUntil(w.NotBefore)
		case cmek.Accepted:
			w.Attempts, w.RefusedSince = 0, time.Time{}
			w.Reason = "accepted"
			// What the answer shows begins the timeline; it proves nothing about the end.
			if info, ok := a.Info.Region(w.Region); ok {
				key := info.Newest(w.Key)
				r.Timeline = sighted(r.Timeline, ledger.Sighting{At: now, Region: info.Status, Key: key.Status, UpdatedAt: key.UpdatedAt})
			}
			item.NextLook = now.Add(s.Poll)
		default:
			w.Reason = fmt.Sprintf("outcome unknown: %s", a.Message)
			item.NextLook = now.Add(s.Poll)
		}
	}
	if a.Outcome == cmek.Refused {
		item.NextLook = time.Time{}
		for _, w := range item.Work {
			item.WaitUntil(latest(w.NotBefore, now))
		}
	}
}

// refusalWait is how long to wait after the nth refusal in a row. A refusal by a busy cluster or a rate limit may be a proxy's
// after the server got the request: the next read before a PUT must then be later than the oldest state that reads may show.
func refusalWait(a cmek.Answer, n int, s Settings) time.Duration {
	if a.HTTPStatus == 0 || a.Denied {
		return backoff(n)
	}
	return max(backoff(n), s.confirm())
}

func adopted(v Verdict, now time.Time) ledger.Done {
	return ledger.Done{Region: v.Region, Key: v.Spec.URI, Version: v.Version, At: now, Evidence: v.Why}
}

func dropped(list []ledger.Dropped, w ledger.Work, reason string, now time.Time) []ledger.Dropped {
	const kept = 10
	d := ledger.Dropped{Region: w.Region, Key: w.Key, Version: w.Version, Order: w.Order, Reason: reason, At: now}
	if w.Request != nil && !w.Request.Ended {
		d.Request = w.Request
	}
	list = append(list, d)
	return list[max(0, len(list)-kept):]
}

// revived is the work with the request of the same work that was dropped before its end was known, if there is one. Work that an
// operator reopened is to be sent, whatever became of requests before. A request that left before the region was last done has
// nothing more to tell: the traces since then are not its own, and its version may be an older one.
func revived(item *ledger.Cluster, w ledger.Work) ledger.Work {
	if w.Request != nil || w.Retried {
		return w
	}
	done, _ := item.DoneIn(w.Region)
	for _, d := range slices.Backward(item.Dropped) {
		if d.Request != nil && done.Key.SameKey(w.Key) && done.At.After(d.Request.LeftAt()) {
			continue
		}
		if d.Request != nil && d.Region == w.Region && d.Key.SameKey(w.Key) && d.Version == w.Version && d.Order == w.Order {
			w.Request = d.Request
			if !d.Request.GivenUp && !refused(d.Request) {
				w.State = ledger.Requested
			}
			break
		}
	}
	return w
}

// schedule sets the next poll: what is open decides, else the day on which we ask whether the cluster still exists.
func schedule(item *ledger.Cluster, p Plan, now time.Time, opened bool, s Settings) {
	item.NextLook = time.Time{}
	if item.Gone {
		return // its work is dropped
	}
	item.NextLook = latest(item.SeenAt.Add(unlistedAfter), now.Add(time.Hour))
	if reported := item.Unread.Since.Add(s.SweepEvery); now.Before(reported) {
		item.WaitUntil(reported)
	}
	if !p.Next.IsZero() {
		item.WaitUntil(p.Next)
	}
	if opened {
		item.WaitUntil(now)
	}
}

// retry lets blocked, failed or refused work of the cluster try again, or work that is done be done once more. It returns the
// regions concerned.
func retry(item *ledger.Cluster, doneToo bool, now time.Time) (regions []string) {
	for i := range item.Work {
		w := &item.Work[i]
		if w.State != ledger.Requested && (w.State == ledger.Blocked || w.Failed+w.Lost+w.Attempts > 0) {
			w.NotBefore = time.Time{}
			if w.Request != nil {
				r := *w.Request
				if refused(&r) {
					// The read before the next PUT must be able to show what the refused one did after all.
					w.NotBefore = r.LeftAt().Add(confirmMin)
				}
				// A blocked request that was still watched is over; one that was given up may leave a trace yet.
				r.Ended = r.Ended || w.State == ledger.Blocked && !r.GivenUp && !refused(&r)
				r.GivenUp = true
				w.Request = &r
				if w.Failed == 0 && unsettled(*w) {
					doubt(item, *w)
				}
			}
			w.State, w.Reason = ledger.Due, "retried by an operator"
			w.Failed, w.Lost, w.Attempts, w.RefusedSince, w.Retried, w.Detained = 0, 0, 0, time.Time{}, true, false
			regions = append(regions, w.Region)
		}
	}
	regions = append(regions, skipFailures(item, regions)...)
	if doneToo {
		for _, d := range item.Done {
			if !slices.ContainsFunc(item.Work, func(w ledger.Work) bool { return w.Region == d.Region }) {
				item.Work = append(item.Work, ledger.Work{Region: d.Region, Key: d.Key, Version: d.Version, State: ledger.Due,
					Reason: "reopened by an operator", Trigger: ledger.Trigger{Kind: "operator", Time: now}, Since: now, Retried: true})
				regions = append(regions, d.Region)
			}
		}
		item.Done = slices.DeleteFunc(item.Done, func(d ledger.Done) bool { return slices.Contains(regions, d.Region) })
	}
	if len(regions) > 0 {
		item.NextLook = now
	}
	return regions
}

// skip lets the other clusters of the key go on in spite of this one's failures.
func skip(item *ledger.Cluster) (regions []string) {
	for _, w := range item.Work {
		if w.Failed > 0 && !slices.Contains(item.Skipped, w.Region) {
			item.Skipped = append(item.Skipped, w.Region)
			regions = append(regions, w.Region)
		}
	}
	return append(regions, skipFailures(item, regions)...)
}

// forget ends the record of a cluster that is not shown.
func forget(item *ledger.Cluster, by, reason string, now time.Time) error {
	switch {
	case item.SeenAt.IsZero():
		return fmt.Errorf("forget cluster %s: the ledger does not know it", item.ID)
	case item.Gone:
		return ledger.ErrUnchanged
	case item.Unread.IsZero():
		return fmt.Errorf("forget cluster %s: the Cloud API still shows it; label it keyturn=off to leave it alone", named(item))
	}
	for _, w := range item.Work {
		item.Dropped = dropped(item.Dropped, w, "forgotten by "+by+": "+reason, now)
	}
	item.Work, item.Gone, item.NextLook = nil, true, time.Time{}
	item.Alarms = transitions(item.Alarms, nil, never, now, &item.Outbox)
	item.Tell(forgottenAlert(item, by, reason, now))
	return nil
}

// skipFailures lets the other clusters of the key go on in spite of failures that no work of ours stands for.
func skipFailures(item *ledger.Cluster, except []string) (regions []string) {
	for _, info := range item.CMEK.RegionInfos {
		if info.Status.Failed() && !slices.Contains(except, info.Region) && !slices.Contains(item.Skipped, info.Region) {
			item.Skipped = append(item.Skipped, info.Region)
			regions = append(regions, info.Region)
		}
	}
	return regions
}

// open opens work for every region of the cluster whose current key the event says was rotated, unless it is open or done
// already. It trusts the event with nothing else: version and key are read again before a PUT.
func open(item *ledger.Cluster, e cmek.Event, now time.Time, settle time.Duration) (regions []string, changed bool) {
	if item.Gone || off(item.Cluster) {
		return nil, false
	}
	e.Key = item.Spelled(e.Key)
	changed = settleAgain(item, e, now)
	for _, info := range item.CMEK.RegionInfos {
		current, distinct := info.Current()
		if distinct != 1 || !current.Spec.URI.SameKey(e.Key) || known(item, info.Region, e) {
			continue
		}
		item.Work = append(item.Work, revived(item, ledger.Work{
			Region: info.Region, Key: current.Spec.URI, Version: e.Version, State: ledger.Due, Reason: "the new version settles",
			Trigger: ledger.Trigger{Kind: "event", EventID: e.ID, Source: e.Source, Time: e.Time}, Since: now,
		}))
		regions = append(regions, info.Region)
	}
	switch {
	case len(regions) == 0:
	case e.Version.IsZero():
		item.WaitUntil(now) // the settle time counts from when the KMS first shows the version
	default:
		item.WaitUntil(now.Add(settle))
	}
	return regions, changed || len(regions) > 0
}

// settleAgain has work wait for its settle time once more before a PUT, if the event says that another version became primary since the
// work's was first seen: where the KMS shows that version again, it was set back, and encryption may use the one between. On AWS no
// version comes back.
func settleAgain(item *ledger.Cluster, e cmek.Event, now time.Time) (changed bool) {
	at := e.Time
	if at.After(now) {
		at = now
	}
	for i := range item.Work {
		w := &item.Work[i]
		if e.Key.Type() == cmek.GCPCloudKMS && w.Key.SameKey(e.Key) && !w.Version.IsZero() && at.After(w.SeenVersion()) {
			w.VersionSeen, changed = at, true
		}
	}
	return changed
}

// known reports whether the rotation is done in the region, or work for it is open. Work that has not been sent yet will
// find the key's newest version by itself.
func known(item *ledger.Cluster, region string, e cmek.Event) bool {
	if done, _ := item.DoneIn(region); done.Key.SameKey(e.Key) && done.Version == e.Version {
		return true
	}
	return slices.ContainsFunc(item.Work, func(w ledger.Work) bool {
		return w.Region == region && w.Order == "" && w.Key.SameKey(e.Key) && (w.State != ledger.Requested || w.Version == e.Version)
	})
}
