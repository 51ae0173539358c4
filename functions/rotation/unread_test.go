package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
)

// halfBlind is a Cloud API that does not let one cluster be read by itself, or denies PUTs.
type halfBlind struct {
	cmek.Cloud
	hidden string
	cause  error
	denied bool
	gets   int
}

func (h *halfBlind) Cluster(ctx context.Context, id string) (cmek.Cluster, error) {
	h.gets++
	if id == h.hidden {
		return cmek.Cluster{}, h.cause
	}
	return h.Cloud.Cluster(ctx, id)
}

func (h *halfBlind) RotateCMEK(ctx context.Context, id string, specs []cmek.RegionSpec) cmek.Answer {
	if h.denied {
		return cmek.Answer{Outcome: cmek.Refused, HTTPStatus: 403, Denied: true, Message: "role missing"}
	}
	return h.Cloud.RotateCMEK(ctx, id, specs)
}

// begun counts the beginnings and ends of alerts about the change.
func begun(f *rotation.Function, change cmek.Change) (begins, ends int) {
	for _, a := range f.Notifier.(*cmektest.Notifier).Alerts() {
		switch {
		case a.Change != change:
		case a.Resolved:
			ends++
		default:
			begins++
		}
	}
	return begins, ends
}

// A canary that a list shows and that cannot be read by itself is reported once, is read ever less often, and does not keep the
// other clusters of its key.
func TestPoll_clusterNotReadable_isReportedAndPassed(t *testing.T) {
	onEachCloud(t, testPoll_clusterNotReadable_isReportedAndPassed)
}

func testPoll_clusterNotReadable_isReportedAndPassed(t *testing.T) {
	for _, cause := range []error{fmt.Errorf("read: %w", cmek.ErrDenied), errors.New("read: 500")} {
		synctest.Test(t, func(t *testing.T) {
			seed := sharedKey(2)
			world := newSimulator(t, seed)
			f := follower(t, world, cmektest.NewStore(), time.Millisecond)
			h := &halfBlind{Cloud: f.Cloud, cause: cause}
			f.Cloud = h
			minutes(f, 2)
			h.hidden = seed.Clusters[0].ID
			rotateKey(t, f, world, seed.Clusters[0].Regions[0].Key)
			h.gets = 0
			minutes(f, 12*60)
			if begins, ends := begun(f, "cluster unreadable"); begins != 1 || ends != 0 {
				t.Errorf("%v: reported %d times, ended %d times; want once, for as long as it lasts", cause, begins, ends)
			}
			if n := behind(world); n != 1 {
				t.Errorf("%v: %d store keys are behind, want that of the cluster alone", cause, n)
			}
			if h.gets > 12*60/4 {
				t.Errorf("%v: %d reads of clusters in 12 h, want a backoff", cause, h.gets)
			}
			h.hidden = ""
			minutes(f, 30)
			if begins, ends := begun(f, "cluster unreadable"); begins != 1 || ends != 1 || behind(world) != 0 {
				t.Errorf("%v: once it can be read: reported %d times, ended %d times, %d behind", cause, begins, ends, behind(world))
			}
		})
	}
}

// An API key that may not send PUTs is one cause, whatever the number of clusters.
func TestSend_apiKeyDenied_isReportedForAll(t *testing.T) {
	onEachCloud(t, testSend_apiKeyDenied_isReportedForAll)
}

func testSend_apiKeyDenied_isReportedForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := sharedKey(6)
		world := newSimulator(t, seed)
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		h := &halfBlind{Cloud: f.Cloud}
		f.Cloud = h
		minutes(f, 2)
		h.denied = true
		rotateKey(t, f, world, seed.Clusters[0].Regions[0].Key)
		minutes(f, 6*60)
		if begins, _ := begun(f, "API key refused"); begins < 1 || begins > 3 { // again when twice as many clusters are denied
			t.Errorf("reported %d times, want one cause reported once, and again when it has doubled", begins)
		}
		h.denied = false
		minutes(f, 3*60)
		if _, ends := begun(f, "API key refused"); ends != 1 || behind(world) != 0 {
			t.Errorf("once PUTs are allowed: ended %d times, %d behind", ends, behind(world))
		}
	})
}

// A cluster that is forgotten while its request is in flight and shown again goes on with that request.
func TestForget_requestInFlight_isNotSentAgain(t *testing.T) {
	onEachCloud(t, testForget_requestInFlight_isNotSentAgain)
}

func testForget_requestInFlight_isNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := sharedKey(1)
		world := newSimulator(t, seed)
		f := follower(t, world, cmektest.NewStore(), time.Millisecond)
		minutes(f, 2)
		rotateKey(t, f, world, seed.Clusters[0].Regions[0].Key)
		for len(world.PUTs()) == 0 {
			minutes(f, 1)
		}
		id := seed.Clusters[0].ID
		if err := world.Hide(id); err != nil {
			t.Fatal(err)
		}
		minutes(f, 40)
		if err := f.Forget(t.Context(), id, "on-call", "gone"); err != nil {
			t.Fatal(err)
		}
		if err := world.Show(id); err != nil {
			t.Fatal(err)
		}
		minutes(f, 90)
		if n := len(world.PUTs()); n != 1 || behind(world) != 0 {
			t.Errorf("%d PUTs and %d behind, want the one that was sent before", n, behind(world))
		}
		c, err := f.Ledger.Cluster(t.Context(), id)
		if err != nil || len(c.Work) > 0 || len(c.Done) == 0 || !c.Done[0].Followed {
			t.Errorf("the cluster has work %+v and done %+v (%v), want its request done", c.Work, c.Done, err)
		}
	})
}
