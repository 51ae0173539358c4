package rotation

import (
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// What people are told to do about a key, in the words and commands of its cloud.

// allowReads is what helps if keyturn may not read a key.
func allowReads(key cmek.KeyURI) string {
	if key.Type() == cmek.GCPCloudKMS {
		return "If access was denied: give keyturn's service account cloudkms.cryptoKeys.get and cloudkms.cryptoKeyVersions.list, for example by roles/cloudkms.viewer: " +
			gcloudKey("keys add-iam-policy-binding", key) + " --role=roles/cloudkms.viewer --member=serviceAccount:SERVICE_ACCOUNT"
	}
	return fmt.Sprintf("If access was denied: allow keyturn's role kms:DescribeKey, kms:GetKeyRotationStatus and kms:ListKeyRotations in the key policy of %s.", key)
}

// allowReadsOfAll is what helps if keyturn may not read several keys of an account, of which one is given.
func allowReadsOfAll(key cmek.KeyURI) string {
	if key.Type() == cmek.GCPCloudKMS {
		return "If access was denied: give keyturn's service account cloudkms.cryptoKeys.get and cloudkms.cryptoKeyVersions.list on each key, or check its role in the project."
	}
	return "If access was denied: allow keyturn's role kms:DescribeKey, kms:GetKeyRotationStatus and kms:ListKeyRotations in the policy of each key, or check the reader role of the account."
}

// gcloudKey is a command of gcloud about a key, or with an object in capitals about one of its versions.
func gcloudKey(command string, key cmek.KeyURI) string {
	parts := strings.Split(key.Canonical(), "/")
	if len(parts) != 8 {
		return "gcloud kms " + command + " " + alert.ShellWord(string(key))
	}
	object := " --key=" + alert.ShellWord(parts[7])
	if !strings.HasPrefix(command, "keys versions") {
		object = " " + alert.ShellWord(parts[7])
	}
	return "gcloud kms " + command + object + " --keyring=" + alert.ShellWord(parts[5]) + " --location=" + alert.ShellWord(parts[3]) + " --project=" + alert.ShellWord(parts[1])
}

// recoveryStepsOnGoogle is how the primary version of a key of Cloud KMS, whose state is the key's, is made usable again
// (cloud.google.com/kms/docs/key-states).
func recoveryStepsOnGoogle(uri cmek.KeyURI, state cmek.KeyState, check string) []string {
	which := gcloudKey("keys describe", uri) + "   (VERSION below is the last part of primary.name)"
	enable := gcloudKey("keys versions enable VERSION", uri)
	switch state {
	case cmek.KeyDisabled:
		return []string{which, enable, check}
	case cmek.KeyDeletionScheduled:
		return []string{which, gcloudKey("keys versions restore VERSION", uri), enable + "   (restoring alone leaves the version disabled)", check}
	case cmek.KeyNotFound:
		return []string{gcloudKey("keys describe", uri) + "   (does the key exist, in this project and location?)", check}
	}
	return []string{which, gcloudKey("keys versions list", uri), check}
}

// recoverySteps is how a key is made usable again, as commands.
func recoverySteps(uri cmek.KeyURI, state cmek.KeyState) []string {
	check := "Then check the cluster; nodes that restarted meanwhile may need Cockroach Labs support."
	switch uri.Type() {
	case cmek.AWSKMS:
	case cmek.GCPCloudKMS:
		return recoveryStepsOnGoogle(uri, state, check)
	default:
		return []string{"Enable the key again in its KMS: " + string(uri), check}
	}
	at := fmt.Sprintf("--region %s --key-id %s", uri.Location(), uri)
	enable := "aws kms enable-key " + at
	switch state {
	case cmek.KeyDisabled:
		return []string{enable, check}
	case cmek.KeyDeletionScheduled:
		return []string{"aws kms cancel-key-deletion " + at, enable + "   (canceling alone leaves the key disabled)", check}
	case cmek.KeyPendingImport:
		return []string{"Import the same key material again: aws kms import-key-material " + at + " …", check}
	case cmek.KeyNotFound:
		return []string{"aws kms describe-key " + at + "   (does the key exist, in this Region and account?)", check}
	}
	return []string{"aws kms describe-key " + at, check}
}
