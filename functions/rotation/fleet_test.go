package rotation

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// member is another cluster of the key eastKey.
func member(name string, changes ...func(*ledger.Cluster)) *ledger.Cluster {
	c := &ledger.Cluster{ID: "id-of-" + name, Cluster: cmek.Cluster{ID: "id-of-" + name, Name: name}}
	for _, change := range changes {
		change(c)
	}
	return c
}

func followed(v cmek.KeyVersion) func(*ledger.Cluster) {
	return func(c *ledger.Cluster) {
		c.SetDone(ledger.Done{Region: east, Key: eastKey, Version: v, Followed: true})
	}
}

func adoptedOnly(c *ledger.Cluster) { c.SetDone(ledger.Done{Region: east, Key: eastKey, Version: v2}) }

func working(region string, state ledger.State, v cmek.KeyVersion) func(*ledger.Cluster) {
	return func(c *ledger.Cluster) {
		c.Work = append(c.Work, ledger.Work{Region: region, Key: eastKey, Version: v, State: state})
	}
}

// failing: our PUT for v2 failed once.
func failing(state ledger.State) func(*ledger.Cluster) {
	return func(c *ledger.Cluster) {
		working(east, state, v2)(c)
		c.Work[len(c.Work)-1].Failed = 1
	}
}

func TestTurnKeepsTheFleetInOrder(t *testing.T) {
	flying := working(east, ledger.Requested, v2)
	onOtherKey := func(c *ledger.Cluster) { flying(c); c.Work[0].Key = newKey }
	for _, r := range []struct {
		sentence string
		fleet    []*ledger.Cluster
		want     bool
		because  string
	}{
		{"the first cluster of all goes as the canary", nil, true, ""},
		{"the first cluster goes while others are only due", []*ledger.Cluster{member("a", working(east, ledger.Due, v2))}, true, ""},
		{"the second cluster waits for the canary", []*ledger.Cluster{member("a", flying)}, false, "canary a"},
		{"the second cluster goes when the canary is done", []*ledger.Cluster{member("a", followed(v2))}, true, ""},
		{"a cluster that was adopted is no canary", []*ledger.Cluster{member("a", adoptedOnly), member("b", flying)}, false, "canary b"},
		{"a cluster that followed the version before is no canary", []*ledger.Cluster{member("a", followed(v1)), member("b", flying)}, false, "canary b"},
		{"a request of the version before is not in flight for this one", []*ledger.Cluster{member("a", working(east, ledger.Requested, v1))}, true, ""},
		{"a request under another key is not in flight for this one", []*ledger.Cluster{member("a", onOtherKey)}, true, ""},
		{"a cluster goes with two others in flight", []*ledger.Cluster{member("a", followed(v2)), member("b", flying), member("c", flying)}, true, ""},
		{"a cluster waits with three others in flight",
			[]*ledger.Cluster{member("a", followed(v2)), member("b", flying), member("c", flying), member("d", flying)}, false, "3 clusters"},
		{"two regions of a cluster in flight are one cluster",
			[]*ledger.Cluster{member("a", followed(v2)), member("b", flying), member("c", flying, working(west, ledger.Requested, v2))}, true, ""},
		{"a failure stops the rest", []*ledger.Cluster{member("a", followed(v2)), member("b", failing(ledger.Held))}, false, "cluster b failed"},
		{"a failure that is due for its retry stops the rest", []*ledger.Cluster{member("a", failing(ledger.Due))}, false, "cluster a failed"},
		{"a failure during its retry stops the rest", []*ledger.Cluster{member("a", failing(ledger.Requested))}, false, "cluster a failed"},
		{"our own failure does not stop our retry", []*ledger.Cluster{member("self", failing(ledger.Due))}, true, ""},
		{"our own request does not count for ourselves", []*ledger.Cluster{member("self", flying)}, true, ""},
		{"a hold that is no failure does not stop the rest", []*ledger.Cluster{member("a", followed(v2)), member("b", working(east, ledger.Held, v2))}, true, ""},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			ok, why := turn(r.fleet, "id-of-self", ledger.Work{Region: east, Key: eastKey, Version: v2}, 3)
			if ok != r.want {
				t.Errorf("%s: may go: %t (%s), want %t", r.sentence, ok, why, r.want)
			}
			if !strings.Contains(why, r.because) {
				t.Errorf("%s: the reason is %q, want it to say %q", r.sentence, why, r.because)
			}
		})
	}
}

func TestTurnCountsReplicasOfAMultiRegionKeyAsOneKey(t *testing.T) {
	other := member("a", working(west, ledger.Requested, v2))
	other.Work[0].Key = mrkWest
	if ok, _ := turn([]*ledger.Cluster{other}, "id-of-self", ledger.Work{Region: east, Key: mrkEast, Version: v2}, 3); ok {
		t.Error("a cluster went although the canary under another replica of its key is not done")
	}
}

func TestTurnLetsAFleetThroughOneThenThreeAtATime(t *testing.T) {
	var fleet []*ledger.Cluster
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		fleet = append(fleet, member(name, working(east, ledger.Due, v2)))
	}
	var waves []string
	for len(waves) < 10 {
		wave := ""
		for _, c := range fleet {
			if len(c.Work) == 0 || c.Work[0].State != ledger.Due {
				continue
			}
			if ok, _ := turn(fleet, c.ID, c.Work[0], 3); ok {
				c.Work[0].State = ledger.Requested
				wave += c.Cluster.Name
			}
		}
		if wave == "" {
			break
		}
		waves = append(waves, wave)
		for _, c := range fleet {
			if len(c.Work) > 0 && c.Work[0].State == ledger.Requested {
				c.Work = nil
				followed(v2)(c)
			}
		}
	}
	if got, want := strings.Join(waves, " "), "a bcd ef"; got != want {
		t.Errorf("six clusters went in the waves %q, want %q", got, want)
	}
}
