package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/keyturn/keyturn/internal/policy"
)

func TestEqual_tellsMeaningFromSpelling(t *testing.T) {
	base := text(allow("cmek", aws(role), `["kms:Encrypt","kms:Decrypt"]`, when("StringEquals", "kms:ViaService", "x")), allow("root", aws(root), `"kms:*"`))
	variable := func(version string) string {
		return `{` + version + `"Statement":[` + allow("", aws(role), `"kms:*"`, when("StringEquals", "aws:PrincipalTag/k", "${aws:username}")) + `]}`
	}
	for _, tc := range []struct {
		name string
		a, b string
		want bool
	}{
		{"the same", base, base, true},
		{"other names", base, strings.NewReplacer(`"Sid":"cmek"`, `"Sid":"a"`, `"Sid":"root",`, "").Replace(base), true},
		{"the account's id", base, strings.ReplaceAll(base, root, account), true},
		{"the case of actions and condition keys", base, strings.NewReplacer("kms:Encrypt", "KMS:encrypt", "kms:ViaService", "KMS:viaservice").Replace(base), true},
		{"an action twice", base, strings.ReplaceAll(base, `["kms:Encrypt",`, `["kms:Encrypt","kms:encrypt",`), true},
		{"an Id", base, strings.Replace(base, `{"Version"`, `{"Id":"x","Version"`, 1), true},
		{"an older version without variables", base, strings.Replace(base, "2012", "2008", 1), true},
		{"no statement, no list", `{"Statement":[]}`, `{"Version":"2012-10-17","Statement":[]}`, true},
		{"no version is the older one", variable(""), variable(`"Version":"2008-10-17",`), true},

		{"an older version with variables", variable(`"Version":"2012-10-17",`), variable(`"Version":"2008-10-17",`), false},
		{"another effect", base, strings.Replace(base, "Allow", "Deny", 1), false},
		{"another principal", base, strings.Replace(base, role, admin, 1), false},
		{"another kind of principal", text(allow("", `{"Service":"x"}`, `"kms:*"`)), text(allow("", `{"Federated":"x"}`, `"kms:*"`)), false},
		{"one principal less", text(allow("", aws(role, admin), `"kms:*"`)), text(allow("", aws(role), `"kms:*"`)), false},
		{"another action", base, strings.Replace(base, "kms:Encrypt", "kms:Encrypt*", 1), false},
		{"two actions in one text", text(allow("", aws(role), `["kms:A","kms:B"]`)), text(allow("", aws(role), `"kms:A\\nkms:B"`)), false},
		{"NotAction", base, strings.Replace(base, `"Action"`, `"NotAction"`, 1), false},
		{"NotPrincipal", base, strings.Replace(base, `"Principal"`, `"NotPrincipal"`, 1), false},
		{"NotResource", base, strings.Replace(base, `"Resource"`, `"NotResource"`, 1), false},
		{"another resource", base, strings.Replace(base, `"Resource":"*"`, `"Resource":"`+key+`"`, 1), false},
		{"the case of a resource", text(allow("", aws(role), `"kms:*"`, `"Resource":"arn:A"`)), text(allow("", aws(role), `"kms:*"`, `"Resource":"arn:a"`)), false},
		{"another value", base, strings.Replace(base, `"x"`, `"y"`, 1), false},
		{"the case of a value", base, strings.Replace(base, `"x"`, `"X"`, 1), false},
		{"another operator", base, strings.Replace(base, "StringEquals", "StringLike", 1), false},
		{"another condition key", base, strings.Replace(base, "kms:ViaService", "kms:ViaServices", 1), false},
		{"one statement more", base, strings.Replace(base, `"Statement":[`, `"Statement":[`+deny("", aws(admin), `"kms:*"`)+`,`, 1), false},
		{"one statement less", text(allow("", aws(role), `"kms:*"`), allow("", aws(admin), `"kms:*"`)), text(allow("", aws(role), `"kms:*"`)), false},
	} {
		a, b := parse(t, tc.a), parse(t, tc.b)
		if policy.Equal(a, b) != tc.want || policy.Equal(b, a) != tc.want {
			t.Errorf("%s: equal is %t, want %t", tc.name, !tc.want, tc.want)
		}
	}
}

// However a document is spelled, it stays equal; and documents that decide differently are never equal.
func TestEqual_keepsMeaning(t *testing.T) {
	for seed := range seeds(3000) {
		g := generator{rand.New(rand.NewPCG(seed, 4))}
		statements := g.statements()
		before, spelled := doc(t, statements...), parse(t, g.spelled(text(statements...)))
		if !policy.Equal(before, spelled) {
			t.Fatalf("seed %d: another spelling is not equal:\n%+v\n%+v", seed, before, spelled)
		}
		others := slices.Clone(statements)
		for i := range others {
			if g.IntN(3) == 0 {
				others[i] = g.statement(g.pick("Allow", "Deny"))
			}
		}
		after := doc(t, others...)
		if policy.Equal(before, after) && fmt.Sprint(decided(before)) != fmt.Sprint(decided(after)) {
			t.Fatalf("seed %d: equal documents decide differently:\n%v\n%v", seed, statements, others)
		}
		if len(policy.DiffKeyPolicy(before, spelled, key, policy.Role{ARN: role})) > 0 || len(policy.DiffTrust(before, spelled, cluster, org)) > 0 {
			t.Fatalf("seed %d: another spelling gains or loses something", seed)
		}
	}
}

// decided is everything that is decided about a document.
func decided(d policy.Document) []any {
	access, trust := policy.KeyAccess(d, key, policy.Role{ARN: role, AllRead: true}), policy.RoleTrust(d, cluster, org)
	var all []any
	for _, action := range policy.KeyActions {
		all = append(all, access.Verdicts[action].Decision)
	}
	return append(all, trust.Assume.Decision, trust.OK(), len(trust.Others), len(policy.KeyGrants(d, key)))
}

// spelled writes a document in another way that means the same: statements and lists in another order or twice, a list of one as a
// text, actions in another case, white space.
func (g generator) spelled(document string) string {
	var d map[string]any
	if err := json.Unmarshal([]byte(document), &d); err != nil {
		panic(err)
	}
	list := d["Statement"].([]any)
	for _, s := range list {
		statement := s.(map[string]any)
		statement["Sid"] = fmt.Sprint("s", g.IntN(1000))
		for _, element := range []string{"Action", "NotAction", "Resource", "NotResource"} {
			if value, ok := statement[element]; ok {
				statement[element] = g.list(value, strings.HasSuffix(element, "Action"))
			}
		}
		for _, element := range []string{"Principal", "NotPrincipal"} {
			switch principals := statement[element].(type) {
			case string:
				statement[element] = map[string]any{"AWS": "*"}
			case map[string]any:
				for kind, value := range principals {
					principals[kind] = g.list(value, false)
				}
			}
		}
	}
	g.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	if len(list) > 0 && g.IntN(2) == 0 {
		list = append(list, list[0])
	}
	d["Statement"] = list
	if len(list) == 1 && g.IntN(2) == 0 {
		d["Statement"] = list[0]
	}
	out, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	return strings.ReplaceAll(string(out), ",", ", \n\t")
}

func (g generator) list(value any, foldable bool) any {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	list = slices.Clone(list)
	for i, v := range list {
		if s := v.(string); foldable && g.IntN(2) == 0 {
			list[i] = strings.ToUpper(s)
		}
	}
	if g.IntN(2) == 0 {
		list = append(list, list[0])
	}
	g.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	if len(list) == 1 && g.IntN(2) == 0 {
		return list[0]
	}
	return list
}
