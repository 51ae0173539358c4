package compliance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
	"github.com/keyturn/keyturn/internal/simulator"
)

const (
	onGoogleToo = "7c1d9e20-3a4b-4c5d-8e6f-0000000000a2"
	eastGoogle  = "us-east1"
	listsLog    = "POST /v2/entries:list"
	asksLog     = "POST /v3/projects/acme:testIamPermissions"
)

// googleSchedule is what the scheduled runs over a fleet on Google Cloud leave. Its two clusters share a key, and act as the same principal.
type googleSchedule struct{ schedule }

// scheduledOnGoogle runs a test over scheduled runs, the first of which is due. Data Access logs are on by the policy of the folder.
func scheduledOnGoogle(t *testing.T, test func(t *testing.T, s googleSchedule)) {
	t.Helper()
	scheduledOnKeys(t, googleKey, test)
}

// scheduledOnKeys is scheduledOnGoogle where the other cluster has the key.
func scheduledOnKeys(t *testing.T, otherKey cmek.KeyURI, test func(t *testing.T, s googleSchedule)) {
	t.Helper()
	seed := mixedFleet()
	other := seed.Clusters[len(seed.Clusters)-1]
	other.ID, other.Name, other.Regions = onGoogleToo, "on-google-too", slices.Clone(other.Regions)
	if other.Regions[0].Key = otherKey; otherKey != googleKey {
		seed.Keys = append(seed.Keys, simulator.KeySeed{URI: otherKey, AgeDays: 300, Rotations: []simulator.RotationSeed{{AgeDays: 30}, {AgeDays: 20}}})
	}
	seed.Clusters = append(seed.Clusters, other)
	withinSeed(t, seed, func(t *testing.T, w *world) {
		s := googleSchedule{schedule{w, &cmektest.Archive{}, &cmektest.Notifier{}}}
		w.Archive, w.Notifier, w.Log, w.Holder = s.archive, s.notifier, slog.New(slog.DiscardHandler), "test"
		w.Settings, w.KeyTypes = compliance.Settings{Part: 2, Parallel: 1, PageBytes: 1e6}, []cmek.KeyType{cmek.GCPCloudKMS}
		s.audits("folders/77", `{"service":"cloudkms.googleapis.com","auditLogConfigs":[{"logType":"DATA_READ"}]}`)
		test(t, s)
	})
}

// audits says which Data Access logs a project or folder switches on.
func (s googleSchedule) audits(node, configs string) {
	s.change("POST v3/"+node+":setIamPolicy", `{"policy":{"auditConfigs":[`+configs+`]},"updateMask":"auditConfigs"}`)
}

func (s googleSchedule) followed() (done ledger.Done, before cmek.KeyVersion) {
	s.t.Helper()
	return s.follow(s.Google.Keys.(cmek.KMS), onGoogle, onGoogleToo, cmek.RegionSpec{Region: eastGoogle, KeySpec: cmek.KeySpec{URI: googleKey}}, func() {
		info, err := s.Cloud.CMEK(s.t.Context(), onGoogle)
		s.must(err)
		_, err = s.Ledger.UpdateCluster(s.t.Context(), onGoogle, func(c *ledger.Cluster) error {
			c.Cluster, c.CMEK, c.SeenAt, c.NextLook = cmek.Cluster{ID: onGoogle, Name: "on-google", AccountID: "crl-prod-abc"}, info, time.Now(), time.Now()
			return nil
		})
		s.must(err)
	})
}

func (s googleSchedule) proof() report.Proof {
	s.t.Helper()
	return s.proofOf(onGoogle, eastGoogle)
}

// uses lets the cluster decrypt what was encrypted under the version, "" for the one that it uses, in an hour.
func (s googleSchedule) uses(version string) {
	s.t.Helper()
	time.Sleep(time.Hour)
	s.must(s.simulator.Use(onGoogle, eastGoogle, "Decrypt", version))
	time.Sleep(time.Hour)
}

func TestProof_on_Google_is_a_record_of_its_own_chain(t *testing.T) {
	for _, named := range []string{"label", "response", "resource-name"} {
		t.Run(named, func(t *testing.T) {
			scheduledOnGoogle(t, func(t *testing.T, s googleSchedule) {
				s.must(s.simulator.Set(simulator.GoogleLoggedVersion, named))
				done, _ := s.followed()
				s.tick()
				p := s.proof()
				if p.State != report.Corroborated || p.Record == "" || p.Because != "" || p.Version != done.Version || p.OldUse != nil {
					t.Fatalf("%+v", p)
				}
				data, ok := s.archive.Data(p.Record)
				if !ok || !strings.HasPrefix(p.Record, "proofs/"+onGoogle+"/") {
					t.Fatalf("%s, archived %v", p.Record, ok)
				}
				var record struct {
					Schema, Finding, Source string
					Number                  int
					Corroborates            struct{ Name, SHA256 string }
					Use                     cmek.RecordedUse
					Other                   []string `json:"other_causes"`
				}
				s.must(json.Unmarshal(data, &record))
				if record.Schema != "keyturn.corroboration/v1" || record.Finding != "CORROBORATED" || record.Number != 1 || record.Source != "Data Access logs of Cloud KMS" ||
					!strings.HasPrefix(record.Corroborates.Name, "evidence/"+onGoogle+"/") || record.Corroborates.SHA256 == "" ||
					record.Use.Operation != "Encrypt" || record.Use.Encrypted != done.Version || record.Use.By != googleAccount || record.Use.Event == "" || record.Use.At.Before(done.Sent) {
					t.Errorf("%s", data)
				}
				if !strings.Contains(record.Other[0], "full backup") || !slices.Contains(record.Other, "cluster on-google-too in us-east1, which acts as the same principal with the key") ||
					!slices.Contains(record.Other, "anybody else who can act as "+googleAccount) {
					t.Errorf("%q", record.Other)
				}
				if m, _ := s.manifest(1); !m.Complete || len(m.Denied) > 0 || !slices.ContainsFunc(m.Chains, func(h report.Head) bool {
					return h.Cluster == onGoogle && h.Of == report.OfProofs && h.Count == 1
				}) {
					t.Errorf("%+v", m)
				}
				if v := s.verified(); v.Proofs != 1 || v.Records != 1 {
					t.Errorf("%+v", v)
				}
				if got := s.alerts(compliance.ChangeOldVersion); len(got) > 0 {
					t.Errorf("%+v", got)
				}
				if n := s.requests[listsLog]; n != 1 || s.requests[asksLog] != 0 || s.sent("PUT ", "") > 0 {
					t.Errorf("%v", s.requests)
				}
			})
		})
	}
}

// What a node decrypts under the new version was encrypted under it.
func TestProof_on_Google_is_a_Decrypt_too(t *testing.T) {
	scheduledOnGoogle(t, func(t *testing.T, s googleSchedule) {
		s.must(s.simulator.Set(simulator.CMEKUse, "none"))
		s.followed()
		s.uses("")
		s.tick()
		if p := s.proof(); p.State != report.Corroborated {
			t.Errorf("%+v", p)
		}
		s.verified()
	})
}

// What is not found is neither a failure nor a success, and never without its reason.
func TestProof_on_Google_that_is_not_found_says_why(t *testing.T) {
	const off = `{"service":"cloudkms.googleapis.com","auditLogConfigs":[{"logType":"ADMIN_READ"}]}`
	never := func(s googleSchedule) { s.must(s.simulator.Set(simulator.CMEKUse, "none")) }
	log := func(change func(*cmek.RecordedUse)) func(googleSchedule) {
		return func(s googleSchedule) { s.Google.Log = changed{s.Google.Log, change} }
	}
	for _, tt := range []struct {
		name    string
		arrange func(s googleSchedule)
		because string
		lookups int
	}{
		{"never used", never, "no use of the key under primary:", 1},
		{"used before only", func(s googleSchedule) { s.uses(""); never(s) }, "no use of the key under primary:", 1},
		{"used before, by a second", log(func(u *cmek.RecordedUse) { u.At = u.At.Add(-time.Second) }), "no use of the key under primary:", 1},
		{"Data Access logs are off", func(s googleSchedule) { s.audits("folders/77", off) }, "Data Access logs of Cloud KMS (DATA_READ) are off in project acme", 1},
		{"Data Access logs leave the principal out", func(s googleSchedule) {
			s.audits("projects/acme", `{"service":"allServices","auditLogConfigs":[{"logType":"DATA_READ","exemptedMembers":["user:jo@example.com","serviceAccount:`+googleAccount+`"]}]}`)
		}, "in project acme leave out serviceAccount:" + googleAccount, 1},
		{"Data Access logs leave a group out", func(s googleSchedule) {
			never(s)
			s.audits("organizations/9", `{"service":"allServices","auditLogConfigs":[{"logType":"DATA_READ","exemptedMembers":["group:all@example.com"]}]}`)
		}, "in project acme leave out group:all@example.com", 1},
		{"Data Access logs leave many out", func(s googleSchedule) {
			never(s)
			s.audits("organizations/9", `{"service":"allServices","auditLogConfigs":[{"logType":"DATA_READ","exemptedMembers":["group:1@a.com","group:2@a.com","group:3@a.com","group:4@a.com","group:5@a.com","group:6@a.com","group:7@a.com"]}]}`)
		}, "group:5@a.com, and 2 others", 1},
		{"Data Access logs leave somebody else out", func(s googleSchedule) {
			never(s)
			s.audits("organizations/9", `{"service":"allServices","auditLogConfigs":[{"logType":"DATA_READ","exemptedMembers":["user:jo@example.com","serviceAccount:x@acme.iam.gserviceaccount.com"]}]}`)
		}, "no use of the key under primary:", 1},
		{"whether they are on is not known", func(s googleSchedule) {
			never(s)
			s.refused["POST /v3/folders/77:getIamPolicy"] = true
		}, "whether Data Access logs of Cloud KMS are on in project acme could not be read: ", 1},
		{"the entries go elsewhere", func(s googleSchedule) { s.must(s.simulator.Set(simulator.GoogleLogging, "never")) }, "no use of the key under primary:", 1},
		{"the entry comes late", func(s googleSchedule) { s.must(s.simulator.Set(simulator.GoogleLogging, "12h")) }, "no use of the key under primary:", 1},
		{"the entry names no version", func(s googleSchedule) { s.must(s.simulator.Set(simulator.GoogleLoggedVersion, "none")) }, "the 1 records of uses by " + googleAccount + " name no key version", 1},
		{"somebody else", log(func(u *cmek.RecordedUse) { u.By = "cmek-pay@acme2.iam.gserviceaccount.com" }), "no use of the key under primary:", 1},
		{"nobody", log(func(u *cmek.RecordedUse) { u.By = "" }), "no use of the key under primary:", 1},
		{"the old version", log(func(u *cmek.RecordedUse) { u.Encrypted = numbered("2") }), "no use of the key under primary:", 1},
		{"a newer version", log(func(u *cmek.RecordedUse) { u.Encrypted = numbered("4") }), "no use of the key under primary:", 1},
		{"refused", func(s googleSchedule) { s.refused[listsLog] = true }, "missing is logging.privateLogEntries.list on project acme", 1},
		{"the entries are left out", func(s googleSchedule) {
			s.must(s.simulator.DenyGoogle("projects/acme", true, "logging.privateLogEntries.list"))
		}, "missing is logging.privateLogEntries.list on project acme", 1},
		{"whether they are left out is not known", func(s googleSchedule) { never(s); s.broken[asksLog] = true }, "the log could not be read: ", 1},
		{"something else answers", func(s googleSchedule) { s.broken[listsLog] = true }, "the log could not be read: ", 1},
		{"no log is read", func(s googleSchedule) { s.Google.Log = nil }, "this run does not read Data Access logs", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scheduledOnGoogle(t, func(t *testing.T, s googleSchedule) {
				tt.arrange(s)
				s.followed()
				s.tick()
				if p := s.proof(); p.State != report.NotYetCorroborated || !strings.Contains(p.Because, tt.because) || p.Record != "" {
					t.Errorf("%+v", p)
				}
				if n := s.requests[listsLog]; n != tt.lookups {
					t.Errorf("%d lookups", n)
				}
				if slices.ContainsFunc(s.archive.Names(), func(n string) bool { return strings.HasPrefix(n, "proofs/") }) {
					t.Error(s.archive.Names())
				}
				for _, f := range s.findings(1) {
					if f.Subject.ClusterID == onGoogle && f.Check == "CMEK-04" && f.Result != "PASS" {
						t.Errorf("%+v", f)
					}
				}
				s.verified()
			})
		})
	}
}

// A call that was refused shows nothing of what a store key is encrypted under.
func TestProof_on_Google_is_no_call_that_failed(t *testing.T) {
	scheduledOnGoogle(t, func(t *testing.T, s googleSchedule) {
		s.must(s.simulator.Set(simulator.CMEKUse, "none"))
		s.followed()
		s.change("POST v1/"+googleKey+":setIamPolicy", `{"policy":{"bindings":[]}}`)
		s.uses("")
		s.tick()
		if p := s.proof(); p.State != report.NotYetCorroborated || !strings.Contains(p.Because, "no use of the key under primary:") || s.requests[asksLog] > 0 {
			t.Errorf("%+v, %v", p, s.requests)
		}
	})
}

func numbered(id string) cmek.KeyVersion { return cmek.KeyVersion{Scheme: cmek.Primary, ID: id} }

// A run that comes when the log does not go back to the request any more says so.
func TestProof_on_Google_after_the_log_forgot(t *testing.T) {
	for days, because := range map[int]string{29: "no use of the key under primary:", 31: "it is kept for 30 days unless its bucket says otherwise", 91: "its time is over"} {
		scheduledOnGoogle(t, func(t *testing.T, s googleSchedule) {
			s.must(s.simulator.Set(simulator.GoogleLogRetention, "240h"))
			s.followed()
			time.Sleep(time.Duration(days) * 24 * time.Hour)
			s.tick()
			if p := s.proof(); p.State != report.NotYetCorroborated || !strings.Contains(p.Because, because) {
				t.Errorf("after %d days: %+v", days, p)
			}
		})
	}
}

func TestProof_on_Google_is_found_when_its_entry_comes(t *testing.T) {
	scheduledOnGoogle(t, func(t *testing.T, s googleSchedule) {
		s.must(s.simulator.Set(simulator.GoogleLogging, "12h"))
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

// Cloud KMS does not say when a key was used last: a key that was rotated lately is looked up once a day for a week, and no longer once it is
// proved.
func TestProof_on_Google_looks_for_a_week_only(t *testing.T) {
	scheduledOnGoogle(t, func(t *testing.T, s googleSchedule) {
		s.followed()
		for day := range 12 {
			if s.tick(); s.requests[listsLog] != min(day+1, 7) {
				t.Errorf("day %d: %d lookups", day, s.requests[listsLog])
			}
			time.Sleep(24 * time.Hour)
		}
		if p := s.proof(); p.State != report.Corroborated {
			t.Errorf("%+v", p)
		}
		s.verified()
	})
}

// Clusters that share a key share its lookup, unless it does not go back far enough.
func TestProof_on_Google_looks_a_shared_key_up_once(t *testing.T) {
	for after, lookups := range map[time.Duration]int{time.Minute: 1, -time.Minute: 2} {
		scheduledOnGoogle(t, func(t *testing.T, s googleSchedule) {
			done, _ := s.followed()
			done.At, done.Sent = done.At.Add(after), done.Sent.Add(after)
			proofs := s.proofsWith(done)
			if n := s.requests[listsLog]; n != lookups || proofs[0].State != report.Corroborated || (proofs[1].State == report.Corroborated) != (after < 0) {
				t.Errorf("%s: %d lookups, %+v", after, n, proofs)
			}
		})
	}
}

// proofsWith are those that a run leaves where the other cluster was re-encrypted, too.
func (s googleSchedule) proofsWith(done ledger.Done) []report.Proof {
	s.t.Helper()
	_, err := s.Ledger.UpdateCluster(s.t.Context(), onGoogleToo, func(c *ledger.Cluster) error {
		c.Cluster = cmek.Cluster{ID: onGoogleToo, Name: "on-google-too"}
		c.SetDone(done)
		return nil
	})
	s.must(err)
	record := fmt.Appendf(nil, `{"region":%q,"key":%q,"key_version":%q,"done_at":%q}`, eastGoogle, done.Key, done.Version, done.At.Format(time.RFC3339Nano))
	s.must(s.archive.PutIfAbsent(s.t.Context(), "evidence/"+onGoogleToo+"/20000101T000000Z-000001-"+eastGoogle+".json", record))
	s.tick()
	loaded, err := report.Load(s.t.Context(), s.archive, 1)
	s.must(err)
	made, err := loaded.Report(s.t.Context())
	s.must(err)
	if len(made.Proofs) != 2 {
		s.t.Fatalf("%+v", made.Proofs)
	}
	return made.Proofs
}

// A log that is refused is asked in other projects, and not again in its own. One that fails is not asked again by the part of the run.
func TestProof_on_Google_does_not_ask_a_log_that_fails_again(t *testing.T) {
	const elsewhere = "projects/acme-two/locations/us-east1/keyRings/crdb/cryptoKeys/pay"
	for _, tt := range []struct {
		name    string
		key     cmek.KeyURI
		arrange func(s googleSchedule)
		lookups int
	}{
		{"refused, another key of the project", googleKey + "-2", func(s googleSchedule) { s.refused[listsLog] = true }, 1},
		{"refused, a key of another project", elsewhere, func(s googleSchedule) { s.refused[listsLog] = true }, 2},
		{"something else answers, another key of the project", googleKey + "-2", func(s googleSchedule) { s.broken[listsLog] = true }, 1},
		{"something else answers, a key of another project", elsewhere, func(s googleSchedule) { s.broken[listsLog] = true }, 1},
		{"in order, another key of the project", googleKey + "-2", func(googleSchedule) {}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scheduledOnKeys(t, tt.key, func(t *testing.T, s googleSchedule) {
				done, _ := s.followed()
				done.Key = tt.key
				tt.arrange(s)
				proofs := s.proofsWith(done)
				if n := s.requests[listsLog]; n != tt.lookups || proofs[1].State != report.NotYetCorroborated || proofs[1].Because == "" {
					t.Errorf("%d lookups, %+v", n, proofs)
				}
				for _, p := range proofs {
					if strings.HasPrefix(tt.name, "in order") != !strings.Contains(p.Because, "the log could not be read: ") {
						t.Errorf("%+v", p)
					}
				}
			})
		})
	}
}

// That logs were switched off does not explain away what they have.
func TestProof_on_Google_with_another_use_before_logs_were_off(t *testing.T) {
	scheduledOnGoogle(t, func(t *testing.T, s googleSchedule) {
		s.Google.Log = changed{s.Google.Log, func(u *cmek.RecordedUse) { u.Encrypted = numbered("2") }}
		s.followed()
		s.audits("folders/77", `{"service":"cloudkms.googleapis.com","auditLogConfigs":[{"logType":"ADMIN_READ"}]}`)
		s.tick()
		if p := s.proof(); p.State != report.NotYetCorroborated || !strings.Contains(p.Because, "no use of the key under primary:") {
			t.Errorf("%+v", p)
		}
	})
}

func TestProof_on_Google_of_a_second_rotation_is_the_second_of_the_chain(t *testing.T) {
	scheduledOnGoogle(t, func(t *testing.T, s googleSchedule) {
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

func TestOldVersionUsed_on_Google_alerts_once_and_sends_nothing(t *testing.T) {
	scheduledOnGoogle(t, func(t *testing.T, s googleSchedule) {
		done, before := s.followed()
		s.tick()
		s.uses(before.ID)
		for range 3 {
			s.nextDay()
		}
		got := s.alerts(compliance.ChangeOldVersion)
		if len(got) != 1 {
			t.Fatalf("%+v", got)
		}
		a := got[0]
		if a.Severity != alert.High || a.Key != googleKey || a.Principal != googleAccount || a.Resolved || a.Runbook == "" ||
			len(a.Clusters) != 1 || a.Clusters[0].ID != onGoogle || !strings.Contains(a.Summary, before.Short()) || !strings.Contains(a.Impact, done.Version.Short()) {
			t.Errorf("%+v", a)
		}
		p := s.proof()
		if p.OldUse == nil {
			t.Fatalf("%+v", p)
		}
		// Entries of more than a day ago are read only with a time in the filter (gcloud logging read, --freshness).
		entry := fmt.Sprintf(`gcloud logging read 'insertId="%s" AND timestamp>="%s"' --project acme`, p.OldUse.Event, p.OldUse.At.Truncate(time.Second).Format(time.RFC3339))
		for _, want := range []string{"keyturn hold " + onGoogle + " --reason ", entry} {
			if !slices.ContainsFunc(a.RecoverySteps, func(step string) bool { return strings.HasPrefix(step, want) }) {
				t.Errorf("%s is not among %q", want, a.RecoverySteps)
			}
		}
		cmektest.CheckSteps(t, a.RecoverySteps...)
		if p.OldUse.Decrypted != before || p.State != report.OldVersionUsed {
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

func TestUses_on_Google_that_are_no_alert(t *testing.T) {
	for _, tt := range []struct {
		name string
		use  func(s googleSchedule, done ledger.Done, before cmek.KeyVersion)
	}{
		{"the current version", func(s googleSchedule, _ ledger.Done, _ cmek.KeyVersion) { s.uses("") }},
		{"no version", func(s googleSchedule, _ ledger.Done, before cmek.KeyVersion) {
			s.must(s.simulator.Set(simulator.GoogleLoggedVersion, "none"))
			s.uses(before.ID)
		}},
		{"somebody else", func(s googleSchedule, _ ledger.Done, before cmek.KeyVersion) {
			s.uses(before.ID)
			s.Google.Log = changed{s.Google.Log, func(u *cmek.RecordedUse) { u.By = "jo@example.com" }}
		}},
		{"before it was done", func(s googleSchedule, done ledger.Done, before cmek.KeyVersion) {
			s.uses(before.ID)
			s.Google.Log = changed{s.Google.Log, func(u *cmek.RecordedUse) {
				if u.Operation == "Decrypt" {
					u.At = done.At.Add(10 * time.Minute)
				}
			}}
		}},
		{"refused", func(s googleSchedule, _ ledger.Done, before cmek.KeyVersion) {
			s.change("PATCH v1/"+googleKey+"/cryptoKeyVersions/"+before.ID+"?updateMask=state", `{"state":"DISABLED"}`)
			time.Sleep(time.Hour)
			s.uses(before.ID)
		}},
		{"another cluster that is not re-encrypted yet", func(s googleSchedule, done ledger.Done, before cmek.KeyVersion) {
			s.otherDone(before, done.At)
			s.uses(before.ID)
		}},
		{"another cluster that was re-encrypted after it", func(s googleSchedule, done ledger.Done, before cmek.KeyVersion) {
			s.uses(before.ID)
			s.otherDone(done.Version, time.Now())
		}},
		{"a newer version", func(s googleSchedule, _ ledger.Done, _ cmek.KeyVersion) {
			s.must(s.simulator.Rotate(googleKey))
			time.Sleep(time.Hour)
			s.uses("4")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scheduledOnGoogle(t, func(t *testing.T, s googleSchedule) {
				done, before := s.followed()
				s.tick()
				tt.use(s, done, before)
				s.nextDay()
				if got := s.alerts(compliance.ChangeOldVersion); len(got) > 0 || s.requests[listsLog] != 2 {
					t.Errorf("%+v, %d lookups", got, s.requests[listsLog])
				}
			})
		})
	}
}

// otherDone notes a re-encryption of the cluster that acts as the same principal.
func (s googleSchedule) otherDone(version cmek.KeyVersion, at time.Time) {
	s.t.Helper()
	_, err := s.Ledger.UpdateCluster(s.t.Context(), onGoogleToo, func(c *ledger.Cluster) error {
		c.SetDone(ledger.Done{Region: eastGoogle, Key: googleKey, Version: version, At: at})
		return nil
	})
	s.must(err)
}

// What was found stands in ledger and archive, wherever the run is interrupted.
func TestProof_on_Google_survives_an_archive_that_fails(t *testing.T) {
	scheduledOnGoogle(t, func(t *testing.T, s googleSchedule) {
		s.followed()
		broken := &brokenArchive{Archive: s.archive, prefix: "proofs/"}
		s.Archive = broken
		for range 3 {
			if err := s.Tick(t.Context()); err == nil {
				t.Fatal("the run ended")
			}
		}
		broken.prefix = "none"
		s.tick()
		if p := s.proof(); p.State != report.Corroborated || !strings.Contains(p.Record, "-000001-") {
			t.Errorf("%+v", p)
		}
		s.verified()
	})
}

// A run that may not read rotation's records goes on, and says which object it was refused.
func TestProof_on_Google_without_the_record_says_so(t *testing.T) {
	scheduledOnGoogle(t, func(t *testing.T, s googleSchedule) {
		s.followed()
		s.Archive = closedArchive{s.archive}
		s.tick()
		s.Archive = s.archive
		if p := s.proof(); p.State != report.NotYetCorroborated || !strings.Contains(p.Because, "could not be read: read \"evidence/"+onGoogle) {
			t.Errorf("%+v", p)
		}
		s.nextDay()
		if p := s.proof(); p.State != report.Corroborated {
			t.Errorf("%+v", p)
		}
	})
}

// closedArchive lets nobody read records of rotation.
type closedArchive struct{ compliance.Archive }

func (c closedArchive) Read(ctx context.Context, name, version string) ([]byte, error) {
	if strings.HasPrefix(name, ledger.EvidenceFolder) {
		return nil, fmt.Errorf("read %q of the archive: %w", name, cmek.ErrDenied)
	}
	return c.Archive.Read(ctx, name, version)
}
