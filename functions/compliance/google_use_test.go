package compliance_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/simulator"
)

// useLog has the uses of all keys, the newest first.
type useLog struct {
	uses   []time.Time
	cut    bool
	denied bool
	asked  int
}

func (l *useLog) RecordedUses(_ context.Context, uri cmek.KeyURI, since time.Time) (r cmek.RecordedUses, err error) {
	l.asked++
	if l.denied {
		return r, &cmek.PermissionError{Permission: "logging.privateLogEntries.list on projects/" + uri.Account(), Err: fmt.Errorf("list entries: %w", cmek.ErrDenied)}
	}
	for _, at := range l.uses {
		if at.After(since) {
			r.Uses = append(r.Uses, cmek.RecordedUse{Event: "e", At: at, Operation: "Decrypt"})
		}
	}
	r.Cut = l.cut
	return r, nil
}

// documents answers the policy of project acme with Data Access logs on, and everything else as before.
type documents struct {
	compliance.Documents
	logs string
}

func (d documents) Document(ctx context.Context, name string) (string, error) {
	if name == "projects/acme" {
		return `{"version":3,"etag":"BwX","bindings":[],"auditConfigs":[` + d.logs + `]}`, nil
	}
	return d.Documents.Document(ctx, name)
}

const recordsUses = `{"service":"cloudkms.googleapis.com","auditLogConfigs":[{"logType":"DATA_READ"}]}`

// A key of Google Cloud that is to go was really unused only where its uses were recorded and kept for as long as it was watched.
func TestLastUse_on_Google_is_what_the_log_can_tell(t *testing.T) {
	const day = 24 * time.Hour
	const gone = googleRing + "/cryptoKeys/former"
	for _, tt := range []struct {
		name string
		do   func(*world, *useLog)
		want checks.Result
		why  string
	}{
		{"unused for long", func(w *world, _ *useLog) { w.recorded(35 * day) }, checks.Pass, "not used for 30 days"},
		{"used a week ago", func(w *world, l *useLog) { w.recorded(35 * day); l.uses = []time.Time{time.Now().Add(-7 * day)} }, checks.Fail, "was used on"},
		{"used five weeks ago", func(w *world, l *useLog) { w.recorded(39 * day); l.uses = []time.Time{time.Now().Add(-35 * day)} }, checks.Pass, ""},
		{"recorded for a week", func(w *world, _ *useLog) { w.recorded(7 * day) }, checks.Fail, "are recorded since"},
		{"recorded for a week, and used before", func(w *world, l *useLog) { w.recorded(7 * day); l.uses = []time.Time{time.Now().Add(-20 * day)} }, checks.Fail, "was used on"},
		{"no run has seen it recorded", func(*world, *useLog) {}, checks.Error, "no scheduled run has seen"},
		{"no run has seen it recorded for days", func(w *world, _ *useLog) { w.recorded(35 * day); time.Sleep(3 * day) }, checks.Error, "no scheduled run has seen"},
		{"kept for less than it is watched", func(w *world, _ *useLog) { w.recorded(60 * day); w.Declared.Thresholds.WatchDays = 45 }, checks.Fail, "are recorded since"},
		{"the logs are off", func(w *world, _ *useLog) {
			w.recorded(35 * day)
			w.Google.Policies = documents{w.Google.Policies.(documents).Documents, ""}
		}, checks.Error, "CMEK-26"},
		{"the logs leave somebody out", func(w *world, _ *useLog) {
			w.recorded(35 * day)
			w.Google.Policies = documents{w.Google.Policies.(documents).Documents, strings.Replace(recordsUses, `"DATA_READ"`, `"DATA_READ","exemptedMembers":["user:a@acme.example"]`, 1)}
		}, checks.Error, "CMEK-26"},
		{"the sink leaves some out", func(w *world, _ *useLog) { w.recorded(35 * day); w.logging.usesLeftOut = true }, checks.Error, "_Default"},
		{"some records could not be read", func(w *world, l *useLog) { w.recorded(35 * day); l.cut = true }, checks.Error, "could not be read"},
		{"some records could not be read, and one of long ago could", func(w *world, l *useLog) {
			w.recorded(39 * day)
			l.uses, l.cut = []time.Time{time.Now().Add(-35 * day)}, true
		}, checks.Error, "could not be read"},
		{"some records could not be read, and one of last week could", func(w *world, l *useLog) {
			w.recorded(39 * day)
			l.uses, l.cut = []time.Time{time.Now().Add(-7 * day)}, true
		}, checks.Fail, "was used on"},
		{"the log is denied", func(w *world, l *useLog) { w.recorded(35 * day); l.denied = true }, checks.Error, "list entries"},
		{"nothing reads the log", func(w *world, _ *useLog) { w.recorded(35 * day); w.Google.Log = nil }, checks.Error, "does not read it"},
		{"it is not to go", func(w *world, _ *useLog) {
			w.Declared.Keys = nil
			w.Declared.Keys = []checks.KeyDeclaration{{Key: gone}}
		}, checks.NotApplicable, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			withinSeed(t, withFormerKey(mixedFleet(), gone), func(t *testing.T, w *world) {
				w.watched()
				l := &useLog{}
				w.Google.Log, w.Google.Policies = l, documents{w.Google.Policies, recordsUses}
				w.Declared.Keys = []checks.KeyDeclaration{{Key: gone, Retired: true}}
				time.Sleep(100 * day)
				tt.do(w, l)
				f := results(w.check())["CMEK-31 "+gone]
				if f.Result != tt.want || !strings.Contains(f.Why, tt.why) {
					t.Errorf("%s: %s", f.Result, f.Why)
				}
				if denied := l.denied; denied != (len(f.Grants) > 0) {
					t.Errorf("grants %q", f.Grants)
				}
				if l.asked > 1 {
					t.Errorf("the log was asked %d times: for keys that clusters use it is not", l.asked)
				}
			})
		})
	}
}

// recorded: daily runs have seen for so long that uses are recorded.
func (w *world) recorded(ago time.Duration) {
	w.t.Helper()
	for at := time.Now().Add(-ago); !at.After(time.Now()); at = at.Add(24 * time.Hour) {
		if err := w.Ledger.NoteRecorded(w.t.Context(), "acme", true, at); err != nil {
			w.t.Fatal(err)
		}
	}
}

// withFormerKey is the company with a key of Cloud KMS that no cluster uses.
func withFormerKey(seed simulator.Seed, uri cmek.KeyURI) simulator.Seed {
	seed.Keys = append(seed.Keys, simulator.KeySeed{URI: uri, AgeDays: 300, RotationPeriodDays: 90})
	return seed
}

// A scheduled run notes which projects record uses, and a run on demand notes nothing.
func TestScheduledRun_notes_which_projects_record_uses(t *testing.T) {
	for logs, want := range map[string]bool{recordsUses: true, "": false} {
		withinSeed(t, mixedFleet(), func(t *testing.T, w *world) {
			w.Archive, w.Notifier, w.Log, w.Holder, w.Settings = &cmektest.Archive{}, &cmektest.Notifier{}, slog.New(slog.DiscardHandler), "test", compliance.Settings{Part: 2, Parallel: 1, PageBytes: 1e6}
			w.Google.Policies = documents{w.Google.Policies, logs}
			since := func() bool {
				r, err := w.Ledger.Recorded(t.Context(), "acme")
				if err != nil {
					t.Fatal(err)
				}
				return !r.Since.IsZero()
			}
			w.check()
			if since() {
				t.Error("a run on demand noted it")
			}
			if err := w.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
			if since() != want {
				t.Errorf("with %q it is noted: %t", logs, !want)
			}
		})
	}
}
