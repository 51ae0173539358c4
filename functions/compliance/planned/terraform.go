package planned

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Plan is a plan of Terraform, as "terraform show -json" prints it (developer.hashicorp.com/terraform/internals/json-format).
type Plan struct {
	// Terraform is the version that made it.
	Terraform string
	changes   []change
	root      module
	// project is the one that the google provider uses where a resource names none; "" if the plan does not show it.
	project string
	// gaps are why the plan does not show all that will be done.
	gaps []string
}

// change is what the plan does with one instance of a resource.
type change struct {
	Address         string          `json:"address"`
	PreviousAddress string          `json:"previous_address"`
	Module          string          `json:"module_address"`
	Mode            string          `json:"mode"`
	Type            string          `json:"type"`
	Name            string          `json:"name"`
	Index           json.RawMessage `json:"index"`
	Deposed         string          `json:"deposed"`
	Reason          string          `json:"action_reason"`
	Change          struct {
		Actions         []string        `json:"actions"`
		Before          map[string]any  `json:"before"`
		After           map[string]any  `json:"after"`
		AfterUnknown    json.RawMessage `json:"after_unknown"`
		BeforeSensitive json.RawMessage `json:"before_sensitive"`
		AfterSensitive  json.RawMessage `json:"after_sensitive"`
	} `json:"change"`
}

// module is a module of the configuration: it says what an attribute that is not known yet will be made of.
type module struct {
	Resources []struct {
		Address     string                     `json:"address"`
		Expressions map[string]json.RawMessage `json:"expressions"`
		ForEach     json.RawMessage            `json:"for_each_expression"`
	} `json:"resources"`
	Calls map[string]struct {
		Expressions map[string]json.RawMessage `json:"expressions"`
		Module      module                     `json:"module"`
	} `json:"module_calls"`
	Outputs map[string]struct {
		Expression json.RawMessage `json:"expression"`
	} `json:"outputs"`
}

// howTo is how a plan is made that can be read.
const howTo = `make it with "terraform plan -out tfplan" and "terraform show -json tfplan > plan.json"`

func refused(format string, args ...any) error {
	return fmt.Errorf("read plan: %s; %s", fmt.Sprintf(format, args...), howTo)
}

// Parse reads a plan. What is none, is cut, or has a format that is not known is an error that says how to make one.
func Parse(data []byte) (*Plan, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // as PowerShell writes it
	switch text := bytes.TrimSpace(data); {
	case len(text) == 0:
		return nil, refused("the file is empty")
	case bytes.HasPrefix(text, []byte("PK\x03\x04")):
		return nil, refused("it is a plan in Terraform's own format, not in JSON")
	case bytes.HasPrefix(text, []byte{0xff, 0xfe}), bytes.HasPrefix(text, []byte{0xfe, 0xff}):
		return nil, refused("it is in UTF-16, as a redirection of PowerShell writes it; write it as UTF-8")
	case text[0] != '{':
		return nil, refused("it is no JSON object")
	}
	var parts map[string]json.RawMessage
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&parts); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, refused("the JSON is cut off")
		}
		return nil, refused("it is no JSON: %v", err)
	}
	if parts["@level"] != nil || parts["@message"] != nil {
		return nil, refused(`it is the log of "terraform plan -json", which has no documents in it`)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, refused("something follows the JSON object")
	}
	switch {
	case parts["lineage"] != nil || parts["terraform_version"] != nil && parts["format_version"] == nil:
		return nil, refused("it is a state file, which says nothing of what will change")
	case parts["format_version"] == nil:
		return nil, refused("it has no format_version")
	case parts["values"] != nil && parts["planned_values"] == nil:
		return nil, refused("it is a state, which says nothing of what will change")
	}
	var plan struct {
		Terraform string   `json:"terraform_version"`
		Changes   []change `json:"resource_changes"`
		Deferred  []struct {
			Reason string `json:"reason"`
			Change change `json:"resource_change"`
		} `json:"deferred_changes"`
		Planned       json.RawMessage `json:"planned_values"`
		Errored       bool            `json:"errored"`
		Complete      *bool           `json:"complete"`
		Configuration struct {
			Root      module `json:"root_module"`
			Providers map[string]struct {
				Name        string                     `json:"name"`
				Expressions map[string]json.RawMessage `json:"expressions"`
			} `json:"provider_config"`
		} `json:"configuration"`
	}
	var format string
	if err := json.Unmarshal(parts["format_version"], &format); err != nil || !strings.HasPrefix(format, "1.") {
		return nil, refused("its format_version is %s, and keyturn reads 1.x", clip(string(parts["format_version"])))
	}
	if err := json.Unmarshal(data, &plan); err != nil {
		return nil, refused("it is not in the form of a plan: %v", err)
	}
	if plan.Planned == nil {
		return nil, refused("it has no planned_values")
	}
	p := &Plan{Terraform: plan.Terraform, changes: plan.Changes, root: plan.Configuration.Root}
	seen := map[string]bool{}
	for _, c := range plan.Changes {
		if err := c.check(); err != nil {
			return nil, err
		}
		if one := c.Address + " " + c.Deposed; !seen[one] {
			seen[one] = true
			continue
		}
		return nil, refused("%s is in it twice", clip(c.Address))
	}
	if plan.Errored {
		p.gaps = append(p.gaps, "making the plan ended with an error, so it may lack changes")
	} else if plan.Complete != nil && !*plan.Complete && len(plan.Deferred) == 0 {
		p.gaps = append(p.gaps, "the plan is not complete: another one must follow it")
	}
	for _, d := range plan.Deferred {
		if matters(d.Change.Type) {
			p.gaps = append(p.gaps, "the change of "+clip(d.Change.Address)+" is deferred to another plan")
		}
	}
	for _, provider := range plan.Configuration.Providers {
		if provider.Name == "google" && p.project == "" {
			p.project = constant(provider.Expressions["project"])
		}
	}
	slices.SortStableFunc(p.changes, func(a, b change) int { return strings.Compare(a.Address, b.Address) })
	return p, nil
}

// actions are those of a change that this package knows.
var actions = []string{"no-op", "create", "read", "update", "delete", "forget"}

// check refuses a change that cannot be what it says it is.
func (c change) check() error {
	if c.Address == "" || len(c.Change.Actions) == 0 {
		return refused("a resource change has no address or no actions")
	}
	for _, a := range c.Change.Actions {
		if !slices.Contains(actions, a) {
			return refused("the action %q of %s is not known", clip(a), clip(c.Address))
		}
	}
	switch {
	case c.Mode != "managed" && c.Mode != "data" || c.Type == "":
		return refused("it is not known what %s is", clip(c.Address))
	case c.does("update", "delete", "forget") && c.Change.Before == nil:
		return refused("%s is to be changed, and what it is before is not there", clip(c.Address))
	case c.does("update", "create") && c.Change.After == nil:
		return refused("%s is to be changed, and what it will be is not there", clip(c.Address))
	}
	return nil
}

// does reports whether the change has one of the actions.
func (c change) does(some ...string) bool {
	return slices.ContainsFunc(c.Change.Actions, func(a string) bool { return slices.Contains(some, a) })
}

// acts reports whether the plan does anything to the instance. What is only forgotten stays as it is.
func (c change) acts() bool { return c.does("create", "update", "delete") }

// replaced reports whether the instance is deleted and made anew.
func (c change) replaced() bool { return c.does("delete") && c.does("create") }

// side is an instance before the change or after it. The zero side does not exist.
type side struct {
	values  map[string]any
	unknown map[string]any
}

func (s side) exists() bool { return s.values != nil }

func (c change) before() side { return side{values: c.Change.Before} }

// after is the instance as it will be. What is forgotten stays, and what is abandoned as well.
func (c change) after() side {
	if !c.does("create") && (c.does("forget") || c.does("delete") && c.before().is("deletion_policy", "ABANDON")) || c.does("no-op") && c.Change.After == nil {
		return c.before()
	}
	s := side{values: c.Change.After, unknown: map[string]any{}}
	_ = json.Unmarshal(c.Change.AfterUnknown, &s.unknown) // true for all of it: the values are null then
	return s
}

// anyUnknown reports whether a part of a value is not known before the plan is applied.
func anyUnknown(u any) bool {
	switch u := u.(type) {
	case bool:
		return u
	case []any:
		return slices.ContainsFunc(u, anyUnknown)
	case map[string]any:
		for _, v := range u {
			if anyUnknown(v) {
				return true
			}
		}
	}
	return false
}

// known reports whether all of the attribute is known.
func (s side) known(name string) bool { return !anyUnknown(s.unknown[name]) }

// text is the attribute as text; "" if it is null, not known or something else.
func (s side) text(name string) string {
	t, _ := s.values[name].(string)
	return t
}

func (s side) is(name, value string) bool { return s.known(name) && s.text(name) == value }

// truth is a boolean attribute, with what null means.
func (s side) truth(name string, null bool) bool {
	if b, ok := s.values[name].(bool); ok {
		return b
	}
	return null
}

// number is a numeric attribute; 0 if it is null, not known or something else.
func (s side) number(name string) float64 {
	n, _ := s.values[name].(float64)
	return n
}

// list is a list of texts, blocks one of nested blocks.
func (s side) list(name string) (list []string) {
	values, _ := s.values[name].([]any)
	for _, v := range values {
		if t, ok := v.(string); ok {
			list = append(list, t)
		}
	}
	return list
}

func (s side) blocks(name string) (list []side) {
	values, _ := s.values[name].([]any)
	for _, v := range values {
		if m, ok := v.(map[string]any); ok {
			list = append(list, side{values: m})
		}
	}
	return list
}

// sensitive reports whether one of the attributes is not to be shown, before or after.
func (c change) sensitive(names ...string) bool {
	for _, marks := range []json.RawMessage{c.Change.BeforeSensitive, c.Change.AfterSensitive} {
		var all any
		_ = json.Unmarshal(marks, &all)
		if whole, ok := all.(bool); ok && whole {
			return true
		}
		one, _ := all.(map[string]any)
		for _, name := range names {
			if anyUnknown(one[name]) {
				return true
			}
		}
	}
	return false
}

// secrets hides the texts that the plan marks as sensitive, and those within a document that is one.
func (p *Plan) secrets() *strings.Replacer {
	var pairs []string
	const shortest = 8 // what is shorter is a word like any other
	hide := func(text string) {
		if len(text) >= shortest && !strings.HasPrefix(text, "kms:") && !strings.HasPrefix(text, "sts:") && !strings.HasPrefix(text, "roles/") {
			pairs = append(pairs, text, "(sensitive)")
		}
	}
	var walk func(value, marks any)
	walk = func(value, marks any) {
		switch v := value.(type) {
		case string:
			var within any
			if json.Unmarshal([]byte(v), &within) == nil {
				walk(within, true)
			}
			hide(v)
			for _, part := range strings.Split(v, ":") {
				hide(part)
			}
		case []any:
			for i, one := range v {
				mark := marks
				if list, ok := marks.([]any); ok && i < len(list) {
					mark = list[i]
				}
				if anyUnknown(mark) {
					walk(one, mark)
				}
			}
		case map[string]any:
			for name, one := range v {
				mark := marks
				if m, ok := marks.(map[string]any); ok {
					mark = m[name]
				}
				if anyUnknown(mark) {
					walk(one, mark)
				}
			}
		}
	}
	for _, c := range p.changes {
		var before, after any
		_, _ = json.Unmarshal(c.Change.BeforeSensitive, &before), json.Unmarshal(c.Change.AfterSensitive, &after)
		if anyUnknown(before) {
			walk(c.Change.Before, before)
		}
		if anyUnknown(after) {
			walk(c.Change.After, after)
		}
	}
	return strings.NewReplacer(pairs...)
}

// clip keeps a text of the plan to what can be read in a sentence.
func clip(s string) string {
	const most = 1000
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
