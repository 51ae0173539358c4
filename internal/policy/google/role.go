package google

import (
	"slices"
	"strings"
)

// predefined are the roles of Google whose contents are documented, with those of their permissions that count here. Sources:
// IAM documentation, "Cloud Key Management Service roles and permissions" and "Roles for service account authentication"; for
// the basic roles, Cloud KMS documentation, "Separation of duties" (an owner of the project uses its keys), and the role
// definitions of iam.roles.get (published by darkbitio/gcp-iam-role-permissions, 2026-08-22), which give editors and viewers no
// use of keys and none of the three a token of another account. Contents of roles change: one that was read goes before this
// table, and one that is not in it is unknown.
var predefined = map[string][]Permission{
	"roles/owner":  {Encrypt, Decrypt},
	"roles/editor": nil,
	"roles/viewer": nil,

	"roles/cloudkms.cryptoKeyEncrypterDecrypter": {Encrypt, Decrypt},
	"roles/cloudkms.cryptoOperator":              {Encrypt, Decrypt},
	"roles/cloudkms.cryptoKeyEncrypter":          {Encrypt},
	"roles/cloudkms.cryptoKeyDecrypter":          {Decrypt},
	"roles/cloudkms.admin":                       nil,
	"roles/cloudkms.viewer":                      nil,
	"roles/cloudkms.importer":                    nil,
	"roles/cloudkms.publicKeyViewer":             nil,
	"roles/cloudkms.signer":                      nil,
	"roles/cloudkms.signerVerifier":              nil,
	"roles/cloudkms.verifier":                    nil,
	"roles/cloudkms.protectedResourcesViewer":    nil,
	// Via delegation is through another Google service, which CockroachDB is not.
	"roles/cloudkms.cryptoKeyEncrypterDecrypterViaDelegation": nil,
	"roles/cloudkms.cryptoKeyEncrypterViaDelegation":          nil,
	"roles/cloudkms.cryptoKeyDecrypterViaDelegation":          nil,

	"roles/iam.serviceAccountTokenCreator":       {Impersonate},
	"roles/iam.workloadIdentityUser":             {Impersonate},
	"roles/iam.serviceAccountUser":               nil,
	"roles/iam.serviceAccountAdmin":              nil,
	"roles/iam.serviceAccountOpenIdTokenCreator": nil,
	"roles/iam.serviceAccountViewer":             nil,
	"roles/iam.securityReviewer":                 nil,
}

// hiddenCondition marks the role of a conditional binding in a policy that was read with a version below 3 (IAM
// documentation, "Allow policies": policy versions).
const hiddenCondition = "_withcond_"

// Knows reports whether it is known what the role gives of the permissions that count here: it was read, or its contents are documented.
func (d Documents) Knows(role string) bool { return d.gives(role, Encrypt).is != maybe }

// gives decides whether a role includes the permission.
func (d Documents) gives(role string, p Permission) finding {
	name, _, _ := strings.Cut(role, hiddenCondition)
	if read, ok := d.Roles[name]; ok {
		return finding{is: truthOf(slices.Contains(read.Permissions, p))}
	}
	if permissions, ok := predefined[name]; ok {
		return finding{is: truthOf(slices.Contains(permissions, p))}
	}
	return unknown("the permissions of role "+clip(name)+" are not known", MissingRole, name)
}
