package policy

import (
	"fmt"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ParseRole reads a role's policies as keyturn writes them down: an object of "inline" and "attached" documents and a
// "boundary", each by name or ARN. The result holds all policies of the role, so that the lack of an Allow is an answer.
func ParseRole(arn, text string) (Role, error) {
	var written struct {
		Inline   map[string]jsontext.Value `json:"inline"`
		Attached map[string]jsontext.Value `json:"attached"`
		Boundary map[string]jsontext.Value `json:"boundary"`
	}
	if err := json.Unmarshal([]byte(text), &written); err != nil {
		return Role{}, fmt.Errorf("read policies of role %s: %w", arn, err)
	}
	role := Role{ARN: arn, AllRead: true}
	for _, documents := range []map[string]jsontext.Value{written.Inline, written.Attached} {
		for _, name := range slices.Sorted(maps.Keys(documents)) {
			document, err := Parse(string(documents[name]))
			if err != nil {
				return Role{}, fmt.Errorf("policy %q of role %s: %w", name, arn, err)
			}
			role.Policies = append(role.Policies, document)
		}
	}
	role.Attached = slices.Sorted(maps.Keys(written.Attached))
	for name, value := range written.Boundary {
		document, err := Parse(string(value))
		if err != nil {
			return Role{}, fmt.Errorf("boundary %q of role %s: %w", name, arn, err)
		}
		role.Boundary, role.BoundaryARN = &document, name
	}
	return role, nil
}
