package cockroachcloud

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

var _ cmek.Cloud = (*Client)(nil)

// simulated returns a world with the switches set ("name=value") and a client of its Cloud API.
func simulated(t *testing.T, switches []string, change ...func(*Options)) (*simulator.World, *Client) {
	t.Helper()
	world, err := simulator.New(simulator.DefaultSeed())
	if err != nil {
		t.Fatalf("make world: %v", err)
	}
	for _, s := range switches {
		name, value, _ := strings.Cut(s, "=")
		if err := world.Set(name, value); err != nil {
			t.Fatalf("set switch %s: %v", s, err)
		}
	}
	change = append([]func(*Options){func(o *Options) {
		o.APIKey, o.Rate, o.MaxReadAttempts = StaticAPIKey(simulator.SampleAPIKey), 8, 5
	}}, change...)
	return world, newClient(t, inProcess(world.Handler().ServeHTTP), change...)
}

// rotatable returns the first cluster that is free and has a CMEK in force, with the specs of all its regions.
func rotatable(t *testing.T, client *Client) (cmek.Cluster, []cmek.RegionSpec) {
	t.Helper()
	for cluster, err := range client.Clusters(t.Context()) {
		if err != nil {
			t.Fatalf("Clusters: %v", err)
		}
		if cluster.Plan != cmek.PlanAdvanced || cluster.Busy() != "" {
			continue
		}
		info, err := client.CMEK(t.Context(), cluster.ID)
		if err != nil || info.Status != cmek.Enabled {
			continue
		}
		var specs []cmek.RegionSpec
		for _, region := range info.RegionInfos {
			if key, n := region.Current(); n == 1 {
				specs = append(specs, cmek.RegionSpec{Region: region.Region, KeySpec: key.Spec})
			}
		}
		return cluster, specs
	}
	t.Fatal("no cluster of the world has a CMEK in force")
	return cmek.Cluster{}, nil
}

func TestARotationInTheSimulatorIsAcceptedOnceAndSeenToItsEnd(t *testing.T) {
	for _, switches := range [][]string{
		nil,
		{"busy-reply=409", "error-body=html", "page-limit=2", "single-page=null"},
		{"busy-reply=400", "error-body=text", "status-flip=after", "same-uri-key-info=append", "key-info-order=random"},
	} {
		synctest.Test(t, func(t *testing.T) {
			world, client := simulated(t, switches)
			cluster, specs := rotatable(t, client)
			if got := client.RotateCMEK(t.Context(), cluster.ID, specs); got.Outcome != cmek.Accepted {
				t.Fatalf("%v: answer is %+v, want accepted", switches, got)
			}
			want := cmek.Refused
			if slices.Contains(switches, "error-body=html") || slices.Contains(switches, "error-body=text") {
				want = cmek.Unknown // Nothing tells it from a proxy's page.
			}
			if got := client.RotateCMEK(t.Context(), cluster.ID, specs); got.Outcome != want || got.Busy != (want == cmek.Refused) {
				t.Errorf("%v: answer to a PUT while busy is %+v, want %s", switches, got, want)
			}
			time.Sleep(5 * time.Second)
			busy, err := client.Cluster(t.Context(), cluster.ID)
			if err != nil || busy.Busy() == "" {
				t.Errorf("%v: cluster is %+v (error %v), want it busy", switches, busy, err)
			}
			time.Sleep(time.Minute)
			info, err := client.CMEK(t.Context(), cluster.ID)
			if err != nil || info.Status != cmek.Enabled {
				t.Errorf("%v: CMEK is %+v (error %v), want it enabled again", switches, info, err)
			}
			if puts := world.PUTs(); len(puts) != 2 {
				t.Errorf("%v: %d PUTs arrived, want the two that were sent", switches, len(puts))
			}
		})
	}
}

func TestReadsSurviveTheSimulatorsRateLimit(t *testing.T) {
	for _, status := range []string{"429", "503", "403"} {
		for _, body := range []string{"json", "html", "text"} {
			synctest.Test(t, func(t *testing.T) {
				world, client := simulated(t, []string{"rate-limit-status=" + status, "error-body=" + body}, func(o *Options) {
					o.Rate = 100 // Ten times what is allowed.
				})
				cluster, _ := rotatable(t, client)
				for range 50 {
					if _, err := client.CMEK(t.Context(), cluster.ID); err != nil {
						t.Fatalf("status %s, body %s: %v", status, body, err)
					}
				}
				limited := 0
				for _, r := range world.Requests() {
					if r.Status >= 400 {
						limited++
					}
				}
				if limited == 0 {
					t.Errorf("status %s, body %s: the rate limit was never met", status, body)
				}
			})
		}
	}
}

func TestOnlyADeletedClusterIsKnownToBeGone(t *testing.T) {
	synctest.Test(t, testOnlyADeletedClusterIsGone)
}

func testOnlyADeletedClusterIsGone(t *testing.T) {
	world, client := simulated(t, nil)
	cluster, _ := rotatable(t, client)
	state := func() string {
		t.Helper()
		for c, err := range client.Clusters(t.Context()) {
			if err != nil {
				t.Fatalf("Clusters: %v", err)
			}
			if c.ID == cluster.ID {
				return c.State
			}
		}
		return "not listed"
	}
	for _, step := range []struct {
		name, state string
		change      func() error
	}{
		{"hidden", "not listed", func() error { return world.Hide(cluster.ID) }},
		{"shown again", cmek.StateCreated, func() error { return world.Show(cluster.ID) }},
		{"deleted", cmek.StateDeleted, func() error {
			request := httptest.NewRequest(http.MethodDelete, "/api/v1/clusters/"+cluster.ID, nil)
			request.Header.Set("Authorization", "Bearer CCDB1_SAMPLEadminSAMPLEadmin_SAMPLEadminSAMPLEadminSAMPLEadminSAMPLEa")
			world.CloudAPI().ServeHTTP(httptest.NewRecorder(), request)
			return nil
		}},
	} {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		if got := state(); got != step.state {
			t.Errorf("%s: the list shows state %q, want %q", step.name, got, step.state)
		}
		_, err := client.Cluster(t.Context(), cluster.ID)
		if gone := step.state != cmek.StateCreated; errors.Is(err, cmek.ErrNotFound) != gone || !gone && err != nil {
			t.Errorf("%s: GET fails with %v", step.name, err)
		}
	}
}

// Each form in which the API may show a cluster without CMEK is told from one that could not be read.
func TestEachFormOfNoCMEKIsToldFromTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world, client := simulated(t, nil)
		cluster, _ := rotatable(t, client)
		for form, want := range map[string]error{"disabled": nil, "404": cmek.ErrNotFound, "empty": nil} {
			if err := world.HideCMEK(cluster.ID, form); err != nil {
				t.Fatal(err)
			}
			info, err := client.CMEK(t.Context(), cluster.ID)
			if !errors.Is(err, want) || err == nil && (info.Status != cmek.Disabled && form != "empty" || info.HasKeys()) {
				t.Errorf("%s: CMEK is %+v (error %v), want the error %v", form, info, err, want)
			}
			for _, other := range []error{cmek.ErrNotFound, cmek.ErrIncomplete} {
				if !errors.Is(want, other) && errors.Is(err, other) {
					t.Errorf("%s: error %v must not be %q", form, err, other)
				}
			}
		}
	})
}
