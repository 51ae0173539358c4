package policy

import (
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Call decides one call on the key, such as kms:PutKeyPolicy, of a role or a user: the rules of [KeyAccess], for an action that
// need not be among [KeyActions]. For a user, Role holds the user's ARN and policies.
func Call(keyPolicy Document, key cmek.KeyURI, caller Role, action string) Verdict {
	parsed, err := parseCallerARN(caller.ARN)
	switch {
	case err != nil:
		return Verdict{CannotTell, err.Error()}
	case key.Type() != cmek.AWSKMS || key.Account() == "":
		return Verdict{CannotTell, clip(string(key)) + " is not an AWS KMS key ARN"}
	}
	use := keyUse{Role: caller, role: parsed, keyPolicy: keyPolicy, on: target{key}, action: action,
		known: factsAbout(Principal{Identity, caller.ARN}), deleted: keyPolicy.Deleted()}
	return use.decide().verdict()
}

// parseCallerARN is parseRoleARN for users, too.
func parseCallerARN(s string) (roleARN, error) {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) == 6 && parts[0] == "arn" && parts[2] == "iam" && isAccountID(parts[4]) && strings.HasPrefix(parts[5], "user/") {
		return roleARN{text: s, account: parts[4]}, nil // without the name: a session of a role of that name is not the user's
	}
	return parseRoleARN(s)
}
