package simulator

import (
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// wrappingMaterial is what the spec's KMS would encrypt a store key with at this moment, or false if the cluster could not
// use the key: it does not exist, is disabled or on its way out, or its policy does not admit the principal. This is the one
// seam between clusters and KMSs.
func (w *World) wrappingMaterial(spec cmek.KeySpec, now time.Time) (material string, usable bool) {
	switch spec.Type {
	case cmek.AWSKMS:
		k := w.aws.byARN[string(spec.URI)]
		if k == nil || k.state != stateEnabled || !k.admits(string(spec.AuthPrincipal)) {
			return "", false
		}
		return k.lineage.encryptsWith(now), true
	case cmek.GCPCloudKMS:
		k := w.google[googleKeyName(string(spec.URI))]
		if k == nil || k.disabled {
			return "", false
		}
		return strconv.Itoa(k.primary), true
	case cmek.AzureKeyVault:
		// A Key Vault key identifier carries its version; a new version is a new URI.
		return path.Base(string(spec.URI)), true
	}
	return "", false
}

// googleKey is a CryptoKey of Cloud KMS, as far as clusters notice it.
type googleKey struct {
	// primary is the number of the CryptoKeyVersion that encrypts.
	primary  int
	disabled bool
}

// googleKeyName is the CryptoKey's resource name, or "" for what is none.
func googleKeyName(uri string) string {
	if cmek.KeyURI(uri).Type() != cmek.GCPCloudKMS {
		return ""
	}
	return strings.TrimPrefix(cmek.KeyURI(uri).Canonical(), "//cloudkms.googleapis.com/")
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
			w.google[googleKeyName(string(key.URI))] = &googleKey{primary: 1 + len(key.Rotations), disabled: key.Disabled}
			continue
		}
		w.seedAWSKey(key, principals[key.URI.Canonical()], now)
	}
}
