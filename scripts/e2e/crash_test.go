package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// Steps of a follow-through, as they show on the wire.
var (
	// opensWork: the swap with which an event opens work.
	opensWork = writesItem(func(c ledger.Cluster) bool {
		return slices.ContainsFunc(c.Work, func(w ledger.Work) bool { return w.Request == nil })
	})
	// writesClaim: the swap that claims the cluster's regions; all is read once more after it.
	writesClaim = writesItem(func(c ledger.Cluster) bool {
		return slices.ContainsFunc(c.Work, func(w ledger.Work) bool { return w.Claim != nil })
	})
	// writesIntent: the swap that turns the claim into a request; a PUT may leave after it and never before.
	writesIntent = writesItem(func(c ledger.Cluster) bool {
		return slices.ContainsFunc(c.Work, func(w ledger.Work) bool { return w.State == ledger.Requested && w.Request.Answer == nil })
	})
	sendsPUT = func(c call) bool { return c.service == "cloud" && strings.HasPrefix(c.operation, http.MethodPut) }
	// writesAnswer: the swap that records what the Cloud API answered.
	writesAnswer = writesItem(func(c ledger.Cluster) bool {
		return slices.ContainsFunc(c.Work, func(w ledger.Work) bool { return w.Request != nil && w.Request.Answer != nil })
	})
	// writesDone: the swap that ends the work and puts evidence and message into the outbox.
	writesDone = writesItem(func(c ledger.Cluster) bool { return followed(c) && len(c.Messages) > 0 })
	archives   = func(c call) bool { return c.service == "s3" && strings.HasPrefix(c.operation, http.MethodPut) }
	publishes  = func(c call) bool { return c.String() == "sns Publish" }
	// clearsOutbox: the swap that takes what was delivered out of the outbox.
	clearsOutbox = writesItem(func(c ledger.Cluster) bool { return followed(c) && len(c.Messages) == 0 })
)

func followed(c ledger.Cluster) bool {
	return slices.ContainsFunc(c.Done, func(d ledger.Done) bool { return d.Followed })
}

// writesItem matches the write of a cluster's ledger item whose new content is as described.
func writesItem(as func(ledger.Cluster) bool) func(call) bool {
	return func(c call) bool {
		if c.String() != "dynamodb PutItem" {
			return false
		}
		var input struct {
			Item struct {
				PK   struct{ S string } `json:"pk"`
				Data struct{ B []byte } `json:"data"`
			}
		}
		var item ledger.Cluster
		return json.Unmarshal(c.body, &input) == nil && strings.HasPrefix(input.Item.PK.S, "rotation#cluster#") &&
			json.Unmarshal(input.Item.Data.B, &item) == nil && as(item)
	}
}

// slowest is the longest that a follow-through may take after a fault: a dead worker's lease runs out in 15 s, and a request
// without an answer on record is taken for under way for 40 s.
const slowest = 150 * time.Second

func TestARotationIsFollowedOnceAlthoughTheProcessIsKilled(t *testing.T) {
	endToEnd(t)
	for _, tc := range []struct {
		name string
		when moment
		step func(call) bool
	}{
		{"before the event has opened work", arriving, opensWork},
		{"after the event has opened work, before the message is done with", answered, opensWork},
		{"before the claim is written", arriving, writesClaim},
		{"after the claim is written", answered, writesClaim},
		{"before the intent is written", arriving, writesIntent},
		{"after the intent is written, before the PUT leaves", answered, writesIntent},
		{"while the PUT is on its way", arriving, sendsPUT},
		{"after the PUT was received, before it is answered", answered, sendsPUT},
		{"after the PUT was answered, before that is recorded", arriving, writesAnswer},
		{"after the answer is recorded", answered, writesAnswer},
		{"before the end is recorded", arriving, writesDone},
		{"after the end is recorded, before anything is delivered", answered, writesDone},
		{"before the evidence is archived", arriving, archives},
		{"after the evidence is archived, before that is answered", answered, archives},
		{"before the message is published", arriving, publishes},
		{"after the message is published, before that is answered", answered, publishes},
		{"after everything is delivered, before the outbox is cleared", arriving, clearsOutbox},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := oneCluster(t)
			f := &fault{when: tc.when, matches: tc.step, act: func(c call) { c.by.kill() }}
			s.followThrough(f)
			if n := f.victim.starts(); n < 2 {
				t.Errorf("there was %d process, want a second after the first was killed", n)
			}
		})
	}
}

func TestARotationIsFollowedOnceAlthoughAnAnswerIsLost(t *testing.T) {
	endToEnd(t)
	for _, tc := range []struct {
		name string
		when moment
		step func(call) bool
	}{
		{"of the write of the claim", answered, writesClaim},
		{"of the write of the intent", answered, writesIntent},
		{"to a PUT that never arrived", arriving, sendsPUT},
		{"to a PUT that was received", answered, sendsPUT},
		{"of the write of the answer", answered, writesAnswer},
		{"of the write of the end", answered, writesDone},
		{"of the archive", answered, archives},
		{"of the topic", answered, publishes},
	} {
		t.Run(tc.name, func(t *testing.T) {
			oneCluster(t).followThrough(&fault{when: tc.when, matches: tc.step})
		})
	}
}

// oneCluster is a scene with one cluster of two regions.
func oneCluster(t *testing.T) *scene {
	t.Helper()
	seed := simulator.DefaultSeed()
	seed.Clusters = slices.DeleteFunc(seed.Clusters, func(c simulator.ClusterSeed) bool { return c.Name != "ledger-eu" })
	s := newScene(t, seed)
	s.clock.timeout = 5 * time.Second
	return s
}

// followThrough rotates the cluster's key, lets the fault strike, and checks that in the end all is as if it had not.
func (s *scene) followThrough(f *fault) {
	s.t.Helper()
	s.wire.lay(f)
	must(s.t, s.world.Rotate(string(multiRegionKey)), "rotate key")
	s.deliver(1)
	clusters := []string{"ledger-eu"}
	var messages []alert.Alert
	s.until("the rotation is followed", slowest, func() string {
		messages = append(messages, s.account.published()...)
		return s.notFollowed(clusters, messages)
	})
	if !s.wire.hasStruck(f) {
		s.t.Fatal("the fault never struck: its step did not happen")
	}
	s.checkFollowed(clusters, messages)
}
