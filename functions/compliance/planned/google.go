package planned

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// holder is what an allow policy belongs to: how resources for a policy name it, and in which attribute.
type holder struct {
	prefix, attribute string
	name              func(b *builder, text string) string
}

// holders are those whose policies count for keys (registry.terraform.io/providers/hashicorp/google, google_*_iam).
var holders = []holder{
	{"google_kms_crypto_key_iam_", "crypto_key_id", (*builder).googleKey},
	{"google_kms_key_ring_iam_", "key_ring_id", (*builder).googleRing},
	{"google_project_iam_", "project", func(b *builder, t string) string { return prefixed("projects/", cmp.Or(t, b.plan.project)) }},
	{"google_folder_iam_", "folder", func(_ *builder, t string) string { return prefixed("folders/", t) }},
	{"google_organization_iam_", "org_id", func(_ *builder, t string) string { return prefixed("organizations/", t) }},
	{"google_service_account_iam_", "service_account_id", func(_ *builder, t string) string {
		if _, email, ok := strings.Cut(t, "/serviceAccounts/"); ok && strings.Contains(email, "@") { // and not its unique id
			return google.ResourceOf(cmek.Principal(email))
		}
		return ""
	}},
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + strings.TrimPrefix(text, prefix)
}

// holderOf is the holder whose policy a resource sets, and in which way: policy, binding or member.
func holderOf(typ string) (h holder, way string, ok bool) {
	for _, h := range holders {
		if way, ok := strings.CutPrefix(typ, h.prefix); ok && slices.Contains([]string{"policy", "binding", "member"}, way) {
			return h, way, true
		}
	}
	return holder{}, "", false
}

// nameGoogle gives rings, keys, service accounts and roles of Google the names that other resources refer to them by.
func (b *builder) nameGoogle() {
	for _, c := range b.of("google_kms_key_ring") {
		s := c.shown()
		b.name(c, cmp.Or(idOf(c), "projects/"+cmp.Or(s.text("project"), b.plan.project, "unknown")+"/locations/"+cmp.Or(s.text("location"), "unknown")+
			"/keyRings/"+cmp.Or(s.text("name"), "unknown")), !c.before().exists())
	}
	for _, c := range b.of("google_kms_crypto_key") {
		ring := b.googleRing(c.shown().text("key_ring"))
		if refs := b.refers(c, "key_ring"); ring == "" && len(refs) > 0 {
			ring = refs[0]
		}
		name := cmp.Or(idOf(c), cmp.Or(ring, "projects/unknown/locations/unknown/keyRings/unknown")+"/cryptoKeys/"+cmp.Or(c.shown().text("name"), "unknown"))
		b.name(c, name, !c.before().exists())
	}
	for _, c := range b.of("google_service_account") {
		b.name(c, google.ResourceOf(cmek.Principal(c.shown().text("email"))), !c.before().exists())
	}
	for _, c := range b.changes() {
		switch s := c.shown(); c.Type {
		case "google_project_iam_custom_role":
			b.name(c, cmp.Or(idOf(c), "projects/"+cmp.Or(s.text("project"), b.plan.project)+"/roles/"+s.text("role_id")), !c.before().exists())
		case "google_organization_iam_custom_role":
			b.name(c, cmp.Or(idOf(c), "organizations/"+s.text("org_id")+"/roles/"+s.text("role_id")), !c.before().exists())
		}
	}
}

// idOf is the id of what is there before.
func idOf(c change) string { return c.before().text("id") }

// shown is the instance as it is, or as it will be if it is not there yet.
func (c change) shown() side {
	if s := c.before(); s.exists() {
		return s
	}
	return c.after()
}

// googleKey is the name of a key, which resources may shorten to PROJECT/LOCATION/RING/KEY or LOCATION/RING/KEY.
func (b *builder) googleKey(text string) string {
	if key, version, err := cmek.ParseCryptoKeyName(text); err == nil && version.IsZero() {
		return key.Canonical()
	}
	if parts := b.shortened(text, 4); parts != nil {
		return fmt.Sprintf("projects/%s/locations/%s/keyRings/%s/cryptoKeys/%s", parts[0], parts[1], parts[2], parts[3])
	}
	return ""
}

func (b *builder) googleRing(text string) string {
	if strings.HasPrefix(text, "projects/") && strings.Count(text, "/") == 5 {
		return text
	}
	if parts := b.shortened(text, 3); parts != nil {
		return fmt.Sprintf("projects/%s/locations/%s/keyRings/%s", parts[0], parts[1], parts[2])
	}
	return ""
}

// shortened are the parts of a shortened name, with the provider's project if it has none; nil if it is none.
func (b *builder) shortened(text string, n int) []string {
	parts := strings.Split(text, "/")
	if len(parts) == n-1 && b.plan.project != "" {
		parts = append([]string{b.plan.project}, parts...)
	}
	if len(parts) != n || slices.Contains(parts, "") || parts[0] == "projects" {
		return nil
	}
	return parts
}

// bindings are the members by role and condition.
type bindings map[boundRole]map[string]bool

type boundRole struct{ role, condition string }

func (x bindings) clone() bindings {
	y := bindings{}
	for r, members := range x {
		y[r] = maps.Clone(members)
	}
	return y
}

func (x bindings) add(r boundRole, members ...string) {
	for _, m := range members {
		if x[r] == nil {
			x[r] = map[string]bool{}
		}
		x[r][m] = true
	}
}

// text is the allow policy as getIamPolicy returns it.
func (x bindings) text() string {
	type expression struct {
		Expression string `json:"expression"`
	}
	type binding struct {
		Role      string      `json:"role"`
		Members   []string    `json:"members"`
		Condition *expression `json:"condition,omitempty"`
	}
	list := []binding{}
	for _, r := range slices.SortedFunc(maps.Keys(x), func(a, b boundRole) int {
		return cmp.Or(cmp.Compare(a.role, b.role), cmp.Compare(a.condition, b.condition))
	}) {
		if len(x[r]) == 0 {
			continue
		}
		one := binding{Role: r.role, Members: slices.Sorted(maps.Keys(x[r]))}
		if r.condition != "" {
			one.Condition = &expression{r.condition}
		}
		list = append(list, one)
	}
	data, _ := json.Marshal(map[string]any{"version": 3, "etag": "planned", "bindings": list}) //nolint:errchkjson // texts
	return string(data)
}

// readBindings takes an allow policy apart.
func readBindings(text string) (bindings, bool) {
	p, err := google.ParsePolicy(text)
	if err != nil {
		return nil, false
	}
	x := bindings{}
	for _, one := range p.Bindings {
		r := boundRole{role: one.Role}
		if one.Condition != nil {
			r.condition = one.Condition.Expression
		}
		x.add(r, one.Members...)
	}
	return x, true
}

// bound is a policy of Google in the making.
type bound struct {
	before, after bindings
	// whole: all bindings before the change are known.
	whole bool
}

// allowPolicies collects the allow policies of keys and of what is above them, and of service accounts.
func (b *builder) allowPolicies() {
	all := map[string]*bound{}
	of := func(name string) *bound {
		if all[name] == nil {
			x := &bound{}
			if x.before, x.whole = readBindings(b.known.Documents[name]); !x.whole {
				x.before = bindings{}
			}
			all[name] = x
		}
		return all[name]
	}
	each := func(do func(c change, way, name string)) {
		for _, c := range b.changes() {
			h, way, ok := holderOf(c.Type)
			if !ok {
				continue
			}
			for _, t := range b.targets(c, h.attribute, func(text string) string { return h.name(b, text) }) {
				do(t.change, way, t.name)
			}
		}
	}
	each(func(c change, way, name string) { // what is there before
		x := of(name)
		if s := c.before(); s.exists() {
			if way == "policy" {
				if p, ok := readBindings(s.text("policy_data")); ok {
					x.before, x.whole = p, true
				}
				return
			}
			x.before.add(s.bound(), s.members()...)
		}
	})
	for _, x := range all {
		x.after = x.before.clone()
	}
	for _, taking := range []bool{true, false} { // first what goes, then what comes
		each(func(c change, way, name string) {
			if c.acts() {
				b.rebind(c, way, b.document(name), all[name], taking)
			}
		})
	}
	for name, x := range all {
		d := b.document(name)
		d.before, d.after, d.partial = x.before.text(), x.after.text(), !x.whole
		if b.fresh[name] {
			d.partial = false
		}
	}
}

// rebind does with the bindings what the change does.
func (b *builder) rebind(c change, way string, d *document, x *bound, taking bool) {
	before, after := c.before(), c.after()
	if taking {
		d.touched(c, c.sensitive("policy_data", "member", "members", "role"))
		if before.exists() {
			switch way {
			case "policy":
				x.after = bindings{}
			default:
				for _, m := range before.members() {
					delete(x.after[before.bound()], m)
				}
			}
		}
		return
	}
	if !after.exists() {
		return
	}
	for attribute, what := range map[string]string{"policy_data": "the policy", "member": "who gets the role", "members": "who gets the role", "role": "the role", "condition": "the condition"} {
		if !after.known(attribute) && (attribute != "condition" || b.configured(c, "condition")) {
			d.lacks(c, what+" is known after apply")
		}
	}
	if anyUnknown(after.unknown["policy_data"]) || anyUnknown(after.unknown["role"]) {
		return
	}
	replaces := !before.exists() && !x.whole && !b.fresh[d.name]
	switch way {
	case "policy":
		p, ok := readBindings(after.text("policy_data"))
		if !ok {
			d.lacks(c, "the policy cannot be understood")
			return
		}
		if replaces {
			d.lacks(c, "it replaces a policy that the plan does not show")
		}
		x.after = p
	case "binding":
		if replaces {
			d.lacks(c, "it replaces the other members of "+clip(after.text("role"))+", and the plan does not show them")
		}
		x.after[after.bound()] = nil
		x.after.add(after.bound(), after.members()...)
	default:
		x.after.add(after.bound(), after.members()...)
	}
}

func (s side) bound() boundRole {
	r := boundRole{role: s.text("role")}
	for _, c := range s.blocks("condition") {
		r.condition = c.text("expression")
	}
	return r
}

func (s side) members() []string {
	if m := s.text("member"); m != "" {
		return []string{m}
	}
	return s.list("members")
}

// denyPolicies collects the deny policies of projects, folders and organizations.
func (b *builder) denyPolicies() {
	type attached struct{ before, after map[string]string }
	all := map[string]*attached{}
	node := func(text string) string {
		name, err := url.PathUnescape(text)
		if err != nil {
			return ""
		}
		name = strings.TrimPrefix(name, "cloudresourcemanager.googleapis.com/")
		if !strings.Contains(name, "/") {
			return ""
		}
		return name
	}
	for _, c := range b.of("google_iam_deny_policy") {
		for _, t := range b.targets(c, "parent", node) {
			c, on := t.change, t.name
			x := all[on]
			if x == nil {
				x = &attached{map[string]string{}, map[string]string{}}
				if denies, err := google.ParseDenyPolicies(b.known.Documents[google.Denies(on)]); err == nil {
					for _, d := range denies {
						text := denyText(d)
						x.before[d.Name], x.after[d.Name] = text, text
					}
				}
				all[on] = x
			}
			d, name := b.document(google.Denies(on)), c.shown().text("name")
			if s := c.before(); s.exists() {
				x.before[name] = denyText(s.deny(name))
				x.after[name] = x.before[name]
			}
			if !c.acts() {
				continue
			}
			d.touched(c, c.sensitive("rules"))
			delete(x.after, name)
			after := c.after()
			switch {
			case !after.exists():
			case !after.known("rules"):
				d.lacks(c, "whom it denies what is known after apply")
			default:
				x.after[name] = denyText(after.deny(name))
			}
		}
	}
	for on, x := range all {
		d := b.document(google.Denies(on))
		d.before, d.after, d.partial = joinedTexts(x.before), joinedTexts(x.after), true
	}
}

func joinedTexts(texts map[string]string) string {
	list := []string{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		list = append(list, texts[name])
	}
	return "[" + strings.Join(list, ",") + "]"
}

// deny is a deny policy as its resource writes it.
func (s side) deny(name string) google.DenyPolicy {
	p := google.DenyPolicy{Name: name}
	for _, rule := range s.blocks("rules") {
		for _, r := range rule.blocks("deny_rule") {
			one := google.DenyRule{DeniedPrincipals: r.list("denied_principals"), ExceptionPrincipals: r.list("exception_principals"),
				DeniedPermissions: r.list("denied_permissions"), ExceptionPermissions: r.list("exception_permissions")}
			for _, condition := range r.blocks("denial_condition") {
				one.Condition = &google.Condition{Expression: condition.text("expression")}
			}
			p.Rules = append(p.Rules, one)
		}
	}
	return p
}

// denyText is the policy as iam.googleapis.com/v2 returns it.
func denyText(p google.DenyPolicy) string {
	rules := []any{}
	for _, r := range p.Rules {
		rule := map[string]any{"deniedPrincipals": r.DeniedPrincipals, "exceptionPrincipals": r.ExceptionPrincipals,
			"deniedPermissions": r.DeniedPermissions, "exceptionPermissions": r.ExceptionPermissions}
		maps.DeleteFunc(rule, func(_ string, v any) bool { list, _ := v.([]string); return len(list) == 0 })
		if r.Condition != nil {
			rule["denialCondition"] = map[string]any{"expression": r.Condition.Expression}
		}
		rules = append(rules, map[string]any{"denyRule": rule})
	}
	data, _ := json.Marshal(map[string]any{"name": "policies/x/denypolicies/" + p.Name, "rules": rules}) //nolint:errchkjson // texts
	return string(data)
}

// customRoles collects custom roles.
func (b *builder) customRoles() {
	for _, c := range b.changes() {
		if c.Type != "google_project_iam_custom_role" && c.Type != "google_organization_iam_custom_role" {
			continue
		}
		d := b.document(b.names[c.Address])
		text := func(s side) string {
			permissions := s.list("permissions")
			if !s.exists() || s.truth("deleted", false) || s.text("stage") == "DISABLED" || permissions == nil {
				permissions = []string{}
			}
			data, _ := json.Marshal(map[string]any{"name": d.name, "includedPermissions": permissions})
			return string(data)
		}
		d.before = text(c.before())
		d.after = d.before
		if !c.acts() {
			continue
		}
		d.touched(c, c.sensitive("permissions"))
		if after := c.after(); after.exists() && (!after.known("permissions") || !after.known("stage")) {
			d.lacks(c, "what the role permits is known after apply")
		} else {
			d.after = text(after)
		}
	}
}
