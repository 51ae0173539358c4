package planned

import (
	"cmp"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

const (
	source     = "plan"
	afterApply = "is known after apply"
	day        = 24 * time.Hour
)

// principals judges roles and service accounts that go, or are disabled.
func (j *judging) principals() {
	for _, c := range j.b.changes() {
		e := cmek.Event{ID: "planned", Source: "iam.amazonaws.com/planned", Time: j.b.known.Now, Change: cmek.ChangePrincipalDeleted}
		name, what := j.b.names[c.Address], "is deleted"
		before, after := c.before(), c.after()
		switch {
		case !c.acts() || !before.exists() || c.Type != "aws_iam_role" && c.Type != "google_service_account":
			continue
		case !after.exists():
		case c.replaced() && !before.is("deletion_policy", "ABANDON"):
			what = "is deleted and made again: policies that name it mean the one that is deleted"
		case c.Type == "google_service_account" && !after.known("disabled"):
			j.add(Finding{Address: c.Address, Question: NotJudged, Result: checks.Error, Why: "whether the service account is disabled " + afterApply})
			continue
		case c.Type == "google_service_account" && after.truth("disabled", false) && !before.truth("disabled", false):
			e.Change, what = cmek.ChangePrincipalDisabled, "is disabled"
		default:
			continue
		}
		j.judged[c.Address] = true
		e.Identity = cmek.Principal(name)
		if c.Type == "google_service_account" {
			_, email, _ := strings.Cut(name, "/serviceAccounts/")
			e.Source, e.Identity = "iam.googleapis.com/planned", cmek.Principal(email)
		}
		e.Account = e.Identity.Account()
		uses := j.by(e.Identity)
		f := Finding{Address: c.Address, Question: CutsOff, Severity: alert.Critical, Subject: string(e.Identity), Check: "CMEK-12"}
		if c.sensitive("arn", "name", "email", "account_id") {
			f.Subject = ""
		}
		switch {
		case len(uses) > 0 && alerting.Judge(e, alerting.Documents{}, uses).CutsOff:
			f.Result, f.Why = checks.Fail, fmt.Sprintf("What clusters use their keys as %s.", what)
			j.add(f)
		case j.assumes() && (c.Type != "aws_iam_role" || len(j.b.foreign(name)) > 0):
			f.Result, f.Why = checks.Error, fmt.Sprintf("It %s, and whether a cluster acts as it is not known.", what)
			j.add(f)
		}
	}
}

func (j *judging) by(p cmek.Principal) (uses []alerting.Use) {
	for _, u := range j.uses {
		if u.Deleted.IsZero() && p.Same(u.Spec.AuthPrincipal) {
			uses = append(uses, alerting.Use{ClusterID: u.ClusterID, CloudAccount: u.CloudAccount, Spec: u.Spec})
		}
	}
	return uses
}

// keys judges what becomes of keys, their versions, grants and aliases.
func (j *judging) keys() {
	for _, c := range j.b.plan.changes {
		if c.Mode != "managed" || !c.acts() {
			continue
		}
		switch {
		case slices.Contains(awsKeys, c.Type), c.Type == "google_kms_crypto_key":
			if cipher(c.shown()) {
				j.judged[c.Address] = true
				j.key(c)
			}
		case c.Type == "google_kms_crypto_key_version":
			j.judged[c.Address] = true
			j.version(c)
		case c.Type == "aws_kms_grant":
			j.judged[c.Address] = true
			j.grant(c)
		case c.Type == "aws_kms_alias":
			j.judged[c.Address] = true
			j.alias(c)
		case c.Type == "cockroach_cmek":
			j.judged[c.Address] = true
			j.revoke(c)
		}
	}
}

// cipher reports whether a key can be one of a cluster's: it is symmetric and encrypts. What is not shown may be.
func cipher(s side) bool {
	for attribute, want := range map[string]string{"purpose": "ENCRYPT_DECRYPT", "key_usage": "ENCRYPT_DECRYPT", "customer_master_key_spec": "SYMMETRIC_DEFAULT"} {
		if got := s.text(attribute); got != "" && got != want {
			return false
		}
	}
	return true
}

// uriOf is the key that the change is about; "" if it is not known. One that an earlier plan replaced is another one than its resource's.
func (j *judging) uriOf(c change) cmek.KeyURI {
	if c.Deposed == "" {
		return cmek.KeyURI(j.b.names[c.Address])
	}
	before := c.before()
	return cmek.KeyURI(cmp.Or(before.text("arn"), before.text("id")))
}

func (j *judging) key(c change) {
	before, after, uri := c.before(), c.after(), j.uriOf(c)
	f := Finding{Address: c.Address, Subject: string(uri)}
	if c.sensitive("arn", "key_id", "id", "name", "key_ring", "policy") {
		f.Subject = ""
	}
	if !before.exists() {
		return // nobody uses it yet
	}
	if c.does("delete") && !before.is("deletion_policy", "ABANDON") {
		f.Question, f.Check = Destroys, "CMEK-06"
		j.retire(f, uri, cmek.KeyVersion{}, "the key is destroyed"+because(c))
	}
	if !after.exists() {
		return
	}
	for _, attribute := range []string{"is_enabled", "enabled"} {
		if _, has := before.values[attribute]; !has || c.replaced() || !before.truth(attribute, true) {
			continue
		}
		f.Question, f.Check = CutsOff, "CMEK-05"
		switch {
		case !after.known(attribute):
			f.Result, f.Severity, f.Why = checks.Error, alert.Critical, "whether the key is enabled "+afterApply
			j.add(f)
		case !after.truth(attribute, true):
			j.retire(f, uri, cmek.KeyVersion{}, "the key is disabled")
		}
	}
	j.compare(f, Window, uri, []string{"CMEK-24"}, window(j.b, c, before), window(j.b, c, after), func(a, b checks.Key) bool {
		return b.Description.Value.DeletionWindow < a.Description.Value.DeletionWindow
	})
	j.compare(f, Rotation, uri, []string{"CMEK-08", "CMEK-09"}, j.rotation(c, before), j.rotation(c, after), func(a, b checks.Key) bool {
		return b.Rotation.Value.Period > a.Rotation.Value.Period
	})
	if slices.Contains(externalKeys, c.Type) {
		j.compare(f, CutsOff, uri, []string{"CMEK-11"}, j.expiry(c, before), j.expiry(c, after), func(a, b checks.Key) bool {
			return b.Description.Value.ValidTo.Before(a.Description.Value.ValidTo)
		})
	}
	if t, u := before.values["version_template"], after.values["version_template"]; !c.replaced() && (!after.known("version_template") && j.b.configured(c, "version_template") || after.known("version_template") && !reflect.DeepEqual(t, u)) {
		f.Question, f.Result, f.Severity, f.Check, f.Why = NotJudged, checks.Error, alert.Medium, "", "what new versions of the key are made of changes (version_template)"
		j.add(f)
	}
}

// because says why Terraform replaces or deletes something, where that helps.
func because(c change) string {
	why := map[string]string{
		"replace_because_cannot_update":     " and another one made, because an attribute cannot be changed in place",
		"replace_because_tainted":           " and another one made, because it is tainted",
		"replace_by_request":                " and another one made, as the plan was asked to",
		"replace_by_triggers":               " and another one made, because of replace_triggered_by",
		"delete_because_no_resource_config": ", because its resource is no more in the configuration", "delete_because_no_module": ", because its module is no more in the configuration",
		"delete_because_wrong_repetition": ", because count or for_each came or went", "delete_because_count_index": ", because count is smaller",
		"delete_because_each_key": ", because for_each has no such key", "delete_because_no_move_target": ", because what it was moved to is not in the configuration",
	}[c.Reason]
	if why == "" && c.replaced() {
		return " and another one made"
	}
	return why
}

// retire adds a finding unless it is proven that nothing needs the key or the version, or that it is of no cluster: as "keyturn retire" says.
func (j *judging) retire(f Finding, uri cmek.KeyURI, version cmek.KeyVersion, what string) {
	uses, assumed := j.usesOf(uri)
	key, read := j.b.known.Keys[uri]
	if !read {
		key = checks.Key{URI: uri}
	}
	if len(uses) > 0 && len(key.Uses.Value) == 0 {
		key.Uses = checks.Known(plainUses(uses), j.b.known.Now, source)
	}
	r := checks.Retire(key, version, j.b.known.Now)
	if r.Allowed(j.b.known.Now) || r.Unrelated {
		return
	}
	f.Severity, f.Result, f.Why = alert.Critical, checks.Fail, what+"; "+strings.Join(r.Reasons, "; ")
	switch {
	case assumed && version.IsZero():
		f.Why = what + ", and a cluster may use it: before the change, it may be used as " + clip(string(uses[0].Spec.AuthPrincipal))
	case r.Permission == checks.NotKnown:
		f.Result = checks.Error
	}
	if f.Subject == "" {
		f.Why = what + ", and it is not proven that nothing needs it"
	}
	j.add(f)
}

// usesOf are the uses of a key. assumed: none of them is a cluster's that was read.
func (j *judging) usesOf(uri cmek.KeyURI) (uses []Use, assumed bool) {
	known := 0
	for i, u := range j.uses {
		if u.Spec.URI == uri || u.Spec.URI.Type() == cmek.GCPCloudKMS && u.Spec.URI.SameKey(uri) {
			uses = append(uses, u)
			if i < len(j.b.known.uses()) {
				known++
			}
		}
	}
	return uses, known == 0 && len(uses) > 0
}

func plainUses(uses []Use) (list []checks.Use) {
	for _, u := range uses {
		list = append(list, u.Use)
	}
	return list
}

// compare runs checks over a key before and after, and adds those that hold no more, or are worse.
func (j *judging) compare(f Finding, q Question, uri cmek.KeyURI, ids []string, before, after checks.Key, worse func(before, after checks.Key) bool) {
	if uri.Type() == "" {
		return // that its name is not known is said of the change
	}
	run := func(k checks.Key) map[string]checks.Finding {
		uses, _ := j.usesOf(uri)
		if len(uses) == 0 && j.assumes() {
			uses = []Use{use(string(uri), "", "")} // somebody may
		}
		k.URI, k.Uses = uri, checks.Known(plainUses(uses), j.b.known.Now, source)
		found := map[string]checks.Finding{}
		for _, one := range checks.Run(checks.Facts{Keys: []checks.Key{k}}, j.b.known.Declared, j.b.known.Now) {
			if one.Subject.Kind == checks.KeySubject && one.Subject.Key == uri {
				found[one.Check] = one
			}
		}
		return found
	}
	old, planned := run(before), run(after)
	for _, id := range ids {
		was, is := old[id], planned[id]
		f.Question, f.Check, f.Severity, f.Result, f.Why = q, id, is.Severity, is.Result, is.Why
		switch {
		case is.Result == checks.Fail && (was.Result != checks.Fail || worse(before, after)) && is.Exception == nil, is.Result == checks.Error:
			if was.Result == checks.Pass {
				f.Why += "; before: " + was.Why
			}
			j.add(f)
		}
	}
}

// window is a key whose deletion would wait as long as the resource says. AWS KMS and Cloud KMS wait 30 days if it says nothing.
func window(b *builder, c change, s side) (k checks.Key) {
	d := checks.Description{DeletionWindow: 30 * day}
	d.State = cmek.KeyDeletionScheduled
	name := "deletion_window_in_days"
	if c.Type == "google_kms_crypto_key" {
		name, d.State = "destroy_scheduled_duration", cmek.KeyEnabled
		if wait, err := time.ParseDuration(s.text(name)); err == nil {
			d.DeletionWindow = wait
		}
	} else if n := s.number(name); n > 0 {
		d.DeletionWindow = time.Duration(n) * day
	}
	if !s.known(name) && b.configured(c, name) {
		k.Description = checks.Unread[checks.Description](source, afterApply, "")
		return k
	}
	k.Description = checks.Known(d, b.known.Now, source)
	return k
}

// externalKeys are the keys of AWS KMS with imported material.
var externalKeys = []string{"aws_kms_external_key", "aws_kms_replica_external_key"}

// expiry is a key whose imported material expires as the resource says.
func (j *judging) expiry(c change, s side) (k checks.Key) {
	d := checks.Description{Origin: "EXTERNAL", ExpirationModel: "KEY_MATERIAL_DOES_NOT_EXPIRE"}
	if text := s.text("valid_to"); text != "" {
		d.ExpirationModel = "KEY_MATERIAL_EXPIRES"
		d.ValidTo, _ = time.Parse(time.RFC3339, text) // a time that cannot be read is not known
	}
	if !s.known("valid_to") && j.b.configured(c, "valid_to") {
		k.Description = checks.Unread[checks.Description](source, afterApply, "")
		return k
	}
	k.Description = checks.Known(d, j.b.known.Now, source)
	return k
}

// rotation is a key that rotates as the resource says.
func (j *judging) rotation(c change, s side) (k checks.Key) {
	r, names := checks.Rotation{}, []string{"enable_key_rotation", "rotation_period_in_days"}
	switch c.Type {
	case "google_kms_crypto_key":
		names = []string{"rotation_period"}
		r.Period, _ = time.ParseDuration(s.text("rotation_period"))
		r.Enabled = r.Period > 0
	case "aws_kms_key":
		r.Enabled, r.Period = s.truth("enable_key_rotation", false), 365*day // AWS KMS: a year if nobody says otherwise
		if n := s.number("rotation_period_in_days"); n > 0 {
			r.Period = time.Duration(n) * day
		}
	default:
		r.Unsupported = true
	}
	for _, name := range names {
		if !r.Unsupported && !s.known(name) && j.b.configured(c, name) {
			k.Rotation = checks.Unread[checks.Rotation](source, afterApply, "")
			return k
		}
	}
	r.Next = j.b.known.Now.Add(r.Period)
	k.Rotation = checks.Known(r, j.b.known.Now, source)
	return k
}

// version judges a version of a key of Cloud KMS.
func (j *judging) version(c change) {
	before, after := c.before(), c.after()
	if !before.exists() {
		return
	}
	name := before.text("name")
	if name == "" {
		name = before.text("id")
	}
	uri, version, err := cmek.ParseCryptoKeyName(name)
	f := Finding{Address: c.Address, Subject: name, Question: Destroys, Check: "CMEK-07"}
	if err != nil || version.IsZero() {
		f.Question, f.Result, f.Why, f.Subject = NotJudged, checks.Error, "it is not known which version of which key it is", ""
		j.add(f)
		return
	}
	switch {
	case c.does("delete") && !before.is("deletion_policy", "ABANDON"):
		j.retire(f, uri, version, "the version is destroyed"+because(c))
	case !after.known("state") && j.b.configured(c, "state"):
		f.Result, f.Severity, f.Why = checks.Error, alert.Critical, "the state of the version "+afterApply
		j.add(f)
	case after.known("state") && after.text("state") != "ENABLED" && after.text("state") != before.text("state"):
		f.Question = CutsOff
		j.retire(f, uri, version, "the version will be "+clip(after.text("state")))
	}
}

// revoke judges the CMEK of a cluster: its status is set to revoke the keys. A deletion does nothing at CockroachDB Cloud (Terraform provider,
// resource cockroach_cmek).
func (j *judging) revoke(c change) {
	const revoked = string(cmek.Revoked)
	before, after := c.before(), c.after()
	f := Finding{Address: c.Address, Question: CutsOff, Severity: alert.Critical, Check: "CMEK-02"}
	switch {
	case !after.exists() || before.is("status", revoked):
	case after.is("status", revoked):
		f.Result, f.Why = checks.Fail, "the cluster's keys are revoked, and only Cockroach Labs' support can bring them back"
		j.add(f)
	case !after.known("status") && j.b.configured(c, "status"):
		f.Result, f.Why = checks.Error, "whether the cluster's keys are revoked "+afterApply
		j.add(f)
	}
}

// grant judges a grant of AWS KMS: the judge of policies knows none.
func (j *judging) grant(c change) {
	sensitive := c.sensitive("grantee_principal", "operations", "key_id")
	for _, t := range j.b.targets(c, "key_id", j.b.awsKey) {
		f := Finding{Address: c.Address, Subject: t.name, Question: Exposes}
		before, after := t.before(), t.after()
		if sensitive {
			f.Subject = ""
		}
		uri := cmek.KeyURI(t.name)
		uses, _ := j.usesOf(uri)
		if after.exists() {
			if !after.known("grantee_principal") || !after.known("operations") {
				f.Question, f.Result, f.Why = NotJudged, checks.Error, "to whom or what it grants "+afterApply
				j.add(f)
				continue
			}
			k := checks.Key{URI: uri, Uses: checks.Known(plainUses(uses), j.b.known.Now, source), Policy: checks.Known(nothing("arn:"), j.b.known.Now, source)}
			d := checks.Description{}
			d.NeverRotated = true // it will be younger than any rotation
			k.Description = checks.Known(d, j.b.known.Now, source)
			k.Grants = checks.Known([]checks.KeyGrant{{ID: "planned", Grantee: after.text("grantee_principal"), Operations: after.list("operations"), CreatedAt: j.b.known.Now}}, j.b.known.Now, source)
			for _, one := range checks.Run(checks.Facts{Keys: []checks.Key{k}}, j.b.known.Declared, j.b.known.Now) {
				if (one.Check == "CMEK-14" || one.Check == "CMEK-20") && one.Result == checks.Fail && one.Exception == nil {
					f.Result, f.Severity, f.Check, f.Why = checks.Fail, one.Severity, one.Check, one.Why
					if sensitive {
						f.Why = "the grant is to somebody unexpected (it is sensitive, so no more is shown)"
					}
					j.add(f)
				}
			}
			continue
		}
		if slices.ContainsFunc(uses, func(u Use) bool {
			return u.Spec.AuthPrincipal.Same(cmek.Principal(before.text("grantee_principal")))
		}) {
			f.Question, f.Result, f.Why = CutsOff, checks.Error, "a cluster's role may have its access by this grant, which is taken away"
			j.add(f)
		}
	}
}

// alias judges an alias. Clusters name keys by their ARNs, so it counts only where a cluster or a policy names it.
func (j *judging) alias(c change) {
	before := c.before()
	if !before.exists() || c.does("update") && c.after().is("target_key_id", before.text("target_key_id")) {
		return
	}
	f := Finding{Address: c.Address, Question: CutsOff, Subject: before.text("arn"), Check: "CMEK-32"}
	for _, u := range j.uses {
		if u.Spec.URI.IsAlias() && string(u.Spec.URI) == before.text("arn") {
			f.Result, f.Severity, f.Why = checks.Fail, alert.High, "a cluster names its key by this alias, which is moved or deleted"
			j.add(f)
			return
		}
	}
	for _, d := range j.b.docs {
		text := strings.ToLower(d.before + d.after)
		if strings.Contains(text, "kms:requestalias") || strings.Contains(text, "kms:resourcealiases") {
			f.Result, f.Severity, f.Why = checks.Error, alert.High, "a policy has a condition on aliases, and this one is moved or deleted"
			j.add(f)
			return
		}
	}
}

// understood are the types that are judged here, or that cannot matter: they are no keys, and no policies of keys, roles or what is above.
var understood = append([]string{
	"aws_kms_key_policy", "aws_kms_alias", "aws_kms_grant", "aws_iam_role", "aws_iam_role_policy", "aws_iam_role_policy_attachment", "aws_iam_policy",
	"google_kms_crypto_key", "google_kms_crypto_key_version", "google_kms_key_ring", "google_service_account", "google_iam_deny_policy",
	"google_project_iam_custom_role", "google_organization_iam_custom_role",
	"aws_kms_ciphertext", "aws_iam_user", "aws_iam_user_policy", "aws_iam_user_policy_attachment", "aws_iam_user_group_membership", "aws_iam_group", "aws_iam_group_policy",
	"aws_iam_group_policy_attachment", "aws_iam_group_membership", "aws_iam_access_key", "aws_iam_instance_profile", "aws_iam_service_linked_role",
	"aws_iam_user_login_profile", "aws_iam_user_ssh_key", "aws_iam_server_certificate", "aws_iam_account_alias", "aws_iam_account_password_policy",
	"google_kms_secret_ciphertext", "google_kms_key_ring_import_job",
}, awsKeys...)

// guarding are types whose changes can take access away, and which are named neither for KMS nor for IAM, with the attributes that do so
// when they change; of one without, every change may. A deletion always may, and a new one only of those without.
var guarding = map[string][]string{
	"google_project": {"folder_id", "org_id", "billing_account"}, "google_folder": {"parent"}, "google_project_service": {"service"},
	"aws_organizations_account": {"parent_id"}, "aws_account_region": {"enabled"},
	"google_org_policy_policy": nil, "google_organization_policy": nil, "google_folder_organization_policy": nil, "google_project_organization_policy": nil,
	"aws_organizations_policy": nil, "aws_organizations_policy_attachment": nil,
	"google_access_context_manager_service_perimeter": nil, "google_access_context_manager_service_perimeters": nil,
	"google_access_context_manager_service_perimeter_resource": nil, "google_access_context_manager_service_perimeter_ingress_policy": nil,
	"google_access_context_manager_service_perimeter_egress_policy": nil, "google_access_context_manager_access_level": nil,
	"google_access_context_manager_access_levels": nil, "google_access_context_manager_access_level_condition": nil,
}

// neededServices are those of Google that the use of a key takes.
var neededServices = []string{"cloudkms.googleapis.com", "iam.googleapis.com", "iamcredentials.googleapis.com", "sts.googleapis.com"}

// spares reports whether a change of a guarding type leaves alone what it guards.
func spares(c change, attributes []string) bool {
	before, after := c.before(), c.after()
	switch {
	case attributes == nil:
		return false
	case !before.exists():
		return true
	case !after.exists() || c.replaced():
		return c.Type == "google_project_service" && (!before.truth("disable_on_destroy", true) ||
			before.text("service") != "" && !slices.Contains(neededServices, before.text("service")) && !before.truth("disable_dependent_services", false))
	}
	return !slices.ContainsFunc(attributes, func(a string) bool { return !after.known(a) || !reflect.DeepEqual(before.values[a], after.values[a]) })
}

// matters reports whether resources of the type can be about keys or access by their name.
func matters(typ string) bool {
	words := strings.Split(typ, "_")
	return slices.Contains(words, "kms") || slices.Contains(words, "iam") || guards(typ) || strings.HasPrefix(typ, "google_service_account") || strings.HasPrefix(typ, "azurerm_key_vault")
}

func guards(typ string) bool {
	_, ok := guarding[typ]
	return ok
}

// harmless reports whether a type is about the allow policy of something else than keys and what is above them.
func harmless(typ string) bool {
	for _, way := range []string{"_iam_member", "_iam_binding", "_iam_policy"} {
		if of, ok := strings.CutSuffix(typ, way); ok && strings.HasPrefix(typ, "google_") && !strings.Contains(of, "kms") {
			_, _, judged := holderOf(typ)
			return !judged
		}
	}
	return false
}

// rest names what was not judged.
func (j *judging) rest() {
	for _, u := range j.b.unplaced {
		j.add(Finding{Address: u.address, Question: NotJudged, Result: checks.Error, Why: u.why})
	}
	for _, gap := range j.b.plan.gaps {
		j.add(Finding{Address: "(plan)", Question: NotJudged, Result: checks.Error, Why: gap})
	}
	for _, c := range j.b.plan.changes {
		_, _, judged := holderOf(c.Type)
		if c.Deposed != "" && c.acts() && (c.Type == "aws_iam_role" || c.Type == "google_service_account") {
			j.add(Finding{Address: c.Address, Question: NotJudged, Result: checks.Error, Why: "one that was replaced by an earlier plan is deleted, and whether a cluster acts as it is not known"})
		}
		if c.Mode == "managed" && c.does("forget") && c.does("create") && matters(c.Type) {
			j.add(Finding{Address: c.Address, Question: NotJudged, Result: checks.Error, Why: "what is there stays and is forgotten, and another is made: what that does to the one that stays is not known"})
			continue
		}
		if c.Mode == "managed" && c.acts() && matters(c.Type) && !judged && !harmless(c.Type) && !slices.Contains(understood, c.Type) {
			if attributes, guards := guarding[c.Type]; guards && spares(c, attributes) {
				continue
			}
			j.add(Finding{Address: c.Address, Question: NotJudged, Result: checks.Error, Severity: alert.High,
				Why: "keyturn does not know what a change of the type " + clip(c.Type) + " does to keys and their use"})
		}
	}
	for _, c := range j.b.plan.changes { // a project's number hides which keys and accounts it has
		if c.Mode == "managed" && c.acts() && j.numbered(c) {
			j.add(Finding{Address: c.Address, Question: NotJudged, Result: checks.Error, Why: "it names the project by its number, so it is not known which keys it is about"})
		}
	}
}

// inProject finds the project in a name of Google.
var inProject = regexp.MustCompile(`(?:^|/)projects/([^/]+)`)

// numbered reports whether a change is about what a project by its number has, unless a cluster names its key so, too.
func (j *judging) numbered(c change) bool {
	h, _, held := holderOf(c.Type)
	attributes := []string{h.attribute}
	switch {
	case held:
	case c.Type == "google_iam_deny_policy":
		attributes = []string{"parent"}
	case c.Type == "google_kms_crypto_key" || c.Type == "google_kms_crypto_key_version":
		if !c.before().exists() {
			return false // nobody uses it yet
		}
		attributes = []string{"id", "name", "key_ring", "crypto_key"}
	default:
		return false
	}
	for _, s := range []side{c.before(), c.after()} {
		for _, attribute := range attributes {
			name, err := url.PathUnescape(s.text(attribute))
			if err != nil {
				continue
			}
			number := ""
			if found := inProject.FindStringSubmatch(name); found != nil {
				number = found[1]
			} else if attribute == "project" {
				number = name
			}
			if cmek.IsProjectNumber(number) && !slices.ContainsFunc(j.uses, func(u Use) bool { return u.Spec.URI.Account() == number }) {
				return true
			}
		}
	}
	return false
}
