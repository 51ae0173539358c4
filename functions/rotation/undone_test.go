package rotation

import (
	"slices"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// A region that an order moved, and that is on another key now, is reported once; nothing is sent for it.
func TestReportUndone_oncePerChange(t *testing.T) {
	region := func(status cmek.Status, keys ...cmek.KeyURI) cmek.ClusterInfo {
		r := cmek.RegionInfo{Region: east, Status: status}
		for _, uri := range keys {
			r.KeyInfos = append(r.KeyInfos, keyInfo(uri, cmek.Enabled, longAgo))
		}
		return cmek.ClusterInfo{Status: status, RegionInfos: []cmek.RegionInfo{r}}
	}
	onNew, onOld, onThird := region(cmek.Enabled, newKey), region(cmek.Enabled, eastKey), region(cmek.Enabled, otherKey)
	moved := ledger.OrderEnd{ID: "o1", Region: east, To: newKey, Done: true, At: ago(5 * time.Hour)}
	dropped := ledger.OrderEnd{ID: "o2", Region: east, To: otherKey, At: ago(4 * time.Hour)}
	for _, r := range []struct {
		name  string
		ends  []ledger.OrderEnd
		work  []ledger.Work
		reads []cmek.ClusterInfo
		want  int // alerts
	}{
		{"on the key of the order", []ledger.OrderEnd{moved}, nil, []cmek.ClusterInfo{onNew, onNew}, 0},
		{"put back", []ledger.OrderEnd{moved}, nil, []cmek.ClusterInfo{onNew, onOld, onOld}, 1},
		{"put back, and rotating at one read", []ledger.OrderEnd{moved}, nil, []cmek.ClusterInfo{onNew, region(cmek.Rotating, newKey, eastKey), onOld}, 1},
		{"not shown", []ledger.OrderEnd{moved}, nil, []cmek.ClusterInfo{{}, onNew}, 0},
		{"put back twice", []ledger.OrderEnd{moved}, nil, []cmek.ClusterInfo{onOld, onNew, onOld}, 2},
		{"on a third key", []ledger.OrderEnd{moved}, nil, []cmek.ClusterInfo{onThird}, 1},
		{"no order", nil, nil, []cmek.ClusterInfo{onNew, onOld}, 0},
		{"an order that was dropped", []ledger.OrderEnd{moved, dropped}, nil, []cmek.ClusterInfo{onNew}, 0},
		{"an order of another region", []ledger.OrderEnd{{ID: "o1", Region: west, To: newKey, Done: true, At: noon}}, nil, []cmek.ClusterInfo{onOld}, 0},
		{"a later order moved it back", []ledger.OrderEnd{moved, {ID: "o3", Region: east, To: eastKey, Done: true, At: noon}}, nil, []cmek.ClusterInfo{onOld}, 0},
		{"an order is under way", []ledger.OrderEnd{moved}, []ledger.Work{{Region: east, Key: otherKey, Order: "o4", State: ledger.Requested}}, []cmek.ClusterInfo{onThird}, 0},
	} {
		t.Run(r.name, func(t *testing.T) {
			item := &ledger.Cluster{ID: "c-1", Orders: slices.Clone(r.ends), Work: r.work}
			for i, info := range r.reads {
				reportUndone(item, info, in(time.Duration(i)*time.Minute))
			}
			told := alerts(item)
			if len(told) != r.want {
				t.Fatalf("%d alerts, want %d: %+v", len(told), r.want, told)
			}
			for _, a := range told {
				if a.Change != changeOrderUndone || a.Runbook != "functions/rotation/README.md#order-undone" {
					t.Errorf("alert %+v", a)
				}
			}
		})
	}
}

// When a request leaves is noted with it: what the audit log has and keyturn did not note is somebody else's.
func TestDepart_notesWhenTheRequestLeaves(t *testing.T) {
	intent := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	item := &ledger.Cluster{Work: []ledger.Work{{Region: "us-east-1", Claim: &ledger.Claim{Intent: intent}}}}
	for n := range 2 {
		now := intent.Add(time.Duration(n+1) * time.Minute)
		depart(item, Facts{}, []cmek.RegionSpec{{Region: "us-east-1"}}, intent, now)
		if sent := item.Requests(); len(sent) != n+1 || !sent[n].Equal(now) {
			t.Errorf("after request %d the ledger has %v", n+1, sent)
		}
		item.Work[0].Claim, item.Work[0].Request = &ledger.Claim{Intent: intent}, nil
	}
}
