package rotation

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
)

const pinnedAlias = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:alias/orders")

var errThrottled = errors.New("ThrottlingException")

// pinned: us-east-1 follows an alias, which has named the region's key for ten days.
func pinnedToAlias(w *world) {
	doneWith(eastKey, v2)(w)
	w.facts.Pins = []PinFact{{Pin: ledger.Pin{Region: east, Alias: pinnedAlias, Follow: true, Since: ago(30 * 24 * time.Hour), By: "ana", Terraform: "none"},
		Asked: true, Target: eastKey}}
	w.item.Pins = []ledger.Pinned{{Region: east, Alias: pinnedAlias, Since: ago(30 * 24 * time.Hour), Target: eastKey, Seen: ago(10 * 24 * time.Hour), Agreed: eastKey}}
}

func pin(change func(*PinFact)) given { return func(w *world) { change(&w.facts.Pins[0]) } }

func aliasNames(key cmek.KeyURI) given { return pin(func(p *PinFact) { p.Target, p.Err = key, nil }) }

func aliasErr(err error) given { return pin(func(p *PinFact) { p.Target, p.Err = "", err }) }

func reportsOnly(w *world) { pin(func(p *PinFact) { p.Follow = false })(w) }

func unpinned(w *world) { w.facts.Pins = nil }

// pinDue: the alias was moved to the key so long ago, work of the order that follows is open, and its keys were read.
func pinDue(key cmek.KeyURI, d time.Duration) given {
	return func(w *world) {
		pinnedToAlias(w)
		aliasNames(key)(w)
		o := ledger.Order{Region: east, From: spec(eastKey), To: spec(key), At: ago(d), By: "ana", Terraform: "none", Alias: pinnedAlias}
		o.Identify()
		p := &w.item.Pins[0]
		p.Target, p.Seen, p.Order = key, ago(d), &o
		w.facts.Moves = map[string]Move{o.ID: {From: admitted(eastKey), To: admitted(key)}}
		opened := ordered(o, "", ago(d))
		opened.Version = v2
		w.item.Work = append(w.item.Work, opened)
	}
}

func aliasMovedTo(key cmek.KeyURI) given { return pinDue(key, time.Hour) }

// pinSent: the PUT of the order was accepted two minutes ago.
func pinSent(w *world) {
	pinDue(newKey, time.Hour)(w)
	work(func(w *ledger.Work) { w.State, w.Request = ledger.Requested, requestOf(2*time.Minute) })(w)
	baseline(func(b *ledger.Baseline) { b.Key, b.UpdatedAt = "", time.Time{} })(w)
	answered(cmek.Answer{Outcome: cmek.Accepted, HTTPStatus: 200})(w)
	pin(func(p *PinFact) { p.Asked, p.Target = false, "" })(w)
}

func pinMove(change func(*Move)) given {
	return func(w *world) {
		for id, m := range w.facts.Moves {
			change(&m)
			w.facts.Moves = map[string]Move{id: m}
		}
	}
}

func personOrdered(w *world) {
	w.facts.Orders = append(w.facts.Orders, ledger.Order{ID: "o-1", Region: east, From: spec(eastKey), To: spec(otherKey), At: ago(time.Minute), By: "bob", Terraform: "none"})
}

// absorbed is the world after its pins were taken over, as absorb does.
func (w *world) absorbed() *world {
	w.facts.Orders = append(slices.Clip(w.facts.Orders), absorbPins(w.item, w.facts, noon)...)
	return w
}

func TestDecide_pins(t *testing.T) {
	const (
		otherAccount = cmek.KeyURI("arn:aws:kms:us-east-1:444455556666:key/dddddddd-1111-2222-3333-444444444444")
		otherRegion  = cmek.KeyURI("arn:aws:kms:us-west-2:111122223333:key/dddddddd-1111-2222-3333-444444444444")
		replica      = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab")
		replicaWest  = cmek.KeyURI("arn:aws:kms:us-west-2:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab")
	)
	to := func(change func(*cmek.Key)) given { return pinMove(func(m *Move) { change(&m.To.Key.Key) }) }
	inState := func(s cmek.KeyState) given { return to(func(k *cmek.Key) { k.State = s }) }
	anotherAlias := pin(func(p *PinFact) { p.Alias += "2"; p.Since = ago(time.Minute) })
	otherPrincipal := func(w *world) {
		for _, info := range []*cmek.ClusterInfo{&w.facts.CMEK, &w.item.CMEK} {
			info.RegionInfos[0].KeyInfos[0].Spec.AuthPrincipal += "2"
		}
	}
	firstRead := func(w *world) { w.item.Pins = nil }
	neverRead := func(w *world) {
		w.item.Pins[0].Target, w.item.Pins[0].Seen, w.item.Pins[0].Agreed = "", time.Time{}, ""
	}
	unreadFor := func(d time.Duration) given {
		return func(w *world) { w.item.Pins[0].Unread = ledger.Unread{Since: ago(d), Why: "throttled"} }
	}
	for _, r := range []struct {
		sentence string
		given    []given
		want     Act // of the order; "" if there is none
		because  string
		until    time.Time
		put      cmek.KeyURI
		// incident is the code of the one that is open about the pin, "" for none.
		incident string
		severity alert.Severity
	}{
		{sentence: "an alias that names the region's key asks for nothing", given: []given{pinnedToAlias}},
		{sentence: "an alias that names another key opens work", given: []given{pinnedToAlias, aliasNames(newKey)}, want: Open, because: "names another key", incident: aliasMoved, severity: alert.Low},
		{sentence: "so it does when the pin is new", given: []given{pinnedToAlias, firstRead, aliasNames(newKey)}, want: Open, incident: aliasMoved, severity: alert.Low},
		{sentence: "without --follow it is reported", given: []given{pinnedToAlias, reportsOnly, aliasNames(newKey)}, incident: aliasMoved, severity: alert.High},
		{sentence: "in observe mode it is reported", given: []given{pinnedToAlias, observing, aliasNames(newKey)}, incident: aliasMoved, severity: alert.High},
		{sentence: "of a cluster labeled keyturn=off it is reported", given: []given{pinnedToAlias, optedOut, aliasNames(newKey)}, incident: aliasMoved, severity: alert.High},
		{sentence: "of a deleted cluster it is not", given: []given{pinnedToAlias, deleted, aliasNames(newKey)}},
		{sentence: "a region that is not pinned follows nothing", given: []given{pinnedToAlias, unpinned}},

		{sentence: "an alias that was moved just now settles", given: []given{pinDue(newKey, 0)}, want: Wait, because: "alias settles", until: in(busyWait), incident: aliasMoved, severity: alert.Low},
		{sentence: "almost settled it waits", given: []given{pinDue(newKey, 5*time.Minute-1)}, want: Wait, because: "alias settles", until: in(1), incident: aliasMoved, severity: alert.Low},
		{sentence: "settled it is sent", given: []given{pinDue(newKey, 5*time.Minute)}, want: Send, put: newKey, incident: aliasMoved, severity: alert.Low},
		{sentence: "it does not expire", given: []given{pinDue(newKey, 30*24*time.Hour)}, want: Send, put: newKey, incident: aliasMoved, severity: alert.Low},
		{sentence: "moved back it is dropped", given: []given{pinDue(newKey, time.Minute), aliasNames(eastKey)}, want: Drop, because: "names the region's key again"},
		{sentence: "moved on, the order to the key before is dropped", given: []given{pinDue(newKey, time.Minute), aliasNames(otherKey)}, want: Drop, because: "names key " + string(otherKey) + " now", incident: aliasMoved, severity: alert.Low},
		{sentence: "moved away and back to the new key it settles once more", given: []given{pinDue(newKey, time.Hour), func(w *world) { w.item.Pins[0].Seen = ago(time.Minute) }}, want: Wait, because: "alias settles", until: in(busyWait), incident: aliasMoved, severity: alert.Low},
		{sentence: "once its PUT was sent the alias is not asked", given: []given{pinSent}, want: Wait, because: "no trace", incident: ""},
		{sentence: "nor is it dropped if the pin is removed then", given: []given{pinSent, unpinned}, want: Wait, because: "no trace"},
		{sentence: "nor if the pin is changed then", given: []given{pinSent, anotherAlias}, want: Wait, because: "no trace"},

		{sentence: "an alias that keyturn may not read is waited for", given: []given{aliasMovedTo(newKey), aliasErr(cmek.ErrDenied)}, want: Wait, because: whyDenied, incident: aliasMoved, severity: alert.Low},
		{sentence: "after a quarter of an hour it is reported", given: []given{aliasMovedTo(newKey), aliasErr(cmek.ErrDenied), unreadFor(aliasUnreadAfter)}, want: Wait, because: whyDenied, incident: aliasUnread, severity: alert.High},
		{sentence: "not before", given: []given{aliasMovedTo(newKey), aliasErr(cmek.ErrDenied), unreadFor(aliasUnreadAfter - 1)}, want: Wait, because: whyDenied, incident: aliasMoved, severity: alert.Low},
		{sentence: "a throttled read is waited for", given: []given{aliasMovedTo(newKey), aliasErr(errThrottled)}, want: Wait, because: "Throttling", incident: aliasMoved, severity: alert.Low},
		{sentence: "an alias that was never read asks for nothing", given: []given{pinnedToAlias, firstRead, aliasErr(errThrottled)}},
		{sentence: "one that was never readable is reported", given: []given{pinnedToAlias, neverRead, aliasErr(cmek.ErrDenied), unreadFor(time.Hour)}, incident: aliasUnread, severity: alert.High},
		{sentence: "a denied read without an order asks for nothing", given: []given{pinnedToAlias, aliasErr(cmek.ErrDenied), unreadFor(time.Hour)}, incident: aliasUnread, severity: alert.High},
		{sentence: "an alias that does not exist blocks", given: []given{aliasMovedTo(newKey), aliasErr(cmek.ErrNotFound)}, want: Block, because: "does not exist", incident: aliasMissing, severity: alert.High},
		{sentence: "an alias that does not exist is reported", given: []given{pinnedToAlias, aliasErr(cmek.ErrNotFound)}, incident: aliasMissing, severity: alert.High},

		{sentence: "a key of another account blocks", given: []given{aliasMovedTo(otherAccount)}, want: Block, because: "another account or Region", incident: aliasMoved, severity: alert.Low},
		{sentence: "a key of another Region blocks", given: []given{aliasMovedTo(otherRegion)}, want: Block, because: "another account or Region", incident: aliasMoved, severity: alert.Low},
		{sentence: "a replica of a multi-Region key in the Region is moved to", given: []given{aliasMovedTo(replica)}, want: Send, put: replica, incident: aliasMoved, severity: alert.Low},
		{sentence: "a replica elsewhere blocks", given: []given{aliasMovedTo(replicaWest)}, want: Block, because: "another account or Region", incident: aliasMoved, severity: alert.Low},
		{sentence: "a disabled key blocks", given: []given{aliasMovedTo(newKey), inState(cmek.KeyDisabled)}, want: Block, because: "the new key", incident: aliasMoved, severity: alert.Low},
		{sentence: "a key that is to be deleted blocks", given: []given{aliasMovedTo(newKey), inState(cmek.KeyDeletionScheduled)}, want: Block, because: "the new key", incident: aliasMoved, severity: alert.Low},
		{sentence: "a key without material blocks", given: []given{aliasMovedTo(newKey), inState(cmek.KeyPendingImport)}, want: Block, because: "the new key", incident: aliasMoved, severity: alert.Low},
		{sentence: "a key in passing is waited for", given: []given{aliasMovedTo(newKey), inState("Creating")}, want: Wait, because: "the new key", incident: aliasMoved, severity: alert.Low},
		{sentence: "a key that does not admit the role blocks", given: []given{aliasMovedTo(newKey), pinMove(func(m *Move) { m.To.Access = policy.Denied })}, want: Block, because: "does not admit", incident: aliasMoved, severity: alert.Low},
		{sentence: "one that may admit it is waited for", given: []given{aliasMovedTo(newKey), pinMove(func(m *Move) { m.To.Access = policy.CannotTell })}, want: Wait, because: "is not known", incident: aliasMoved, severity: alert.Low},
		{sentence: "a pin without an answer about Terraform blocks", given: []given{aliasMovedTo(newKey), pin(func(p *PinFact) { p.Terraform = "" })}, want: Block, because: "Terraform", incident: aliasMoved, severity: alert.Low},
		{sentence: "keys that were not read are waited for", given: []given{aliasMovedTo(newKey), func(w *world) { w.facts.Moves = nil }}, want: Wait, because: "not read yet", incident: aliasMoved, severity: alert.Low},

		{sentence: "a pin that is removed drops the order", given: []given{aliasMovedTo(newKey), unpinned}, want: Drop, because: "not pinned any more"},
		{sentence: "a pin to another alias drops the order", given: []given{aliasMovedTo(newKey), anotherAlias, aliasNames(eastKey)}, want: Drop, because: "pinned to another alias"},
		{sentence: "a pin that reports only drops the order", given: []given{aliasMovedTo(newKey), reportsOnly}, want: Drop, because: "reports only", incident: aliasMoved, severity: alert.High},
		{sentence: "observe mode keeps the order waiting", given: []given{aliasMovedTo(newKey), observing}, want: Wait, because: "observe mode", incident: aliasMoved, severity: alert.High},
		{sentence: "the label keyturn=off keeps it waiting", given: []given{aliasMovedTo(newKey), optedOut}, want: Wait, because: "keyturn=off", incident: aliasMoved, severity: alert.High},
		{sentence: "a pause keeps it waiting", given: []given{aliasMovedTo(newKey), paused}, want: Wait, because: "paused", incident: aliasMoved, severity: alert.Low},
		{sentence: "a hold of the region's key keeps it waiting", given: []given{aliasMovedTo(newKey), held(cmek.Hold{Key: eastKey})}, want: Wait, because: OnHold, incident: aliasMoved, severity: alert.Low},
		{sentence: "a hold of the alias's key keeps it waiting", given: []given{aliasMovedTo(newKey), held(cmek.Hold{Key: newKey})}, want: Wait, because: OnHold, incident: aliasMoved, severity: alert.Low},
		{sentence: "a hold of the cluster keeps it waiting", given: []given{aliasMovedTo(newKey), held(cmek.Hold{ClusterID: "c-1"})}, want: Wait, because: OnHold, incident: aliasMoved, severity: alert.Low},
		{sentence: "a hold of another key does not", given: []given{aliasMovedTo(newKey), held(cmek.Hold{Key: otherKey})}, want: Send, put: newKey, incident: aliasMoved, severity: alert.Low},
		{sentence: "an order of a person goes first", given: []given{aliasMovedTo(newKey), personOrdered}, want: Drop, because: "another move of the region was ordered"},

		{sentence: "a region that somebody moved is reported", given: []given{pinnedToAlias, usingKey(otherKey)}, incident: pinDrifted, severity: alert.High},
		{sentence: "it drops the order", given: []given{aliasMovedTo(newKey), usingKey(otherKey)}, want: Drop, because: "was moved to " + string(otherKey), incident: pinDrifted, severity: alert.High},
		{sentence: "a region that somebody moved to the alias's key is done", given: []given{aliasMovedTo(newKey), usingKey(newKey)}, want: Drop, because: "names the region's key again"},
		{sentence: "another principal is another order", given: []given{aliasMovedTo(newKey), otherPrincipal}, want: Drop, because: "names key", incident: aliasMoved, severity: alert.Low},
		{sentence: "a region with two specs keeps the order", given: []given{aliasMovedTo(newKey), twoSpecs}, want: Block, because: "2 key specs"},
		{sentence: "a region that rotates keeps it", given: []given{aliasMovedTo(newKey), statusEverywhere(cmek.Rotating)}, want: Wait, because: "ROTATING"},
		{sentence: "an older read keeps it", given: []given{aliasMovedTo(newKey), olderRead, aliasNames(eastKey)}, want: Wait, because: "older"},
		{sentence: "a region that is not shown keeps it", given: []given{aliasMovedTo(newKey), regionUnshown}, want: Wait, because: "does not show"},
		{sentence: "a cluster that is not shown keeps it", given: []given{aliasMovedTo(newKey), unshown}, want: Wait, because: "shows no CMEK"},
		{sentence: "a region that is gone drops it", given: []given{aliasMovedTo(newKey), regionGone}, want: Drop, because: ""},
		{sentence: "a request that is open is waited for", given: []given{unanswered, aliasMovedTo(newKey), pin(func(p *PinFact) { p.Asked = false })}, want: Wait, because: whyInFlight},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			w := newWorld(r.given...).absorbed()
			v, plan := verdictOfPin(w)
			if v.Act != r.want || !strings.Contains(v.Why, r.because) {
				t.Errorf("decided %q (%s), want %q because of %q", v.Act, v.Why, r.want, r.because)
			}
			if !r.until.IsZero() && !v.Until.Equal(r.until) {
				t.Errorf("polls again at %s, want %s", v.Until, r.until)
			}
			var put []cmek.RegionSpec
			if r.put != "" {
				put = []cmek.RegionSpec{{Region: east, KeySpec: spec(r.put)}}
			}
			if !slices.Equal(plan.Put, put) {
				t.Errorf("the PUT is %+v, want %+v", plan.Put, put)
			}
			if again := w.decide(); !reflect.DeepEqual(plan, again) {
				t.Errorf("the same facts gave two plans:\n%+v\n%+v", plan, again)
			}
			w.transition()
			var open []string
			for _, a := range w.item.Alarms {
				if code, _, _ := strings.Cut(a.Key, "/"); slices.Contains([]string{aliasMoved, aliasMissing, aliasUnread, pinDrifted}, code) {
					open = append(open, fmt.Sprint(code, " ", a.Alert.Severity))
				}
			}
			var want []string
			if r.incident != "" {
				want = []string{fmt.Sprint(r.incident, " ", r.severity)}
				if r.incident == aliasUnread && r.want != "" {
					want = append([]string{fmt.Sprint(aliasMoved, " ", alert.Low)}, want...) // of before, and not ended
				}
			}
			if !slices.Equal(open, want) {
				t.Errorf("open incidents are %q, want %q", open, want)
			}
		})
	}
}

// verdictOfPin is the verdict about the order that followed from a pin first.
func verdictOfPin(w *world) (Verdict, Plan) {
	plan := w.decide()
	for _, v := range plan.Verdicts {
		if v.order.Alias != "" || v.work >= 0 && w.item.Work[v.work].Trigger.Kind == fromPin {
			return v, plan
		}
	}
	return Verdict{}, plan
}

// Functions may write the cluster's item. What stands there of an order chooses no key, principal or region.
func TestAPinsPUT_isDerivedFromTheAliasNotFromTheItem(t *testing.T) {
	for name, change := range map[string]given{
		"the order":       func(w *world) { w.item.Pins[0].Order.To.URI = otherKey },
		"its principal":   func(w *world) { w.item.Pins[0].Order.To.AuthPrincipal = "arn:aws:iam::444455556666:role/evil" },
		"the target":      func(w *world) { w.item.Pins[0].Target = otherKey },
		"the work":        work(func(w *ledger.Work) { w.Key = otherKey }),
		"the key of both": func(w *world) { w.item.Pins[0].Agreed = otherKey },
		"its answer about Terraform": func(w *world) {
			w.item.Pins[0].Order.Terraform = "none"
			w.facts.Pins[0].Terraform = ""
		},
	} {
		w := newWorld(pinDue(newKey, time.Hour), change).absorbed()
		for _, s := range w.decide().Put {
			if s.KeySpec != spec(newKey) || name == "its answer about Terraform" {
				t.Errorf("with another value of %s in the item, the PUT is %+v", name, s)
			}
		}
	}
}

func TestAnAliasThatMovesOn_isFollowedToTheSecondKey(t *testing.T) {
	w := newWorld(pinDue(newKey, time.Minute), aliasNames(otherKey)).absorbed().transition()
	if len(w.item.Work) != 1 || w.item.Work[0].Key != otherKey || w.item.Pins[0].Order.ID != w.item.Work[0].Order {
		t.Fatalf("the work is %+v, want one for the second key", w.item.Work)
	}
	if len(w.item.Orders) != 1 || w.item.Orders[0].Done {
		t.Errorf("the first order's end is on record as %+v", w.item.Orders)
	}
	for _, a := range alerts(w.item) {
		if a.Change == changeOrderDropped {
			t.Errorf("an order that was never sent was reported as dropped: %s", a.Summary)
		}
	}
}

func TestAPinsOrder_isUnblockedOnceTheKeyAdmitsTheRole(t *testing.T) {
	w := newWorld(aliasMovedTo(newKey), pinMove(func(m *Move) { m.To.Access = policy.Denied })).absorbed().transition()
	if w.item.Work[0].State != ledger.Blocked {
		t.Fatalf("the work is %+v, want it blocked", w.item.Work[0])
	}
	id := w.item.Work[0].Order
	w.facts.Orders, w.facts.Moves = nil, map[string]Move{id: {From: admitted(eastKey), To: admitted(newKey)}}
	if v, plan := verdictOfPin(w.absorbed()); v.Act != Send || len(plan.Put) != 1 || w.item.Work[0].Order != id {
		t.Errorf("decided %q (%s), want the same order to be sent", v.Act, v.Why)
	}
}

func TestAPinsEnd_resolvesTheIncidentAndAgrees(t *testing.T) {
	w := newWorld(pinSent, movedOver, rested(cmek.Enabled, time.Minute)).absorbed()
	w.item.Alarms = []ledger.Alarm{{Key: pinIncident(aliasMoved, w.item, east), Since: ago(time.Hour), Alert: alert.Alert{DedupKey: pinIncident(aliasMoved, w.item, east)}}}
	w.transition()
	p, _ := w.item.PinnedIn(east)
	if len(w.item.Work) != 0 || p.Order != nil || p.Agreed != newKey || len(w.item.Alarms) != 0 {
		t.Errorf("afterwards: work %+v, pin %+v, incidents %+v", w.item.Work, p, w.item.Alarms)
	}
	end, _ := w.item.OrderEnded(w.item.Done[0].Order)
	if !end.Done || w.item.Done[0].Key != newKey {
		t.Errorf("the order's end is on record as %+v", end)
	}
	for _, m := range w.item.Messages {
		if m.Evidence != nil && !strings.Contains(string(m.Evidence), `"kind": "pin"`) {
			t.Errorf("the evidence does not say what triggered it: %s", m.Evidence)
		}
	}
}
