package compliance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

const publicPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}]}`

// schedule is what the scheduled runs of a world leave.
type schedule struct {
	*world
	archive  *cmektest.Archive
	notifier *cmektest.Notifier
}

// scheduled runs a test over scheduled runs, the first of which is due.
func scheduled(t *testing.T, test func(t *testing.T, s schedule)) {
	t.Helper()
	within(t, func(t *testing.T, w *world) {
		s := schedule{w, &cmektest.Archive{}, &cmektest.Notifier{}}
		w.Archive, w.Notifier, w.Log, w.Holder = s.archive, s.notifier, slog.New(slog.DiscardHandler), "test"
		w.Settings = compliance.Settings{Part: 2, Parallel: 1, PageBytes: 1e6}
		w.Caller = func(context.Context) (string, error) {
			return "arn:aws:sts::111122223333:assumed-role/keyturn-compliance/test", nil
		}
		test(t, s)
	})
}

func (s schedule) tick() {
	s.t.Helper()
	if err := s.Tick(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

// nextDay lets the next run come.
func (s schedule) nextDay() {
	s.t.Helper()
	time.Sleep(24 * time.Hour)
	s.tick()
}

func (s schedule) runs() *ledger.Runs {
	s.t.Helper()
	runs, err := s.Ledger.Runs(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return runs
}

// manifest is the run's, with the hash of its bytes.
func (s schedule) manifest(run int) (report.Manifest, string) {
	s.t.Helper()
	loaded, err := report.Load(s.t.Context(), s.archive, run)
	if err != nil {
		s.t.Fatal(err)
	}
	return loaded.Manifest, loaded.SHA256
}

func (s schedule) findings(run int) map[string]checks.Finding {
	s.t.Helper()
	loaded, err := report.Load(s.t.Context(), s.archive, run)
	if err != nil {
		s.t.Fatal(err)
	}
	all := map[string]checks.Finding{}
	for l, err := range loaded.Lines(s.t.Context()) {
		if err != nil {
			s.t.Fatal(err)
		}
		if l.Finding != nil {
			if _, twice := all[l.Finding.Key()]; twice {
				s.t.Errorf("%s twice", l.Finding.Key())
			}
			all[l.Finding.Key()] = *l.Finding
		}
	}
	return all
}

// policyOf answers with another key policy for one key.
type policyOf struct {
	compliance.KeyPolicies
	key    cmek.KeyURI
	policy *string
}

func (p policyOf) KeyPolicy(ctx context.Context, uri cmek.KeyURI) (string, error) {
	if uri == p.key && *p.policy != "" {
		return *p.policy, nil
	}
	return p.KeyPolicies.KeyPolicy(ctx, uri)
}

func TestRun_finds_what_a_check_on_demand_finds(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		s.Declared.Keys = []checks.KeyDeclaration{{Key: former, Retired: true}}
		s.tick()
		got, want := s.findings(1), results(s.check())
		for key, w := range want {
			if g, ok := got[key]; !ok || g.Result != w.Result || !g.New || g.Since.IsZero() {
				t.Errorf("%s: %s since %s, on demand %s", key, g.Result, g.Since, w.Result)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d findings, %d on demand", len(got), len(want))
		}
	})
}

func TestManifest_of_a_run(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		s.Declared.OutOfScope = []checks.Exclusion{{Cluster: booked, Reason: "a trial"}}
		s.Declared.Exceptions = []checks.Exception{{Check: "CMEK-01", Subject: noCMEK, Owner: "a", Approver: "b", Reason: "c", Expires: time.Now().Add(200 * time.Hour)}}
		s.refused["ListGrants"] = true
		if _, err := s.Ledger.UpdateCluster(t.Context(), payments, func(c *ledger.Cluster) error {
			c.NextLook, c.Chain = time.Now(), ledger.Chain{Start: time.Now(), Count: 3, Last: "abc"}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.tick()
		m, _ := s.manifest(1)
		if m.Run != 1 || !m.Complete || m.PreviousSHA256 != "" || m.MissedRuns != 0 || !m.Period.From.IsZero() || m.Period.Began.Before(began) || !m.Period.Ended.After(m.Period.Began) {
			t.Errorf("%+v", m)
		}
		if p := m.Population; p.Listed != len(s.seed.Clusters) || p.Listed != p.Checked+len(p.OutOfScope)+p.Missing() || len(p.OutOfScope) != 1 || !strings.Contains(p.OutOfScope[0].Why, "a trial") {
			t.Errorf("%+v", p)
		}
		if m.Organization == "" || !slices.Contains(m.Accounts, "111122223333") || !strings.Contains(m.Caller, "keyturn-compliance") || m.Version == "" ||
			len(m.Catalog) != 64 || len(m.Configuration) != 64 {
			t.Errorf("%+v", m)
		}
		if len(m.Counts) != len(checks.Catalog()) {
			t.Errorf("counts of %d checks", len(m.Counts))
		}
		if len(m.Denied) != 1 || m.Denied[0].Source != "AWS KMS ListGrants" || m.Denied[0].Count != s.sent("ListGrants", "") {
			t.Errorf("%+v, %d requests", m.Denied, s.sent("ListGrants", ""))
		}
		if len(m.Exceptions) != 1 || m.Exceptions[0].Accepts != 1 || m.Exceptions[0].Approver != "b" {
			t.Errorf("%+v", m.Exceptions)
		}
		if len(m.Chains) != 1 || m.Chains[0].Cluster != payments || m.Chains[0].Count != 3 || m.Chains[0].SHA256 != "abc" {
			t.Errorf("%+v", m.Chains)
		}
		named := []string{report.ManifestName(m.ChainStart, 1)}
		for _, f := range m.Files {
			named = append(named, f.Name)
		}
		slices.Sort(named)
		if got := s.archive.Names(); !slices.Equal(got, named) {
			t.Errorf("the archive has %q, the manifest names %q", got, named)
		}
		s.nextDay()
		_, first := s.manifest(1)
		if second, _ := s.manifest(2); second.PreviousSHA256 != first || !second.Period.From.Equal(m.Period.Ended) {
			t.Errorf("the second says %s, the first is %s", second.PreviousSHA256, first)
		}
		time.Sleep(48 * time.Hour)
		s.nextDay()
		if third, _ := s.manifest(3); third.MissedRuns != 2 {
			t.Errorf("%d runs missed, want 2", third.MissedRuns)
		}
	})
}

func TestPage_is_archived_and_in_the_manifest(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		s.Page = func(ctx context.Context, w io.Writer, run *report.Archived) error {
			findings := 0
			for l, err := range run.Lines(ctx) {
				if err != nil {
					return err
				}
				if l.Finding != nil {
					findings++
				}
			}
			_, err := fmt.Fprintf(w, "<p>%d findings of %d clusters", findings, run.Manifest.Population.Checked)
			return err
		}
		s.tick()
		m, _ := s.manifest(1)
		last := m.Files[len(m.Files)-1]
		data, ok := s.archive.Data(report.PageName(m.ChainStart, 1))
		if want := fmt.Sprintf("<p>%d findings of %d clusters", len(s.findings(1)), len(s.seed.Clusters)); !ok || string(data) != want || last.Name != report.PageName(m.ChainStart, 1) {
			t.Errorf("%q, want %q; the manifest ends with %s", data, want, last.Name)
		}
	})
}

// parts are the bytes of the parts of a run.
func parts(m report.Manifest) (bytes int) {
	for _, f := range m.Files {
		if strings.HasSuffix(f.Name, ".jsonl") {
			bytes += f.Bytes
		}
	}
	return bytes
}

// digestOf is the message about a run.
func (s schedule) digestOf(run int) alert.Alert {
	s.t.Helper()
	_, hash := s.manifest(run)
	i := slices.IndexFunc(s.notifier.Alerts(), func(a alert.Alert) bool { return strings.Contains(a.Impact, hash) })
	if i < 0 {
		s.t.Fatalf("no message has the hash of run %d", run)
	}
	return s.notifier.Alerts()[i]
}

func TestPage_that_cannot_be_made_is_announced(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		const command = "keyturn report --format html --run %d"
		lacks := func(run int, why string) {
			t.Helper()
			m, _ := s.manifest(run)
			_, archived := s.archive.Data(report.PageName(m.ChainStart, run))
			text := s.digestOf(run).Impact
			if archived || !m.Complete || !strings.Contains(m.NoPage, why) || !strings.Contains(text, why) || !strings.Contains(text, fmt.Sprintf(command, run)) {
				t.Errorf("run %d, archived %t, says %q; the message says\n%s", run, archived, m.NoPage, text)
			}
		}
		s.Page = report.ArchivedPage
		s.tick()
		first, _ := s.manifest(1)
		if first.NoPage != "" || first.Files[len(first.Files)-1].Name != report.PageName(first.ChainStart, 1) || strings.Contains(s.digestOf(1).Impact, "--format html") {
			t.Errorf("the first run has no page: %q", first.NoPage)
		}

		const change = 4000 // more than the parts of one day differ from those of the next
		s.nextDay()
		second, _ := s.manifest(2)
		s.Settings.PageBytes = parts(second) + change
		s.nextDay()
		if third, _ := s.manifest(3); third.NoPage != "" {
			t.Errorf("parts of %d bytes, and %d may be used: %q", parts(third), s.Settings.PageBytes, third.NoPage)
		}
		s.Settings.PageBytes = parts(second) - change
		s.nextDay()
		lacks(4, "at most")

		s.Settings.PageBytes *= 2
		s.Page = func(context.Context, io.Writer, *report.Archived) error { return errBroken }
		s.nextDay()
		lacks(5, errBroken.Error())
	})
}

func TestPage_is_given_up_when_the_function_does_not_survive_it(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		tries := 0
		s.Page = func(ctx context.Context, _ io.Writer, _ *report.Archived) error {
			tries++
			<-ctx.Done() // killed, or out of time
			return ctx.Err()
		}
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 14*time.Minute)
			if err := s.Tick(ctx); err != nil {
				t.Fatal(err)
			}
			cancel()
			time.Sleep(time.Minute)
		}
		m, _ := s.manifest(1)
		if tries != 2 || !m.Complete || !strings.Contains(m.NoPage, "ended 2 times") {
			t.Errorf("after %d tries: complete %t, %q", tries, m.Complete, m.NoPage)
		}
		s.Page = report.ArchivedPage
		s.nextDay()
		if m, _ := s.manifest(2); m.NoPage != "" {
			t.Errorf("the next run has no page: %s", m.NoPage)
		}
	})
}

func TestRun_begins_once_a_day(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		for range 96 {
			s.tick()
			time.Sleep(30 * time.Minute)
		}
		if n := s.runs().Number; n != 2 {
			t.Errorf("%d runs in two days", n)
		}
	})
}

func TestDigest_has_the_hash_of_the_manifest(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		s.tick()
		s.nextDay()
		s.nextDay()
		for run, want := range map[int]string{1: "new", 2: "without an answer for the second run", 3: "nothing changed"} {
			if a := s.digestOf(run); !strings.Contains(a.Summary, want) || a.Change != compliance.ChangeRun || (run == 3) != (a.Severity == alert.Info) {
				t.Errorf("%+v", a)
			}
		}
	})
}

// messages are the alerts that are not a digest.
func (s schedule) messages() (all []alert.Alert) {
	for _, a := range s.notifier.Alerts() {
		if a.Change != compliance.ChangeRun {
			all = append(all, a)
		}
	}
	return all
}

func TestCritical_failure_alerts_alone_until_it_is_over(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		policy := ""
		s.AWS.Policies = policyOf{s.AWS.Policies, paymentsKey, &policy}
		s.Declared.Exceptions = nil
		s.tick()
		before := len(s.messages()) // what the seed fails at
		policy = publicPolicy
		s.nextDay()
		find := func() (found []alert.Alert) {
			for _, a := range s.messages()[before:] {
				if a.DedupKey == "check/CMEK-13 "+paymentsKey {
					found = append(found, a)
				}
			}
			return found
		}
		if all := find(); len(all) != 1 || all[0].Severity != alert.Critical || all[0].Resolved || len(all[0].RecoverySteps) < 2 {
			t.Fatalf("%+v", all)
		}
		s.nextDay()
		s.refused["GetKeyPolicy"] = true
		policy = ""
		s.nextDay() // no answer is no recovery
		if all := find(); len(all) != 1 {
			t.Fatalf("%+v", all)
		}
		s.refused["GetKeyPolicy"] = false
		s.nextDay()
		if all := find(); len(all) != 2 || !all[1].Resolved || all[1].DedupKey != all[0].DedupKey {
			t.Errorf("%+v", all)
		}
	})
}

func TestCritical_failure_of_a_subject_that_is_gone_is_resolved(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		policy := publicPolicy
		s.AWS.Policies = policyOf{s.AWS.Policies, paymentsKey, &policy}
		s.tick()
		for _, c := range s.seed.Clusters {
			if c.ID != noCMEK {
				s.Declared.OutOfScope = append(s.Declared.OutOfScope, checks.Exclusion{Cluster: c.ID, Reason: "x"})
			}
		}
		s.nextDay()
		last := s.messages()[len(s.messages())-1]
		if !slices.ContainsFunc(s.messages(), func(a alert.Alert) bool { return a.Resolved && a.DedupKey == "check/CMEK-13 "+paymentsKey }) {
			t.Errorf("%+v", last)
		}
		for _, a := range s.runs().Alarms {
			if strings.Contains(a.Key, paymentsKey) {
				t.Errorf("%s is open", a.Key)
			}
		}
	})
}

func TestFailure_that_an_incident_reports_is_silent_and_linked(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		key := alert.IncidentKey(alert.KeyUnusable, paymentsKey)
		if _, err := s.Ledger.UpdateIncident(t.Context(), key, func(i *ledger.Incident) error {
			i.Kind, i.Opened, i.NextLook = alert.KeyUnusable, time.Now(), time.Now()
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		s.AWS.Keys = unusable{s.AWS.Keys, paymentsKey}
		s.tick()
		f := s.findings(1)["CMEK-05 "+paymentsKey]
		if f.Result != checks.Fail || f.Incident != ledger.IncidentID(key) {
			t.Fatalf("%s, incident %q", f.Result, f.Incident)
		}
		alone := func() int {
			n := 0
			for _, a := range s.messages() {
				if a.DedupKey == "check/CMEK-05 "+paymentsKey {
					n++
				}
			}
			return n
		}
		if alone() != 0 {
			t.Error("it is alerted again")
		}
		if _, err := s.Ledger.UpdateIncident(t.Context(), key, func(i *ledger.Incident) error { i.Closed = time.Now(); return nil }); err != nil {
			t.Fatal(err)
		}
		s.nextDay() // nobody reports it any more, and it is still so
		if alone() != 1 {
			t.Errorf("%d alerts, want 1", alone())
		}
	})
}

// unusable shows one key as disabled.
type unusable struct {
	compliance.Keys
	key cmek.KeyURI
}

func (u unusable) Details(ctx context.Context, uri cmek.KeyURI) cmek.KeyDetails {
	d := u.Keys.Details(ctx, uri)
	if uri == u.key {
		d.Description.State = cmek.KeyDisabled
	}
	return d
}

func TestRun_that_does_not_end_replaces_nothing(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		policy := ""
		s.AWS.Policies = policyOf{s.AWS.Policies, paymentsKey, &policy}
		s.tick()
		_, first := s.manifest(1)
		policy = publicPolicy
		time.Sleep(24 * time.Hour)
		stop, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		if err := s.Tick(stop); err != nil {
			t.Fatal(err)
		}
		if r := s.runs(); r.Current == nil || r.Number != 2 || r.Last.Number != 1 {
			t.Fatalf("%+v", r)
		}
		s.nextDay()
		second, hash := s.manifest(2)
		if second.Complete || second.Incomplete == "" || second.PreviousSHA256 != first {
			t.Errorf("%+v", second)
		}
		p := second.Population
		if p.Listed == 0 || p.Unreached == 0 || p.Listed != p.Checked+len(p.OutOfScope)+p.Missing() {
			t.Errorf("the clusters of an incomplete run do not add up: %+v", p)
		}
		reached := fmt.Sprintf("%d of %d clusters were reached", p.Checked+len(p.Unread), p.Listed)
		if !slices.ContainsFunc(s.notifier.Alerts(), func(a alert.Alert) bool {
			return a.Change == compliance.ChangeIncomplete && strings.Contains(a.Impact, hash) && strings.Contains(a.Impact, reached)
		}) {
			t.Errorf("nobody is notified that %s", reached)
		}
		third, _ := s.manifest(3)
		if third.PreviousSHA256 != hash || !third.Complete || s.runs().Last.Number != 3 {
			t.Errorf("%+v", third)
		}
		if f := s.findings(3)["CMEK-13 "+paymentsKey]; f.Result != checks.Fail || f.Was != checks.Pass {
			t.Errorf("%s, was %q: it is to be compared with run 1", f.Result, f.Was)
		}
	})
}

// broken fails one operation of the archive and the ledger's store, before or after it takes effect.
type broken struct {
	ledger.Store
	*cmektest.Archive
	count, at int
	after     bool
}

var errBroken = errors.New("the function was killed")

func (b *broken) fails(do func() error) error {
	b.count++
	switch {
	case b.count != b.at:
		return do()
	case b.after:
		_ = do()
	}
	return errBroken
}

func (b *broken) Put(ctx context.Context, r ledger.Record) error {
	return b.fails(func() error { return b.Store.Put(ctx, r) })
}

func (b *broken) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	return b.fails(func() error { return b.Archive.PutIfAbsent(ctx, name, data) })
}

var moment = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?Z| UTC)`)

// left is all that a run leaves, without times and what follows from them.
func (s schedule) left(run int) map[string]any {
	m, _ := s.manifest(run)
	m.Period, m.ChainStart, m.PreviousSHA256 = report.Period{}, time.Time{}, ""
	for i := range m.Files {
		m.Files[i].SHA256, m.Files[i].Bytes = "", 0
		m.Files[i].Name = m.Files[i].Name[strings.LastIndex(m.Files[i].Name, "/"):]
	}
	left := map[string]any{"manifest": m}
	for key, f := range s.findings(run) {
		data, err := json.Marshal(f)
		if err != nil {
			s.t.Fatal(err)
		}
		left[key] = moment.ReplaceAllString(string(data), "T")
	}
	said := map[string]bool{}
	for _, a := range s.messages() {
		said[a.DedupKey] = true
	}
	left["alerts"] = said
	return left
}

func TestRun_that_is_killed_anywhere_ends_the_same(t *testing.T) {
	var want map[string]any
	writes := 0
	scheduled(t, func(t *testing.T, s schedule) {
		b := &broken{Store: cmektest.NewStore(), Archive: s.archive}
		s.Ledger, s.Archive, s.Page = s.ledgerOver(b), b, report.ArchivedPage
		s.tick()
		want, writes = s.left(1), b.count
	})
	if writes < 20 {
		t.Fatalf("only %d writes", writes)
	}
	for at := 1; at <= writes; at++ {
		for _, after := range []bool{false, true} {
			scheduled(t, func(t *testing.T, s schedule) {
				b := &broken{Store: cmektest.NewStore(), Archive: s.archive, at: at, after: after}
				s.Ledger, s.Archive, s.Page = s.ledgerOver(b), b, report.ArchivedPage
				_ = s.Tick(t.Context())
				time.Sleep(15 * time.Minute)
				for range 3 {
					s.tick()
				}
				if s.runs().Last.Number != 1 {
					t.Fatalf("killed at write %d (after: %t), the run does not end", at, after)
				}
				if got := s.left(1); !reflect.DeepEqual(got, want) {
					for key := range want {
						if !reflect.DeepEqual(got[key], want[key]) {
							t.Fatalf("killed at write %d (after: %t), %s is\n%v, want\n%v", at, after, key, got[key], want[key])
						}
					}
					t.Fatalf("killed at write %d (after: %t): more findings", at, after)
				}
				said := map[string]alert.Alert{}
				for _, a := range s.notifier.Alerts() {
					if was, twice := said[a.ID]; twice && !reflect.DeepEqual(was, a) {
						t.Errorf("%s is said in other words", a.ID)
					}
					said[a.ID] = a
				}
			})
		}
	}
}

func TestRun_goes_on_where_its_time_was_up(t *testing.T) {
	var want map[string]any
	inventoried := func(test func(t *testing.T, s schedule)) {
		scheduled(t, func(t *testing.T, s schedule) {
			for _, c := range s.seed.Clusters {
				if c.ID != noCMEK {
					s.note(c.ID, 0)
				}
			}
			s.latency, s.Settings.Part = 20*time.Millisecond, 1
			test(t, s)
		})
	}
	inventoried(func(t *testing.T, s schedule) {
		s.tick()
		want = s.left(1)
	})
	inventoried(func(t *testing.T, s schedule) {
		ticks := 0
		for ; s.runs().Last.Number == 0 && ticks < 50; ticks++ {
			ctx, cancel := context.WithTimeout(t.Context(), 1100*time.Millisecond)
			if err := s.Tick(ctx); err != nil {
				t.Fatal(err)
			}
			cancel()
			time.Sleep(100 * time.Millisecond)
		}
		if ticks < 3 || ticks == 50 {
			t.Fatalf("%d ticks", ticks)
		}
		if got := s.left(1); !reflect.DeepEqual(got, want) {
			t.Errorf("it ends otherwise than in one go:\n%v\n%v", got["manifest"], want["manifest"])
		}
	})
}

func TestRun_begins_anew_when_what_is_declared_changes(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		if err := s.Tick(ctx); err != nil || s.runs().Current == nil {
			t.Fatal(err)
		}
		s.Declared.OutOfScope = []checks.Exclusion{{Cluster: payments, Reason: "x"}}
		s.tick()
		first, _ := s.manifest(1)
		second, _ := s.manifest(2)
		if first.Complete || !strings.Contains(first.Incomplete, "declared") || !second.Complete || len(second.Population.OutOfScope) != 1 {
			t.Errorf("%+v\n%+v", first, second)
		}
	})
}

// A ledger that is restored from a backup is older than the archive. What is archived of a run of that time is not today's.
func TestRun_takes_nothing_from_a_run_that_the_ledger_forgot(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		store := cmektest.NewStore()
		s.Ledger = s.ledgerOver(store)
		s.tick()
		backup, err := store.Get(t.Context(), "compliance", "runs")
		if err != nil {
			t.Fatal(err)
		}
		s.nextDay()
		s.nextDay()
		now, err := store.Get(t.Context(), "compliance", "runs")
		if err != nil {
			t.Fatal(err)
		}
		backup.Version = now.Version
		if err := store.Put(t.Context(), backup); err != nil {
			t.Fatal(err)
		}
		policy := publicPolicy
		s.AWS.Policies = policyOf{s.AWS.Policies, paymentsKey, &policy}
		s.nextDay()
		if r := s.runs(); r.Last.Number != 4 {
			t.Fatalf("run %d, want 4", r.Last.Number)
		}
		if f := s.findings(4)["CMEK-13 "+paymentsKey]; f.Result != checks.Fail {
			t.Errorf("%s: it is of another day", f.Result)
		}
	})
}

// What somebody put where the next run writes is not that run's.
func TestRun_takes_nothing_that_it_did_not_write(t *testing.T) {
	for _, planted := range []func(time.Time, int) string{report.PopulationName, report.PageName, report.ManifestName,
		func(chain time.Time, run int) string { return report.PartName(chain, run, 1, ".jsonl") },
		func(chain time.Time, run int) string { return report.PartName(chain, run, 1, ".csv") },
	} {
		scheduled(t, func(t *testing.T, s schedule) {
			s.tick()
			first, _ := s.manifest(1)
			name := planted(first.ChainStart, 2)
			s.archive.Overwrite(name, []byte(`{"finding":{"check":"CMEK-13"}}`))
			s.nextDay()
			if r := s.runs(); r.Last.Number != 3 || len(s.findings(3)) != len(s.findings(1)) {
				t.Errorf("%s: run %d", name, r.Last.Number)
			}
		})
	}
}

func TestRun_is_one_at_a_time(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		if _, err := s.Ledger.LeaseRuns(t.Context(), "another", time.Now(), time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		s.tick()
		if s.runs().Number != 0 {
			t.Error("two work at a run")
		}
		time.Sleep(2 * time.Minute) // the other one never came back
		s.tick()
		if s.runs().Last.Number != 1 {
			t.Error("a lease that ran out is not taken over")
		}
	})
}
