package lifecycle

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// sentAgo is an operation whose request left so long ago, from a situation's facts.
func sentAgo(from *situation, d time.Duration) ledger.Operation {
	from.facts.At = noon.Add(-d)
	return intent(from.request, from.facts, noon.Add(-d))
}

func answered(o ledger.Operation, outcome cmek.Outcome) ledger.Operation {
	o.Answer = &cmek.Answer{Outcome: outcome, Message: "said so"}
	return o
}

func confirmedBefore(o ledger.Operation, s cmek.Status, d time.Duration) ledger.Operation {
	o.Final = ledger.Final{Status: s, Since: noon.Add(-d)}
	return o
}

func TestFollow(t *testing.T) {
	set := DefaultSettings()
	region := func(name string, status cmek.Status, uri cmek.KeyURI, key cmek.Status) cmek.RegionInfo {
		return cmek.RegionInfo{Region: name, Status: status, KeyInfos: []cmek.KeyInfo{{Spec: spec(name, uri).KeySpec, Status: key, UpdatedAt: noon, UserMessage: "as they say"}}}
	}
	info := func(status cmek.Status, regions ...cmek.RegionInfo) cmek.ClusterInfo {
		return cmek.ClusterInfo{Status: status, RegionInfos: regions}
	}
	is := func(change ...func(*cmek.Cluster)) cmek.Cluster {
		c := enabling().facts.Cluster
		for _, f := range change {
			f(&c)
		}
		return c
	}
	withWest := func(c *cmek.Cluster) { c.Regions = append(c.Regions, cmek.Region{Name: west, NodeCount: 3}) }
	locked := func(c *cmek.Cluster) { c.State, c.OperationStatus = cmek.StateLocked, cmek.CMEKOperationRunning }
	inForce := region(east, cmek.Enabled, oldKey, cmek.Enabled)
	inForce.KeyInfos[0].UpdatedAt = noon.Add(-time.Hour)
	none := cmek.ClusterInfo{Status: cmek.Disabled}
	all := info(cmek.Enabled, region(east, cmek.Enabled, newKey, cmek.Enabled))
	both := info(cmek.Enabled, inForce, region(west, cmek.Enabled, farKey, cmek.Enabled))
	revoked := info(cmek.Revoked, region(east, cmek.Revoked, oldKey, cmek.Revoked))

	for _, row := range []struct {
		sentence string
		o        ledger.Operation
		cluster  cmek.Cluster
		cmek     cmek.ClusterInfo
		want     ledger.OperationResult
		why      string
	}{
		{"no answer is on record, and nothing shows", sentAgo(enabling(), 39*time.Second), is(), none, "", "may be on its way"},
		{"no answer is on record, and a trace shows", sentAgo(enabling(), time.Second), is(), all, "", "read once"},
		{"the answer is lost, and nothing shows yet", answered(sentAgo(enabling(), 9*time.Minute), cmek.Unknown), is(), none, "", "no trace"},
		{"nothing shows after ten minutes", answered(sentAgo(enabling(), 10*time.Minute), cmek.Unknown), is(), none, ledger.OperationLost, "left no trace"},
		{"nothing shows after ten minutes, but an operation runs", answered(sentAgo(enabling(), time.Hour), cmek.Unknown), is(locked), none, "", "no trace"},
		{"accepted, and nothing shows for an hour", answered(sentAgo(enabling(), time.Hour), cmek.Accepted), is(), none, "", "no trace"},
		{"accepted, and nothing shows for two hours", answered(sentAgo(enabling(), 2*time.Hour), cmek.Accepted), is(), none, ledger.OperationLost, "left no trace"},
		{"being enabled", answered(sentAgo(enabling(), time.Minute), cmek.Accepted), is(locked), info(cmek.Enabling, region(east, cmek.Enabling, newKey, cmek.Enabling)), "", "LOCKED"},
		{"enabled, read for the first time", answered(sentAgo(enabling(), time.Minute), cmek.Accepted), is(), all, "", "read once"},
		{"enabled, read again too soon", confirmedBefore(answered(sentAgo(enabling(), time.Minute), cmek.Accepted), cmek.Enabled, 49*time.Second), is(), all, "", "read once"},
		{"enabled in two reads", confirmedBefore(answered(sentAgo(enabling(), time.Minute), cmek.Accepted), cmek.Enabled, 50*time.Second), is(), all, ledger.OperationDone, evidenceKey},
		{"enabled, although the request was refused", confirmedBefore(answered(sentAgo(enabling(), time.Minute), cmek.Refused), cmek.Enabled, time.Minute), is(), all, ledger.OperationDone, evidenceKey},
		{"enabled, and the cluster is still locked", confirmedBefore(answered(sentAgo(enabling(), time.Minute), cmek.Accepted), cmek.Enabled, time.Minute), is(locked), all, "", "LOCKED"},
		{"enabled with another key", answered(sentAgo(enabling(), time.Minute), cmek.Accepted), is(), info(cmek.Enabled, region(east, cmek.Enabled, oldKey, cmek.Enabled)), "", "no trace"},
		{"enabled with another principal", answered(sentAgo(enabling(), time.Minute), cmek.Accepted), is(), func() cmek.ClusterInfo {
			r := region(east, cmek.Enabled, newKey, cmek.Enabled)
			r.KeyInfos[0].Spec.AuthPrincipal += "-2"
			return info(cmek.Enabled, r)
		}(), "", "no trace"},
		{"failed, read for the first time", answered(sentAgo(enabling(), time.Minute), cmek.Accepted), is(), info(cmek.EnableFailed, region(east, cmek.EnableFailed, newKey, cmek.EnableFailed)), "", "read once"},
		{"failed in two reads", confirmedBefore(answered(sentAgo(enabling(), time.Minute), cmek.Accepted), cmek.EnableFailed, time.Minute), is(),
			info(cmek.EnableFailed, region(east, cmek.EnableFailed, newKey, cmek.EnableFailed)), ledger.OperationFailed, "as they say"},

		{"the new region is shown", answered(sentAgo(adding(), time.Minute), cmek.Accepted), is(withWest), info(cmek.Enabled, inForce), "", "status"},
		{"the new region is in force in two reads", confirmedBefore(answered(sentAgo(adding(), time.Minute), cmek.Unknown), cmek.Enabled, time.Minute), is(withWest), both, ledger.OperationDone, evidenceRegion},
		{"the new region has other nodes", confirmedBefore(answered(sentAgo(adding(), time.Minute), cmek.Accepted), cmek.Enabled, time.Minute), is(func(c *cmek.Cluster) { withWest(c); c.Regions[1].NodeCount = 1 }), both, "", "status"},
		{"a region of before is not shown", confirmedBefore(answered(sentAgo(adding(), time.Minute), cmek.Accepted), cmek.Enabled, time.Minute), is(func(c *cmek.Cluster) { withWest(c); c.Regions = c.Regions[1:] }), both, "", "status"},
		{"the edit of the cluster failed", confirmedBefore(answered(sentAgo(adding(), time.Minute), cmek.Accepted), "CRDB_EDIT_CLUSTER_FAILED", time.Minute),
			is(withWest, func(c *cmek.Cluster) { c.OperationStatus = "CRDB_EDIT_CLUSTER_FAILED" }), info(cmek.Enabled, inForce), ledger.OperationFailed, "CRDB_EDIT_CLUSTER_FAILED"},

		{"nothing of a revocation shows", answered(sentAgo(revokingIt(), time.Minute), cmek.Accepted), is(), info(cmek.Enabled, inForce), "", "no trace"},
		{"being revoked", answered(sentAgo(revokingIt(), time.Minute), cmek.Accepted), is(locked), info(cmek.Revoking, region(east, cmek.Revoking, oldKey, cmek.Revoking)), "", "LOCKED"},
		{"revoked in two reads", confirmedBefore(answered(sentAgo(revokingIt(), time.Minute), cmek.Accepted), cmek.Revoked, time.Minute), is(), revoked, ledger.OperationDone, evidenceStatus},
		{"one region of two is revoked", confirmedBefore(answered(sentAgo(revokingIt(), time.Minute), cmek.Accepted), cmek.Revoked, time.Minute), is(),
			info(cmek.Revoking, region(east, cmek.Revoked, oldKey, cmek.Revoked), region(west, cmek.Revoking, oldKey, cmek.Revoking)), "", "status REVOKING"},
		{"the revocation failed", confirmedBefore(answered(sentAgo(revokingIt(), time.Minute), cmek.Accepted), cmek.RevokeFailed, time.Minute), is(),
			info(cmek.RevokeFailed, region(east, cmek.RevokeFailed, oldKey, cmek.RevokeFailed)), ledger.OperationFailed, "as they say"},
	} {
		o := row.o
		o.Answered = o.Sent
		got, why := follow(o, sight{noon, &row.cluster, &row.cmek}, noon, set)
		if got.Result != row.want || !strings.Contains(why+got.Why, row.why) || (got.Result == "") != got.Ended.IsZero() {
			t.Errorf("%s (%s): result %q because %q%q, want %q because %q", row.sentence, row.o.Kind, got.Result, why, got.Why, row.want, row.why)
		}
		if again, _ := follow(o, sight{noon, &row.cluster, &row.cmek}, noon, set); !reflect.DeepEqual(again, got) {
			t.Errorf("%s: the same read gave two results:\n%+v\n%+v", row.sentence, got, again)
		}
	}

	// What was not read, or was read before the request left, decides nothing.
	o := confirmedBefore(answered(sentAgo(enabling(), time.Hour), cmek.Unknown), cmek.Enabled, time.Minute)
	c := is()
	for name, s := range map[string]sight{
		"no cluster": {noon, nil, &all}, "no CMEK": {noon, &c, nil}, "before the request": {noon.Add(-time.Hour - time.Second), &c, &all},
	} {
		if got, why := follow(o, s, noon, set); !got.Ended.IsZero() || !strings.Contains(why, "not read") || len(got.Timeline) > 0 {
			t.Errorf("%s: %+v because %q, want nothing decided", name, got, why)
		}
	}
}
