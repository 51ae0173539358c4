package risk

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
)

var update = flag.Bool("update", false, "rewrite the golden file")

// variants are what makes texts and steps differ.
var variants = []struct {
	name string
	edit func(*Case)
}{
	{"all known", func(*Case) {}},
	{"keyturn's own", own},
	{"keyturn's own, by a deployment", func(c *Case) { own(c); deployed(c) }},
	{"keyturn's own, deployed as disabled", func(c *Case) { own(c); deployed(c); with("state", "DISABLED")(c) }},
	{"no inventory", func(c *Case) { c.NoInventory = true }},
	{"nothing named", func(c *Case) {
		c.Event.Key, c.Event.Identity, c.Event.Issuer, c.Event.Region, c.Event.Account, c.Event.Parameters, c.Keys = "", "", "", "", "", nil, nil
	}},
	{"a folder named", func(c *Case) {
		if aboveKeys(*c) {
			c.Event.Account, c.Event.Parameters = "", map[string]string{"resource": "folders/77"}
		}
	}},
	{"an organization named", func(c *Case) {
		if aboveKeys(*c) {
			c.Event.Account, c.Event.Parameters = "", map[string]string{"resource": "organizations/42"}
		}
	}},
	{"a key ring named", func(c *Case) {
		if aboveKeys(*c) {
			c.Event.Parameters = map[string]string{"resource": "projects/acme-keys/locations/us-east1/keyRings/crdb"}
		}
	}},
	{"no delta", func(c *Case) { c.Event.Delta = "" }},
	{"a binding added", func(c *Case) {
		if OnGoogle(c.Event) {
			c.Event.Delta = `{"bindingDeltas":[{"action":"ADD","role":"roles/owner","member":"user:eve@acme.example","condition":{"expression":"true"}}]}`
		}
	}},
	{"the request omitted", func(c *Case) {
		if OnGoogle(c.Event) {
			with("omitted", "true", "reasons", "", "sink", "")(c)
		}
	}},
	{"no reason allowed", func(c *Case) {
		if OnGoogle(c.Event) {
			with("reasons", "", "justifications", "none")(c)
		}
	}},
	{"no reasons shown", func(c *Case) {
		if OnGoogle(c.Event) {
			with("reasons", "", "justifications", "absent")(c)
		}
	}},
	{"the version is not named", func(c *Case) { c.Event.On = cmek.KeyVersion{} }},
	{"the version reads as disabled", func(c *Case) {
		if OnGoogle(c.Event) {
			c.Key, c.KeyKnown = cmek.Key{State: cmek.KeyEnabled, Version: primary("4"), Versions: []cmek.KeyVersionInfo{{Version: primary("3"), State: cmek.KeyDisabled}}}, true
		}
	}},
	{"the version is the primary one", func(c *Case) {
		if OnGoogle(c.Event) {
			c.Event.Version, c.Key.Version, c.KeyKnown = primary("3"), primary("3"), true
		}
	}},
	{"another version, and nothing is known", func(c *Case) {
		if OnGoogle(c.Event) {
			c.Event.Version, c.Wraps, c.WrapsKnown = primary("4"), nil, false
		}
	}},
	{"an alias named", func(c *Case) {
		if OnGoogle(c.Event) {
			return
		}
		c.Event.Key, c.Event.Parameters = "arn:aws:kms:us-east-1:111122223333:alias/orders", nil
	}},
	{"pinned", func(c *Case) { c.Pinned = true }},
	{"an alias named twice", func(c *Case) {
		if !OnGoogle(c.Event) {
			c.Event.Key = "arn:aws:kms:us-east-1:111122223333:alias/other"
		}
	}},
	{"no previous document", func(c *Case) { c.Effect = nil }},
	{"the key reads as disabled", reads(cmek.KeyDisabled)},
	{"with replicas", with("key_state", "PendingReplicaDeletion")},
	{"a subscription named", with("topic", "", "subscription", "arn:aws:sns:us-east-1:111122223333:keyturn-alerts:0a1b")},
	{"two alarms named", with("alarm", "keyturn-dead,keyturn-slow")},
	{"begun, without an end", func(c *Case) { c.Event.Begun = OnGoogle(c.Event) }},
	{"denied", failed(cmek.FailureDenied)},
	{"unfit", failed(cmek.FailureUnfit)},
	{"missing", failed(cmek.FailureMissing)},
	{"wrong key", failed(cmek.FailureWrongKey)},
	{"request", failed(cmek.FailureRequest)},
	{"passing", failed(cmek.FailurePassing)},
	{"unknown", failed(cmek.FailureUnknown)},
}

// aboveKeys reports whether the change is one of a policy that may stand at any level.
func aboveKeys(c Case) bool {
	return slices.Contains([]cmek.Change{cmek.ChangeInheritedPolicy, cmek.ChangeDenyPolicy, cmek.ChangeAccessBoundary}, c.Event.Change) || call(c.Event) == "UpdateSink" || call(c.Event) == "SetOrgPolicy"
}

// What a person reads who is woken: read testdata aloud before changing it. Each change is shown by every call, and in every
// variant that reads differently, with the lines that differ.
func TestAWS_readsWellAtThreeInTheMorning(t *testing.T) { checkPage(t, "aws") }

func TestGCP_readsWellAtThreeInTheMorning(t *testing.T) { checkPage(t, "gcp") }

// checkPage compares all texts of a cloud with its golden file.
func checkPage(t *testing.T, cloud string) {
	t.Helper()
	var page strings.Builder
	for _, change := range spoken(cloud) {
		row, _ := Of(change)
		fmt.Fprintf(&page, "== %s: %s, %s ==\n", change, row.Entry, row.Runbook())
		var shown []string
		for _, operation := range calls(cloud, change) {
			var known []string
			for _, v := range variants {
				c := full(cloud, change)
				c.Own, c.Event.Source = false, sources[cloud]+operation
				c.Event.Parameters["target"] = "444455556666"
				v.edit(&c)
				if c.Own && row.Kind != Watch && row.Scope != ScopePrincipal {
					continue // nothing else can be keyturn's
				}
				cmektest.CheckSteps(t, row.Steps(c)...)
				lines := append([]string{row.Headline(c) + ".", row.Impact(c)}, row.Steps(c)...)
				if known == nil {
					known = lines
				} else {
					lines = slices.DeleteFunc(lines, func(line string) bool { return slices.Contains(known, line) })
				}
				text := strings.Join(lines, "\n") + "\n"
				if len(lines) > 0 && !slices.Contains(shown, text) {
					shown = append(shown, text)
					fmt.Fprintf(&page, "\n(%s, %s)\n%s", cmp.Or(operation, "without a call"), v.name, text)
				}
			}
		}
		page.WriteString("\n")
	}
	golden := "testdata/" + cloud + ".txt"
	if *update {
		if err := os.WriteFile(golden, []byte(page.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(string(data), "\n")
	for i, line := range strings.Split(page.String(), "\n") {
		if i >= len(want) || line != want[i] {
			t.Fatalf("line %d of %s is\n%s\nwhich differs (go test -update rewrites it)", i+1, golden, line)
		}
	}
	if len(page.String()) != len(data) {
		t.Errorf("%s has more than that (go test -update rewrites it)", golden)
	}
}
