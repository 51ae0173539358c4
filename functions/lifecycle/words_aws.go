package lifecycle

import (
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

var awsWords = words{
	create: func(spec cmek.KeySpec) string {
		command := "make the role, and put the key's policy again, which names a role by its id: aws iam create-role --role-name " + word(spec.AuthPrincipal.Name()) + " --assume-role-policy-document file://trust.json"
		if _, path, _ := strings.Cut(string(spec.AuthPrincipal), ":role/"); strings.Contains(path, "/") {
			command += " --path " + word("/"+path[:strings.LastIndex(path, "/")+1])
		}
		return command
	},
	access: func(spec cmek.KeySpec) string {
		return "allow " + string(spec.AuthPrincipal) + " kms:Encrypt, kms:Decrypt, kms:GenerateDataKey*, kms:DescribeKey and kms:ReEncrypt* in the key's policy: " +
			awsKMS("put-key-policy", spec.URI) + " --policy-name default --policy file://policy.json"
	},
	trust: func(spec cmek.KeySpec, _ cmek.Cluster) string {
		return "let the cluster's account_id assume the role, with the organization's id as external id: " +
			"aws iam update-assume-role-policy --role-name " + word(spec.AuthPrincipal.Name()) + " --policy-document file://trust.json"
	},
	remove: func(spec cmek.KeySpec) string {
		return "take the statement of the cluster out of the role's trust policy (aws iam update-assume-role-policy --role-name " + word(spec.AuthPrincipal.Name()) +
			" --policy-document file://trust.json), or disable the key: " + awsKMS("disable-key", spec.URI)
	},
	enable: func(spec cmek.KeySpec, key cmek.Key) string {
		enable := awsKMS("enable-key", spec.URI)
		switch key.State {
		case cmek.KeyDisabled:
			return enable
		case cmek.KeyDeletionScheduled:
			return "cancel the deletion, which leaves the key disabled, and enable it: " + awsKMS("cancel-key-deletion", spec.URI) + " && " + enable
		case cmek.KeyPendingImport:
			return "import every key material of the key again, the expired ones too: " + awsKMS("get-parameters-for-import", spec.URI)
		case cmek.KeyUnavailable:
			return "connect the custom key store of the key again: aws kms connect-custom-key-store"
		case cmek.KeyNotFound:
			return "the key is gone, and nothing brings it back"
		}
		return ""
	},
}

func awsKMS(operation string, uri cmek.KeyURI) string {
	return "aws kms " + operation + " --region " + word(uri.Location()) + " --key-id " + word(string(uri))
}
