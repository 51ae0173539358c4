package risk

import (
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

// A role is made again with the path that the clusters name, and with what was noted of it.
func TestSteps_ofADeletedRole(t *testing.T) {
	const unread = "Give the role the policies and the permissions boundary that it had; keyturn has not read them."
	noted := `{"inline":{"use-key":{"Version":"2012-10-17","Statement":[]}},"attached":{"arn:aws:iam::aws:policy/ReadOnlyAccess":{}},"boundary":{"arn:aws:iam::111122223333:policy/limit":{}}}`
	for _, row := range []struct {
		name   string
		effect *Effect
		want   []string
		no     string
	}{
		{"a path, and its policies", &Effect{Role: "arn:aws:iam::111122223333:role/team/db/crdb-cmek", Permissions: noted}, []string{
			" --path /team/db/", "aws iam put-role-policy --role-name crdb-cmek --policy-name use-key --policy-document file://role-policy.json",
			"aws iam attach-role-policy --role-name crdb-cmek --policy-arn arn:aws:iam::aws:policy/ReadOnlyAccess",
			"aws iam put-role-permissions-boundary --role-name crdb-cmek --permissions-boundary arn:aws:iam::111122223333:policy/limit"}, unread},
		{"no path", &Effect{Role: role, Permissions: noted}, []string{"aws iam put-role-policy"}, "--path"},
		{"a path of one part", &Effect{Role: "arn:aws:iam::111122223333:role/x/crdb-cmek"}, []string{" --path /x/", unread}, "put-role-policy"},
		{"nothing was noted", &Effect{Role: role}, []string{unread}, "--path"},
		{"what was noted is garbled", &Effect{Role: role, Permissions: "{"}, []string{unread}, "put-role-policy"},
		{"the effect is not known", nil, []string{unread}, "--path"},
	} {
		c := of(cmek.ChangePrincipalDeleted, about(""), named("DeleteRole"), func(c *Case) { c.Event.Identity, c.Effect = role, row.effect })
		r, _ := Of(c.Event.Change)
		steps := strings.Join(r.Steps(c), "\n")
		for _, want := range row.want {
			if !strings.Contains(steps, want) {
				t.Errorf("%s: the steps have no %q:\n%s", row.name, want, steps)
			}
		}
		if strings.Contains(steps, row.no) {
			t.Errorf("%s: the steps have %q:\n%s", row.name, row.no, steps)
		}
	}
}

// The bindings that an entry names are undone one by one, five at most; without them the steps say how to find what changed.
func TestSteps_ofBindings(t *testing.T) {
	const compare = "Compare the policy with the one before"
	one := `{"action":"REMOVE","role":"roles/viewer","member":"user:ana@acme.example"}`
	many := func(n int) string {
		return `{"bindingDeltas":[` + strings.Join(slices.Repeat([]string{one}, n), ",") + `]}`
	}
	for delta, row := range map[string]struct {
		commands int
		want, no string
	}{
		"": {0, compare, "more changed bindings"}, `{"bindingDeltas":[]}`: {0, compare, "more changed"}, `{"bindingDeltas":[` + one + `,{"action":7}]}`: {0, compare, "more changed"},
		many(1): {1, "add it again", compare}, many(5): {5, "add it again", "more changed"}, many(6): {5, "The entry has 1 more changed bindings", compare}, many(7): {5, "The entry has 2 more", compare},
		strings.Replace(many(1), "REMOVE", "ADD", 1): {1, "remove-iam-policy-binding", compare},
	} {
		c := of(cmek.ChangeKeyPolicy, about(cryptoKey), onCloud("gcp"), func(c *Case) { c.Event.Delta = delta })
		r, _ := Of(c.Event.Change)
		steps := strings.Join(r.Steps(c), "\n")
		n := strings.Count(steps, "--member user:ana@acme.example --role roles/viewer")
		if n != row.commands || !strings.Contains(steps, row.want) || strings.Contains(steps, row.no) {
			t.Errorf("after %.200s the steps are\n%s\nwith %d commands, want %d, %q and no %q", delta, steps, n, row.commands, row.want, row.no)
		}
	}
}

func TestGCP_whatTheStepsName(t *testing.T) {
	for _, row := range []struct{ account, resource, want string }{
		{"acme-keys", "projects/123", "acme-keys"}, {"", "projects/acme-keys", "acme-keys"}, {"", "projects/acme-keys/roles/x", ""}, {"", "folders/77", ""}, {"", "", ""},
	} {
		if got := gcpProject(of(cmek.ChangeDenyPolicy, with("resource", row.resource), func(c *Case) { c.Event.Account = row.account })); got != row.want {
			t.Errorf("the project of %+v is %q", row, got)
		}
	}
	for key, want := range map[cmek.KeyURI]string{cryptoKey: "crdb", "//cloudkms.googleapis.com/" + cryptoKey + "/cryptoKeyVersions/3": "crdb", key: "", "": "", "projects/acme-keys": ""} {
		if got := gcpRing(key); got != want {
			t.Errorf("the ring of %s is %q", key, got)
		}
	}
}

// A document is pasted on one line, and shows every character.
func TestCompact(t *testing.T) {
	for document, want := range map[string]string{
		"{\n \"a\": [1, 2]\n}": `{"a":[1,2]}`, `{"a":"ü x"}`: `{"a":"ü x"}`, "{\"a\":\"\u202e\"}": `{"a":"\u202e"}`, "{\"a\":\"\ufffd\"}": `{"a":"\ufffd"}`,
		"{\"a\":\"\U000e0001\"}": `{"a":"\udb40\udc01"}`, "no json ": "no json ", "": "",
	} {
		if got := compact(document); got != want {
			t.Errorf("%q is %q, want %q", document, got, want)
		}
	}
}

func TestClip(t *testing.T) {
	for text, want := range map[string]string{
		"": "", strings.Repeat("a", 300): strings.Repeat("a", 300), strings.Repeat("a", 301): strings.Repeat("a", 300) + "…", strings.Repeat("a", 299) + "ü": strings.Repeat("a", 299) + "…",
	} {
		if got := clip(text); got != want {
			t.Errorf("%d bytes are cut to %d, want %d", len(text), len(got), len(want))
		}
	}
}
