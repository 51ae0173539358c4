package compliance_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/compliance/evidence"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
	"github.com/keyturn/keyturn/internal/simulator"
)

const (
	east     = "us-east-1"
	checkout = "7c1d9e20-3a4b-4c5d-8e6f-000000000002"
)

// followed rotates the key of payments, sends the request for it, and leaves in ledger and archive what rotation does. It returns what was
// done, with the version before.
func (s schedule) followed() (done ledger.Done, before cmek.KeyVersion) {
	s.t.Helper()
	return s.follow(s.AWS.Keys.(cmek.KMS), payments, checkout, cmek.RegionSpec{Region: east, KeySpec: cmek.KeySpec{URI: paymentsKey}}, func() { s.note(payments, 0) })
}

// follow is followed for a region of a cluster and its key. Another cluster acts as the same principal with the key, and was re-encrypted, too.
func (s schedule) follow(keys cmek.KMS, cluster, other string, region cmek.RegionSpec, note func()) (done ledger.Done, before cmek.KeyVersion) {
	s.t.Helper()
	ctx, uri := s.t.Context(), region.KeySpec.URI
	version := func() cmek.KeyVersion {
		key, err := keys.Key(ctx, uri)
		s.must(err)
		return key.Version
	}
	before = version()
	s.must(s.simulator.Rotate(string(uri)))
	time.Sleep(time.Hour)
	info, err := s.Cloud.CMEK(ctx, cluster)
	s.must(err)
	region.KeySpec = info.RegionInfos[0].KeyInfos[0].Spec
	sent := time.Now().UTC()
	s.must(s.simulator.PUTCMEK("keyturn", cluster, region))
	time.Sleep(time.Hour)
	done = ledger.Done{Region: region.Region, Key: uri, Version: version(), At: time.Now().UTC(), Followed: true, Sent: sent, Evidence: "updated_at moved"}
	note()
	var name string
	var data []byte
	_, err = s.Ledger.UpdateCluster(ctx, other, func(c *ledger.Cluster) error {
		c.NextLook = time.Now()
		c.SetDone(ledger.Done{Region: region.Region, Key: uri, Version: done.Version, At: done.At})
		return nil
	})
	s.must(err)
	_, err = s.Ledger.UpdateCluster(ctx, cluster, func(c *ledger.Cluster) error {
		c.SetDone(done)
		c.Link(done.At, region.Region, func(number int, previous string) []byte {
			data, err = json.Marshal(rotation.Evidence{Schema: rotation.EvidenceSchema, Number: number, PreviousSHA256: previous, ClusterID: cluster, Region: region.Region,
				Key: uri, Version: done.Version, PreviousVersion: before, DoneAt: done.At})
			return data
		})
		name = c.Messages[0].ID
		c.Clear(map[string]bool{name: true})
		return err
	})
	s.must(err)
	s.must(s.archive.PutIfAbsent(ctx, name, data))
	return done, before
}

func (s schedule) version() cmek.KeyVersion {
	s.t.Helper()
	key, err := s.AWS.Keys.(cmek.KMS).Key(s.t.Context(), paymentsKey)
	s.must(err)
	return key.Version
}

func (s schedule) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// proof is what the last run says of payments.
func (s schedule) proof() report.Proof {
	s.t.Helper()
	return s.proofOf(payments, east)
}

// proofOf is what the last run says of the one cluster and region that it has a proof of.
func (s schedule) proofOf(cluster, region string) report.Proof {
	s.t.Helper()
	loaded, err := report.Load(s.t.Context(), s.archive, s.runs().Number)
	s.must(err)
	made, err := loaded.Report(s.t.Context())
	s.must(err)
	if len(made.Proofs) != 1 || made.Proofs[0].Cluster != cluster || made.Proofs[0].Region != region {
		s.t.Fatalf("%+v", made.Proofs)
	}
	return made.Proofs[0]
}

// verified fails the test unless the whole archive is as it was written.
func (s schedule) verified() evidence.Verification {
	s.t.Helper()
	heads, err := evidence.HeadsOf(s.t.Context(), s.Ledger)
	s.must(err)
	v, err := evidence.Verify(s.t.Context(), s.archive, heads)
	s.must(err)
	if len(v.Problems) > 0 {
		s.t.Errorf("%+v", v.Problems)
	}
	return v
}

func (s schedule) alerts(change cmek.Change) (all []alert.Alert) {
	for _, a := range s.notifier.Alerts() {
		if a.Change == change {
			all = append(all, a)
		}
	}
	return all
}

func TestProof_is_a_record_of_its_own_chain(t *testing.T) {
	for _, operation := range []string{"Encrypt", "GenerateDataKey", "ReEncrypt"} {
		t.Run(operation, func(t *testing.T) {
			scheduled(t, func(t *testing.T, s schedule) {
				s.must(s.simulator.Set(simulator.CMEKUse, operation))
				done, before := s.followed()
				s.tick()
				p := s.proof()
				if p.State != report.Corroborated || p.Record == "" || p.Because != "" || p.Version != done.Version || p.OldUse != nil {
					t.Fatalf("%+v", p)
				}
				data, ok := s.archive.Data(p.Record)
				if !ok || !strings.HasPrefix(p.Record, "proofs/"+payments+"/") {
					t.Fatalf("%s, archived %v", p.Record, ok)
				}
				var record struct {
					Schema, Finding, Source string
					Number                  int
					Previous                *string `json:"previous_sha256"`
					Corroborates            struct{ Name, SHA256 string }
					Use                     cmek.RecordedUse
					Other                   []string `json:"other_causes"`
				}
				s.must(json.Unmarshal(data, &record))
				if record.Schema != "keyturn.corroboration/v1" || record.Finding != "CORROBORATED" || record.Number != 1 || record.Previous == nil || *record.Previous != "" ||
					!strings.HasPrefix(record.Corroborates.Name, "evidence/"+payments+"/") || record.Corroborates.SHA256 == "" ||
					record.Use.Operation != operation || record.Use.Encrypted != done.Version || !record.Use.By.Same(paymentsRole) || record.Use.Event == "" {
					t.Errorf("%s", data)
				}
				if operation == "ReEncrypt" && record.Use.Decrypted != before {
					t.Errorf("%s", data)
				}
				if p.Evidence != record.Corroborates.Name || p.EvidenceSHA256 != record.Corroborates.SHA256 || p.Use == nil || *p.Use != record.Use || p.Source != record.Source ||
					!slices.Equal(p.OtherCauses, record.Other) || p.Seen != "updated_at moved" {
					t.Errorf("the report says %+v, and the record %s", p, data)
				}
				if len(record.Other) < 3 || !strings.Contains(record.Other[0], "full backup") {
					t.Errorf("%q", record.Other)
				}
				if m, _ := s.manifest(1); !slices.ContainsFunc(m.Chains, func(h report.Head) bool {
					return h.Cluster == payments && h.Of == report.OfProofs && h.Count == 1
				}) {
					t.Errorf("%+v", m.Chains)
				}
				if v := s.verified(); v.Proofs != 1 || v.Records != 1 {
					t.Errorf("%+v", v)
				}
				if got := s.alerts(compliance.ChangeOldVersion); len(got) > 0 {
					t.Errorf("%+v", got)
				}
				if n := s.sent("PUT ", ""); n > 0 { // of the client of compliance
					t.Errorf("%d PUTs", n)
				}
			})
		})
	}
}

// What is not found is neither a failure nor a success.
func TestProof_that_is_not_found_says_why(t *testing.T) {
	for _, tt := range []struct {
		name    string
		arrange func(s schedule)
		because string
		lookups int
	}{
		{"never used", func(s schedule) { s.must(s.simulator.Set(simulator.CMEKUse, "none")) }, "nobody has used the key since", 0},
		{"used before only", func(s schedule) {
			s.must(s.simulator.Use(payments, east, "Decrypt", ""))
			s.must(s.simulator.Set(simulator.CMEKUse, "none"))
		}, "before the request", 0},
		{"the record is lost", func(s schedule) { s.must(s.simulator.Set(simulator.CloudTrailLookup, "never")) }, "does not have the record of the key's last use (Encrypt", 1},
		{"the record comes late", func(s schedule) { s.must(s.simulator.Set(simulator.CloudTrailLookup, "12h")) }, "does not have the record of the key's last use (Encrypt", 1},
		{"records do not name the material", func(s schedule) {
			s.AWS.Log = changed{s.AWS.Log, func(u *cmek.RecordedUse) { u.Encrypted = cmek.KeyVersion{} }}
		}, "name no key version", 1},
		{"somebody else", func(s schedule) {
			s.AWS.Log = changed{s.AWS.Log, func(u *cmek.RecordedUse) { u.By = "arn:aws:iam::111122223333:role/other" }}
		}, "no use of the key under", 1},
		{"another version", func(s schedule) {
			s.AWS.Log = changed{s.AWS.Log, func(u *cmek.RecordedUse) { u.Encrypted = cmek.MaterialVersion("ff") }}
		}, "no use of the key under", 1},
		{"before the request, by a second", func(s schedule) {
			s.AWS.Log = changed{s.AWS.Log, func(u *cmek.RecordedUse) { u.At = u.At.Add(-time.Second) }}
		}, "no use of the key under", 1},
		{"refused", func(s schedule) { s.refused["LookupEvents"] = true }, "cloudtrail:LookupEvents", 1},
		{"no log is read", func(s schedule) { s.AWS.Log = nil }, "this run does not read AWS CloudTrail", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scheduled(t, func(t *testing.T, s schedule) {
				tt.arrange(s)
				s.followed()
				s.tick()
				p := s.proof()
				if p.State != report.NotYetCorroborated || !strings.Contains(p.Because, tt.because) || p.Record != "" || p.Use != nil || len(p.OtherCauses) > 0 {
					t.Errorf("%+v", p)
				}
				if data, ok := s.archive.Data(p.Evidence); !ok || p.EvidenceSHA256 != fmt.Sprintf("%x", sha256.Sum256(data)) {
					t.Errorf("the record of the re-encryption is %q, %s", p.Evidence, p.EvidenceSHA256)
				}
				if n := s.requests["LookupEvents"]; n != tt.lookups {
					t.Errorf("%d lookups", n)
				}
				if slices.ContainsFunc(s.archive.Names(), func(n string) bool { return strings.HasPrefix(n, "proofs/") }) {
					t.Error(s.archive.Names())
				}
				for _, f := range s.findings(1) {
					if f.Subject.ClusterID == payments && f.Check == "CMEK-04" && f.Result != "PASS" {
						t.Errorf("%+v", f)
					}
				}
				s.verified()
			})
		})
	}
}

// changed is a log whose records are others.
type changed struct {
	compliance.UseLog
	change func(*cmek.RecordedUse)
}

func (c changed) RecordedUses(ctx context.Context, uri cmek.KeyURI, since time.Time) (cmek.RecordedUses, error) {
	all, err := c.UseLog.RecordedUses(ctx, uri, since)
	for i := range all.Uses {
		c.change(&all.Uses[i])
	}
	return all, err
}

func TestProof_is_found_when_its_record_comes(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		s.must(s.simulator.Set(simulator.CloudTrailLookup, "12h"))
		s.followed()
		s.tick()
		if p := s.proof(); p.State != report.NotYetCorroborated {
			t.Fatalf("%+v", p)
		}
		s.nextDay()
		if p := s.proof(); p.State != report.Corroborated {
			t.Errorf("%+v", p)
		}
		s.verified()
	})
}

// Lookups are few: one for each new use of a key that was rotated lately, none for any other.
func TestProof_looks_for_what_is_new_only(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		s.followed()
		for day, want := range []int{1, 1, 1} {
			if s.tick(); s.requests["LookupEvents"] != want {
				t.Errorf("day %d: %d lookups", day, s.requests["LookupEvents"])
			}
			time.Sleep(24 * time.Hour)
		}
		s.must(s.simulator.Use(payments, east, "Decrypt", ""))
		time.Sleep(time.Hour)
		if s.tick(); s.requests["LookupEvents"] != 2 {
			t.Errorf("after a use: %d lookups", s.requests["LookupEvents"])
		}
		time.Sleep(8 * 24 * time.Hour)
		s.must(s.simulator.Use(payments, east, "Decrypt", ""))
		time.Sleep(time.Hour)
		if s.tick(); s.requests["LookupEvents"] != 2 {
			t.Errorf("a week later: %d lookups", s.requests["LookupEvents"])
		}
		if p := s.proof(); p.State != report.Corroborated {
			t.Errorf("%+v", p)
		}
		s.verified()
	})
}

func TestProof_of_a_second_rotation_is_the_second_of_the_chain(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		s.followed()
		s.tick()
		first := s.proof()
		time.Sleep(20 * time.Hour)
		s.followed()
		s.nextDay()
		if p := s.proof(); p.State != report.Corroborated || p.Record == first.Record || !strings.Contains(p.Record, "-000002-") {
			t.Errorf("%+v", p)
		}
		if v := s.verified(); v.Proofs != 2 {
			t.Errorf("%+v", v)
		}
	})
}

func TestOldVersionUsed_alerts_once_and_sends_nothing(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		done, before := s.followed()
		s.tick()
		time.Sleep(time.Hour)
		s.must(s.simulator.Use(payments, east, "Decrypt", before.ID))
		for range 3 {
			s.nextDay()
		}
		got := s.alerts(compliance.ChangeOldVersion)
		if len(got) != 1 {
			t.Fatalf("%+v", got)
		}
		a := got[0]
		if a.Severity != alert.High || a.Key != paymentsKey || !cmek.Principal(a.Principal).Same(paymentsRole) || a.Resolved || a.Runbook == "" ||
			len(a.Clusters) != 1 || a.Clusters[0].ID != payments || !strings.Contains(a.Summary, before.Short()) || !strings.Contains(a.Impact, done.Version.Short()) {
			t.Errorf("%+v", a)
		}
		if !slices.ContainsFunc(a.RecoverySteps, func(step string) bool { return strings.HasPrefix(step, "keyturn hold "+payments+" --reason ") }) {
			t.Errorf("%q", a.RecoverySteps)
		}
		cmektest.CheckSteps(t, a.RecoverySteps...)
		if p := s.proof(); p.OldUse == nil || p.OldUse.Decrypted != before || p.State != report.OldVersionUsed || p.Record == "" {
			t.Errorf("%+v", p)
		}
		if holds, err := s.Ledger.Holds(t.Context()); err != nil || len(holds) > 0 {
			t.Errorf("compliance wrote holds: %+v, %v", holds, err)
		}
		if n := s.sent("PUT ", ""); n > 0 {
			t.Errorf("%d PUTs", n)
		}
		s.verified()
	})
}

func TestUses_that_are_no_alert(t *testing.T) {
	for _, tt := range []struct {
		name string
		use  func(s schedule, done ledger.Done, before cmek.KeyVersion)
	}{
		{"the current version", func(s schedule, _ ledger.Done, _ cmek.KeyVersion) {
			s.must(s.simulator.Use(payments, east, "Decrypt", ""))
		}},
		{"a version of which nothing is known", func(s schedule, _ ledger.Done, _ cmek.KeyVersion) {
			s.must(s.simulator.Use(payments, east, "Decrypt", strings.Repeat("e", 64)))
		}},
		{"somebody else", func(s schedule, _ ledger.Done, before cmek.KeyVersion) {
			s.must(s.simulator.Use(payments, east, "Decrypt", before.ID))
			s.AWS.Log = changed{s.AWS.Log, func(u *cmek.RecordedUse) { u.By = "arn:aws:iam::111122223333:role/other" }}
		}},
		{"before it was done", func(s schedule, done ledger.Done, before cmek.KeyVersion) {
			s.must(s.simulator.Use(payments, east, "Decrypt", before.ID))
			s.AWS.Log = changed{s.AWS.Log, func(u *cmek.RecordedUse) {
				if u.Operation == "Decrypt" {
					u.At = done.At.Add(10 * time.Minute)
				}
			}}
		}},
		{"another cluster that is not re-encrypted yet", func(s schedule, done ledger.Done, before cmek.KeyVersion) {
			s.otherDone(before, done.At)
			s.must(s.simulator.Use(payments, east, "Decrypt", before.ID))
		}},
		{"another cluster that was re-encrypted after it", func(s schedule, done ledger.Done, before cmek.KeyVersion) {
			s.must(s.simulator.Use(payments, east, "Decrypt", before.ID))
			s.otherDone(done.Version, time.Now())
		}},
		{"a newer version", func(s schedule, _ ledger.Done, _ cmek.KeyVersion) {
			s.must(s.simulator.Rotate(paymentsKey))
			s.must(s.simulator.Use(payments, east, "Decrypt", s.version().ID))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scheduled(t, func(t *testing.T, s schedule) {
				done, before := s.followed()
				s.tick()
				time.Sleep(time.Hour)
				tt.use(s, done, before)
				s.nextDay()
				if got := s.alerts(compliance.ChangeOldVersion); len(got) > 0 || s.requests["LookupEvents"] != 2 {
					t.Errorf("%+v, %d lookups", got, s.requests["LookupEvents"])
				}
			})
		})
	}
}

// otherDone notes a re-encryption of the cluster that acts as the same principal.
func (s schedule) otherDone(version cmek.KeyVersion, at time.Time) {
	s.t.Helper()
	_, err := s.Ledger.UpdateCluster(s.t.Context(), checkout, func(c *ledger.Cluster) error {
		c.SetDone(ledger.Done{Region: east, Key: paymentsKey, Version: version, At: at})
		return nil
	})
	s.must(err)
}

// What was found stands in ledger and archive, wherever the run is interrupted.
func TestProof_survives_an_archive_and_a_topic_that_fail(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		_, before := s.followed()
		s.must(s.simulator.Use(payments, east, "Decrypt", before.ID))
		time.Sleep(time.Hour)
		s.must(s.simulator.Use(payments, east, "Decrypt", before.ID))
		time.Sleep(time.Hour)
		broken := &brokenArchive{Archive: s.archive, prefix: "proofs/"}
		s.Archive = broken
		for range 3 {
			if err := s.Tick(t.Context()); err == nil || !errors.Is(err, errNoArchive) {
				t.Fatal(err)
			}
		}
		broken.prefix = "none"
		s.tick()
		if p := s.proof(); p.State != report.OldVersionUsed || !strings.Contains(p.Record, "-000001-") {
			t.Errorf("%+v", p)
		}
		ids := map[string]bool{}
		for _, a := range s.alerts(compliance.ChangeOldVersion) {
			ids[a.ID] = true
		}
		if len(ids) != 1 {
			t.Errorf("%v", ids)
		}
		s.verified()
	})
}

var errNoArchive = errors.New("the archive is broken")

type brokenArchive struct {
	compliance.Archive
	prefix string
}

func (b *brokenArchive) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if strings.HasPrefix(name, b.prefix) {
		return fmt.Errorf("put %s: %w", name, errNoArchive)
	}
	return b.Archive.PutIfAbsent(ctx, name, data)
}

func TestCheck_on_demand_shows_what_the_last_run_has_found(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		s.followed()
		if got := s.check().Proofs; len(got) != 1 || got[0].State != report.NotYetCorroborated || !strings.Contains(got[0].Because, "no scheduled run") || got[0].Evidence != "" {
			t.Errorf("%+v", got)
		}
		s.tick()
		if got := s.check().Proofs; len(got) != 1 || !reflect.DeepEqual(got[0], s.proof()) {
			t.Errorf("%+v, and the run has %+v", got, s.proof())
		}
	})
}

// What the last run has found cannot be read: the check is made, and says so.
func TestCheck_on_demand_without_the_proofs_of_the_ledger(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		store := cmektest.NewStore()
		s.Ledger = s.ledgerOver(store)
		s.followed()
		s.tick()
		s.Ledger = s.ledgerOver(unreadStore{store, "proof#"})
		got := s.check().Proofs
		if len(got) != 1 || got[0].State != report.NotYetCorroborated || !strings.Contains(got[0].Because, "could not be read") || !strings.Contains(got[0].Because, "no answer") {
			t.Errorf("%+v", got)
		}
	})
}

// A region that was up to date when it was first seen was not re-encrypted by keyturn: there is nothing of it to corroborate.
func TestTimeline_tells_what_keyturn_found_from_what_it_did(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		done, _ := s.followed()
		_, err := s.Ledger.UpdateCluster(t.Context(), checkout, func(c *ledger.Cluster) error {
			c.SetDone(ledger.Done{Region: east, Key: paymentsKey, Version: done.Version, At: done.At, Evidence: "updated after the rotation"})
			return nil
		})
		s.must(err)
		adopted := map[string]string{}
		for _, timeline := range s.check().Timelines {
			for _, r := range timeline.Regions {
				if timeline.Key == paymentsKey && r.Version == done.Version {
					adopted[r.Cluster] = r.Adopted
				}
			}
		}
		if len(adopted) != 2 || adopted[payments] != "" || adopted[checkout] != "updated after the rotation" {
			t.Errorf("%q", adopted)
		}
	})
}

// Thousands of clusters may act as the same principal: the record and the ledger's item stay small.
func TestOtherCauses_are_bounded(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		more := moreClusters{Cloud: s.Cloud, cmek: map[string]cmek.ClusterInfo{}}
		for i := range 40 {
			id := fmt.Sprintf("7c1d9e20-3a4b-4c5d-8e6f-0000000001%02d", i)
			more.clusters = append(more.clusters, cmek.Cluster{ID: id, Name: id, State: cmek.StateCreated, Plan: cmek.PlanAdvanced})
			more.cmek[id] = cmek.ClusterInfo{Status: cmek.Enabled, RegionInfos: []cmek.RegionInfo{{Region: east, Status: cmek.Enabled, KeyInfos: []cmek.KeyInfo{{
				Spec: cmek.KeySpec{Type: cmek.AWSKMS, URI: paymentsKey, AuthPrincipal: paymentsRole}, Status: cmek.Enabled,
			}}}}}
		}
		s.followed()
		s.Cloud = more
		s.tick()
		p := s.proof()
		if n := len(p.OtherCauses); n > 15 || !slices.ContainsFunc(p.OtherCauses, func(c string) bool {
			return strings.Contains(c, "more regions of clusters that act as the same principal")
		}) {
			t.Errorf("%d causes: %q", n, p.OtherCauses)
		}
	})
}

// secretive refuses to show the records of re-encryptions.
type secretive struct{ *cmektest.Archive }

func (a secretive) List(ctx context.Context, prefix string) iter.Seq2[cmek.Stored, error] {
	if !strings.HasPrefix(prefix, ledger.EvidenceFolder) {
		return a.Archive.List(ctx, prefix)
	}
	return func(yield func(cmek.Stored, error) bool) {
		yield(cmek.Stored{}, fmt.Errorf("list: %w", cmek.ErrDenied))
	}
}

// A run goes on without the records, whether the log is read or not.
func TestProof_without_permission_to_read_records(t *testing.T) {
	for _, use := range []string{"Encrypt", "none"} {
		scheduled(t, func(t *testing.T, s schedule) {
			s.must(s.simulator.Set(simulator.CMEKUse, use))
			s.followed()
			s.Archive = secretive{s.archive}
			s.tick()
			if p := s.proof(); p.State != report.NotYetCorroborated || p.Because == "" || p.Evidence != "" {
				t.Errorf("%s: %+v", use, p)
			}
			s.Archive = s.archive
			s.nextDay()
			if p := s.proof(); p.Evidence == "" || (p.State == report.Corroborated) != (use == "Encrypt") {
				t.Errorf("%s, once they can be read: %+v", use, p)
			}
		})
	}
}
