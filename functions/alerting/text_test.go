package alerting

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// What a person reads who is woken: read testdata aloud before changing it.
func TestAlertsReadWellAtThreeInTheMorning(t *testing.T) {
	for _, row := range []struct {
		file   string
		happen func(*testing.T, *world)
	}{
		{"deletion-scheduled", func(_ *testing.T, w *world) {
			w.cluster("c-2", "payments", cmek.Enabled)
			w.happens(w.isScheduled("e-1"))
		}},
		{"key-disabled", func(_ *testing.T, w *world) { w.happens(w.isDisabled("e-1")) }},
		{"key-disabled-while-nothing-answers", func(_ *testing.T, w *world) {
			w.kms.outage, w.cloud.outage, w.store.outage = down, down, down
			_ = w.Event(w.t.Context(), w.isDisabled("e-1"))
		}},
		{"deletion-canceled", func(_ *testing.T, w *world) {
			w.kms.set(key, cmek.KeyDisabled)
			w.happens(event("e-1", cmek.ChangeDeletionCanceled))
		}},
		{"key-policy-cuts-off", func(t *testing.T, w *world) {
			if err := w.Ledger.NotePolicy(t.Context(), string(key), goodKeyPolicy, ledger.NotedPolicy{}); err != nil {
				t.Fatal(err)
			}
			w.happens(event("e-1", cmek.ChangeKeyPolicy, document(denyKeyPolicy)))
		}},
		{"key-policy-lets-a-stranger-in", func(_ *testing.T, w *world) {
			w.happens(event("e-1", cmek.ChangeKeyPolicy, document(openKeyPolicy)))
		}},
		{"role-trust-broken", func(_ *testing.T, w *world) {
			w.happens(event("e-1", cmek.ChangePrincipalTrust, ofRole("crdb-cmek"), document(brokenTrust)))
		}},
		{"role-deleted", func(_ *testing.T, w *world) {
			w.happens(event("e-1", cmek.ChangePrincipalDeleted, ofRole("crdb-cmek")))
		}},
		{"many-clusters", func(t *testing.T, w *world) {
			for i := 2; i <= 12; i++ {
				w.cluster(fmt.Sprintf("c-%02d", i), fmt.Sprintf("shard-%02d", i), cmek.Enabled)
			}
			edit(t, w, func(c *ledger.Cluster) { c.Cluster.OperationStatus = "CRDB_PATCH_RUNNING" })
			_, err := w.Ledger.UpdateCluster(t.Context(), "c-02", func(c *ledger.Cluster) error {
				past := c.CMEK.RegionInfos[0].KeyInfos[0]
				c.CMEK.RegionInfos[0].KeyInfos[0].Spec.URI = unused
				past.Status = cmek.Disabled
				c.CMEK.RegionInfos[0].KeyInfos = append(c.CMEK.RegionInfos[0].KeyInfos, past)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			w.happens(w.isDisabled("e-1"))
		}},
		{"closed-by-hand", func(t *testing.T, w *world) {
			w.happens(w.isDisabled("e-1"))
			time.Sleep(time.Minute)
			w.closes(t, "key-unusable/"+string(key))
			w.ticks(time.Minute)
		}},
		{"role-refused", func(_ *testing.T, w *world) {
			w.happens(event("e-1", cmek.ChangeUseRefused, ofRole(role), failed("AccessDenied"), by("arn:aws:iam::"+crlAccount+":role/cockroach")))
		}},
		{"use-refused", func(_ *testing.T, w *world) {
			w.happens(event("e-1", cmek.ChangeUseRefused, by(role), failed("AccessDenied")))
		}},
		{"failed-attempt", func(_ *testing.T, w *world) {
			w.happens(event("e-1", cmek.ChangeDeletionScheduled, failed("AccessDenied")))
		}},
		{"trail-stopped", func(_ *testing.T, w *world) {
			w.happens(event("e-1", cmek.ChangeLogSink, of(""), with("trail", "main"), calling("aws.cloudtrail", "StopLogging")))
		}},
		{"rule-deleted-by-deployment", func(_ *testing.T, w *world) {
			w.happens(ruleCall("e-1", "DeleteRule", cloudFormation))
		}},
		{"repaired", func(_ *testing.T, w *world) {
			w.Repairer = w.repair
			w.happens(w.isScheduled("e-1"))
			w.ticks(6 * time.Minute)
		}},
		{"resolved", func(_ *testing.T, w *world) {
			w.happens(w.isDisabled("e-1"))
			time.Sleep(time.Minute)
			w.happens(w.isEnabled("e-2"))
			w.ticks(20 * time.Minute)
		}},
	} {
		inWorld(t, func(t *testing.T, w *world) {
			row.happen(t, w)
			got, golden := w.last().Text(), filepath.Join("testdata", row.file+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the alert reads\n%s\nwant (%s; go test -update rewrites it)\n%s", got, golden, want)
			}
		})
	}
}
