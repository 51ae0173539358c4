package simulator

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// allowPolicy is google.iam.v1.Policy: cloud.google.com/iam/docs/reference/rest/v1/Policy.
type allowPolicy struct {
	Version  int             `json:"version,omitempty"`
	Etag     string          `json:"etag,omitempty"`
	Bindings []policyBinding `json:"bindings,omitempty"`
	Audit    []auditConfig   `json:"auditConfigs,omitempty"`

	// changes is how often the policy was set.
	changes int
}

type policyBinding struct {
	Role      string           `json:"role"`
	Members   []string         `json:"members"`
	Condition *policyCondition `json:"condition,omitempty"`
}

type policyCondition struct {
	Expression  string `json:"expression"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
}

// auditConfig says which Data Access logs of a service are on.
type auditConfig struct {
	Service string           `json:"service"`
	Logs    []auditLogConfig `json:"auditLogConfigs"`
}

type auditLogConfig struct {
	LogType  any      `json:"logType"`
	Exempted []string `json:"exemptedMembers,omitempty"`
}

// neverSet is the etag of a policy that nobody has set.
const neverSet = "ACAB"

var (
	roleName   = regexp.MustCompile(`^(roles/[\w.]+|(projects|organizations)/[^/]+/roles/[\w.]+)$`)
	memberForm = regexp.MustCompile(`^(allUsers|allAuthenticatedUsers|(deleted:)?(user|serviceAccount|group):[^\s:@]+@[^\s]+|domain:[\w.-]+|principal(Set)?://\S+|project(Owner|Editor|Viewer):\S+)$`)
)

// policy is the resource's, which is made if it was never set.
func (g *googleCloud) policy(resource string) *allowPolicy {
	if g.policies[resource] == nil {
		g.policies[resource] = &allowPolicy{Etag: neverSet}
	}
	return g.policies[resource]
}

// grant adds a member to the unconditional binding of the role.
func (p *allowPolicy) grant(role, member string) {
	i := slices.IndexFunc(p.Bindings, func(b policyBinding) bool { return b.Role == role && b.Condition == nil })
	if i < 0 {
		i = len(p.Bindings)
		p.Bindings = append(p.Bindings, policyBinding{Role: role})
	}
	if !slices.Contains(p.Bindings[i].Members, member) {
		p.Bindings[i].Members = append(p.Bindings[i].Members, member)
	}
	p.changed()
}

func (p *allowPolicy) changed() {
	p.changes++
	p.Version = 1
	if p.conditional() {
		p.Version = 3
	}
	p.Etag = base64.StdEncoding.EncodeToString([]byte{7, 6, byte(p.changes >> 8), byte(p.changes)}) // as Google's: BwY…
}

func (p *allowPolicy) conditional() bool {
	return slices.ContainsFunc(p.Bindings, func(b policyBinding) bool { return b.Condition != nil })
}

// parseAllowPolicy reads a policy of a seed.
func parseAllowPolicy(text []byte) (*allowPolicy, error) {
	p := &allowPolicy{}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, err
	}
	p.changed()
	return p, nil
}

// shown is the policy as the version asked for shows it: below 3 without conditions, and with marks at the roles that have one
// (cloud.google.com/iam/docs/allow-policies, "Policy versions").
func (p *allowPolicy) shown(version int) allowPolicy {
	view := *p
	if version >= 3 || !p.conditional() {
		return view
	}
	view.Version, view.Bindings = 1, slices.Clone(p.Bindings)
	for i, b := range view.Bindings {
		if b.Condition != nil {
			view.Bindings[i].Role += "_withcond_" + googleNumber(20, "condition", b.Condition.Expression)
			view.Bindings[i].Condition = nil
		}
	}
	return view
}

// getPolicy reads requestedPolicyVersion where the API has it: in the query, or in the body.
func (w *World) getPolicy(c *googleCall) (any, *googleError) {
	if failed := w.checkPolicyResource(c); failed != nil {
		return nil, failed
	}
	var body struct {
		Options struct {
			Version int `json:"requestedPolicyVersion"`
		} `json:"options"`
	}
	if failed := c.decode(&body); failed != nil {
		return nil, failed
	}
	version := body.Options.Version
	if text := c.query.Get("options.requestedPolicyVersion"); text != "" {
		var err error
		if version, err = strconv.Atoi(text); err != nil {
			return nil, googleRefusal(googleInvalid, "Invalid requestedPolicyVersion %q.", text)
		}
	}
	if version < 0 || version > 3 || version == 2 {
		return nil, googleRefusal(googleInvalid, "requestedPolicyVersion must be 0, 1 or 3.")
	}
	if p := w.google.policies[c.resource]; p != nil {
		return p.shown(version), nil
	}
	return allowPolicy{Etag: neverSet}, nil
}

// checkPolicyResource is the error for a resource that does not exist.
func (w *World) checkPolicyResource(c *googleCall) *googleError {
	if w.google.exists(c.resource) {
		return nil
	}
	return googleMissing("Resource", c.resource)
}

// setPolicy replaces the policy, unless its etag is not that of the policy in force.
func (w *World) setPolicy(c *googleCall) (any, *googleError) {
	if failed := w.checkPolicyResource(c); failed != nil {
		return nil, failed
	}
	c.entry.request = c.bodyAsSent()
	c.entry.request["resource"] = c.resource
	c.entry.account = w.google.account(c.resource)
	var body struct {
		Policy *allowPolicy `json:"policy"`
		Mask   string       `json:"updateMask"`
	}
	if failed := c.decode(&body); failed != nil {
		return nil, failed
	}
	if body.Policy == nil {
		return nil, googleRefusal(googleInvalid, "policy is required.")
	}
	now, before := body.Policy, allowPolicy{Etag: neverSet}
	if p := w.google.policies[c.resource]; p != nil {
		before = *p
	}
	if !strings.Contains(strings.ToLower(strings.ReplaceAll(body.Mask, "_", "")), "auditconfigs") {
		now.Audit = before.Audit // the default mask is "bindings, etag"
	}
	switch {
	case now.Etag != "" && now.Etag != before.Etag:
		return nil, googleRefusal(googleAborted,
			"There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff.")
	case (now.conditional() || before.conditional()) && now.Version != 3:
		return nil, googleRefusal(googleInvalid, "A policy with conditions needs version 3.")
	}
	if failed := w.checkBindings(now.Bindings); failed != nil {
		return nil, failed
	}
	now.changes = before.changes
	now.changed()
	w.google.policies[c.resource] = now
	c.entry.delta = policyDelta(before, *now)
	return *now, nil
}

// checkBindings refuses roles and members that have no such form, and service accounts that are not there.
func (w *World) checkBindings(bindings []policyBinding) *googleError {
	for _, b := range bindings {
		if !roleName.MatchString(b.Role) || strings.Contains(b.Role, "_withcond_") {
			return googleRefusal(googleInvalid, "Role %s is not supported for this resource.", b.Role)
		}
		for _, member := range b.Members {
			if !memberForm.MatchString(member) {
				return googleRefusal(googleInvalid, "Invalid member %q.", member)
			}
			email, ok := strings.CutPrefix(member, "serviceAccount:")
			if ok && w.google.ours(email) && w.google.account(email) == nil {
				return googleRefusal(googleInvalid, "Service account %s does not exist.", email)
			}
		}
	}
	return nil
}

// policyDelta is what the audit log says that a call changed: google.iam.v1.logging.AuditData.
func policyDelta(before, after allowPolicy) map[string]any {
	bindings := func(p allowPolicy) (all []string) {
		for _, b := range p.Bindings {
			condition := ""
			if b.Condition != nil {
				condition = b.Condition.Expression
			}
			for _, member := range b.Members {
				all = append(all, strings.Join([]string{b.Role, member, condition}, "\x00"))
			}
		}
		return all
	}
	audits := func(p allowPolicy) (all []string) {
		for _, a := range p.Audit {
			for _, log := range a.Logs {
				logType, _ := log.LogType.(string)
				all = append(all, strings.Join([]string{a.Service, logType, ""}, "\x00"))
				for _, exempted := range log.Exempted {
					all = append(all, strings.Join([]string{a.Service, logType, exempted}, "\x00"))
				}
			}
		}
		return all
	}
	list := func(of func(allowPolicy) []string, fields [3]string) (deltas []any) {
		add := func(action string, from, without []string) {
			for _, entry := range from {
				if slices.Contains(without, entry) {
					continue
				}
				delta := map[string]any{"action": action}
				for i, value := range strings.Split(entry, "\x00") {
					if value != "" && fields[i] == "condition" {
						delta["condition"] = map[string]any{"expression": value}
					} else if value != "" {
						delta[fields[i]] = value
					}
				}
				deltas = append(deltas, delta)
			}
		}
		add("REMOVE", of(before), of(after))
		add("ADD", of(after), of(before))
		return deltas
	}
	delta := map[string]any{}
	if deltas := list(bindings, [3]string{"role", "member", "condition"}); deltas != nil {
		delta["bindingDeltas"] = deltas
	}
	if deltas := list(audits, [3]string{"service", "logType", "exemptedMember"}); deltas != nil {
		delta["auditConfigDeltas"] = deltas
	}
	return delta
}

// ours reports whether the e-mail is of a service account of a project that is here.
func (g *googleCloud) ours(email string) bool {
	_, domain, _ := strings.Cut(email, "@")
	project, ok := strings.CutSuffix(domain, ".iam.gserviceaccount.com")
	return ok && g.projects[project] != nil
}

// renameMember changes how the policies name a principal.
func (g *googleCloud) renameMember(from, to string) {
	for _, p := range g.policies {
		for i := range p.Bindings {
			members := p.Bindings[i].Members
			if j := slices.Index(members, from); j >= 0 {
				p.Bindings[i].Members = slices.Clone(members)
				p.Bindings[i].Members[j] = to
			}
		}
	}
}
