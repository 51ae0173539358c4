package cmek_test

import (
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestCluster_mayHaveKeysOfATypeUntilItShowsThatItHasNot(t *testing.T) {
	with := func(types ...cmek.KeyType) (info cmek.ClusterInfo) {
		for _, kind := range types {
			info.RegionInfos = append(info.RegionInfos, cmek.RegionInfo{KeyInfos: []cmek.KeyInfo{{Spec: cmek.KeySpec{Type: kind}}}})
		}
		return info
	}
	for _, tc := range []struct {
		provider    string
		info        cmek.ClusterInfo
		aws, google bool
	}{
		{"AWS", with(), true, false},
		{"GCP", with(), false, true},
		{"AZURE", with(), false, false},
		{"AWS", with(cmek.GCPCloudKMS), true, false}, // the provider decides
		{"", with(), true, true},
		{"NEW", with(), true, true},
		{"", with(cmek.AWSKMS), true, false},
		{"NEW", with(cmek.GCPCloudKMS), false, true},
		{"", with(cmek.AWSKMS, cmek.GCPCloudKMS), true, true},
		{"", with(cmek.AzureKeyVault), false, false},
		{"", with("NEW_KMS"), true, true}, // it may be anything
		{"", with("NEW_KMS", cmek.AWSKMS), true, false},
	} {
		c := cmek.Cluster{CloudProvider: tc.provider}
		for kind, want := range map[cmek.KeyType]bool{cmek.AWSKMS: tc.aws, cmek.GCPCloudKMS: tc.google} {
			if got := c.MayHaveKeys(tc.info, func(t cmek.KeyType) bool { return t == kind }); got != want {
				t.Errorf("provider %q with %v: keys of %s %v, want %v", tc.provider, tc.info.RegionInfos, kind, got, want)
			}
		}
	}
}
