// Package gcp is rotation's entry point on Google Cloud. One function serves both triggers: events that Pub/Sub pushes, and ticks of Cloud
// Scheduler.
package gcp

import (
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/google/function"
	"github.com/keyturn/keyturn/internal/ledger"
)

// settings is the whole configuration; the README of the function lists it.
type settings struct {
	Rotation rotation.Settings
	Google   google.Settings
	Evidence google.ArchiveSettings
	Cloud    cockroachcloud.Settings
	Function function.Settings
}

// Check returns what only makes sense on another cloud.
func (s settings) Check() (problems []error) {
	if s.Rotation.AlertsSubscribers != "" || s.Rotation.OperationsSubscribers != "" {
		problems = append(problems, errors.New("KEYTURN_ALERTS_SUBSCRIBERS or KEYTURN_OPERATIONS_SUBSCRIBERS is set; want neither: Pub/Sub sends nobody e-mail, so there are no subscriptions to confirm"))
	}
	return problems
}

// parallel is how many pushes are handled at a time. They use the ledger only.
const parallel = 8

func init() { function.Register("Rotation", "rotation", Wire) }

// Wire builds the function from the environment. The error names every problem.
func Wire(environ []string) (function.Handler, error) {
	s := settings{
		Rotation: rotation.DefaultSettings(), Cloud: cockroachcloud.Settings{RequestRate: rotation.RequestRate}, Function: function.DefaultSettings(),
	}
	config, err := google.Load(&s, environ, 10*time.Second)
	if err != nil {
		return function.Handler{}, err
	}
	store, storeErr := s.Google.Store(config)
	keys, keysErr := google.NewKMS(config)
	archive, archiveErr := s.Evidence.Store(config)
	notifier, notifierErr := s.Google.Notifier(config)
	secret, secretErr := google.NewSecret(config, s.Google.APIKeySecret)
	if err := errors.Join(storeErr, keysErr, archiveErr, notifierErr, secretErr); err != nil {
		return function.Handler{}, err
	}
	cloud, err := cockroachcloud.New(s.Cloud.Options(secret.Value))
	if err != nil {
		return function.Handler{}, err
	}
	s.Rotation.Loopback = cockroachcloud.IsLoopback(s.Cloud.Server)
	log, random := function.NewLog("rotation", s.Function.LogLevel), rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	f := &rotation.Function{
		Cloud: cloud, KMS: keys, KeyTypes: []cmek.KeyType{cmek.GCPCloudKMS}, Policies: google.NewPolicies(config),
		Ledger: ledger.New(store, random), Archive: archive, Notifier: notifier, Settings: s.Rotation, Log: log,
		Holder: os.Getenv("K_REVISION") + "/" + strconv.FormatUint(random.Uint64(), 36),
	}
	h := function.Handler{Settings: s.Function}
	h.Event, h.Parallel, h.Subscribes, h.Tick, h.Log = f.Event, parallel, rotation.Subscribes, f.Tick, log
	return h, nil
}
