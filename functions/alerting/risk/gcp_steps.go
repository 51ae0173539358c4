package risk

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// gcpCall chooses what happened by the name of the call, as awsCall does.
var gcpCall = awsCall

func gcpKey(c Case) string { return the("Key", c.Event.Key.ID()) }

// gcpVersion names the version that the event is about, and its key.
func gcpVersion(c Case) string {
	key := lowerFirst(gcpKey(c))
	if c.Event.On.IsZero() {
		return "A version of " + key
	}
	return "Version " + clip(c.Event.On.ID) + " of " + key
}

// gcpMoved reports that what is above keys was put elsewhere.
func gcpMoved(c Case) bool {
	return call(c.Event) == "MoveProject" || call(c.Event) == "MoveFolder" || UpdatesProject(c.Event)
}

var gcpGuardRails = gcpCall("was changed", "MoveProject", "was moved to another folder or organization", projectUpdate, "was moved to another folder or organization", "MoveFolder", "was moved to another folder or organization",
	"CreatePolicy", "was created", "DeletePolicy", "was deleted", "ClearOrgPolicy", "was cleared",
	"CreateServicePerimeter", "was created", "DeleteServicePerimeter", "was deleted", "DeleteAccessLevel", "was deleted",
	"ReplaceServicePerimeters", "were replaced", "CommitServicePerimeters", "had their dry runs put into force", "ReplaceAccessLevels", "were replaced")

const gcpMovedImpact = "Policies of the folders and the organization that are above it now hold, those that were above it no longer do. If the clusters' service account had its access to a key from there, or a deny policy of the new place forbids it, they are cut off. keyturn does not compare the two."

// gcpPerimeter reports that the change is one of VPC Service Controls.
func gcpPerimeter(c Case) bool {
	return strings.HasSuffix(call(c.Event), "ServicePerimeter") || strings.HasSuffix(call(c.Event), "ServicePerimeters") || strings.Contains(call(c.Event), "AccessLevel")
}

// gcpPerimeterName names a perimeter or an access level, or all of those of an access policy.
func gcpPerimeterName(c Case) string {
	kind := "Service perimeter"
	if strings.Contains(call(c.Event), "AccessLevel") {
		kind = "Access level"
	}
	if strings.HasSuffix(call(c.Event), "s") {
		return kind + "s of access policy " + clip(cmp.Or(c.Event.Parameters["access_policy"], "of the organization"))
	}
	return the(kind, inQuotes(c.Event.Parameters["perimeter"]))
}

// gcpMinuteBefore is the last whole minute before a time, as point-in-time recovery takes it; "" if the time is not known.
func gcpMinuteBefore(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Add(-time.Minute).Truncate(time.Minute).Format(time.RFC3339)
}

// gcpPolicySet reports that the change is one of who may use a part of keyturn.
func gcpPolicySet(c Case) bool { return call(c.Event) == "SetIamPolicy" }

// gcpNumber is a version in a sentence.
func gcpNumber(v cmek.KeyVersion) string {
	if v.IsZero() {
		return "another version"
	}
	return "version " + clip(v.ID)
}

func gcpAccount(c Case) string {
	return the("Service account", cmp.Or(string(c.Event.Identity), c.Event.Parameters["unique_id"]))
}

// gcpNode names the project, folder, organization, billing account or key ring that the event is about.
func gcpNode(c Case) string {
	kind, id, _ := strings.Cut(cmp.Or(c.Event.Parameters["resource"], "projects/"+c.Event.Account), "/")
	if strings.Contains(id, "/keyRings/") {
		return the("Key ring", lastSegment(id))
	}
	if kind == "projects" {
		id = gcpProject(c) // commands take its id, and people know it by that
	}
	names := map[string]string{"folders": "Folder", "organizations": "Organization", "billingAccounts": "Billing account"}
	return the(cmp.Or(names[kind], "Project"), id)
}

func gcpAPI(c Case) string {
	if project := gcpProject(c); project != "" {
		return the("Service", c.Event.Parameters["api"]) + " of project " + clip(project)
	}
	return the("Service", c.Event.Parameters["api"])
}

// gcpVersionImpact says what an unusable version means, by what the version is needed for.
func gcpVersionImpact(c Case) string {
	switch c.need() {
	case neededNow:
		return unusable
	case neededForOldData:
		return "It is neither the primary version nor the one that store keys are wrapped by, so running clusters are not affected. Backups and data that were written under it cannot be restored."
	}
	return "It may be the primary version, or the one that store keys are wrapped by: nodes that restart could then not rejoin their cluster, and managed backups would fail silently. " +
		"If it is an older one, backups and data that were written under it cannot be restored."
}

// gcpProject is the project of the event: its id, if that is known.
func gcpProject(c Case) string {
	project, ok := strings.CutPrefix(c.Event.Parameters["resource"], "projects/")
	if !ok || strings.Contains(project, "/") {
		project = ""
	}
	return cmp.Or(c.Event.Account, project)
}

// gcpMember is a service account as bindings write it; "" for none.
func gcpMember(account cmek.Principal) string {
	if account == "" {
		return ""
	}
	return "serviceAccount:" + string(account)
}

// gcpParent are the flags that say at which project, folder or organization something is.
func gcpParent(c Case) []string {
	switch kind, id, _ := strings.Cut(c.Event.Parameters["resource"], "/"); kind {
	case "folders":
		return []string{"folder", id}
	case "organizations":
		return []string{"organization", id}
	case "billingAccounts":
		return []string{"billing-account", id}
	}
	return []string{"project", gcpProject(c)}
}

// gcpBinds reports whether the event is about the binding of a principal access boundary, and not about the policy itself.
func gcpBinds(c Case) bool { return strings.HasSuffix(call(c.Event), "PolicyBinding") }

// gcpOrganization are the flags that say where principal access boundary policies are: all are in an organization.
func gcpOrganization(c Case) []string {
	id, ok := strings.CutPrefix(c.Event.Parameters["resource"], "organizations/")
	if !ok {
		id = ""
	}
	return []string{"organization", id, "location", "global"}
}

// boundary adds a command about the principal access boundary policy of the event. A whole name needs no flags.
func (p *plan) boundary(c Case, operation string) {
	name, flags := c.Event.Parameters["policy_name"], gcpOrganization(c)
	if strings.Contains(name, "/") {
		flags = nil
	}
	p.gcloud("iam principal-access-boundary-policies "+operation, "policy", name, flags...)
}

// gcpSet is the set of principals of the project, folder or organization that the event is about; "" if it names none.
func gcpSet(c Case) string {
	if node := c.Event.Parameters["resource"]; node != "" {
		return "//cloudresourcemanager.googleapis.com/" + node
	}
	return ""
}

// gcpNodeCommand is the group of commands for the IAM policy of what the event is about, with the name and the flags that these need.
func gcpNodeCommand(c Case) (group, name string, flags []string) {
	resource := c.Event.Parameters["resource"]
	kind, id, _ := strings.Cut(resource, "/")
	switch {
	case strings.Contains(resource, "/keyRings/"):
		parts := append(strings.Split(resource, "/"), "", "", "", "", "")
		return "kms keyrings", parts[5], []string{"location", parts[3], "project", parts[1]}
	case kind == "folders":
		return "resource-manager folders", id, nil
	case kind == "organizations":
		return "organizations", id, nil
	}
	return "projects", gcpProject(c), nil
}

// gcpAt are the flags that say where the event's key is.
func gcpAt(c Case) []string { return gcpAtKey(c.Event.Key) }

func gcpAtKey(key cmek.KeyURI) []string {
	return []string{"keyring", gcpRing(key), "location", key.Location(), "project", key.Account()}
}

// gcpRing is the key ring of a key; "" if the URI has none.
func gcpRing(key cmek.KeyURI) string {
	_, ring, _ := strings.Cut(key.Canonical(), "/keyRings/")
	ring, _, _ = strings.Cut(ring, "/")
	return ring
}

// gcloud adds a command with what it is about, which is named word if the event does not carry it, and with its flags. A command that is
// about nothing has no word.
func (p *plan) gcloud(command, word, value string, flags ...string) {
	text := "gcloud " + command
	if word != "" {
		text += " " + p.argument(word, value)
	}
	p.run(text, flags...)
}

// argument is a value that stands in a command without a flag. What cannot be shown there, or would be read as a flag, becomes a word in
// capitals, and a sentence before says so.
func (p *plan) argument(word, value string) string {
	word = strings.ToUpper(strings.ReplaceAll(word, "-", "_"))
	switch {
	case value == "":
		p.pending = append(p.pending, word)
		return word
	case strings.HasPrefix(value, "-"), strings.ContainsFunc(value, invisible):
		p.say(fmt.Sprintf("Replace %s below: the real value, %+q, cannot stand in a command.", word, clip(value)))
		return word
	}
	return quoted(value)
}

// gcloudKey adds a command about the event's key.
func (p *plan) gcloudKey(c Case, operation string, flags ...string) {
	operation, option, _ := strings.Cut(operation, " ")
	key := p.argument("key", keyID(c.Event.Key))
	if option != "" {
		key += " " + option
	}
	p.run("gcloud kms keys "+operation+" "+key, append(flags, gcpAt(c)...)...)
}

func keyID(key cmek.KeyURI) string {
	if key.Type() != cmek.GCPCloudKMS {
		return ""
	}
	return key.ID()
}

func (p *plan) describe(c Case) { p.gcloudKey(c, "describe") }

// gcloudVersions adds a command about the versions of the event's key.
func (p *plan) gcloudVersions(c Case, operation string) {
	p.gcloud("kms keys versions "+operation, "", "", append([]string{"key", keyID(c.Event.Key)}, gcpAt(c)...)...)
}

// version adds a command about the version that the event is about.
func (p *plan) version(c Case, operation string) {
	p.gcloud("kms keys versions "+operation, "version", c.Event.On.ID, append([]string{"key", keyID(c.Event.Key)}, gcpAt(c)...)...)
}

// key adds a command about all versions of the event's key.
func (p *plan) key(c Case, operation string) {
	p.gcloud("kms keys "+operation, "", "", append([]string{"key", keyID(c.Event.Key)}, gcpAt(c)...)...)
}

// account adds a command about a service account.
func (p *plan) account(c Case, operation, name string) {
	word := "service-account"
	if operation == "undelete" {
		word = "unique-id"
	}
	p.gcloud("iam service-accounts "+operation, word, name, "project", c.Event.Account)
}

// onlyAdds reports that an entry shows what a call changed in a policy, and that it took no binding away.
func onlyAdds(text string) bool {
	var delta struct {
		Bindings []changedBinding `json:"bindingDeltas"`
	}
	return json.Unmarshal([]byte(text), &delta) == nil && len(delta.Bindings) > 0 &&
		!slices.ContainsFunc(delta.Bindings, func(b changedBinding) bool { return b.Action != "ADD" })
}

// mostBindings bounds the commands of one alert.
const mostBindings = 5

// changedBinding is what an entry says that a call changed in a policy (google.iam.v1.logging.AuditData).
type changedBinding struct {
	Action    string `json:"action"`
	Role      string `json:"role"`
	Member    string `json:"member"`
	Condition any    `json:"condition"`
}

// order is when a person should look at the binding: 0 is first.
func (b changedBinding) order() int {
	order := 0
	if b.Action == "ADD" {
		order = 2
	}
	if !strings.HasPrefix(b.Role, "roles/cloudkms.") && b.Role != "roles/iam.serviceAccountTokenCreator" && b.Role != "roles/owner" && !strings.Contains(b.Role, "/roles/") {
		order++
	}
	return order
}

// bindings adds how to undo a change of an IAM policy: the commands for the bindings that the entry says were changed, or how to find
// them.
func (p *plan) bindings(c Case, group, name string, flags ...string) {
	var delta struct {
		Bindings []changedBinding `json:"bindingDeltas"`
	}
	const word = "name"
	if json.Unmarshal([]byte(c.Event.Delta), &delta) != nil || len(delta.Bindings) == 0 {
		p.say("Compare the policy with the one before, which is in keyturn's archive (policies/) or in your own repository. Google Cloud keeps no versions of it:")
		p.gcloud(group+" get-iam-policy", word, name, flags...)
		p.say("Grant the clusters' principal its role again if it was lost, and nobody else:")
		p.gcloud(group+" add-iam-policy-binding", word, name, append([]string{"member", "", "role", ""}, flags...)...)
		return
	}
	// What was lost comes first, and what decides about keys before the rest. Nobody can be a deleted principal, so nothing of it is undone.
	list := slices.DeleteFunc(slices.Clone(delta.Bindings), func(b changedBinding) bool { return strings.HasPrefix(b.Member, "deleted:") })
	slices.SortStableFunc(list, func(a, b changedBinding) int { return cmp.Compare(a.order(), b.order()) })
	if len(list) == 0 {
		p.say("The entry changes bindings of deleted principals only, which grant nothing. There is nothing to undo.")
		return
	}
	if more := len(list) - mostBindings; more > 0 {
		p.say(fmt.Sprintf("The entry has %d more changed bindings than are listed here.", more))
	}
	for _, b := range list[:min(len(list), mostBindings)] {
		operation := " add-iam-policy-binding"
		if b.Action == "ADD" {
			operation = " remove-iam-policy-binding"
			p.say("If the new binding is not expected, remove it:")
		} else {
			p.say("If the binding was not removed on purpose, add it again:")
		}
		if b.Condition != nil {
			p.say("The binding has a condition, which the entry shows; add it to the command (--condition).")
		}
		p.gcloud(group+operation, word, name, append([]string{"member", b.Member, "role", b.Role}, flags...)...)
	}
}

// gcpOwnAccount restores a service account of keyturn itself.
func gcpOwnAccount(c Case, p *plan) {
	p.say(redeploy)
	p.say("Check that nobody else can act as the service account, and that it is enabled:")
	p.account(c, "describe", string(c.Event.Identity))
	p.account(c, "get-iam-policy", string(c.Event.Identity))
}

func gcpStranger(what string) func(Case) string {
	return func(c Case) string {
		if c.NoInventory {
			return what + " by a principal that may not be a cluster's"
		}
		return what + " by a principal that is not a cluster's"
	}
}

func gcpStrangerImpact(does string) func(Case) string {
	return func(c Case) string {
		if c.NoInventory {
			return "If the principal is not a cluster's, somebody other than CockroachDB Cloud " + does + "."
		}
		return "Somebody other than CockroachDB Cloud " + does + "."
	}
}

// gcpReturned says what a service account that came back means, after it was disabled or deleted.
func gcpReturned(from string) func(Case) string {
	return func(c Case) string {
		if c.Effect != nil && c.Effect.StillLost {
			return "The clusters still cannot use their keys as the service account: IAM shows it as unusable, or without its roles. " + unusable
		}
		return "Nodes that restarted while it was " + from + " may not recover by themselves."
	}
}

// gcpRefusal says what a refused call means.
func gcpRefusal(c Case) string {
	switch c.Event.Failure {
	case cmek.FailurePassing:
		return "Google Cloud reports a transient error. If it persists, the cluster cannot use the key."
	case cmek.FailureRequest, cmek.FailureWrongKey:
		return "The request was wrong, or what was to be decrypted was encrypted under another key."
	case cmek.FailureUnfit:
		return "The key, or the version that is needed, cannot be used: it is disabled or destroyed, or its external key manager does not answer. " + unusable
	case cmek.FailureMissing:
		return "The key or the service account does not exist. " + unusable
	}
	if c.OfPrincipal() {
		return "CockroachDB Cloud cannot act as the service account: the Token Creator role is missing, or a policy denies it. " + unusable
	}
	return "The cluster's service account is not allowed to use the key. " + unusable
}

func gcpUndoRefusal(c Case, p *plan) {
	switch {
	case c.Event.Failure == cmek.FailurePassing || c.Event.Failure == cmek.FailureRequest || c.Event.Failure == cmek.FailureWrongKey:
		p.say("Check whether it happens again, and which version of which key the cluster uses:")
		p.run("keyturn status")
		return
	case c.OfPrincipal():
		p.say("Check that the service account is enabled, and that CockroachDB Cloud's (crl-kms-user-…) has roles/iam.serviceAccountTokenCreator on it:")
		p.account(c, "describe", string(c.Event.Identity))
		p.account(c, "get-iam-policy", string(c.Event.Identity))
	case c.Event.Failure == cmek.FailureUnfit || c.Event.Failure == cmek.FailureMissing:
		p.say("Check the states of all versions, and enable the one that is needed:")
		p.key(c, "versions list")
	default:
		p.say("Check that the clusters' service account has roles/cloudkms.cryptoKeyEncrypterDecrypter, on the key or above it, and that no deny policy forbids it:")
		p.gcloudKey(c, "get-iam-policy")
	}
	p.check()
}
