package cmek_test

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

const (
	singleRegion = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	mrkEast      = "arn:aws:kms:us-east-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
	mrkWest      = "arn:aws:kms:us-west-2:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
	alias        = "arn:aws:kms:us-east-1:111122223333:alias/cmek"
	govCloud     = "arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	china        = "arn:aws-cn:kms:cn-north-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	cryptoKey    = "projects/acme/locations/europe-west1/keyRings/crdb/cryptoKeys/cmek"
	vaultKey     = "https://acme.vault.azure.net/keys/cmek/0123456789abcdef0123456789abcdef"
)

func TestParseKeyURIReadsEveryFormOfKey(t *testing.T) {
	for _, r := range []struct {
		uri                    string
		keyType                cmek.KeyType
		location, account, id  string
		isAlias, isMultiRegion bool
	}{
		{uri: singleRegion, keyType: cmek.AWSKMS, location: "us-east-1", account: "111122223333", id: "1234abcd-12ab-34cd-56ef-1234567890ab"},
		{uri: mrkWest, keyType: cmek.AWSKMS, location: "us-west-2", account: "111122223333", id: "mrk-1234abcd12ab34cd56ef1234567890ab", isMultiRegion: true},
		{uri: alias, keyType: cmek.AWSKMS, location: "us-east-1", account: "111122223333", id: "alias/cmek", isAlias: true},
		{uri: govCloud, keyType: cmek.AWSKMS, location: "us-gov-west-1", account: "111122223333", id: "1234abcd-12ab-34cd-56ef-1234567890ab"},
		{uri: china, keyType: cmek.AWSKMS, location: "cn-north-1", account: "111122223333", id: "1234abcd-12ab-34cd-56ef-1234567890ab"},
		{uri: cryptoKey, keyType: cmek.GCPCloudKMS, location: "europe-west1", account: "acme", id: "cmek"},
		{uri: "//cloudkms.googleapis.com/" + cryptoKey + "/cryptoKeyVersions/3", keyType: cmek.GCPCloudKMS, location: "europe-west1", account: "acme", id: "cmek"},
		{uri: vaultKey, keyType: cmek.AzureKeyVault, account: "acme.vault.azure.net", id: "cmek"},
	} {
		u, err := cmek.ParseKeyURI(r.uri)
		if err != nil {
			t.Errorf("%s: %v", r.uri, err)
			continue
		}
		if string(u) != r.uri {
			t.Errorf("%s: the text was changed to %s", r.uri, u)
		}
		if u.Type() != r.keyType || u.Location() != r.location || u.Account() != r.account || u.ID() != r.id {
			t.Errorf("%s: type %q, location %q, account %q, id %q; want %q, %q, %q, %q",
				r.uri, u.Type(), u.Location(), u.Account(), u.ID(), r.keyType, r.location, r.account, r.id)
		}
		if u.IsAlias() != r.isAlias || u.IsMultiRegion() != r.isMultiRegion {
			t.Errorf("%s: alias %t, multi-Region %t; want %t, %t", r.uri, u.IsAlias(), u.IsMultiRegion(), r.isAlias, r.isMultiRegion)
		}
	}
}

func TestParseKeyURITrimsSpaceAround(t *testing.T) {
	if u, err := cmek.ParseKeyURI(" " + singleRegion + "\n"); err != nil || u != singleRegion {
		t.Errorf("a key ARN with space around reads %q, %v", u, err)
	}
}

func TestParseKeyURINamesWhatIsWrong(t *testing.T) {
	for uri, want := range map[string]string{
		"":                                                                           "want a KMS key ARN",
		"1234abcd-12ab-34cd-56ef-1234567890ab":                                       "want a KMS key ARN",
		"arn:aws:kms:us-east-1:111122223333":                                         "not an ARN of the form",
		"arn:aws:iam::111122223333:role/cmek":                                        `service "iam"`,
		"arn:aws:kms:us-east-1:111122223333:grant/1":                                 "neither key/ID nor alias/NAME",
		"arn:aws:kms:us-east-1:111122223333:key/":                                    "neither key/ID nor alias/NAME",
		"arn:aws:kms:us-east-1:111122223333:key/a/b":                                 "no key id has",
		"arn:aws:kms::111122223333:key/1234":                                         "Region is missing",
		"arn:aws:kms:us-east-1:1111:key/1234":                                        "not 12 digits",
		"arn:aws:kms:us-east-1:1111x2223333:key/1234":                                "not 12 digits",
		"arn::kms:us-east-1:111122223333:key/1234":                                   "partition is missing",
		"projects/acme/locations/eu/keyRings/crdb":                                   "not of the form projects/",
		"projects/acme/locations//keyRings/crdb/cryptoKeys/cmek":                     "not of the form projects/",
		"projects/acme/locations/eu/keyRings/crdb/cryptoKeys/cmek/cryptoKeyVersions": "not of the form projects/",
		"https://acme.vault.azure.net/secrets/cmek":                                  "not of the form https://",
		"https://acme.vault.azure.net/keys/":                                         "not of the form https://",
		"https:///keys/cmek":                                                         "not of the form https://",
	} {
		u, err := cmek.ParseKeyURI(uri)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want it to say %q", uri, err, want)
		}
		if u != "" {
			t.Errorf("%q: the error comes with the URI %q", uri, u)
		}
	}
}

func TestParseKeyURIKeepsHostileInputOutOfItsError(t *testing.T) {
	_, err := cmek.ParseKeyURI("arn:aws:" + strings.Repeat("x", 1<<20))
	if err == nil || len(err.Error()) > 1000 {
		t.Errorf("the error about a URI of a megabyte has %d bytes, want a readable length", len(err.Error()))
	}
}

func TestCanonicalIsTheIdentityOfAKey(t *testing.T) {
	for uri, want := range map[cmek.KeyURI]string{
		singleRegion:                             singleRegion,
		mrkEast:                                  "arn:aws:kms::111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
		mrkWest:                                  "arn:aws:kms::111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
		alias:                                    alias,
		govCloud:                                 govCloud,
		china:                                    china,
		cryptoKey:                                cryptoKey,
		"//cloudkms.googleapis.com/" + cryptoKey: cryptoKey,
		"//cloudkms.googleapis.com/" + cryptoKey + "/cryptoKeyVersions/3": cryptoKey,
		cryptoKey + "/cryptoKeyVersions/3":                                cryptoKey,
		vaultKey:                                                          vaultKey,
		"https://ACME.vault.azure.net/keys/cmek/":                         "https://acme.vault.azure.net/keys/cmek",
		"not a key":        "not a key",
		"arn:aws:kms:oops": "arn:aws:kms:oops",
	} {
		if got := uri.Canonical(); got != want {
			t.Errorf("%s has the canonical form %s, want %s", uri, got, want)
		}
		if again := cmek.KeyURI(want).Canonical(); again != want {
			t.Errorf("the canonical form %s has the canonical form %s, want itself", want, again)
		}
	}
}

func TestSameKeyTellsKeysApart(t *testing.T) {
	for _, r := range []struct {
		sentence string
		a, b     cmek.KeyURI
		want     bool
	}{
		{"replicas of a multi-Region key", mrkEast, mrkWest, true},
		{"multi-Region keys of two accounts", mrkEast, cmek.KeyURI(strings.Replace(mrkEast, "1111", "4444", 1)), false},
		{"keys of one id in two Regions", singleRegion, cmek.KeyURI(strings.Replace(singleRegion, "us-east-1", "us-west-2", 1)), false},
		{"a key and an alias", singleRegion, alias, false},
		{"two aliases", alias, alias + "2", false},
		{"one key id in two partitions", govCloud, china, false},
		{"two versions of a CryptoKey", cryptoKey + "/cryptoKeyVersions/1", cryptoKey + "/cryptoKeyVersions/2", true},
		{"two CryptoKeys", cryptoKey, cryptoKey + "2", false},
		{"two versions of a Key Vault key", vaultKey, vaultKey + "0", false},
	} {
		if got := r.a.SameKey(r.b); got != r.want {
			t.Errorf("%s are one key: %t, want %t", r.sentence, got, r.want)
		}
	}
}

func TestAWSKeyARNIsBuiltFromItsParts(t *testing.T) {
	for _, r := range []struct {
		partition, region, account, id string
		want                           cmek.KeyURI
	}{
		{"", "us-east-1", "111122223333", "1234abcd-12ab-34cd-56ef-1234567890ab", singleRegion},
		{"aws", "us-east-1", "111122223333", "key/1234abcd-12ab-34cd-56ef-1234567890ab", singleRegion},
		{"aws-us-gov", "us-gov-west-1", "111122223333", "1234abcd-12ab-34cd-56ef-1234567890ab", govCloud},
		{"aws", "us-east-1", "111122223333", "alias/cmek", alias},
		{"aws", "eu-west-1", "444455556666", mrkWest, mrkWest},
	} {
		if got, err := cmek.AWSKeyARN(r.partition, r.region, r.account, r.id); err != nil || got != r.want {
			t.Errorf("%q in %q of %q is %s, %v; want %s", r.id, r.region, r.account, got, err, r.want)
		}
	}
	if got, err := cmek.AWSKeyARN("aws", "", "111122223333", "1234"); err == nil {
		t.Errorf("a key without a Region became %s", got)
	}
}

func FuzzParseKeyURI(f *testing.F) {
	for _, uri := range []string{singleRegion, mrkEast, alias, govCloud, china, cryptoKey, vaultKey, "", "arn:", "https://x/keys/%41",
		"//cloudkms.googleapis.com/" + cryptoKey + "/cryptoKeyVersions/3", "arn:aws:kms::111122223333:key/mrk-1"} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := cmek.ParseKeyURI(s)
		if err != nil {
			if u != "" {
				t.Errorf("%q: the error %v comes with the URI %q", s, err, u)
			}
			return
		}
		if u.Type() == "" {
			t.Errorf("%q: parsed, but of no type", s)
		}
		canonical := cmek.KeyURI(u.Canonical())
		if again := canonical.Canonical(); again != string(canonical) {
			t.Errorf("%q: the canonical form %q has the canonical form %q, want itself", s, canonical, again)
		}
		if !u.SameKey(canonical) {
			t.Errorf("%q: is not the same key as its canonical form %q", s, canonical)
		}
	})
}

func TestAWSManagedKeysHaveAReservedAlias(t *testing.T) {
	for uri, want := range map[cmek.KeyURI]bool{
		"arn:aws:kms:us-east-1:111122223333:alias/aws/s3":                             true,
		"arn:aws-cn:kms:cn-north-1:111122223333:alias/aws/ebs":                        true,
		"arn:aws:kms:us-east-1:111122223333:alias/aws":                                false,
		"arn:aws:kms:us-east-1:111122223333:alias/awss/s3":                            false,
		"arn:aws:kms:us-east-1:111122223333:alias/my/alias/aws/s3":                    false,
		"arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab": false,
		"arn:aws:s3:us-east-1:111122223333:alias/aws/s3":                              false,
		"alias/aws/s3": false,
		"projects/p/locations/l/keyRings/r/cryptoKeys/k": false,
		"": false,
	} {
		if got := uri.AWSManaged(); got != want {
			t.Errorf("%q is managed by AWS: %t, want %t", uri, got, want)
		}
	}
}

// A name of Cloud KMS ends up in commands and requests, so what no name can be is refused.
func TestParseCryptoKeyName(t *testing.T) {
	const ring = "/locations/us/keyRings/r/cryptoKeys/"
	long := strings.Repeat("k", 63)
	for name, want := range map[string]struct{ key, version string }{
		"projects/acme-1" + ring + "k":                                          {"projects/acme-1" + ring + "k", ""},
		"projects/123456789012" + ring + "k/cryptoKeyVersions/12":               {"projects/123456789012" + ring + "k", "primary:12"},
		"projects/example.com:acme" + ring + "K_1-x":                            {"projects/example.com:acme" + ring + "K_1-x", ""},
		"//cloudkms.googleapis.com/projects/p" + ring + long:                    {"projects/p" + ring + long, ""},
		"//cloudkms.googleapis.com/projects/p" + ring + "k/cryptoKeyVersions/1": {"projects/p" + ring + "k", "primary:1"},
	} {
		key, version, err := cmek.ParseCryptoKeyName(name)
		if err != nil || string(key) != want.key || version.String() != want.version {
			t.Errorf("%s reads as %q, version %q, error %v; want %q and %q", name, key, version, err, want.key, want.version)
		}
	}
	for _, name := range []string{
		"", "projects/p;x" + ring + "k", "projects/$(rm)" + ring + "k", "projects/p" + ring + "$(rm)", "projects/p" + ring + "k\n", "projects/p" + ring + "k ",
		"projects/p" + ring + "k/cryptoKeyVersions/", "projects/p" + ring + "k/cryptoKeyVersions/abc", "projects/p" + ring + "k/cryptoKeyVersions/1/x",
		"projects/p" + ring + "k/cryptoKeyVersions/12345678901234567890", "projects/-p" + ring + "k", "projects/P" + ring + "k", "projects/a:b:c" + ring + "k",
		"projects/:p" + ring + "k", "projects/example.com:" + ring + "k", "projects/p" + ring + long + "k", "projects/p/locations/u s/keyRings/r/cryptoKeys/k",
		"projects/p/locations/us/keyRings/`x`/cryptoKeys/k", "projects/../locations/us/keyRings/r/cryptoKeys/k", "projects/p/locations/us/keyRings/../cryptoKeys/k",
		"folders/1/locations/us/keyRings/r/cryptoKeys/k", "projects/p/locations/us/keyRings/r", "projects/ü" + ring + "k",
	} {
		if key, _, err := cmek.ParseCryptoKeyName(name); err == nil || key != "" {
			t.Errorf("%q reads as %q, error %v; want an error alone", name, key, err)
		}
	}
}
