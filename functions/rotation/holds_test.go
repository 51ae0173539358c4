package rotation

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

func held(h cmek.Hold) given {
	h.Since, h.By, h.Reason = ago(time.Hour), "ana", "CHG-7"
	if h.Until.IsZero() {
		h.Until = in(time.Hour)
	}
	return func(w *world) { w.facts.Holds = append(w.facts.Holds, h) }
}

func heldCluster(w *world) { held(cmek.Hold{ClusterID: w.item.ID})(w) }

func TestDecide_onHold_sendsNothingThere(t *testing.T) {
	onBothClouds(t, testDecide_onHold_sendsNothingThere)
}

func testDecide_onHold_sendsNothingThere(t *testing.T) {
	ofKey := held(cmek.Hold{Key: eastKey})
	decides(t, []row{
		{sentence: "work of a key that is on hold waits", given: []given{due, ofKey}, want: Wait, because: "on hold until"},
		{sentence: "work of a cluster that is on hold waits", given: []given{due, heldCluster}, want: Wait, because: "CHG-7"},
		{sentence: "it is not announced either", given: []given{due, observing, ofKey}, want: Wait, because: "on hold"},
		{sentence: "a PUT that left is watched to its end", given: []given{accepted, movedAt, confirmed, ofKey, heldCluster}, want: Complete},
		{sentence: "a claim does not leave", given: []given{due, claiming, ofKey}, want: Wait, because: "on hold"},
		{sentence: "a second try does not leave", given: []given{givenUp, ofKey}, want: Wait, because: "on hold"},
		{sentence: "what is blocked stays so", given: []given{due, keyState(cmek.KeyDisabled), ofKey}, want: Block, because: "disabled"},
		{sentence: "it is polled again when the hold ends", given: []given{due, held(cmek.Hold{Key: eastKey, Until: in(time.Second)})}, want: Wait, until: in(time.Second)},

		{sentence: "a hold of another key stops nothing", given: []given{due, held(cmek.Hold{Key: westKey})}, want: Send},
		{sentence: "a hold of another cluster stops nothing", given: []given{due, held(cmek.Hold{ClusterID: "another"})}, want: Send},
		{sentence: "a hold that has expired stops nothing", given: []given{due, held(cmek.Hold{Key: eastKey, Until: noon})}, want: Send},
		{sentence: "a hold that was released stops nothing", given: []given{due, held(cmek.Hold{Key: eastKey, Released: ago(time.Second)})}, want: Send},
	})
}

func claiming(w *world) { w.facts.Claimed = noon }

// Others of the same key go on: a cluster that is on hold is no canary that they wait for.
func TestDecide_clusterOnHold_othersGoOn(t *testing.T) {
	onBothClouds(t, testDecide_clusterOnHold_othersGoOn)
}

func testDecide_clusterOnHold_othersGoOn(t *testing.T) {
	if w := newWorld(due, heldCluster).transition(); !w.item.Work[0].Detained {
		t.Errorf("the work is %+v, want it detained, so that others of the key need not wait", w.item.Work[0])
	}
}

func TestHoldConditions(t *testing.T) { onBothClouds(t, testHoldConditions) }

func testHoldConditions(t *testing.T) {
	day := cmek.Hold{Key: eastKey, Since: noon, Until: in(24 * time.Hour), By: "ana", Reason: "CHG-7"}
	short := cmek.Hold{ClusterID: "c-1", Cluster: "orders", Since: noon, Until: in(2 * time.Hour), Reason: "CHG-8"}
	for _, r := range []struct {
		after time.Duration
		want  []string // summaries with the severity
	}{
		{0, []string{"info On hold: key " + string(eastKey), "info On hold: cluster orders"}},
		{time.Hour, []string{"info On hold: key " + string(eastKey), "info On hold: cluster orders"}}, // one of two hours is not reported again
		{2 * time.Hour, []string{"info On hold: key " + string(eastKey)}},
		{23*time.Hour - time.Second, []string{"info On hold: key " + string(eastKey)}},
		{23 * time.Hour, []string{"low The hold of key " + string(eastKey) + " ends at " + day.Until.UTC().Format(time.RFC3339)}},
		{24 * time.Hour, nil},
	} {
		var got []string
		for _, a := range holdConditions(cmek.Holds{day, short}, noon.Add(r.after)) {
			cmektest.CheckSteps(t, a.RecoverySteps...)
			got = append(got, string(a.Severity)+" "+a.Summary)
			if a.Audience != alert.Operations || a.Hold == nil || len(a.RecoverySteps) != 2 {
				t.Errorf("the alert is %+v, want one for operations with its hold and one step", a)
			}
		}
		if !slices.Equal(got, r.want) {
			t.Errorf("after %s the conditions are %q, want %q", r.after, got, r.want)
		}
	}
}

func TestHoldEnded_saysHow(t *testing.T) { onBothClouds(t, testHoldEnded_saysHow) }

func testHoldEnded_saysHow(t *testing.T) {
	h := cmek.Hold{Key: eastKey, Since: noon, Until: in(24 * time.Hour), Reason: "CHG-7"}
	told := holdConditions(cmek.Holds{h}, noon)[0]
	released, again := h, h
	released.Released, released.ReleasedBy = in(time.Hour), "bo"
	again.Since = in(2 * time.Hour)
	for want, holds := range map[string]cmek.Holds{"was released by bo": {again, released}, "expired": {again}} {
		if got := holdEnded(told, holds); !strings.Contains(got, want) {
			t.Errorf("the end reads %q, want that it %s", got, want)
		}
	}
}

// Whatever happens to a cluster on hold is reported as ever, with the hold in it.
func TestConditions_onHold_areLinkedToIt(t *testing.T) {
	onBothClouds(t, testConditions_onHold_areLinkedToIt)
}

func testConditions_onHold_areLinkedToIt(t *testing.T) {
	w := newWorld(due, heldCluster, work(func(w *ledger.Work) { w.Since = ago(25 * time.Hour) })).transition()
	i := slices.IndexFunc(w.item.Alarms, func(a ledger.Alarm) bool { return a.Alert.Change == changeOverdue })
	if i < 0 || w.item.Alarms[i].Alert.Hold == nil || w.item.Alarms[i].Alert.Hold.Reason != "CHG-7" {
		t.Errorf("the alerts are %+v, want the overdue one with its hold", w.item.Alarms)
	}
	if w := newWorld(due, work(func(w *ledger.Work) { w.Since = ago(25 * time.Hour) })).transition(); w.item.Alarms[0].Alert.Hold != nil {
		t.Errorf("without a hold the alert has %+v", w.item.Alarms[0].Alert.Hold)
	}
}
