package rotation_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

const acmeNumber = "700000000001"

// onGoogle makes a function one of Google Cloud, whose calls of the Resource Manager are counted.
func onGoogle(t *testing.T, f *rotation.Function, world *simulator.World) (reads map[string]int) {
	t.Helper()
	reads = map[string]int{}
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v3/projects/") {
			reads[r.URL.Path]++
		}
		world.Google().ServeHTTP(w, r)
	})
	config := google.Config{HTTP: &http.Client{Transport: simulator.Transport(counted)}, Endpoint: "http://google.test"}
	kms, err := google.NewKMS(config)
	must(t, err)
	f.KMS, f.KeyTypes, f.Projects = kms, []cmek.KeyType{cmek.GCPCloudKMS}, google.NewPolicies(config)
	return reads
}

// numberedFleet is one cluster that names its key by the id of the project, and one that names it by the number.
func numberedFleet() simulator.Seed {
	seed := mixedFleet()
	seed.Google.Projects = append(seed.Google.Projects, simulator.GoogleProjectSeed{ID: "acme", Number: acmeNumber}, simulator.GoogleProjectSeed{ID: "other", Number: "700000000002"})
	second := seed.Clusters[len(seed.Clusters)-1]
	second.ID, second.Name = "7c1d9e20-3a4b-4c5d-8e6f-000000000903", "by-number"
	second.Regions = []simulator.RegionSeed{{Name: "us-east1", Key: googleKey.In(acmeNumber), AuthPrincipal: second.Regions[0].AuthPrincipal}}
	seed.Clusters = append(seed.Clusters, second)
	return seed
}

// An event may name the project by its number or by its id, and so may a cluster: each finds both clusters, and no other project's event
// finds any.
func TestProjects_eventByEitherName_opensWork(t *testing.T) {
	for name, key := range map[string]cmek.KeyURI{"id": googleKey, "number": googleKey.In(acmeNumber)} {
		synctest.Test(t, func(t *testing.T) {
			world := newSimulator(t, numberedFleet())
			f := follower(t, world, cmektest.NewStore(), time.Millisecond)
			reads := onGoogle(t, f, world)
			minutes(f, 10)
			before := open(t, f)
			event := cmek.Event{ID: "e-1", Change: cmek.ChangeRotated, Time: time.Now(), Key: key.In("other")}
			must(t, f.Event(t.Context(), event))
			event.Key = key.In("700000000002")
			must(t, f.Event(t.Context(), event))
			if n := open(t, f); n != before {
				t.Errorf("by %s: events of another project opened work of %d clusters", name, n-before)
			}
			minutes(f, 120)
			event.ID, event.Key = "e-2", key
			must(t, f.Event(t.Context(), event))
			if n := open(t, f); n != 2 {
				t.Errorf("by %s: the event opened work of %d clusters, want both", name, n)
			}
			if n := reads["/v3/projects/acme"]; n == 0 || n > 9 {
				t.Errorf("in two hours the project was read %v times, want once for each sweep", reads)
			}
		})
	}
}

// Two clusters that name one key differently are one fleet: the canary goes first.
func TestProjects_twoNamesOfAKey_areOneFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := numberedFleet()
		seed.Switches = map[string]string{simulator.RotationDuration: "9m"}
		world := newSimulator(t, seed)
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		onGoogle(t, f, world)
		minutes(f, 120)
		before := len(world.PUTs())
		must(t, world.Rotate(string(googleKey)))
		minutes(f, 180)
		puts := world.PUTs()[before:]
		if len(puts) != 2 || behind(world) > 1 { // one of the clusters on AWS is another installation's
			t.Fatalf("%d PUTs were sent, %d are behind; want one to each cluster", len(puts), behind(world))
		}
		if apart := puts[1].Time.Sub(puts[0].Time); apart < 9*time.Minute {
			t.Errorf("the second cluster was sent its PUT %s after the first, want it to wait for the canary's end", apart)
		}
		for i, put := range puts {
			for _, c := range seed.Clusters {
				if c.ID == put.ClusterID && put.Regions[0].URI != c.Regions[0].Key {
					t.Errorf("PUT %d has the key %s, want the cluster's own spelling %s", i, put.Regions[0].URI, c.Regions[0].Key)
				}
			}
		}
	})
}

// renamed is a Resource Manager that is refused, is out of order, or knows the id as another project.
type renamed struct {
	number string
	err    error
	calls  int
}

func (r *renamed) Project(context.Context, string) (id, number string, err error) {
	r.calls++
	return "acme", r.number, r.err
}

// What was resolved once stays when it is refused later; a project that was made anew has its new number alone.
func TestProjects_refusedOrMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := mixedFleet()
		world := newSimulator(t, seed)
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		onGoogle(t, f, world)
		projects := &renamed{err: fmt.Errorf("read project: %w", cmek.ErrDenied)}
		f.Projects = projects
		want := func(when, number string, clusters int, named ledger.Named) {
			t.Helper()
			minutes(f, 20)
			found, err := f.Ledger.ByKey(t.Context(), googleKey.In(number))
			must(t, err)
			if s := sweepOf(t, f); len(found) != clusters || s.Named != named || s.Complete.IsZero() {
				t.Errorf("%s: %d clusters are found by number %s, and the sweep has %+v; want %d and %+v", when, len(found), number, s.Named, clusters, named)
			}
		}
		want("refused", "1001", 0, ledger.Named{IDs: true})
		if projects.calls > 3 {
			t.Errorf("in 20 minutes a refused project was asked for %d times", projects.calls)
		}
		projects.err, projects.number = nil, "1001"
		want("resolved", "1001", 1, ledger.Named{IDs: true, Numbers: true})
		projects.err = fmt.Errorf("read project: %w", cmek.ErrDenied)
		want("refused again", "1001", 1, ledger.Named{IDs: true, Numbers: true})
		projects.err, projects.number = nil, "1002"
		want("made anew", "1002", 1, ledger.Named{IDs: true, Numbers: true})
		if found, _ := f.Ledger.ByKey(t.Context(), googleKey.In("1001")); len(found) > 0 {
			t.Errorf("%d clusters are found by the number of the project that is no more", len(found))
		}
	})
}
