package planned_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/functions/compliance/planned"
	"github.com/keyturn/keyturn/internal/cmek"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// object are the attributes of a resource.
type object = map[string]any

// resource is a change as "terraform show -json" writes it.
type resource struct {
	address       string
	actions       []string // those that before and after make, if it has none
	before, after object
	unknown       object
	more          object // further members of the change
}

// with is a copy of attributes with other values. nil takes one away.
func with(attributes object, changed object) object {
	all := maps.Clone(attributes)
	maps.Copy(all, changed)
	return all
}

func (r resource) json() object {
	actions := r.actions
	switch {
	case actions != nil:
	case r.before == nil:
		actions = []string{"create"}
	case r.after == nil:
		actions = []string{"delete"}
	case equal(r.before, r.after) && r.unknown == nil:
		actions = []string{"no-op"}
	default:
		actions = []string{"update"}
	}
	typ, name, _ := strings.Cut(r.address, ".")
	unknown := r.unknown
	if unknown == nil {
		unknown = object{}
	}
	c := object{"address": r.address, "mode": "managed", "type": typ, "name": name,
		"change": object{"actions": actions, "before": r.before, "after": r.after, "after_unknown": unknown, "before_sensitive": object{}, "after_sensitive": object{}}}
	maps.Copy(c, r.more)
	return c
}

func equal(a, b object) bool {
	one, _ := json.Marshal(a)
	two, _ := json.Marshal(b)
	return string(one) == string(two)
}

// planOf is a plan of the changes, without configuration.
func planOf(changes ...resource) []byte {
	list := []any{}
	for _, c := range changes {
		list = append(list, c.json())
	}
	data, err := json.Marshal(object{"format_version": "1.2", "terraform_version": "1.11.4", "planned_values": object{"root_module": object{}}, "resource_changes": list})
	if err != nil {
		panic(err)
	}
	return data
}

func judge(t *testing.T, data []byte, known planned.Known) planned.Report {
	t.Helper()
	p, err := planned.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	known.Now = now
	return planned.Judge(p, known)
}

func fixture(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// said is a report in short: "FAIL cuts off ADDRESS".
func said(r planned.Report) (lines []string) {
	for _, f := range r.Findings {
		lines = append(lines, string(f.Result)+" "+string(f.Question)+" "+f.Address)
	}
	return slices.Compact(lines)
}

// row is a change and what is said about it.
type row struct {
	name    string
	changes []resource
	known   planned.Known
	want    []string
}

func tryRows(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			report := judge(t, planOf(r.changes...), r.known)
			if got := said(report); !slices.Equal(got, r.want) {
				t.Errorf("got  %q\nwant %q", got, r.want)
				for _, f := range report.Findings {
					t.Log(f.Address, f.Question, f.Why)
				}
			}
			for _, f := range report.Findings {
				if f.Why == "" || f.Severity == "" {
					t.Errorf("%+v says not why, or how bad it is", f)
				}
			}
		})
	}
}

// inventory is one with a use of the key.
func inventory(key, principal, account string) planned.Known {
	uri := cmek.KeyURI(key)
	u := planned.Use{CloudAccount: account}
	u.Use = checks.Use{ClusterID: "7c1d9e20-3a4b-4c5d-8e6f-000000000003", ClusterName: "orders", Region: "us-east-1",
		Spec: cmek.KeySpec{Type: uri.Type(), URI: uri, AuthPrincipal: cmek.Principal(principal)}, Status: cmek.Enabled}
	return planned.Known{Inventory: &planned.Inventory{Uses: []planned.Use{u}}}
}

// reading is what is known, with the key as it was read.
func reading(known planned.Known, key checks.Key) planned.Known {
	known.Keys = map[cmek.KeyURI]checks.Key{key.URI: key}
	return known
}

// What may have been read of a key that no cluster names: nothing ties it to one; the ledger knows it; not all clusters were read; and it is the
// primary key of one that a cluster uses.
var unrelated, tied, partly, primary = withoutUses(nil), withoutUses(func(k *checks.Key) { k.Ties.Value = []string{"the ledger knows it of cluster old"} }),
	withoutUses(func(k *checks.Key) {
		k.Uses = checks.Unread[[]checks.Use]("x", "the keys of cluster x are not known", "")
	}),
	withoutUses(func(k *checks.Key) {
		replica := cmek.KeyURI(strings.Replace(keyARN, "us-east-1", "eu-west-1", 1))
		k.Uses.Value = []checks.Use{{ClusterID: "c", ClusterName: "orders", Region: "eu-west-1", Status: cmek.Enabled, Spec: cmek.KeySpec{Type: cmek.AWSKMS, URI: replica}}}
		d := checks.Description{}
		d.State, d.Primary, d.Replicas = cmek.KeyEnabled, keyARN, []cmek.KeyURI{replica}
		k.Description = checks.Known(d, now, "x")
	})

// ofGoogle is the same of a key of Cloud KMS.
func ofGoogle(k checks.Key) checks.Key {
	k.URI = keyName
	return k
}

func withoutUses(change func(*checks.Key)) checks.Key {
	k := checks.Key{URI: keyARN, Uses: checks.Known[[]checks.Use](nil, now, "x"), Ties: checks.Known[[]string](nil, now, "x")}
	if change != nil {
		change(&k)
	}
	return k
}

func text(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func decode(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}
