package simulation_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// The alias that payments and checkout may be pinned to; it names their key.
const (
	aliasName   = "alias/payments-cmek"
	pinnedAlias = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:" + aliasName)
	pinRegion   = "us-east-1"
)

// pinned is a cluster's pin: when it was given, whether the region follows, and when it ended; zero if it stands.
type pinned struct {
	from   time.Time
	follow bool
	to     time.Time
}

// aliasSpan is the time during which the alias named the key; no key: it did not exist.
type aliasSpan struct {
	key      cmek.KeyURI
	from, to time.Time
}

// movesTo counts how often the alias was moved to the key.
func (m *memory) movesTo(key cmek.KeyURI) (n int) {
	for _, s := range m.alias[1:] {
		if s.key == key {
			n++
		}
	}
	return n
}

// planPins draws pins of one or two clusters to one alias, which is then moved, and moved back or on, or deleted for a while; from a source of
// its own.
func (s *schedule) planPins(start time.Time) {
	source := rand.New(rand.NewPCG(s.seed, 15))
	if source.IntN(3) > 0 {
		return
	}
	within := func(d time.Duration) time.Duration { return time.Duration(source.Int64N(int64(d))) }
	begun := start.Add(15*time.Minute + within(time.Hour))
	for _, id := range []string{payments, checkout} {
		if id == checkout && source.IntN(2) == 0 {
			continue
		}
		follow := source.IntN(4) > 0
		s.persist(begun, "pin "+id, func() error { return s.pin(id, follow) })
		if source.IntN(6) == 0 {
			s.persist(begun.Add(within(2*time.Hour)), "unpin "+id, func() error { return s.unpin(id) })
		}
	}
	at := begun.Add(within(time.Hour))
	for n := range 1 + source.IntN(4) {
		key := cmek.KeyURI(spareKey)
		if n%2 == 1 {
			key = paymentsKey
		}
		if source.IntN(8) == 0 {
			s.persist(at, "delete the alias", s.deleteAlias)
			at = at.Add(within(30 * time.Minute))
		}
		s.persist(at, "move the alias to "+string(key), func() error { return s.moveAlias(key) })
		// Often within the settle time, or while the PUT is under way.
		at = at.Add(within([]time.Duration{4 * time.Minute, 15 * time.Minute, time.Hour}[source.IntN(3)]))
	}
	if source.IntN(3) == 0 {
		s.persist(at, "rotate "+spareKey, func() error { return s.rotate(spareKey) })
	}
}

func (s *schedule) pin(id string, follow bool) error {
	err := ledger.New(s.store, s.rand).SetPin(context.Background(), id, ledger.Pin{Region: pinRegion, Alias: pinnedAlias, Follow: follow, Since: time.Now(), By: "on-call", Terraform: "none"})
	if err == nil {
		s.memory.pinned[id] = pinned{from: time.Now(), follow: follow}
	}
	return err
}

func (s *schedule) unpin(id string) error {
	_, err := ledger.New(s.store, s.rand).Unpin(context.Background(), id, pinRegion, time.Now())
	if p, is := s.memory.pinned[id]; err == nil && is {
		p.to = time.Now()
		s.memory.pinned[id] = p
	}
	return err
}

func (s *schedule) moveAlias(key cmek.KeyURI) error {
	var missing *types.NotFoundException
	_, err := s.keys.UpdateAlias(context.Background(), &awskms.UpdateAliasInput{AliasName: aws.String(aliasName), TargetKeyId: aws.String(string(key))})
	if errors.As(err, &missing) {
		_, err = s.keys.CreateAlias(context.Background(), &awskms.CreateAliasInput{AliasName: aws.String(aliasName), TargetKeyId: aws.String(string(key))})
	}
	if err == nil {
		s.memory.names(key)
	}
	return err
}

func (s *schedule) deleteAlias() error {
	_, err := s.keys.DeleteAlias(context.Background(), &awskms.DeleteAliasInput{AliasName: aws.String(aliasName)})
	if err == nil {
		s.memory.names("")
	}
	return err
}

// names notes what the alias names from now on.
func (m *memory) names(key cmek.KeyURI) {
	if last := &m.alias[len(m.alias)-1]; last.key != key {
		last.to = time.Now()
		m.alias = append(m.alias, aliasSpan{key: key, from: time.Now()})
	}
}

// noteKeys notes which keys the regions are on before keyturn acts.
func (s *schedule) noteKeys() {
	if len(s.memory.pinned) == 0 {
		return
	}
	for _, k := range s.storeKeys() {
		s.memory.keys[k.ClusterID+"/"+k.Region] = k.URI
	}
}

// settled is the shortest time that an alias must have named a key before a region follows it.
const settled = 5 * time.Minute

// checkMove checks that a region comes to another key by an order or by its pin only: one with --follow, not in observe mode, to the key that
// the alias names and has named for the settle time.
func (s *schedule) checkMove(put simulator.PUT, region string, uri cmek.KeyURI, wrong func(string, ...any)) {
	was := s.memory.keys[put.ClusterID+"/"+region]
	if was == "" || was == uri || s.isOrdered(put) {
		return
	}
	p, is := s.memory.pinned[put.ClusterID]
	switch {
	case !is || region != pinRegion:
		wrong("it moves %s from %s to %s, which nobody asked for", region, was, uri)
	case !p.follow:
		wrong("it follows the alias, and the pin reports only")
	case put.Time.Sub(p.from) < settled || !p.to.IsZero() && put.Time.Sub(p.to) > inFlight:
		wrong("it follows the alias, and the pin stood from %s to %s", clock(p.from), clock(p.to))
	case !s.memory.named(uri, put.Time):
		wrong("it moves the region to %s, which the alias does not name, or has not for the settle time", uri)
	}
	s.memory.followedMoves++
}

// named reports whether the alias names the key then, or did when the request left, and did when the settle time began. That it named another
// one meanwhile is seen if no event is lost, or if it lasts: it is read every minute.
func (m *memory) named(key cmek.KeyURI, at time.Time) bool {
	const unseen = 4 * time.Minute // a process may have ended, and the KMS not have answered
	now, before := false, false
	for _, s := range m.alias {
		end := s.to
		if end.IsZero() || end.After(at) {
			end = at
		}
		if s.key == key {
			before = before || at.Sub(s.from) >= settled
			now = now || !s.from.After(at) && at.Sub(end) <= inFlight
		} else if end.Sub(s.from) > unseen && at.Sub(end) < settled-inFlight {
			before = false
		}
	}
	return now && before
}

// checkPins checks that in the end each region that follows is on the alias's key, unless somebody else moved it.
func (s *schedule) checkPins() {
	last := s.memory.alias[len(s.memory.alias)-1]
	for _, k := range s.storeKeys() {
		p, is := s.memory.pinned[k.ClusterID]
		if !is || !p.follow || !p.to.IsZero() || k.Region != pinRegion || last.key == "" || s.memory.deleted[k.ClusterID] || s.drifts(k.ClusterID) {
			continue
		}
		if k.URI != last.key {
			s.t.Errorf("seed %d: %s is on %s, and the alias that it follows names %s since %s", s.seed, k.Cluster, k.URI, last.key, clock(last.from))
		}
	}
}

// drifts reports whether somebody moved the cluster to a key that its alias may not name.
func (s *schedule) drifts(id string) bool {
	return id == payments && (s.memory.moved || len(s.memory.ordered) > 0)
}

// staysOpen reports whether an incident about a pin waits for a person, as it must.
func (s *schedule) staysOpen(dedupKey string) bool {
	code, of, _ := strings.Cut(dedupKey, "/")
	id, _, _ := strings.Cut(of, "/")
	switch code {
	case "alias-missing":
		return s.memory.alias[len(s.memory.alias)-1].key == ""
	case "alias-moved":
		return !s.memory.pinned[id].follow
	case "pin-drifted":
		return s.drifts(id)
	}
	return false
}
