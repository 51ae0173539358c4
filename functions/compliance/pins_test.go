package compliance_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// A pinned region passes if its alias names its key now, whatever rotation read last.
func TestAPinnedRegion_isCheckedAgainstWhatItsAliasNames(t *testing.T) {
	const alias = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:alias/")
	for _, r := range []struct {
		sentence string
		alias    cmek.KeyURI
		refused  bool
		want     checks.Result
		why      string
	}{
		{"the alias names the region's key", alias + "payments-cmek", false, checks.Pass, ""},
		{"the alias does not exist", alias + "payments", false, checks.Fail, "points to no key"},
		{"the alias may not be read", alias + "payments-cmek", true, checks.Error, ""},
		{"the region follows no alias", "", false, checks.NotApplicable, "it follows no alias"},
	} {
		t.Run(r.sentence, func(t *testing.T) {
			within(t, func(t *testing.T, w *world) {
				w.note(payments, time.Minute)
				_, err := w.Ledger.UpdateCluster(context.Background(), payments, func(c *ledger.Cluster) error {
					if r.alias != "" {
						c.Pins = []ledger.Pinned{{Region: "us-east-1", Alias: r.alias, Target: "arn:aws:kms:us-east-1:111122223333:key/of-yesterday", Seen: time.Now()}}
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				w.refused["DescribeKey"] = r.refused
				var got checks.Finding
				for key, f := range results(w.check(payments)) {
					if strings.HasPrefix(key, "CMEK-32 "+payments) {
						got = f
					}
				}
				if got.Result != r.want || !strings.Contains(got.Why, r.why) {
					t.Errorf("CMEK-32 is %s because of %q, want %s because of %q", got.Result, got.Why, r.want, r.why)
				}
			})
		})
	}
}
