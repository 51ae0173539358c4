// Package google answers one question about Google Cloud's IAM: may this service account use this key ([KeyAccess]), and may
// Cockroach Labs' account act as that service account ([ActAs])? It lists who else may ([KeyGrants], [ActAsGrants]) and
// describes what a change changed ([DiffKey], [DiffActAs]).
//
// It is pure, and it never guesses: what depends on something that is not in the documents is [policy.CannotTell], with a list
// of what would make it certain. Documents that were not read never make an answer more certain. Answers are about allow
// policies, deny policies, roles, and the principal access boundaries of the service account that uses the key. Those of Cockroach Labs'
// accounts, which another organization sets, organization policies, VPC Service Controls, Key Access
// Justifications and the states of APIs, billing and key versions are not among them.
package google

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/policy"
)

// Permission is an IAM permission, as roles list it (SERVICE.RESOURCE.VERB).
type Permission string

// The permissions that a cluster's access rests on. Cockroach Labs' account mints access tokens of the customer's service account
// (IAM Credentials API, GenerateAccessToken), and those tokens encrypt and decrypt. The right to attach the account to a resource,
// iam.serviceAccounts.actAs, is another one, and mints no tokens (IAM documentation, "Roles for service account authentication").
const (
	Encrypt     Permission = "cloudkms.cryptoKeyVersions.useToEncrypt"
	Decrypt     Permission = "cloudkms.cryptoKeyVersions.useToDecrypt"
	Impersonate Permission = "iam.serviceAccounts.getAccessToken"
)

// KeyPermissions are what a service account must have on a cluster's key: what the role that Cockroach Labs asks for,
// roles/cloudkms.cryptoKeyEncrypterDecrypter, gives on a key.
var KeyPermissions = []Permission{Encrypt, Decrypt}

// ActAsPermissions are what Cockroach Labs' account must have on the customer's service account.
var ActAsPermissions = []Permission{Impersonate}

// Documents are what was read of a hierarchy. What is not among them was not read, which is never taken for its absence.
//
// Resources are named as their APIs name them: projects/P/locations/L/keyRings/R/cryptoKeys/K, projects/P/locations/L/keyRings/R,
// projects/P/serviceAccounts/EMAIL, projects/P, folders/N, organizations/N. P is the project as the key's URI and the
// account's e-mail spell it; whoever reads a document by a project's number files it under the id.
type Documents struct {
	// Policies are the allow policies, by resource.
	Policies map[string]Policy
	// Denies are all deny policies attached to a project, folder or organization, with their rules; none is an empty list.
	Denies map[string][]DenyPolicy
	// Boundaries are all principal access boundaries that bind the principals of a project, folder or organization; none is an empty
	// list.
	Boundaries map[string][]Boundary
	// Roles are the roles that were read, by name, custom and predefined ones.
	Roles map[string]Role
	// Parents are what is above a project (projects/P), nearest first, up to the organization; none is an empty list.
	Parents map[string][]string
}

// Verdict is the decision about one permission.
type Verdict struct {
	policy.Verdict
	// ByRead is the decision by the documents that were read, as if the policies that were not read said nothing.
	ByRead policy.Decision
	// Missing is what would make a CannotTell certain, if it can be known at all; empty otherwise.
	Missing []Missing
}

// MissingKind is the kind of something that is not known.
type MissingKind string

// What may be missing. The first five can be read with the permission that [Missing.String] names.
const (
	MissingPolicy MissingKind = "policy"
	MissingDenies MissingKind = "deny policies"
	// MissingBoundaries are the principal access boundaries of the principals of a resource.
	MissingBoundaries MissingKind = "principal access boundaries"
	MissingParents    MissingKind = "parents"
	MissingRole       MissingKind = "role"
	MissingMembers    MissingKind = "members"
	MissingCondition  MissingKind = "condition"
	MissingIdentity   MissingKind = "identity"
)

// Missing is something that is not known, and on which an answer depends.
type Missing struct {
	Kind MissingKind
	// Name is the resource's, the role's or the principal's name, or the condition's expression.
	Name string
}

// String is what to read, with the permission that it takes.
func (m Missing) String() string {
	switch m.Kind {
	case MissingPolicy:
		return fmt.Sprintf("the policy of %s (%s)", label(m.Name), readPolicy(m.Name))
	case MissingDenies:
		return fmt.Sprintf("the deny policies of %s (iam.denypolicies.list and iam.denypolicies.get)", label(m.Name))
	case MissingBoundaries:
		return fmt.Sprintf("the principal access boundaries of %s (resourcemanager.%s.searchPolicyBindings and iam.principalaccessboundarypolicies.get)",
			label(m.Name), strings.SplitN(m.Name, "/", 2)[0])
	case MissingParents:
		return fmt.Sprintf("the folders and the organization of %s (resourcemanager.projects.get), with their policies", label(m.Name))
	case MissingRole:
		return fmt.Sprintf("the permissions of role %s (iam.roles.get)", clip(m.Name))
	case MissingMembers:
		return "who belongs to " + clip(m.Name)
	case MissingIdentity:
		return "the current state of " + clip(m.Name) + " (iam.serviceAccounts.get)"
	case MissingCondition:
	}
	return "whether this holds: " + clip(m.Name)
}

// AboveProjects reports whether what is missing stands above every project, where readers of one project seldom see.
func (m Missing) AboveProjects() bool {
	return m.Kind == MissingParents || strings.HasPrefix(m.Name, "folders/") || strings.HasPrefix(m.Name, "organizations/") && m.Kind != MissingRole
}

// SeldomRead reports whether all that is missing is what who reads one project may not read: what stands above every project and, where no
// deny policies were read at all, those of projects, since the role that shows them is documented for organizations only.
func (d Documents) SeldomRead(missing []Missing) bool {
	return !slices.ContainsFunc(missing, func(m Missing) bool {
		return !m.AboveProjects() && (m.Kind != MissingDenies || len(d.Denies) > 0)
	})
}

// readPolicy is the permission to read a resource's allow policy.
func readPolicy(resource string) string {
	switch kind(resource) {
	case "key":
		return "cloudkms.cryptoKeys.getIamPolicy"
	case "key ring":
		return "cloudkms.keyRings.getIamPolicy"
	case "service account":
		return "iam.serviceAccounts.getIamPolicy"
	}
	return "resourcemanager." + strings.SplitN(resource, "/", 2)[0] + ".getIamPolicy"
}

// kind is what a resource is, by the collection that its name ends in.
func kind(resource string) string {
	parts := strings.Split(resource, "/")
	switch parts[max(len(parts)-2, 0)] {
	case "cryptoKeys":
		return "key"
	case "keyRings":
		return "key ring"
	case "serviceAccounts":
		return "service account"
	case "projects":
		return "project"
	case "folders":
		return "folder"
	case "organizations":
		return "organization"
	}
	return "resource"
}

// label names a resource in a sentence.
func label(resource string) string {
	return kind(resource) + " " + clip(resource[strings.LastIndex(resource, "/")+1:])
}

// Access is what a service account may do with a key, or with another service account.
type Access struct {
	// Who is the account's e-mail; On the key's or the other account's resource name.
	Who, On string
	// Verdicts has one verdict for each of [KeyPermissions] or [ActAsPermissions].
	Verdicts map[Permission]Verdict
}

// Decision is Allowed if every permission is, Denied if any is, else CannotTell. The zero Access is CannotTell.
func (a Access) Decision() policy.Decision {
	return a.all(func(v Verdict) policy.Decision { return v.Decision })
}

// ByRead is the same by the documents that were read; see [Verdict.ByRead].
func (a Access) ByRead() policy.Decision {
	return a.all(func(v Verdict) policy.Decision { return v.ByRead })
}

func (a Access) all(of func(Verdict) policy.Decision) policy.Decision {
	result := policy.CannotTell
	for i, p := range a.permissions() {
		switch d := of(a.Verdicts[p]); {
		case d == policy.Denied:
			return policy.Denied
		case i == 0 || d == policy.CannotTell:
			result = d
		}
	}
	return result
}

// permissions are those decided about, in a fixed order.
func (a Access) permissions() (list []Permission) {
	for _, p := range slices.Concat(KeyPermissions, ActAsPermissions) {
		if _, ok := a.Verdicts[p]; ok {
			list = append(list, p)
		}
	}
	return list
}

// With lists the permissions so decided.
func (a Access) With(d policy.Decision) []Permission {
	return slices.DeleteFunc(a.permissions(), func(p Permission) bool { return a.Verdicts[p].Decision != d })
}

// Missing is what would make the whole answer certain.
func (a Access) Missing() (all []Missing) {
	for _, p := range a.permissions() {
		all = append(all, a.Verdicts[p].Missing...)
	}
	return unique(all)
}

// Sentences list, for each kind of answer other than "allowed", what the account may not do and the reason.
func (a Access) Sentences() []string {
	sentences := a.describe("%s may not %s: %s", a.With(policy.Denied))
	return append(sentences, a.describe("it is unclear whether %s may %s: %s", a.With(policy.CannotTell))...)
}

// describe makes one sentence for all permissions that share a reason. The pattern takes the account, the verbs and the reason.
func (a Access) describe(pattern string, permissions []Permission) (sentences []string) {
	var reasons []string
	for _, p := range permissions {
		reasons = append(reasons, a.Verdicts[p].reason())
	}
	for _, reason := range unique(reasons) {
		var same []Permission
		for i, p := range permissions {
			if reasons[i] == reason {
				same = append(same, p)
			}
		}
		sentences = append(sentences, fmt.Sprintf(pattern, clip(a.Who), inWords(same, a.On), reason))
	}
	return sentences
}

// reason is why, and what would make it certain.
func (v Verdict) reason() string {
	if len(v.Missing) == 0 {
		return v.Why
	}
	var missing []string
	for _, m := range v.Missing {
		missing = append(missing, m.String())
	}
	return v.Why + "; missing: " + listed(missing, ", ")
}

// inWords is what the permissions on a resource let somebody do.
func inWords(permissions []Permission, on string) string {
	if slices.Contains(permissions, Impersonate) {
		return "act as " + label(on)
	}
	var verbs []string
	for _, p := range permissions {
		verbs = append(verbs, map[Permission]string{Encrypt: "encrypt", Decrypt: "decrypt"}[p])
	}
	return strings.Join(verbs, " and ") + " with " + label(on)
}

// listed joins words, and counts those beyond what somebody would read.
func listed(words []string, separator string) string {
	const most = 8
	if len(words) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:most], separator), len(words)-most)
	}
	return strings.Join(words, separator)
}

// unique leaves out repeats.
func unique[T comparable](list []T) (once []T) {
	seen := map[T]bool{}
	for _, one := range list {
		if !seen[one] {
			once, seen[one] = append(once, one), true
		}
	}
	return once
}

// clip keeps hostile input out of errors and sentences beyond a readable length.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
