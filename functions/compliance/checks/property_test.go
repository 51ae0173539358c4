package checks

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// asked are the checks with each of their subjects in a new good fleet that are asked at all: excluded are those that have no meaning on
// the subject's cloud.
func asked(t *testing.T, visit func(Check, Need, func() (*scope, []reading))) {
	t.Helper()
	for _, c := range Catalog() {
		for i, s := range goodWorld().subjects(c.Subject) {
			rule, ok := c.On(s.cloud)
			if !ok || rule.NotApplicable != "" {
				continue
			}
			for _, n := range c.NeedsOn(s.cloud) {
				visit(c, n, func() (*scope, []reading) {
					fresh := goodWorld().subjects(c.Subject)[i]
					return fresh, n.of(fresh)
				})
			}
		}
	}
}

func goodWorld() *world {
	facts, declared := goodFleet()
	declared.Thresholds = declared.Thresholds.WithDefaults()
	return newWorld(facts, declared, now)
}

func TestUnreadNeed_is_always_an_ERROR(t *testing.T) {
	const missing = "kms:Everything in the key policy of K"
	for _, loss := range []struct {
		name string
		lose func(Need, *Reading)
	}{
		{"not there", func(_ Need, r *Reading) { *r = Reading{} }},
		{"denied", func(_ Need, r *Reading) { *r = Reading{Source: "x", Unread: "access denied", Grant: missing} }},
		{"denied, with a time", func(_ Need, r *Reading) { r.Unread, r.Grant = "access denied", missing }},
		{"too old", func(n Need, r *Reading) { r.ReadAt = now.Add(-n.MaxAge - time.Second) }},
		{"of the future", func(_ Need, r *Reading) { r.ReadAt = now.Add(11 * time.Minute) }},
	} {
		t.Run(loss.name, func(t *testing.T) {
			count := 0
			asked(t, func(c Check, n Need, again func() (*scope, []reading)) {
				s, readings := again()
				count++
				for i := range readings {
					s, readings := again()
					s.declared.Exceptions = []Exception{{Check: c.ID, Subject: "*", Owner: "a", Approver: "b", Reason: "c", Expires: now.Add(oneDay)}}
					loss.lose(n, readings[i].Reading)
					f := c.ask(s)
					if f.Result != Error || f.Exception != nil || !f.Open() || f.Severity != c.Severity() || !strings.Contains(f.Why, n.Name) {
						t.Errorf("%s without %s about %s: %s, %s", c.ID, n.Name, s.subject.ID, f.Result, f.Why)
					}
					if named := slices.Contains(f.Grants, missing); named != strings.HasPrefix(loss.name, "denied") {
						t.Errorf("%s without %s: grants %v", c.ID, n.Name, f.Grants)
					}
				}
				if len(readings) == 0 && s.subject.Kind != RegionSubject {
					t.Errorf("%s has no reading of %s about %s", c.ID, n.Name, s.subject.ID)
				}
			})
			if count < 200 {
				t.Errorf("only %d needs were lost", count)
			}
		})
	}
}

func TestReadingJustInTime_counts(t *testing.T) {
	asked(t, func(c Check, n Need, again func() (*scope, []reading)) {
		s, readings := again()
		for _, r := range readings {
			r.ReadAt = now.Add(-n.MaxAge)
		}
		if f := c.ask(s); f.Result == Error {
			t.Errorf("%s with %s of %s ago: %s", c.ID, n.Name, n.MaxAge, f.Why)
		}
	})
}

// What a subject's needs are not, its result does not depend on: so no need is missing in the catalog.
func TestCheck_reads_no_fact_beyond_its_needs(t *testing.T) {
	for _, c := range Catalog() {
		for i := range goodWorld().subjects(c.Subject) {
			want := c.ask(goodWorld().subjects(c.Subject)[i])
			w := goodWorld()
			s := w.subjects(c.Subject)[i]
			needed := map[*Reading]bool{}
			for _, n := range c.NeedsOn(s.cloud) {
				for _, r := range n.of(s) {
					needed[r.Reading] = true
				}
			}
			forget(reflect.ValueOf(w.facts).Elem(), needed)
			if got := c.ask(s); !reflect.DeepEqual(got, want) {
				t.Errorf("%s about %s depends on more than its needs: %s, %s", c.ID, s.subject.ID, got.Result, got.Why)
			}
		}
	}
}

// forget makes every fact below v zero that is not needed.
func forget(v reflect.Value, needed map[*Reading]bool) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			forget(v.Index(i), needed)
		}
	case reflect.Struct:
		if strings.HasPrefix(v.Type().Name(), "Fact[") {
			if r := v.FieldByName("Reading").Addr().Interface().(*Reading); !needed[r] {
				v.SetZero()
			}
			return
		}
		for i := range v.NumField() {
			forget(v.Field(i), needed)
		}
	default:
	}
}

func TestWhatClustersName_is_checked_without_facts(t *testing.T) {
	facts, declared := goodFleet()
	facts.Keys, facts.Principals, facts.Accounts = nil, nil, nil
	got := results(Run(facts, declared, now))
	for _, want := range []string{"CMEK-05 " + string(east), "CMEK-07 " + string(past), "CMEK-13 " + string(gkey), "CMEK-12 " + string(east) + " " + string(role),
		"CMEK-16 " + string(role), "CMEK-17 " + string(account), "CMEK-25 AWS/111122223333/us-east-1", "CMEK-26 GCP/acme-keys", "CMEK-04 " + orders + "/us-east-1"} {
		if got[want].Result != Error {
			t.Errorf("%s: %q, want ERROR", want, got[want].Result)
		}
	}
}

// An inventory that lacks a use would make its key look unused.
func TestInventory_that_lacks_what_a_cluster_shows_is_an_ERROR(t *testing.T) {
	for name, change := range map[string]func(*Facts, *Declarations){
		"no use at all":       keyAt(0, func(k *Key) { k.Uses.Value = nil }),
		"only past uses":      keyAt(0, func(k *Key) { k.Uses.Value[0].Status = cmek.Disabled }),
		"only another region": keyAt(0, func(k *Key) { k.Uses.Value = k.Uses.Value[1:] }),
	} {
		facts, declared := goodFleet()
		change(&facts, &declared)
		for _, f := range Run(facts, declared, now) {
			check, _ := Of(f.Check)
			needs := slices.ContainsFunc(check.NeedsOn(AWS), func(n Need) bool { return n.Name == needUses.Name }) && check.AWS.NotApplicable == ""
			if f.Subject.Kind == KeySubject && f.Subject.Key == east && (f.Result == Error) != needs {
				t.Errorf("%s: %s: %s, %s", name, f.Check, f.Result, f.Why)
			}
		}
	}
	facts, declared := goodFleet()
	facts.Principals[0].Clusters.Value = facts.Principals[0].Clusters.Value[1:]
	if f := results(Run(facts, declared, now))["CMEK-16 "+string(role)]; f.Result != Error || !strings.Contains(f.Why, orders) {
		t.Errorf("%s, %s", f.Result, f.Why)
	}
}

func TestUnreadCluster_has_findings(t *testing.T) {
	facts, declared := goodFleet()
	for i := range facts.Clusters {
		facts.Clusters[i] = Cluster{ID: facts.Clusters[i].ID}
	}
	regional := 0
	for _, f := range Run(facts, declared, now) {
		if f.Subject.ClusterID == "" {
			continue
		}
		if f.Result != Error {
			t.Errorf("%s about %s: %s", f.Check, f.Subject.ID, f.Result)
		}
		if f.Subject.Kind == RegionSubject {
			regional++
		}
	}
	if regional == 0 {
		t.Error("regional checks say nothing about a cluster that was not read")
	}
}

func TestRun_gives_the_same_bytes(t *testing.T) {
	facts, declared := goodFleet()
	keyAt(0, state(cmek.KeyDisabled))(&facts, &declared)
	first, err := json.Marshal(Run(facts, declared, now))
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		shuffle(random, facts.Clusters)
		shuffle(random, facts.Keys)
		shuffle(random, facts.Principals)
		shuffle(random, facts.Accounts)
		shuffle(random, facts.Credentials)
		again, err := json.Marshal(Run(facts, declared, now))
		if err != nil || string(again) != string(first) {
			t.Fatalf("another order of the same facts gives other findings (%v)", err)
		}
	}
}

func shuffle[E any](random *rand.Rand, list []E) {
	random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

func TestFindings_are_in_the_order_of_checks_and_subjects(t *testing.T) {
	facts, declared := goodFleet()
	findings := Run(facts, declared, now)
	if !slices.IsSortedFunc(findings, func(a, b Finding) int {
		return strings.Compare(a.Check+"\x00"+a.Subject.ID, b.Check+"\x00"+b.Subject.ID)
	}) {
		t.Error("not sorted")
	}
	seen := map[string]bool{}
	for _, f := range findings {
		if seen[f.Key()] {
			t.Errorf("%s twice", f.Key())
		}
		seen[f.Key()] = true
	}
}

func TestException_accepts_a_failure_until_it_expires(t *testing.T) {
	for _, tt := range []struct {
		name    string
		x       Exception
		open    bool
		notice  string
		failing bool
	}{
		{"in force", Exception{Check: "CMEK-05", Subject: string(east), Expires: now.Add(15 * oneDay)}, false, "", true},
		{"for all", Exception{Check: "CMEK-05", Subject: "*", Expires: now.Add(15 * oneDay)}, false, "", true},
		{"the last fortnight", Exception{Check: "CMEK-05", Subject: string(east), Expires: now.Add(13 * oneDay)}, false, "counts as a failure from then on", true},
		{"expired", Exception{Check: "CMEK-05", Subject: string(east), Expires: now.Add(-time.Second)}, true, "expired", true},
		{"expiring now", Exception{Check: "CMEK-05", Subject: string(east), Expires: now}, true, "expired", true},
		{"of another check", Exception{Check: "CMEK-06", Subject: string(east), Expires: now.Add(15 * oneDay)}, true, "", true},
		{"of another key", Exception{Check: "CMEK-05", Subject: string(west), Expires: now.Add(15 * oneDay)}, true, "", true},
		{"of what passes", Exception{Check: "CMEK-05", Subject: string(east), Expires: now.Add(15 * oneDay)}, false, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			facts, declared := goodFleet()
			if declared.Exceptions = []Exception{tt.x}; tt.failing {
				keyAt(0, state(cmek.KeyDisabled))(&facts, &declared)
			}
			f := results(Run(facts, declared, now))["CMEK-05 "+string(east)]
			if (f.Result == Fail) != tt.failing || f.Open() != tt.open || (f.Exception != nil) != (tt.failing && !tt.open) || !strings.Contains(f.Notice, tt.notice) || tt.notice == "" && f.Notice != "" {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestClusters_that_are_not_to_be_checked(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Facts, *Declarations)
		why    string
	}{
		{"out of scope", declare(func(d *Declarations) { d.OutOfScope = []Exclusion{{payments, "a trial"}} }), "declared out of scope: a trial"},
		{"deleted", clusterAt(2, func(c *Cluster) { c.Info.Value.State = cmek.StateDeleted }), "deleted"},
		{"another plan", clusterAt(2, func(c *Cluster) { c.Info.Value.Plan = "STANDARD" }), "only ADVANCED clusters"},
		{"another cloud", clusterAt(2, func(c *Cluster) { c.Info.Value.CloudProvider = "AZURE" }), "no checks for AZURE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			facts, declared := goodFleet()
			tt.change(&facts, &declared)
			for _, f := range Run(facts, declared, now) {
				if f.Subject.ClusterID == payments && (f.Result != NotApplicable || !strings.Contains(f.Why, tt.why)) {
					t.Errorf("%s about %s: %s, %s", f.Check, f.Subject.ID, f.Result, f.Why)
				}
			}
		})
	}
}

// A word that no reference knows leaves nothing out: only what is known to be something else has no meaning.
func TestUnknownWord_leaves_nothing_out(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Facts, *Declarations)
		ours   func(Subject) bool
	}{
		{"the provider of a cluster", clusterAt(2, func(c *Cluster) { c.Info.Value.CloudProvider = "aws" }), func(s Subject) bool { return s.ClusterID == payments }},
		{"a key", clusterAt(1, func(c *Cluster) { c.CMEK.Value.RegionInfos[0].KeyInfos[0].Spec.URI = "kms://key" }), func(s Subject) bool { return s.Key == "kms://key" }},
		{"a principal", clusterAt(1, func(c *Cluster) { c.CMEK.Value.RegionInfos[0].KeyInfos[0].Spec.AuthPrincipal = "nobody" }), func(s Subject) bool {
			return s.Kind == PrincipalSubject && s.Principal == "nobody"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			facts, declared := goodFleet()
			tt.change(&facts, &declared)
			count := 0
			for _, f := range Run(facts, declared, now) {
				if !tt.ours(f.Subject) {
					continue
				}
				if count++; f.Result != Error {
					t.Errorf("%s about %s: %s, %s", f.Check, f.Subject.ID, f.Result, f.Why)
				}
			}
			if count == 0 {
				t.Error("no findings")
			}
		})
	}
	t.Run("a tenant of Azure is known", func(t *testing.T) {
		for p, want := range map[cmek.Principal]Cloud{"0a5d1c2e-7F43-4b1a-9c68-2d9e41b7f001": azure, "0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f00": "", "0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f00g": "", "": ""} {
			if got := cloudOfPrincipal(p); got != want {
				t.Errorf("%q is of %q, want %q", p, got, want)
			}
		}
	})
	t.Run("the plan of a cluster", func(t *testing.T) {
		facts, declared := goodFleet()
		facts.Clusters[2].Info.Value.Plan = "ADVANCED_PLUS"
		for _, f := range Run(facts, declared, now) {
			if f.Subject.ClusterID == payments && f.Result == NotApplicable && strings.Contains(f.Why, "only ADVANCED") {
				t.Errorf("%s: %s", f.Check, f.Why)
			}
		}
	})
}

func TestWithoutAuditCredential_nothing_that_takes_one_is_needed(t *testing.T) {
	facts, declared := goodFleet()
	declared.AuditCredential = false
	for i := range facts.Clusters {
		facts.Clusters[i].Audit = Fact[[]AuditEntry]{}
	}
	for i := range facts.Credentials {
		facts.Credentials[i].Roles = Fact[[]string]{}
	}
	for _, f := range Run(facts, declared, now) {
		switch {
		case f.Check == "CMEK-29" && f.Result != NotApplicable, f.Check == "CMEK-30" && f.Result != Pass, f.Result == Error:
			t.Errorf("%s about %s: %s, %s", f.Check, f.Subject.ID, f.Result, f.Why)
		}
	}
}

func TestCatalog_is_complete(t *testing.T) {
	ids := map[string]bool{}
	for _, c := range Catalog() {
		if ids[c.ID] {
			t.Errorf("%s twice", c.ID)
		}
		ids[c.ID] = true
		if c.Title == "" || c.Clause == "" || !strings.HasSuffix(c.Clause, ".") || c.Subject == "" || len(c.Severities) == 0 || c.Citations == nil || c.Mirrors == nil {
			t.Errorf("%s has empty fields", c.ID)
		}
		for i, s := range c.Severities {
			if !s.AtLeast(alert.Low) || i > 0 && !c.Severities[i-1].Above(s) {
				t.Errorf("%s: severities %v", c.ID, c.Severities)
			}
		}
		for _, cite := range c.Citations {
			if cite.Framework == "" || cite.Version == "" || cite.Clause == "" || cite.By == "" {
				t.Errorf("%s: citation %+v", c.ID, cite)
			}
		}
		for _, cloud := range []Cloud{AWS, GCP} {
			rule, _ := c.On(cloud)
			if says := rule.NotApplicable != ""; says == (rule.judge != nil) || says == (rule.fix != nil) {
				t.Errorf("%s on %s has a reason and a rule, or neither", c.ID, cloud)
			}
			if rule.judge != nil && len(c.NeedsOn(cloud)) == 0 {
				t.Errorf("%s on %s needs nothing", c.ID, cloud)
			}
			for _, n := range c.NeedsOn(cloud) {
				if n.Name == "" || n.From == "" || n.MaxAge <= 0 || n.of == nil {
					t.Errorf("%s needs %+v", c.ID, n)
				}
			}
		}
	}
	// 19 is Security Hub's own check, and 28 is in 05 and 12.
	for i := 1; i <= 32; i++ {
		id := "CMEK-" + string(rune('0'+i/10)) + string(rune('0'+i%10))
		if ids[id] == (i == 19 || i == 28) {
			t.Errorf("%s is in the catalog: %t", id, ids[id])
		}
	}
}
