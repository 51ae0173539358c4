package rotation

import (
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// What people are told to do about a key, in the words and commands of its cloud.

// allowReads is what helps if keyturn may not read a key.
func allowReads(key cmek.KeyURI) []string {
	if key.Type() == cmek.GCPCloudKMS {
		return []string{
			"If access was denied, give keyturn's service account cloudkms.cryptoKeys.get and cloudkms.cryptoKeyVersions.list, for example with this role; replace SERVICE_ACCOUNT:",
			gcloudKey("keys add-iam-policy-binding", key) + " --role=roles/cloudkms.viewer --member=serviceAccount:SERVICE_ACCOUNT",
		}
	}
	return []string{fmt.Sprintf("If access was denied: allow keyturn's role kms:DescribeKey, kms:GetKeyRotationStatus and kms:ListKeyRotations in the key policy of %s.", key)}
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
// (docs.cloud.google.com/kms/docs/key-states).
func recoveryStepsOnGoogle(uri cmek.KeyURI, t ledger.KeyTrouble) (steps []string) {
	version := t.Version
	if version == "" {
		version = "VERSION"
		steps = []string{"Read the primary version; VERSION below is the last part of primary.name:", gcloudKey("keys describe", uri)}
	}
	enable := gcloudKey("keys versions enable "+version, uri)
	switch cmek.KeyState(t.Reason) {
	case cmek.KeyDisabled:
		return append(steps, enable)
	case cmek.KeyDeletionScheduled:
		return append(steps, gcloudKey("keys versions restore "+version, uri), "Restoring alone leaves the version disabled. Enable it, too:", enable)
	case cmek.KeyNotFound:
		return []string{"Check that the key exists, in this project and location:", gcloudKey("keys describe", uri)}
	}
	return append(steps, gcloudKey("keys versions list", uri))
}

// recoverySteps is how a key is made usable again, as commands.
func recoverySteps(uri cmek.KeyURI, t ledger.KeyTrouble) []string {
	check := "Then check the cluster; nodes that restarted meanwhile may need Cockroach Labs support."
	switch uri.Type() {
	case cmek.AWSKMS:
	case cmek.GCPCloudKMS:
		return append(recoveryStepsOnGoogle(uri, t), check)
	default:
		return []string{"Enable the key again in its KMS: " + string(uri) + ".", check}
	}
	at := fmt.Sprintf("--region %s --key-id %s", alert.ShellWord(uri.Location()), alert.ShellWord(string(uri)))
	enable := "aws kms enable-key " + at
	switch cmek.KeyState(t.Reason) {
	case cmek.KeyDisabled:
		return []string{enable, check}
	case cmek.KeyDeletionScheduled:
		return []string{"aws kms cancel-key-deletion " + at, "Canceling alone leaves the key disabled. Enable it, too:", enable, check}
	case cmek.KeyPendingImport:
		return []string{
			"Import the same key material again, which KMS does not keep. Get the wrapping key and the import token:",
			"aws kms get-parameters-for-import " + at + " --wrapping-algorithm RSAES_OAEP_SHA_256 --wrapping-key-spec RSA_4096",
			"Wrap the material with that public key, save it as material.bin and the token as token.bin, both decoded from base64, and import:",
			"aws kms import-key-material " + at + " --import-token fileb://token.bin --encrypted-key-material fileb://material.bin --expiration-model KEY_MATERIAL_DOES_NOT_EXPIRE",
			check,
		}
	case cmek.KeyNotFound:
		return []string{"Check that the key exists, in this Region and account:", "aws kms describe-key " + at, check}
	}
	return []string{"aws kms describe-key " + at, check}
}
