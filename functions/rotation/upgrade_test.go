package rotation

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// testdata/ledger-v1 holds items as releases before requests had a baseline wrote them. They must stay readable; never change
// these files.
const ledgerV1 = "testdata/ledger-v1"

func stored(t *testing.T, name string) *ledger.Cluster {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(ledgerV1, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var item ledger.Cluster
	if err := json.Unmarshal(data, &item); err != nil {
		t.Fatalf("decode %s: %v", name, err)
	}
	return &item
}

func TestUpgrade_losesNothingOfAnItem(t *testing.T) {
	files, err := filepath.Glob(ledgerV1 + "/*.json")
	if err != nil || len(files) < 11 {
		t.Fatalf("found %d stored items (%v), want 11", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(stored(t, name))
		if err != nil {
			t.Fatal(err)
		}
		var before, after map[string]any
		if err := json.Unmarshal(data, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(again, &after); err != nil {
			t.Fatal(err)
		}
		delete(before, "key_failures") // counted by the worker now
		for _, w := range listOf(before["work"]) {
			if w["state"] == "held" {
				w["state"] = "blocked"
			}
		}
		if !reflect.DeepEqual(before, after) {
			t.Errorf("%s: written again the item is\n%v\nwas\n%v", name, after, before)
		}
	}
}

func listOf(v any) (list []map[string]any) {
	items, _ := v.([]any)
	for _, i := range items {
		list = append(list, i.(map[string]any))
	}
	return list
}

// polled is what became of a stored item in a day of polls.
type polled struct {
	item *ledger.Cluster
	puts int
}

// pollForADay polls the item every five minutes, with reads that show its inventory after the changes. A PUT that is due is not sent.
func pollForADay(item *ledger.Cluster, moves bool, changes ...func(*Reads)) polled {
	s := following()
	p := polled{item: item}
	for at := noon; at.Before(in(24 * time.Hour)); at = at.Add(5 * time.Minute) {
		cluster, info := item.Cluster, item.CMEK
		r := Reads{At: at, Cluster: &cluster, CMEK: &info, UpdatedAtMoves: moves, Keys: map[cmek.KeyURI]KeyFact{
			eastKey: {Key: healthyKey(eastKey)}, westKey: {Key: healthyKey(westKey)},
		}}
		for _, change := range changes {
			change(&r)
		}
		f := absorb(item, r, at)
		plan := Decide(f, item, at, s)
		transition(item, f, plan, at, s)
		if len(plan.Put) > 0 {
			p.puts++
		}
	}
	return p
}

func readMoved(r *Reads) {
	moved := r.keyUpdated(longAgo)
	moved.CMEK.RegionInfos[0].KeyInfos = slices.Clone(r.CMEK.RegionInfos[0].KeyInfos)
	for i := range moved.CMEK.RegionInfos[0].KeyInfos {
		if k := &moved.CMEK.RegionInfos[0].KeyInfos[i]; k.Spec.URI == eastKey {
			k.UpdatedAt = after
		}
	}
	*r = moved
}

func readUnusable(r *Reads) {
	r.Keys[eastKey] = KeyFact{Key: cmek.Key{URI: eastKey, State: cmek.KeyDisabled, Version: v2}}
}

func TestUpgrade_workUnderWay_isSettledByReading(t *testing.T) {
	for _, r := range []struct {
		sentence string
		stored   string
		changes  []func(*Reads)
		state    ledger.State // "": done
		because  string       // of the open work, or the evidence
		puts     bool
	}{
		{"accepted and moved is done", "accepted", []func(*Reads){readMoved}, "", "updated_at moved", false},
		{"accepted without a trace is done after the grace time", "accepted", nil, "", "no trace", false},
		{"unknown and moved is done", "unknown", []func(*Reads){readMoved}, "", "updated_at moved", false},
		{"unknown without a trace is blocked", "unknown", nil, ledger.Blocked, "earlier release", false},
		{"unanswered and moved is done", "unanswered", []func(*Reads){readMoved}, "", "updated_at moved", false},
		{"unanswered without a trace is blocked", "unanswered", nil, ledger.Blocked, "earlier release", false},
		{"lost once and moved is done", "lost-once", []func(*Reads){readMoved}, "", "updated_at moved", false},
		{"lost once without a trace is blocked", "lost-once", nil, ledger.Blocked, "earlier release", false},
		{"refused and moved is done", "refused", []func(*Reads){readMoved}, "", "updated_at moved", false},
		{"refused without a trace is sent", "refused", nil, ledger.Due, "older version", true},
		{"an operation that had failed before is watched", "accepted-failed-before", []func(*Reads){readMoved}, ledger.Blocked, cmek.CMEKOperationFailed, false},
		{"due work is sent", "due", nil, ledger.Due, "older version", true},
		{"held work of a key that is still disabled is blocked", "held-key-disabled", []func(*Reads){readUnusable}, ledger.Blocked, "disabled", false},
		{"held work of a key that recovered is sent", "held-key-disabled", nil, ledger.Due, "older version", true},
		{"held work that failed twice is blocked", "held-failed-twice", nil, ledger.Blocked, "failed twice", false},
		{"released work is sent", "released-and-counted", nil, ledger.Due, "older version", true},
	} {
		for _, moves := range []bool{false, true} {
			p := pollForADay(stored(t, r.stored), moves, r.changes...)
			if (p.puts > 0) != r.puts {
				t.Errorf("%s (updated_at known to move: %t): %d PUTs are due, want some: %t", r.sentence, moves, p.puts, r.puts)
			}
			if r.state == "" {
				if d, _ := p.item.DoneIn(east); len(p.item.Work) > 0 || d.Version != v2 || !d.Followed || !strings.Contains(d.Evidence, r.because) {
					t.Errorf("%s (updated_at known to move: %t): the work is %+v, done %+v", r.sentence, moves, p.item.Work, d)
				}
				continue
			}
			if len(p.item.Work) != 1 || p.item.Work[0].State != r.state || !strings.Contains(p.item.Work[0].Reason, r.because) {
				t.Errorf("%s (updated_at known to move: %t): the work is %+v, want %s: %s", r.sentence, moves, p.item.Work, r.state, r.because)
			}
			if d, _ := p.item.DoneIn(east); d.Version != v1 {
				t.Errorf("%s: the version done before is %+v now", r.sentence, d)
			}
		}
	}
}

func TestUpgrade_heldWork_isBlocked(t *testing.T) {
	for _, name := range []string{"held-key-disabled", "held-failed-twice"} {
		if got := stored(t, name).Work[0].State; got != ledger.Blocked {
			t.Errorf("%s is read as %q, want %q", name, got, ledger.Blocked)
		}
	}
}

func TestUpgrade_blockedRequest_canBeRetried(t *testing.T) {
	p := pollForADay(stored(t, "unknown"), false)
	if regions := retry(p.item, false, in(24*time.Hour)); !slices.Equal(regions, []string{east}) {
		t.Fatalf("retry retried %q", regions)
	}
	if p = pollForADay(p.item, false); p.puts == 0 {
		t.Errorf("after a retry the work is %+v, want it sent", p.item.Work)
	}
}

func TestUpgrade_idleItem_staysAsItIs(t *testing.T) {
	p := pollForADay(stored(t, "idle"), false, func(r *Reads) {
		fact := r.Keys[eastKey]
		fact.Key.Version = v1
		r.Keys[eastKey] = fact
	})
	want := stored(t, "idle")
	p.item.NextLook, p.item.SeenAt, want.NextLook, want.SeenAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	got, err := json.Marshal(p.item)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := json.Marshal(want); err != nil || p.puts > 0 || string(got) != string(data) {
		t.Errorf("an idle item became\n%s\nwant (%v)\n%s", got, err, data)
	}
}

func TestUpgrade_keyIncident_isNotSaidToBeResolved(t *testing.T) {
	p := pollForADay(stored(t, "held-key-disabled"), false, readUnusable)
	for _, a := range alerts(p.item) {
		if a.Resolved && a.Change == changeKeyUnusable && !strings.Contains(a.Summary, "for the key as a whole") {
			t.Errorf("the key is still disabled, and the item says %q", a.Headline())
		}
	}
}
