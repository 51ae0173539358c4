package rotation_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

const (
	fleetAlias     = "alias/fleet"
	fleetAliasARN  = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:" + fleetAlias)
	fleetOperation = "20m"
)

// following is a fleet of which every cluster is pinned to one alias.
type following struct {
	*moving
	f     *rotation.Function
	owner keyOwner
}

func clusterNumber(n int) string { return fmt.Sprintf("7c1d9e20-3a4b-4c5d-8e6f-%012d", 100+n) }

// newFollowing is such a fleet, whose alias names the clusters' key, after its first sweep.
func newFollowing(t *testing.T, clusters int) following {
	t.Helper()
	m := newMoving(t, clusters)
	f := follower(t, m.world, m.store, time.Millisecond)
	f.Policies, f.Archive, f.Notifier, f.Settings.Concurrency = policiesOf(t, m.world), m.archive, m.notifier, 1
	f.Aliases = f.KMS.(cmek.Aliases)
	owner := newKeyOwner(t, m.world)
	_, err := owner.client.CreateAlias(context.Background(), &kms.CreateAliasInput{AliasName: aws.String(fleetAlias), TargetKeyId: aws.String(string(movedFrom))}, owner.at(movedFrom))
	must(t, err)
	must(t, m.world.Set(simulator.RotationDuration, fleetOperation))
	for n := range clusters {
		must(t, f.Ledger.SetPin(context.Background(), clusterNumber(n), ledger.Pin{Region: "us-east-1", Alias: fleetAliasARN, Follow: true, Since: time.Now(), By: "ana", Terraform: "none"}))
	}
	tick(t, f)
	announce(t, f, m.world)
	return following{m, f, owner}
}

func (f following) moveAlias(key cmek.KeyURI) {
	f.t.Helper()
	_, err := f.owner.client.UpdateAlias(context.Background(), &kms.UpdateAliasInput{AliasName: aws.String(fleetAlias), TargetKeyId: aws.String(string(key))}, f.owner.at(key))
	must(f.t, err)
}

func (f following) ticks(n int) {
	f.t.Helper()
	for range n {
		tick(f.t, f.f)
	}
}

func (f following) evidence() (kinds []string) {
	for _, name := range f.archive.Names() {
		if data, _ := f.archive.Data(name); strings.HasPrefix(name, "evidence/") {
			kinds = append(kinds, fmt.Sprint(strings.Contains(string(data), `"kind": "pin"`), strings.Contains(string(data), string(fleetAliasARN))))
		}
	}
	return kinds
}

func TestPins_aFleetFollowsItsAliasInOrder(t *testing.T) {
	for _, announced := range []bool{true, false} {
		t.Run(fmt.Sprintf("announced %t", announced), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fleet := newFollowing(t, 3)
				fleet.moveAlias(movedTo)
				if announced {
					announce(t, fleet.f, fleet.world)
					fleet.ticks(1)
					for n := range 3 {
						if c := item(t, fleet.f, clusterNumber(n)); len(c.Work) != 1 || c.Work[0].Key != movedTo {
							t.Errorf("after the event the work of %s is %+v, want one to the alias's key", c.Cluster.Name, c.Work)
						}
					}
				}
				fleet.ticks(120)
				counts := fleet.accepted()
				for name, n := range counts {
					if n != 1 {
						t.Errorf("%d PUTs to %s were accepted, want 1", n, name)
					}
				}
				if len(counts) != 3 {
					t.Errorf("%d clusters were moved, want 3", len(counts))
				}
				for _, kind := range fleet.evidence() {
					if kind != "true true" {
						t.Errorf("a record of evidence does not name the pin's alias")
					}
				}
				if puts := fleet.world.PUTs(); len(puts) == 3 && puts[1].Time.Sub(puts[0].Time) < 20*time.Minute {
					t.Errorf("the second PUT left %s after the canary's, which takes 20 minutes", puts[1].Time.Sub(puts[0].Time))
				}
				begun, ended := reported(fleet.f, "alias moved")
				if len(begun) != 3 || len(ended) != 3 {
					t.Errorf("%d incidents began and %d ended, want 3 each: %v", len(begun), len(ended), named(begun))
				}
			})
		})
	}
}

// Moved back while the canary's PUT is under way, the canary is moved back after its end, and nobody else is moved at all.
func TestPins_anAliasThatIsMovedBackAfterThePUT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := newFollowing(t, 2)
		fleet.moveAlias(movedTo)
		announce(t, fleet.f, fleet.world)
		for range 30 {
			if fleet.ticks(1); len(fleet.world.PUTs()) > 0 {
				break
			}
		}
		fleet.moveAlias(movedFrom)
		announce(t, fleet.f, fleet.world)
		fleet.ticks(120)
		puts := fleet.world.PUTs()
		if len(puts) != 2 || puts[0].ClusterID != puts[1].ClusterID || puts[0].Regions[0].URI != movedTo || puts[1].Regions[0].URI != movedFrom {
			t.Fatalf("the PUTs are %+v, want the canary's there and back", puts)
		}
		if between := puts[1].Time.Sub(puts[0].Time); between < 20*time.Minute {
			t.Errorf("the second PUT was sent %s after the first PUT, before its end", between)
		}
		for _, key := range fleet.world.StoreKeys() {
			if key.URI != movedFrom {
				t.Errorf("%s is on %s in the end", key.Cluster, key.URI)
			}
		}
	})
}

// Moved away and back between two reads, the alias settles once more: only the events show it.
func TestPins_anAliasThatIsMovedAwayAndBackUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := newFollowing(t, 1)
		fleet.moveAlias(movedTo)
		announce(t, fleet.f, fleet.world)
		fleet.ticks(4)
		if n := len(fleet.world.PUTs()); n > 0 {
			t.Fatalf("%d PUTs were sent before the alias had settled", n)
		}
		fleet.moveAlias(movedFrom)
		fleet.moveAlias(movedTo)
		announce(t, fleet.f, fleet.world)
		changed := time.Now()
		for range 60 {
			if fleet.ticks(1); len(fleet.world.PUTs()) > 0 {
				break
			}
		}
		puts := fleet.world.PUTs()
		if len(puts) != 1 || puts[0].Regions[0].URI != movedTo {
			t.Fatalf("the PUTs are %+v, want one to the alias's key", puts)
		}
		if settled := puts[0].Time.Sub(changed); settled < 5*time.Minute {
			t.Errorf("the PUT was sent %s after the alias was moved back to its key, want 5 minutes", settled)
		}
	})
}

// A refused read of the alias is reported to operations and moves nothing; once it is readable again the region follows.
func TestPins_anAliasThatMayNotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := newFollowing(t, 1)
		must(t, fleet.world.DenyKMS(string(movedFrom), true))
		fleet.ticks(50)
		if begun, _ := reported(fleet.f, "alias unread"); len(begun) != 1 {
			t.Errorf("%d alerts say that the alias may not be read, want 1", len(begun))
		}
		must(t, fleet.world.DenyKMS(string(movedFrom), false))
		fleet.moveAlias(movedTo)
		fleet.ticks(60)
		if _, ended := reported(fleet.f, "alias unread"); len(ended) != 1 || len(fleet.world.PUTs()) != 1 {
			t.Errorf("%d incidents ended and %d PUTs were sent, want 1 and 1", len(ended), len(fleet.world.PUTs()))
		}
	})
}

// What the plan lists is what the worker then sends, canary first.
func TestPins_thePlanListsWhatFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := newFollowing(t, 2)
		fleet.moveAlias(movedTo)
		plan, err := fleet.f.Plan(context.Background(), rotation.Planning{})
		must(t, err)
		var planned []string
		for _, s := range plan.Sends {
			planned = append(planned, s.Cluster.Cluster.Name)
		}
		if len(fleet.world.PUTs()) > 0 || len(item(t, fleet.f, clusterNumber(0)).Work) > 0 {
			t.Error("to plan sent or opened something")
		}
		fleet.ticks(90)
		var sent []string
		for _, put := range fleet.world.PUTs() {
			sent = append(sent, put.Cluster)
		}
		if len(sent) != 2 || strings.Join(planned, " ") != strings.Join(sent, " ") {
			t.Errorf("planned %q, sent %q", planned, sent)
		}
	})
}
