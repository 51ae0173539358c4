package simulation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// What people do to the fleet of a schedule while it is in trouble.

const (
	paymentsKey = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001"
	ordersEast  = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f002"
	ordersWest  = "arn:aws:kms:us-west-2:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f003"
	ordersEU    = "arn:aws:kms:eu-west-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f004"
	ledgerKey   = "arn:aws:kms:eu-central-1:111122223333:key/mrk-5e3c0b9d71f84a62b6e07c2f18d4a906"
	archiveKey  = "arn:aws:kms:eu-central-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f005"
	spareKey    = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f00a"

	payments = "7c1d9e20-3a4b-4c5d-8e6f-000000000001"
	checkout = "7c1d9e20-3a4b-4c5d-8e6f-000000000002"
	orders   = "7c1d9e20-3a4b-4c5d-8e6f-000000000003"
	ledgerEU = "7c1d9e20-3a4b-4c5d-8e6f-000000000004"
	archived = "7c1d9e20-3a4b-4c5d-8e6f-000000000005"

	// human is the service account of people, which the simulator lets do everything.
	human = "org-admin"
)

type action struct {
	at   time.Time
	name string
	do   func() error
}

// plan draws who does what, when.
func (s *schedule) plan(start time.Time) {
	at := func() time.Time {
		return start.Add(10*time.Minute + time.Duration(s.rand.Int64N(int64(troubled-time.Hour))))
	}
	add := func(at time.Time, name string, do func() error) { s.actions = append(s.actions, action{at, name, do}) }
	some := func(chance int) bool { return s.rand.IntN(chance) == 0 }

	for _, key := range s.rotating {
		first := at()
		for n := range s.rand.IntN(4) {
			when := first
			if n > 0 { // the next ones often in the middle of what the first one set off
				when = first.Add(time.Duration(s.rand.Int64N(int64(30 * time.Minute))))
			}
			add(when, "rotate "+key, func() error { return s.rotate(key) })
		}
	}
	for _, id := range s.clusters {
		if some(4) {
			add(at(), "a person re-encrypts "+id, func() error { return s.byHand(id) })
		}
		if some(8) {
			from := at()
			add(from, "hide "+id, func() error { return s.hide(id) })
			add(from.Add(time.Duration(s.rand.Int64N(int64(time.Hour)))), "show "+id, func() error { return s.show(id) })
		}
		if some(10) {
			from, form := at(), []string{"disabled", "404", "empty"}[s.rand.IntN(3)]
			add(from, "hide the CMEK of "+id, func() error { return s.world.HideCMEK(id, form) })
			add(from.Add(time.Duration(s.rand.Int64N(int64(20*time.Minute)))), "show the CMEK of "+id, func() error { return s.world.ShowCMEK(id) })
		}
		if some(10) {
			add(at(), "fail the next operation of "+id, func() error { return s.fail(id) })
		}
		if some(8) {
			add(at(), "lock "+id, func() error { return s.world.Lock(id, "CRDB_SCALE_RUNNING", 20*time.Minute) })
		}
	}
	if some(6) {
		add(at(), "a person moves "+s.moved+" to another key", func() error {
			s.memory.moved = true
			return s.world.PUTCMEK(human, s.moved, s.spare)
		})
		if some(2) {
			add(at(), "rotate "+string(s.spare.KeySpec.URI), func() error { return s.rotate(string(s.spare.KeySpec.URI)) })
		}
	}
	if s.has(s.removed.cluster) && some(6) {
		add(at(), "remove "+s.removed.region+" of "+s.removed.cluster, func() error { return s.world.RemoveRegion(s.removed.cluster, s.removed.region) })
	} else if some(6) {
		add(at(), "add "+s.added.Region+" to "+s.moved, func() error { return s.world.AddRegion(s.moved, 3, s.added) })
	}
	if some(12) {
		add(at(), "delete "+s.deleted, func() error { return s.remove(s.deleted) })
	}
	for _, key := range s.disabling {
		if some(6) {
			from := at()
			add(from, "disable "+key, func() error { return s.able(key, false) })
			add(from.Add(time.Duration(s.rand.Int64N(int64(time.Hour)))), "enable "+key, func() error { return s.able(key, true) })
		}
		if some(10) {
			from := at()
			add(from, "deny keyturn "+key, func() error { return s.deny(key, true) })
			add(from.Add(time.Duration(s.rand.Int64N(int64(time.Hour)))), "allow keyturn "+key, func() error { return s.deny(key, false) })
		}
	}
	if some(4) {
		from := at()
		add(from, "pause", func() error { return s.pause(true) })
		add(from.Add(time.Duration(s.rand.Int64N(int64(time.Hour)))), "resume", func() error { return s.pause(false) })
	}
	if some(6) {
		from := at()
		add(from, "observe", func() error { return s.setMode(rotation.Observe) })
		add(from.Add(time.Duration(s.rand.Int64N(int64(time.Hour)))), "follow", func() error { return s.setMode(rotation.Follow) })
	}
	s.planOperator(start)
	s.planVersions(start)
	if s.keyType == cmek.AWSKMS {
		s.planOrders(start)
		s.planPins(start)
	}
	add(start.Add(troubled+4*time.Hour), "the person on call", s.operate)
	slices.SortStableFunc(s.actions, func(a, b action) int { return a.at.Compare(b.at) })
}

// planOperator draws what an operator does meanwhile, from a source of its own.
func (s *schedule) planOperator(start time.Time) {
	source := rand.New(rand.NewPCG(s.seed, s.stream))
	at := func() time.Time {
		return start.Add(10*time.Minute + time.Duration(source.Int64N(int64(troubled-time.Hour))))
	}
	add := func(at time.Time, name string, do func() error) { s.actions = append(s.actions, action{at, name, do}) }
	all := s.clusters
	for range source.IntN(5) {
		id, delay := all[source.IntN(len(all))], time.Duration(source.Int64N(int64(30*time.Second)))
		add(at(), "an operator runs retry "+id, func() error { return s.command(delay, "retry "+id, s.retry(id)) })
	}
	if source.IntN(4) == 0 {
		from, id := at(), all[source.IntN(len(all))]
		to := from.Add(time.Duration(source.Int64N(int64(time.Hour))))
		add(from, "label off "+id, func() error { return s.label(id, map[string]string{"keyturn": "off"}) })
		s.persist(to, "remove label of "+id, func() error { return s.label(id, map[string]string{}) })
	}
	if source.IntN(4) == 0 {
		h := cmek.Hold{ClusterID: all[source.IntN(len(all))], Reason: "a change"}
		if source.IntN(2) == 0 {
			h = cmek.Hold{Key: s.holding[source.IntN(3)], Reason: "a change"}
		}
		from, length := at(), time.Minute+time.Duration(source.Int64N(int64(3*time.Hour)))
		s.persist(from, "hold "+h.Argument(), func() error { return s.hold(h, length) })
		if source.IntN(2) == 0 {
			s.persist(from.Add(time.Duration(source.Int64N(int64(length)))), "release "+h.Argument(), func() error { return s.release(h) })
		}
	}
	if source.IntN(4) == 0 { // longer than from one sweep to the next, so that it is reported
		from, id := at(), all[source.IntN(len(all))]
		to := from.Add(time.Duration(source.Int64N(int64(3 * time.Hour))))
		add(from, "hide "+id, func() error { return s.hide(id) })
		add(to, "show "+id, func() error { return s.show(id) })
		if source.IntN(2) == 0 {
			delay := time.Duration(source.Int64N(int64(30 * time.Second)))
			for when := from.Add(time.Duration(source.Int64N(int64(time.Hour)))); when.Before(to); when = when.Add(20 * time.Minute) {
				add(when, "an operator runs forget "+id, func() error { return s.command(delay, "forget "+id, s.forget(id)) })
			}
		}
	}
}

// planOrders draws an order to move payments to another key, which somebody may cancel, and one back; from a source of its own.
func (s *schedule) planOrders(start time.Time) {
	source := rand.New(rand.NewPCG(s.seed, 10))
	if source.IntN(4) > 0 {
		return
	}
	from := start.Add(20*time.Minute + time.Duration(source.Int64N(int64(troubled-2*time.Hour))))
	s.persist(from, "order payments to "+spareKey, func() error { return s.order(paymentsKey, spareKey) })
	switch source.IntN(4) {
	case 0:
		s.persist(from.Add(time.Duration(source.Int64N(int64(20*time.Minute)))), "cancel the order", func() error {
			_, _, err := ledger.New(s.store, s.rand).CancelOrders(context.Background(), payments, nil, time.Now(), "on-call")
			return err
		})
	case 1:
		s.persist(from.Add(time.Duration(source.Int64N(int64(2*time.Hour)))), "order payments back", func() error {
			if err := s.order(spareKey, paymentsKey); !errors.Is(err, ledger.ErrOrdered) {
				return err
			}
			return nil // the first order is still open
		})
	}
}

// order gives an order as "keyturn rotate" does once its pre-flight found nothing; meanwhile that may have become otherwise.
func (s *schedule) order(from, to cmek.KeyURI) error {
	spec := func(uri cmek.KeyURI) cmek.KeySpec {
		return cmek.KeySpec{Type: cmek.AWSKMS, URI: uri, AuthPrincipal: "arn:aws:iam::111122223333:role/payments-cmek"}
	}
	order := ledger.Order{Region: "us-east-1", From: spec(from), To: spec(to), By: "on-call", Terraform: "none"}
	_, err := ledger.New(s.store, s.rand).PlaceOrders(context.Background(), payments, []ledger.Order{order}, time.Now())
	if err == nil {
		s.memory.ordered[to] = true
	}
	return err
}

// persist plans an action that is repeated until it succeeds.
func (s *schedule) persist(at time.Time, name string, do func() error) {
	s.actions = append(s.actions, action{at, name, func() error {
		err := do()
		if err != nil {
			s.persist(time.Now().Add(time.Minute), name, do)
			slices.SortStableFunc(s.actions, func(a, b action) int { return a.at.Compare(b.at) })
		}
		return err
	}})
}

// command runs an operator's command beside the workers of the minute.
func (s *schedule) command(delay time.Duration, name string, do func(*rotation.Function) error) error {
	operator := &rotation.Function{Ledger: ledger.New(s.store, rand.New(rand.NewPCG(s.seed, 9))), Settings: rotation.DefaultSettings(), Log: s.log}
	s.commands = append(s.commands, func() {
		time.Sleep(delay)
		err := do(operator)
		s.log.Info("COMMAND", "name", name, "error", err)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.did = append(s.did, fmt.Sprintf("%s %s: %v", clock(time.Now()), name, err))
	})
	return nil
}

func (s *schedule) retry(id string) func(*rotation.Function) error {
	return func(f *rotation.Function) error {
		_, err := f.Retry(context.Background(), id, false)
		return err
	}
}

// forget fails while the cluster is not known to be hidden.
func (s *schedule) forget(id string) func(*rotation.Function) error {
	return func(f *rotation.Function) error {
		err := f.Forget(context.Background(), id, "on-call", "it is gone")
		if err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.memory.forgotten[id] = append(s.memory.forgotten[id], time.Now())
		}
		return err
	}
}

func (s *schedule) hide(id string) error {
	s.memory.hidden.begin(id)
	return s.world.Hide(id)
}

func (s *schedule) show(id string) error {
	s.memory.hidden.end(id)
	return s.world.Show(id)
}

func (s *schedule) rotate(key string) error {
	if s.keyType == cmek.GCPCloudKMS {
		return s.rotateOnGoogle(key)
	}
	err := s.world.Rotate(key)
	if err == nil {
		s.memory.rotated[cmek.KeyURI(key).Canonical()] = append(s.memory.rotated[cmek.KeyURI(key).Canonical()], time.Now())
	}
	return err
}

func (s *schedule) fail(id string) error {
	for _, key := range s.world.StoreKeys() {
		if key.ClusterID == id {
			s.memory.failures[id]++ // the whole operation fails, whichever of its regions did
			return s.world.FailNextRotation(id, key.Region, "no permission")
		}
	}
	return fmt.Errorf("cluster %s has no region", id)
}

func (s *schedule) able(key string, enabled bool) error {
	if s.keyType == cmek.GCPCloudKMS {
		return s.ableOnGoogle(key, enabled)
	}
	region := func(o *awskms.Options) { o.Region = cmek.KeyURI(key).Location() }
	if enabled {
		if err := s.world.DenyKMS(key, false); err != nil { // which denies everybody
			return err
		}
		_, err := s.keys.EnableKey(context.Background(), &awskms.EnableKeyInput{KeyId: aws.String(key)}, region)
		s.memory.unusable.end(key)
		delete(s.memory.disabled, key)
		return err
	}
	_, err := s.keys.DisableKey(context.Background(), &awskms.DisableKeyInput{KeyId: aws.String(key)}, region)
	if err == nil {
		s.memory.disabled[key] = time.Now()
		s.memory.unusable.begin(key)
		if len(s.memory.ordered)+len(s.memory.pinned) > 0 {
			s.memory.failures[checkout] += len(s.memory.pinned)
			s.memory.failures[payments]++ // a move to another key fails if the former one cannot be used until its end
		}
	}
	return err
}

func (s *schedule) byHand(id string) error {
	err := s.world.PUTCMEK(human, id)
	if err == nil {
		s.memory.byHand[id] = append(s.memory.byHand[id], time.Now())
	}
	return err
}

func (s *schedule) pause(on bool) error {
	p := ledger.Pause{}
	s.memory.paused = time.Time{}
	if on {
		p = ledger.Pause{Since: time.Now(), By: "on-call"}
		s.memory.paused = time.Now()
	}
	return ledger.New(s.store, s.rand).SetPause(context.Background(), p)
}

func (s *schedule) hold(h cmek.Hold, length time.Duration) error {
	h.Since, h.Until = time.Now(), time.Now().Add(length)
	_, err := ledger.New(s.store, s.rand).Hold(context.Background(), h)
	if err == nil {
		s.memory.holds = append(s.memory.holds, h)
	}
	return err
}

func (s *schedule) release(h cmek.Hold) error {
	// From now on a PUT may leave, though the release may yet fail.
	for i := range s.memory.holds {
		if known := &s.memory.holds[i]; known.Same(h) && known.Stands(time.Now()) {
			known.Until = time.Now()
		}
	}
	_, _, err := ledger.New(s.store, s.rand).Release(context.Background(), h, time.Now(), "on-call")
	return err
}

// setMode takes effect as a deployment does: with new processes.
func (s *schedule) setMode(mode rotation.Mode) error {
	s.mode = mode
	s.memory.observing = time.Time{}
	if mode == rotation.Observe {
		s.memory.observing = time.Now()
	}
	clear(s.processes)
	return nil
}

// remove deletes the cluster through the Cloud API.
func (s *schedule) remove(id string) error {
	if err := s.administer(http.MethodDelete, id, ""); err != nil {
		return fmt.Errorf("delete cluster: %w", err)
	}
	s.memory.deleted[id] = true
	return nil
}

// label replaces the cluster's labels through the Cloud API.
func (s *schedule) label(id string, labels map[string]string) error {
	if s.memory.deleted[id] {
		return nil
	}
	body, err := json.Marshal(map[string]any{"labels": labels})
	if err != nil {
		return err
	}
	if err := s.administer(http.MethodPatch, id, string(body)); err != nil {
		return fmt.Errorf("label cluster: %w", err)
	}
	delete(s.memory.off, id)
	if labels["keyturn"] == "off" {
		s.memory.off[id] = time.Now()
	}
	return nil
}

// administer sends a request about a cluster with the API key that may do everything.
func (s *schedule) administer(method, id, body string) error {
	request := httptest.NewRequestWithContext(context.Background(), method, "/api/v1/clusters/"+id, strings.NewReader(body))
	request.Header.Set("Authorization", "Bearer "+adminAPIKey)
	answer := httptest.NewRecorder()
	s.world.CloudAPI().ServeHTTP(answer, request)
	if answer.Code != http.StatusOK {
		return fmt.Errorf("%d %s", answer.Code, answer.Body)
	}
	return nil
}
