package rotation_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/simulator"
)

// Most clusters act as the one principal, cluster-04 as the other.
var mostRole, otherRole string

func namePrincipals() {
	mostRole, otherRole = "arn:aws:iam::111122223333:role/most", "arn:aws:iam::111122223333:role/other"
	if onGoogleCloud {
		mostRole, otherRole = "most@acme.iam.gserviceaccount.com", "other@acme.iam.gserviceaccount.com"
	}
}

// refusedFleet is a fleet of six clusters on one key, cluster-04 with another principal than the rest. The key rotates at the time
// returned, and its policy admits only these principals.
func refusedFleet(t *testing.T, admitted ...string) (*simulator.World, *rotation.Function, keyOwner, cmek.KeyURI, time.Time) {
	seed := sharedKey(6)
	for i := range seed.Clusters {
		seed.Clusters[i].Regions = slices.Clone(seed.Clusters[i].Regions)
		seed.Clusters[i].Regions[0].AuthPrincipal = cmek.Principal(mostRole)
	}
	seed.Clusters[4].Regions[0].AuthPrincipal = cmek.Principal(otherRole)
	key := seed.Clusters[0].Regions[0].Key
	world := newSimulator(t, seed)
	f := follower(t, world, cmektest.NewStore(), 20*time.Millisecond)
	owner := newKeyOwner(t, world)
	minutes(f, 2)
	rotated := time.Now()
	rotateKey(t, f, world, key)
	owner.admit(key, admitted...)
	return world, f, owner, key, rotated
}

// tried lists the clusters that PUTs were sent to between two times, by the outcome refused or accepted.
func tried(world *simulator.World, from, until time.Time) (refused, accepted []string) {
	for _, put := range world.PUTs() {
		if put.Time.Before(from) || !put.Time.Before(until) {
			continue
		}
		if put.Outcome == "accepted" {
			accepted = append(accepted, put.Cluster)
		} else {
			refused = append(refused, put.Cluster)
		}
	}
	return refused, accepted
}

func distinct(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

func TestRefusedCanary_triesAloneForHalfAnHour(t *testing.T) {
	onEachCloud(t, testRefusedCanary_triesAloneForHalfAnHour)
}

func testRefusedCanary_triesAloneForHalfAnHour(t *testing.T) {
	namePrincipals()
	synctest.Test(t, func(t *testing.T) {
		world, f, _, _, rotated := refusedFleet(t)
		minutes(f, int(settleTime()/time.Minute)+29)
		refused, accepted := tried(world, rotated, time.Now())
		if got := distinct(refused); !slices.Equal(got, []string{"cluster-00"}) || len(accepted) > 0 {
			t.Errorf("in the first half hour PUTs to %q were refused and %q accepted, want the canary's alone", got, accepted)
		}
		t.Logf("%d PUTs refused in the first half hour", len(refused))
		if len(refused) > 10 {
			t.Errorf("%d PUTs were refused in half an hour, want at most 10: %q", len(refused), refused)
		}
		begun, _ := reported(f, "requests refused")
		if len(begun) != 1 || len(begun[0].Clusters) != 6 {
			t.Fatalf("the refusals are reported as %q, want one alert that names all six clusters", named(begun))
		}
		if since := begun[0].Time.Sub(rotated); since > settleTime()+4*time.Minute {
			t.Errorf("the refusals are reported %s after the rotation, want within minutes of the first PUT", since)
		}
	})
}

func TestRefusedCanary_anotherPrincipalIsAccepted_theRestGoesOn(t *testing.T) {
	onEachCloud(t, testRefusedCanary_anotherPrincipalIsAccepted_theRestGoesOn)
}

func testRefusedCanary_anotherPrincipalIsAccepted_theRestGoesOn(t *testing.T) {
	namePrincipals()
	synctest.Test(t, func(t *testing.T) {
		world, f, owner, key, rotated := refusedFleet(t, otherRole)
		minutes(f, 55+int(settleTime()/time.Minute))
		_, accepted := tried(world, rotated, time.Now())
		if !slices.Equal(accepted, []string{"cluster-04"}) {
			t.Errorf("accepted were PUTs to %q, want the one to the cluster with another principal", accepted)
		}
		refused, _ := tried(world, rotated, rotated.Add(settleTime()+time.Hour))
		t.Logf("in an hour %d PUTs were refused, to %q", len(refused), distinct(refused))
		owner.admit(key, otherRole, mostRole)
		minutes(f, 60)
		if n := behind(world); n > 0 {
			t.Errorf("an hour after the policy was fixed %d store keys are behind", n)
		}
		begun, ended := reported(f, "requests refused")
		t.Logf("%d alerts: %q", len(begun), named(begun))
		if len(begun) == 0 || openIncidents(f) > 0 {
			t.Errorf("%q were reported and %q ended, want every incident ended", named(begun), named(ended))
		}
	})
}

func TestRefusedCanary_keyThatRefusesAll_isOneAlertAndAProbeAnHour(t *testing.T) {
	onEachCloud(t, testRefusedCanary_keyThatRefusesAll_isOneAlertAndAProbeAnHour)
}

func testRefusedCanary_keyThatRefusesAll_isOneAlertAndAProbeAnHour(t *testing.T) {
	namePrincipals()
	synctest.Test(t, func(t *testing.T) {
		world, f, owner, key, rotated := refusedFleet(t)
		minutes(f, 24*60)
		end := time.Now()
		refused, accepted := tried(world, rotated, end)
		perHour := map[int]int{}
		for _, put := range world.PUTs() {
			perHour[int(put.Time.Sub(rotated)/time.Hour)]++
		}
		t.Logf("a key that refuses all six clusters: %d PUTs in a day, by hour %v; %q", len(refused), perHour, distinct(refused))
		if len(refused) > 45 || len(accepted) > 0 {
			t.Errorf("%d PUTs were refused in a day, %d accepted; want at most 45 and none", len(refused), len(accepted))
		}
		for hour := 4; hour < 24; hour++ {
			if perHour[hour] > 2 {
				t.Errorf("in hour %d there were %d PUTs, want one probe", hour, perHour[hour])
			}
		}
		begun, ended := reported(f, "requests refused")
		t.Logf("reported %q, ended %q", named(begun), named(ended))
		var aboutKey []alert.Alert
		for _, a := range begun {
			if strings.HasPrefix(a.DedupKey, "refused-key/") {
				aboutKey = append(aboutKey, a)
			}
		}
		if len(aboutKey) != 1 || aboutKey[0].Severity != alert.Critical || len(aboutKey[0].Clusters) != 6 {
			t.Errorf("alerts about the key: %q, want one that is critical and names all six clusters", named(aboutKey))
		}
		for _, a := range ended {
			if !strings.Contains(a.Summary, "reported for the key as a whole") {
				t.Errorf("while the key refuses all it is said to be over: %q", a.Summary)
			}
		}
		if len(begun) > 2 {
			t.Errorf("a day of refusals sent %d alerts, want the canary's and the key's: %q", len(begun), named(begun))
		}
		owner.admit(key, mostRole, otherRole)
		minutes(f, 120)
		if n := behind(world); n > 0 || open(t, f) > 0 || openIncidents(f) > 0 {
			t.Errorf("two hours after the policy was fixed %d store keys are behind, %d clusters open, %d incidents open", n, open(t, f), openIncidents(f))
		}
	})
}

// openIncidents counts the incidents that were reported and have not ended, messages without an end apart.
func openIncidents(f *rotation.Function) int {
	open := map[string]bool{}
	for _, a := range f.Notifier.(*cmektest.Notifier).Alerts() {
		once := slices.ContainsFunc([]string{"followed/", "forgotten/", "would-follow/"}, func(p string) bool { return strings.HasPrefix(a.DedupKey, p) })
		switch {
		case once:
		case a.Resolved:
			delete(open, a.DedupKey)
		default:
			open[a.DedupKey] = true
		}
	}
	return len(open)
}

func TestRefusedCanary_policyFixedInTime_costsNoSecondCanary(t *testing.T) {
	onEachCloud(t, testRefusedCanary_policyFixedInTime_costsNoSecondCanary)
}

func testRefusedCanary_policyFixedInTime_costsNoSecondCanary(t *testing.T) {
	namePrincipals()
	for _, after := range []time.Duration{settleTime() + 2*time.Minute, settleTime() + 15*time.Minute} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world, f, owner, key, rotated := refusedFleet(t)
				minutes(f, int(after/time.Minute))
				owner.admit(key, mostRole, otherRole)
				fixed := time.Now()
				minutes(f, 40)
				refused, accepted := tried(world, rotated, time.Now())
				if got := distinct(refused); !slices.Equal(got, []string{"cluster-00"}) || len(accepted) != 6 || accepted[0] != "cluster-00" {
					t.Errorf("refused were PUTs to %q, accepted %q; want the canary first, then all", got, accepted)
				}
				for _, put := range world.PUTs() {
					if put.Outcome == "accepted" {
						t.Logf("the canary is accepted %s after the policy is fixed", put.Time.Sub(fixed).Round(time.Second))
						break
					}
				}
				if openIncidents(f) > 0 || behind(world) > 0 {
					t.Errorf("%d incidents are open, %d store keys behind", openIncidents(f), behind(world))
				}
			})
		})
	}
}
