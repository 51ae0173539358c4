package rotation

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// apply carries a plan out on the ledger item: transitions, what must be told about them, and when to look again. It is
// pure like Decide, so that it can be repeated on a fresh item after a conflict.
func apply(item *ledger.Cluster, f Facts, p Plan, now time.Time, s Settings) {
	item.Failures = 0
	remember(item, f, now)
	item.KeyFailures = keyFailures(item.KeyFailures, f)

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
				kept = append(kept, ledger.Work{Region: v.Region, Key: v.Spec.URI, Version: v.Version, State: ledger.Due,
					Reason: "the new version settles", Trigger: ledger.Trigger{Kind: "sweep", Time: now}, Since: now, RotatedAt: v.RotatedAt})
			}
			continue
		}
		w := item.Work[v.work]
		w.Reason = v.Why
		if v.Act != Drop && w.State != ledger.Requested && !v.Version.IsZero() {
			w.Version, w.RotatedAt = v.Version, v.RotatedAt
		}
		if v.Sighting != nil && w.Request != nil {
			w.Request = sighted(*w.Request, *v.Sighting)
		}
		switch v.Act {
		case Drop:
			item.Dropped = dropped(item.Dropped, w, v.Why, now)
			continue
		case Adopt:
			item.SetDone(adopted(v, now))
			item.Dropped = dropped(item.Dropped, w, "adopted: "+v.Why, now)
			continue
		case Settle:
			previous, _ := item.DoneIn(w.Region)
			d := ledger.Done{Region: w.Region, Key: w.Key, Version: w.Version, At: now, Followed: true, Evidence: v.Why}
			item.SetDone(d)
			done = append(done, d)
			file(item, w, d, previous)
			continue
		case Hold:
			w.State = ledger.Held
		case Fail:
			w.Failed++
			w.State, w.NotBefore = ledger.Due, now.Add(backoff(w.Failed+1))
			if w.Failed > 1 {
				w.State = ledger.Held
			}
		case Resend:
			w.Lost++
			w.State = ledger.Due
			if w.Lost > 1 {
				w.State = ledger.Held
			}
		case Announce:
			w.State, w.Announced = ledger.Due, true
			announced = append(announced, v)
		case Wait:
			switch {
			case w.State == ledger.Held && pending(w):
				w.State = ledger.Requested
			case w.State == ledger.Held:
				w.State = ledger.Due // what held it is well again
			}
			if w.State == ledger.Requested && now.Sub(w.Request.Intent) >= stuckAfter && w.Request.StuckSince.IsZero() {
				r := *w.Request
				r.StuckSince = now
				w.Request = &r
			}
		case Send:
			w.State = ledger.Due
		case Renew:
			w.State, w.Since, w.Request = ledger.Due, now, nil
			w.Failed, w.Lost, w.Attempts, w.Announced, w.Released = 0, 0, 0, false, true
		}
		kept = append(kept, w)
	}
	item.Work = kept

	if len(done) > 0 {
		item.Tell(followedAlert(item, done, now))
	}
	if len(announced) > 0 {
		item.Tell(announcedAlert(item, announced, now))
	}
	ring(item, f, now, s)
	schedule(item, p, now, opened)
}

// remember takes over what was read into the inventory. A read that shows nothing new is noted twice a day only, so that
// an idle fleet costs no writes.
func remember(item *ledger.Cluster, f Facts, now time.Time) {
	if f.Gone {
		item.Gone = true
		return
	}
	item.Gone = false
	before, _ := fingerprint(item)
	if f.ClusterRead {
		item.Cluster = f.Cluster
	}
	if f.CMEKRead {
		item.CMEK = f.CMEK
		item.Released = slices.DeleteFunc(item.Released, func(region string) bool {
			info, ok := f.CMEK.Region(region)
			return !ok || !info.Status.Failed()
		})
	}
	if !f.CMEKRead {
		return
	}
	if after, _ := fingerprint(item); after != before || now.Sub(item.SeenAt) > forgottenAfter/2 {
		item.SeenAt = now
	}
}

// keyFailures counts looks in a row in which a key could not be read for another reason than that we may not. Looks that read
// no key say nothing.
func keyFailures(before int, f Facts) int {
	read := false
	for _, fact := range f.Keys {
		if fact.Err != nil && !errors.Is(fact.Err, cmek.ErrDenied) {
			return before + 1
		}
		read = true
	}
	if read {
		return 0
	}
	return before
}

// claim turns the regions' due work into requests with an intent at now. From the moment the item is swapped in, a PUT may
// have been sent.
func claim(item *ledger.Cluster, put []cmek.RegionSpec, now time.Time) {
	for _, spec := range put {
		for i := range item.Work {
			w := &item.Work[i]
			if w.Region != spec.Region || w.State != ledger.Due {
				continue
			}
			info, _ := item.CMEK.Region(w.Region)
			w.State, w.Reason, w.NotBefore = ledger.Requested, "sending", time.Time{}
			w.Key = spec.KeySpec.URI
			w.Request = &ledger.Request{Intent: now, Before: info.Newest(spec.KeySpec.URI).UpdatedAt,
				FailedBefore: item.Cluster.OperationStatus == cmek.CMEKOperationFailed}
		}
	}
	item.NextLook = now.Add(answerWithin)
}

// unclaim takes back the claims of the intent given: nothing was sent.
func unclaim(item *ledger.Cluster, intent time.Time) {
	for i := range item.Work {
		w := &item.Work[i]
		if w.State == ledger.Requested && w.Request.Intent.Equal(intent) && w.Request.Answer == nil {
			w.State, w.Reason, w.Request = ledger.Due, "", nil
		}
	}
}

// answer notes what is known about the PUT of the intent given.
func answer(item *ledger.Cluster, intent time.Time, a cmek.Answer, failedBefore bool, now time.Time, s Settings) {
	for i := range item.Work {
		w := &item.Work[i]
		if w.State != ledger.Requested || !w.Request.Intent.Equal(intent) {
			continue
		}
		r := *w.Request
		r.Answer, r.Answered, r.FailedBefore = &a, now, failedBefore
		w.Request = &r
		switch a.Outcome {
		case cmek.Refused:
			w.Attempts++
			w.State = ledger.Due
			w.NotBefore = now.Add(max(backoff(w.Attempts), a.RetryAfter))
			w.Reason = fmt.Sprintf("refused: %s", a.Message)
			item.WaitUntil(w.NotBefore)
		case cmek.Accepted:
			w.Attempts = 0
			w.Reason = "accepted"
			if info, ok := a.Info.Region(w.Region); ok {
				key := info.Newest(w.Key)
				w.Request = sighted(r, ledger.Sighting{At: now, Region: info.Status, Key: key.Status, UpdatedAt: key.UpdatedAt})
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

// sighted adds what was seen to the request's timeline, unless it is what was seen last.
func sighted(r ledger.Request, s ledger.Sighting) *ledger.Request {
	const kept = 24
	if n := len(r.Timeline); n > 0 {
		last := r.Timeline[n-1]
		if last.Region == s.Region && last.Key == s.Key && last.Operation == s.Operation && last.UpdatedAt.Equal(s.UpdatedAt) {
			return &r
		}
	}
	r.Timeline = append(slices.Clone(r.Timeline), s)
	if len(r.Timeline) > kept { // keep the first ones: they hold the evidence that an operation began
		r.Timeline = slices.Delete(r.Timeline, kept/2, kept/2+1)
	}
	return &r
}

func adopted(v Verdict, now time.Time) ledger.Done {
	return ledger.Done{Region: v.Region, Key: v.Spec.URI, Version: v.Version, At: now, Evidence: v.Why}
}

func dropped(list []ledger.Dropped, w ledger.Work, reason string, now time.Time) []ledger.Dropped {
	const kept = 10
	list = append(list, ledger.Dropped{Region: w.Region, Key: w.Key, Version: w.Version, Reason: reason, At: now})
	return list[max(0, len(list)-kept):]
}

// schedule sets the next look: what is open decides, else the day on which we ask whether the cluster still exists.
func schedule(item *ledger.Cluster, p Plan, now time.Time, opened bool) {
	item.NextLook = time.Time{}
	if item.Gone && len(item.Work) == 0 {
		return
	}
	item.NextLook = item.SeenAt.Add(forgottenAfter)
	if !p.Next.IsZero() && len(item.Work) > 0 {
		item.WaitUntil(p.Next)
	}
	if opened {
		item.WaitUntil(now)
	}
}

// release lets held work of the cluster try again, whatever failed before.
func release(item *ledger.Cluster, now time.Time) (regions []string) {
	for i := range item.Work {
		w := &item.Work[i]
		if w.State != ledger.Requested && (w.State == ledger.Held || w.Failed+w.Lost+w.Attempts > 0) {
			w.State, w.Reason, w.NotBefore = ledger.Due, "released by an operator", time.Time{}
			w.Failed, w.Lost, w.Attempts, w.Released = 0, 0, 0, true
			regions = append(regions, w.Region)
		}
	}
	// A failure that no work of ours stands for holds the other clusters of the key up, too.
	for _, info := range item.CMEK.RegionInfos {
		if info.Status.Failed() && !slices.Contains(regions, info.Region) && !slices.Contains(item.Released, info.Region) {
			item.Released = append(item.Released, info.Region)
			regions = append(regions, info.Region)
		}
	}
	if len(regions) > 0 {
		item.NextLook = now
	}
	return regions
}

// open opens work for every region of the cluster whose current key the event says was rotated, unless it is open or done
// already. It trusts the event with nothing else: version and key are read again before a PUT.
func open(item *ledger.Cluster, e cmek.Event, now time.Time, settle time.Duration) (regions []string) {
	if item.Gone || item.Cluster.Labels["keyturn"] == "off" {
		return nil
	}
	for _, info := range item.CMEK.RegionInfos {
		current, distinct := info.Current()
		if distinct != 1 || !current.Spec.URI.SameKey(e.Key) || known(item, info.Region, e) {
			continue
		}
		item.Work = append(item.Work, ledger.Work{
			Region: info.Region, Key: current.Spec.URI, Version: e.Version, State: ledger.Due, Reason: "the new version settles",
			Trigger: ledger.Trigger{Kind: "event", EventID: e.ID, Source: e.Source, Time: e.Time}, Since: now,
		})
		regions = append(regions, info.Region)
	}
	if len(regions) > 0 {
		item.WaitUntil(now.Add(settle))
	}
	return regions
}

// known reports whether the rotation is done in the region, or work for it is open. Work that has not been sent yet will
// find the key's newest version by itself.
func known(item *ledger.Cluster, region string, e cmek.Event) bool {
	if done, ok := item.DoneIn(region); ok && done.Key.SameKey(e.Key) && done.Version == e.Version && !e.Version.IsZero() {
		return true
	}
	return slices.ContainsFunc(item.Work, func(w ledger.Work) bool {
		return w.Region == region && w.Key.SameKey(e.Key) && (w.State != ledger.Requested || w.Version == e.Version)
	})
}
