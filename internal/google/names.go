package google

import (
	"regexp"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// resourceKind is the collection that a resource's name ends in: cryptoKeys, keyRings, serviceAccounts, projects, folders or
// organizations; "" for a name that none of them can have. Names come from events and policies and become parts of requests.
func resourceKind(name string) string {
	parts := strings.Split(name, "/")
	switch {
	case len(parts) == 2 && parts[0] == "projects" && cmek.IsProject(parts[1]):
		return parts[0]
	case len(parts) == 2 && (parts[0] == "folders" || parts[0] == "organizations") && parts[1] != "" && isNumber(parts[1]):
		return parts[0]
	case len(parts) == 4 && parts[0] == "projects" && (cmek.IsProject(parts[1]) || parts[1] == "-") && parts[2] == "serviceAccounts" && serviceAccount.MatchString(parts[3]):
		return parts[2]
	case len(parts) == 6 && isKey(name+"/cryptoKeys/k"):
		return parts[4]
	case len(parts) == 8 && isKey(name):
		return parts[6]
	}
	return ""
}

func isKey(name string) bool {
	key, version, err := cmek.ParseCryptoKeyName(name)
	return err == nil && version.IsZero() && string(key) == name
}

// serviceAccount is an e-mail of a service account, in lower case (IAM documentation, "Types of service accounts").
var serviceAccount = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*@[a-z0-9][a-z0-9.-]*$`)

// roleID is the last part of a role's name, of at most 128 bytes (IAM documentation, "Create and manage custom roles").
var roleID = regexp.MustCompile(`^[a-zA-Z0-9_.]+$`)

// isRole reports whether the name is that of a role: roles/R, projects/P/roles/R or organizations/N/roles/R.
func isRole(name string) bool {
	parent, id, ok := strings.Cut("/"+name, "/roles/")
	if !ok || len(id) > 128 || !roleID.MatchString(id) {
		return false
	}
	parent = strings.TrimPrefix(parent, "/")
	kind := resourceKind(parent)
	return parent == "" || kind == "projects" || kind == "organizations"
}

// sameRole reports whether two names of roles mean the same one, as [sameResource] does for keys.
func sameRole(a, b string) bool {
	return a == b || strings.HasPrefix(a, "projects/") && strings.HasPrefix(b, "projects/") && sameResource(a, b)
}
