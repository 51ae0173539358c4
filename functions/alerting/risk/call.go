package risk

import (
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// KindOf is the kind of a change.
func KindOf(change cmek.Change) Kind {
	row, _ := Of(change)
	return row.Kind
}

// Adds reports whether a call puts a document where it decides, and does not take one away.
func Adds(e cmek.Event) bool {
	for _, verb := range []string{"Attach", "Put", "Create", "Set"} {
		if strings.HasPrefix(call(e), verb) {
			return true
		}
	}
	return false
}

// Dormant reports whether a call made a version of a managed policy that is not the default one, and so is not in force: IAM makes
// it the default only if the call asks for it (docs.aws.amazon.com/IAM/latest/APIReference/API_CreatePolicyVersion.html). A call
// whose parameters CloudTrail left out may have asked for it.
func Dormant(e cmek.Event) bool {
	return call(e) == "CreatePolicyVersion" && e.Policy != "" && e.Parameters["omitted"] == "" && e.Parameters["set_as_default"] != "true"
}

// Denies reports whether an event set a policy that takes access away whatever others grant, beside those.
func Denies(e cmek.Event) bool { return e.Change == cmek.ChangeDenyPolicy }

// Bounds reports whether an event changed which resources principals are eligible for, whatever policies grant: no document that can be read
// is what it set.
func Bounds(e cmek.Event) bool { return e.Change == cmek.ChangeAccessBoundary }

// Creates reports whether the call of an event created what it is about.
func Creates(e cmek.Event) bool { return strings.HasPrefix(call(e), "Create") }

// Deletes reports whether the call of an event deleted what it is about.
func Deletes(e cmek.Event) bool { return strings.HasPrefix(call(e), "Delete") }
