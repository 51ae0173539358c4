package rotation

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
)

const otherKey = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/dddddddd-1111-2222-3333-444444444444")

func anOrder() ledger.Order {
	return ledger.Order{ID: "o-1", Region: east, From: spec(eastKey), To: spec(newKey), At: ago(time.Hour), By: "ana", Reason: "CHG-1", Terraform: "none"}
}

// admitted is a key that may be moved to or from.
func admitted(uri cmek.KeyURI) KeyCheck {
	return KeyCheck{Key: KeyFact{Key: healthyKey(uri)}, Access: policy.Allowed}
}

// ordered: a person ordered an hour ago that us-east-1 moves from its key, which is up to date, to another one; everything was read.
func orderGiven(w *world) {
	doneWith(eastKey, v2)(w)
	w.facts.Orders = []ledger.Order{anOrder()}
	w.facts.Moves = map[string]Move{"o-1": {From: admitted(eastKey), To: admitted(newKey)}}
}

// orderDue: work of the order is open.
func orderDue(w *world) {
	orderGiven(w)
	w.item.Work = append(w.item.Work, ledger.Work{Region: east, Key: newKey, Order: "o-1", From: spec(eastKey), State: ledger.Due, Since: ago(time.Hour),
		Trigger: ledger.Trigger{Kind: "order", Source: "ana", Time: ago(time.Hour)}})
}

func changeOrder(change func(*ledger.Order)) given {
	return func(w *world) { change(&w.facts.Orders[0]) }
}

func move(change func(*Move)) given {
	return func(w *world) {
		m := w.facts.Moves["o-1"]
		change(&m)
		w.facts.Moves = map[string]Move{"o-1": m}
	}
}

// orderSent: its PUT was accepted two minutes ago, after a read that showed the old key alone.
func orderSent(w *world) {
	orderDue(w)
	work(func(w *ledger.Work) { w.State, w.Version, w.Request = ledger.Requested, v2, requestOf(2*time.Minute) })(w)
	baseline(func(b *ledger.Baseline) { b.Key, b.UpdatedAt = "", time.Time{} })(w)
	answered(cmek.Answer{Outcome: cmek.Accepted, HTTPStatus: 200})(w)
}

func orderLost(w *world) {
	orderSent(w)
	answered(cmek.Answer{Outcome: cmek.Unknown})(w)
}

// movedOver: the region shows the new key in force and the old one as a past key.
func movedOver(w *world) {
	keys(keyInfo(eastKey, cmek.Disabled, after), keyInfo(newKey, cmek.Enabled, after))(w)
}

// putBackTo: the region shows the new key as a past key and another one in force.
func putBackTo(key cmek.KeyURI) given {
	return keys(keyInfo(newKey, cmek.Disabled, after), keyInfo(key, cmek.Enabled, after))
}

// pastBefore: the baseline showed the new key as a past key, too.
func pastBefore(w *world) {
	baseline(func(b *ledger.Baseline) { b.Key, b.UpdatedAt = cmek.Disabled, after })(w)
}

// verdictOfOrder is the verdict about the order, be it that its work is to be opened.
func (w *world) verdictOfOrder(t *testing.T) (Verdict, Plan) {
	t.Helper()
	plan := w.decide()
	for _, v := range plan.Verdicts {
		if v.order.ID == "o-1" || v.work >= 0 && w.item.Work[v.work].Order == "o-1" {
			return v, plan
		}
	}
	return Verdict{}, plan
}

// toRotated is a new key that was rotated a while ago, by the KMS's clock.
func toRotated(ago time.Duration) given {
	return move(func(m *Move) { m.To.Key.Key.NeverRotated, m.To.Key.Key.RotatedAt = false, noon.Add(-ago) })
}

func TestDecide_orders(t *testing.T) {
	onBothClouds(t, testDecide_orders)
}

func testDecide_orders(t *testing.T) {
	sawOperation := work(func(w *ledger.Work) {
		w.Request.Evidence = ledger.Evidence{Kind: evidenceSeen, At: ago(5 * time.Minute)}
	})
	orderShown := keys(keyInfo(eastKey, cmek.Enabled, longAgo), keyInfo(newKey, cmek.Enabling, longAgo))
	canceled := changeOrder(func(o *ledger.Order) { o.Canceled, o.CanceledBy = ago(time.Minute), "bob" })
	given24h := changeOrder(func(o *ledger.Order) { o.At = ago(24 * time.Hour) })
	almost24h := changeOrder(func(o *ledger.Order) { o.At = ago(24*time.Hour - 1) })
	ended := func(w *world) { w.item.Orders = []ledger.OrderEnd{{ID: "o-1"}} }
	onTo := func(w *world) { usingKey(newKey)(w) }
	otherPrincipal := func(w *world) { w.facts.CMEK.RegionInfos[0].KeyInfos[0].Spec.AuthPrincipal += "2" }
	rotatedJustNow := move(func(m *Move) { m.To.Key.Key.RotatedAt = ago(time.Minute) })
	notProven := move(func(m *Move) { m.To.Key.Key.RotatedAt = time.Time{} })
	for _, r := range []row{
		{sentence: "an order opens work", given: []given{orderGiven}, want: Open, because: "ordered by ana", until: noon},
		{sentence: "one that was canceled opens none", given: []given{orderGiven, canceled}},
		{sentence: "one that expired opens none", given: []given{orderGiven, given24h}},
		{sentence: "one may begin until then", given: []given{orderGiven, almost24h}, want: Open},
		{sentence: "one that has ended opens none", given: []given{orderGiven, ended}},
		{sentence: "an order about a deleted cluster opens none", given: []given{orderGiven, deleted}},

		{sentence: "an order is sent", given: []given{orderDue}, want: Send, because: "ordered by ana"},
		{sentence: "an order is sent in observe mode", given: []given{orderDue, observing}, want: Send},
		{sentence: "an order waits while following is paused", given: []given{orderDue, paused}, want: Wait, because: "paused"},
		{sentence: "an order waits while its old key is on hold", given: []given{orderDue, held(cmek.Hold{Key: eastKey})}, want: Wait, because: OnHold},
		{sentence: "an order waits while its new key is on hold", given: []given{orderDue, held(cmek.Hold{Key: newKey})}, want: Wait, because: OnHold},
		{sentence: "a hold of another key does not matter", given: []given{orderDue, held(cmek.Hold{Key: otherKey})}, want: Send},
		{sentence: "an order waits while the cluster is labeled keyturn=off", given: []given{orderDue, optedOut}, want: Wait, because: "keyturn=off"},
		{sentence: "an order that was not sent for 24 h expires", given: []given{orderDue, given24h}, want: Drop, because: whyExpired},
		{sentence: "it expires although it waits for something", given: []given{orderDue, given24h, paused}, want: Drop, because: whyExpired},
		{sentence: "an order that is almost 24 h old is sent", given: []given{orderDue, almost24h}, want: Send},
		{sentence: "a canceled order is dropped", given: []given{orderDue, canceled}, want: Drop, because: "canceled by bob"},
		{sentence: "an order that the ledger does not have is dropped", given: []given{orderDue, func(w *world) { w.facts.Orders = nil }}, want: Drop, because: "not in the ledger"},

		{sentence: "a region on the order's key is done", given: []given{orderDue, onTo}, want: Drop, because: "on this key already"},
		{sentence: "a region on a third key is blocked", given: []given{orderDue, usingKey(otherKey)}, want: Block, because: "to move it from " + string(eastKey)},
		{sentence: "a region with another principal is blocked", given: []given{orderDue, otherPrincipal}, want: Block, because: "to move it from"},
		{sentence: "a region with two specs is blocked", given: []given{orderDue, twoSpecs}, want: Block, because: "2 key specs"},
		{sentence: "a region without an ENABLED spec is blocked", given: []given{orderDue, keys(keyInfo(eastKey, cmek.Disabled, longAgo))}, want: Block, because: "0 key specs"},
		{sentence: "a region that rotates is waited for", given: []given{orderDue, statusEverywhere(cmek.Rotating)}, want: Wait, because: "ROTATING"},
		{sentence: "a revoked cluster is left alone", given: []given{orderDue, statusEverywhere(cmek.Revoked)}, want: Block, because: "hands off"},
		{sentence: "somebody else's failure blocks", given: []given{orderDue, regionStatus(cmek.RotateFailed)}, want: Block, because: "not by keyturn's request"},
		{sentence: "a busy cluster is waited for", given: []given{orderDue, state("LOCKED")}, want: Wait, because: "LOCKED"},
		{sentence: "an older read decides nothing", given: []given{orderDue, olderRead}, want: Wait, because: "older"},
		{sentence: "a region that is not shown is waited for", given: []given{orderDue, regionUnshown}, want: Wait, because: "does not show"},
		{sentence: "a region that is gone drops it", given: []given{orderDue, regionGone}, want: Drop, because: "region is gone"},
		{sentence: "a deleted cluster drops it", given: []given{orderDue, deleted}, want: Drop, because: "deleted"},
		{sentence: "a cluster that is not shown is waited for", given: []given{orderDue, unshown}, want: Wait, because: "shows no CMEK"},

		{sentence: "keys that were not read are waited for", given: []given{orderDue, func(w *world) { w.facts.Moves = nil }}, want: Wait, because: "not read yet"},
		{sentence: "a new key that does not admit the role blocks", given: []given{orderDue, move(func(m *Move) { m.To.Access, m.To.AccessWhy = policy.Denied, "no statement" })}, want: Block, because: "does not admit the cluster's principal: no statement"},
		{sentence: "one that may admit it is waited for", given: []given{orderDue, move(func(m *Move) { m.To.Access = policy.CannotTell })}, want: Wait, because: "is not known"},
		{sentence: "a disabled new key blocks", given: []given{orderDue, move(func(m *Move) { m.To.Key.Key.State = cmek.KeyDisabled })}, want: Block, because: "the new key"},
		{sentence: "a disabled old key blocks", given: []given{orderDue, move(func(m *Move) { m.From.Key.Key.State = cmek.KeyDisabled })}, want: Block, because: "the old key"},
		{sentence: "a KMS that does not answer is waited for", given: []given{orderDue, move(func(m *Move) { m.To.Key.Err = errOutage })}, want: Wait, because: errOutage.Error()},

		{sentence: "a new key that was just rotated settles from when that was seen", given: []given{orderDue, rotatedJustNow}, want: Wait, because: "settles", until: in(5 * time.Minute)},
		{sentence: "the KMS's clock may be ten minutes behind", given: []given{orderDue, toRotated(14 * time.Minute)}, want: Wait, because: "settles", until: in(time.Minute)},
		{sentence: "a rotation before that has settled", given: []given{orderDue, toRotated(15 * time.Minute)}, want: Send},
		{sentence: "one that was never rotated does not", given: []given{orderDue, rotatedJustNow, move(func(m *Move) { m.To.Key.Key.NeverRotated = true })}, want: Send},
		{sentence: "a version of unknown age settles from when it was seen", given: []given{orderDue, notProven}, want: Wait, because: "settles", until: in(5 * time.Minute)},
		{sentence: "which may be over", given: []given{orderDue, notProven, work(func(w *ledger.Work) { w.Version = v2 })}, want: Send},
		{sentence: "a rotation of the new key under way is waited for", given: []given{orderDue, move(func(m *Move) { m.To.Key.Key.RotationRunning = true })}, want: Wait, because: "still rotating"},

		{sentence: "a request that is open is waited for", given: []given{unanswered, orderDue}, want: Wait, because: whyInFlight},
		{sentence: "an accepted order without a trace is waited for", given: []given{orderSent}, want: Wait, because: "no trace"},
		{sentence: "an accepted order whose key is in force once is read again", given: []given{orderSent, movedOver}, want: Wait, because: "read once"},
		{sentence: "read twice it is done", given: []given{orderSent, movedOver, rested(cmek.Enabled, time.Minute)}, want: Complete, because: evidenceInForce},
		{sentence: "so it is if the answer was lost", given: []given{orderLost, movedOver, rested(cmek.Enabled, time.Minute)}, want: Complete, because: evidenceInForce},
		{sentence: "a lost order leaves a trace or is due again", given: []given{orderLost, sent(11 * time.Minute)}, want: Resend, because: "no trace"},
		{sentence: "a region that rests on the key before after another's operation is read again", given: []given{orderLost, sent(11 * time.Minute), sawOperation}, want: Wait, because: "read once"},
		{sentence: "read twice the order is due again", given: []given{orderLost, sent(11 * time.Minute), sawOperation, rested(unmoved, time.Minute)}, want: Resend, because: "on the key before"},
		{sentence: "not before the grace is over", given: []given{orderLost, sawOperation, rested(unmoved, time.Minute)}, want: Wait, because: "on the key before"},
		{sentence: "not while the cluster is busy", given: []given{orderLost, sent(11 * time.Minute), sawOperation, rested(unmoved, time.Minute), state("LOCKED")}, want: Wait},
		{sentence: "not if the request was accepted", given: []given{orderSent, sent(11 * time.Minute), sawOperation, rested(unmoved, time.Minute)}, want: Wait, because: "on the key before"},
		{sentence: "not if the order's key is shown", given: []given{orderLost, sent(11 * time.Minute), sawOperation, rested(unmoved, time.Minute), orderShown}, want: Wait, because: "status"},
		{sentence: "an order that ended on a third key is dropped", given: []given{orderSent, usingKey(otherKey)}, want: Drop, because: "key changed"},
		{sentence: "an order whose key came and went again is read again", given: []given{orderSent, putBackTo(eastKey)}, want: Wait, because: "read once"},
		{sentence: "read twice it has ended: somebody put the key before back", given: []given{orderSent, putBackTo(eastKey), rested(putBack, time.Minute)}, want: Drop, because: "on the one before again"},
		{sentence: "so it is if the answer was lost", given: []given{orderLost, putBackTo(eastKey), rested(putBack, time.Minute)}, want: Drop, because: "on the one before again"},
		{sentence: "a key of before that the baseline showed does not say so", given: []given{orderSent, putBackTo(eastKey), pastBefore}, want: Wait, because: "no trace"},
		{sentence: "nor if its request was lost", given: []given{orderLost, putBackTo(eastKey), pastBefore, sent(11 * time.Minute)}, want: Resend, because: "no trace"},
		{sentence: "an accepted order that did nothing for two hours is dropped", given: []given{orderSent, sent(2 * time.Hour), rested(unmoved, time.Minute)}, want: Drop, because: "on the key before"},
		{sentence: "not while the cluster is busy with the CMEK", given: []given{orderSent, sent(2 * time.Hour), rested(unmoved, time.Minute), state("LOCKED")}, want: Wait},
		{sentence: "an order that failed is not tried once more after a day", given: []given{orderDue, given24h, failed(1)}, want: Drop, because: whyExpired},
		{sentence: "an order that failed is tried once more", given: []given{orderSent, regionStatus(cmek.RotateFailed), rested(cmek.RotateFailed, time.Minute)}, want: Fail, because: "ROTATE_FAILED"},
		{sentence: "after a failure of its own it is sent again",
			given: []given{orderDue, regionStatus(cmek.RotateFailed), failed(1)}, want: Send},
		{sentence: "after two it is blocked", given: []given{orderDue, regionStatus(cmek.RotateFailed), failed(2)}, want: Block, because: "failed twice"},
		{sentence: "after two lost requests it is blocked", given: []given{orderDue, lost(2)}, want: Block, because: whyLost},
		{sentence: "an order is not canceled once its request is open", given: []given{orderSent, canceled}, want: Wait},
		{sentence: "an order does not expire once its request is open", given: []given{orderSent, given24h}, want: Wait},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			w := newWorld(r.given...)
			v, plan := w.verdictOfOrder(t)
			if v.Act != r.want || !strings.Contains(v.Why, r.because) {
				t.Errorf("%s: decided %q (%s), want %q because of %q", r.sentence, v.Act, v.Why, r.want, r.because)
			}
			if !r.until.IsZero() && !v.Until.Equal(r.until) {
				t.Errorf("%s: polls again at %s, want %s", r.sentence, v.Until, r.until)
			}
			var put []cmek.RegionSpec
			if r.want == Send {
				put = []cmek.RegionSpec{{Region: east, KeySpec: spec(newKey)}}
			}
			if len(plan.Put) != len(put) || len(put) > 0 && plan.Put[0] != put[0] {
				t.Errorf("%s: the PUT is %+v, want %+v", r.sentence, plan.Put, put)
			}
			checkPure(t, w, r.given)
		})
	}
}

// The spec that is sent is the order's own, read from the ledger's item that functions cannot write, whatever the work says.
func TestAnOrdersPUT_carriesTheSpecOfTheOrderNotOfTheWork(t *testing.T) {
	onBothClouds(t, testAnOrdersPUT_carriesTheSpecOfTheOrderNotOfTheWork)
}

func testAnOrdersPUT_carriesTheSpecOfTheOrderNotOfTheWork(t *testing.T) {
	w := newWorld(orderDue, work(func(w *ledger.Work) { w.Key, w.From = otherKey, spec(westKey) }))
	for _, s := range w.decide().Put {
		if s.KeySpec != spec(newKey) {
			t.Errorf("the PUT carries %+v", s)
		}
	}
}

func TestARotationAndAnOrderOfOneRegion(t *testing.T) {
	onBothClouds(t, testARotationAndAnOrderOfOneRegion)
}

func testARotationAndAnOrderOfOneRegion(t *testing.T) {
	rotated := func(w *world) { orderDue(w); doneWith(eastKey, v1)(w); due(w) }
	blockedOrder := move(func(m *Move) { m.To.Access = policy.Denied })
	for _, r := range []struct {
		sentence string
		given    []given
		want     cmek.KeyURI
	}{
		{"the order goes first", []given{rotated}, newKey},
		{"an order that is blocked does not keep the rotation", []given{rotated, blockedOrder}, eastKey},
		{"an order that is blocked does not keep a rotation from being found", []given{orderDue, doneWith(eastKey, v1), blockedOrder}, ""},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			w := newWorld(r.given...)
			put := w.decide().Put
			var got cmek.KeyURI
			if len(put) == 1 {
				got = put[0].KeySpec.URI
			}
			if got != r.want || len(put) > 1 {
				t.Fatalf("the PUT is %+v, want %s", put, r.want)
			}
			w.transition()
			claim(w.item, put, noon)
			for _, work := range w.item.Work {
				if (work.Claim != nil) != (work.Key == r.want) {
					t.Errorf("work on %s is claimed: %t, and the PUT carries %s", work.Key, work.Claim != nil, r.want)
				}
			}
			if r.want == "" && (len(w.item.Work) != 2 || w.item.Work[1].Order != "") {
				t.Errorf("the rotation was not found: %+v", w.item.Work)
			}
		})
	}
}

func TestAnOrdersEnd_isOnRecordAndReported(t *testing.T) {
	onBothClouds(t, testAnOrdersEnd_isOnRecordAndReported)
}

func testAnOrdersEnd_isOnRecordAndReported(t *testing.T) {
	for _, r := range []struct {
		sentence string
		given    []given
		done     bool
		alert    string
		records  int
	}{
		{"done by our PUT", []given{orderSent, movedOver, rested(cmek.Enabled, time.Minute)}, true, "moved to another key", 1},
		{"done by our PUT, and put back", []given{orderSent, putBackTo(eastKey), rested(putBack, time.Minute)}, true, "order undone", 0},
		{"done by our PUT, and moved on", []given{orderSent, putBackTo(otherKey)}, true, "order undone", 0},
		{"on a third key without having been on its own", []given{orderSent, usingKey(otherKey)}, false, "order dropped", 0},
		{"reached already", []given{orderDue, usingKey(newKey)}, true, "", 0},
		{"expired", []given{orderDue, changeOrder(func(o *ledger.Order) { o.At = ago(25 * time.Hour) })}, false, "order dropped", 0},
		{"canceled", []given{orderDue, changeOrder(func(o *ledger.Order) { o.Canceled = noon })}, false, "order dropped", 0},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			w := newWorld(r.given...).transition()
			end, ended := w.item.OrderEnded("o-1")
			if !ended || end.Done != r.done || end.To != newKey || end.Region != east {
				t.Errorf("the order's end is on record as %+v (%t), want done: %t", end, ended, r.done)
			}
			var reported []string
			for _, a := range alerts(w.item) {
				reported = append(reported, string(a.Change))
			}
			if got := strings.Join(reported, ", "); got != r.alert {
				t.Errorf("reported %q, want %q", got, r.alert)
			}
			if w.item.Chain.Count != r.records {
				t.Errorf("%d evidence records, want %d", w.item.Chain.Count, r.records)
			}
			for _, other := range w.item.Work {
				if other.Order != "" {
					t.Errorf("work of the order is open: %+v", other)
				}
			}
			if v, _ := w.verdictOfOrder(t); v.Act == Open {
				t.Error("the order begins again")
			}
		})
	}
}

// What the alert says about the old key can never be read as leave to delete it.
func TestMovedAlert_saysUntilWhenTheOldKeyIsNeeded(t *testing.T) {
	w := newWorld(orderSent, movedOver, rested(cmek.Enabled, time.Minute)).transition()
	a := alerts(w.item)[0]
	if !strings.Contains(a.Impact, string(eastKey)+" is still needed") || !strings.Contains(a.Impact, "2027-11-20") || strings.Contains(strings.ToLower(a.Impact), "delete") {
		t.Errorf("the alert says %q", a.Impact)
	}
	if done, _ := w.item.DoneIn(east); done.Key != newKey || done.Version != v2 || done.Order != "o-1" {
		t.Errorf("done is %+v", done)
	}
}
