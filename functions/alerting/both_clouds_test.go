package alerting

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// What alerting does is the same on each cloud.

func TestBoth_recoveryAndTwoGoodReadsResolve(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.disable(w, "e-1"))
		w.ticks(30 * time.Minute)
		w.want("half an hour after it was disabled", s.disabledAlert())
		w.happens(s.enable(w, "e-2"))
		w.ticks(10 * time.Minute)
		w.want("9 minutes after the first good read", s.disabledAlert())
		w.ticks(2 * time.Minute)
		w.want("10 minutes after the first good read", s.disabledAlert(), "[RESOLVED]")
		if first, end := w.told.Alerts()[0], w.last(); end.DedupKey != first.DedupKey {
			t.Errorf("the end has the dedup key %s, want %s", end.DedupKey, first.DedupKey)
		}
		w.happens(s.enable(w, "e-2"))
		w.ticks(3 * time.Hour)
		w.want("three hours later", s.disabledAlert(), "[RESOLVED]")
	})
}

func TestBoth_hourOfGoodReadsResolves(t *testing.T) {
	onBothSides(t, func(_ *testing.T, w *world, s side) {
		w.happens(s.disable(w, "e-1"))
		s.enable(w, "")
		w.ticks(time.Hour)
		w.want("before an hour of good reads is over", s.disabledAlert())
		w.ticks(10 * time.Minute)
		w.want("after an hour of good reads", s.disabledAlert(), "[RESOLVED]")
	})
}

func TestBoth_badReadStartsTheWaitAnew(t *testing.T) {
	onBothSides(t, func(_ *testing.T, w *world, s side) {
		w.happens(s.disable(w, "e-1"))
		time.Sleep(time.Minute)
		w.happens(s.enable(w, "e-2"))
		w.ticks(4 * time.Minute)
		s.disable(w, "")
		w.ticks(4 * time.Minute)
		s.enable(w, "")
		w.ticks(11 * time.Minute)
		w.want("11 minutes after a bad read", s.disabledAlert())
		w.ticks(6 * time.Minute)
		w.want("17 minutes after a bad read", s.disabledAlert(), "[RESOLVED]")
	})
}

func TestBoth_failedReadIsNeitherGoodNorBad(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.disable(w, "e-1"))
		time.Sleep(time.Minute)
		w.happens(s.enable(w, "e-2"))
		w.ticks(time.Minute)
		w.kms.outage = down
		for range 20 {
			time.Sleep(time.Minute)
			if err := w.Tick(t.Context()); err != nil && !errors.Is(err, errDown) {
				t.Fatalf("tick: %v", err)
			}
		}
		w.want("while the KMS is down", s.disabledAlert())
		w.kms.outage = up
		w.ticks(6 * time.Minute)
		w.want("after a second good read", s.disabledAlert(), "[RESOLVED]")
	})
}

func TestBoth_secondTimeAlertsAgain(t *testing.T) {
	for name, recover := range map[string]func(*world, side){
		"resolved":                     func(w *world, s side) { w.happens(s.enable(w, "e-2")); w.ticks(30 * time.Minute) },
		"recovered, not resolved yet":  func(w *world, s side) { w.happens(s.enable(w, "e-2")); time.Sleep(time.Second) },
		"healthy in one read":          func(w *world, s side) { s.enable(w, ""); w.ticks(6 * time.Minute) },
		"unseen, resolved by the hour": func(w *world, s side) { s.enable(w, ""); w.ticks(2 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			onBothSides(t, func(t *testing.T, w *world, s side) {
				w.happens(s.disable(w, "e-1"))
				time.Sleep(time.Minute)
				recover(w, s)
				w.happens(s.disable(w, "e-3"))
				if got := w.last(); !strings.HasSuffix(got.ID, "@e-3") {
					t.Errorf("after the second time the last alert is %s, %s", got.ID, got.Headline())
				}
				w.ticks(2 * time.Hour)
				if got := w.open(); len(got) != 1 {
					t.Errorf("open incidents are %v, want the second one", got)
				}
			})
		})
	}
}

func TestBoth_repeatsAndLateEvents(t *testing.T) {
	onBothSides(t, func(_ *testing.T, w *world, s side) {
		early := s.enable(w, "e-0")
		time.Sleep(10 * time.Minute)
		e := s.disable(w, "e-1")
		w.happens(e)
		w.happens(e)
		w.happens(early)
		w.ticks(5 * time.Minute)
		late := s.disable(w, "e-2")
		time.Sleep(time.Second)
		w.happens(s.enable(w, "e-3"))
		w.happens(late)
		w.want("after events twice and out of order", s.disabledAlert())
		w.ticks(11 * time.Minute)
		w.want("after two good reads", s.disabledAlert(), "[RESOLVED]")
	})
}

func TestBoth_crashBetweenPublishAndRecord(t *testing.T) {
	for name, make := range map[string]func(side, *world) cmek.Event{
		"state":  func(s side, w *world) cmek.Event { return s.disable(w, "e-1") },
		"access": func(s side, w *world) cmek.Event { return s.lost(w, "e-1") },
	} {
		t.Run(name, func(t *testing.T) {
			onBothSides(t, func(t *testing.T, w *world, s side) {
				w.store.readOnly = true // as if the process had died before it wrote
				e := make(s, w)
				if err := w.Event(t.Context(), e); !errors.Is(err, errDown) {
					t.Errorf("error is %v, want the ledger's: the event must come again", err)
				}
				w.store.readOnly = false
				w.happens(e)
				w.happens(e)
				alerts := w.told.Alerts()
				if len(alerts) != 2 || alerts[0].ID != alerts[1].ID || alerts[0].Text() != alerts[1].Text() || alerts[0].Severity != alert.Critical {
					t.Errorf("after two more deliveries there are %d alerts, want the same critical one twice", len(alerts))
				}
			})
		})
	}
}

// Whatever is down or hangs, what takes a cluster's access is reported within 10 s, as at least high.
func TestBoth_noAlertIsLost(t *testing.T) {
	for combination := range 1 << len(services) {
		for _, o := range []outage{down, hanging} {
			onBothSides(t, func(t *testing.T, w *world, s side) {
				w.Settings.Enrich = mostEnrich
				risky := []cmek.Event{s.cut(w, "e-1"), s.lost(w, "e-2"), s.disable(w, "e-3")}
				for i, service := range services {
					if combination>>i&1 == 1 {
						service.set(w, o)
					}
				}
				pending := w.deliver(risky)
				for _, service := range services {
					service.set(w, up)
				}
				if left := w.deliver(pending); len(left) > 0 {
					t.Errorf("%d down: after the outage %d events still fail", combination, len(left))
				}
				for _, e := range risky {
					if !slices.ContainsFunc(w.told.Alerts(), func(a alert.Alert) bool { return strings.HasSuffix(a.ID, "@"+e.ID) && a.Severity.AtLeast(alert.High) }) {
						// The second loss of access of one cluster may repeat an incident; nobody may be left without any.
						t.Errorf("%d down (%d): nobody was notified of %s", combination, o, e.ID)
					}
				}
			})
		}
	}
}

func TestBoth_alertIsOutWhileAllReadsHang(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.Settings.Enrich = mostEnrich
		w.cloud.outage, w.kms.outage = hanging, hanging
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		e, done := s.cut(w, "e-1"), make(chan error)
		go func() { done <- w.Event(ctx, e) }()
		time.Sleep(10 * time.Second)
		if a := w.last(); !a.Severity.AtLeast(alert.High) || strings.Contains(a.Impact, "The clusters "+allClear) {
			t.Errorf("while all hangs: %s | %s", a.Headline(), a.Impact)
		}
		<-done
	})
}

// Who lost access has it again when the documents say so, and not before.
func TestBoth_lostAccessResolves(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.cut(w, "e-1"))
		w.wantCut()
		w.ticks(3 * time.Hour)
		if len(w.open()) != 1 {
			t.Fatalf("open are %v while the access is lost", w.open())
		}
		time.Sleep(time.Second)
		w.happens(s.grant(w, "e-2"))
		w.ticks(20 * time.Minute)
		if len(w.open()) != 0 || !w.last().Resolved {
			t.Errorf("after the grant came back: open %v, last %s", w.open(), w.last().Headline())
		}
	})
}

// What cannot be read may be what is broken: the incident stays open.
func TestBoth_unreadIsNoGoodRead(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.cut(w, "e-1"))
		w.ticks(time.Minute)
		s.grant(w, "")
		w.kms.outage = down
		for range 200 {
			time.Sleep(time.Minute)
			_ = w.Tick(t.Context()) // its error is the KMS's
		}
		if len(w.open()) != 1 {
			t.Errorf("nothing could be read for hours, and open are %v", w.open())
		}
	})
}

// What was unclear is read again after five minutes: it turns out to be a loss, or to be none.
func TestBoth_unclearIsReadAgain(t *testing.T) {
	for _, lost := range []bool{true, false} {
		onBothSides(t, func(t *testing.T, w *world, s side) {
			s.unreadable(w, true)
			e := s.cut(w, "e-1")
			w.happens(e)
			if a := w.last(); a.Severity != alert.High || strings.Contains(a.Impact, "The clusters "+allClear) || len(w.open()) > 0 {
				t.Fatalf("unclear is %s | %s", a.Headline(), a.Impact)
			}
			s.unreadable(w, false)
			if !lost { // it was granted elsewhere all the time
				w.kms.rolePolicies = inline(allowKMS)
				if s.name != "AWS" {
					w.iam().set(onKeyRing, bindingsOf(useRole+" "+member))
				}
			}
			w.ticks(6 * time.Minute)
			switch a := w.last(); {
			case lost && (a.Severity != alert.Critical || len(w.open()) != 1):
				t.Errorf("read again, the loss is %s, open %v", a.Headline(), w.open())
			case !lost && (!a.Resolved || !strings.Contains(a.Summary, "keep their access")):
				t.Errorf("read again, all is well, and the last is %s", a.Headline())
			}
		})
	}
}

// While an incident is open there is no all-clear for another change.
func TestBoth_noAllClearDuringAnIncident(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		s.unreadable(w, true)
		w.happens(s.cut(w, "unclear"))
		time.Sleep(time.Minute)
		w.happens(s.lost(w, "cut"))
		s.unreadable(w, false)
		s.grant(w, "")
		w.ticks(20 * time.Minute)
		if len(w.open()) == 0 {
			t.Fatal("no incident is open")
		}
		for _, a := range w.told.Alerts() {
			if a.Resolved {
				t.Errorf("while %v is open, people are sent %s", w.open(), a.Headline())
			}
		}
	})
}

// A revoked access that is granted again is new, also within the hour in which no sweep notes the document between.
func TestBoth_policyPutBackIsNotTheOneBefore(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		opened := s.open(w, "")
		w.noted(string(opened.Key), opened.Policy)
		time.Sleep(30 * time.Minute)
		w.happens(s.grant(w, "revoke"))
		time.Sleep(10 * time.Minute)
		before := len(w.told.Alerts())
		w.happens(s.open(w, "again"))
		if len(w.told.Alerts()) == before || w.last().Severity != alert.Critical {
			t.Errorf("a policy with a stranger, put back, alerts with %s", w.last().Headline())
		}
	})
}

// The same policy again is no alert, if the one before was noted within the hours before.
func TestBoth_samePolicyAgain(t *testing.T) {
	for ago, most := range map[time.Duration]alert.Severity{30 * time.Minute: alert.Info, 24 * time.Hour: alert.Critical} {
		onBothSides(t, func(t *testing.T, w *world, s side) {
			opened := s.open(w, "")
			w.noted(string(opened.Key), opened.Policy)
			time.Sleep(ago)
			w.swept()
			w.happens(s.open(w, "again"))
			got := alert.None
			if alerts := w.told.Alerts(); len(alerts) > 0 {
				got = alerts[0].Severity
			}
			if got.Above(most) || most == alert.Critical && got != alert.Critical {
				t.Errorf("a policy with a stranger, noted %s ago and set again, is %s", ago, got)
			}
		})
	}
}

func TestBoth_failedAttemptBreaksNothing(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		e := s.cut(w, "e-1")
		s.grant(w, "")
		e.Error, e.Failure = "7", cmek.FailureDenied
		w.happens(e)
		w.ticks(time.Hour)
		if w.wantAtMost(alert.Medium); len(w.open()) > 0 {
			t.Errorf("a call that failed opened %v", w.open())
		}
	})
}

// An incident whose clusters are no more in the inventory does not end with the word that they can use the key.
func TestBoth_vanishedClusterIsNoGoodRead(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.cut(w, "e-1"))
		for _, id := range []string{"c-1", googleCluster} {
			if _, err := w.Ledger.UpdateCluster(t.Context(), id, func(c *ledger.Cluster) error {
				c.CMEK.RegionInfos = nil
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		w.ticks(3 * time.Hour)
		if a := w.last(); a.Resolved && strings.Contains(a.Headline(), "can be used") {
			t.Errorf("the policy still denies, and people are sent %s", a.Headline())
		}
	})
}

// An incident is closed by hand, and what happens after that alerts again.
func TestBoth_closedByHand(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.lost(w, "e-1"))
		time.Sleep(time.Minute)
		if _, err := w.Ledger.UpdateIncident(t.Context(), w.open()[0], func(i *ledger.Incident) error {
			i.Closing = ledger.Closing{By: "ana", Reason: "planned", At: time.Now()}
			i.NextLook = time.Now()
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		w.ticks(time.Minute)
		if a := w.last(); !a.Resolved || len(w.open()) != 0 {
			t.Fatalf("closed by hand: %s, open %v", a.Headline(), w.open())
		}
		w.happens(s.lost(w, "e-2"))
		w.wantCut()
	})
}

// One document that hangs keeps neither the alert waiting nor the others from being used.
func TestGoogle_documentThatHangs(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, iam := withIAM(t, w)
		iam.hangs[onOrg+"#denies"] = true
		w.Settings.Enrich = mostEnrich
		begin := time.Now()
		w.happens(w.identified(onServiceAccount(noGrant), "e-1"))
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("the alert took %s", took)
		}
		w.wantCut()
		synctest.Wait()
	})
}

// The roles that a new policy gives are read, though the policy itself is the event's.
func TestGoogle_rolesOfTheNewPolicyAreRead(t *testing.T) {
	for text, want := range map[string]alert.Severity{roleOfUse: alert.Medium, `{"name":"` + ownRole + `","includedPermissions":[]}`: alert.Critical, "": alert.High} {
		inWorld(t, func(t *testing.T, w *world) {
			_, iam := withIAM(t, w)
			iam.texts = googleTexts(ownRole, text)
			w.happens(w.identified(onCryptoKey(bindingsOf(ownRole+" "+member)), "e-1"))
			if a := w.last(); a.Severity != want {
				t.Errorf("a new policy with the role %s: %s | %s; want %s", text, a.Headline(), a.Impact, want)
			}
		})
	}
}

// Each document is read once for an event, however many clusters need it, and what the event carries is not read.
func TestGoogle_documentsAreReadOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, iam := withIAM(t, w)
		w.happens(w.identified(onCryptoKey(noGrant), "e-1"))
		for name := range googleTexts() {
			want := 1
			if name == string(cryptoKey) {
				want = 0
			}
			if got := iam.reads[name]; got != want {
				t.Errorf("%s was read %d times, want %d", name, got, want)
			}
		}
	})
}

// Below ten folders, which is as deep as they can be, the work of a judgement is bounded by the documents.
func TestGoogle_manyFolders(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, iam := withIAM(t, w)
		parents := ""
		for i := range 10 {
			folder := fmt.Sprint("folders/", i)
			parents += `"` + folder + `",`
			iam.texts[folder], iam.texts[folder+"#denies"] = noGrant, "[]"
		}
		iam.texts[itsParents] = "[" + parents + `"` + onOrg + `"]`
		w.happens(w.identified(onServiceAccount(noGrant), "e-1"))
		w.wantCut()
		if most := len(iam.reads) * len(iam.reads); iam.asked > most {
			t.Errorf("with %d documents it was asked %d times which to read, want at most %d times", len(iam.reads), iam.asked, most)
		}
	})
}

// What stands above the project, and could never be read, does not keep an incident of the key's own policy open once access is back.
// It does if it may be what broke, or if something else cannot be read, either.
func TestGoogle_incidentWithoutTheOrganization(t *testing.T) {
	for _, row := range []struct {
		name   string
		cut    cmek.Event
		unread string // too, in the end
		read   string // of the folder's and the organization's deny policies, which are not read
		open   int
	}{
		{"the key's policy", onCryptoKey(noGrant), "", "", 0},
		{"the account's policy", onServiceAccount(noGrant), "", "", 0},
		{"the key's policy, and no deny policies are read at all", onCryptoKey(noGrant), onProject + "#denies", "", 0},
		{"the key's policy, and the project's deny policies alone are not read of all", onCryptoKey(noGrant), onProject + "#denies", onFolder + "#denies", 1},
		{"the key's policy, and the account is unread, too", onCryptoKey(noGrant), itsState, "", 1},
		{"a deny policy of the folder", onDenyPolicy("CreatePolicy", onFolder, "stop", denying("stop", denyDecrypt, everyone)), "", "", 1},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			_, iam := withIAM(t, w)
			iam.denied[onFolder+"#denies"], iam.denied[onOrg+"#denies"] = true, true
			iam.denied[row.read] = false
			w.happens(w.identified(row.cut, "e-1"))
			if len(w.open()) != 1 {
				t.Fatalf("%s: open are %v", row.name, w.open())
			}
			iam.denied[row.unread] = true
			w.ticks(3 * time.Hour)
			if got := len(w.open()); got != row.open {
				t.Errorf("%s: %d incidents are open, want %d", row.name, got, row.open)
			}
		})
	}
}

// The samples of the decoder, where everything can be read.
func TestGoogle_samplesAreJudgedByWhatIsRead(t *testing.T) {
	byProject := []string{string(cryptoKey), noGrant, onProject, bindingsOf(useRole + " " + member)}
	byOwnRole := []string{string(cryptoKey), bindingsOf(ownRole + " " + member), ownRole, roleOfUse}
	for _, row := range []struct {
		sample string
		reads  []string // documents that differ
		want   alert.Severity
	}{
		{"kms-setiampolicy-key", nil, alert.Critical},
		{"kms-setiampolicy-key", []string{onProject, bindingsOf(useRole + " " + member)}, alert.Medium},
		{"kms-setiampolicy-key-ring", nil, alert.Medium},
		{"kms-setiampolicy-key-ring", []string{string(cryptoKey), noGrant, onKeyRing, bindingsOf(useRole + " " + member)}, alert.Critical},
		{"kms-setiampolicy-split-first", nil, alert.Medium},
		{"kms-setiampolicy-split-first", []string{string(cryptoKey), noGrant}, alert.Critical},
		{"resourcemanager-setiampolicy-v1", nil, alert.Medium},
		{"resourcemanager-setiampolicy-v1", byProject, alert.Critical},
		{"resourcemanager-setiampolicy-organization", nil, alert.Medium},
		{"iam-setiampolicy-token-creator-removed", nil, alert.Critical},
		{"iam-setiampolicy-token-creator-removed", []string{onProject, bindingsOf(mintRole + " " + crlMember)}, alert.None},
		{"iam-deletepolicy-organization", nil, alert.Medium},
		{"iam-deleterole", nil, alert.None},
		{"iam-deleterole", byOwnRole, alert.Critical},
		{"iam-disableserviceaccount", nil, alert.Critical},
		{"iam-createserviceaccount", nil, alert.High},
		{"iam-createserviceaccount", []string{onAccount, noGrant}, alert.Critical},
		{"iam-enableserviceaccount", nil, alert.None},
		{"iam-enableserviceaccount", []string{itsState, disabled}, alert.High},
		{"iam-undeleteserviceaccount", []string{string(cryptoKey), noGrant}, alert.High},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			_, iam := withIAM(t, w)
			iam.texts = googleTexts(row.reads...)
			w.receives(logged(t, row.sample, "a"))
			got := alert.None
			for _, a := range w.told.Alerts() {
				got = alert.Worse(got, a.Severity)
			}
			if got != row.want {
				t.Errorf("%s %q is reported as %s, want %s: %+v", row.sample, row.reads, got, row.want, w.told.Alerts()[:min(1, len(w.told.Alerts()))])
			}
		})
	}
}

// Whoever reads no cloud takes what a sweep noted within some hours. What is older is not known, nor is what the event changed itself.
func TestGoogle_notedDocumentsStandIn(t *testing.T) {
	for _, row := range []struct {
		name  string
		age   time.Duration
		event cmek.Event
		edits []string
		cuts  bool // off for certain
		clear bool
	}{
		{name: "the key's policy, and nothing else grants it", event: onCryptoKey(noGrant), cuts: true, clear: true},
		{name: "the key's policy, and the ring grants it", event: onCryptoKey(noGrant), edits: []string{onKeyRing, bindingsOf(useRole + " " + member)}, clear: true},
		{name: "the key's policy, noted 5 h ago", age: 5 * time.Hour, event: onCryptoKey(noGrant), cuts: true, clear: true},
		{name: "the key's policy, noted 7 h ago", age: 7 * time.Hour, event: onCryptoKey(noGrant)},
		{name: "the ring's policy was not noted", event: onCryptoKey(noGrant), edits: []string{onKeyRing, ""}},
		{name: "an entry without the policy", event: onCryptoKey("")},
		{name: "a deny policy", event: onDenyPolicy("CreatePolicy", onProject, "stop", denying("stop", denyDecrypt, everyone)), cuts: true, clear: true},
		{name: "a deny policy about something else", event: onDenyPolicy("CreatePolicy", onProject, "stop", denying("stop", denyElsewhere, everyone)), clear: true},
		{name: "an entry without the deny policy", event: onDenyPolicy("CreatePolicy", onProject, "stop", "")},
		{name: "a principal access boundary, whatever was noted of boundaries", event: onBoundary("CreatePolicyBinding", onProject)},
		{name: "a deny policy that is deleted", event: onDenyPolicy("DeletePolicy", onProject, "stop", ""), edits: []string{onProject + "#denies", "[" + denying("stop", denyDecrypt, everyone) + "]"}, clear: true},
	} {
		onGoogleOnly(t, func(t *testing.T, w *world) {
			for name, text := range googleTexts(row.edits...) {
				w.noted(name, text)
			}
			time.Sleep(row.age)
			e := w.identified(row.event, "e-1")
			clusters, err := w.Ledger.ByKey(t.Context(), cryptoKey)
			if err != nil {
				t.Fatal(err)
			}
			uses := Uses(clusters)
			docs, err := NotedDocuments(t.Context(), w.Ledger, e, uses)
			if err != nil {
				t.Fatal(err)
			}
			got := Effects(e, docs, uses, Usage{Clusters: []alert.AffectedCluster{{ID: googleCluster}}})
			if got == nil || got.CutsOff != row.cuts || (len(got.Unclear) == 0) != row.clear {
				t.Errorf("%s: %+v; want it to cut off: %t, and to be clear: %t", row.name, got, row.cuts, row.clear)
			}
			if row.clear && time.Since(docs.Oldest) < row.age {
				t.Errorf("%s: the oldest is said to be of %s", row.name, docs.Oldest)
			}
		})
	}
}
