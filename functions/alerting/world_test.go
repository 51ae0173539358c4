package alerting

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

const ana = "arn:aws:iam::111122223333:user/ana"

var errDown = errors.New("the service is down")

// world is alerting with everything that it talks to, in memory: an AWS account in which cluster orders uses the key.
type world struct {
	*Function
	t      *testing.T
	store  *faultyStore
	told   *topic
	kms    *fakeKMS
	cloud  *fakeCloud
	repair *fakeRepairer
}

// newWorld begins with all well, and a walk over the whole fleet that ended just now.
func newWorld(t *testing.T) *world {
	w := &world{
		t: t, store: &faultyStore{Store: cmektest.NewStore()}, told: &topic{}, cloud: &fakeCloud{},
		kms: &fakeKMS{state: map[cmek.KeyURI]cmek.KeyState{key: cmek.KeyEnabled, unused: cmek.KeyEnabled}, keyPolicy: goodKeyPolicy, trust: goodTrust, rolePolicies: noPolicies},
	}
	t.Cleanup(func() { w.told.CheckRecovery(t) })
	w.repair = &fakeRepairer{kms: w.kms}
	settings := DefaultSettings()
	settings.OwnResources = "keyturn-kms-calls"
	settings.OrganizationID, settings.OwnRoles = organization, "arn:aws:iam::{account}:role/keyturn-reader, arn:aws:iam::{account}:role/keyturn-alerting"
	w.Function = &Function{
		Ledger: ledger.New(w.store, rand.New(rand.NewPCG(1, 2))), Notifier: w.told, KMS: w.kms, Policies: w.kms, Cloud: w.cloud,
		Settings: settings, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	w.cluster("c-1", "orders", cmek.Enabled)
	w.swept()
	w.seenEnabled()
	return w
}

// seenEnabled: a sweep reads the key now, and it is enabled.
func (w *world) seenEnabled() {
	w.t.Helper()
	was, err := w.Ledger.StateNoted(w.t.Context(), key)
	if err == nil {
		err = w.Ledger.NoteState(w.t.Context(), key, cmek.KeyEnabled, was)
	}
	if err != nil {
		w.t.Fatalf("note the key's state: %v", err)
	}
}

// inWorld runs the test in a bubble, so that days take no time.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(t)) })
}

// cluster puts a cluster that uses the key into the inventory.
func (w *world) cluster(id, name string, status cmek.Status) {
	w.t.Helper()
	_, err := w.Ledger.UpdateCluster(w.t.Context(), id, func(c *ledger.Cluster) error {
		c.Cluster = cmek.Cluster{ID: id, Name: name, AccountID: crlAccount, State: cmek.StateCreated}
		c.CMEK = cmek.ClusterInfo{Status: status, RegionInfos: []cmek.RegionInfo{{Region: "us-east-1", Status: status, KeyInfos: []cmek.KeyInfo{{
			Spec: cmek.KeySpec{Type: cmek.AWSKMS, URI: key, AuthPrincipal: role}, Status: cmek.Enabled,
		}}}}}
		return nil
	})
	if err != nil {
		w.t.Fatalf("put cluster %s into the ledger: %v", id, err)
	}
}

// swept: a walk over the whole fleet ends now.
func (w *world) swept() {
	w.t.Helper()
	clusters, err := w.Ledger.Clusters(w.t.Context())
	if err != nil {
		w.t.Fatalf("list clusters: %v", err)
	}
	worker, err := w.Ledger.Worker(w.t.Context())
	if err == nil {
		worker.Sweep.Complete, worker.Sweep.Named = time.Now(), ledger.Named{IDs: true, Numbers: true}
		for _, c := range clusters {
			worker.Sweep.Named = worker.Sweep.Named.And(c.Named())
		}
		err = w.Ledger.SaveWorker(w.t.Context(), worker, time.Now())
	}
	if err != nil {
		w.t.Fatalf("end a sweep: %v", err)
	}
}

// happens delivers an event and fails the test if it has to be delivered again.
func (w *world) happens(e cmek.Event) {
	w.t.Helper()
	if err := w.Event(w.t.Context(), e); err != nil {
		w.t.Fatalf("%s: %v", e.Change, err)
	}
}

// ticks lets time pass, with a tick every minute.
func (w *world) ticks(d time.Duration) {
	w.t.Helper()
	for range int(d / time.Minute) {
		time.Sleep(time.Minute)
		if err := w.Tick(w.t.Context()); err != nil {
			w.t.Fatalf("tick: %v", err)
		}
	}
}

// open lists the open incidents.
func (w *world) open() (names []string) {
	w.t.Helper()
	incidents, err := w.Ledger.OpenIncidents(w.t.Context())
	if err != nil {
		w.t.Fatalf("list open incidents: %v", err)
	}
	for _, i := range incidents {
		names = append(names, i.DedupKey)
	}
	return names
}

// want fails the test unless exactly these were sent, each as the beginning of a headline.
func (w *world) want(when string, headlines ...string) {
	w.t.Helper()
	var got []string
	for _, a := range w.told.Alerts() {
		got = append(got, a.Headline())
	}
	same := len(got) == len(headlines)
	for i := 0; same && i < len(got); i++ {
		same = strings.HasPrefix(got[i], headlines[i])
	}
	if !same {
		w.t.Fatalf("%s, people were notified of\n  %s\nwant\n  %s", when, strings.Join(got, "\n  "), strings.Join(headlines, "\n  "))
	}
}

func (w *world) last() alert.Alert {
	w.t.Helper()
	alerts := w.told.Alerts()
	if len(alerts) == 0 {
		w.t.Fatal("nobody was notified of anything")
	}
	return alerts[len(alerts)-1]
}

// Events, made by ana just now.

func event(id string, change cmek.Change, edits ...func(*cmek.Event)) cmek.Event {
	e := cmek.Event{ID: id, Source: "aws.kms/AWS API Call via CloudTrail/" + string(change), Change: change, Key: key, Time: time.Now(),
		Account: account, Region: "us-east-1", Principal: ana}
	for _, edit := range edits {
		edit(&e)
	}
	return e
}

func failed(code string) func(*cmek.Event) {
	return func(e *cmek.Event) { e.Error, e.Failure = code, failures[code] }
}
func of(uri cmek.KeyURI) func(*cmek.Event)   { return func(e *cmek.Event) { e.Key = uri } }
func document(text string) func(*cmek.Event) { return func(e *cmek.Event) { e.Policy = text } }
func at(time time.Time) func(*cmek.Event)    { return func(e *cmek.Event) { e.Time = time } }
func ofRole(name string) func(*cmek.Event) {
	return func(e *cmek.Event) { e.Key, e.Identity = "", cmek.Principal(name) }
}
func by(issuer string) func(*cmek.Event) {
	return func(e *cmek.Event) {
		e.Issuer, e.Principal, e.Caller = cmek.Principal(issuer), issuer+"/session", strings.Split(issuer, ":")[4]
	}
}
func with(name, value string) func(*cmek.Event) {
	return func(e *cmek.Event) {
		e.Parameters = map[string]string{name: value}
	}
}

// failures are the classes of the codes that the tests use, as the decoder gives them.
var failures = map[string]cmek.Failure{
	"AccessDenied": cmek.FailureDenied, "AccessDeniedException": cmek.FailureDenied, "DisabledException": cmek.FailureUnfit,
	"KMSInvalidStateException": cmek.FailureUnfit, "NotFoundException": cmek.FailureMissing, "IncorrectKeyException": cmek.FailureWrongKey,
	"ThrottlingException": cmek.FailurePassing, "ValidationException": cmek.FailureRequest,
}

func (w *world) isDisabled(id string) cmek.Event {
	w.kms.set(key, cmek.KeyDisabled)
	return event(id, cmek.ChangeKeyDisabled)
}

func (w *world) isScheduled(id string) cmek.Event {
	w.kms.set(key, cmek.KeyDeletionScheduled)
	return event(id, cmek.ChangeDeletionScheduled, with("pending_window_days", "7"))
}

func (w *world) isEnabled(id string) cmek.Event {
	w.kms.set(key, cmek.KeyEnabled)
	return event(id, cmek.ChangeKeyEnabled)
}

// What alerting talks to. Each may be down, or hang until the caller gives up.

// outage is what is wrong with a service.
type outage int

const (
	up outage = iota
	down
	hanging
)

func (o outage) err(ctx context.Context) error {
	switch o {
	case down:
		return errDown
	case hanging:
		<-ctx.Done()
		return ctx.Err()
	}
	return ctx.Err()
}

type faultyStore struct {
	ledger.Store
	outage outage
	// readOnly lets reads through.
	readOnly bool
}

func (s *faultyStore) Get(ctx context.Context, kind, id string) (ledger.Record, error) {
	if err := s.outage.err(ctx); err != nil {
		return ledger.Record{}, err
	}
	return s.Store.Get(ctx, kind, id)
}

func (s *faultyStore) Put(ctx context.Context, r ledger.Record) error {
	if err := s.outage.err(ctx); err != nil || s.readOnly {
		return errors.Join(errDown, err)
	}
	return s.Store.Put(ctx, r)
}

func (s *faultyStore) Due(ctx context.Context, kind string, before time.Time, limit int) ([]ledger.Record, error) {
	if err := s.outage.err(ctx); err != nil {
		return nil, err
	}
	return s.Store.Due(ctx, kind, before, limit)
}

func (s *faultyStore) ByKey(ctx context.Context, kind, key string) ([]ledger.Record, error) {
	if err := s.outage.err(ctx); err != nil {
		return nil, err
	}
	return s.Store.ByKey(ctx, kind, key)
}

type topic struct {
	cmektest.Notifier
	outage outage
}

func (n *topic) Notify(ctx context.Context, a alert.Alert) error {
	if err := n.outage.err(ctx); err != nil {
		return err
	}
	return n.Notifier.Notify(ctx, a)
}

// fakeKMS is the KMS and the IAM of the account.
type fakeKMS struct {
	outage                         outage
	keyPolicy, trust, rolePolicies string
	// during is called within the next read of a key, if set.
	during func()

	mu    sync.Mutex
	state map[cmek.KeyURI]cmek.KeyState
	// reads counts the reads of keys, whatever came of them.
	reads int
}

func (k *fakeKMS) set(uri cmek.KeyURI, state cmek.KeyState) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state[uri] = state
}

// interrupted lets what is to happen within a read happen.
func (k *fakeKMS) interrupted() {
	if during := k.during; during != nil {
		k.during = nil
		during()
	}
}

// Describe tells all that Key does.
func (k *fakeKMS) Describe(ctx context.Context, uri cmek.KeyURI) (cmek.Key, error) {
	return k.Key(ctx, uri)
}

func (k *fakeKMS) Key(ctx context.Context, uri cmek.KeyURI) (cmek.Key, error) {
	k.mu.Lock()
	k.reads++
	k.mu.Unlock()
	if err := k.outage.err(ctx); err != nil {
		return cmek.Key{}, err
	}
	k.interrupted()
	k.mu.Lock()
	defer k.mu.Unlock()
	found := cmek.Key{URI: uri, State: cmek.KeyNotFound}
	if state, ok := k.state[uri]; ok {
		found.State = state
	}
	if found.State == cmek.KeyDeletionScheduled {
		found.DeletionDate = time.Date(2000, 1, 8, 0, 0, 0, 0, time.UTC)
	}
	return found, nil
}

func (k *fakeKMS) Deciding(use cmek.Use, _ map[string]string) []string {
	if use.Spec.Type != cmek.AWSKMS {
		return nil
	}
	return []string{string(use.Spec.URI), string(use.Spec.AuthPrincipal), ledger.RolePolicies(use.Spec.AuthPrincipal)}
}

func (k *fakeKMS) Document(ctx context.Context, name string) (string, error) {
	if err := k.outage.err(ctx); err != nil {
		return "", err
	}
	switch {
	case strings.HasSuffix(name, ledger.RolePolicies("")):
		if k.rolePolicies == "" {
			return "", cmek.ErrDenied
		}
		return k.rolePolicies, nil
	case !isRole(name):
		return k.keyPolicy, nil
	case k.trust == "":
		return "", cmek.ErrNotFound
	}
	return k.trust, nil
}

// isRole reports whether the name is that of a role's trust policy.
func isRole(name string) bool {
	return cmek.Principal(name).IsRole() && !strings.HasSuffix(name, ledger.RolePolicies(""))
}

type fakeCloud struct{ outage outage }

func (c *fakeCloud) NextMaintenance(ctx context.Context, _ string) (time.Time, error) {
	return time.Date(2000, 1, 2, 3, 0, 0, 0, time.UTC), c.outage.err(ctx)
}

func (c *fakeCloud) BackupInterval(ctx context.Context, _ string) (time.Duration, error) {
	return 30 * time.Minute, c.outage.err(ctx)
}

// fakeRepairer acts on the fake KMS, as KMS does: a canceled deletion leaves the key disabled.
type fakeRepairer struct {
	kms                *fakeKMS
	calls              []string
	noCancel, noEnable error
}

func (r *fakeRepairer) CancelDeletion(_ context.Context, uri cmek.KeyURI) error {
	r.calls = append(r.calls, "cancel")
	if r.noCancel == nil {
		r.kms.set(uri, cmek.KeyDisabled)
	}
	return r.noCancel
}

func (r *fakeRepairer) Enable(_ context.Context, uri cmek.KeyURI) error {
	r.calls = append(r.calls, "enable")
	if r.noEnable == nil {
		r.kms.set(uri, cmek.KeyEnabled)
	}
	return r.noEnable
}

// setKeys sets the key infos of a cluster.
func (w *world) setKeys(id string, infos ...cmek.KeyInfo) error {
	_, err := w.Ledger.UpdateCluster(w.t.Context(), id, func(c *ledger.Cluster) error {
		c.CMEK.RegionInfos = []cmek.RegionInfo{{Region: "us-east-1", KeyInfos: infos}}
		return nil
	})
	return err
}
