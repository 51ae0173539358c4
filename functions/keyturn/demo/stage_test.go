package demo

import (
	"log/slog"
	"net/http/httptest"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
	"github.com/keyturn/keyturn/internal/simulator"
)

// The simulated functions decide about an order with all that the deployed ones read, or it would wait for ever: the access of the principal.
func TestSimulatedFunctions_canCarryOutAnOrder(t *testing.T) {
	world, err := simulator.New(simulator.DefaultSeed())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(world.Handler())
	t.Cleanup(server.Close)
	f, err := build(t.Context(), t.TempDir(), server.URL, simulator.SampleAPIKey, cockroachcloud.UserRate, &alertLog{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.store.Close() })
	clusters, _, err := f.rotation.Cloud.ClusterPage(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	judged := 0
	for _, c := range clusters {
		info, err := f.rotation.Cloud.CMEK(t.Context(), c.ID)
		if err != nil || info.Status != cmek.Enabled {
			continue
		}
		for _, r := range info.RegionInfos {
			current, _ := r.Current()
			judged++
			if m := f.rotation.ReadMove(t.Context(), c, ledger.Order{Region: r.Region, From: current.Spec, To: current.Spec}); m.To.Access != policy.Allowed {
				t.Errorf("%s in %s: access is %s: %s", c.Name, r.Region, m.To.Access, m.To.AccessWhy)
			}
		}
	}
	if judged < 6 {
		t.Errorf("%d regions were judged, want all that have a CMEK", judged)
	}
}
