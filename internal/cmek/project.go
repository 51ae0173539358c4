package cmek

import (
	"maps"
	"strings"
)

// Project is a project of Google Cloud by both of its names. Neither ever becomes another project's
// (cloud.google.com/resource-manager/docs/creating-managing-projects).
type Project struct {
	ID     string `json:"id"`
	Number string `json:"number"`
}

// Called reports whether the name is the project's id or its number.
func (p Project) Called(name string) bool { return name != "" && (name == p.ID || name == p.Number) }

// Other is the project's other name, "" for a name that is not the project's.
func (p Project) Other(name string) string {
	switch {
	case !p.Called(name):
		return ""
	case name == p.ID:
		return p.Number
	}
	return p.ID
}

// IsProjectNumber reports whether the name of a project is its number. An id begins with a letter.
func IsProjectNumber(name string) bool { return consistsOf(name, 63, digits) }

// In is the key of Cloud KMS with its project under another name; any other key as it is.
func (u KeyURI) In(project string) KeyURI {
	name, err := parseCryptoKey(string(u))
	if u.Type() != GCPCloudKMS || err != nil {
		return u
	}
	return KeyURI("projects/" + project + strings.TrimPrefix(name, "projects/"+u.Account()))
}

// In is the event with the project under its id, wherever it is named by its number.
func (e Event) In(p Project) Event {
	if e.Key.Account() == p.Number {
		e.Key = e.Key.In(p.ID)
	}
	if e.Account == p.Number {
		e.Account = p.ID
	}
	for _, name := range []string{"resource", "key_ring"} {
		rest, ok := strings.CutPrefix(e.Parameters[name], "projects/"+p.Number)
		if ok && (rest == "" || rest[0] == '/') {
			e.Parameters = maps.Clone(e.Parameters)
			e.Parameters[name] = "projects/" + p.ID + rest
		}
	}
	return e
}
