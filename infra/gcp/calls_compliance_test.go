package gcp_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

// oneCluster is a fleet whose one cluster has a key of Cloud KMS.
type oneCluster struct {
	secret func(context.Context) (string, error)
}

func (o oneCluster) ClusterPage(ctx context.Context, _ string) ([]cmek.Cluster, string, error) {
	_, err := o.secret(ctx) // a request takes the API key
	return []cmek.Cluster{{ID: "7c1d9e20-3a4b-4c5d-8e6f-000000000001", Name: "payments", State: cmek.StateCreated, Plan: cmek.PlanAdvanced, CloudProvider: "GCP"}}, "", err
}

func (oneCluster) CMEK(context.Context, string) (cmek.ClusterInfo, error) {
	return cmek.ClusterInfo{Status: cmek.Enabled, RegionInfos: []cmek.RegionInfo{{Region: "us-east1", Status: cmek.Enabled, KeyInfos: []cmek.KeyInfo{{
		Status: cmek.Enabled, Spec: cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: key, AuthPrincipal: account},
	}}}}}, nil
}

func (oneCluster) OrganizationID(context.Context) (string, error) {
	return "3b1f7a52-6d0c-4e8b-9f21-5c7a90d4e613", nil
}

func (oneCluster) Backups(context.Context, string, int) (cmek.Backups, error) {
	return cmek.Backups{}, nil
}

// runsChecks is a whole run of the function, with all that its entry point plugs in: what it calls is what it does, and not what a test
// thinks that it does.
func runsChecks(t *testing.T, made *recorder) {
	t.Setenv("PUBSUB_EMULATOR_HOST", "")
	others := made.sharing() // what is called beside the function
	source, err := google.NewArchive(others.config(), "acme-keyturn-keyturn-source", "")
	if err == nil {
		err = source.PutIfAbsent(t.Context(), "declarations-abc.json", []byte("{}"))
	}
	if err == nil {
		err = source.PutIfAbsent(t.Context(), "detection.json", []byte(`{"sinks":[{"parent":"projects/acme-keys","name":"keyturn-alerting"}],"subscriptions":[{"name":"projects/acme-keyturn/subscriptions/keyturn-alerting"}]}`))
	}
	if err != nil {
		t.Fatal(err)
	}
	declarations, err := google.NewArchive(made.config(), "acme-keyturn-keyturn-source", "")
	if err != nil {
		t.Fatal(err)
	}
	kms, err := google.NewKMS(made.config())
	if err != nil {
		t.Fatal(err)
	}
	archive, err := google.NewArchive(made.config(), "acme-keyturn-archive", "evidence/")
	if err != nil {
		t.Fatal(err)
	}
	notifier, err := google.NewNotifier(made.config(), google.Topics{
		Owners: "projects/acme-keyturn/topics/keyturn-alerts", Operations: "projects/acme-keyturn/topics/keyturn-operations",
	})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := google.NewSecret(made.config(), "projects/acme-keyturn/secrets/keyturn-compliance-api-key")
	if err != nil {
		t.Fatal(err)
	}
	f := &compliance.Function{
		Cloud: oneCluster{secret.Value}, Ledger: ledger.New(made.ledger(t), rand.New(rand.NewPCG(1, 1))), KeyTypes: []cmek.KeyType{cmek.GCPCloudKMS},
		Google:  compliance.Google{Keys: kms, Policies: google.NewPolicies(made.config()), Log: google.NewUseLog(made.config()), Sinks: google.NewSinks(made.config()), Secrets: []compliance.Secret{secret}},
		Detect:  compliance.DetectionIn(func(ctx context.Context) ([]byte, error) { return declarations.Read(ctx, "detection.json", "") }),
		Declare: compliance.DeclaredIn(func(ctx context.Context) ([]byte, error) { return declarations.Read(ctx, "declarations-abc.json", "") }),
		Archive: archive, Notifier: notifier, Page: report.ArchivedPage, Settings: compliance.DefaultSettings(), Log: slog.New(slog.DiscardHandler), Holder: "test",
	}
	f.Settings.At = 0
	// A run that was under way for too long is announced to those who run keyturn.
	began := time.Now().UTC().Add(-7 * time.Hour)
	runs, err := f.Ledger.LeaseRuns(t.Context(), "before", began, began)
	if err != nil {
		t.Fatal(err)
	}
	runs.Start, runs.Number, runs.Day, runs.Current, runs.Holder = began, 1, int(time.Now().Unix()/86400)-1, &ledger.CurrentRun{Began: began}, ""
	if err := f.Ledger.SaveRuns(t.Context(), runs); err != nil {
		t.Fatal(err)
	}
	wasReEncrypted(t, f.Ledger, others)
	if err := f.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	archived, err := google.NewArchive(others.config(), "acme-keyturn-archive", "evidence/")
	if err != nil {
		t.Fatal(err)
	}
	run, err := report.Load(t.Context(), archived, 2)
	if err != nil {
		t.Fatal(err)
	}
	if m := run.Manifest; !m.Complete || m.Population.Checked != 1 || m.NoPage != "" || len(m.Denied) > 0 {
		t.Errorf("the manifest is %+v", m)
	}
	if found, err := run.Report(t.Context()); err != nil || len(found.Proofs) != 1 || found.Proofs[0].State != report.Corroborated {
		t.Errorf("the proofs are %+v, %v", found.Proofs, err)
	}
	for _, topic := range []string{"alerts", "operations"} {
		if !slices.ContainsFunc(made.calls, func(call string) bool { return strings.HasSuffix(call, "keyturn-"+topic+":publish") }) {
			t.Errorf("nothing was published on %s", topic)
		}
	}
	for l, err := range run.Lines(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		// What no function reads yet, and what no grant of Google's would change, is an error whatever it may do.
		if f := l.Finding; f != nil && f.Result == checks.Error && slices.ContainsFunc(f.Evidence, func(e checks.Evidence) bool { return e.Grant != "" }) {
			t.Errorf("%s: %s", f.Key(), f.Why)
		}
	}
}

// wasReEncrypted leaves what rotation does after a request of its own.
func wasReEncrypted(t *testing.T, in *ledger.Ledger, others *recorder) {
	const id = "7c1d9e20-3a4b-4c5d-8e6f-000000000001"
	now := time.Now().UTC()
	done := ledger.Done{Region: "us-east1", Key: key, Version: cmek.KeyVersion{Scheme: cmek.Primary, ID: "1"}, At: now.Add(-time.Minute), Sent: now.Add(-2 * time.Minute), Followed: true, Evidence: "updated_at moved"}
	record, err := json.Marshal(map[string]any{"region": done.Region, "key": done.Key, "key_version": done.Version, "done_at": done.At})
	if err != nil {
		t.Fatal(err)
	}
	archive, err := google.NewArchive(others.config(), "acme-keyturn-archive", "evidence/")
	if err == nil {
		err = archive.PutIfAbsent(t.Context(), ledger.EvidenceFolder+id+"/20260301T120000Z-000001-us-east1.json", record)
	}
	if err == nil {
		_, err = in.UpdateCluster(t.Context(), id, func(c *ledger.Cluster) error {
			c.Cluster, c.NextLook = cmek.Cluster{ID: id, Name: "payments"}, now
			c.SetDone(done)
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Of the archive, compliance creates runs and proofs, and reads what rotation recorded: no more than it is granted there.
func TestCompliance_touchesWhatItIsGrantedOfTheArchive(t *testing.T) {
	made := newRecorder()
	runsChecks(t, made)
	const objects = "GET storage.googleapis.com/storage/v1/b/acme-keyturn-archive/o/"
	read := map[string]bool{}
	for _, call := range made.calls {
		if name, is := strings.CutPrefix(call, objects); is {
			name, _, _ = strings.Cut(name, " ")
			folder, _, _ := strings.Cut(strings.TrimPrefix(name, "evidence%2F"), "%2F")
			read[folder+"/"] = true
		}
	}
	for folder := range read {
		if !slices.Contains([]string{report.RunsFolder, ledger.ProofsFolder, ledger.EvidenceFolder}, folder) {
			t.Errorf("it reads below %s", folder)
		}
	}
	if !read[ledger.EvidenceFolder] {
		t.Errorf("it reads below %v", read)
	}
	proofs := 0
	for name := range made.objects.Range {
		object, in := strings.CutPrefix(name.(string), "acme-keyturn-archive/evidence/")
		switch {
		case !in, strings.HasPrefix(object, report.RunsFolder), object == ledger.EvidenceFolder+"7c1d9e20-3a4b-4c5d-8e6f-000000000001/20260301T120000Z-000001-us-east1.json":
		case strings.HasPrefix(object, ledger.ProofsFolder):
			proofs++
		default:
			t.Errorf("it created %s", object)
		}
	}
	if proofs != 1 {
		t.Errorf("it created %d proofs", proofs)
	}
}

// readsRuns shows the last run.
func readsRuns(t *testing.T, made *recorder) {
	m := report.Manifest{Schema: report.ManifestSchema, Run: 1, ChainStart: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Complete: true}
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	written, err := google.NewArchive(made.sharing().config(), "acme-keyturn-archive", "evidence/")
	if err == nil {
		err = written.PutIfAbsent(t.Context(), report.ManifestName(m.ChainStart, 1), data)
	}
	if err != nil {
		t.Fatal(err)
	}
	archive, err := google.NewArchive(made.config(), "acme-keyturn-archive", "evidence/")
	if err != nil {
		t.Fatal(err)
	}
	run, err := report.Load(t.Context(), archive, 0)
	if err == nil {
		_, err = run.Report(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}
