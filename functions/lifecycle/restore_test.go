package lifecycle

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

// A node that is not shown is not live: a list that was not read, that is empty, or that lacks a node of a region proves nothing.
func TestDiagnosis_isHealthyOnlyIfEveryNodeIsShownAndLive(t *testing.T) {
	two := []cmek.Region{{Name: east, NodeCount: 2}, {Name: west, NodeCount: 1}}
	all := []cmek.Node{{Name: "n1", Region: east, Status: cmek.NodeLive}, {Name: "n2", Region: east, Status: cmek.NodeLive}, {Name: "n3", Region: west, Status: cmek.NodeLive}}
	for _, tt := range []struct {
		name    string
		regions []cmek.Region
		nodes   []cmek.Node
		err     error
		healthy bool
		says    string
	}{
		{"all shown", two, all, nil, true, ""},
		{"more than counted, while it grows", two, append(slices.Clone(all), cmek.Node{Region: west, Status: cmek.NodeLive}), nil, true, ""},
		{"not read", two, nil, errors.New("403 Forbidden"), false, "could not be read: 403 Forbidden"},
		{"none shown", two, []cmek.Node{}, nil, false, "0 of 2 nodes"},
		{"one lacks", two, all[1:], nil, false, "1 of 2 nodes"},
		{"a region lacks", two, all[:2], nil, false, "0 of 1 nodes"},
		{"no count, and no node", []cmek.Region{{Name: east}}, nil, nil, false, "0 of 0 nodes"},
		{"no count, and a node", []cmek.Region{{Name: east}}, all[:1], nil, true, ""},
		{"no region, and no node", nil, nil, nil, false, "no node"},
	} {
		facts := revokingIt().facts
		facts.Cluster.Regions, facts.Nodes, facts.NodesErr = tt.regions, tt.nodes, tt.err
		found := unshownNodes(facts)
		var said strings.Builder
		for _, f := range found {
			said.WriteString(f.What + "\n")
			if f.OK != nil {
				t.Errorf("%s: %+v is judged, want it unknown", tt.name, f)
			}
		}
		if d := (Diagnosis{CMEK: facts.CMEK, Findings: found}); d.Healthy() != tt.healthy || !strings.Contains(said.String(), tt.says) {
			t.Errorf("%s: healthy %t, it says %q; want %t and %q", tt.name, d.Healthy(), said.String(), tt.healthy, tt.says)
		}
	}
}

// A version whose state is not known is none that is usable, and no versions are versions that were not read.
func TestVersions_areJudgedByTheirStates(t *testing.T) {
	of := func(states ...cmek.KeyState) Finding {
		key := cmek.Key{State: cmek.KeyEnabled}
		for _, s := range states {
			key.Versions = append(key.Versions, cmek.KeyVersionInfo{Version: cmek.KeyVersion{Scheme: cmek.Primary, ID: "1"}, State: s})
		}
		return versions(spec(east, oldKey), key)
	}
	yes, no := true, false
	for _, tt := range []struct {
		states []cmek.KeyState
		ok     *bool
	}{
		{nil, nil},
		{[]cmek.KeyState{""}, nil},
		{[]cmek.KeyState{cmek.KeyEnabled, cmek.KeyEnabled}, &yes},
		{[]cmek.KeyState{cmek.KeyEnabled, cmek.KeyTransient}, nil},
		{[]cmek.KeyState{cmek.KeyEnabled, cmek.KeyUnknown}, nil},
		{[]cmek.KeyState{cmek.KeyUnknown, cmek.KeyDestroyed}, &no},
		{[]cmek.KeyState{cmek.KeyDisabled}, &no},
	} {
		if f := of(tt.states...); (f.OK == nil) != (tt.ok == nil) || f.OK != nil && *f.OK != *tt.ok {
			t.Errorf("versions %q: %+v", tt.states, f)
		}
	}
}
