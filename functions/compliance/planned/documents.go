package planned

import (
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// document is a policy or a role by the name that readers of policies give it, before the plan is applied and after. An empty text is none.
type document struct {
	name          string
	before, after string
	// partial: it holds what the plan manages and shows; there may be more. blind: it is not known what is there before.
	partial, blind bool
	// by are the addresses of the changes, unread what of them is not known. sensitive: nothing of it may be shown.
	by        []string
	unread    []lack
	sensitive bool
}

// lack is what is not known of a change.
type lack struct{ address, why string }

func (d *document) touched(c change, sensitive bool) {
	if !slices.Contains(d.by, c.Address) {
		d.by = append(d.by, c.Address)
	}
	d.sensitive = d.sensitive || sensitive
}

func (d *document) lacks(c change, why string) { d.unread = append(d.unread, lack{c.Address, why}) }

// builder makes documents of a plan.
type builder struct {
	plan  *Plan
	known Known
	docs  map[string]*document
	// names are those of what resources stand for, by address. fresh is what does not exist before, gone what does not after, by name.
	names       map[string]string
	fresh, gone map[string]bool
	// aliases are other names of keys and roles of AWS, account the one that the plan is about.
	aliases map[string]string
	account string
	// unplaced are changes of which nobody can tell what they are about.
	unplaced []lack
}

func build(p *Plan, known Known) *builder {
	b := &builder{plan: p, known: known, docs: map[string]*document{}, names: map[string]string{}, fresh: map[string]bool{}, gone: map[string]bool{}, aliases: map[string]string{}}
	b.nameAWS()
	b.nameGoogle()
	b.keyPolicies()
	b.trusts()
	b.rolePolicies()
	b.allowPolicies()
	b.denyPolicies()
	b.customRoles()
	return b
}

// changes are those of the resources in force. What is deposed is only deleted, which keys are judged for.
func (b *builder) changes() []change {
	return slices.DeleteFunc(slices.Clone(b.plan.changes), func(c change) bool { return c.Mode != "managed" || c.Deposed != "" })
}

func (b *builder) of(typ string) []change {
	return slices.DeleteFunc(b.changes(), func(c change) bool { return c.Type != typ })
}

func (b *builder) name(c change, name string, fresh bool) {
	if name == "" || strings.HasSuffix(name, "/") {
		if name = "unnamed " + c.Address; c.acts() {
			b.unplaced = append(b.unplaced, lack{c.Address, "the plan does not show its name"})
		}
	}
	b.names[c.Address] = name
	if fresh {
		b.fresh[name] = true
	}
	own := slices.Contains(awsKeys, c.Type) || c.Type == "aws_iam_role" || c.Type == "google_kms_crypto_key" || c.Type == "google_service_account"
	if own && (!c.after().exists() || c.replaced()) {
		b.gone[name] = true // which is judged by itself
	}
}

func (b *builder) document(name string) *document {
	if b.docs[name] == nil {
		b.docs[name] = &document{name: name}
	}
	return b.docs[name]
}

// refers are the names of what an attribute refers to.
func (b *builder) refers(c change, attribute string) (names []string) {
	for _, r := range b.plan.referred(c, attribute) {
		if name := b.names[r.Address]; name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// configured reports whether the configuration sets the attribute. What it does not is computed by the provider. Without the configuration
// it may be set.
func (b *builder) configured(c change, attribute string) bool {
	m, ok := b.plan.module(c.Module)
	if !ok {
		return true
	}
	for _, r := range m.Resources {
		if r.Address == c.Type+"."+c.Name {
			_, set := r.Expressions[attribute]
			return set
		}
	}
	return true
}

// placed is a change, as far as it is about what is named.
type placed struct {
	name string
	change
}

// targets are what the attribute names before and after. A change that moves from one to another is taken from the one and put on the other.
func (b *builder) targets(c change, attribute string, by func(text string) string) (all []placed) {
	before, after := "", []string(nil)
	if s := c.before(); s.exists() {
		if before = by(s.text(attribute)); before == "" {
			if refs := b.refers(c, attribute); len(refs) == 1 {
				before = refs[0]
			}
		}
		if before == "" && c.acts() {
			b.unplaced = append(b.unplaced, lack{c.Address, "it is not known what it belonged to"})
		}
	}
	if s := c.after(); s.exists() && c.acts() {
		switch {
		case s.known(attribute) && by(s.text(attribute)) != "":
			after = []string{by(s.text(attribute))}
		default:
			after = b.refers(c, attribute)
		}
		if len(after) > 1 && slices.ContainsFunc(after, func(name string) bool { return !b.fresh[name] }) {
			after = nil // one of them, and what is put on another is no help to it
		}
		if len(after) == 0 {
			b.unplaced = append(b.unplaced, lack{c.Address, "what it belongs to is known after apply"})
		}
	}
	if !c.acts() {
		if before == "" {
			return nil
		}
		return []placed{{before, c}}
	}
	if len(after) == 1 && after[0] == before {
		return []placed{{before, c}}
	}
	if before != "" {
		taken := c
		taken.Change.After, taken.Change.AfterUnknown, taken.Change.Actions = nil, nil, []string{"delete"}
		all = append(all, placed{before, taken})
	}
	for _, name := range after {
		put := c
		put.Change.Before, put.Change.Actions = nil, []string{"create"}
		all = append(all, placed{name, put})
	}
	return all
}

// uses are what is known of the uses of keys.
func (k Known) uses() []Use {
	if k.Inventory == nil {
		return nil
	}
	return k.Inventory.Uses
}

// spec is a key as somebody uses it.
func spec(key string, principal string) cmek.KeySpec {
	uri := cmek.KeyURI(key)
	return cmek.KeySpec{Type: uri.Type(), URI: uri, AuthPrincipal: cmek.Principal(principal)}
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// in says what an address is for people, who know it by its former one.
func (c change) in() string {
	if c.PreviousAddress != "" && c.PreviousAddress != c.Address {
		return fmt.Sprintf(" (moved from %s)", clip(c.PreviousAddress))
	}
	return ""
}
