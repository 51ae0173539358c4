package planned

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
)

// The keys of AWS KMS among the resources, and those whose policies count (registry.terraform.io/providers/hashicorp/aws).
var awsKeys = []string{"aws_kms_key", "aws_kms_external_key", "aws_kms_replica_key", "aws_kms_replica_external_key"}

// ownAccount is a policy that leaves the decision to the IAM policies of an account: the one that a key has if nobody sets another (AWS
// KMS Developer Guide, "Default key policy").
func ownAccount(account string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account + `:root"},"Action":"kms:*","Resource":"*"}]}`
}

// nameAWS gives keys, roles and policies of AWS the names that other resources refer to them by.
func (b *builder) nameAWS() {
	accounts := map[string]bool{}
	for _, c := range b.changes() {
		for _, s := range []side{c.before(), c.after()} {
			if parts := strings.Split(s.text("arn"), ":"); s.known("arn") && len(parts) > 5 && len(parts[4]) == 12 && strings.HasPrefix(c.Type, "aws_") {
				accounts[parts[4]] = true
			}
		}
	}
	b.account = "000000000000"
	if len(accounts) == 1 {
		for b.account = range accounts {
		}
	}
	for i, c := range b.changes() {
		arn := c.before().text("arn")
		if arn == "" && c.after().known("arn") {
			arn = c.after().text("arn")
		}
		fresh := !c.before().exists()
		switch {
		case slices.Contains(awsKeys, c.Type):
			if fresh && arn == "" {
				arn = fmt.Sprintf("arn:aws:kms:us-east-1:%s:key/00000000-0000-0000-0000-%012d", b.account, i)
			}
			b.name(c, arn, fresh)
			b.aliases[c.before().text("key_id")] = arn
		case c.Type == "aws_iam_role":
			if fresh && arn == "" {
				arn = "arn:aws:iam::" + b.account + ":role/" + c.after().text("name")
			}
			arn = b.spelled(cmek.Principal(arn))
			b.name(c, arn, fresh)
			if other := "role/" + cmek.Principal(arn).Name(); b.aliases[other] == "" {
				b.aliases[other] = arn
			} else {
				b.aliases[other] = ambiguous // roles of two accounts
			}
		case c.Type == "aws_iam_policy":
			if arn == "" {
				arn = c.Address
			}
			b.name(c, arn, fresh)
		}
	}
	delete(b.aliases, "")
}

// ambiguous is the alias of several.
const ambiguous = "?"

// awsKey is the key that a text names, by its ARN or its id.
func (b *builder) awsKey(text string) string {
	if uri, err := cmek.ParseKeyURI(text); err == nil {
		return string(uri)
	}
	return b.aliases[text]
}

// awsRole is the role that a text names. One of which nothing but the name is known is taken to be of the account that the plan is about.
func (b *builder) awsRole(text string) string {
	if cmek.Principal(text).IsRole() {
		return b.spelled(cmek.Principal(text))
	}
	switch arn := b.aliases["role/"+text]; {
	case arn == ambiguous || text == "":
		return ""
	case arn != "":
		return arn
	}
	for _, u := range b.known.uses() {
		if p := u.Spec.AuthPrincipal; p.IsRole() && p.Name() == text {
			return string(p)
		}
	}
	return b.spelled(cmek.Principal("arn:aws:iam::" + b.account + ":role/" + text))
}

// spelled is a role as clusters or the plan spell it, with its path.
func (b *builder) spelled(p cmek.Principal) string {
	for _, u := range b.known.uses() {
		if p.Same(u.Spec.AuthPrincipal) {
			return string(u.Spec.AuthPrincipal)
		}
	}
	if arn := b.aliases["role/"+p.Name()]; p.Same(cmek.Principal(arn)) {
		return arn
	}
	return string(p)
}

// keyPolicies collects the policies of keys: the key's own attribute, or the resource for it.
func (b *builder) keyPolicies() {
	for _, c := range b.changes() {
		if !slices.Contains(awsKeys, c.Type) {
			continue
		}
		before, after := c.before(), c.after()
		if before.exists() {
			d := b.document(b.names[c.Address])
			d.before = before.text("policy")
			d.after = d.before
			if d.before == "" {
				d.before = b.known.Documents[d.name]
				d.after = d.before
			}
		}
		if c.acts() && after.exists() {
			d := b.document(b.names[c.Address])
			if c.replaced() {
				d = b.document(b.names[c.Address] + "-replaced") // another key, which nobody uses yet
				b.fresh[d.name] = true
			}
			d.by = append(d.by, c.Address)
			d.sensitive = d.sensitive || c.sensitive("policy")
			switch {
			case after.known("policy") && after.text("policy") != "":
				d.after = after.text("policy")
			case !b.configured(c, "policy"):
				if !before.exists() || c.replaced() {
					d.after = ownAccount(b.account)
				}
			default:
				d.lacks(c, "the key policy is known after apply")
			}
		}
	}
	for _, c := range b.of("aws_kms_key_policy") {
		for _, t := range b.targets(c, "key_id", b.awsKey) {
			c, name := t.change, t.name
			d := b.document(name)
			t := cmp.Or(c.before().text("policy"), d.before, b.known.Documents[name])
			switch sets := len(d.by) > 0 && d.before != d.after; {
			case sets && c.acts():
				d.lacks(c, "two resources set the policy of one key")
			case sets:
				continue
			}
			d.before, d.after = t, t
			if !c.acts() {
				continue
			}
			d.blind = d.before == "" && !b.fresh[name]
			d.touched(c, c.sensitive("policy"))
			switch after := c.after(); {
			case !after.exists():
				d.after = ownAccount(cmek.KeyURI(name).Account())
			case !after.known("policy") || after.text("policy") == "":
				d.lacks(c, "the key policy is known after apply")
			default:
				d.after = after.text("policy")
			}
		}
	}
}

// parts are the policies of a role: inline ones by name, attached ones and the boundary by ARN.
type parts struct {
	inline   map[string]string
	attached map[string]bool
	boundary string
}

func (p parts) clone() parts {
	return parts{maps.Clone(p.inline), maps.Clone(p.attached), p.boundary}
}

// planned is a role whose policies the plan shows or changes.
type plannedRole struct {
	before, after parts
	// whole: all of its policies are known by name before the change.
	whole     bool
	by        []change
	unread    []lack
	sensitive bool
}

// managed are the texts of customer managed policies on the two sides; a policy that is not there is not known.
type managed struct{ before, after map[string]string }

func (b *builder) rolePolicies() {
	texts := b.managedPolicies()
	roles := map[string]*plannedRole{}
	role := func(arn string) *plannedRole {
		if roles[arn] == nil {
			r := &plannedRole{before: parts{map[string]string{}, map[string]bool{}, ""}}
			r.whole = r.before.read(b.known.Documents[ledger.RolePolicies(cmek.Principal(arn))], texts)
			roles[arn] = r
		}
		return roles[arn]
	}
	for arn := range b.roleArns() {
		role(arn)
	}
	steps := []struct {
		typ, of string
		take    func(r *plannedRole, p *parts, s side, add bool)
	}{
		{"aws_iam_role", "arn", takeRole},
		{"aws_iam_role_policy", "role", takeInline},
		{"aws_iam_role_policy_attachment", "role", takeAttached},
	}
	for _, step := range steps { // what is there before
		for _, c := range b.of(step.typ) {
			for _, t := range b.rolesOf(c, step.of) {
				c := t.change
				if r := role(t.name); c.before().exists() {
					if c.Type == "aws_iam_role" {
						r.whole = r.whole || c.before().values["inline_policy"] != nil && c.before().values["managed_policy_arns"] != nil
					}
					step.take(r, &r.before, c.before(), true)
				}
			}
		}
	}
	for _, r := range roles {
		r.after = r.before.clone()
	}
	for _, step := range steps { // a role first: what it shows of its policies may be from before the change
		for _, c := range b.of(step.typ) {
			for _, t := range b.rolesOf(c, step.of) {
				c := t.change
				if !c.acts() {
					continue
				}
				r := role(t.name)
				r.by, r.sensitive = append(r.by, c), r.sensitive || c.sensitive("policy", "inline_policy", "policy_arn")
				if r.after.inline == nil {
					r.after = r.before.clone()
				}
				if c.before().exists() {
					step.take(r, &r.after, c.before(), false)
				}
				if after := c.after(); after.exists() {
					b.unknownParts(r, c, after)
					step.take(r, &r.after, b.attachedIn(c, after), true)
				}
			}
		}
	}
	for _, arn := range slices.Sorted(maps.Keys(roles)) {
		b.roleDocument(arn, roles[arn], texts)
	}
	b.unattached(roles, texts)
}

// unattached notes customer managed policies that change, and of which nobody knows which roles have them.
func (b *builder) unattached(roles map[string]*plannedRole, texts managed) {
	whole := b.known.Inventory != nil && b.known.Inventory.Incomplete == ""
	for arn := range b.roleArns() {
		whole = whole && b.known.Documents[ledger.RolePolicies(cmek.Principal(arn))] != ""
	}
	for _, c := range b.of("aws_iam_policy") {
		name := b.names[c.Address]
		had := false
		for _, r := range roles {
			had = had || r.before.has(name) || r.after.has(name)
		}
		_, known := texts.after[name]
		if !whole && !had && c.acts() && c.before().exists() && (!known && c.after().exists() || aboutKeys(texts.before[name]) || aboutKeys(texts.after[name])) {
			b.unplaced = append(b.unplaced, lack{c.Address, "which roles have the policy is not known"})
		}
	}
}

// aboutKeys reports whether a policy may decide about the use of a key.
func aboutKeys(text string) bool {
	d, err := policy.Parse(text)
	return text != "" && (err != nil || decides(d))
}

func decides(d policy.Document) bool {
	return slices.ContainsFunc(d.Statements, func(s policy.Statement) bool {
		return len(s.NotActions) > 0 || slices.ContainsFunc(s.Actions, func(a string) bool {
			return strings.HasPrefix(a, "*") || strings.HasPrefix(strings.ToLower(a), "k")
		})
	})
}

// rolesOf are the roles that a resource is about.
func (b *builder) rolesOf(c change, attribute string) []placed {
	if attribute == "arn" {
		return []placed{{b.names[c.Address], c}}
	}
	return b.targets(c, attribute, b.awsRole)
}

// unknownParts notes what of a role's policies is known after apply.
func (b *builder) unknownParts(r *plannedRole, c change, after side) {
	for attribute, what := range map[string]string{"policy": "the policy", "policy_arn": "which policy is attached", "permissions_boundary": "the permissions boundary",
		"inline_policy": "the inline policies", "managed_policy_arns": "which policies are attached"} {
		if attribute == "policy_arn" && len(b.refers(c, attribute)) == 1 || after.known(attribute) {
			continue
		}
		if (attribute == "inline_policy" || attribute == "managed_policy_arns") && !b.configured(c, attribute) {
			continue // they are those of other resources
		}
		r.unread = append(r.unread, lack{c.Address, what + " of the role is known after apply"})
	}
}

// attachedIn is an attachment with the policy that it refers to, where that one's ARN is not known yet.
func (b *builder) attachedIn(c change, after side) side {
	if after.known("policy_arn") || c.Type != "aws_iam_role_policy_attachment" {
		return after
	}
	refs := b.refers(c, "policy_arn")
	if len(refs) != 1 {
		return after
	}
	values := maps.Clone(after.values)
	values["policy_arn"] = refs[0]
	return side{values: values}
}

func takeRole(_ *plannedRole, p *parts, s side, add bool) {
	for _, inline := range s.blocks("inline_policy") {
		if name := inline.text("name"); name != "" {
			set(p.inline, name, inline.text("policy"), add)
		}
	}
	for _, arn := range s.list("managed_policy_arns") {
		set(p.attached, arn, true, add)
	}
	p.boundary = ""
	if add {
		p.boundary = s.text("permissions_boundary")
	}
}

func takeInline(_ *plannedRole, p *parts, s side, add bool) {
	if s.known("policy") { // names that are not known are not one name
		set(p.inline, cmp.Or(s.text("name"), "unnamed: "+s.text("policy")), s.text("policy"), add)
	}
}

func takeAttached(_ *plannedRole, p *parts, s side, add bool) {
	if arn := s.text("policy_arn"); arn != "" {
		set(p.attached, arn, true, add)
	}
}

func set[V any](m map[string]V, key string, value V, add bool) {
	if add {
		m[key] = value
	} else {
		delete(m, key)
	}
}

// read takes the policies of a role as they are noted, with the texts of those that are attached.
func (p *parts) read(text string, texts managed) (ok bool) {
	var noted struct {
		Inline   map[string]json.RawMessage `json:"inline"`
		Attached map[string]json.RawMessage `json:"attached"`
		Boundary map[string]json.RawMessage `json:"boundary"`
	}
	if text == "" || json.Unmarshal([]byte(text), &noted) != nil {
		return false
	}
	for name, d := range noted.Inline {
		p.inline[name] = string(d)
	}
	take := func(arn string, d json.RawMessage) {
		if _, planned := texts.before[arn]; !planned {
			texts.before[arn], texts.after[arn] = string(d), string(d)
		}
	}
	for arn, d := range noted.Attached {
		p.attached[arn] = true
		take(arn, d)
	}
	for arn, d := range noted.Boundary {
		p.boundary = arn
		take(arn, d)
	}
	return true
}

// managedPolicies are the customer managed policies of the plan.
func (b *builder) managedPolicies() managed {
	texts := managed{map[string]string{}, map[string]string{}}
	for _, c := range b.of("aws_iam_policy") {
		arn := b.names[c.Address]
		if c.before().exists() {
			texts.before[arn] = c.before().text("policy")
		}
		if after := c.after(); after.exists() && after.known("policy") {
			texts.after[arn] = after.text("policy")
		}
	}
	return texts
}

// roleDocument adds the document with all policies of a role.
func (b *builder) roleDocument(arn string, r *plannedRole, texts managed) {
	if r.after.inline == nil {
		r.after = r.before.clone()
	}
	d := b.document(ledger.RolePolicies(cmek.Principal(arn)))
	d.partial, d.unread, d.sensitive = !r.whole, append(d.unread, r.unread...), r.sensitive
	for _, c := range r.by {
		d.by = append(d.by, c.Address)
	}
	for _, c := range b.of("aws_iam_policy") {
		name := b.names[c.Address]
		if !c.acts() || !r.before.has(name) && !r.after.has(name) {
			continue
		}
		d.touched(c, c.sensitive("policy"))
		if after := c.after(); after.exists() && !after.known("policy") {
			d.lacks(c, "the policy is known after apply")
		}
	}
	var missingBefore, missingAfter []string
	d.before, missingBefore = r.before.text(texts.before)
	d.after, missingAfter = r.after.text(texts.after)
	for _, m := range missingBefore {
		d.partial = true
		if !slices.Contains(missingAfter, m) && !slices.Contains(slices.Collect(maps.Keys(texts.after)), m) {
			d.unread = append(d.unread, lack{first(d.by), "the policy " + clip(m) + " is taken from the role, and was not read"})
		}
	}
	for _, m := range missingAfter {
		if !slices.Contains(missingBefore, m) && len(d.unread) == 0 {
			d.unread = append(d.unread, lack{first(d.by), "the policy " + clip(m) + " is put on the role, and was not read"})
		}
	}
}

func (p parts) has(arn string) bool { return p.attached[arn] || p.boundary == arn }

// text is what package policy reads, with the names of policies that are not known. A boundary that is not known is left out.
func (p parts) text(texts map[string]string) (text string, missing []string) {
	inline, attached, boundary := map[string]json.RawMessage{}, map[string]json.RawMessage{}, map[string]json.RawMessage{}
	for name, d := range p.inline {
		if json.Valid([]byte(d)) {
			inline[name] = json.RawMessage(d)
		} else {
			missing = append(missing, name)
		}
	}
	take := func(into map[string]json.RawMessage, arn string) {
		d, ok := texts[arn]
		if managed, known := policy.Managed(arn); !ok && known {
			d, ok = denyAll(managed), true
		}
		if ok && json.Valid([]byte(d)) {
			into[arn] = json.RawMessage(d)
		} else {
			missing = append(missing, arn)
		}
	}
	for arn := range p.attached {
		take(attached, arn)
	}
	if p.boundary != "" {
		take(boundary, p.boundary)
	}
	slices.Sort(missing)
	data, _ := json.Marshal(map[string]any{"inline": inline, "attached": attached, "boundary": boundary}) //nolint:errchkjson // texts
	return string(data), missing
}

// denyAll is the text of a policy that AWS manages, of which statements with actions and resources are known.
func denyAll(d policy.Document) string {
	var statements []map[string]any
	for _, s := range d.Statements {
		statements = append(statements, map[string]any{"Sid": s.Sid, "Effect": s.Effect, "Action": s.Actions, "Resource": s.Resources})
	}
	data, _ := json.Marshal(map[string]any{"Version": d.Version, "Statement": statements})
	return string(data)
}

// roleArns are the roles that are known beside the plan, whose policies a managed policy of the plan may be one of.
func (b *builder) roleArns() map[string]bool {
	arns := map[string]bool{}
	for _, u := range b.known.uses() {
		if u.Spec.AuthPrincipal.IsRole() {
			arns[string(u.Spec.AuthPrincipal)] = true
		}
	}
	return arns
}

// trusts collects the trust policies of roles.
func (b *builder) trusts() {
	for _, c := range b.of("aws_iam_role") {
		before, after := c.before(), c.after()
		d := b.document(b.names[c.Address])
		if d.before = before.text("assume_role_policy"); before.exists() && d.before == "" {
			d.before = b.known.Documents[d.name]
		}
		d.after, d.blind = d.before, before.exists() && d.before == ""
		if !c.acts() || !after.exists() {
			continue
		}
		d.touched(c, c.sensitive("assume_role_policy"))
		if !after.known("assume_role_policy") {
			d.lacks(c, "the trust policy is known after apply")
			continue
		}
		d.after = after.text("assume_role_policy")
	}
}
