package alerting

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

const disabledAlert = "[CRITICAL] Key 1234abcd-12ab-34cd-56ef-1234567890ab was disabled"

func TestAnAlertNamesTheClustersThePrincipalAndTheWayBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.cluster("c-2", "payments", cmek.Enabled)
		w.happens(w.isScheduled("e-1"))
		w.want("after a deletion was scheduled", "[CRITICAL] Key 1234abcd-12ab-34cd-56ef-1234567890ab was scheduled for deletion; needed by orders, payments")
		a := w.last()
		if a.Principal != ana || len(a.Clusters) != 2 || a.Deadline.IsZero() || len(a.RecoverySteps) != 3 || a.Audience != alert.Owners {
			t.Errorf("the alert lacks the principal, a cluster, the deadline or a recovery step:\n%s", a.Text())
		}
		if got := a.Clusters[0].Regions; !slices.Equal(got, []string{"us-east-1"}) {
			t.Errorf("regions of the first cluster are %v, want us-east-1", got)
		}
	})
}

func TestAKeyThatNobodyUsesIsRatedLowerOnlyAfterACompleteWalk(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.happens(event("e-1", cmek.ChangeKeyDisabled, of(unused)))
		time.Sleep(2 * time.Hour)
		w.happens(event("e-2", cmek.ChangeKeyDisabled, of(unused)))
		w.want("after two disabled keys", "[MEDIUM] Key ffffffff-12ab-34cd-56ef-1234567890ab was disabled; no cluster needs it",
			"[CRITICAL] Key ffffffff-12ab-34cd-56ef-1234567890ab was disabled; which clusters need it is unknown")
		if !strings.Contains(w.last().Impact, "Usage unknown") {
			t.Errorf("the alert does not say that the usage is unknown:\n%s", w.last().Text())
		}
	})
}

func TestTheSameEventDeliveredTwicePagesOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		trail := event("e-2", cmek.ChangeLogSink, of(""), with("trail", "main"))
		for _, e := range []cmek.Event{w.isDisabled("e-1"), trail} {
			w.happens(e)
			w.happens(e)
		}
		addendum := event("e-3", cmek.ChangeLogSink, of(""), with("trail", "main"), func(e *cmek.Event) { e.Amends = "e-2" })
		w.happens(addendum)
		w.want("after two events, each twice, and an addendum", disabledAlert, "[HIGH] Trail \"main\" was stopped, deleted or changed")
	})
}

func TestARepeatOfAnOpenIncidentDoesNotPageAgain(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.disable(w, "e-1"))
		for i := range 50 {
			w.ticks(time.Minute)
			w.happens(s.event(w, fmt.Sprint("again-", i), cmek.ChangeKeyDisabled))
			w.happens(s.refused(w, fmt.Sprint("refused-", i), cmek.FailureUnfit))
		}
		w.want("after 50 repeats", s.disabledAlert())
	})
}

func TestAnOpenIncidentThatGetsWorsePagesAgain(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.happens(s.disable(w, "e-1"))
		w.happens(s.schedule(w, "e-2"))
		s.reads(w, cmek.KeyDestroyed)
		w.happens(s.event(w, "e-3", cmek.ChangeKeyDeleted))
		w.happens(s.event(w, "e-4", cmek.ChangeKeyDeleted)) // KMS and CloudTrail both tell
		w.want("on the way from disabled to deleted", s.disabledAlert(), s.scheduledAlert(),
			"[CRITICAL] "+s.thing+" "+s.deleted)
		first := w.told.Alerts()[0].DedupKey
		for _, a := range w.told.Alerts() {
			if a.DedupKey != first {
				t.Errorf("%s has the dedup key %s, want %s: it is one incident", a.Headline(), a.DedupKey, first)
			}
		}
	})
}

func TestOurOwnDeniedReadsRaiseNoIncident(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		reader := "arn:aws:iam::111122223333:role/keyturn-reader"
		session := "arn:aws:sts::111122223333:assumed-role/keyturn-alerting/keyturn"
		look := func(e *cmek.Event) {
			e.Source, e.Error, e.Failure = "aws.kms/AWS API Call via CloudTrail/DescribeKey", "AccessDenied", cmek.FailureDenied
		}
		// Even if a cluster was made to act as one of them.
		w.happens(event("e-1", cmek.ChangeUseRefused, by(reader), look))
		w.happens(event("e-2", cmek.ChangeUseRefused, look, func(e *cmek.Event) { e.Principal = session }))
		w.happens(event("e-5", cmek.ChangeUseRefused, by(ana), failed("AccessDenied")))
		w.want("after our own reads, and a stranger's that was refused")
		if got := w.open(); len(got) > 0 {
			t.Errorf("open incidents are %v, want none", got)
		}
		w.happens(event("e-6", cmek.ChangeUseRefused, by(role), failed("AccessDenied")))
		w.want("after a cluster's call was refused", "[CRITICAL] Key 1234abcd-12ab-34cd-56ef-1234567890ab refused a call of a cluster (AccessDenied)")
	})
}

func TestAStrangerIsToldOfOnceADay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i := range 40 {
			w.happens(event(fmt.Sprint("e-", i), cmek.ChangeUse, by("arn:aws:iam::111122223333:role/curious")))
		}
		w.happens(event("other", cmek.ChangeUse, by("arn:aws:iam::111122223333:role/other")))
		w.want("after two strangers", "[HIGH]", "[HIGH]")
		time.Sleep(24 * time.Hour)
		w.happens(event("next", cmek.ChangeUse, by("arn:aws:iam::111122223333:role/other")))
		w.want("the day after", "[HIGH]", "[HIGH]", "[HIGH]")
	})
}

func TestAFailedAttemptIsToldAndBreaksNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.happens(event("e-1", cmek.ChangeDeletionScheduled, failed("AccessDenied")))
		w.want("after a failed attempt", "[MEDIUM] Failed attempt to schedule the deletion of key 1234abcd-12ab-34cd-56ef-1234567890ab (AccessDenied); needed by orders")
		if got := w.open(); len(got) > 0 {
			t.Errorf("open incidents are %v, want none", got)
		}
	})
}

func TestAnAccountIsJudgedByItsOwnClusters(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		member := func(account string) func(*cmek.Event) {
			return func(e *cmek.Event) { e.Key, e.Account, e.Caller = "", account, "999900001111" }
		}
		w.happens(event("e-1", cmek.ChangeAccountDetached, member(account)))
		w.happens(event("e-2", cmek.ChangeAccountDetached, member("888800001111")))
		w.want("after two accounts were closed", "[HIGH] Account 111122223333 left its organization; may concern orders",
			"[LOW] Account 888800001111 left its organization; it concerns no cluster")
	})
}

// No alert is lost.

// services are what can be down, with how to take one down.
var services = []struct {
	name string
	set  func(*world, outage)
}{
	{"Cloud API", func(w *world, o outage) { w.cloud.outage = o }},
	{"KMS", func(w *world, o outage) { w.kms.outage = o }},
	{"ledger", func(w *world, o outage) { w.store.outage = o }},
	{"ledger's writes", func(w *world, o outage) { w.store.readOnly = o != up }},
	{"topic", func(w *world, o outage) { w.told.outage = o }},
}

// risky are events of each kind that must be reported, whatever is down.
func risky(w *world) []cmek.Event {
	w.kms.keyPolicy = denyKeyPolicy
	return []cmek.Event{
		w.isDisabled("disabled"),
		event("refused", cmek.ChangeUseRefused, by(role), failed("AccessDenied")),
		event("policy", cmek.ChangeKeyPolicy, document(denyKeyPolicy)),
		event("opened", cmek.ChangeKeyPolicy, document(openKeyPolicy)),
		event("trust", cmek.ChangePrincipalTrust, ofRole("crdb-cmek"), document(brokenTrust)),
		event("stranger", cmek.ChangeUse, by("arn:aws:iam::111122223333:role/curious")),
		event("trail", cmek.ChangeLogSink, of(""), with("trail", "main")),
	}
}

func TestNoAlertIsLostWhateverIsDown(t *testing.T) {
	for combination := range 1 << len(services) {
		for _, o := range []outage{down, hanging} {
			inWorld(t, func(t *testing.T, w *world) {
				var broken []string
				for i, s := range services {
					if combination>>i&1 == 1 {
						s.set(w, o)
						broken = append(broken, s.name)
					}
				}
				pending := w.deliver(risky(w))
				for _, s := range services {
					s.set(w, up)
				}
				if left := w.deliver(pending); len(left) > 0 {
					t.Errorf("%v down: after the outage %d events still fail", broken, len(left))
				}
				for _, e := range risky(w) {
					if !slices.ContainsFunc(w.told.Alerts(), func(a alert.Alert) bool {
						return strings.HasSuffix(a.ID, "@"+e.ID) && a.Severity.AtLeast(alert.High)
					}) {
						t.Errorf("%v down (%d): nobody was notified of %s", broken, o, e.ID)
					}
				}
			})
		}
	}
}

// deliver delivers events as the queue does, each with a Lambda function's time, and returns those to be delivered again.
func (w *world) deliver(events []cmek.Event) (again []cmek.Event) {
	for _, e := range events {
		ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
		if w.Event(ctx, e) != nil {
			again = append(again, e)
		}
		cancel()
		synctest.Wait() // for reads that came too late
	}
	return again
}

func TestAnAlertIsOutWithinTenSecondsWhateverHangs(t *testing.T) {
	for _, row := range []struct {
		hangs string
		set   func(*world)
		doubt string
	}{
		{"the Cloud API and the KMS", func(w *world) { w.cloud.outage, w.kms.outage = hanging, hanging }, "the key's state.\n"},
		{"the ledger", func(w *world) { w.store.outage = hanging }, "whether this was reported before; which clusters need it"},
		{"everything", func(w *world) { w.cloud.outage, w.kms.outage, w.store.outage = hanging, hanging, hanging }, "the key's state; whether this was reported before; which clusters need it"},
	} {
		onBothSides(t, func(t *testing.T, w *world, s side) {
			w.Settings.Enrich = mostEnrich
			row.set(w)
			e := s.disable(w, "e-1")
			ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
			defer cancel()
			done := make(chan error)
			go func() { done <- w.Event(ctx, e) }()
			time.Sleep(10 * time.Second)
			w.want("10 s after the event while "+row.hangs+" hangs", s.disabledAlert())
			got := w.last().Text()
			if row.hangs == "the ledger" && strings.Contains(got, "the key's state") {
				t.Errorf("a ledger that hangs leaves no time to read the key:\n%s", got)
			}
			if row.hangs == "the Cloud API and the KMS" && !strings.Contains(got, s.where+": "+daysUnknown+"\n") {
				t.Errorf("the alert does not say that the cluster's next days are not known:\n%s", got)
			}
			if !strings.Contains(got, row.doubt) {
				t.Errorf("while %s hangs the alert does not say that these are not known: %s\n%s", row.hangs, row.doubt, got)
			}
			<-done
		})
	}
}

// stubborn hangs for long, whatever its context says.
type stubborn struct{ Cloud }

func (s stubborn) NextMaintenance(_ context.Context, _ string) (time.Time, error) {
	time.Sleep(time.Hour)
	return time.Now(), nil
}

func TestAReadThatIgnoresItsTimeLimitHoldsUpNothing(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		w.Cloud = stubborn{w.cloud}
		start := time.Now()
		w.happens(s.disable(w, "e-1"))
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("the alert took %s, want at most 10 s", took)
		}
		if got := w.last().Clusters[0].Impact; got != daysUnknown {
			t.Errorf("what came too late is not reported as unknown:\n%s", got)
		}
		time.Sleep(2 * time.Hour)
	})
}

func TestAPolicyIsJudgedAgainstTheOneBeforeEvenAfterTheSweepNotedIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		note := func(document string) { w.noted(string(key), document) }
		note(goodKeyPolicy)
		time.Sleep(time.Hour)
		w.happens(event("e-1", cmek.ChangeKeyPolicy, document(openKeyPolicy)))
		if got := w.last(); got.Severity != alert.Critical || !strings.Contains(got.Impact, "999900001111") || !strings.Contains(got.RecoverySteps[0], `"Sid":"CMEK"`) {
			t.Errorf("the alert does not name the account admitted, or the policy before:\n%s", got.Text())
		}
		note(openKeyPolicy)
		w.happens(event("e-2", cmek.ChangeKeyPolicy, document(openKeyPolicy)))
		if got := w.last(); got.Severity != alert.Critical || !strings.Contains(got.Impact, "999900001111") {
			t.Errorf("a policy that the sweep saw first is not judged against the one before:\n%s", got.Text())
		}
		w.happens(event("e-3", cmek.ChangeKeyPolicy, document(goodKeyPolicy)))
		if got := w.last(); got.Severity != alert.Medium {
			t.Errorf("a policy that lets nobody new in is %s, want medium:\n%s", got.Severity, got.Text())
		}
	})
}

func TestARoleIsWatchedByItsName(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		if err := w.Ledger.NotePolicy(t.Context(), role, goodTrust, ledger.NotedPolicy{}); err != nil {
			t.Fatal(err)
		}
		w.happens(event("e-1", cmek.ChangePrincipalTrust, ofRole("crdb-cmek"), document(brokenTrust)))
		w.want("after the external id was changed", "[CRITICAL] Role crdb-cmek had its trust policy replaced, which cuts off clusters and grants access to another principal; needed by orders")
		if !strings.Contains(w.last().RecoverySteps[0], organization) {
			t.Errorf("the recovery steps do not hold the trust policy before:\n%s", w.last().Text())
		}
		if got := w.last().Impact; !strings.Contains(got, "Account 444455556666 can no longer assume the role") || strings.Contains(got, "not known") {
			t.Errorf("the alert does not say what changed:\n%s", got)
		}
		w.happens(event("e-2", cmek.ChangePrincipalTrust, ofRole("another-role"), document(brokenTrust)))
		w.happens(event("e-3", cmek.ChangePrincipalTrust, ofRole("crdb-cmek"), document(goodTrust)))
		deny := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:*","Resource":"*"}]}`
		w.happens(event("e-4", cmek.ChangePrincipalPolicy, ofRole("crdb-cmek"), document(deny)))
		w.want("after a Deny", "[CRITICAL] Role crdb-cmek had its trust policy replaced", "[CRITICAL] Role crdb-cmek had its permissions changed")
	})
}

// meteredCloud answers one request a second, in their order, and refuses at once what would be too late, as the client of the Cloud API does.
type meteredCloud struct {
	mu   sync.Mutex
	next time.Time
}

func (c *meteredCloud) wait(ctx context.Context) error {
	c.mu.Lock()
	at := c.next
	if now := time.Now(); at.Before(now) {
		at = now
	}
	if deadline, ok := ctx.Deadline(); ok && at.After(deadline) {
		c.mu.Unlock()
		return context.DeadlineExceeded
	}
	c.next = at.Add(time.Second)
	c.mu.Unlock()
	time.Sleep(time.Until(at))
	return nil
}

func (c *meteredCloud) NextMaintenance(ctx context.Context, _ string) (time.Time, error) {
	return time.Date(2000, 1, 2, 3, 0, 0, 0, time.UTC), c.wait(ctx)
}

func (c *meteredCloud) BackupInterval(ctx context.Context, _ string) (time.Duration, error) {
	return 30 * time.Minute, c.wait(ctx)
}

// With a share of the rate that is too small for all, the next days of the first clusters are known in full, and not of all by half.
func TestTheNextDaysOfTheFirstClustersAreKnown(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i := range 4 {
			w.cluster(fmt.Sprintf("c-%d", i+2), fmt.Sprintf("more-%d", i), cmek.Enabled)
		}
		w.Cloud = &meteredCloud{}
		begun := time.Now()
		w.happens(w.isDisabled("e1"))
		if took := time.Since(begun); took > w.Settings.Enrich {
			t.Errorf("the alert took %s", took)
		}
		known := 0
		for i, c := range w.last().Clusters {
			if full := strings.Contains(c.Impact, "30m") && strings.Contains(c.Impact, "maintenance from"); full {
				known++
			} else if i < 2 {
				t.Errorf("cluster %d is %q, want its backup and maintenance", i, c.Impact)
			} else if i > 2 && !strings.Contains(c.Impact, "not known") {
				t.Errorf("cluster %d is %q, want that its next days are not known", i, c.Impact)
			}
		}
		if known < 2 || known > 3 {
			t.Errorf("the next days of %d clusters are known in full", known)
		}
	})
}
