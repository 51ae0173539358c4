package rotation_test

import (
	"context"
	"errors"
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
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// brokenKMS cannot be reached, which is no denial.
type brokenKMS struct{}

func (brokenKMS) Key(context.Context, cmek.KeyURI) (cmek.Key, error) {
	return cmek.Key{}, errors.New("ValidationError: the role's ARN is malformed")
}

func (b brokenKMS) Describe(ctx context.Context, uri cmek.KeyURI) (cmek.Key, error) {
	return b.Key(ctx, uri)
}

// denying refuses the CMEK of some clusters.
type denying struct {
	cmek.Cloud
	denied map[string]bool
}

func (d denying) CMEK(ctx context.Context, id string) (cmek.ClusterInfo, error) {
	if d.denied[id] {
		return cmek.ClusterInfo{}, fmt.Errorf("read CMEK: %w", cmek.ErrDenied)
	}
	return d.Cloud.CMEK(ctx, id)
}

// refusing takes no evidence.
type refusing struct{}

func (refusing) PutIfAbsent(context.Context, string, []byte) error {
	return errors.New("bucket is gone")
}

// minutes runs ticks whose errors are expected.
func minutes(f *rotation.Function, n int) {
	for range n {
		next := time.Now().Add(time.Minute)
		ctx, cancel := context.WithTimeout(context.Background(), 55*time.Second)
		_ = f.Tick(ctx)
		cancel()
		time.Sleep(time.Until(next))
	}
}

// told lists the changes that operations were notified of.
func told(f *rotation.Function) (changes []string) {
	for _, a := range f.Notifier.(*cmektest.Notifier).Alerts() {
		if a.Audience == alert.Operations && !a.Resolved {
			changes = append(changes, string(a.Change)+": "+a.Summary)
		}
	}
	return changes
}

func contains(list []string, part string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, part) })
}

func TestAKMSThatCannotBeReachedIsReportedWithTheReason(t *testing.T) {
	onEachCloud(t, testAKMSThatCannotBeReachedIsReportedWithTheReason)
}

func testAKMSThatCannotBeReachedIsReportedWithTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := follower(t, newSimulator(t, sharedKey(2)), cmektest.NewStore(), time.Millisecond)
		f.KMS = brokenKMS{}
		minutes(f, 60)
		if changes := told(f); !contains(changes, "key unreadable") || !contains(changes, "malformed") {
			t.Errorf("an hour without a KMS notified operations of %q, want that keys cannot be read, and why", changes)
		}
	})
}

func TestATickWithoutAnAPIKeyNamesTheSecretInItsError(t *testing.T) {
	onEachCloud(t, testATickWithoutAnAPIKeyNamesTheSecretInItsError)
}

func testATickWithoutAnAPIKeyNamesTheSecretInItsError(t *testing.T) {
	cloud, err := cockroachcloud.New(cockroachcloud.Options{
		Server: "http://127.0.0.1:1",
		APIKey: func(context.Context) (string, error) {
			return "", errors.New("read secret keyturn/api-key: no such secret")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		world, err := simulator.New(sharedKey(1))
		if err != nil {
			t.Fatal(err)
		}
		f := follower(t, world, cmektest.NewStore(), 0)
		f.Cloud = cloud
		if err := f.Tick(t.Context()); err == nil || !strings.Contains(err.Error(), "read secret keyturn/api-key") {
			t.Errorf("the tick's error, which is what the log shows, is %v; want it to name the secret", err)
		}
	})
}

// groups is a fleet of n clusters whose last one shares no key with those of other tens.
func groups(n int) simulator.Seed {
	if !onGoogleCloud {
		return simulator.FleetSeed(n, 1)
	}
	seed := sharedKey(n)
	own := simulator.KeySeed{URI: googleKey + "-own", AgeDays: 300}
	seed.Keys, seed.Clusters[n-1].Regions = append(seed.Keys, own), []simulator.RegionSeed{{Name: "us-east1", Key: own.URI, AuthPrincipal: googleUser}}
	return seed
}

func TestClustersThatWeMayNotReadDoNotHoldUpTheOthers(t *testing.T) {
	onEachCloud(t, testClustersThatWeMayNotReadDoNotHoldUpTheOthers)
}

func testClustersThatWeMayNotReadDoNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := groups(60)
		world := newSimulator(t, seed)
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		minutes(f, 2) // all are known, then access to most is taken away
		denied := map[string]bool{}
		for _, c := range seed.Clusters[:50] {
			denied[c.ID] = true
		}
		f.Cloud = denying{f.Cloud, denied}
		healthy := seed.Clusters[59]
		if err := world.Set(simulator.CloudTrail, "off"); err != nil {
			t.Fatal(err)
		}
		if err := world.Rotate(string(healthy.Regions[0].Key)); err != nil {
			t.Fatal(err)
		}
		minutes(f, 90) // no event is delivered: a sweep must find it
		for _, key := range world.StoreKeys() {
			if key.ClusterID == healthy.ID && key.Behind {
				t.Error("the rotation of a healthy cluster was not found within 90 minutes")
			}
		}
		if changes := told(f); !contains(changes, "cluster unreadable") || !contains(changes, "sweep incomplete") {
			t.Errorf("operations heard %q, want of the clusters and the sweep", changes)
		}
	})
}

func TestEvidenceThatCannotBeArchivedIsReportedAndHoldsNothingUp(t *testing.T) {
	onEachCloud(t, testEvidenceThatCannotBeArchivedIsReportedAndHoldsNothingUp)
}

func testEvidenceThatCannotBeArchivedIsReportedAndHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := sharedKey(30)
		world, err := simulator.New(seed)
		if err != nil {
			t.Fatal(err)
		}
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		f.Archive = refusing{}
		minutes(f, 2)
		if err := world.Rotate(string(seed.Clusters[0].Regions[0].Key)); err != nil {
			t.Fatal(err)
		}
		minutes(f, 180)
		for _, key := range world.StoreKeys() {
			if key.Behind {
				t.Errorf("%s was not followed within three hours", key.Cluster)
			}
		}
		if changes := told(f); !contains(changes, "messages undelivered") {
			t.Errorf("operations heard %q, want that messages wait", changes)
		}
	})
}

func TestAKeyThatAlertingToldAboutIsNotToldAgain(t *testing.T) {
	onEachCloud(t, testAKeyThatAlertingToldAboutIsNotToldAgain)
}

func testAKeyThatAlertingToldAboutIsNotToldAgain(t *testing.T) {
	seed := sharedKey(1)
	key := seed.Clusters[0].Regions[0].Key
	incident := "key-unusable/" + string(key)
	if onGoogleCloud {
		incident += "/cryptoKeyVersions/2"
	}
	for _, byAlerting := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := follower(t, newSimulator(t, seed), cmektest.NewStore(), time.Millisecond)
			f.KMS = disabled{f.KMS, key}
			if byAlerting {
				if _, err := f.Ledger.UpdateIncident(t.Context(), incident, func(i *ledger.Incident) error {
					i.Opened = time.Now()
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
			minutes(f, 3)
			var summaries []string
			for _, a := range f.Notifier.(*cmektest.Notifier).Alerts() {
				summaries = append(summaries, string(a.Change)+": "+a.Summary)
			}
			if contains(summaries, "key unusable") == byAlerting {
				t.Errorf("with an incident of alerting (%v) people heard %q", byAlerting, summaries)
			}
		})
	}
}

// disabled shows one key as disabled.
type disabled struct {
	cmek.KMS
	key cmek.KeyURI
}

func (d disabled) Key(ctx context.Context, uri cmek.KeyURI) (cmek.Key, error) {
	key, err := d.KMS.Key(ctx, uri)
	return d.disable(key), err
}

func (d disabled) Describe(ctx context.Context, uri cmek.KeyURI) (cmek.Key, error) {
	key, err := d.KMS.Describe(ctx, uri)
	return d.disable(key), err
}

func (d disabled) disable(key cmek.Key) cmek.Key {
	if key.URI == d.key {
		key.State = cmek.KeyDisabled
	}
	return key
}
