package google

import (
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// ServiceAccount is a service account with what is known of it. By its e-mail alone it is taken to exist and to be enabled.
type ServiceAccount struct {
	Email string
	// UniqueID is the account's numeric id, "" if it is not known. An account that is deleted and created again has the same
	// e-mail and another id, and none of the rights of the old one (IAM documentation, "Delete and undelete service accounts").
	UniqueID string
	// Missing is true if no such account exists, Disabled if it is disabled. Neither can be used, nor acted as.
	Missing, Disabled bool
}

// project is the resource name of the project that the account belongs to; "" for an e-mail that does not say (those of
// default accounts do not).
func (a ServiceAccount) project() string {
	if project := cmek.Principal(a.Email).Account(); project != "" {
		return "projects/" + project
	}
	return ""
}

func (a ServiceAccount) resource() string { return a.project() + "/serviceAccounts/" + a.email() }

func (a ServiceAccount) email() string { return strings.ToLower(strings.TrimSpace(a.Email)) }

// Prefixes of principal identifiers (IAM documentation, "Principal identifiers"): allow policies have the short ones, deny
// policies the long ones.
const (
	serviceAccountPrefix = "serviceAccount:"
	longAccountPrefix    = "principal://iam.googleapis.com/projects/-/serviceAccounts/"
	longUserPrefix       = "principal://goog/subject/"
	longGroupPrefix      = "principalSet://goog/group/"
	deletedPrefix        = "deleted:"
	everybody            = "principalSet://goog/public:all"
)

// fold is a principal identifier in the form of deny policies, if it has one, and in lower case: e-mails have no case.
func fold(identifier string) string {
	id := strings.TrimSpace(identifier)
	deleted := strings.HasPrefix(id, deletedPrefix)
	id = strings.TrimPrefix(id, deletedPrefix)
	switch kind, name, _ := strings.Cut(id, ":"); {
	case id == "allUsers":
		id = everybody
	case kind == "serviceAccount" && !strings.Contains(name, "["): // with brackets it is a Kubernetes service account
		id = longAccountPrefix + strings.ToLower(name)
	case kind == "user":
		id = longUserPrefix + strings.ToLower(name)
	case kind == "group":
		id = longGroupPrefix + strings.ToLower(name)
	case kind == "domain":
		id = strings.ToLower(id)
	default:
		for _, prefix := range []string{longAccountPrefix, longUserPrefix, longGroupPrefix} {
			if email, ok := strings.CutPrefix(id, prefix); ok {
				id = prefix + strings.ToLower(email)
			}
		}
	}
	if deleted {
		return deletedPrefix + id
	}
	return id
}

// includes decides whether a principal identifier means the account.
//
// Google accounts, federated identities and Kubernetes service accounts are other principals, and a domain has no service
// accounts (IAM documentation, "Service accounts overview"). What a group or another set holds cannot be read from policies.
func (a ServiceAccount) includes(identifier string) finding {
	id := fold(identifier)
	switch {
	case id == everybody, id == "allAuthenticatedUsers", id == longAccountPrefix+a.email():
		return finding{is: yes}
	case strings.HasPrefix(id, deletedPrefix):
		return a.wasDeleted(id)
	case strings.HasPrefix(id, longAccountPrefix) && strings.Contains(id, "@"),
		strings.HasPrefix(id, longUserPrefix) && id != longUserPrefix+a.email(),
		strings.HasPrefix(id, "domain:"),
		strings.HasPrefix(id, serviceAccountPrefix) && strings.Contains(id, "["),
		strings.Contains(id, "/workforcePools/"), strings.Contains(id, "/workloadIdentityPools/"):
		return finding{is: no}
	}
	return unknown(fmt.Sprintf("whether %s belongs to %s is not known", clip(a.Email), clip(identifier)), MissingMembers, identifier)
}

// wasDeleted decides about an identifier of a deleted principal, which means nobody who exists: not even a new account of the
// same e-mail. Only if this very account was read, the policy and the account contradict each other, as after an undelete.
func (a ServiceAccount) wasDeleted(id string) finding {
	email, uid, _ := strings.Cut(strings.TrimPrefix(id, deletedPrefix+longAccountPrefix), "?uid=")
	switch {
	case email != a.email():
		return finding{is: no}
	case a.UniqueID != "" && a.UniqueID == uid:
		return unknown("the policy shows "+clip(a.Email)+" as deleted, and an account of the same unique id exists", MissingIdentity, a.Email)
	}
	return finding{is: no, why: fmt.Sprintf("what stands there is for the deleted account with the unique id %s, which no other account of the same e-mail matches", clip(uid))}
}
