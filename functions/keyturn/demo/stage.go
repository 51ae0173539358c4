package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/progress"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/clouds"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/local"
	"github.com/keyturn/keyturn/internal/report"
	"github.com/keyturn/keyturn/internal/simulator"
)

// What a demo leaves in its folder. The mark tells that the rest is a demo's, and so may be replaced by the next one.
const (
	demoMark      = ".keyturn-demo"
	ledgerFile    = "ledger.db"
	archiveFolder = "archive"
)

// demoKeys are the keys that the demo rotates; events is how many report the rotation of one (KMS and CloudTrail both do on AWS).
var demoKeys = []struct {
	uri    cmek.KeyURI
	users  string
	events int
}{
	{"arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001", "shared by payments, checkout, invoices and refunds", 2},
	{"arn:aws:kms:eu-central-1:111122223333:key/mrk-5e3c0b9d71f84a62b6e07c2f18d4a906", "multi-Region: ledger-eu (2 regions), ledger-us", 2},
	{"projects/acme-data/locations/us-east1/keyRings/crdb/cryptoKeys/catalog", "catalog", 1},
}

// companySeed is the simulator's sample company with more clusters on two of its keys, and a cluster on Google Cloud: the world of demo and
// simulate.
func companySeed() simulator.Seed {
	seed := simulator.DefaultSeed()
	// Those who try it wait for the store key, so this is as short as that of AWS KMS.
	seed.Switches = map[string]string{simulator.GooglePropagation: "5s"}
	catalog := demoKeys[2].uri
	seed.Keys = append(seed.Keys, simulator.KeySeed{URI: catalog, AgeDays: 300})
	seed.Clusters = append(seed.Clusters, simulator.ClusterSeed{
		ID: "7c1d9e20-3a4b-4c5d-8e6f-000000000014", Name: "catalog", CloudProvider: "GCP", AccountID: "crl-prod-abc", AgeDays: 300,
		Regions: []simulator.RegionSeed{{Name: "us-east1", Key: catalog, AuthPrincipal: "crdb-catalog@acme-data.iam.gserviceaccount.com"}},
	})
	add := func(id, name string, region simulator.RegionSeed) {
		seed.Clusters = append(seed.Clusters, simulator.ClusterSeed{
			ID: id, Name: name, AccountID: "900000000099", AgeDays: 300, Regions: []simulator.RegionSeed{region},
		})
	}
	payments := simulator.RegionSeed{Name: "us-east-1", Key: demoKeys[0].uri, AuthPrincipal: "arn:aws:iam::111122223333:role/payments-cmek"}
	add("7c1d9e20-3a4b-4c5d-8e6f-000000000011", "invoices", payments)
	add("7c1d9e20-3a4b-4c5d-8e6f-000000000012", "refunds", payments)
	add("7c1d9e20-3a4b-4c5d-8e6f-000000000013", "ledger-us", simulator.RegionSeed{
		Name: "us-east-1", AuthPrincipal: "arn:aws:iam::111122223333:role/ledger-cmek",
		Key: "arn:aws:kms:us-east-1:111122223333:key/mrk-5e3c0b9d71f84a62b6e07c2f18d4a906",
	})
	return seed
}

// demoRate is how many requests per second the Cloud API takes: those of rotation, and many more for compliance, which has a day in the cloud.
const demoRate = 40

// demoSeed is the company with a faster clock.
func demoSeed() simulator.Seed {
	seed := companySeed()
	seed.Switches = map[string]string{
		simulator.RotationDuration: "1s",
		simulator.KMSRotationTime:  "500ms",
		simulator.KMSPropagation:   "500ms",

		simulator.GooglePropagation: "500ms",
		simulator.RateLimit:         strconv.Itoa(demoRate),
	}
	return seed
}

// demoSettings are those of the cloud at a faster pace.
func demoSettings() rotation.Settings {
	s := rotation.DefaultSettings()
	s.Mode = rotation.Follow
	s.Loopback = true
	s.Settle = 1200 * time.Millisecond
	s.Confirm = 600 * time.Millisecond
	s.Poll = 300 * time.Millisecond
	s.SweepEvery = time.Hour
	return s
}

// setUpDemo puts everything on the stage. done takes it off again, but for the ledger and the evidence.
func (p Commands) setUpDemo(ctx context.Context, dir string) (d *demo, done func() error, err error) {
	world, err := simulator.New(demoSeed())
	if err != nil {
		return nil, nil, err
	}
	listener, err := listenOnLoopback("127.0.0.1:0", "it is simulated")
	if err != nil {
		return nil, nil, err
	}
	d = &demo{world: world, alerts: &alertLog{}, c: p.Palette(), name: cmp.Or(p.Name, "keyturn"), dir: dir, url: "http://" + listener.Addr().String()}
	f, err := build(ctx, dir, d.url, simulator.SampleAPIKey, cockroachcloud.UserRate, d.alerts, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: world.Handler(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with Close
	done = func() error { return errors.Join(server.Close(), f.store.Close()) }

	d.kms, d.google, d.function, d.alerting = kms.NewFromConfig(f.aws), f.google, f.rotation, f.alerting
	d.function.Settings, d.alerting.Settings = demoSettings(), demoAlerting()
	d.function.Policies = nil                                                // no cluster is moved to another key, which is all that needs them
	if d.checks, err = f.compliance(d.url, d.function.Archive); err != nil { //nolint:contextcheck // a client outlives the call that makes it
		return nil, nil, errors.Join(err, done())
	}
	d.runner = &progress.Runner{Function: d.function, Display: progress.NewDisplay(p.Terminal),
		TickEvery: 50 * time.Millisecond, PollEvery: 25 * time.Millisecond}
	return d, done, nil
}

// functions are rotation and alerting over a simulated world and a ledger in a folder.
type functions struct {
	rotation *rotation.Function
	alerting *alerting.Function
	aws      amazon.Config
	google   google.Config
	store    io.Closer
}

// build clears the folder of a demo before, and builds the functions as their entry points in the cloud do, over the world at the URL. Their
// settings are the defaults, and their alerts go to the notifier.
func build(ctx context.Context, dir, url, apiKey string, rate float64, notifier alert.Notifier, log *slog.Logger) (*functions, error) {
	if err := clearDemo(ctx, dir); err != nil {
		return nil, err
	}
	store, err := local.OpenStore(ctx, filepath.Join(dir, ledgerFile))
	if err != nil {
		return nil, err
	}
	aws, cloud, err := simulatedClients(url, apiKey, rate)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	onGoogle := google.Config{HTTP: &http.Client{Timeout: 5 * time.Second}, Endpoint: url}
	googleKeys, err := google.NewKMS(onGoogle) //nolint:contextcheck // a client outlives the call that makes it
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	random := installation.NewRandom()
	keys, book := clouds.KMS{cmek.AWSKMS: amazon.NewKMS(aws, nil), cmek.GCPCloudKMS: googleKeys}, ledger.New(store, random)
	policies := clouds.Policies{AWS: amazon.NewPolicies(aws, nil), Google: google.NewPolicies(onGoogle)}
	return &functions{aws: aws, google: onGoogle, store: store, rotation: &rotation.Function{
		Cloud: cloud, KMS: keys, KeyTypes: keys.Types(), Aliases: keys, Policies: policies, Ledger: book, Archive: local.NewArchive(filepath.Join(dir, archiveFolder)), Notifier: notifier,
		Settings: rotation.DefaultSettings(), Log: log.With("function", "rotation"), Holder: installation.Holder(random),
	}, alerting: &alerting.Function{
		Ledger: book, Notifier: notifier, KMS: keys, Policies: policies, Cloud: cloud,
		Settings: alerting.DefaultSettings(), Log: log.With("function", "alerting"),
	}}, nil
}

// compliance builds the function that checks the fleet, whose messages nobody gets. The simulated AWS has no trails.
func (f *functions) compliance(url string, archive cmek.Archive) (*compliance.Function, error) {
	cloud, err := cockroachcloud.NewReader(cockroachcloud.Options{
		Server: url, APIKey: cockroachcloud.StaticAPIKey(simulator.SampleAPIKey), Rate: demoRate - cockroachcloud.UserRate,
	})
	if err != nil {
		return nil, err
	}
	archived, ok := archive.(compliance.Archive)
	if !ok {
		return nil, errors.New("the archive cannot be read")
	}
	keys, policies := amazon.NewKMS(f.aws, nil), amazon.NewPolicies(f.aws, nil)
	googleKeys, err := google.NewKMS(f.google)
	if err != nil {
		return nil, err
	}
	settings := compliance.DefaultSettings()
	settings.At = 0 // now
	return &compliance.Function{
		Cloud: cloud, Ledger: f.rotation.Ledger, AWS: compliance.AWS{Keys: keys, Use: keys, Aliases: keys, Policies: policies, Roles: policies},
		Google:  compliance.Google{Keys: googleKeys, Policies: google.NewPolicies(f.google)},
		Archive: archived, Notifier: &alertLog{}, Settings: settings, Log: slog.New(slog.DiscardHandler), Holder: f.rotation.Holder,
		Page: report.ArchivedPage,
	}, nil
}

// clearDemo makes the folder ready: it removes what a demo before left there, and nothing else.
func clearDemo(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder of demo: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("open folder of demo: %w", err)
	}
	defer func() { _ = root.Close() }() // nothing is written through it any more
	_, unmarked := root.Lstat(demoMark)
	for _, name := range []string{ledgerFile, archiveFolder} {
		_, absent := root.Lstat(name)
		switch {
		case errors.Is(absent, fs.ErrNotExist):
			continue
		case unmarked != nil:
			return fmt.Errorf("%s is not of a demo; name another folder with --dir", filepath.Join(dir, name))
		case name == ledgerFile:
			// With the files beside it; and not while another process has it open.
			if err := local.RemoveStore(ctx, filepath.Join(dir, name)); err != nil {
				return err
			}
			continue
		}
		if err := root.RemoveAll(name); err != nil {
			return fmt.Errorf("clear former demo: %w", err)
		}
	}
	if err := root.WriteFile(demoMark, []byte("keyturn demo replaces ledger.db and archive in this folder.\n"), 0o600); err != nil {
		return fmt.Errorf("mark folder of demo: %w", err)
	}
	return nil
}

// alertLog keeps the alerts that were sent, each once.
type alertLog struct {
	mu     sync.Mutex
	sent   map[string]bool
	alerts []alert.Alert
}

// Notify implements alert.Notifier.
func (l *alertLog) Notify(_ context.Context, a alert.Alert) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sent == nil {
		l.sent = map[string]bool{}
	}
	if !l.sent[a.ID] {
		l.sent[a.ID] = true
		l.alerts = append(l.alerts, a)
	}
	return nil
}
