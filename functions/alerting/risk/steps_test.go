package risk

import (
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/alert"
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

// A project is called by its id where the event has both, as it is in commands.
func TestSubject_callsAProjectByItsID(t *testing.T) {
	for _, row := range []struct{ resource, account, want string }{
		{"projects/123456789012", "acme-keys", "Project acme-keys"}, {"projects/123456789012", "", "Project 123456789012"}, {"projects/acme-keys", "acme-keys", "Project acme-keys"},
		{"", "acme-keys", "Project acme-keys"}, {"folders/77", "", "Folder 77"}, {"organizations/42", "", "Organization 42"}, {"billingAccounts/0A-1", "", "Billing account 0A-1"},
		{"projects/acme-keys/locations/us-east1/keyRings/crdb", "acme-keys", "Key ring crdb"},
	} {
		c := Case{Event: cmek.Event{Account: row.account, Parameters: map[string]string{"resource": row.resource}}}
		if got := gcpNode(c); got != row.want {
			t.Errorf("%q in %q is called %q, want %q", row.resource, row.account, got, row.want)
		}
	}
}

// What was lost of the use of keys is shown first, however much else a call changed. A deleted principal can be given nothing.
func TestSteps_orderOfBindings(t *testing.T) {
	binding := func(action, role, member string) string {
		return `{"action":"` + action + `","role":"` + role + `","member":"` + member + `"}`
	}
	const lost, key, eve = "serviceAccount:crdb-cmek@acme-keys.iam.gserviceaccount.com", "roles/cloudkms.cryptoKeyEncrypterDecrypter", "user:eve@acme.example"
	const gone = "deleted:serviceAccount:old@acme-keys.iam.gserviceaccount.com?uid=1"
	noise := strings.Repeat(binding("ADD", "roles/viewer", "user:ana@acme.example")+",", 8)
	for name, row := range map[string]struct{ deltas, first, no string }{
		"behind much that was added":      {noise + binding("REMOVE", key, lost), "add-iam-policy-binding payments --member " + lost, ""},
		"behind others that were removed": {strings.ReplaceAll(noise, "ADD", "REMOVE") + binding("REMOVE", key, lost), "add-iam-policy-binding payments --member " + lost, ""},
		"a custom role":                   {noise + binding("REMOVE", "projects/acme-keys/roles/use", lost), "add-iam-policy-binding payments --member " + lost, ""},
		"what was given of keys":          {noise + binding("ADD", key, eve), "remove-iam-policy-binding payments --member " + eve, ""},
		"lost goes before given":          {binding("ADD", key, eve) + "," + binding("REMOVE", "roles/viewer", lost), "add-iam-policy-binding payments --member " + lost, ""},
		"a deleted principal beside it":   {binding("REMOVE", key, gone) + "," + binding("REMOVE", key, lost), "add-iam-policy-binding payments --member " + lost, "deleted:"},
		"deleted principals only":         {binding("REMOVE", key, gone), "", "iam-policy-binding"},
	} {
		c := of(cmek.ChangeKeyPolicy, about(cryptoKey), onCloud("gcp"), func(c *Case) { c.Event.Delta = `{"bindingDeltas":[` + row.deltas + `]}` })
		r, _ := Of(c.Event.Change)
		steps := r.Steps(c)
		first := slices.IndexFunc(steps, func(s string) bool { return strings.Contains(s, "iam-policy-binding") })
		if row.first == "" {
			if first >= 0 || !strings.Contains(strings.Join(steps, "\n"), "nothing to undo") {
				t.Errorf("%s: the steps are\n%s", name, strings.Join(steps, "\n"))
			}
			continue
		}
		if first < 0 || !strings.Contains(steps[first], row.first) || row.no != "" && strings.Contains(strings.Join(steps, "\n"), row.no) {
			t.Errorf("%s: the first command must have %q, and none %q:\n%s", name, row.first, row.no, strings.Join(steps, "\n"))
		}
	}
}

// A policy of keyturn's own parts that only gave is less urgent than one that may have taken something away.
func TestRate_policyOfAnOwnPart(t *testing.T) {
	const add, remove = `{"action":"ADD","role":"roles/pubsub.publisher","member":"user:eve@acme.example"}`, `{"action":"REMOVE","role":"roles/pubsub.publisher","member":"user:ana@acme.example"}`
	for _, row := range []struct {
		call, delta string
		want        alert.Severity
	}{
		{"SetIamPolicy", `{"bindingDeltas":[` + add + `]}`, alert.High}, {"SetIamPolicy", `{"bindingDeltas":[` + add + `,` + remove + `]}`, alert.Critical},
		{"SetIamPolicy", `{"bindingDeltas":[` + remove + `]}`, alert.Critical}, {"SetIamPolicy", `{"bindingDeltas":[]}`, alert.Critical}, {"SetIamPolicy", "", alert.Critical},
		{"SetIamPolicy", `{"bindingDeltas":[{}]}`, alert.Critical}, {"UpdateTopic", `{"bindingDeltas":[` + add + `]}`, alert.Critical},
	} {
		for _, change := range []cmek.Change{cmek.ChangeAlertTopic, cmek.ChangeFunction} {
			c := of(change, about(""), onCloud("gcp"), func(c *Case) { c.Event.Source, c.Event.Delta, c.Own = sources["gcp"]+row.call, row.delta, true })
			r, _ := Of(change)
			if got := r.Rate(c); got != row.want {
				t.Errorf("%s by %s with %s is %s, want %s", change, row.call, row.delta, got, row.want)
			}
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
