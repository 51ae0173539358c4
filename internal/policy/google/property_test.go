package google_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/keyturn/keyturn/internal/policy"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// part is a text of a document with what it means for the account, from the tables of these tests.
type part struct {
	text  string
	means policy.Decision
}

// generator makes random documents out of the parts that matter to a decision.
type generator struct{ *rand.Rand }

func (g generator) from(table map[string]policy.Decision) part {
	texts := slices.Sorted(maps.Keys(table))
	text := texts[g.IntN(len(texts))]
	return part{text, table[text]}
}

// seeds is how many random documents a property is tried on: a tenth of n in a short run.
func seeds(n uint64) uint64 {
	if testing.Short() {
		return n / 10
	}
	return n
}

var decryptingRoles = map[string]policy.Decision{use: allowed, "roles/owner": allowed, own: allowed, "roles/cloudkms.cryptoKeyEncrypter": denied,
	"roles/editor": denied, "roles/logging.viewer": denied, other: cannotTell, "roles/new": cannotTell, use + "_withcond_1": allowed}

var deniedPermissions = map[string]policy.Decision{"cloudkms.googleapis.com/cryptoKeyVersions.useToDecrypt": allowed, "cloudkms.googleapis.com/*.*": allowed,
	"cloudkms.googleapis.com/cryptoKeys.*": denied, "cloudkms.googleapis.com/*": cannotTell, "iam.googleapis.com/*.*": denied}

var someConditions = map[string]policy.Decision{"": allowed, "true": allowed, "false": denied, `resource.matchTag("9/env", "x")`: cannotTell,
	`request.time < timestamp("2027-01-01T00:00:00Z")`: allowed, `resource.name.startsWith("projects/other/")`: denied}

// model is a hierarchy as a list of parts, level by level; a nil list of bindings or rules was not read.
type model struct {
	bindings [][]modelBinding
	rules    [][]modelRule // of the project, the folder and the organization
	parents  bool
}

type modelBinding struct {
	role, condition part
	members         []part
}

type modelRule struct {
	denied, excepted, permissions, exceptPermissions []part
	condition                                        part
}

var levels = []string{key, ring, project, folder, organization}

func (g generator) model() model {
	m := model{parents: g.IntN(6) > 0}
	for range levels {
		var list []modelBinding
		if g.IntN(5) > 0 {
			list = []modelBinding{}
			for range g.IntN(3) {
				list = append(list, g.binding())
			}
		}
		m.bindings = append(m.bindings, list)
	}
	for range levels[2:] {
		var list []modelRule
		if g.IntN(6) > 0 {
			list = []modelRule{}
			for range g.IntN(2) {
				list = append(list, g.rule())
			}
		}
		m.rules = append(m.rules, list)
	}
	return m
}

func (g generator) binding() modelBinding {
	b := modelBinding{role: g.from(decryptingRoles), condition: g.from(someConditions)}
	for range 1 + g.IntN(2) {
		b.members = append(b.members, g.from(identifiers))
	}
	return b
}

func (g generator) rule() modelRule {
	r := modelRule{denied: []part{g.from(denyIdentifiers)}, permissions: []part{g.from(deniedPermissions)}, condition: g.from(someConditions)}
	if g.IntN(2) == 0 {
		r.excepted = []part{g.from(denyIdentifiers)}
	}
	if g.IntN(3) == 0 {
		r.exceptPermissions = []part{g.from(deniedPermissions)}
	}
	return r
}

// documents writes the model down.
func (m model) documents(t testing.TB) google.Documents {
	d := google.Documents{Policies: map[string]google.Policy{}, Denies: map[string][]google.DenyPolicy{}, Roles: everything().Roles, Boundaries: everything().Boundaries, Parents: map[string][]string{}}
	if m.parents {
		d.Parents[project] = levels[3:]
	}
	for i, bindings := range m.bindings {
		if bindings != nil {
			d.Policies[levels[i]] = allow(t, texts(bindings)...)
		}
	}
	for i, rules := range m.rules {
		if rules != nil {
			d.Denies[levels[i+2]] = []google.DenyPolicy{deny(t, texts(rules)...)}
		}
	}
	return d
}

func texts[T fmt.Stringer](list []T) (all []string) {
	for _, one := range list {
		all = append(all, one.String())
	}
	return all
}

func words(parts []part) (all string) {
	for _, p := range parts {
		all += p.text + " "
	}
	return all
}

func (b modelBinding) String() string {
	if b.condition.text == "" {
		return bind(b.role.text, words(b.members))
	}
	return bind(b.role.text, words(b.members), b.condition.text)
}

func (r modelRule) String() string {
	args := []string{words(r.denied), words(r.excepted), words(r.permissions), words(r.exceptPermissions)}
	if r.condition.text == "" {
		return rule(args[0], args[1], args[2], args[3])
	}
	return rule(args[0], args[1], args[2], args[3], r.condition.text)
}

// world answers each thing that is not known with yes or no, one after the other.
type world struct {
	answers uint
	asked   int
}

func (w *world) is(d policy.Decision) bool {
	if d == cannotTell {
		w.asked++
		return w.answers>>(w.asked-1)&1 == 1
	}
	return d == allowed
}

// mayDecrypt evaluates the model in one world, where everything is known. It asks the same questions in every world, in the same
// order. What is above a project that is not known, and what was not read, is one question each.
func (m model) mayDecrypt(w *world) bool {
	granted, refused := false, false
	above := m.bindings
	if !m.parents {
		above = above[:3]
	}
	for _, bindings := range above {
		if bindings == nil && w.is(cannotTell) {
			granted = true
		}
		for _, b := range bindings {
			has, met, in := w.is(b.role.means), w.is(b.condition.means), false
			if b.condition.text == "" && b.role.text == use+"_withcond_1" {
				met = w.is(cannotTell)
			}
			for _, member := range b.members {
				if w.is(member.means) {
					in = true
				}
			}
			if has && met && in {
				granted = true
			}
		}
	}
	rules := m.rules
	if !m.parents {
		rules = rules[:1]
		granted, refused = w.is(cannotTell) || granted, w.is(cannotTell) || refused
	}
	for _, list := range rules {
		if list == nil && w.is(cannotTell) {
			refused = true
		}
		for _, r := range list {
			in, out, named, spared := false, false, false, false
			for _, p := range r.denied {
				in = w.is(p.means) || in
			}
			for _, p := range r.excepted {
				out = w.is(p.means) || out
			}
			for _, p := range r.permissions {
				named = w.is(p.means) || named
			}
			for _, p := range r.exceptPermissions {
				spared = w.is(p.means) || spared
			}
			if met := w.is(r.condition.means); met && in && !out && named && !spared {
				refused = true
			}
		}
	}
	return granted && !refused
}

// The evaluator is certain exactly where all worlds agree.
func TestEveryWorldAgreesWithWhatIsCertain(t *testing.T) {
	decisions := map[policy.Decision]int{}
	for seed := range seeds(3000) {
		g := generator{rand.New(rand.NewPCG(seed, 0))}
		m := g.model()
		var count world
		m.mayDecrypt(&count)
		if count.asked > 9 {
			continue
		}
		seen := map[bool]bool{}
		for answers := range uint(1) << count.asked {
			seen[m.mayDecrypt(&world{answers: answers})] = true
		}
		want := cannotTell
		if len(seen) == 1 {
			want = map[bool]policy.Decision{true: allowed, false: denied}[seen[true]]
		}
		v := decrypt(m.documents(t))
		if v.Decision != want {
			t.Fatalf("seed %d: %s (%s %v), but the worlds say %s of\n%+v", seed, v.Decision, v.Why, v.Missing, want, m)
		}
		if (want == cannotTell) != (len(v.Missing) > 0) || want != cannotTell && v.ByRead != want {
			t.Fatalf("seed %d: %s with missing %v, by what was read %s", seed, want, v.Missing, v.ByRead)
		}
		decisions[want]++
	}
	for _, d := range []policy.Decision{allowed, denied, cannotTell} {
		if decisions[d] == 0 {
			t.Errorf("none of the documents leads to %q", d)
		}
	}
}

// worth orders decisions by how much access they are.
func worth(d policy.Decision) int {
	return slices.Index([]policy.Decision{denied, cannotTell, allowed}, d)
}

func TestLessReadIsNeverMoreCertain(t *testing.T) {
	for seed := range seeds(1500) {
		g := generator{rand.New(rand.NewPCG(seed, 1))}
		d := g.model().documents(t)
		was := decrypt(d)
		name := []string{key, ring, project, folder, organization, own, "parents", "denies of " + project, "denies of " + folder, "denies of " + organization}[g.IntN(10)]
		is := decrypt(without(d, name))
		if is.Decision != cannotTell && is.Decision != was.Decision {
			t.Fatalf("seed %d: without %s, %s became %s: %s", seed, name, was.Decision, is.Decision, is.Why)
		}
	}
}

func TestDenyNeverGivesAccessAndAllowNeverTakesIt(t *testing.T) {
	for seed := range seeds(1500) {
		g := generator{rand.New(rand.NewPCG(seed, 2))}
		m := g.model()
		was := decrypt(m.documents(t))
		level := g.IntN(len(levels))
		if g.IntN(2) == 0 && m.bindings[level] != nil {
			m.bindings[level] = slices.Insert(slices.Clone(m.bindings[level]), g.IntN(len(m.bindings[level])+1), g.binding())
			if is := decrypt(m.documents(t)); worth(is.Decision) < worth(was.Decision) || worth(is.ByRead) < worth(was.ByRead) {
				t.Fatalf("seed %d: one more binding turned %s into %s", seed, was.Decision, is.Decision)
			}
		} else if level > 1 && m.rules[level-2] != nil {
			m.rules[level-2] = append(slices.Clone(m.rules[level-2]), g.rule())
			if is := decrypt(m.documents(t)); worth(is.Decision) > worth(was.Decision) || worth(is.ByRead) > worth(was.ByRead) {
				t.Fatalf("seed %d: one more rule turned %s into %s", seed, was.Decision, is.Decision)
			}
		}
	}
}

// Documents that mean the same have no difference, whatever the order and the spelling.
func TestEqualDocumentsHaveNoDifference(t *testing.T) {
	for seed := range seeds(1500) {
		g := generator{rand.New(rand.NewPCG(seed, 3))}
		m := g.model()
		before := m.documents(t)
		for i, bindings := range m.bindings {
			if len(bindings) > 0 {
				again := append(slices.Clone(bindings), bindings[g.IntN(len(bindings))])
				g.Shuffle(len(again), func(a, b int) { again[a], again[b] = again[b], again[a] })
				for j := range again {
					again[j].members = slices.Clone(again[j].members)
					slices.Reverse(again[j].members)
				}
				m.bindings[i] = again
			}
		}
		for _, rules := range m.rules {
			slices.Reverse(rules)
		}
		after := m.documents(t)
		for _, level := range levels {
			if !google.Equal(before.Policies[level], after.Policies[level]) {
				t.Fatalf("seed %d: the policies of %s are not equal", seed, level)
			}
		}
		expectSentences(t, google.DiffKey(before, after, key, at, user))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// A loss by a certain decision is named, and so is a gain.
func TestDifferencesOfTheAccountAreNamed(t *testing.T) {
	for seed := range seeds(1000) {
		g := generator{rand.New(rand.NewPCG(seed, 4))}
		before, after := g.model().documents(t), g.model().documents(t)
		was, is := google.KeyAccess(before, key, user, at), google.KeyAccess(after, key, user, at)
		same := true
		for _, p := range google.KeyPermissions {
			same = same && was.Verdicts[p].Decision == is.Verdicts[p].Decision && was.Verdicts[p].ByRead == is.Verdicts[p].ByRead
		}
		if same != (len(google.DiffAccess(was, is)) == 0) {
			t.Fatalf("seed %d: from %v to %v is said to be %q", seed, was, is, google.DiffAccess(was, is))
		}
	}
}

func FuzzParse(f *testing.F) {
	for seed := range uint64(20) {
		g := generator{rand.New(rand.NewPCG(seed, 5))}
		f.Add(`{"bindings":[` + g.binding().String() + `]}`)
		f.Add(`{"name":"x","rules":[` + g.rule().String() + `]}`)
	}
	f.Add(`{"name":"x","includedPermissions":["y"],"etag":"z","version":3}`)
	f.Add(`{"etag":"x","bindings":[{"role":"","members":[":","deleted:","@","principal://","serviceAccount:["],"condition":{"expression":"(!-[x.y(]"}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		d := everything()
		if p, err := google.ParsePolicy(text); err == nil {
			d = d.With(key, p)
			if !google.Equal(p, p) {
				t.Error("a policy is not equal to itself")
			}
		} else if len(p.Bindings) > 0 || len(err.Error()) > 1000 {
			t.Errorf("the error %.200q comes with %d bindings", err, len(p.Bindings))
		}
		if p, err := google.ParseDenyPolicy(text); err == nil {
			d = d.WithDenies(project, p)
		}
		if r, err := google.ParseRole(text); err == nil {
			d = d.WithRole(r)
		}
		google.KeyAccess(d, key, user, at).Sentences()
		google.ActAs(d, user, vendor, at).Sentences()
		google.Outsiders(google.KeyGrants(d, key, at), "example.com")
		google.DiffKey(everything(), d, key, at, user)
		google.DiffKey(d, everything(), key, at)
	})
}
