package compliance_test

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

// moreClusters lists clusters beside those of the fleet.
type moreClusters struct {
	compliance.Cloud
	clusters []cmek.Cluster
	cmek     map[string]cmek.ClusterInfo
}

func (m moreClusters) ClusterPage(ctx context.Context, page string) ([]cmek.Cluster, string, error) {
	all, next, err := m.Cloud.ClusterPage(ctx, page)
	if next == "" {
		all = append(all, m.clusters...)
	}
	return all, next, err
}

func (m moreClusters) CMEK(ctx context.Context, id string) (cmek.ClusterInfo, error) {
	if info, ok := m.cmek[id]; ok {
		return info, nil
	}
	return m.Cloud.CMEK(ctx, id)
}

func (m moreClusters) Backups(ctx context.Context, id string, periods int) (cmek.Backups, error) {
	if slices.ContainsFunc(m.clusters, func(c cmek.Cluster) bool { return c.ID == id }) {
		return cmek.Backups{}, nil
	}
	return m.Cloud.Backups(ctx, id, periods)
}

// Clusters of a provider that says nothing about their keys, and of one of which there is no installation.
const (
	shownOnAWS    = "7c1d9e20-3a4b-4c5d-8e6f-0000000000b1"
	shownOnGoogle = "7c1d9e20-3a4b-4c5d-8e6f-0000000000b2"
	shownNothing  = "7c1d9e20-3a4b-4c5d-8e6f-0000000000b3"
	onAzure       = "7c1d9e20-3a4b-4c5d-8e6f-0000000000b4"
)

func ofUnknownProviders(cloud compliance.Cloud) moreClusters {
	cluster := func(id, provider string) cmek.Cluster {
		return cmek.Cluster{ID: id, Name: id[len(id)-2:], State: cmek.StateCreated, Plan: cmek.PlanAdvanced, CloudProvider: provider}
	}
	with := func(spec cmek.KeySpec) cmek.ClusterInfo {
		return cmek.ClusterInfo{Status: cmek.Enabled, RegionInfos: []cmek.RegionInfo{{Region: "r", Status: cmek.Enabled, KeyInfos: []cmek.KeyInfo{{Spec: spec, Status: cmek.Enabled}}}}}
	}
	return moreClusters{
		Cloud: cloud, clusters: []cmek.Cluster{cluster(shownOnAWS, ""), cluster(shownOnGoogle, "NEW"), cluster(shownNothing, ""), cluster(onAzure, "AZURE")},
		cmek: map[string]cmek.ClusterInfo{
			shownOnAWS:    with(cmek.KeySpec{Type: cmek.AWSKMS, URI: paymentsKey, AuthPrincipal: "arn:aws:iam::111122223333:role/shared"}),
			shownOnGoogle: with(cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: googleKey, AuthPrincipal: googleAccount}),
			shownNothing:  {}, onAzure: {},
		},
	}
}

// Two installations share one organization. Each leaves the other's clusters out, with the reason, and reads none of their keys; together
// they check every cluster.
func TestMixedFleet_is_divided_between_its_installations(t *testing.T) {
	checkedBy := map[cmek.KeyType]map[string]bool{}
	for own, other := range map[cmek.KeyType]cmek.KeyType{cmek.AWSKMS: cmek.GCPCloudKMS, cmek.GCPCloudKMS: cmek.AWSKMS} {
		withinSeed(t, mixedFleet(), func(t *testing.T, w *world) {
			s := schedule{w, &cmektest.Archive{}, &cmektest.Notifier{}}
			w.Archive, w.Notifier, w.Log, w.Holder = s.archive, s.notifier, slog.New(slog.DiscardHandler), "test"
			w.Settings = compliance.Settings{Part: 2, Parallel: 1, PageBytes: 1e6}
			w.Cloud, w.KeyTypes = ofUnknownProviders(w.Cloud), []cmek.KeyType{own}
			// One file declares what both compare with. Keys that no cluster names are read by the one that owns their type.
			w.Declared.Keys = []checks.KeyDeclaration{{Key: former, Retired: true}, {Key: googleRing + "/cryptoKeys/former", Retired: true}}
			s.tick()

			m, _ := s.manifest(1)
			p := m.Population
			if p.Listed != len(w.seed.Clusters)+4 || p.Listed != p.Checked+len(p.OutOfScope)+p.Missing() || p.Missing() != 0 {
				t.Errorf("%s: the population is %+v", own, p)
			}
			left := map[string]bool{}
			for _, c := range p.OutOfScope {
				left[c.ID] = true
				if c.Why != "another installation's key type: "+string(other) {
					t.Errorf("%s: %s is out of scope because %q", own, c.ID, c.Why)
				}
			}
			checkedBy[own] = map[string]bool{}
			for id := range ofUnknownProviders(nil).cmek {
				checkedBy[own][id] = !left[id]
			}
			for _, c := range w.seed.Clusters {
				checkedBy[own][c.ID] = !left[c.ID]
				provider := map[cmek.KeyType]string{cmek.AWSKMS: "AWS", cmek.GCPCloudKMS: "GCP"}[own]
				if isOwn := c.CloudProvider == provider || own == cmek.AWSKMS && c.CloudProvider == ""; isOwn == left[c.ID] {
					t.Errorf("%s: %s of provider %q is left out: %v", own, c.Name, c.CloudProvider, left[c.ID])
				}
				if n := w.sent("GET /api/v1/clusters/"+c.ID, ""); left[c.ID] && n > 0 {
					t.Errorf("%s: %d requests are about %s", own, n, c.Name)
				}
			}

			onAWS, onGoogle := *w.roles.calls, 0
			for request, n := range w.requests {
				_, path, rest := strings.Cut(request, " ")
				switch {
				case !rest:
					onAWS += n // an operation of AWS KMS
				case strings.Contains(path, "/projects/") || strings.Contains(path, "/policies/") || strings.Contains(path, "/folders/") || strings.Contains(path, "/organizations/"):
					onGoogle += n
				}
			}
			if calls := map[cmek.KeyType]int{cmek.AWSKMS: onAWS, cmek.GCPCloudKMS: onGoogle}; calls[own] == 0 || calls[other] > 0 {
				t.Errorf("%s: it called AWS %d times and Google Cloud %d times:\n%v", own, onAWS, onGoogle, slices.Sorted(maps.Keys(w.requests)))
			}
			cloud := map[cmek.KeyType]checks.Cloud{cmek.AWSKMS: checks.AWS, cmek.GCPCloudKMS: checks.GCP}
			credentials := 0
			for key, f := range s.findings(1) {
				if f.Subject.Cloud == cloud[other] {
					t.Errorf("%s: it finds %s", own, key)
				}
				if f.Check == "CMEK-30" {
					credentials++
				}
			}
			if credentials != 1 {
				t.Errorf("%s: %d findings are about its credential", own, credentials)
			}
		})
	}
	for id, byAWS := range checkedBy[cmek.AWSKMS] {
		byGoogle := checkedBy[cmek.GCPCloudKMS][id]
		// What nobody would own alone is checked by both: a cluster that shows no key, and one whose keys no installation reads.
		if both := id == shownNothing || id == onAzure; !byAWS && !byGoogle || byAWS && byGoogle != both {
			t.Errorf("%s is checked by the installation on AWS: %v, on Google Cloud: %v", id, byAWS, byGoogle)
		}
	}
}

// A cluster that could not be read may be anybody's, so it is nobody's to leave out.
func TestUnreadCluster_is_left_to_nobody(t *testing.T) {
	within(t, func(t *testing.T, w *world) {
		more := ofUnknownProviders(w.Cloud)
		delete(more.cmek, shownOnGoogle) // the API knows none of that id, or refuses it
		w.refused["GET /api/v1/clusters/"+shownOnGoogle+"/cmek"] = true
		w.Cloud, w.KeyTypes = more, []cmek.KeyType{cmek.AWSKMS}
		if _, err := w.Ledger.UpdateCluster(t.Context(), shownOnGoogle, func(c *ledger.Cluster) error {
			c.Cluster, c.CMEK = more.clusters[1], ofUnknownProviders(nil).cmek[shownOnGoogle]
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		p := w.check().Population
		if !slices.ContainsFunc(p.Unread, func(c report.Cluster) bool { return c.ID == shownOnGoogle }) {
			t.Errorf("the population is %+v", p)
		}
	})
}
