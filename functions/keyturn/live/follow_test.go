package live

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/progress"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestOpenWorkIsBlockedWhenAllOfItNeedsAttention(t *testing.T) {
	const paymentsKey = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001"
	v2 := cmek.MaterialVersion(strings.Repeat("2", 64))
	opened := time.Now().Add(-time.Hour)
	work := func(state ledger.State, failed int) ledger.Work {
		return ledger.Work{Region: "us-east-1", Key: paymentsKey, Version: v2, State: state, Failed: failed, Since: opened}
	}
	fleet := func(all ...ledger.Work) (clusters []*ledger.Cluster) {
		for i, w := range all {
			clusters = append(clusters, &ledger.Cluster{ID: strconv.Itoa(i), Work: []ledger.Work{w}})
		}
		return clusters
	}
	// Somebody else's request failed at the first cluster.
	foreign := fleet(work(ledger.Blocked, 0), work(ledger.Due, 0))
	foreign[0].CMEK.RegionInfos = []cmek.RegionInfo{{Region: "us-east-1", Status: cmek.RotateFailed, KeyInfos: []cmek.KeyInfo{
		{Spec: cmek.KeySpec{Type: cmek.AWSKMS, URI: paymentsKey}, Status: cmek.RotateFailed, UpdatedAt: time.Now()}}}}
	skipped := fleet(work(ledger.Blocked, 2), work(ledger.Due, 0))
	skipped[0].Skipped = []string{"us-east-1"}
	unshown := fleet(work(ledger.Due, 0))
	unshown[0].Unread = ledger.Unread{Since: opened, Why: "not shown"}
	for _, tc := range []struct {
		sentence string
		fleet    []*ledger.Cluster
		want     bool
	}{
		{"nothing is open", fleet(), false},
		{"due work is not blocked", fleet(work(ledger.Due, 0)), false},
		{"blocked work is", fleet(work(ledger.Blocked, 0)), true},
		{"due work beside work that is blocked for another reason is not", fleet(work(ledger.Blocked, 0), work(ledger.Due, 0)), false},
		{"due work behind a failed canary is", fleet(work(ledger.Blocked, 2), work(ledger.Due, 0)), true},
		{"due work behind somebody else's failure is", foreign, true},
		{"due work behind a failure that is skipped is not", skipped, false},
		{"work of a cluster that is not shown is", unshown, true},
		{"the one retry of failed work is not", fleet(work(ledger.Due, 1)), false},
		{"a request under way is not", fleet(work(ledger.Blocked, 2), work(ledger.Requested, 0)), false},
	} {
		if got := allBlocked(progress.View{Clusters: tc.fleet}); got != tc.want {
			t.Errorf("%s: blocked is %t, want %t", tc.sentence, got, tc.want)
		}
	}
}
