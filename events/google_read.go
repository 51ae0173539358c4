package events

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keyturn/keyturn/internal/cmek"
)

// The readers of the services of Google Cloud. What a call that succeeded was about must have a name that such things have, or the
// payload is refused. A call that failed may have named anything.

// one is the only event of a notice.
func one(e cmek.Event) ([]cmek.Event, error) { return []cmek.Event{e}, nil }

// about is the name that the notice gives to what it is about, in the order of preference.
func (n *googleNotice) about() []string {
	r := n.Audit.Request
	return []string{
		n.Audit.ResourceName, r.text("resource"), r.text("name"), r.object("cryptoKeyVersion").text("name"), r.object("cryptoKey").text("name"), r.text("parent"),
		strings.TrimPrefix(n.Asset.text("name"), "//"+googleKMS+"/"),
	}
}

// cryptoKey reads a notice about a key.
func cryptoKey(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	names := n.about()
	if l := n.Resource.Labels; l.text("crypto_key_id") != "" {
		names = append(names, "projects/"+l.text("project_id")+"/locations/"+l.text("location")+"/keyRings/"+l.text("key_ring_id")+"/cryptoKeys/"+l.text("crypto_key_id"))
	}
	why := errors.New("the key is missing: neither a resource name nor labels name one")
	for _, name := range names {
		if !strings.Contains(name, "/cryptoKeys/") {
			continue
		}
		key, version, err := cmek.ParseCryptoKeyName(name)
		if err == nil {
			e.Key, e.On = n.withProjectID(key), version
			return one(e)
		}
		why = fmt.Errorf("name of the key %q: %w", clip(name), err)
		break
	}
	if e.Succeeded() {
		return nil, why
	}
	return one(e)
}

// withProjectID is the key under its project's id, if a name has the project's number and the label of the monitored resource its id:
// clusters name keys by the id, mostly.
func (n *googleNotice) withProjectID(key cmek.KeyURI) cmek.KeyURI {
	number, label := key.Account(), n.Resource.Labels.text("project_id")
	if !isNumber(number) || !cmek.IsProject(label) {
		return key
	}
	return cmek.KeyURI("projects/" + label + strings.TrimPrefix(string(key), "projects/"+number))
}

// cryptoKeyVersion reads a notice about a version of a key. That of a new one stands in the labels alone.
func cryptoKeyVersion(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	list, err := cryptoKey(n, e)
	if err != nil || list[0].Key == "" || !list[0].On.IsZero() {
		return list, err
	}
	if _, version, err := cmek.ParseCryptoKeyName(string(list[0].Key) + "/cryptoKeyVersions/" + n.Resource.Labels.text("crypto_key_version_id")); err == nil {
		list[0].On = version
	}
	return list, nil
}

// cryptoKeyUse reads a notice about a use of a key. One that was refused because of the state of a version is about that version, which
// the labels name, or the message of the status.
func cryptoKeyUse(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	list, err := cryptoKeyVersion(n, e)
	if err != nil || list[0].Key == "" {
		return list, err
	}
	if e.Failure != cmek.FailureUnfit && e.Failure != cmek.FailureMissing || e.Error == "UNAVAILABLE" { // that is the key manager's
		list[0].On = cmek.KeyVersion{}
		return list, nil
	}
	for word := range strings.FieldsSeq(n.Audit.Status.text("message")) {
		key, version, err := cmek.ParseCryptoKeyName(strings.Trim(word, ".,:;'\"`"))
		if err == nil && n.withProjectID(key) == list[0].Key && list[0].On.IsZero() {
			list[0].On = version
		}
	}
	return list, nil
}

// primaryVersion reads which version became the primary one.
func primaryVersion(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	list, err := cryptoKey(n, e)
	if err != nil || list[0].Key == "" {
		return list, err
	}
	id := n.Audit.Request.text("cryptoKeyVersionId")
	if id == "" {
		return list, nil // whoever follows it reads the key
	}
	name := string(list[0].Key) + "/cryptoKeyVersions/" + id
	if strings.Contains(id, "/") {
		name = id // a whole one
	}
	key, version, err := cmek.ParseCryptoKeyName(name)
	if err == nil && n.withProjectID(key) != list[0].Key {
		version, err = cmek.KeyVersion{}, fmt.Errorf("%q is of another key", clip(id))
	}
	if err != nil && list[0].Succeeded() {
		return nil, fmt.Errorf("cryptoKeyVersionId: %w", err)
	}
	list[0].Version = version
	return list, nil
}

// versionUpdate reads what was changed of a version: its state, or where an external key is. If the request is not in the entry, it may
// have been disabled.
func versionUpdate(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	list, err := cryptoKeyVersion(n, e)
	if err != nil {
		return nil, err
	}
	update := n.Audit.Request.object("cryptoKeyVersion")
	mask := masked(n.Audit.Request)
	state := update.text("state")
	external := mask["externalprotectionleveloptions"]
	if external && mask["state"] {
		moved := list[0]
		moved.Change = cmek.ChangeExternalKeys
		list = append(list, moved)
	}
	switch {
	case external && !mask["state"]: // a mask of anything else may mean the state
		list[0].Change = cmek.ChangeExternalKeys
	case state == "ENABLED" || state == "1": // google.cloud.kms.v1.CryptoKeyVersion.CryptoKeyVersionState
		list[0].Change = cmek.ChangeVersionEnabled
	case state != "DISABLED" && state != "2":
		setParameter(&list[0], "omitted", "true")
	}
	return list, nil
}

// masked are the fields of an update mask, at the top level of what was updated, in one spelling: entries write a mask as a text or as
// a list, with names in camel case or with underscores.
func masked(request object) map[string]bool {
	text := cmp.Or(request.object("updateMask").text("paths"), request.object("update_mask").text("paths"),
		request.text("updateMask"), request.text("update_mask"))
	fields := map[string]bool{}
	for path := range strings.SplitSeq(text, ",") {
		field, _, _ := strings.Cut(strings.TrimSpace(path), ".")
		if field = strings.ToLower(strings.ReplaceAll(field, "_", "")); field != "" {
			fields[field] = true
		}
	}
	return fields
}

// keyUpdate reads what was changed of a key. If the request is not in the entry, it may have been the worst.
func keyUpdate(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	list, err := cryptoKey(n, e)
	if err != nil {
		return nil, err
	}
	e = list[0]
	e.On = cmek.KeyVersion{}
	update, mask := n.Audit.Request.object("cryptoKey"), masked(n.Audit.Request)
	if len(mask) == 0 || mask["*"] {
		e.Change = cmek.ChangeJustifications
		setParameter(&e, "omitted", "true")
		return one(e)
	}
	list = nil
	add := func(change cmek.Change, words ...string) {
		next := e
		next.Change, next.Parameters = change, maps.Clone(e.Parameters)
		for word := range slices.Chunk(words, 2) {
			setParameter(&next, word[0], word[1])
		}
		list = append(list, next)
	}
	if mask["keyaccessjustificationspolicy"] {
		add(cmek.ChangeJustifications, justifications(update)...)
	}
	period := update.text("rotationPeriod")
	switch {
	case mask["rotationperiod"] && period == "":
		add(cmek.ChangeRotationDisabled)
	case mask["rotationperiod"] || mask["nextrotationtime"]:
		add(cmek.ChangeRotationSchedule, "rotation_period_days", daysOf(period))
	}
	if mask["labels"] {
		add(cmek.ChangeKeyTags, "tags", update.text("labels"))
	}
	if len(list) == 0 {
		add(cmek.ChangeKeyDescription)
	}
	return list, nil
}

// justifications are the words of a new Key Access Justifications policy. One without reasons denies every access, and without one every reason
// is allowed (google/cloud/kms/v1/resources.proto, KeyAccessJustificationsPolicy). An entry that shows none may have left out an empty one.
func justifications(key object) []string {
	if key["keyAccessJustificationsPolicy"].Kind() != jsontext.KindBeginObject {
		return []string{"justifications", "absent"}
	}
	if reasons := strings.Trim(key.object("keyAccessJustificationsPolicy").text("allowedAccessReasons"), "[]"); reasons != "" {
		return []string{"reasons", reasons}
	}
	return []string{"justifications", "none"}
}

// daysOf is a duration of the API, "7776000s", in days, rounded up; "" if it is none.
func daysOf(duration string) string {
	d, err := time.ParseDuration(duration)
	if err != nil || d <= 0 {
		return ""
	}
	const day = 24 * time.Hour
	return strconv.FormatInt(int64((d+day-1)/day), 10)
}

// keyRing reads a notice about a key ring.
func keyRing(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	name := n.Audit.ResourceName
	if _, _, err := cmek.ParseCryptoKeyName(name + "/cryptoKeys/any"); err != nil {
		if e.Succeeded() {
			return nil, fmt.Errorf("name of the key ring %q: not of the form projects/P/locations/L/keyRings/R", clip(name))
		}
		return one(e)
	}
	parts := strings.Split(name, "/")
	e.Account, e.Region = parts[1], parts[3]
	setParameter(&e, "key_ring", name)
	return one(e)
}

// kmsPolicy reads a new IAM policy of a key, or of a key ring, whose keys inherit it. Other resources of Cloud KMS decide about no
// access to a key.
func kmsPolicy(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	var list []cmek.Event
	var err error
	switch name := n.Audit.ResourceName; {
	case strings.Contains(name, "/cryptoKeys/"):
		list, err = cryptoKey(n, e)
	case strings.Contains(name, "/keyRings/") && strings.Count(name, "/") == 5:
		if list, err = keyRing(n, e); err == nil {
			list[0].Change = cmek.ChangeInheritedPolicy
			setParameter(&list[0], "resource", list[0].Parameters["key_ring"])
		}
	case strings.Contains(name, "/importJobs/"), strings.Contains(name, "/ekmConnections/"), strings.HasSuffix(name, "/ekmConfig"):
		return nil, nil
	default:
		return nil, fmt.Errorf("resourceName %q: neither a key nor a key ring", clip(name))
	}
	if err != nil {
		return nil, err
	}
	n.setPolicy(&list[0], "policy")
	return list, nil
}

// deciding is the field of a document that says who may do what. A call whose mask leaves it out does not set it, whatever the document
// in its request holds (cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys/setIamPolicy).
var deciding = map[string]string{"policy": "bindings", "role": "includedpermissions"}

// setPolicy takes over the document that a call set, and what the provider says that it changed. The document of a split entry is not
// whole, nor is one of which a mask left out what decides.
func (n *googleNotice) setPolicy(e *cmek.Event, field string) {
	mask := masked(n.Audit.Request)
	decides := len(mask) == 0 || mask[deciding[field]] || mask["*"] || mask[field]
	if !n.isSplit() && decides {
		e.Policy = n.Audit.Request.text(field)
	}
	e.Delta = cmp.Or(n.Audit.ServiceData.text("policyDelta"), n.Audit.ServiceData.text("permissionDelta"))
}

// externalKeys reads a notice about what holds keys outside of Cloud KMS, or on HSMs of one's own.
func externalKeys(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	parts := strings.Split(n.Audit.ResourceName, "/")
	if len(parts) > 3 && parts[0] == "projects" && parts[2] == "locations" && cmek.IsProject(parts[1]) && isNodeID(parts[3]) {
		e.Account, e.Region = parts[1], parts[3]
	}
	name, _, _ := strings.Cut(n.Audit.ResourceName, "/proposals/") // of which an HSM instance is changed
	setParameter(&e, "custom_key_store_id", lastPart(name))
	return one(e)
}

func lastPart(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// serviceAccount reads a notice about a service account. Entries name it by its unique id, and have its e-mail address in a label.
func serviceAccount(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	names := []string{n.Resource.Labels.text("email_id"), lastPart(n.Audit.ResourceName), lastPart(n.Audit.Request.text("name")), n.Audit.Response.text("email")}
	isAccount := n.Resource.Type == "service_account" || strings.Contains(n.Audit.ResourceName, "/serviceAccounts/") || names[3] != ""
	if !isAccount {
		return nil, nil // a policy of something else
	}
	for _, name := range names {
		if isServiceAccount(name) {
			e.Identity = cmek.Principal(name)
			e.Account = cmp.Or(e.Identity.Account(), e.Account)
			break
		}
	}
	if id := cmp.Or(n.Resource.Labels.text("unique_id"), n.Audit.Response.text("uniqueId"), names[1]); isNumber(id) {
		setParameter(&e, "unique_id", id)
	}
	switch {
	case e.Identity == "" && e.Parameters["unique_id"] == "" && e.Succeeded():
		return nil, fmt.Errorf("name of the service account %q: neither an e-mail address nor a unique id", clip(cmp.Or(names[0], n.Audit.ResourceName)))
	case e.Identity == "" && e.Account == "":
		return nil, errors.New("the project of the service account is missing")
	}
	n.setPolicy(&e, "policy")
	return one(e)
}

// isServiceAccount reports whether s can be the e-mail address of a service account (cloud.google.com/iam/docs/service-account-types).
func isServiceAccount(s string) bool {
	name, domain, ok := strings.Cut(s, "@")
	return ok && len(s) <= 256 && name != "" && strings.Trim(name, letters+digits+".-") == "" && name[0] != '-' &&
		strings.Contains(domain, ".") && strings.Trim(domain, letters+digits+".-") == ""
}

func isNumber(s string) bool { return s != "" && len(s) <= 32 && strings.Trim(s, digits) == "" }

// customRole reads a notice about a role of somebody's own: projects/P/roles/R, or organizations/O/roles/R.
func customRole(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	name := n.Audit.ResourceName
	parts := strings.Split(name, "/")
	valid := len(parts) == 4 && parts[2] == "roles" && strings.Trim(parts[3], letters+digits+"_.") == "" && parts[3] != "" &&
		(parts[0] == "projects" && cmek.IsProject(parts[1]) || parts[0] == "organizations" && isNodeID(parts[1]))
	switch {
	case valid:
		if e.Account = ""; parts[0] == "projects" {
			e.Account = parts[1]
		}
		setParameter(&e, "role", name)
		setParameter(&e, "resource", parts[0]+"/"+parts[1])
	case e.Succeeded():
		return nil, fmt.Errorf("name of the role %q: neither projects/P/roles/R nor organizations/O/roles/R", clip(name))
	}
	n.setPolicy(&e, "role")
	if role := n.Audit.Request.object("role"); masked(n.Audit.Request)["stage"] && role.text("stage") == "DISABLED" && !n.isSplit() {
		e.Policy = n.Audit.Request.text("role") // whatever it includes, it gives nothing now
	}
	return one(e)
}

// denyPolicy reads a notice about an IAM deny policy: policies/ATTACHMENT-POINT/denypolicies/ID, whose attachment point is the
// percent-encoded name of a project, a folder or an organization (cloud.google.com/iam/docs/deny-overview). Policies of other kinds are not
// for us.
func denyPolicy(n *googleNotice, e cmek.Event) ([]cmek.Event, error) {
	name := cmp.Or(n.Audit.Request.object("policy").text("name"), n.Audit.Request.text("name"), n.Audit.Request.text("parent"), n.Audit.ResourceName)
	decoded := strings.NewReplacer("%2F", "/", "%2f", "/").Replace(name)
	if !strings.Contains(decoded, "/denypolicies") {
		if strings.HasPrefix(decoded, "policies/") || !e.Succeeded() {
			return nil, nil
		}
		return nil, fmt.Errorf("name of the policy %q: not of the form policies/ATTACHMENT-POINT/denypolicies/ID", clip(name))
	}
	_, point, _ := strings.Cut(decoded, "cloudresourcemanager.googleapis.com/")
	point, id, _ := strings.Cut(point, "/denypolicies")
	if err := at(&e, point); err != nil && e.Succeeded() {
		return nil, err
	}
	setParameter(&e, "policy_name", strings.Trim(id, "/"))
	n.setPolicy(&e, "policy")
	return one(e)
}
