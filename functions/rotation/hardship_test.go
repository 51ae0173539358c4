package rotation

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Cases that were found by trying to break follow-through.

func TestThePUTCarriesTheSpecInForceAlthoughAnotherOfTheSameKeyIsNewer(t *testing.T) {
	inForce := keyInfo(eastKey, cmek.Enabled, ago(400*24*time.Hour))
	inForce.UpdatedAt = ago(10 * 24 * time.Hour)
	retired := keyInfo(eastKey, cmek.Disabled, ago(20*24*time.Hour))
	retired.Spec.AuthPrincipal = "arn:aws:iam::111122223333:role/retired"
	put := newWorld(due, keys(inForce, retired)).decide().Put
	if len(put) != 1 || put[0].KeySpec != inForce.Spec {
		t.Errorf("the PUT carries %+v, want the ENABLED spec %+v", put, inForce.Spec)
	}
	w := newWorld(accepted, keys(inForce, retired))
	w.facts.CMEK.RegionInfos[0].KeyInfos[0].UpdatedAt = ago(time.Minute)
	if v := w.verdict(t, east); v.Act != Settle {
		t.Errorf("after the PUT with the ENABLED spec: %s (%s), want done", v.Act, v.Why)
	}
}

func TestAClusterThatIsRevokedInOneRegionGetsNoPUTInAnother(t *testing.T) {
	for _, status := range []cmek.Status{cmek.Revoked, cmek.Revoking, cmek.RevokeFailed} {
		w := newWorld(due, alsoWest(westKey))
		w.facts.CMEK.RegionInfos[1].Status = status
		for _, aggregate := range []cmek.Status{cmek.Enabled, ""} {
			w.facts.CMEK.Status = aggregate
			if put := w.decide().Put; len(put) > 0 {
				t.Errorf("one region %s, cluster %q: a PUT is due: %+v", status, aggregate, put)
			}
		}
	}
}

func TestAnAcceptedPUTIsNotForgottenWhileTheClusterLooksOutOfReach(t *testing.T) {
	for name, hide := range map[string]func(*world){
		"a passing DISABLING": func(w *world) { w.facts.CMEK.Status = cmek.Disabling },
		"a cluster not shown": gone,
		"a CMEK not shown":    func(w *world) { w.facts.CMEK = cmek.ClusterInfo{} },
	} {
		w := newWorld(accepted)
		shown := newWorld(accepted, updated(after)).facts
		hide(w)
		w.apply()
		w.facts = shown
		if put := w.decide().Put; len(put) > 0 {
			t.Errorf("after %s a second PUT is due: %+v", name, put)
		}
		if w.apply(); len(w.item.Done) != 1 || !w.item.Done[0].Followed {
			t.Errorf("after %s the PUT is not settled: work %+v, done %+v", name, w.item.Work, w.item.Done)
		}
	}
}

func TestAClusterThatIsGoneIsNotSaidToBeWell(t *testing.T) {
	w := newWorld(keyState(cmek.KeyDisabled)).apply()
	gone(w)
	w.apply()
	for _, a := range alerts(w.item) {
		if a.Resolved && !strings.Contains(a.Summary, "gone, or keyturn may no longer see it") {
			t.Errorf("the end of the alarm says %q", a.Summary)
		}
	}
}

func TestSeveralEnabledSpecsAreToldWithoutAnyWork(t *testing.T) {
	if told := alerts(newWorld(twoSpecs).apply().item); len(told) != 1 || told[0].Change != changeHeld {
		t.Errorf("two ENABLED specs told %+v, want one alert that following is held", told)
	}
}

func TestFailedWorkGoesOnWithTheKeysNextVersion(t *testing.T) {
	w := newWorld(due, work(func(w *ledger.Work) { w.Failed, w.State = 2, ledger.Held }), statusEverywhere(cmek.RotateFailed), version(v3)).apply()
	if len(w.item.Work) != 1 || w.item.Work[0].Version != v3 || w.item.Work[0].State != ledger.Due || w.item.Work[0].Failed != 0 {
		t.Errorf("after the next version the work is %+v, want it due under the next version", w.item.Work)
	}
}

func TestAnOperatorCanReleaseAFailureThatNoWorkStandsFor(t *testing.T) {
	failed := newWorld(doneWith(eastKey, v2), statusEverywhere(cmek.RotateFailed)).apply().item
	failed.ID = "c-a"
	waiting := newWorld(due).item
	fleet := []*ledger.Cluster{failed, waiting}
	if ok, _ := turn(fleet, waiting.ID, waiting.Work[0], 3); ok {
		t.Fatal("a failure of another cluster does not stop the rest")
	}
	if regions := release(failed, noon); len(regions) != 1 {
		t.Errorf("release released %v, want the failed region", regions)
	}
	if ok, why := turn(fleet, waiting.ID, waiting.Work[0], 3); !ok {
		t.Errorf("after the release the rest still waits: %s", why)
	}
}

func TestAFailureOfAPastKeyOrAnOptedOutClusterStopsNobody(t *testing.T) {
	waiting := newWorld(due).item
	past := newWorld(doneWith(newKey, v2)).item
	past.ID = "c-a"
	past.CMEK.RegionInfos[0] = cmek.RegionInfo{Region: east, Status: cmek.RotateFailed, KeyInfos: []cmek.KeyInfo{
		keyInfo(eastKey, cmek.Disabled, ago(100*24*time.Hour)), keyInfo(newKey, cmek.EnableFailed, ago(time.Hour)),
	}}
	out := newWorld(optedOut, statusEverywhere(cmek.RotateFailed)).item
	out.ID, out.Cluster.Labels = "c-b", map[string]string{"keyturn": "off"}
	if ok, why := turn([]*ledger.Cluster{past, out, waiting}, waiting.ID, waiting.Work[0], 3); !ok {
		t.Errorf("the rest waits: %s", why)
	}
}

func TestAnOpenAlarmThatGetsWorseIsToldAgain(t *testing.T) {
	w := newWorld(doneWith(eastKey, v2), keyState(cmek.KeyDisabled)).apply()
	before := len(alerts(w.item))
	w.facts.Keys[eastKey] = KeyFact{Key: cmek.Key{URI: eastKey, State: cmek.KeyDeletionScheduled, Version: v2, DeletionDate: in(7 * 24 * time.Hour)}}
	told := alerts(w.apply().item)
	if len(told) != before+1 || told[before].Deadline.IsZero() || told[before].DedupKey != told[0].DedupKey {
		t.Errorf("after the disabled key was scheduled for deletion the alerts are %+v, want one more with a deadline, of the same incident", told)
	}
	if again := alerts(w.apply().item); len(again) != len(told) {
		t.Errorf("the same state was told again: %+v", again)
	}
}
