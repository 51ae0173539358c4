package simulator

import (
	"path"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// wrappingMaterial is what the spec's KMS would encrypt a store key of the cluster with at this moment, or false if the cluster
// could not use the key: it does not exist, is disabled or on its way out, or policies do not admit the principal. This is the
// one seam between clusters and KMSs.
func (w *World) wrappingMaterial(c *cluster, spec cmek.KeySpec, now time.Time) (material string, usable bool) {
	switch spec.Type {
	case cmek.AWSKMS:
		k := w.aws.byARN[string(spec.URI)]
		if k == nil || k.state != stateEnabled || !k.admits(string(spec.AuthPrincipal)) {
			return "", false
		}
		return k.lineage.encryptsWith(now), true
	case cmek.GCPCloudKMS:
		version, failed := w.googleMaterial(c, spec, now)
		return version, failed == nil
	case cmek.AzureKeyVault:
		// A Key Vault key identifier carries its version; a new version is a new URI.
		return path.Base(string(spec.URI)), true
	}
	return "", false
}

// seedKeys makes the keys. Those without a policy get CockroachDB's, for the principals of all clusters that name them.
func (w *World) seedKeys(seed Seed, now time.Time) {
	w.aws = awsKMS{
		account: seed.AWSAccount, byARN: map[string]*awsKey{}, byRegionAndID: map[string]*awsKey{}, callers: map[string]kmsCaller{},
	}
	for _, c := range seed.AWSCallers {
		w.aws.callers[c.AccessKeyID] = kmsCaller{strings.SplitN(c.Principal, ":", 6)[4], c.Principal, c.Administrator}
	}
	principals := map[string][]string{}
	for _, c := range seed.Clusters {
		for _, r := range c.Regions {
			canonical := r.Key.Canonical()
			principals[canonical] = append(principals[canonical], string(r.AuthPrincipal))
		}
	}
	for _, key := range seed.Keys {
		if key.URI.Type() == cmek.GCPCloudKMS {
			continue // seedGoogle makes it
		}
		w.seedAWSKey(key, principals[key.URI.Canonical()], now)
	}
	w.seedGoogle(seed, now)
}
