package lifecycle

import (
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy/google"
)

var gcpWords = words{
	create: func(spec cmek.KeySpec) string {
		return "undelete the service account (gcloud iam service-accounts undelete, for 30 days), or make it and bind it again: gcloud iam service-accounts create " + word(spec.AuthPrincipal.Name()) + " --project " + word(spec.AuthPrincipal.Account())
	},
	access: func(spec cmek.KeySpec) string {
		return gcpKey("add-iam-policy-binding", spec.URI) + " --member " + word("serviceAccount:"+string(spec.AuthPrincipal)) + " --role roles/cloudkms.cryptoKeyEncrypterDecrypter"
	},
	trust: func(spec cmek.KeySpec, c cmek.Cluster) string {
		cockroach, known := google.CockroachAccount(c.ID, c.AccountID)
		if !known {
			return "ask Cockroach Labs for the cluster's account_id: its service account acts as " + string(spec.AuthPrincipal)
		}
		return "gcloud iam service-accounts add-iam-policy-binding " + word(string(spec.AuthPrincipal)) + " --project " + word(spec.AuthPrincipal.Account()) +
			" --role roles/iam.serviceAccountTokenCreator --member " + word("serviceAccount:"+cockroach.Email)
	},
	remove: func(spec cmek.KeySpec) string {
		return gcpKey("remove-iam-policy-binding", spec.URI) + " --member " + word("serviceAccount:"+string(spec.AuthPrincipal)) + " --role roles/cloudkms.cryptoKeyEncrypterDecrypter"
	},
	enable: func(spec cmek.KeySpec, key cmek.Key) string {
		version := "gcloud kms keys versions %s VERSION --key " + word(spec.URI.ID()) + gcpPlace(spec.URI)
		enable := strings.Replace(version, "%s", "enable", 1)
		switch key.State {
		case cmek.KeyDisabled:
			return enable
		case cmek.KeyDeletionScheduled:
			return "restore the version, which leaves it disabled, and enable it: " + strings.Replace(version, "%s", "restore", 1) + " && " + enable
		case cmek.KeyPendingImport:
			return "import the key material again: gcloud kms keys versions import"
		case cmek.KeyDestroyed, cmek.KeyNotFound:
			return "the key material is gone, and nothing brings it back"
		}
		return ""
	},
}

func gcpKey(operation string, uri cmek.KeyURI) string {
	return "gcloud kms keys " + operation + " " + word(uri.ID()) + gcpPlace(uri)
}

// gcpPlace are the flags that name the key ring of a key: projects/P/locations/L/keyRings/R/cryptoKeys/K.
func gcpPlace(uri cmek.KeyURI) string {
	parts := strings.Split(uri.Canonical(), "/")
	if len(parts) < 6 {
		return ""
	}
	return " --keyring " + word(parts[5]) + " --location " + word(parts[3]) + " --project " + word(parts[1])
}
