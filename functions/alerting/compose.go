package alerting

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// compose writes the alert of an assessment. The same event and facts give the same bytes.
func compose(e cmek.Event, a Assessment, f Facts, dedupKey string, doubts []string) cmek.Alert {
	alert := cmek.Alert{
		ID: dedupKey + "@" + e.ID, DedupKey: dedupKey, Audience: cmek.Owners, Severity: a.Severity, Change: e.Change,
		Summary: a.Summary, Key: e.Key, Clusters: f.Usage.Clusters, Principal: who(e), Time: e.Time, Deadline: a.Deadline,
		WayBack: WayBack(e, f.Key), Runbook: runbook(e.Change),
	}
	switch {
	case attempt(e):
		alert.WayBack = []string{"Nothing to undo. Find out who tried, and why."}
	case f.Effect != nil && f.Effect.Previous != "":
		alert.WayBack = append([]string{"The policy before, to save as " + previousPolicy + ": " + f.Effect.Previous}, alert.WayBack...)
	}
	parts := []string{a.Consequence}
	if a.Incident != "" && len(f.Usage.Clusters) > 0 {
		alert.Clusters = withHarm(f.Usage.Clusters, f.Harm)
		parts = append(parts, "Critical maintenance and node failures can restart nodes at any time.")
	}
	if len(f.Usage.Clusters) == 0 && !f.Usage.Complete {
		parts = append(parts, "Usage unknown: the fleet was not read completely within the last hour, so take it that clusters need it.")
	}
	if len(doubts) > 0 {
		doubts = slices.Clone(doubts)
		slices.Sort(doubts)
		parts = append(parts, "Not known, because it could not be read in time: "+strings.Join(slices.Compact(doubts), "; ")+".")
	}
	alert.Consequence = strings.TrimSpace(strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " "))
	return alert
}

// checkClusters is the last step of every way back: access that returns does not bring back a node that could not start.
const checkClusters = "Check the clusters; nodes that restarted meanwhile may need Cockroach Labs support."

// previousPolicy is the file that the commands take a policy to be put back from.
const (
	previousPolicy = "previous-policy.json"
	// AWS keeps no versions of key policies and trust policies.
	fromArchive = "   # AWS keeps no versions: it is in keyturn's archive or your own repository"
)

// who made the change: the session, or else its role; "" for AWS itself.
func who(e cmek.Event) string {
	if e.Principal != "" {
		return e.Principal
	}
	return e.Issuer
}

// runbook is the section about the change, by the anchor that its heading gets.
func runbook(change cmek.Change) string {
	return "functions/alerting/README.md#" + strings.NewReplacer(" ", "-", ",", "").Replace(string(change))
}

// WayBack is how a change is undone, as commands with the real ids, one step a line. A command
// can be pasted with its remark. Empty: there is nothing to undo.
func WayBack(e cmek.Event, key cmek.Key) []string {
	at := fmt.Sprintf("--region %s --key-id %s", e.Key.Location(), e.Key)
	enable := "aws kms enable-key " + at
	store := " --custom-key-store-id " + quoted(e.Parameters["custom_key_store_id"])
	switch e.Change {
	case cmek.KeyWasDisabled, cmek.DeletionWasCanceled:
		return []string{enable, checkClusters}
	case cmek.DeletionWasScheduled:
		return []string{"aws kms cancel-key-deletion " + at, enable + "   # canceling alone leaves the key disabled", checkClusters}
	case cmek.KeyWasEnabled:
		if key.State.Unusable() {
			return []string{"aws kms describe-key " + at, enable, checkClusters}
		}
		return []string{checkClusters}
	case cmek.MaterialDeleted, cmek.MaterialExpired:
		return []string{"Import the same key material again (you must still have it): aws kms import-key-material " + at + " …", checkClusters}
	case cmek.MaterialImported:
		return []string{"aws kms describe-key " + at + "   # ValidTo says when the material expires"}
	case cmek.KeyWasDeleted:
		return []string{"There is no way back for the key. Open a support case with Cockroach Labs at once, and do not restart nodes."}
	case cmek.KeyStoreDisconnected:
		return []string{"aws kms connect-custom-key-store" + store, checkClusters}
	case cmek.KeyStoreChanged:
		return []string{"aws kms describe-custom-key-stores" + store + "   # is it connected?", checkClusters}
	case cmek.RotationDisabled:
		return []string{"aws kms enable-key-rotation " + at + "   # its period begins anew"}
	case cmek.GrantCreated:
		return []string{"aws kms list-grants " + at, "aws kms revoke-grant " + at + " --grant-id …   (if it should not be)"}
	case cmek.KeyPolicyReplaced:
		return []string{"aws kms put-key-policy " + at + " --policy-name default --policy file://" + previousPolicy + fromArchive, checkClusters}
	case cmek.UseRefused:
		if !readable(e.Key) {
			return []string{"aws iam get-role --role-name " + quoted(lastSegment(refusedRole(e))) + "   # does it exist, and trust the cluster's account?", checkClusters}
		}
		return []string{"aws kms describe-key " + at + "   # is it enabled?",
			"aws kms get-key-policy " + at + "   # may the cluster's principal still use it?", checkClusters}
	case cmek.UseUnexpected:
		return []string{"Find out who it is, and why. If it should not be, take the principal out of the key policy: aws kms get-key-policy " + at}
	}
	return wayBackOutside(e)
}

// wayBackOutside is the way back of changes outside the KMS.
func wayBackOutside(e cmek.Event) []string {
	role, rule, trail := quoted(lastSegment(e.Role)), quoted(e.Parameters["rule"]), quoted(e.Parameters["trail"])
	switch e.Change {
	case cmek.RoleTrustChanged:
		return []string{"aws iam update-assume-role-policy --role-name " + role + " --policy-document file://" + previousPolicy + fromArchive, checkClusters}
	case cmek.RoleDeleted:
		return []string{"aws iam create-role --role-name " + role + " --assume-role-policy-document file://" + previousPolicy + fromArchive,
			"Save the key policy again with the role's ARN: it now names the deleted role's id, which matches nobody (aws kms put-key-policy).", checkClusters}
	case cmek.RolePolicyChanged:
		return []string{"aws iam list-attached-role-policies --role-name " + role, "aws iam list-role-policies --role-name " + role,
			"Undo the change; an explicit Deny anywhere wins.", checkClusters}
	case cmek.BoundaryChanged:
		return []string{"aws iam get-role --role-name " + role, "Put the boundary back as it was, or: aws iam delete-role-permissions-boundary --role-name " + role, checkClusters}
	case cmek.PolicyChanged:
		return []string{"aws iam list-entities-for-policy --policy-arn " + quoted(e.Parameters["policy_arn"]) + "   # is it attached to the clusters' role?",
			"If so, undo the change: aws iam set-default-policy-version. An explicit Deny anywhere wins."}
	case cmek.RoleAssumed:
		return []string{"Find out who it is, and why. If it should not be, take the principal out of the trust policy: aws iam get-role --role-name " + role}
	case cmek.TrailChanged:
		return []string{"aws cloudtrail start-logging --name " + trail,
			"aws cloudtrail get-event-selectors --trail-name " + trail + "   # KMS must not be excluded"}
	case cmek.RuleChanged:
		return []string{"Deploy keyturn's infrastructure again, or: aws events enable-rule --name " + rule,
			"aws events list-targets-by-rule --rule " + rule + "   # do its events still go where they should?"}
	case cmek.GuardRailsChanged:
		return []string{strings.TrimSpace("In the organization's management account, look at what was changed, and undo it if it keeps the clusters' role from KMS or STS: policy " +
			quoted(e.Parameters["policy_id"]) + " " + quoted(e.Parameters["target"])), checkClusters}
	case cmek.RegionDisabled:
		return []string{"aws account enable-region --region-name " + quoted(e.Parameters["region_name"]), checkClusters}
	}
	return nil
}

// quoted makes a name that came with an event safe to paste into a shell: whoever made the call chose it.
func quoted(name string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:@+=,", r)
	}
	if strings.IndexFunc(name, func(r rune) bool { return !plain(r) }) < 0 {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
