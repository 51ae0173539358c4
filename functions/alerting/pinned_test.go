package alerting

import (
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// An alias that a region follows chooses its key: whatever happens to it is reported with the clusters that follow it, whoever uses the key
// that it names. Any other alias is nobody's concern.
func TestAnAliasThatClustersArePinnedTo(t *testing.T) {
	const alias = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:alias/orders")
	event := func(call string, key cmek.KeyURI, name string) cmek.Event {
		return cmek.Event{ID: "e-1", Source: "aws.kms/AWS API Call via CloudTrail/" + call, Change: cmek.ChangeAlias, Key: key, Time: time.Now(),
			Account: "111122223333", Region: "us-east-1", Principal: ana, Parameters: map[string]string{"alias": name}}
	}
	elsewhere := cmek.KeyURI(strings.Replace(string(unused), "us-east-1", "us-west-2", 1))
	for _, r := range []struct {
		sentence string
		event    cmek.Event
		severity alert.Severity // None: nobody is notified
		says     string
	}{
		{"moved to a key that nobody uses", event("UpdateAlias", unused, "alias/orders"), alert.High, "keyturn moves those to its key that follow it"},
		{"deleted", event("DeleteAlias", unused, "alias/orders"), alert.High, "follows nothing there until the alias exists again"},
		{"deleted, and the record names no key", event("DeleteAlias", alias, "alias/orders"), alert.High, "follows nothing there"},
		{"created anew", event("CreateAlias", unused, "alias/orders"), alert.High, "keyturn moves those"},
		{"another alias", event("UpdateAlias", unused, "alias/orders2"), alert.None, ""},
		{"the alias of that name in another Region", event("UpdateAlias", elsewhere, "alias/orders"), alert.None, ""},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				pin := ledger.Pin{Region: "us-east-1", Alias: alias, Follow: true, Since: time.Now(), By: "ana", Terraform: "none"}
				if err := w.Ledger.SetPin(t.Context(), "c-1", pin); err != nil {
					t.Fatal(err)
				}
				_, err := w.Ledger.UpdateCluster(t.Context(), "c-1", func(c *ledger.Cluster) error {
					c.Pins = []ledger.Pinned{{Region: pin.Region, Alias: alias, Since: pin.Since}}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				w.happens(r.event)
				got := w.told.Alerts()
				if r.severity == alert.None && len(got) == 0 {
					return
				}
				if len(got) != 1 || got[0].Severity != r.severity {
					t.Fatalf("alerts are %+v, want one of severity %s", got, r.severity)
				}
				named := len(got[0].Clusters) == 1 && got[0].Clusters[0].ID == "c-1" && len(got[0].Clusters[0].Regions) == 1
				if r.says != "" && (!named || !strings.Contains(got[0].Impact, r.says) || !strings.Contains(strings.Join(got[0].RecoverySteps, "\n"), "keyturn pin")) {
					t.Errorf("the alert is %+v, want it to say %q and name the pinned cluster with its region", got[0], r.says)
				}
			})
		})
	}
}
