package lifecycle_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/lifecycle"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

func bubble(t *testing.T, test func(t *testing.T)) { t.Helper(); synctest.Test(t, test) }

func TestEnable_sendsOnePOSTAndWatchesItToItsEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		result, err := w.function().Run(t.Context(), enableAnalytics())
		must(t, err)
		if !result.Done() || result.Already || strings.Join(w.sent, " ") != "POST "+analytics+"/cmek" || w.info(analytics).Status != cmek.Enabled {
			t.Fatalf("result %+v, sent %q, CMEK %+v; steps:\n%s", result, w.sent, w.info(analytics), strings.Join(w.steps, "\n"))
		}
		if names := w.records(); len(names) != 1 || !strings.HasSuffix(names[0], "-000001-enable.json") {
			t.Errorf("the records are %q, want one of the operation", names)
		}
		data, _ := w.archive.Data(w.records()[0])
		var record lifecycle.Evidence
		must(t, json.Unmarshal(data, &record))
		if o := record.Operation; record.Schema != lifecycle.EvidenceSchema || o.By != "ana" || o.Result != ledger.OperationDone || o.Baseline == nil || o.Answer == nil || len(o.Timeline) < 2 {
			t.Errorf("the record is %s", data)
		}
		if c := w.item(analytics); len(c.Messages) != 0 || c.Operation.Open() || c.Operation.Baseline != nil {
			t.Errorf("the item keeps %+v and %d messages, want the end of the operation only", c.Operation, len(c.Messages))
		}
		again, err := w.function().Run(t.Context(), enableAnalytics())
		must(t, err)
		if !again.Already || len(w.sent) != 1 || len(w.records()) != 1 {
			t.Errorf("the same command again: %+v; sent %q, records %q; want nothing more", again, w.sent, w.records())
		}
	})
}

func TestEnable_onGoogleCloud(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		r := lifecycle.Request{Kind: ledger.OperationEnable, ClusterID: onGoogle, By: "ana", Specs: []cmek.RegionSpec{
			{Region: "us-east1", KeySpec: cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: googleKey, AuthPrincipal: googleAccount}}}}
		result, err := w.function().Run(t.Context(), r)
		must(t, err)
		if !result.Done() || w.info(onGoogle).Status != cmek.Enabled {
			t.Fatalf("result %+v; steps:\n%s", result, strings.Join(w.steps, "\n"))
		}
	})
}

// Policies take minutes to spread. Each try is a request of its own, which the one before did not do.
func TestEnable_isSentAgainWhilePoliciesSpread(t *testing.T) {
	for _, tt := range []struct {
		spread  string
		done    bool
		atLeast int
	}{{"4m", true, 4}, {"9m", true, 8}, {"30m", false, 8}} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t, simulator.IAMPropagation, tt.spread)
			began := time.Now()
			result, err := w.function().Run(t.Context(), enableAnalytics())
			must(t, err)
			took := time.Since(began)
			if result.Done() != tt.done || len(w.sent) < tt.atLeast || len(w.records()) != 1 {
				t.Errorf("%s: result %+v, %d requests, records %q", tt.spread, result.Operation, len(w.sent), w.records())
			}
			if !tt.done && (result.Operation.Result != ledger.OperationRefused || took < 9*time.Minute || took > 12*time.Minute) {
				t.Errorf("%s: it ended as %s after %s, want refused after ten minutes", tt.spread, result.Operation.Result, took)
			}
			for _, sent := range w.sent {
				if sent != "POST "+analytics+"/cmek" {
					t.Errorf("%s: sent %s", tt.spread, sent)
				}
			}
		})
	}
}

func TestAddRegion_keepsTheOthers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		result, err := w.function().Run(t.Context(), addToPayments())
		must(t, err)
		info := w.info(payments)
		if !result.Done() || len(w.sent) != 1 || len(info.RegionInfos) != 2 || info.Status != cmek.Enabled {
			t.Fatalf("result %+v, sent %q, CMEK %+v; steps:\n%s", result, w.sent, info, strings.Join(w.steps, "\n"))
		}
		again, err := w.function().Run(t.Context(), addToPayments())
		must(t, err)
		if !again.Already || len(w.sent) != 1 {
			t.Errorf("the same command again: %+v; sent %q, want nothing more", again, w.sent)
		}
	})
}

func TestAnOperationThatFails_isReportedWithItsMessage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		must(t, w.FailNextRotation("analytics", "us-east-1", "the key vanished"))
		result, err := w.function().Run(t.Context(), enableAnalytics())
		must(t, err)
		if o := result.Operation; o == nil || o.Result != ledger.OperationFailed || !strings.Contains(o.Why, "the key vanished") {
			t.Fatalf("the operation is %+v, want it failed with Cockroach Labs' message", o)
		}
		// Nothing is in force: it may be asked for again.
		result, err = w.function().Run(t.Context(), enableAnalytics())
		must(t, err)
		if !result.Done() || len(w.sent) != 2 || len(w.records()) != 2 {
			t.Errorf("asked for again: %+v, sent %q, records %q", result, w.sent, w.records())
		}
	})
}

func TestACommandThatIsInterrupted_isWatchedByTheNext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, simulator.RotationDuration, "20m")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := w.function().Run(ctx, enableAnalytics()); !errors.Is(err, lifecycle.ErrInterrupted) {
			t.Fatalf("the error is %v, want that it was interrupted", err)
		}
		if c := w.item(analytics); !c.Operation.Open() {
			t.Fatalf("the operation is %+v, want it open", c.Operation)
		}
		other := enableAnalytics()
		other.Specs[0].KeySpec.URI = ordersKey
		if result, err := w.function().Run(t.Context(), other); err != nil || strings.Join(rows(result.Refusals), " ") == "" || len(w.sent) != 1 {
			t.Errorf("another command meanwhile: %+v, %v; sent %q, want it refused", result, err, w.sent)
		}
		result, err := w.function().Run(t.Context(), enableAnalytics())
		must(t, err)
		if !result.Done() || len(w.sent) != 1 || len(w.records()) != 1 {
			t.Errorf("the same command: %+v, sent %q, records %q; want the first request watched to its end", result, w.sent, w.records())
		}
	})
}

// A POST that takes no effect although it was accepted, for instance at a proxy, must not hold up anybody for ever.
func TestARequestWithoutTrace_endsAndMayBeAskedForAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.network = swallow{w}
		began := time.Now()
		result, err := w.function().Run(t.Context(), enableAnalytics())
		must(t, err)
		if o := result.Operation; o == nil || o.Result != ledger.OperationLost || time.Since(began) < 10*time.Minute || time.Since(began) > 15*time.Minute {
			t.Fatalf("the operation is %+v after %s, want it lost after ten minutes", o, time.Since(began))
		}
		w.network = nil
		result, err = w.function().Run(t.Context(), enableAnalytics())
		must(t, err)
		if !result.Done() || len(w.sent) != 1 {
			t.Errorf("asked for again: %+v, sent %q", result, w.sent)
		}
	})
}

func TestRevoke_holdsTheKeysFirstAndRestoreFindsTheWayBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.function()
		result, err := w.revoke(f)
		must(t, err)
		if !result.Done() || strings.Join(w.sent, " ") != "PATCH "+payments+"/cmek" || w.info(payments).Status != cmek.Revoked {
			t.Fatalf("result %+v, sent %q; steps:\n%s", result, w.sent, strings.Join(w.steps, "\n"))
		}
		hold, ok, err := f.Ledger.HoldOnKey(t.Context(), eastKey, time.Now())
		if err != nil || !ok || !strings.Contains(hold.Reason, "payments") || time.Until(hold.Until) < 29*24*time.Hour {
			t.Errorf("the hold is %+v, %t, %v", hold, ok, err)
		}

		d, err := f.Diagnose(t.Context(), payments)
		must(t, err)
		if d.Ready() || len(d.Nodes) != 3 || !strings.Contains(d.Ticket, "key compromised") || !strings.Contains(d.Ticket, payments) {
			t.Errorf("ready %t, nodes %+v, ticket:\n%s", d.Ready(), d.Nodes, d.Ticket)
		}
		if !hasFinding(d, "principal", false, "aws iam update-assume-role-policy --role-name payments-cmek") || !hasFinding(d, "key", true, "") {
			t.Errorf("the findings are %+v", d.Findings)
		}
		w.trust(paymentsRole, trustOf("900000000001"))
		if d, err = f.Diagnose(t.Context(), payments); err != nil || !d.Ready() || d.Healthy() {
			t.Errorf("with the trust given back: ready %t, healthy %t, %v: %+v", d.Ready(), d.Healthy(), err, d.Findings)
		}

		go func() {
			time.Sleep(time.Hour)
			must(t, w.Restore("payments"))
		}()
		began := time.Now()
		d, err = f.AwaitRestore(t.Context(), payments, "ana")
		if err != nil || !d.Healthy() || time.Since(began) < time.Hour {
			t.Errorf("awaited for %s: healthy %t, %v", time.Since(began), d.Healthy(), err)
		}
		if names := w.records(); len(names) != 2 || !strings.HasSuffix(names[1], "-000002-restore.json") {
			t.Errorf("the records are %q, want one of the revocation and one of the restore", names)
		}
		if _, err = f.AwaitRestore(t.Context(), payments, "ana"); err != nil || len(w.records()) != 2 || len(w.sent) != 1 {
			t.Errorf("awaited again: %v, records %q, sent %q", err, w.records(), w.sent)
		}
	})
}

func hasFinding(d lifecycle.Diagnosis, check string, ok bool, fix string) bool {
	for _, f := range d.Findings {
		if f.Check == check && f.OK != nil && *f.OK == ok && strings.Contains(f.Fix, fix) {
			return true
		}
	}
	return false
}

// While it is not known what became of a request, nothing else leaves to the cluster: neither a PUT of a rotation, nor another command's.
func TestARotation_waitsWhileARequestIsOpen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.network = swallow{w}
		added := make(chan lifecycle.Result)
		f := w.function()
		w.network = nil
		go func() {
			result, err := f.Run(t.Context(), addToPayments())
			must(t, err)
			added <- result
		}()
		later(time.Minute)
		r := w.rotation(cmek.AWSKMS, payments)
		must(t, w.Rotate(string(eastKey)))
		for range 8 {
			must(t, r.Tick(t.Context()))
			later(time.Minute)
		}
		if work := w.item(payments).Work; len(work) != 1 || !strings.Contains(work[0].Reason, "an operation is running: add-region, by ana") {
			t.Errorf("the work of the rotation is %+v, want it to wait for the request", work)
		}
		for _, sent := range w.accepted {
			if strings.Contains(sent, payments) {
				t.Errorf("while the request was open %s was sent", sent)
			}
		}
		if result := <-added; result.Operation == nil || result.Operation.Result != ledger.OperationLost {
			t.Errorf("the request ended as %+v, want without a trace", result)
		}
		for range 30 {
			must(t, r.Tick(t.Context()))
			later(time.Minute)
		}
		if d, ok := w.item(payments).DoneIn("us-east-1"); !ok || !d.Followed {
			t.Errorf("the rotation was not followed after the request had ended: %+v", w.item(payments).Work)
		}
	})
}

// Between the checks and the intent a worker may have claimed a PUT. The swap of the item decides.
func TestARequest_waitsForAPUTThatWasClaimedMeanwhile(t *testing.T) {
	for name, occupy := range map[string]func(c *ledger.Cluster){
		"a claim": func(c *ledger.Cluster) {
			c.Work = []ledger.Work{{Region: "us-east-1", State: ledger.Due, Claim: &ledger.Claim{Intent: time.Now()}}}
		},
		"another command": func(c *ledger.Cluster) {
			c.Operation = &ledger.Operation{Kind: ledger.OperationRevoke, By: "bo", Sent: time.Now()}
		},
	} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			f := w.function()
			began, occupied := time.Now(), false
			f.Report = func(s lifecycle.Step) {
				if s.Stage == "checked" && !occupied {
					occupied = true
					_, err := f.Ledger.UpdateCluster(t.Context(), analytics, func(c *ledger.Cluster) error { occupy(c); return nil })
					must(t, err)
				}
			}
			result, err := f.Run(t.Context(), enableAnalytics())
			must(t, err)
			switch {
			case !occupied || len(result.Refusals) != 1:
				t.Errorf("%s meanwhile: %+v, want it refused", name, result)
			case len(w.sent) != 0:
				t.Errorf("%s meanwhile: sent %q", name, w.sent)
			}
			later(2 * time.Hour)
			if result, err = w.function().Run(t.Context(), enableAnalytics()); err != nil || !result.Done() {
				t.Errorf("%s is over after %s: %+v, %v; want it sent", name, time.Since(began), result, err)
			}
		})
	}
}

// Ctrl-C between two requests of which the first was refused: nothing is on its way, and nothing is kept from the cluster.
func TestACommandThatIsInterruptedWhilePoliciesSpread_leavesNothingOpen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, simulator.IAMPropagation, "30m")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := w.function().Run(ctx, enableAnalytics()); !errors.Is(err, lifecycle.ErrInterrupted) {
			t.Fatalf("the error is %v, want that it was interrupted", err)
		}
		if o := w.item(analytics).Operation; o.Open() || o.Result != ledger.OperationRefused || len(w.records()) != 1 {
			t.Errorf("the operation is %+v, records %q; want it refused, with its record", o, w.records())
		}
	})
}

// What was confirmed counts for a quarter of an hour, at the Cloud API that it was made for, and for the name that was shown.
func TestApply_refusesAPlanThatDoesNotCountAnyMore(t *testing.T) {
	for name, tt := range map[string]struct {
		after  time.Duration
		change func(*lifecycle.Plan, *lifecycle.Confirmation)
		rows   string
	}{
		"in time":  {14 * time.Minute, func(*lifecycle.Plan, *lifecycle.Confirmation) {}, ""},
		"too late": {15 * time.Minute, func(*lifecycle.Plan, *lifecycle.Confirmation) {}, "plan-expired"},
		"of tomorrow": {0, func(p *lifecycle.Plan, _ *lifecycle.Confirmation) {
			p.Made = p.Made.Add(time.Hour)
			p.Expires = p.Expires.Add(time.Hour)
		}, "plan-expired"},
		"with a longer life":      {20 * time.Minute, func(p *lifecycle.Plan, _ *lifecycle.Confirmation) { p.Expires = p.Expires.Add(time.Hour) }, "plan-expired"},
		"with another name":       {0, func(_ *lifecycle.Plan, c *lifecycle.Confirmation) { c.Typed = "payment" }, "name"},
		"without a name":          {0, func(p *lifecycle.Plan, c *lifecycle.Confirmation) { p.Cluster, c.Typed = "", "" }, "name"},
		"at another Cloud API":    {0, func(_ *lifecycle.Plan, c *lifecycle.Confirmation) { c.Server = "https://cockroachlabs.cloud" }, "plan-server"},
		"of a cluster that moved": {time.Minute, func(p *lifecycle.Plan, _ *lifecycle.Confirmation) { p.Facts.Regions = nil }, "plan-stale"},
	} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			f := w.function()
			w.distrust()
			p, refused, err := f.PlanRevocation(t.Context(), revokePayments(), confirmed.Server, false)
			must(t, err)
			if len(refused) > 0 {
				t.Fatalf("no plan: %+v", refused)
			}
			data, err := json.Marshal(p)
			must(t, err)
			if _, err := lifecycle.ParsePlan(data); err != nil {
				t.Errorf("the plan cannot be read: %v", err)
			}
			if _, err := lifecycle.ParsePlan(append(slices.Clone(data), []byte(" {}")...)); err == nil {
				t.Error("a plan is read that something follows")
			}
			c := confirmed
			tt.change(&p, &c)
			if data, err = json.Marshal(p); err != nil {
				t.Fatal(err)
			}
			if _, err := lifecycle.ParsePlan(data); (err != nil) != (name == "of tomorrow" || name == "with a longer life" || name == "without a name" || name == "of a cluster that moved") {
				t.Errorf("%s: reading the plan: %v", name, err)
			}
			later(tt.after)
			result, err := f.Apply(t.Context(), p, c)
			must(t, err)
			if got := strings.Join(rows(result.Refusals), " "); got != tt.rows || len(w.sent) != map[bool]int{true: 1}[tt.rows == ""] {
				t.Errorf("%s: refused by %q, sent %q; want refused by %q", name, got, w.sent, tt.rows)
			}
		})
	}
}

// Somebody else adds a region after the checks: the map of regions that was checked would remove it.
func TestAddRegion_keepsARegionThatWasAddedMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		f := w.function()
		added := false
		f.Report = func(s lifecycle.Step) {
			if s.Stage == "sending" && !added {
				added = true
				must(t, w.AddRegion("payments", 3, awsSpec("eu-west-1", eastKey, paymentsRole)))
			}
		}
		result, err := f.Run(t.Context(), addToPayments())
		must(t, err)
		var names []string
		for _, r := range w.info(payments).RegionInfos {
			names = append(names, r.Region)
		}
		if !added || !result.Done() || strings.Join(names, " ") != "eu-west-1 us-east-1 us-west-2" || len(w.sent) != 1 {
			t.Errorf("result %+v; the regions are %q, sent %q", result, names, w.sent)
		}
	})
}

// A refusal may be a proxy's, after the server has acted: what reads show counts, and nothing is sent again.
func TestARequestThatWasRefusedAndTookEffect_isWatched(t *testing.T) {
	for name, op := range operations {
		if name == "revoke" {
			continue // it is not sent again, and the next plan shows what it did
		}
		bubble(t, func(t *testing.T) {
			w := newWorld(t, simulator.RotationDuration, "1m", simulator.POSTWhenEnabled, "rotate")
			w.network = contrary{w, new(bool)}
			result, err := op.run(w, w.function())
			must(t, err)
			if !result.Done() || !op.done(w) || len(w.accepted) != 1 || len(w.records()) != 1 {
				t.Errorf("%s: %+v, accepted %q, records %q; steps:\n%s", name, result, w.accepted, w.records(), strings.Join(w.steps, "\n"))
			}
		})
	}
}

// An older read, right before the request or for the checks, shows fewer regions, or other nodes in one: it would remove the one and resize the other.
func TestAddRegion_sendsNothingByAnOlderRead(t *testing.T) {
	for name, older := range map[string]func([]cmek.Region) []cmek.Region{
		"without the last region": func(r []cmek.Region) []cmek.Region { return r[:len(r)-1] },
		"with fewer nodes":        func(r []cmek.Region) []cmek.Region { r[0].NodeCount--; return r },
		"with more nodes":         func(r []cmek.Region) []cmek.Region { r[len(r)-1].NodeCount++; return r },
	} {
		for _, stage := range []string{"sending", "checked"} {
			bubble(t, func(t *testing.T) {
				w := newWorld(t)
				f := w.function()
				// The checks are made with the older read, if it is not the one right before the request.
				show, shown := stage == "checked", stage == "checked"
				f.Cloud = outdated{f.Cloud, &show, older}
				f.Report = func(s lifecycle.Step) {
					show = s.Stage == stage && !shown
					shown = shown || show
				}
				r := addToPayments()
				r.ClusterID = orders
				r.Additions[0].Region, r.Additions[0].KeySpec = "us-east-2", awsSpec("", ordersKey, ordersRole).KeySpec
				r.Waived = map[lifecycle.Hazard]string{lifecycle.CrossRegionKey: "the test's world has no key there"}
				before, err := w.function().Cloud.Cluster(t.Context(), orders)
				must(t, err)
				result, err := f.Run(t.Context(), r)
				must(t, err)
				after, err := w.function().Cloud.Cluster(t.Context(), orders)
				must(t, err)
				want := append(slices.Clone(before.Regions), cmek.Region{Name: "us-east-2", NodeCount: 3})
				slices.SortFunc(want, func(a, b cmek.Region) int { return strings.Compare(a.Name, b.Name) })
				refused := len(result.Refusals) > 0 && len(w.sent) == 0 && slices.Equal(after.Regions, before.Regions)
				if !shown || !refused && (!result.Done() || !slices.Equal(after.Regions, want) || len(w.sent) != 1) {
					t.Errorf("an older read %s, %s: result %+v; the regions are %v, sent %q", name, stage, result, after.Regions, w.sent)
				}
			})
		}
	}
}

// A rate limit asks for a moment, be it for a revocation, whose facts are then checked again.
func TestARequestThatTheRateLimitRefused_isSentAgain(t *testing.T) {
	for name, op := range operations {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.network = hurried{w, new(bool)}
			result, err := op.run(w, w.function())
			must(t, err)
			if !result.Done() || !op.done(w) || len(w.accepted) != 1 || len(w.records()) != 1 {
				t.Errorf("%s: %+v, accepted %q, records %q; steps:\n%s", name, result, w.accepted, w.records(), strings.Join(w.steps, "\n"))
			}
		})
	}
}

// A process was killed while its refused revocation waited to be sent again. What it confirmed is not confirmed for the next command: that
// needs the name, and a plan that counts.
func TestApply_confirmsARefusedRevocationAnew(t *testing.T) {
	for name, tt := range map[string]struct {
		after time.Duration
		typed string
		want  string
	}{
		"a wrong name":  {0, "payment", "name"},
		"no name":       {0, "", "name"},
		"an old plan":   {lifecycle.PlanLasts, "payments", "plan-expired"},
		"in good order": {time.Minute, "payments", ""},
	} {
		bubble(t, func(t *testing.T) {
			w := newWorld(t)
			f := w.function()
			w.distrust()
			p, refused, err := f.PlanRevocation(t.Context(), revokePayments(), confirmed.Server, false)
			must(t, err)
			if len(refused) > 0 {
				t.Fatalf("no plan: %+v", refused)
			}
			_, err = f.Ledger.UpdateCluster(t.Context(), payments, func(c *ledger.Cluster) error {
				now := time.Now()
				c.Operation = &ledger.Operation{Kind: ledger.OperationRevoke, By: "ana", Since: now, Sent: now, Attempts: 1, Answered: now,
					Baseline: &ledger.OperationBaseline{ReadAt: now, CMEK: w.info(payments)}, Answer: &cmek.Answer{Outcome: cmek.Refused, HTTPStatus: 429, Busy: true}}
				return nil
			})
			must(t, err)
			later(tt.after)
			c := confirmed
			c.Typed = tt.typed
			result, err := f.Apply(t.Context(), p, c)
			must(t, err)
			if got := strings.Join(rows(result.Refusals), " "); got != tt.want || len(w.sent) != map[bool]int{true: 1}[tt.want == ""] {
				t.Errorf("%s: refused by %q, sent %q; want %q", name, got, w.sent, tt.want)
			}
		})
	}
}

// What has changed while a refused revocation waited was not confirmed.
func TestARevocationThatWaits_isNotSentOnceAFactHasChanged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.network = hurried{w, new(bool)}
		f := w.function()
		f.Report = func(s lifecycle.Step) {
			if s.Stage == "refused" {
				w.kms("DisableKey", eastKey, "")
			}
		}
		result, err := w.revoke(f)
		must(t, err)
		if got := strings.Join(rows(result.Refusals), " "); got != "plan-stale" || len(w.sent) != 0 || w.item(payments).Operation.Open() {
			t.Errorf("refused by %q, sent %q, operation %+v; want the plan refused and nothing open", got, w.sent, w.item(payments).Operation)
		}
	})
}
