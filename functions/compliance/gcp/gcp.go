// Package gcp is compliance's entry point on Google Cloud: ticks of Cloud Scheduler begin the run of the day and go on with it.
package gcp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/google/function"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

// settings is the whole configuration; the README of the function lists it.
type settings struct {
	Compliance compliance.Settings
	Google     google.Settings
	Evidence   google.ArchiveSettings
	Declared   google.DeclarationSettings
	Detection  google.DetectionSettings
	Cloud      cockroachcloud.Settings
	Secrets    secretSettings
	Function   function.Settings
}

// secretSettings say where further API keys are, "" for nowhere: that of rotation, whose age is checked, too, and that which may read the
// organization's audit log.
type secretSettings struct {
	Rotation string `env:"KEYTURN_ROTATION_API_KEY_SECRET"`
	Audit    string `env:"KEYTURN_AUDIT_API_KEY_SECRET"`
}

// Check returns every setting that makes no sense.
func (s secretSettings) Check() (problems []error) {
	for variable, name := range map[string]string{"KEYTURN_ROTATION_API_KEY_SECRET": s.Rotation, "KEYTURN_AUDIT_API_KEY_SECRET": s.Audit} {
		if err := google.CheckSecret(name); name != "" && err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", variable, err))
		}
	}
	return problems
}

// rate is what the function sends to the Cloud API in a second. Its service account is its own, and so are that account's 10 requests/s.
const rate = 8

func init() { function.Register("Compliance", "compliance", Wire) }

// Wire builds the function from the environment. The error names every problem.
func Wire(environ []string) (function.Handler, error) {
	s := settings{Compliance: compliance.DefaultSettings(), Cloud: cockroachcloud.Settings{RequestRate: rate}, Function: function.DefaultSettings()}
	config, err := google.Load(&s, environ, 10*time.Second)
	if err != nil {
		return function.Handler{}, err
	}
	store, storeErr := s.Google.Store(config)
	keys, keysErr := google.NewKMS(config)
	archive, archiveErr := s.Evidence.Store(config)
	declared, declaredErr := s.Declared.Read(config)
	detection, detectionErr := s.Detection.Read(config)
	notifier, notifierErr := s.Google.Notifier(config)
	secret, secretErr := google.NewSecret(config, s.Google.APIKeySecret)
	secrets := []compliance.Secret{secret}
	var rotationErr error
	if s.Secrets.Rotation != "" {
		var rotation *google.Secret
		rotation, rotationErr = google.NewSecret(config, s.Secrets.Rotation)
		secrets = append(secrets, rotation)
	}
	if err := errors.Join(storeErr, rotationErr, keysErr, archiveErr, declaredErr, detectionErr, notifierErr, secretErr); err != nil {
		return function.Handler{}, err
	}
	cloud, err := cockroachcloud.NewReader(s.Cloud.Options(secret.Value))
	if err != nil {
		return function.Handler{}, err
	}
	var audit compliance.Audit
	if s.Secrets.Audit != "" {
		secret, err := google.NewSecret(config, s.Secrets.Audit)
		if err != nil {
			return function.Handler{}, err
		}
		if audit, err = cockroachcloud.NewAuditor(s.Cloud.Options(secret.Value)); err != nil {
			return function.Handler{}, err
		}
	}
	log, random := function.NewLog("compliance", s.Function.LogLevel), rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	f := &compliance.Function{
		Cloud: cloud, Ledger: ledger.New(store, random), KeyTypes: []cmek.KeyType{cmek.GCPCloudKMS},
		Google:  compliance.Google{Keys: keys, Policies: google.NewPolicies(config), Log: google.NewUseLog(config), Sinks: google.NewSinks(config), Secrets: secrets},
		Audit:   audit,
		Detect:  compliance.DetectionIn(detection),
		Declare: compliance.DeclaredIn(declared), Archive: archive, Notifier: notifier, Page: report.ArchivedPage, Caller: google.CallerEmail(config),
		Settings: s.Compliance, Log: log,
		Holder: os.Getenv("K_REVISION") + "/" + strconv.FormatUint(random.Uint64(), 36),
	}
	h := function.Handler{Settings: s.Function}
	h.Tick, h.Log = f.Tick, log
	return h, nil
}
