package rotation_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// A cluster that the Cloud API no longer shows, in each form, keeps its inventory and its open work, and is reported once.
// adminAPIKey is the simulator's key that may do everything.
const adminAPIKey = "CCDB1_SAMPLEadminSAMPLEadmin_SAMPLEadminSAMPLEadminSAMPLEadminSAMPLEa"

func TestVisibility_whatIsNotShownIsKept(t *testing.T) {
	onEachCloud(t, testVisibility_whatIsNotShownIsKept)
}

func testVisibility_whatIsNotShownIsKept(t *testing.T) {
	const id = "7c1d9e20-3a4b-4c5d-8e6f-000000000100"
	for _, r := range []struct {
		what       string
		hide, show func(*simulator.World) error
	}{
		{"a hidden cluster", func(w *simulator.World) error { return w.Hide(id) }, func(w *simulator.World) error { return w.Show(id) }},
		{"a CMEK shown as DISABLED", func(w *simulator.World) error { return w.HideCMEK(id, "disabled") }, func(w *simulator.World) error { return w.ShowCMEK(id) }},
		{"a CMEK that answers 404", func(w *simulator.World) error { return w.HideCMEK(id, "404") }, func(w *simulator.World) error { return w.ShowCMEK(id) }},
		{"a CMEK that answers without regions", func(w *simulator.World) error { return w.HideCMEK(id, "empty") }, func(w *simulator.World) error { return w.ShowCMEK(id) }},
	} {
		for _, working := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				seed := sharedKey(2)
				key := seed.Clusters[0].Regions[0].Key
				world := newSimulator(t, seed)
				f := follower(t, world, cmektest.NewStore(), time.Millisecond)
				minutes(f, 2)
				before := item(t, f, id)
				if working {
					rotateKey(t, f, world, key)
				}
				must(t, r.hide(world))
				hidden := time.Now()
				minutes(f, 48*60)

				c := item(t, f, id)
				if !slices.Equal(c.Keys(), before.Keys()) || len(c.CMEK.RegionInfos) != len(before.CMEK.RegionInfos) || c.Gone {
					t.Errorf("%s, work open %t: the item has keys %q and is gone: %t; want %q", r.what, working, c.Keys(), c.Gone, before.Keys())
				}
				if working != (len(c.Work) == 1) || len(c.Dropped) > 0 {
					t.Errorf("%s, work open %t: the work is %+v, dropped %+v", r.what, working, c.Work, c.Dropped)
				}
				if users, err := f.Ledger.ByKey(t.Context(), key); err != nil || len(users) != 2 {
					t.Errorf("%s, work open %t: %d clusters use the key (%v), want 2", r.what, working, len(users), err)
				}
				for _, put := range world.PUTs() {
					if put.ClusterID == id {
						t.Errorf("%s: a PUT was sent at %s", r.what, clock(put.Time))
					}
				}
				if s := sweepOf(t, f); s.Complete.Before(hidden.Add(47 * time.Hour)) {
					t.Errorf("%s, work open %t: the last complete sweep ended %s after it began", r.what, working, s.Complete.Sub(hidden))
				}
				begun, ended := reported(f, "cluster not shown")
				if len(begun) != 1 || len(ended) > 0 || begun[0].Audience != alert.Operations {
					t.Errorf("%s, work open %t: %d alerts and %d ends in two days, want one to operations: %q", r.what, working, len(begun), len(ended), named(begun))
				} else {
					t.Logf("%s, work open %t: reported after %s", r.what, working, begun[0].Time.Sub(hidden).Round(time.Second))
					most := 16 * time.Hour // nobody reads it but to learn whether it still exists
					if working || r.what != "a hidden cluster" {
						most = 30*time.Minute + settling()
					}
					if after := begun[0].Time.Sub(hidden); after > most {
						t.Errorf("%s, work open %t: reported after %s, want within %s", r.what, working, after, most)
					}
				}
				if other, _ := reported(f, "cluster unreadable"); len(other) > 0 {
					t.Errorf("%s, work open %t: also reported %q", r.what, working, named(other))
				}

				must(t, r.show(world))
				shown := time.Now()
				minutes(f, 90)
				if begun, ended = reported(f, "cluster not shown"); len(begun) != 1 || len(ended) != 1 {
					t.Errorf("%s, work open %t: shown again there are %d alerts and %d ends, want one of each", r.what, working, len(begun), len(ended))
				}
				if working {
					if behind(world) > 0 || openIncidents(f) > 0 {
						t.Errorf("%s: 90 min after it is shown again %d store keys are behind, %d incidents open; %+v", r.what, behind(world), openIncidents(f), item(t, f, id).Work)
					}
					for _, put := range world.PUTs() {
						if put.ClusterID == id {
							t.Logf("%s: the PUT leaves %s after it is shown again", r.what, put.Time.Sub(shown).Round(time.Second))
						}
					}
				}
			})
		}
	}
}

// Two clusters wait for a canary that is hidden while its request is open: the alert names them.
func TestVisibility_hiddenCanary_namesThoseThatWait(t *testing.T) {
	onEachCloud(t, testVisibility_hiddenCanary_namesThoseThatWait)
}

func testVisibility_hiddenCanary_namesThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := sharedKey(3)
		world := newSimulator(t, seed)
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		minutes(f, 2)
		rotateKey(t, f, world, seed.Clusters[0].Regions[0].Key)
		for range 20 + int(settling()/time.Minute) {
			if minutes(f, 1); len(world.PUTs()) > 0 {
				break
			}
		}
		must(t, world.Hide(seed.Clusters[0].ID))
		minutes(f, 25)
		begun, _ := reported(f, "cluster not shown")
		if len(begun) != 1 || len(begun[0].Clusters) != 3 {
			t.Errorf("a hidden canary is reported as %+v, want one alert that names all three clusters", begun)
		}
	})
}

func TestVisibility_forget_endsTheRecordOfAHiddenCluster(t *testing.T) {
	onEachCloud(t, testVisibility_forget_endsTheRecordOfAHiddenCluster)
}

func testVisibility_forget_endsTheRecordOfAHiddenCluster(t *testing.T) {
	const id, other = "7c1d9e20-3a4b-4c5d-8e6f-000000000100", "7c1d9e20-3a4b-4c5d-8e6f-000000000101"
	synctest.Test(t, func(t *testing.T) {
		seed := sharedKey(2)
		key := seed.Clusters[0].Regions[0].Key
		world := newSimulator(t, seed)
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		minutes(f, 2)
		rotateKey(t, f, world, key)
		must(t, world.Hide(id))
		minutes(f, 60)
		if err := f.Forget(t.Context(), other, "ana", "moved"); err == nil {
			t.Error("a cluster that is shown was forgotten")
		}
		if err := f.Forget(t.Context(), "7c1d9e20-3a4b-4c5d-8e6f-00000000ffff", "ana", "moved"); err == nil {
			t.Error("a cluster that was never known was forgotten")
		}
		must(t, f.Forget(t.Context(), id, "ana", "moved to another organization"))
		must(t, f.Forget(t.Context(), id, "ana", "again"))
		minutes(f, 60)
		if users, err := f.Ledger.ByKey(t.Context(), key); err != nil || len(users) != 1 || users[0].ID != other {
			t.Errorf("%d clusters use the key (%v), want the other one", len(users), err)
		}
		if c := item(t, f, id); len(c.Work) > 0 || len(c.Dropped) != 1 || !strings.Contains(c.Dropped[0].Reason, "moved to another organization") {
			t.Errorf("the work is %+v, dropped %+v", c.Work, c.Dropped)
		}
		if _, ended := reported(f, "cluster not shown"); len(ended) != 1 {
			t.Errorf("%q ended, want one", named(ended))
		}
		if begun, _ := reported(f, "cluster forgotten"); len(begun) != 1 {
			t.Errorf("%q are reported, want that it was forgotten, once", named(begun))
		}
		// Forgotten by mistake: it is found again.
		must(t, world.Show(id))
		minutes(f, 90)
		if users, _ := f.Ledger.ByKey(t.Context(), key); len(users) != 2 || behind(world) > 0 {
			t.Errorf("shown again, %d clusters use the key and %d store keys are behind, want 2 and none", len(users), behind(world))
		}
	})
}

func TestVisibility_deletedCluster_isGone(t *testing.T) {
	onEachCloud(t, testVisibility_deletedCluster_isGone)
}

func testVisibility_deletedCluster_isGone(t *testing.T) {
	const id = "7c1d9e20-3a4b-4c5d-8e6f-000000000100"
	for _, working := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			seed := sharedKey(2)
			key := seed.Clusters[0].Regions[0].Key
			world := newSimulator(t, seed)
			f := follower(t, world, cmektest.NewStore(), time.Millisecond)
			minutes(f, 2)
			if working {
				rotateKey(t, f, world, key)
			}
			request := httptest.NewRequestWithContext(t.Context(), http.MethodDelete, "/api/v1/clusters/"+id, nil)
			request.Header.Set("Authorization", "Bearer "+adminAPIKey)
			answer := httptest.NewRecorder()
			world.CloudAPI().ServeHTTP(answer, request)
			if answer.Code != http.StatusOK {
				t.Fatal(answer.Code, answer.Body)
			}
			minutes(f, 60)
			c := item(t, f, id)
			if !c.Gone || len(c.Work) > 0 || len(c.Keys()) > 0 || working && len(c.Dropped) != 1 {
				t.Errorf("work open %t: the deleted cluster's item is gone: %t, work %+v, keys %q, dropped %+v", working, c.Gone, c.Work, c.Keys(), c.Dropped)
			}
			if users, _ := f.Ledger.ByKey(t.Context(), key); len(users) != 1 {
				t.Errorf("work open %t: %d clusters use the key, want one", working, len(users))
			}
			if begun, _ := reported(f, "cluster not shown"); len(begun) > 0 || openIncidents(f) > 0 {
				t.Errorf("work open %t: reported %q", working, named(begun))
			}
			if s := sweepOf(t, f); s.Complete.Before(time.Now().Add(-16*time.Minute)) || s.Failed > 0 {
				t.Errorf("work open %t: the sweep is %+v, want it complete", working, s)
			}
			if working && behind(world) > 0 {
				t.Errorf("the other cluster is not followed")
			}
		})
	}
}

// emptyLists answers the list of clusters with a body of its own.
type emptyLists struct {
	next http.RoundTripper
	body string
}

func (e *emptyLists) RoundTrip(req *http.Request) (*http.Response, error) {
	if e.body == "" || req.URL.Path != "/api/v1/clusters" {
		return e.next.RoundTrip(req)
	}
	return &http.Response{Status: "200 OK", StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(e.body)), Request: req}, nil
}

func TestVisibility_listOfClusters(t *testing.T) { onEachCloud(t, testVisibility_listOfClusters) }

func testVisibility_listOfClusters(t *testing.T) {
	for _, r := range []struct {
		what, body string
		// complete: the sweep ended well; the clusters may be hidden.
		complete bool
	}{
		{"without clusters", `{}`, false},
		{"null", `null`, false},
		{"with clusters null", `{"clusters":null,"pagination":null}`, false},
		{"with a Status", `{"code":14,"message":"transport is closing","details":[]}`, false},
		{"HTML", `<html>Sign in</html>`, false},
		{"with no cluster", `{"clusters":[],"pagination":null}`, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			seed := sharedKey(2)
			key := seed.Clusters[0].Regions[0].Key
			world := newSimulator(t, seed)
			f := follower(t, world, cmektest.NewStore(), time.Millisecond)
			minutes(f, 2)
			began := sweepOf(t, f).Complete
			lists := &emptyLists{simulator.Transport(world.CloudAPI()), r.body}
			f.Cloud = cloudThrough(t, lists)
			minutes(f, 26*60)
			if s := sweepOf(t, f); s.Complete.After(began) != r.complete {
				t.Errorf("a list %s: a complete sweep ended %s after the last good one", r.what, s.Complete.Sub(began))
			}
			users, err := f.Ledger.ByKey(context.Background(), key)
			if err != nil || len(users) != 2 || slices.ContainsFunc(users, func(c *ledger.Cluster) bool { return !c.Unread.IsZero() || c.Gone }) {
				t.Errorf("a list %s: %d clusters use the key (%v), want both, neither unread nor gone", r.what, len(users), err)
			}
			begun, _ := reported(f, "sweep incomplete")
			if want := map[bool]int{false: 1, true: 0}[r.complete]; len(begun) != want {
				t.Errorf("a list %s: %d alerts that the sweep is incomplete, want %d: %q", r.what, len(begun), want, named(begun))
			}
			lists.body = ""
			minutes(f, 40)
			if s := sweepOf(t, f); s.Complete.Before(time.Now().Add(-30*time.Minute)) || openIncidents(f) > 0 {
				t.Errorf("a list %s: once it has ended the last complete sweep ended at %s, and %d incidents are open", r.what, clock(s.Complete), openIncidents(f))
			}
		})
	}
}

func cloudThrough(t *testing.T, transport http.RoundTripper) cmek.Cloud {
	t.Helper()
	cloud, err := cockroachcloud.New(cockroachcloud.Options{Server: "http://127.0.0.1", APIKey: cockroachcloud.StaticAPIKey(simulator.SampleAPIKey), Rate: 8,
		HTTPClient: &http.Client{Transport: transport}})
	must(t, err)
	return cloud
}

// The read that finds hidden clusters costs nothing where sweeps see them.
func TestVisibility_shownCluster_isReadBySweepsOnly(t *testing.T) {
	onEachCloud(t, testVisibility_shownCluster_isReadBySweepsOnly)
}

func testVisibility_shownCluster_isReadBySweepsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newSimulator(t, sharedKey(3))
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		minutes(f, 48*60)
		for _, r := range world.Requests() {
			if r.API == "cloud" && r.Path != "/api/v1/clusters" && !strings.HasSuffix(r.Path, "/cmek") {
				t.Errorf("at %s there was a %s %s in an idle fleet", clock(r.Time), r.Method, r.Path)
			}
		}
	})
}
