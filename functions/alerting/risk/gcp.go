package risk

import (
	"cmp"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

const (
	gcpGone    = "The version cannot be restored once it is destroyed. Data and backups that are encrypted under it cannot be read."
	gcpBlocked = "Every key in the project is unusable until this is undone. " + unusable
)

// gcp are the words of Google Cloud, and the commands of gcloud (docs.cloud.google.com/sdk/gcloud/reference).
var gcp = map[cmek.Change]words{
	cmek.ChangeVersionScheduled: {
		subject: gcpVersion, happened: always("was scheduled for destruction"), attempt: "schedule the destruction of %s",
		impact: func(c Case) string {
			return gcpVersionImpact(c) + " When the waiting period ends, the version is destroyed and cannot be restored. Restoring it before leaves it disabled: enable it, too."
		},
		steps: func(c Case, p *plan) {
			p.version(c, "restore")
			p.version(c, "enable")
			p.check()
		},
	},
	cmek.ChangeVersionDisabled: {
		subject: gcpVersion, attempt: "disable %s", impact: gcpVersionImpact,
		happened: func(c Case) string {
			if Omitted(c.Event) {
				return "had its state changed, and may be disabled"
			}
			return "was disabled"
		},
		steps: func(c Case, p *plan) {
			p.version(c, "enable")
			p.check()
		},
	},
	cmek.ChangeVersionDestroyed: {
		subject: gcpVersion, happened: gcpCall("was destroyed", "DeleteCryptoKeyVersion", "was deleted"), attempt: "destroy %s", impact: always(gcpGone),
		steps: func(c Case, p *plan) {
			p.say("Open a support case with Cockroach Labs now.")
			p.say("Do not restart nodes: running nodes still hold their keys in memory.")
			p.say("Check which version is the primary one, and that it is enabled:")
			p.key(c, "versions list")
		},
	},
	cmek.ChangeVersionRestored: {
		subject: gcpVersion, happened: always("is no longer scheduled for destruction, but is still disabled"), attempt: "restore %s",
		impact: func(c Case) string { return "Restoring a version does not enable it. " + gcpVersionImpact(c) },
		steps: func(c Case, p *plan) {
			p.version(c, "enable")
			p.check()
		},
	},
	cmek.ChangeVersionEnabled: {
		subject: gcpVersion, happened: always("was enabled"), attempt: "enable %s",
		impact: func(c Case) string {
			if c.broken() {
				return "The version still cannot be used: its state is \"" + string(c.state()) + "\". " + gcpVersionImpact(c)
			}
			return "Nodes that restarted while the version was disabled may not recover by themselves."
		},
		steps: func(c Case, p *plan) {
			if c.broken() {
				p.say("Read the version's state again after a minute, and enable it if it is still disabled:")
				p.version(c, "describe")
				p.version(c, "enable")
			}
			p.check()
		},
	},
	cmek.ChangeVersionCreated: {
		subject: gcpVersion, happened: always("was created"), attempt: "create %s",
		impact: always("A new version encrypts nothing until it is the primary one, so this is no rotation yet."),
		steps: func(c Case, p *plan) {
			p.say("If the key was to be rotated, check which version is the primary one:")
			p.describe(c)
		},
	},
	cmek.ChangePrimarySetBack: {
		subject: gcpKey, attempt: "set back the primary version of %s",
		happened: func(c Case) string { return "had its primary version set back to " + gcpNumber(c.Event.Version) },
		impact:   always("The rotation was undone: what is encrypted from now on is encrypted under older key material. Store keys that are re-encrypted now are, too."),
		steps: func(c Case, p *plan) {
			newest := c.Event.Previous
			for _, v := range c.Wraps {
				if newest.IsZero() || newest.Before(v) {
					newest = v
				}
			}
			p.say("Find out who did this, and why. If it was not planned, make the newer version the primary one again:")
			p.gcloudKey(c, "set-primary-version", "version", newest.ID)
			p.say("Check how far the re-encryption is:")
			p.run("keyturn status")
		},
	},
	cmek.ChangeRotationFailed: {
		subject: gcpKey, happened: always("was to be rotated automatically, which failed"), attempt: "rotate %s",
		impact: func(c Case) string {
			if c.broken() {
				return "The key still uses the version before, which cannot be used: its state is \"" + string(c.state()) + "\". " + unusable
			}
			return "The key still uses the version before. Clusters are not affected, but the key's material grows older than its schedule says."
		},
		steps: func(c Case, p *plan) {
			p.say("Check the key's primary version, its schedule and its quota. To rotate it by hand, create a version as the primary one:")
			p.describe(c)
			p.gcloudVersions(c, "create --primary")
		},
	},
	cmek.ChangeKeyDeleted: {
		subject: gcpKey, happened: always("was deleted"), attempt: "delete %s", impact: always(gone),
		steps: func(_ Case, p *plan) {
			p.say("Open a support case with Cockroach Labs now.")
			p.say("Do not restart nodes: running nodes still hold their keys in memory.")
			p.say("Backups that are encrypted under another key can still be restored. The name of a deleted key cannot be used again.")
		},
	},
	cmek.ChangeKeyRingDeleted: {
		subject: func(c Case) string { return the("Key ring", lastSegment(c.Event.Parameters["key_ring"])) }, happened: always("was deleted"), attempt: "delete %s",
		impact: always("The keys in it are gone. " + gone),
		steps: func(_ Case, p *plan) {
			p.say("Open a support case with Cockroach Labs now.")
			p.say("Do not restart nodes: running nodes still hold their keys in memory.")
			p.say("A new key ring of the same name does not bring the keys back.")
		},
	},
	cmek.ChangeExternalKeys: {
		subject: func(c Case) string {
			switch name := inQuotes(c.Event.Parameters["custom_key_store_id"]); {
			case c.Event.Key != "":
				return gcpVersion(c)
			case call(c.Event) == "UpdateEkmConfig":
				return the("EKM configuration", "of "+clip(cmp.Or(c.Event.Region, "a location"))+" in project "+clip(c.Event.Account))
			case call(c.Event) == "UpdateEkmConnection":
				return the("EKM connection", name)
			case strings.HasPrefix(call(c.Event), "ExecuteSingleTenantHsm"):
				return the("HSM instance", name)
			default:
				return the("External key manager or HSM instance", name)
			}
		},
		happened: gcpCall("was changed", "UpdateCryptoKeyVersion", "had its external key changed", "ExecuteSingleTenantHsmInstanceProposal", "had a proposal executed, which may disable or delete it"), attempt: "change %s",
		impact: always("Keys with the protection level EXTERNAL, EXTERNAL_VPC or HSM_SINGLE_TENANT that depend on it may be unusable. Other keys are not affected. If they can no longer be used: " + unusable),
		steps: func(c Case, p *plan) {
			p.say("Check whether a cluster's key depends on it. If so, undo the change, and check that the key can be used:")
			switch at := []string{"location", c.Event.Region, "project", c.Event.Account}; {
			case c.Event.Key != "":
				p.version(c, "describe")
			case call(c.Event) == "UpdateEkmConfig":
				p.gcloud("kms ekm-config describe", "", "", at...)
			case call(c.Event) == "UpdateEkmConnection":
				p.gcloud("kms ekm-connections describe", "ekm-connection", c.Event.Parameters["custom_key_store_id"], at...)
			default:
				p.say("Look at the instance and its proposals in the Google Cloud console (Security, Key Management), and find the keys in the key rings of its location:")
				p.gcloud("kms keyrings list", "", "", at...)
			}
			p.check()
		},
	},
	cmek.ChangeMaterialImported: {
		subject: gcpVersion, happened: always("had key material imported"), attempt: "import key material into %s",
		impact: always("Imported key material does not expire. It encrypts nothing until its version is the primary one."),
		steps: func(c Case, p *plan) {
			p.say("Check that the import was planned, and that it succeeded:")
			p.version(c, "describe")
		},
	},

	cmek.ChangeKeyPolicy: {
		subject: gcpKey, happened: always("had its IAM policy replaced"), attempt: "replace the IAM policy of %s",
		impact: always("An IAM policy that does not grant roles/cloudkms.cryptoKeyEncrypterDecrypter to the clusters' service account cuts them off, unless the key inherits it from the key ring, the project or above."),
		steps: func(c Case, p *plan) {
			p.bindings(c, "kms keys", c.Event.Key.ID(), gcpAt(c)...)
			p.check()
		},
	},
	cmek.ChangeInheritedPolicy: {
		subject: gcpNode, happened: always("had its IAM policy changed, which keys below it inherit"), attempt: "change the IAM policy of %s",
		impact: always("If the clusters' service account gets its access to a key from there, a policy without it cuts them off."),
		steps: func(c Case, p *plan) {
			kind, name, flags := gcpNodeCommand(c)
			p.bindings(c, kind, name, flags...)
			p.check()
		},
	},
	cmek.ChangeDenyPolicy: {
		subject:  func(c Case) string { return the("Deny policy", inQuotes(c.Event.Parameters["policy_name"])) },
		happened: gcpCall("was changed", "CreatePolicy", "was created", "UpdatePolicy", "was changed", "DeletePolicy", "was deleted"), attempt: "change %s",
		impact: always("A deny policy takes access away whatever other policies grant: to use the key, or to act as the clusters' service account."),
		steps: func(c Case, p *plan) {
			point := ""
			if node := c.Event.Parameters["resource"]; node != "" {
				point = "cloudresourcemanager.googleapis.com/" + node
			}
			if call(c.Event) == "DeletePolicy" {
				p.say("If the policy kept somebody out who must not use the key, create it again. Those that are left:")
				p.gcloud("iam policies list", "", "", "attachment-point", point, "kind", "denypolicies")
				return
			}
			p.say("Check that the policy denies the clusters' service account neither cloudkms.googleapis.com nor iam.googleapis.com permissions:")
			p.gcloud("iam policies get", "policy-id", c.Event.Parameters["policy_name"], "attachment-point", point, "kind", "denypolicies")
			p.say("If it does, and was not planned, delete it:")
			p.gcloud("iam policies delete", "policy-id", c.Event.Parameters["policy_name"], "attachment-point", point, "kind", "denypolicies")
			p.check()
		},
	},
	cmek.ChangeAccessBoundary: {
		subject: func(c Case) string {
			if gcpBinds(c) {
				return the("Binding of a principal access boundary", inQuotes(c.Event.Parameters["binding"]))
			}
			return the("Principal access boundary policy", inQuotes(c.Event.Parameters["policy_name"]))
		},
		happened: gcpCall("was changed", "CreatePrincipalAccessBoundaryPolicy", "was created", "DeletePrincipalAccessBoundaryPolicy", "was deleted",
			"CreatePolicyBinding", "was created", "DeletePolicyBinding", "was deleted"), attempt: "change %s",
		impact: always("Whoever is bound to such policies can use no resource that none of them lists, whatever other policies grant. If that is the clusters' service account, and none lists the key's project, it is cut off."),
		steps: func(c Case, p *plan) {
			parent, name := append([]string{"location", "global"}, gcpParent(c)...), c.Event.Parameters["binding"]
			switch {
			case gcpBinds(c) && call(c.Event) == "DeletePolicyBinding":
				p.say("Check which policies still bind the clusters' service account. If any do, one of them must list the key's project, or what is above it:")
				p.gcloud("iam policy-bindings search-target-policy-bindings", "", "", append([]string{"target", gcpSet(c)}, parent...)...)
				p.say("If the binding was deleted by mistake, create it again:")
				p.gcloud("iam policy-bindings create", "binding", name, append([]string{"policy", c.Event.Parameters["policy_name"], "target-principal-set", gcpSet(c)}, parent...)...)
			case gcpBinds(c):
				p.say("Check whom the binding binds, and whether its policy lists the project of the clusters' key, or what is above it:")
				p.gcloud("iam policy-bindings describe", "binding", name, parent...)
				p.boundary(c, "describe")
				p.say("If it cuts the clusters' service account off, and was not planned, delete the binding:")
				p.gcloud("iam policy-bindings delete", "binding", name, parent...)
			case call(c.Event) == "DeletePrincipalAccessBoundaryPolicy":
				p.say("If the policy listed the project of the clusters' key, bind their service account to another one that does. Those that are left:")
				p.gcloud("iam principal-access-boundary-policies list", "", "", gcpOrganization(c)...)
			default:
				p.say("Check that the policy lists the project of the clusters' key, or what is above it, and whom it binds:")
				p.boundary(c, "describe")
				p.boundary(c, "search-policy-bindings")
			}
			p.check()
		},
	},
	cmek.ChangeJustifications: {
		subject: gcpKey, attempt: "change the Key Access Justifications policy of %s",
		happened: func(c Case) string {
			switch reasons := c.Event.Parameters["reasons"]; {
			case Omitted(c.Event):
				return "was changed, perhaps in its Key Access Justifications policy"
			case reasons != "":
				return "had its Key Access Justifications policy changed, to allow only " + clip(reasons)
			case c.Event.Parameters["justifications"] == "none":
				return "had its Key Access Justifications policy changed, to allow no reason"
			}
			return "had its Key Access Justifications policy removed, or changed to allow no reason"
		},
		impact: func(c Case) string {
			if c.Event.Parameters["justifications"] == "none" && !Omitted(c.Event) {
				return "Cloud KMS refuses every use of the key. " + unusable
			}
			return "Cloud KMS refuses every use of the key for which it is given a reason that the policy does not list. Without a policy it refuses none."
		},
		steps: func(c Case, p *plan) {
			p.say("Check whether the key has a policy (keyAccessJustificationsPolicy):")
			p.describe(c)
			p.say("If it has one, and that was not planned, remove it; every reason is allowed then:")
			p.gcloudKey(c, "update --remove-key-access-justifications-policy")
			p.check()
		},
	},

	cmek.ChangePrincipalTrust: {
		subject: gcpAccount, happened: always("had its IAM policy replaced"), attempt: "change the IAM policy of %s",
		impact: always("A policy that does not grant roles/iam.serviceAccountTokenCreator to CockroachDB Cloud's service account (crl-kms-user-…) cuts the clusters off."),
		steps: func(c Case, p *plan) {
			p.bindings(c, "iam service-accounts", string(c.Event.Identity), "project", c.Event.Account)
			p.check()
		},
	},
	cmek.ChangePrincipalDisabled: {
		subject: gcpAccount, happened: always("was disabled"), attempt: "disable %s", impact: always("The clusters can no longer use their keys. " + unusable),
		steps: func(c Case, p *plan) {
			p.account(c, "enable", cmp.Or(string(c.Event.Identity), c.Event.Parameters["unique_id"]))
			p.check()
		},
	},
	cmek.ChangePrincipalEnabled: {
		subject: gcpAccount, happened: always("was enabled"), attempt: "enable %s", impact: gcpReturned("disabled"),
		steps: func(_ Case, p *plan) { p.check() },
	},
	cmek.ChangePrincipalDeleted: {
		subject: gcpAccount, happened: always("was deleted"), attempt: "delete %s",
		impact: always("The clusters can no longer use their keys. " + unusable + " A new service account with the same e-mail address does not restore access: it has another unique id, and bindings name that."),
		steps: func(c Case, p *plan) {
			p.say("Undelete the service account within 30 days:")
			p.account(c, "undelete", c.Event.Parameters["unique_id"])
			p.check()
		},
	},
	cmek.ChangePrincipalUndeleted: {
		subject: gcpAccount, happened: always("was undeleted"), attempt: "undelete %s", impact: gcpReturned("deleted"),
		steps: func(_ Case, p *plan) { p.check() },
	},
	cmek.ChangePrincipalCreated: {
		subject: gcpAccount, happened: always("was created, with the e-mail address of one that clusters act as"), attempt: "create %s",
		impact: always("The service account before it was deleted. The new one has another unique id, so the bindings of the keys do not hold for it, nor does the Token Creator role of CockroachDB Cloud. " + unusable),
		steps: func(c Case, p *plan) {
			p.say("For each key, grant the new service account the role that the old one had:")
			keys := c.Keys
			if len(keys) == 0 {
				keys = []cmek.KeyURI{""}
			}
			for _, key := range keys {
				p.gcloud("kms keys add-iam-policy-binding", "key", key.ID(), append([]string{"member", gcpMember(c.Event.Identity), "role", "roles/cloudkms.cryptoKeyEncrypterDecrypter"}, gcpAtKey(key)...)...)
			}
			p.say("Grant CockroachDB Cloud's service account (crl-kms-user-…) the Token Creator role on it:")
			p.gcloud("iam service-accounts add-iam-policy-binding", "service-account", string(c.Event.Identity), "member", "", "role", "roles/iam.serviceAccountTokenCreator", "project", c.Event.Account)
			p.check()
		},
	},
	cmek.ChangeManagedPolicy: {
		subject:  func(c Case) string { return the("Custom role", lastSegment(c.Event.Parameters["role"])) },
		happened: gcpCall("was changed", "UpdateRole", "was changed", "DeleteRole", "was deleted", "UndeleteRole", "was undeleted"), attempt: "change %s",
		impact: always("If the clusters' service account, or CockroachDB Cloud's, has its access by this role, it may be cut off."),
		steps: func(c Case, p *plan) {
			id, at := lastSegment(c.Event.Parameters["role"]), gcpParent(c)
			if call(c.Event) == "DeleteRole" {
				p.say("Undelete the role within 7 days:")
				p.gcloud("iam roles undelete", "role-id", id, at...)
				p.check()
				return
			}
			p.say("Check that the role has the permissions that it had before:")
			p.gcloud("iam roles describe", "role-id", id, at...)
			p.check()
		},
	},

	cmek.ChangeRotationDisabled: {
		subject: gcpKey, happened: always("had its automatic rotation disabled"), attempt: "disable the automatic rotation of %s",
		impact: always("The key's material grows older than your policy may allow. Clusters are not affected."),
		steps: func(c Case, p *plan) {
			p.say("Unless the key is rotated by hand, set a schedule again, with the period that your policy asks for:")
			p.gcloudKey(c, "update", "rotation-period", "", "next-rotation-time", "")
		},
	},
	cmek.ChangeRotationSchedule: {
		subject: gcpKey, attempt: "change the automatic rotation of %s",
		happened: func(c Case) string {
			if days := c.Event.Parameters["rotation_period_days"]; days != "" {
				return "was set to rotate every " + clip(days) + " days"
			}
			return "had its automatic rotation enabled or changed"
		},
		impact: always("Clusters are not affected. A long period may break your policy."),
		steps: func(c Case, p *plan) {
			p.say("Compare the rotation period with your policy:")
			p.describe(c)
		},
	},
	cmek.ChangeRotated: {
		subject: gcpKey, attempt: "rotate %s",
		happened: func(c Case) string {
			if v := c.Event.Version; !v.IsZero() {
				return "was rotated: " + gcpNumber(v) + " is the primary one"
			}
			return "was rotated"
		},
		impact: func(c Case) string {
			text := "The store keys are not re-encrypted yet; " + following
			if !c.Event.Version.IsZero() && !c.goesOn() {
				text += " If this version is older than the one before, the rotation was undone."
			}
			return text
		},
		steps: func(_ Case, p *plan) { p.say("Check how far the re-encryption is:"); p.run("keyturn status") },
	},
	cmek.ChangeRotationRequested: {
		subject: gcpKey, happened: always("was to get another primary version"), attempt: "change the primary version of %s",
		impact: always("When the primary version has changed, the store keys must be re-encrypted; " + following),
		steps: func(c Case, p *plan) {
			p.say("Check which version is the primary one:")
			p.describe(c)
		},
	},
	cmek.ChangeKeyTags: {
		subject: gcpKey, happened: always("had its labels changed"), attempt: "change the labels of %s", impact: always("Labels decide about no access to the key."),
		steps: func(c Case, p *plan) {
			p.say("Check the key's labels:")
			p.describe(c)
		},
	},

	cmek.ChangeUse: {
		subject: gcpKey, attempt: "use %s", happened: gcpStranger("was used"), impact: gcpStrangerImpact("encrypts or decrypts with the key"),
		steps: func(c Case, p *plan) {
			p.say("Find out who the principal is, and why it uses the key. If it is not expected, remove its role, on the key or above, and treat the key as exposed:")
			p.gcloudKey(c, "get-iam-policy")
		},
	},
	cmek.ChangePrincipalAssumed: {
		subject: gcpAccount, attempt: "act as %s", happened: gcpStranger("was impersonated"), impact: gcpStrangerImpact("has the clusters' access to the key"),
		steps: func(c Case, p *plan) {
			p.say("Find out who the principal is, and why it acts as the service account. If it is not expected, remove its roles on it; a token stays valid until it expires:")
			p.account(c, "get-iam-policy", string(c.Event.Identity))
		},
	},
	cmek.ChangeUseRefused: {
		attempt: "use %s",
		subject: func(c Case) string {
			if c.OfPrincipal() {
				return gcpAccount(c)
			}
			return gcpKey(c)
		},
		happened: func(c Case) string {
			if c.OfPrincipal() {
				return "could not be impersonated by CockroachDB Cloud"
			}
			return "refused a call of a cluster"
		},
		impact: gcpRefusal, steps: gcpUndoRefusal,
	},

	cmek.ChangeAPIDisabled: {
		subject: gcpAPI, happened: always("was disabled"), attempt: "disable %s",
		impact: func(c Case) string {
			if strings.HasPrefix(c.Event.Parameters["api"], "iamcredentials.") {
				return "CockroachDB Cloud can no longer act as service accounts of the project. " + unusable
			}
			return gcpBlocked
		},
		steps: func(c Case, p *plan) {
			for api := range strings.SplitSeq(c.Event.Parameters["api"], ",") {
				p.gcloud("services enable", "service", api, "project", gcpProject(c))
			}
			p.check()
		},
	},
	cmek.ChangeAPIEnabled: {
		subject: gcpAPI, happened: always("was enabled"), attempt: "enable %s", impact: gcpReturned("disabled"),
		steps: func(_ Case, p *plan) { p.check() },
	},
	cmek.ChangeBillingDisabled: {
		subject: gcpNode, happened: gcpCall("had its billing disabled", "CloseBillingAccount", "was closed"), attempt: "disable the billing of %s",
		impact: always("Cloud KMS stops in a project without billing. " + gcpBlocked),
		steps: func(c Case, p *plan) {
			if strings.HasPrefix(c.Event.Parameters["resource"], "billingAccounts/") {
				p.say("Reopen the billing account, or link the projects of the keys to another one:")
			}
			p.gcloud("billing projects link", "project-id", gcpProject(c), "billing-account", strings.TrimPrefix(c.Event.Parameters["billing_account"], "billingAccounts/"))
			p.check()
		},
	},
	cmek.ChangeBillingAssigned: {
		subject: gcpNode, happened: always("was assigned to a billing account"), attempt: "assign %s to a billing account",
		impact: always("If the billing account is closed or has no payment, Cloud KMS stops in the project."),
		steps: func(c Case, p *plan) {
			p.say("Check that billing is enabled:")
			p.gcloud("billing projects describe", "project-id", gcpProject(c))
		},
	},
	cmek.ChangeProjectShutDown: {
		subject: gcpNode, happened: always("was shut down"), attempt: "shut down %s", impact: always("The project is deleted for good after 30 days. " + gcpBlocked),
		steps: func(c Case, p *plan) {
			p.gcloud("projects undelete", "project-id", gcpProject(c))
			p.say("Restoring a project does not restore its billing:")
			p.gcloud("billing projects link", "project-id", gcpProject(c), "billing-account", "")
			p.check()
		},
	},
	cmek.ChangeProjectRestored: {
		subject: gcpNode, happened: always("was restored"), attempt: "restore %s", impact: always("Billing may still be disabled. Nodes that restarted meanwhile may not recover by themselves."),
		steps: func(c Case, p *plan) {
			p.say("Check that billing is enabled:")
			p.gcloud("billing projects describe", "project-id", gcpProject(c))
			p.check()
		},
	},
	cmek.ChangeGuardRails: {
		subject: func(c Case) string {
			switch {
			case gcpMoved(c):
				return gcpNode(c)
			case gcpPerimeter(c):
				return gcpPerimeterName(c)
			}
			return the("Organization policy", c.Event.Parameters["policy_id"])
		},
		happened: func(c Case) string {
			if c.perhapsMoved() {
				return "was changed, and perhaps moved to another folder or organization"
			}
			return gcpGuardRails(c)
		},
		attempt: "change %s",
		impact: func(c Case) string {
			switch {
			case c.perhapsMoved():
				return "Whether it was moved is not known: the entry is the same for every edit of its labels, and keyturn does not know what the project was below before, or what it is below now. If it was: " + lowerFirst(gcpMovedImpact)
			case gcpMoved(c):
				return gcpMovedImpact
			case gcpPerimeter(c):
				return "CockroachDB Cloud calls Cloud KMS and the IAM Credentials API from outside of every perimeter. If a key's or a service account's project is within one that restricts these services, and no ingress rule or access level allows it, the clusters are cut off. keyturn does not evaluate perimeters."
			}
			return "Such a policy can forbid the use of a key, of an API or of service accounts of other projects, or shorten the waiting period of a destruction. keyturn does not evaluate these policies."
		},
		steps: func(c Case, p *plan) {
			switch {
			case gcpMoved(c):
				p.say("Check whether the clusters' service account and CockroachDB Cloud's (crl-kms-user-…) still have their roles, and grant on the key and on the service account what they had from above before:")
				if call(c.Event) == "MoveFolder" {
					_, name, _ := gcpNodeCommand(c)
					p.gcloud("resource-manager folders get-ancestors-iam-policy", "folder-id", name)
				} else {
					p.gcloud("projects get-ancestors-iam-policy", "project-id", gcpProject(c))
				}
			case gcpPerimeter(c):
				p.say("Check that no perimeter around a project of keys or service accounts restricts cloudkms.googleapis.com or iamcredentials.googleapis.com without an ingress rule or an access level that allows CockroachDB Cloud:")
				if name := c.Event.Parameters["perimeter"]; name != "" && strings.HasSuffix(call(c.Event), "ServicePerimeter") && call(c.Event) != "DeleteServicePerimeter" {
					p.gcloud("access-context-manager perimeters describe", "perimeter", name, "policy", c.Event.Parameters["access_policy"])
				} else {
					p.gcloud("access-context-manager perimeters list", "", "", "policy", c.Event.Parameters["access_policy"])
				}
			default:
				p.say("Check the policy that holds now:")
				p.gcloud("org-policies describe --effective", "constraint", c.Event.Parameters["policy_id"], gcpParent(c)...)
			}
			p.check()
		},
	},

	cmek.ChangeLogSink: {
		subject: func(c Case) string {
			for _, known := range [][2]string{{"sink", "Log sink"}, {"exclusion", "Log exclusion"}, {"feed", "Asset feed"}} {
				if name := c.Event.Parameters[known[0]]; name != "" {
					return the(known[1], inQuotes(name))
				}
			}
			return "A log sink"
		},
		happened: gcpCall("was changed or deleted", "UpdateSink", "was changed", "DeleteSink", "was deleted", "CreateExclusion", "was created", "UpdateExclusion", "was changed",
			"UpdateFeed", "was changed", "DeleteFeed", "was deleted"),
		attempt: "change or delete %s", impact: always("Log entries about keys may no longer be kept, or no longer reach keyturn. " + blind),
		steps: func(c Case, p *plan) {
			switch name := call(c.Event); {
			case strings.HasSuffix(name, "Exclusion"):
				p.say("Check that no sink loses what Cloud KMS, IAM and the Resource Manager record:")
				p.gcloud("logging sinks list", "", "", gcpParent(c)...)
			case strings.HasSuffix(name, "Feed"):
				p.say(redeploy)
				p.gcloud("asset feeds list", "", "", gcpParent(c)...)
			default:
				p.say("If the sink is keyturn's: " + lowerFirst(redeploy))
				p.say("If it was not planned, put the sink back as it was. Those that are left:")
				p.gcloud("logging sinks list", "", "", gcpParent(c)...)
			}
		},
	},
	cmek.ChangeAuditLogs: {
		subject: gcpNode, attempt: "reduce the audit logs of %s",
		happened: func(c Case) string {
			return "had audit logs switched off, or somebody exempted from them" + inBrackets(c.Event.Parameters["api"])
		},
		impact: always("Use of the keys is no longer recorded in full. keyturn no longer sees that a cluster is refused, or that somebody else uses a key."),
		steps: func(c Case, p *plan) {
			kind, name, flags := gcpNodeCommand(c)
			p.say("If it was not planned, put the auditConfigs of the policy back:")
			p.gcloud(kind+" get-iam-policy", "name", name, flags...)
		},
	},
	cmek.ChangeFunction: {
		subject:  func(c Case) string { return the("Function", inQuotes(c.Event.Parameters["function"])) },
		happened: gcpCall("was changed or deleted", "DeleteFunction", "was deleted", "DeleteService", "was deleted", "UpdateFunction", "was changed", "ReplaceService", "was changed", "UpdateService", "was changed", "SetIamPolicy", "had its IAM policy changed"),
		attempt:  "change or delete %s",
		impact: func(c Case) string {
			switch {
			case gcpPolicySet(c):
				return "If the service account that sends events and ticks to the function lost the right to invoke it, it gets none. Who gained that right can send it events that never happened. " + blind
			case strings.HasPrefix(call(c.Event), "Delete"):
				return "What the function did is no longer done. " + blind
			}
			return "The function acts with keyturn's permissions; changed code can do whatever they allow. " + blind
		},
		steps: func(c Case, p *plan) {
			p.say(redeploy)
			switch {
			case gcpPolicySet(c):
				p.say("Check that nobody but the service accounts of the deployment (push, tick) may invoke the function:")
				p.gcloud("functions get-iam-policy", "function", c.Event.Parameters["function"], "region", c.Event.Region, "project", c.Event.Account)
				return
			case strings.HasPrefix(call(c.Event), "Delete"):
				return
			}
			p.say("Compare the source and the environment with those of the deployment:")
			p.gcloud("functions describe", "function", c.Event.Parameters["function"], "region", c.Event.Region, "project", c.Event.Account)
		},
	},
	cmek.ChangeSchedule: {
		subject:  func(c Case) string { return the("Scheduler job", inQuotes(c.Event.Parameters["schedule"])) },
		happened: gcpCall("was changed or deleted", "UpdateJob", "was changed", "PauseJob", "was paused", "DeleteJob", "was deleted"), attempt: "change, pause or delete %s",
		impact: always("keyturn no longer sweeps: missed rotations are not found, and open work does not go on. " + blind),
		steps: func(c Case, p *plan) {
			if call(c.Event) == "PauseJob" {
				p.say("If it was not paused on purpose, resume it:")
				p.gcloud("scheduler jobs resume", "job", c.Event.Parameters["schedule"], "location", c.Event.Region, "project", c.Event.Account)
				return
			}
			p.say(redeploy)
			p.gcloud("scheduler jobs list", "", "", "location", c.Event.Region, "project", c.Event.Account)
		},
	},
	cmek.ChangeSecret: {
		subject: func(c Case) string { return the("Secret", inQuotes(c.Event.Parameters["secret"])) },
		happened: gcpCall("was changed or deleted", "AddSecretVersion", "had its value replaced", "DisableSecretVersion", "had a version disabled", "DestroySecretVersion", "had a version destroyed",
			"DeleteSecret", "was deleted", "UpdateSecret", "was changed, and may expire", "SetIamPolicy", "had its IAM policy changed"),
		attempt: "change or delete %s",
		impact: func(c Case) string {
			switch call(c.Event) {
			case "SetIamPolicy":
				return "If a function lost access, it cannot follow rotations (the API key) or notify (a channel's secret). Who gained access can read the credential."
			case "AddSecretVersion":
				return "If the new value is wrong, keyturn cannot follow rotations (the API key), or a channel sends alerts elsewhere or to nobody (its secret)."
			}
			return "keyturn may no longer read what the secret holds: without the API key it cannot follow rotations, without a channel's secret it cannot notify."
		},
		steps: func(c Case, p *plan) {
			if call(c.Event) == "DeleteSecret" {
				p.say(redeploy)
				p.say("A deleted secret cannot be restored: replace the credential at its issuer, and store it again.")
				return
			}
			secret := c.Event.Parameters["secret"]
			// The newest version is read, enabled or not (cloud.google.com/secret-manager/docs/access-secret-version).
			switch call(c.Event) {
			case "SetIamPolicy":
				p.say(redeploy)
				p.say("Check that nobody but the functions that need it may read the secret. If somebody else could, replace the credential at its issuer:")
				p.gcloud("secrets get-iam-policy", "secret", secret, "project", c.Event.Account)
			case "UpdateSecret":
				p.say("If an expiry was set, remove it: the secret is deleted then.")
				p.gcloud("secrets update --remove-expiration", "secret", secret, "project", c.Event.Account)
			case "DisableSecretVersion":
				p.say("The newest version is the one that is read. If it is disabled, enable it:")
				p.gcloud("secrets versions list", "secret", secret, "project", c.Event.Account)
				p.gcloud("secrets versions enable", "version", c.Event.Parameters["secret_version"], "secret", secret, "project", c.Event.Account)
			default:
				p.say("The newest version is the one that is read, whatever state it is in:")
				p.gcloud("secrets versions list", "secret", secret, "project", c.Event.Account)
				p.say("If nobody replaced the credential on purpose, replace it at its issuer, save the new value as secret.txt, and store it as the newest version:")
				p.gcloud("secrets versions add", "secret", secret, "data-file", "secret.txt", "project", c.Event.Account)
			}
		},
	},
	cmek.ChangeTable: {
		subject: func(c Case) string { return the("Database", inQuotes(c.Event.Parameters["table"])) },
		happened: gcpCall("was changed or deleted", "DeleteDatabase", "was deleted", "UpdateDatabase", "was changed",
			"BulkDeleteDocuments", "had documents deleted", "ImportDocuments", "had documents overwritten by an import"),
		attempt: "change or delete %s",
		impact: func(c Case) string {
			if call(c.Event) == "UpdateDatabase" {
				return "If its delete protection or its point-in-time recovery was disabled, what keyturn knows can be lost."
			}
			return "keyturn no longer knows which clusters use which keys, and what is open. It cannot follow rotations, and cannot tell which clusters a change concerns."
		},
		steps: func(c Case, p *plan) {
			table, project := c.Event.Parameters["table"], c.Event.Account
			switch call(c.Event) {
			case "UpdateDatabase":
				p.say(redeploy)
				p.say("Check that delete protection and point-in-time recovery are enabled:")
				p.gcloud("firestore databases describe", "", "", "database", table, "project", project)
			case "BulkDeleteDocuments", "ImportDocuments":
				p.say("Pause the functions, so that nothing is decided by what is left:")
				p.run("keyturn pause")
				p.say("Copy the documents as they were before from point-in-time recovery, which goes back for 7 days: export them with a snapshot time before the change, and import them.")
				p.gcloud("firestore export", "gs-bucket", "", "database", table, "snapshot-time", gcpMinuteBefore(c.Event.Time), "project", project)
			default:
				p.say("Restore the newest backup under the same name, and deploy keyturn's infrastructure again:")
				p.gcloud("firestore backups list", "", "", "project", project)
				p.gcloud("firestore databases restore", "", "", "source-backup", "", "destination-database", table, "project", project)
			}
		},
	},
	cmek.ChangeAlarm: {
		subject: func(c Case) string {
			switch name := call(c.Event); {
			case strings.HasSuffix(name, "Channel"):
				return the("Notification channel", inQuotes(c.Event.Parameters["alarm"]))
			case strings.HasSuffix(name, "LogMetric"):
				return the("Log-based metric", inQuotes(c.Event.Parameters["alarm"]))
			}
			return the("Alert policy", inQuotes(c.Event.Parameters["alarm"]))
		},
		happened: gcpCall("was changed or deleted", "UpdateAlertPolicy", "was changed", "DeleteAlertPolicy", "was deleted", "UpdateNotificationChannel", "was changed", "DeleteNotificationChannel", "was deleted",
			"UpdateLogMetric", "was changed", "DeleteLogMetric", "was deleted", "CreateSnooze", "was snoozed", "UpdateSnooze", "had its snooze changed"),
		attempt: "change, delete or silence %s", impact: always("If keyturn stops working, nobody is notified. " + blind),
		steps: func(c Case, p *plan) {
			if strings.HasSuffix(call(c.Event), "Snooze") {
				p.say("If nobody works on it, end the snooze:")
				p.gcloud("monitoring snoozes list", "", "", "project", c.Event.Account)
				p.gcloud("monitoring snoozes cancel", "snooze", c.Event.Parameters["snooze"], "project", c.Event.Account)
				return
			}
			p.say(redeploy)
			if strings.HasSuffix(call(c.Event), "LogMetric") {
				p.say("Check that every metric of the deployment is there, with the filter that the deployment says:")
				p.gcloud("logging metrics list", "", "", "project", c.Event.Account)
				return
			}
			p.say("Check that every alert policy of the deployment is enabled, and notifies the channels that the deployment says:")
			p.gcloud("alpha monitoring policies list", "", "", "project", c.Event.Account)
		},
	},
	cmek.ChangeAlertTopic: {
		subject: func(c Case) string {
			if name := c.Event.Parameters["subscription"]; name != "" || strings.HasSuffix(call(c.Event), "Subscription") || call(c.Event) == "ModifyPushConfig" {
				return the("Subscription", inQuotes(name))
			}
			return the("Topic", inQuotes(c.Event.Parameters["topic"]))
		},
		happened: gcpCall("was changed or deleted", "UpdateTopic", "was changed", "DeleteTopic", "was deleted", "UpdateSubscription", "was changed", "DeleteSubscription", "was deleted",
			"DetachSubscription", "was detached from its topic", "ModifyPushConfig", "had its push endpoint changed or removed", "SetIamPolicy", "had its IAM policy changed"),
		attempt: "change or delete %s",
		impact: func(c Case) string {
			if gcpPolicySet(c) {
				return "If a log sink or a function lost the right to publish, or Pub/Sub the right to deliver, events no longer reach keyturn, or its alerts reach nobody. Who gained the right to publish can send events or alerts that never happened. " + blind
			}
			return "Events no longer reach keyturn, or its alerts reach nobody. " + blind
		},
		steps: func(c Case, p *plan) {
			p.say(redeploy)
			if gcpPolicySet(c) {
				p.say("Check that its bindings are those of the deployment:")
				if name := c.Event.Parameters["subscription"]; name != "" {
					p.gcloud("pubsub subscriptions get-iam-policy", "subscription", name, "project", c.Event.Account)
				} else {
					p.gcloud("pubsub topics get-iam-policy", "topic", c.Event.Parameters["topic"], "project", c.Event.Account)
				}
				return
			}
			p.say("Check that every subscription of the deployment is there, and sends to the functions that the deployment says:")
			p.gcloud("pubsub subscriptions list", "", "", "project", c.Event.Account)
		},
	},
}
