package cmek

import (
	"fmt"
	"net/url"
	"strings"
)

// KeyURI names a customer's key the way a cluster's key spec names it: an AWS KMS key ARN, a Cloud KMS CryptoKey resource
// name, or an Azure Key Vault key identifier. The text is kept verbatim, because a PUT must carry the cluster's own
// spelling; compare two keys with [KeyURI.Canonical], never with ==.
type KeyURI string

// KeyType is the Cloud API's name for the kind of key (key_spec.type).
type KeyType string

// Key types of the Cloud API. NULL_KMS is in its enum too; it is never sent and never followed.
const (
	AWSKMS        KeyType = "AWS_KMS"
	GCPCloudKMS   KeyType = "GCP_CLOUD_KMS"
	AzureKeyVault KeyType = "AZURE_KEY_VAULT"
)

// ParseKeyURI checks that s names a key (or an alias) in one of the three KMSs. The error names what is wrong with s.
func ParseKeyURI(s string) (KeyURI, error) {
	uri := KeyURI(strings.TrimSpace(s))
	var err error
	switch uri.Type() {
	case AWSKMS:
		_, err = parseARN(string(uri))
	case GCPCloudKMS:
		_, err = parseCryptoKey(string(uri))
	case AzureKeyVault:
		_, err = parseVaultKey(string(uri))
	default:
		err = fmt.Errorf("want a KMS key ARN (arn:aws:kms:…:key/…), a CryptoKey name (projects/…/cryptoKeys/…) or a Key Vault key identifier (https://…/keys/…)")
	}
	if err != nil {
		return "", fmt.Errorf("key URI %q: %w", clip(s), err)
	}
	return uri, nil
}

// Type tells which KMS the URI belongs to by its form alone, or "" for none that we know.
func (u KeyURI) Type() KeyType {
	switch s := string(u); {
	case strings.HasPrefix(s, "arn:"):
		return AWSKMS
	case strings.HasPrefix(s, "projects/"), strings.HasPrefix(s, cryptoKeyService):
		return GCPCloudKMS
	case strings.HasPrefix(s, "https://"):
		return AzureKeyVault
	}
	return ""
}

// Canonical is the identity of a key: two URIs name the same key exactly when their canonical forms are equal.
//
// AWS: replicas of one multi-Region key share the key id "mrk-…" and differ in Region only, so the Region is left out
// (arn:aws:kms::111122223333:key/mrk-…). An alias is not a key and may be moved to another one, so it keeps a canonical
// form of its own. Google: the service prefix and a trailing /cryptoKeyVersions/N are left out. Azure: the version is a
// part of the identity, because a new version is a new URI there. A URI that does not parse is its own canonical form.
func (u KeyURI) Canonical() string {
	switch u.Type() {
	case AWSKMS:
		a, err := parseARN(string(u))
		if err != nil {
			return string(u)
		}
		if a.multiRegion() {
			a.region = ""
		}
		return a.String()
	case GCPCloudKMS:
		if name, err := parseCryptoKey(string(u)); err == nil {
			return name
		}
	case AzureKeyVault:
		if id, err := parseVaultKey(string(u)); err == nil {
			return id
		}
	}
	return string(u)
}

// SameKey reports whether u and other name one key, replicas of a multi-Region key included.
func (u KeyURI) SameKey(other KeyURI) bool { return u.Canonical() == other.Canonical() }

// IsAlias reports whether the URI is an AWS alias ARN. The Cloud API takes key ARNs only; an alias names no key by itself.
func (u KeyURI) IsAlias() bool {
	a, err := parseARN(string(u))
	return err == nil && strings.HasPrefix(a.resource, "alias/")
}

// AWSManaged reports whether the URI is an alias that AWS reserves for the keys that it manages itself (alias/aws/…). Such a
// key is never a CMEK.
func (u KeyURI) AWSManaged() bool {
	a, err := parseARN(string(u))
	return err == nil && strings.HasPrefix(a.resource, "alias/aws/")
}

// IsMultiRegion reports whether the URI names an AWS multi-Region key, primary or replica.
func (u KeyURI) IsMultiRegion() bool {
	a, err := parseARN(string(u))
	return err == nil && a.multiRegion()
}

// Location is where the key lives: the AWS Region, or the Cloud KMS location (a region or "global"); "" if not in the URI.
func (u KeyURI) Location() string {
	switch u.Type() {
	case AWSKMS:
		a, _ := parseARN(string(u))
		return a.region
	case GCPCloudKMS:
		if name, err := parseCryptoKey(string(u)); err == nil {
			return strings.Split(name, "/")[3]
		}
	}
	return ""
}

// Account is who owns the key: the AWS account id, the Google project, or the Key Vault host; "" if not in the URI.
func (u KeyURI) Account() string {
	switch u.Type() {
	case AWSKMS:
		a, _ := parseARN(string(u))
		return a.account
	case GCPCloudKMS:
		if name, err := parseCryptoKey(string(u)); err == nil {
			return strings.Split(name, "/")[1]
		}
	case AzureKeyVault:
		if parsed, err := url.Parse(string(u)); err == nil {
			return strings.ToLower(parsed.Host)
		}
	}
	return ""
}

// ID is the last part of the key's name: the AWS key id (or alias/name), the CryptoKey id, or the Key Vault key name.
func (u KeyURI) ID() string {
	switch u.Type() {
	case AWSKMS:
		a, _ := parseARN(string(u))
		return strings.TrimPrefix(a.resource, "key/")
	case GCPCloudKMS:
		if name, err := parseCryptoKey(string(u)); err == nil {
			return strings.Split(name, "/")[7]
		}
	case AzureKeyVault:
		if parsed, err := url.Parse(string(u)); err == nil {
			if parts := strings.Split(strings.Trim(parsed.Path, "/"), "/"); len(parts) > 1 {
				return parts[1]
			}
		}
	}
	return string(u)
}

// AWSKeyARN builds a key's URI from its parts, for events that carry a bare key id. The id may be an ARN already.
func AWSKeyARN(partition, region, account, id string) (KeyURI, error) {
	if strings.HasPrefix(id, "arn:") {
		return ParseKeyURI(id)
	}
	if partition == "" {
		partition = "aws"
	}
	resource := "key/" + strings.TrimPrefix(id, "key/")
	if strings.HasPrefix(id, "alias/") {
		resource = id
	}
	return ParseKeyURI(arn{partition, region, account, resource}.String())
}

// arn is an AWS KMS key or alias ARN taken apart.
type arn struct{ partition, region, account, resource string }

func parseARN(s string) (arn, error) {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" {
		return arn{}, fmt.Errorf("not an ARN of the form arn:aws:kms:REGION:ACCOUNT:key/ID")
	}
	a := arn{partition: parts[1], region: parts[3], account: parts[4], resource: parts[5]}
	if parts[2] != "kms" {
		return arn{}, fmt.Errorf("an ARN of service %q, not of kms", clip(parts[2]))
	}
	kind, id, _ := strings.Cut(a.resource, "/")
	if (kind != "key" && kind != "alias") || id == "" {
		return arn{}, fmt.Errorf("resource %q is neither key/ID nor alias/NAME", clip(a.resource))
	}
	if kind == "key" && strings.ContainsAny(id, "/: ") {
		return arn{}, fmt.Errorf("key id %q holds a character that no key id has", clip(id))
	}
	// Only our own canonical form of a multi-Region key has no Region.
	if a.region == "" && !a.multiRegion() {
		return arn{}, fmt.Errorf("the Region is missing")
	}
	if !isAccountID(a.account) {
		return arn{}, fmt.Errorf("account %q is not 12 digits", clip(a.account))
	}
	if a.partition == "" {
		return arn{}, fmt.Errorf("the partition is missing")
	}
	return a, nil
}

func isAccountID(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }

func (a arn) multiRegion() bool { return strings.HasPrefix(a.resource, "key/mrk-") }

func (a arn) String() string {
	return "arn:" + a.partition + ":kms:" + a.region + ":" + a.account + ":" + a.resource
}

const cryptoKeyService = "//cloudkms.googleapis.com/"

// parseCryptoKey returns the CryptoKey's resource name without service prefix and without version.
func parseCryptoKey(s string) (string, error) {
	key, _, err := ParseCryptoKeyName(s)
	return string(key), err
}

// ParseCryptoKeyName reads the resource name of a CryptoKey, or of one of its versions, of Cloud KMS. The key comes without service
// prefix and without version; the version is zero if the name has none. The project is an id or a number, as it was written.
//
// Names are strict, because they end up in commands and requests: cloud.google.com/kms/docs/resource-hierarchy and
// cloud.google.com/resource-manager/docs/creating-managing-projects say which characters they can have.
func ParseCryptoKeyName(s string) (KeyURI, KeyVersion, error) {
	parts := strings.Split(strings.TrimPrefix(s, cryptoKeyService), "/")
	var version KeyVersion
	if len(parts) == 10 && parts[8] == "cryptoKeyVersions" {
		if !consistsOf(parts[9], 19, digits) {
			return "", KeyVersion{}, fmt.Errorf("version %q is not a number", clip(parts[9]))
		}
		version, parts = KeyVersion{Primary, parts[9]}, parts[:8]
	}
	if len(parts) != 8 || parts[0] != "projects" || parts[2] != "locations" || parts[4] != "keyRings" || parts[6] != "cryptoKeys" {
		return "", KeyVersion{}, fmt.Errorf("not of the form projects/P/locations/L/keyRings/R/cryptoKeys/K")
	}
	const location = lower + digits + "-"
	const name = lower + upper + digits + "_-"
	for _, part := range []struct {
		what string
		ok   bool
	}{
		{"project", IsProject(parts[1])}, {"location", consistsOf(parts[3], 63, location)},
		{"key ring", consistsOf(parts[5], 63, name)}, {"key", consistsOf(parts[7], 63, name)},
	} {
		if !part.ok {
			return "", KeyVersion{}, fmt.Errorf("not of the form projects/P/locations/L/keyRings/R/cryptoKeys/K: the %s cannot have that name", part.what)
		}
	}
	return KeyURI(strings.Join(parts, "/")), version, nil
}

// IsProject reports whether s can name a project of Google Cloud: an id, which may be within a domain ("example.com:project"), or a
// number.
func IsProject(s string) bool {
	domain, id, scoped := strings.Cut(s, ":")
	if !scoped {
		return consistsOf(s, 63, lower+digits+"-") && s[0] != '-'
	}
	return consistsOf(domain, 253, lower+digits+".-") && domain[0] != '-' && IsProject(id) && !strings.Contains(id, ":")
}

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

// consistsOf reports whether s has from 1 to most characters, all of them in the set.
func consistsOf(s string, most int, set string) bool {
	return s != "" && len(s) <= most && strings.Trim(s, set) == ""
}

func parseVaultKey(s string) (string, error) {
	parsed, err := url.Parse(s)
	if err != nil {
		return "", fmt.Errorf("not a URL")
	}
	parts := strings.Split(strings.Trim(parsed.EscapedPath(), "/"), "/")
	if parsed.Host == "" || len(parts) < 2 || len(parts) > 3 || parts[0] != "keys" || parts[1] == "" {
		return "", fmt.Errorf("not of the form https://VAULT/keys/NAME/VERSION")
	}
	return "https://" + strings.ToLower(parsed.Host) + "/" + strings.Join(parts, "/"), nil
}

// clip keeps hostile input out of error messages and logs beyond a readable length.
func clip(s string) string {
	const most = 120
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
