package deployment_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/amazon"
)

// lean is the least that is a deployment; its lines have the fields of the same number of words before them.
const lean = `hub: {account: "111122223333", region: eu-west-1}
cockroachdb: {organization_id: 5f3c1f0e-58c2-4d2a-9a3e-0c1b9a7d2e41}
accounts:
  - id: "111122223333"
    keys: ["arn:aws:kms:us-west-2:111122223333:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a11"]
alerts: {email: [a@example.com]}
operations: {sms: ["+15550100123"]}
`

// problemsOf are the problems of a file, each as LINE: FIELD: MESSAGE.
func problemsOf(t *testing.T, file string) (found []string) {
	t.Helper()
	_, err := deployment.Parse([]byte(file))
	var problems deployment.Problems
	if err != nil && !errors.As(err, &problems) {
		t.Fatalf("the error is %T %[1]v, want problems", err)
	}
	for _, p := range problems {
		found = append(found, fmt.Sprintf("%d: %s: %s", p.Line, p.Field, p.Message))
	}
	return found
}

func TestEachProblemHasItsLineFieldAndFix(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		want           []string // beginnings, all of them, in order
	}{
		{"a near field", "alerts: {email", "alerts: {emial", []string{`6: alerts.emial: alerts.emial is no field: did you mean email?`, `6: alerts: alerts is missing`}},
		{"a far field", "hub: {", "hub: {hue: red, ", []string{`1: hub.hue: hub.hue is no field: write one of account, region`}},
		{"a field twice", "hub: {", "hub: {region: us-east-1, ", []string{`1: hub.region: hub.region is there twice; remove one`}},
		{"a text for a list", "[a@example.com]", "a@example.com", []string{`6: alerts.email: alerts.email is "a@example.com"; write a list`}},
		{"a text for a mapping", `{email: [a@example.com]}`, "a@example.com", []string{`6: alerts: alerts is "a@example.com"; write its fields below it`}},
		{"a list for a text", "region: eu-west-1", "region: [eu-west-1]", []string{`1: hub.region: hub.region is a list; write one text`}},
		{"a mapping for a list", "{email: [a@example.com]}", "{email: {a: b}}", []string{`6: alerts.email: alerts.email is a mapping; write a list`}},
		{"a word for a number", "alerts:", "log_days: many\nalerts:", []string{`6: log_days: log_days is "many"; write a whole number`}},
		{"a fraction for a number", "alerts:", "log_days: 1.5\nalerts:", []string{`6: log_days: log_days is "1.5"; write a whole number`}},
		{"a word for a truth", "alerts:", "repair: yes\nalerts:", []string{`6: repair: repair is "yes"; write true or false`}},
		{"a line further down", "  - id:", "  - id: \"2\"\n    roles:\n      - arn:aws:iam::2:role/x\n  - id:", []string{
			`4: accounts[0].id: accounts[0].id is "2": write the account's 12 digits`,
			`6: accounts[0].roles[0]: accounts[0].roles[0] is "arn:aws:iam::2:role/x": write a role's ARN`,
		}},
		{"what is missing, where it should be", `account: "111122223333", `, "", []string{`1: hub.account: hub.account is missing`}},
		{"an alias", "region: eu-west-1", "region: *nowhere", []string{`1: hub.region: hub.region is "*nowhere"; write an alias of an anchor`}},
		{"a setting", "alerts:", "settings:\n  KEYTURN_SETTLE: soon\n  KEYTURN_FOO: x\nalerts:", []string{
			`7: settings.KEYTURN_SETTLE: settings: KEYTURN_SETTLE is "soon"; want a duration`, `8: settings.KEYTURN_FOO: settings is "KEYTURN_FOO": write one of`}},
		{"a Region that there is not", "region: eu-west-1", "region: eu-wset-1", []string{`1: hub.region: hub.region is "eu-wset-1": did you mean eu-west-1? A Region that is newer`}},
		{"a Region in capitals", "region: eu-west-1", "region: EU-WEST-1", []string{`1: hub.region: hub.region is "EU-WEST-1": did you mean eu-west-1?`}},
		{"no Region at all", "region: eu-west-1", "region: Frankfurt", []string{`1: hub.region: hub.region is "Frankfurt": write a Region's code, such as us-east-1`}},
		{"a key's Region", "kms:us-west-2", "kms:us-wset-2", []string{`5: accounts[0].keys[0]: accounts[0].keys[0] is "arn:aws:kms:us-wset-2:111122223333:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a11": its Region is "us-wset-2"; did you mean us-west-2?`}},
		{"a new Region that is known", "alerts:", "new_regions: [eu-west-1]\nalerts:", []string{`6: new_regions[0]: new_regions[0] is "eu-west-1": leave it out`}},
		{"a new Region of another partition", "alerts:", "new_regions: [us-gov-east-2]\nalerts:", []string{`6: new_regions[0]: new_regions[0] is "us-gov-east-2": write a Region's code`}},
		{"nothing wrong", "", "", nil},
		{"a new Region", "region: eu-west-1}", "region: eu-west-9}\nnew_regions: [eu-west-9]", nil},
		{"an account without quotes", `"111122223333", region`, `111122223333, region`, nil},
		{"an anchor and its alias", `"111122223333"`, `&home "111122223333"`, nil},
		{"a merged mapping", "alerts: {email: [a@example.com]}\noperations: {sms: [\"+15550100123\"]}", "alerts: &people {email: [a@example.com]}\noperations:\n  <<: *people", nil},
		{"nothing to merge", "alerts: {email: [a@example.com]}", "alerts:\n  <<: *people\n  email: [a@example.com]", []string{`7: alerts: << merges no mapping`}},
		{"what a file may leave open", "alerts:", "mode:\nchannels: ~\nalerts:", nil},
	} {
		got := problemsOf(t, strings.Replace(lean, c.from, c.to, 1))
		if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
			t.Errorf("%s: the problems are\n  %s\nwant\n  %s", c.name, strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
		}
	}
}

func TestOneProblemHidesNoOther(t *testing.T) {
	got := problemsOf(t, `name: Key Turn
naem: x
hub:
  account: 1
  region: us-esat-1
  zone: a
cockroachdb: {organization_id: mine, sever: x}
mode: folow
accounts:
  - id: "111122223333"
    keys: arn:aws:kms:us-east-1:111122223333:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a11
    regions: [eu-wset-1]
    trail: yes
alerts: {email: [x]}
log_days: x
`)
	for i, want := range []string{"1: name:", "2: naem:", "4: hub.account:", "5: hub.region:", "6: hub.zone:", "7: cockroachdb.sever:", "7: cockroachdb.organization_id:",
		"8: mode:", "11: accounts[0].keys:", "12: accounts[0].regions[0]:", "13: accounts[0].trail:", "14: alerts.email[0]:", "15: log_days:", "0: operations:"} {
		if !slices.ContainsFunc(got, func(problem string) bool { return strings.HasPrefix(problem, want) }) {
			t.Errorf("problem %d, %s, is hidden", i, want)
		}
	}
	if len(got) != 14 {
		t.Errorf("there are %d problems, want 14:\n%s", len(got), strings.Join(got, "\n"))
	}
}

func TestWhatIsNoDeploymentIsOneProblem(t *testing.T) {
	for file, want := range map[string]string{
		"":                         "0: : the file is empty",
		"# nothing\n":              "0: : the file is empty",
		"a: b: c\n":                "1: : not YAML",
		"hub:\n  - [\n":            "2: : not YAML",
		"hub: {}\n---\nhub: {}\n":  "0: : there are several documents",
		"- 1\n":                    "1: : the file is a list",
		"keyturn\n":                `1: : the file is "keyturn"`,
		"x: &x\n  <<: *x\n\x00":    "",
		"hub: &hub\n  <<: *hub\n":  "",
		"hub: &hub {region: *hub}": "",
	} {
		got := problemsOf(t, file)
		if len(got) == 0 || want != "" && (len(got) > 1 || !strings.HasPrefix(got[0], want)) {
			t.Errorf("%q has the problems\n  %s\nwant only %s", file, strings.Join(got, "\n  "), want)
		}
	}
}

func TestTheExampleIsCheckedInATenthOfASecond(t *testing.T) {
	file := []byte(example(t))
	began := time.Now()
	if _, err := deployment.Parse(file); err != nil {
		t.Fatal(err)
	}
	// With ten times that for a busy machine.
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestTheRegionsAreThoseOfTheStandardPartition(t *testing.T) {
	regions := amazon.Regions()
	for _, want := range []string{"us-east-1", "us-west-2", "eu-west-1", "ap-southeast-2", "mx-central-1"} {
		if !slices.Contains(regions, want) {
			t.Errorf("Region %s is missing", want)
		}
	}
	for _, other := range []string{"EU", "cn-north-1", "us-gov-west-1", "us-iso-east-1", ""} {
		if slices.Contains(regions, other) {
			t.Errorf("%q is among the Regions", other)
		}
	}
	if !slices.IsSorted(regions) || len(slices.Compact(regions)) != len(regions) {
		t.Errorf("the Regions are not in order, or not each once: %v", regions)
	}
}
