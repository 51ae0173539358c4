package google

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Policy is an allow policy: who has which role on a resource and on what is below it (google.iam.v1.Policy).
type Policy struct {
	// Version is the format of the text; conditions need 3, and what has none is shown as 1 whatever was asked for.
	Version  int
	Bindings []Binding
	// ConditionsDropped is to be set by whoever read the policy and asked for a version below 3: it may have conditions that
	// the text does not show, so that no binding is certain.
	ConditionsDropped bool
}

// Binding gives a role to members.
type Binding struct {
	Role string
	// Members are principal identifiers as written (IAM documentation, "Principal identifiers").
	Members []string
	// Condition is nil if the binding has none.
	Condition *Condition
}

// Condition is an expression of the Common Expression Language that must hold. Its title and description decide nothing.
type Condition struct {
	Expression string
}

// DenyPolicy is a deny policy attached to a project, folder or organization (google.iam.v2.Policy).
type DenyPolicy struct {
	// Name is the last part of the policy's name, which people gave it.
	Name  string
	Rules []DenyRule
}

// DenyRule takes permissions from principals, whatever their roles.
type DenyRule struct {
	DeniedPrincipals, ExceptionPrincipals   []string
	DeniedPermissions, ExceptionPermissions []string
	Condition                               *Condition
}

// Role is a role's definition (google.iam.admin.v1.Role).
type Role struct {
	// Name is projects/P/roles/R, organizations/N/roles/R or roles/R.
	Name string
	// Permissions are those that it includes. A deleted or disabled role gives none (IAM documentation, "Create and manage custom
	// roles").
	Permissions []Permission
}

// maxText bounds what is parsed. An audit log entry, in which policies travel, has at most 512 KB (Cloud Logging
// documentation, "Quotas and limits").
const maxText = 1 << 20

// members are the names of each message, in any of the documents: a name in another case is another member to this parser,
// and dropping it would drop a binding or a condition.
var members = []string{"version", "bindings", "etag", "auditConfigs", "service", "auditLogConfigs", "logType", "exemptedMembers", "role", "members", "condition", "expression", "rules", "denyRule", "deniedPrincipals",
	"exceptionPrincipals", "deniedPermissions", "exceptionPermissions", "denialCondition", "includedPermissions", "stage", "deleted", "name"}

// ParsePolicy reads an allow policy as getIamPolicy returns it, or as a request to set one carries it. Read policies with
// requestedPolicyVersion 3: any other one leaves conditions out, and marks the roles of such bindings with _withcond_ and a
// hash, or see [Policy].ConditionsDropped.
//
// A policy without bindings has an etag (ACAB is that of a policy that was never set); a text with neither is an error, since
// no answer of IAM looks like that. So are names in the wrong case or twice, and values of another type. With an error the
// policy is empty and is to be treated as not read.
func ParsePolicy(text string) (Policy, error) {
	var p struct {
		Version  int     `json:"version"`
		Etag     *string `json:"etag"`
		Bindings *[]struct {
			Role      string          `json:"role"`
			Members   []string        `json:"members"`
			Condition *jsonExpression `json:"condition"`
		} `json:"bindings"`
	}
	if err := parse(text, &p); err != nil {
		return Policy{}, fmt.Errorf("parse policy: %w", err)
	}
	switch {
	case p.Bindings == nil && (p.Etag == nil || *p.Etag == ""):
		return Policy{}, errors.New("parse policy: neither bindings nor an etag")
	case p.Version != 0 && p.Version != 1 && p.Version != 3:
		return Policy{}, fmt.Errorf("parse policy: version: want 0, 1 or 3, got %d", p.Version)
	case p.Bindings == nil:
		return Policy{Version: p.Version}, nil
	}
	result := Policy{Version: p.Version}
	for i, b := range *p.Bindings {
		if b.Role == "" {
			return Policy{}, fmt.Errorf("parse policy: binding %d has no role", i+1)
		}
		result.Bindings = append(result.Bindings, Binding{b.Role, b.Members, b.Condition.condition()})
	}
	return result, nil
}

// ParseDenyPolicy reads a deny policy as iam.googleapis.com/v2 returns a single one. The policies of a list are without their rules
// (IAM API v2, policies.listPolicies): that is an error, not a policy that denies nothing.
func ParseDenyPolicy(text string) (DenyPolicy, error) {
	var p struct {
		Name  string `json:"name"`
		Rules *[]struct {
			DenyRule *struct {
				DeniedPrincipals     []string        `json:"deniedPrincipals"`
				ExceptionPrincipals  []string        `json:"exceptionPrincipals"`
				DeniedPermissions    []string        `json:"deniedPermissions"`
				ExceptionPermissions []string        `json:"exceptionPermissions"`
				DenialCondition      *jsonExpression `json:"denialCondition"`
			} `json:"denyRule"`
		} `json:"rules"`
	}
	if err := parse(text, &p); err != nil {
		return DenyPolicy{}, fmt.Errorf("parse deny policy: %w", err)
	}
	if p.Rules == nil {
		return DenyPolicy{}, errors.New("parse deny policy: it has no rules; a list of policies leaves them out, so read each one")
	}
	result := DenyPolicy{Name: p.Name[strings.LastIndex(p.Name, "/")+1:]}
	for i, rule := range *p.Rules {
		if rule.DenyRule == nil {
			return DenyPolicy{}, fmt.Errorf("parse deny policy: rule %d is no denyRule", i+1)
		}
		r := rule.DenyRule
		result.Rules = append(result.Rules, DenyRule{r.DeniedPrincipals, r.ExceptionPrincipals, r.DeniedPermissions, r.ExceptionPermissions, r.DenialCondition.condition()})
	}
	return result, nil
}

// ParseRole reads a role as roles.get returns it. A list of roles leaves the permissions out unless it is asked for with view
// FULL: a role without the element is an error, not a role that gives nothing.
func ParseRole(text string) (Role, error) {
	var r struct {
		Name        string        `json:"name"`
		Permissions *[]Permission `json:"includedPermissions"`
		Stage       string        `json:"stage"`
		Deleted     bool          `json:"deleted"`
	}
	if err := parse(text, &r); err != nil {
		return Role{}, fmt.Errorf("parse role: %w", err)
	}
	switch {
	case r.Name == "":
		return Role{}, errors.New("parse role: it has no name")
	case r.Deleted, r.Stage == "DISABLED":
		return Role{Name: r.Name}, nil
	case r.Permissions == nil:
		return Role{}, fmt.Errorf("parse role: %s has no includedPermissions; a list of roles leaves them out, so read each one", clip(r.Name))
	}
	return Role{r.Name, *r.Permissions}, nil
}

// jsonExpression is a google.type.Expr.
type jsonExpression struct {
	Expression string `json:"expression"`
}

func (e *jsonExpression) condition() *Condition {
	if e == nil {
		return nil
	}
	return &Condition{e.Expression}
}

func parse(text string, into any) error {
	if len(text) > maxText {
		return fmt.Errorf("%d bytes are more than any policy may have", len(text))
	}
	value := jsontext.Value(text)
	if value.Kind() != '{' {
		return fmt.Errorf("want an object, got %s", clip(text))
	}
	// The library's errors quote member names at any length.
	if err := json.Unmarshal(value, into); err != nil {
		return errors.New(clip(err.Error()))
	}
	return spelled(value)
}

// spelled refuses member names that differ from known ones in case only, at any depth.
func spelled(value jsontext.Value) error {
	for decoder := jsontext.NewDecoder(bytes.NewReader(value)); ; {
		token, err := decoder.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return errors.New(clip(err.Error()))
		}
		if in, length := decoder.StackIndex(decoder.StackDepth()); in != '{' || length%2 == 0 {
			continue
		}
		for _, member := range members {
			if name := token.String(); name != member && strings.EqualFold(name, member) {
				return fmt.Errorf("%q must be spelled %s", name, member)
			}
		}
	}
}

// document is what can be compared: a [Policy], a [DenyPolicy] or a [Role].
type document interface {
	// meaning is one text for each thing that the document says, and whether that is all it says.
	meaning() (says []string, whole bool)
}

// Equal reports whether two documents are proven to mean the same, whatever the order, repeats, etags, titles, descriptions and
// numbers of their format. False means only that they differ, not that anybody gained or lost access.
func Equal[D document](a, b D) bool {
	before, whole := a.meaning()
	after, wholeToo := b.meaning()
	return whole && wholeToo && slices.Equal(before, after)
}

// Digest stands for what the document means: documents of one digest are [Equal], but for those whose conditions were dropped.
func Digest[D document](d D) string {
	says, whole := d.meaning()
	sum := sha256.Sum256(fmt.Appendf(nil, "%t %q", whole, says))
	return hex.EncodeToString(sum[:])
}

func (p Policy) meaning() (says []string, whole bool) {
	for _, b := range p.Bindings {
		for _, member := range b.Members {
			says = append(says, fmt.Sprintf("%q %q %s", b.Role, fold(member), b.Condition))
		}
	}
	return sorted(says), !p.dropsConditions()
}

func (p DenyPolicy) meaning() (says []string, whole bool) {
	folded := func(principals []string) (list []string) {
		for _, principal := range principals {
			list = append(list, fold(principal))
		}
		return sorted(list)
	}
	for _, r := range p.Rules {
		says = append(says, fmt.Sprintf("%q %q %q %q %s", folded(r.DeniedPrincipals), folded(r.ExceptionPrincipals),
			sorted(r.DeniedPermissions), sorted(r.ExceptionPermissions), r.Condition))
	}
	return sorted(says), true
}

func (r Role) meaning() (says []string, whole bool) {
	for _, p := range r.Permissions {
		says = append(says, string(p))
	}
	return sorted(says), true
}

// dropsConditions reports a text that does not show the conditions that its bindings may have.
func (p Policy) dropsConditions() bool { return p.ConditionsDropped && p.Version != 3 }

// String is the condition quoted, and "always" if there is none.
func (c *Condition) String() string {
	if c == nil {
		return "always"
	}
	return fmt.Sprintf("%q", strings.TrimSpace(c.Expression))
}

func sorted[T cmp.Ordered](list []T) []T { return slices.Compact(slices.Sorted(slices.Values(list))) }
