package cmek_test

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestStatusesAreClassified(t *testing.T) {
	const inProgress, failed, handsOff = "in progress", "failed", "hands off"
	for status, want := range map[cmek.Status]map[string]bool{
		cmek.Disabled:      {handsOff: true},
		cmek.Disabling:     {handsOff: true, inProgress: true},
		cmek.DisableFailed: {handsOff: true, failed: true},
		cmek.Enabled:       {},
		cmek.Enabling:      {inProgress: true},
		cmek.EnableFailed:  {failed: true},
		cmek.Rotating:      {inProgress: true},
		cmek.RotateFailed:  {failed: true},
		cmek.Revoked:       {handsOff: true},
		cmek.Revoking:      {handsOff: true, inProgress: true},
		cmek.RevokeFailed:  {handsOff: true, failed: true},
	} {
		for class, got := range map[string]bool{inProgress: status.InProgress(), failed: status.Failed(), handsOff: status.HandsOff()} {
			if got != want[class] {
				t.Errorf("status %s is %s: %t, want %t", status, class, got, want[class])
			}
		}
		if !status.Known() {
			t.Errorf("status %s is not known", status)
		}
	}
	if n := len(cmek.Statuses); n != 11 {
		t.Errorf("there are %d statuses, want the eleven of CMEKStatus", n)
	}
}

func TestAnUnknownStatusIsNeitherFinishedNorFailed(t *testing.T) {
	for _, s := range []cmek.Status{"", "REBALANCING", "REBALANCE_FAILED", "enabled", "UNKNOWN_STATUS"} {
		if s.Known() || s.InProgress() || s.Failed() || s.HandsOff() || s == cmek.Enabled {
			t.Errorf("status %q, which the API does not document, is known: %t, in progress: %t, failed: %t, hands off: %t",
				s, s.Known(), s.InProgress(), s.Failed(), s.HandsOff())
		}
	}
}

var (
	longAgo  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	recently = longAgo.Add(24 * time.Hour)
)

func info(uri cmek.KeyURI, status cmek.Status, created, updated time.Time) cmek.KeyInfo {
	return cmek.KeyInfo{Spec: cmek.KeySpec{Type: uri.Type(), URI: uri, AuthPrincipal: "role"}, Status: status, CreatedAt: created, UpdatedAt: updated}
}

func TestCurrentIsTheOnlyDistinctEnabledSpecInAnyOrder(t *testing.T) {
	otherRole := info(singleRegion, cmek.Enabled, longAgo, longAgo)
	otherRole.Spec.AuthPrincipal = "another role"
	for _, r := range []struct {
		sentence string
		infos    []cmek.KeyInfo
		want     cmek.KeyURI
		updated  time.Time
		distinct int
	}{
		{sentence: "no key at all"},
		{sentence: "no ENABLED key", infos: []cmek.KeyInfo{info(singleRegion, cmek.Disabled, longAgo, longAgo)}},
		{sentence: "one ENABLED key", infos: []cmek.KeyInfo{info(singleRegion, cmek.Enabled, longAgo, recently)}, want: singleRegion, updated: recently, distinct: 1},
		{sentence: "a past key beside it", want: singleRegion, updated: longAgo, distinct: 1,
			infos: []cmek.KeyInfo{info(mrkEast, cmek.Disabled, longAgo, recently), info(singleRegion, cmek.Enabled, longAgo, longAgo)}},
		{sentence: "a same-URI rotation appended an info", want: singleRegion, updated: recently, distinct: 1,
			infos: []cmek.KeyInfo{info(singleRegion, cmek.Enabled, longAgo, longAgo), info(singleRegion, cmek.Enabled, recently, recently)}},
		{sentence: "a same-URI rotation disabled the older info", want: singleRegion, updated: recently, distinct: 1,
			infos: []cmek.KeyInfo{info(singleRegion, cmek.Disabled, longAgo, longAgo), info(singleRegion, cmek.Enabled, recently, recently)}},
		{sentence: "two ENABLED keys", distinct: 2,
			infos: []cmek.KeyInfo{info(singleRegion, cmek.Enabled, longAgo, longAgo), info(mrkEast, cmek.Enabled, longAgo, longAgo)}},
		{sentence: "one key under two roles", distinct: 2, infos: []cmek.KeyInfo{info(singleRegion, cmek.Enabled, longAgo, longAgo), otherRole}},
	} {
		for order, infos := range map[string][]cmek.KeyInfo{"in order": r.infos, "reversed": reversed(r.infos)} {
			got, distinct := cmek.RegionInfo{KeyInfos: infos}.Current()
			if got.Spec.URI != r.want || !got.UpdatedAt.Equal(r.updated) || distinct != r.distinct {
				t.Errorf("%s, %s: current is %s of %s among %d specs, want %s of %s among %d",
					r.sentence, order, got.Spec.URI, got.UpdatedAt, distinct, r.want, r.updated, r.distinct)
			}
		}
	}
}

func reversed(infos []cmek.KeyInfo) []cmek.KeyInfo {
	var back []cmek.KeyInfo
	for i := range infos {
		back = append(back, infos[len(infos)-1-i])
	}
	return back
}

func TestNewestIsTheLastInfoOfTheKeyInAnyOrder(t *testing.T) {
	for _, r := range []struct {
		sentence string
		infos    []cmek.KeyInfo
		want     cmek.Status
	}{
		{"no info of the key", []cmek.KeyInfo{info(mrkEast, cmek.Enabled, recently, recently)}, ""},
		{"an older info and a newer one",
			[]cmek.KeyInfo{info(singleRegion, cmek.Disabling, longAgo, longAgo), info(singleRegion, cmek.Enabling, recently, recently)}, cmek.Enabling},
		{"a newer info of another key",
			[]cmek.KeyInfo{info(singleRegion, cmek.Enabled, longAgo, longAgo), info(mrkEast, cmek.Disabled, recently, recently)}, cmek.Enabled},
		{"an older info that was disabled after the newer one was enabled",
			[]cmek.KeyInfo{info(singleRegion, cmek.Disabled, longAgo, recently.Add(time.Second)), info(singleRegion, cmek.Enabled, recently, recently)}, cmek.Enabled},
		{"two infos without times, one of them disabled",
			[]cmek.KeyInfo{info(singleRegion, cmek.Disabled, time.Time{}, time.Time{}), info(singleRegion, cmek.Enabled, time.Time{}, time.Time{})}, cmek.Enabled},
	} {
		for order, infos := range map[string][]cmek.KeyInfo{"in order": r.infos, "reversed": reversed(r.infos)} {
			if got := (cmek.RegionInfo{KeyInfos: infos}).Newest(singleRegion); got.Status != r.want {
				t.Errorf("%s, %s: the newest info is %q of %s, want %q", r.sentence, order, got.Status, got.UpdatedAt, r.want)
			}
		}
	}
}

func TestTheOlderOfTwoInfos(t *testing.T) {
	early, late := longAgo, recently
	for _, r := range []struct {
		sentence     string
		older, newer cmek.KeyInfo
	}{
		{"is DISABLED when the other is not, whatever the times say",
			info(singleRegion, cmek.Disabled, late, late), info(singleRegion, cmek.Enabled, early, early)},
		{"is DISABLED when the other has failed", info(singleRegion, cmek.Disabled, late, late), info(singleRegion, cmek.RotateFailed, early, early)},
		{"is DISABLED when the other's status is not known", info(singleRegion, cmek.Disabled, late, late), info(singleRegion, "NEW_STATUS", early, early)},
		{"was created earlier, whatever was updated later", info(singleRegion, cmek.Enabled, early, late), info(singleRegion, cmek.Enabled, late, early)},
		{"was created earlier, if both are DISABLED", info(singleRegion, cmek.Disabled, early, late), info(singleRegion, cmek.Disabled, late, early)},
		{"was created at a time that is not known", info(singleRegion, cmek.Rotating, time.Time{}, late), info(singleRegion, cmek.Enabled, early, early)},
		{"was updated earlier, if both were created at once", info(singleRegion, cmek.Rotating, early, early), info(singleRegion, cmek.Enabled, early, late)},
	} {
		for order, infos := range map[string][]cmek.KeyInfo{"in order": {r.older, r.newer}, "reversed": {r.newer, r.older}} {
			if got := (cmek.RegionInfo{KeyInfos: infos}).Newest(singleRegion); got != r.newer {
				t.Errorf("%s, %s: the newest is %+v, want %+v", r.sentence, order, got, r.newer)
			}
		}
	}
	first, second := info(singleRegion, cmek.Rotating, early, late), info(singleRegion, cmek.Enabled, early, late)
	for _, infos := range [][]cmek.KeyInfo{{first, second}, {second, first}} {
		if got := (cmek.RegionInfo{KeyInfos: infos}).Newest(singleRegion); got != infos[1] {
			t.Errorf("comes first in the list, if nothing else differs: the newest is %+v, want %+v", got, infos[1])
		}
	}
}

func TestRegionIsFoundByName(t *testing.T) {
	c := cmek.ClusterInfo{RegionInfos: []cmek.RegionInfo{{Region: "us-east-1", Status: cmek.Enabled}}}
	if got, ok := c.Region("us-east-1"); !ok || got.Status != cmek.Enabled {
		t.Errorf("region us-east-1 is %+v, %t", got, ok)
	}
	if got, ok := c.Region("us-west-2"); ok {
		t.Errorf("a region that the cluster does not have is %+v", got)
	}
}

func TestBusyNamesWhyToWait(t *testing.T) {
	for _, r := range []struct {
		state, operation, want string
	}{
		{cmek.StateCreated, "", ""},
		{cmek.StateCreated, "UNSPECIFIED", ""},
		{cmek.StateCreated, "CLUSTER_STATUS_UNSPECIFIED", ""},
		{cmek.StateCreated, cmek.CMEKOperationFailed, ""},
		{cmek.StateCreated, cmek.CMEKOperationRunning, "operation status is CRDB_CMEK_OPERATION_RUNNING"},
		{cmek.StateCreated, "MAINTENANCE_RUNNING", "operation status is MAINTENANCE_RUNNING"},
		{cmek.StateLocked, "", "cluster state is LOCKED"},
		{"CREATING", "", "cluster state is CREATING"},
		{cmek.StateDeleted, "", "cluster state is DELETED"},
	} {
		if got := (cmek.Cluster{State: r.state, OperationStatus: r.operation}).Busy(); got != r.want {
			t.Errorf("a cluster in state %s with operation status %q is busy because %q, want %q", r.state, r.operation, got, r.want)
		}
	}
}

func TestElsewhere_isAnotherLocationThanTheRegion(t *testing.T) {
	const aws, google = "111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001", "/keyRings/r/cryptoKeys/k"
	const multi = "111122223333:key/mrk-5e3c0b9d71f84a62b6e07c2f18d4a906"
	for _, r := range []struct {
		region  string
		uri     cmek.KeyURI
		instead string
	}{
		{"us-east-1", "arn:aws:kms:us-east-1:" + aws, ""},
		{"us-east-1", "arn:aws:kms:us-east-2:" + aws, "name a key there"},
		{"us-gov-east-1", "arn:aws-us-gov:kms:us-gov-east-1:" + aws, ""},
		{"us-east-1", "arn:aws:kms:us-east-1:" + multi, ""},
		{"us-east-1", "arn:aws:kms:eu-west-1:" + multi, "name the key's replica in us-east-1"},
		{"us-east1", "projects/p/locations/us-east1" + google, ""},
		{"us-east1", "//cloudkms.googleapis.com/projects/p/locations/us-east1" + google + "/cryptoKeyVersions/3", ""},
		{"us-east1", "projects/p/locations/us-east4" + google, "name a key there"},
		{"us-east1", "projects/p/locations/us" + google, "name a key there"},
		{"us-east1", "projects/p/locations/global" + google, "name a key there"},
		{"us-east1", "no key", ""},
	} {
		why, instead := cmek.RegionSpec{Region: r.region, KeySpec: cmek.KeySpec{URI: r.uri}}.Elsewhere()
		if instead != r.instead || (why == "") != (instead == "") {
			t.Errorf("key %s for region %s: %q, %q; want %q", r.uri, r.region, why, instead, r.instead)
		}
	}
}
