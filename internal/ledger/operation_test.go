package ledger_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestAnOperation_keepsOthersAwayWhileItMayRun(t *testing.T) {
	op := func(sent time.Duration, ended bool) *ledger.Operation {
		o := &ledger.Operation{Kind: ledger.OperationRevoke, Sent: noon.Add(-sent)}
		if ended {
			o.Ended = noon
		}
		return o
	}
	refused := func(ago time.Duration) *ledger.Operation {
		o := op(time.Minute, false)
		o.Answer, o.Answered = &cmek.Answer{Outcome: cmek.Refused}, noon.Add(-ago)
		return o
	}
	for name, row := range map[string]struct {
		operation      *ledger.Operation
		open, excludes bool
	}{
		"none":                   {nil, false, false},
		"sent just now":          {op(0, false), true, true},
		"sent almost 2 h ago":    {op(2*time.Hour-time.Second, false), true, true},
		"sent 2 h ago":           {op(2*time.Hour, false), true, false},
		"refused just now":       {refused(3*time.Minute - time.Second), true, true},
		"refused 3 min ago":      {refused(3 * time.Minute), true, false},
		"ended":                  {op(time.Minute, true), false, false},
		"by a clock ahead of us": {op(-time.Minute, false), true, true},
	} {
		if row.operation.Open() != row.open || row.operation.Excludes(noon) != row.excludes {
			t.Errorf("%s: open %t, excludes %t; want %t, %t", name, row.operation.Open(), row.operation.Excludes(noon), row.open, row.excludes)
		}
	}
}

func TestSending_namesAPUTThatMayBeUnderWay(t *testing.T) {
	work := func(region string, state ledger.State, claimed time.Duration) ledger.Work {
		w := ledger.Work{Region: region, State: state}
		if claimed != 0 {
			w.Claim = &ledger.Claim{Intent: noon.Add(-claimed)}
		}
		return w
	}
	for name, row := range map[string]struct {
		work []ledger.Work
		want string
	}{
		"nothing":         {nil, ""},
		"due":             {[]ledger.Work{work("a", ledger.Due, 0), work("b", ledger.Blocked, 0)}, ""},
		"requested":       {[]ledger.Work{work("a", ledger.Due, 0), work("b", ledger.Requested, 0)}, "b"},
		"claimed":         {[]ledger.Work{work("a", ledger.Due, ledger.ClaimTime-1)}, "a"},
		"a claim too old": {[]ledger.Work{work("a", ledger.Due, ledger.ClaimTime)}, ""},
	} {
		if got := (&ledger.Cluster{Work: row.work}).Sending(noon); got != row.want {
			t.Errorf("%s: sending in %q, want %q", name, got, row.want)
		}
	}
}

func TestLink_chainsRecordsByTheHashOfTheOneBefore(t *testing.T) {
	c := &ledger.Cluster{ID: "c-1"}
	for n := range 3 {
		c.Link(noon.Add(time.Duration(n)*time.Hour), "us-east-1", func(number int, previous string) []byte {
			return fmt.Appendf(nil, `{"number":%d,"previous":%q}`, number, previous)
		})
	}
	previous := ""
	for i, m := range c.Messages {
		if want := fmt.Sprintf("evidence/c-1/20261120T120000Z-%06d-us-east-1.json", i+1); m.ID != want {
			t.Errorf("record %d is named %s, want %s", i, m.ID, want)
		}
		if want := fmt.Sprintf(`{"number":%d,"previous":%q}`, i+1, previous); string(m.Evidence) != want {
			t.Errorf("record %d is %s, want %s", i, m.Evidence, want)
		}
		sum := sha256.Sum256(m.Evidence)
		previous = hex.EncodeToString(sum[:])
	}
	if c.Chain.Count != 3 || c.Chain.Last != previous {
		t.Errorf("the chain is %+v, want three records up to %s", c.Chain, previous)
	}
}

// An operation that has ended makes room before alerts are lost; one that is open keeps its baseline, which tells its traces.
func TestAnItemWithoutRoom_keepsTheBaselineOfAnOpenOperation(t *testing.T) {
	baseline := func() *ledger.OperationBaseline {
		b := &ledger.OperationBaseline{ReadAt: noon}
		for i := range 900 {
			sum := sha256.Sum256(fmt.Append(nil, i))
			b.CMEK.RegionInfos = append(b.CMEK.RegionInfos, cmek.RegionInfo{Region: strings.Repeat(hex.EncodeToString(sum[:]), 12)})
		}
		return b
	}
	for _, ended := range []bool{true, false} {
		l := newLedger(cmektest.NewStore(), 1)
		c, err := l.UpdateCluster(t.Context(), "c-1", func(c *ledger.Cluster) error {
			c.Operation = &ledger.Operation{Kind: ledger.OperationEnable, Baseline: baseline()}
			if ended {
				c.Operation.Ended = noon
			}
			for i := range 8000 {
				sum := sha256.Sum256(fmt.Append(nil, "dropped", i))
				c.Dropped = append(c.Dropped, ledger.Dropped{Reason: hex.EncodeToString(sum[:]), At: noon})
			}
			return nil
		})
		if ended && (err != nil || c.Operation.Baseline != nil) {
			t.Errorf("an item with an operation that has ended: error %v", err)
		}
		if !ended && (err == nil || !strings.Contains(err.Error(), "operation")) {
			t.Errorf("an item with an open operation is written without room: error %v, want one that names the operation", err)
		}
	}
}
