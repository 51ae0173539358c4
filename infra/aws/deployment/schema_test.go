package deployment_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/amazon"
)

const schemaFile = "../keyturn.schema.json"

// schemaChecks compiles the schema and returns what it says of a file.
func schemaChecks(t *testing.T) func(file string) error {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return func(file string) error {
		asJSON, err := yaml.YAMLToJSON([]byte(file))
		if err != nil {
			return err
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			return err
		}
		return schema.Validate(value)
	}
}

func TestTheSchemaTakesEveryExample(t *testing.T) {
	check := schemaChecks(t)
	examples := map[string]string{"lean": lean, "example": example(t)}
	data, err := os.ReadFile("../../../scripts/e2e/testdata/keyturn.yaml")
	if err != nil {
		t.Fatal(err)
	}
	examples["e2e"] = string(data)
	for name, file := range examples {
		if _, err := deployment.Parse([]byte(file)); err != nil {
			t.Errorf("the validator refuses %s: %v", name, err)
		}
		if err := check(file); err != nil {
			t.Errorf("the schema refuses %s: %v", name, err)
		}
	}
}

// rich has every field, so that each can be spoiled.
const rich = `name: keyturn
hub: {account: "111122223333", region: us-east-1}
cockroachdb: {organization_id: 5f3c1f0e-58c2-4d2a-9a3e-0c1b9a7d2e41, server: "https://cockroachlabs.cloud"}
mode: follow
accounts:
  - id: "111122223333"
    keys: [arn:aws:kms:us-east-1:111122223333:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a11]
    aliases: ["arn:aws:kms:us-east-1:111122223333:alias/hashicorp/orders_cmek-1"]
    roles: [arn:aws:iam::111122223333:role/payments-cmek]
    regions: [eu-west-1]
    trail: asserted
    heartbeat: us-east-1
  - {id: "444455556666", management: true}
alerts: {email: [a@example.com]}
operations: {sms: ["+15550100123"]}
operators: [arn:aws:iam::111122223333:role/oncall]
channels:
  - {kind: slack}
  - {kind: pagerduty, min_severity: high, url: "https://events.eu.pagerduty.com"}
  - {name: siem, kind: webhook, url: "https://siem.example.com/hooks/keyturn", allow_private: true}
repair: true
security_hub: true
archive: {retention_days: 30, lock: compliance}
log_days: 90
settings: {KEYTURN_SETTLE: 5m, KEYTURN_IN_FLIGHT: 3, KEYTURN_LOG_LEVEL: DEBUG}
cmek_keys:
  - name: orders
    account: "111122223333"
    regions: [eu-central-1, us-west-2]
    multi_region: true
    rotation_days: 90
    primary_key: arn:aws:kms:eu-central-1:111122223333:key/mrk-1234567890abcdef1234567890abcdef
    cluster_account: "777788889999"
tags: {team: platform-security, "cost:center": "x"}
new_regions: [eu-west-9]
compliance:
  thresholds: {cryptoperiod_days: 90, rotation_grace_days: 7, follow_hours: 24, stuck_hours: 2, expiry_notice_days: 30, clusters_per_key: 20,
    deletion_window_days: 30, watch_days: 30, heartbeat_minutes: 120, backup_factor: 3, credential_days: 90}
  accounts: ["111122223333"]
  principals: [arn:aws:iam::111122223333:role/backup]
  environment_label: env
  environments: {7c1d9e20-3a4b-4c5d-8e6f-000000000001: prod}
  residency: {us-east-1: [us-west-2]}
  keys:
    - {key: "arn:aws:kms:us-east-1:111122223333:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a11", owner_rotated: true, cryptoperiod_days: 30, principals: ["444455556666"], retired: false}
  out_of_scope: [{cluster: 7c1d9e20-3a4b-4c5d-8e6f-000000000002, reason: a trial}]
  audit_credential: true
  exceptions: [{check: CMEK-22, subject: "*", owner: platform, approver: security, reason: no key there yet, expires: 2020-06-30}]
`

// onlyChecked are near misses that a schema cannot express, because they compare fields, or values with one another by a part.
var onlyChecked = []struct{ from, to string }{
	{"us-east-1:111122223333:key/0c6f", "us-east-1:444455556666:key/0c6f"},
	{"us-east-1:111122223333:alias", "us-east-1:444455556666:alias"}, {"us-east-1:111122223333:alias", "us-esat-1:111122223333:alias"},
	{"heartbeat: us-east-1", "heartbeat: us-west-1"},
	{"iam::111122223333:role/payments", "iam::444455556666:role/payments"},
	{"iam::111122223333:role/oncall", "iam::444455556666:role/oncall"},
	{`id: "444455556666"`, `id: "111122223333"`},
	{"management: true", "management: false"},
	{"name: siem", "name: slack"},
	{"KEYTURN_SETTLE: 5m", "KEYTURN_SETTLE: 5 minutes"},
	{"eu-central-1:111122223333:key/mrk", "us-west-2:111122223333:key/mrk"},
	{"approver: security", "approver: platform"},
	{"expires: 2020-06-30", "expires: 2999-06-30"},
	{"expires: 2020-06-30", "expires: 2020-13-30"},
}

func TestTheSchemaAndTheValidatorRefuseTheSameNearMisses(t *testing.T) {
	check := schemaChecks(t)
	parsed := func(file string) error { _, err := deployment.Parse([]byte(file)); return err }
	if err := parsed(rich); err != nil {
		t.Fatalf("the validator refuses the file with every field: %v", err)
	}
	if err := check(rich); err != nil {
		t.Fatalf("the schema refuses the file with every field: %v", err)
	}
	for _, c := range []struct{ from, to string }{
		{"name: keyturn", "name: Keyturn"}, {"name: keyturn", "name: k"}, {"name: keyturn", "name: keyturn-"}, {"name: keyturn", "name: default"},
		{"name: keyturn", "name: keyturn-dead"}, {"name: keyturn", "name: [keyturn]"}, {"name: keyturn", "naem: keyturn"}, {"name: keyturn", "name: keyturn-of-the-whole-company"},
		{`account: "111122223333", region`, `account: "11112222333", region`}, {`account: "111122223333", region`, "account: 011122223333, region"},
		{`account: "111122223333", region`, "account: 1111222233334, region"}, {`account: "111122223333", region`, "region"},
		{"region: us-east-1}", "region: us-gov-east-1}"}, {"region: us-east-1}", "region: US-EAST-1}"}, {"region: us-east-1}", "region: }"}, {"region: us-east-1}", "regoin: us-east-1}"},
		{"5f3c1f0e", "5F3C1F0E"}, {"5f3c1f0e-", ""}, {`"https://cockroachlabs.cloud"`, `"http://cockroachlabs.cloud"`}, {`"https://cockroachlabs.cloud"`, `"https://me@cockroachlabs.cloud"`},
		{"mode: follow", "mode: folow"}, {"mode: follow", "mode: true"},
		{"key/0c6f", "alias/0c6f"}, {"aws:kms:us-east-1", "aws:kms:us-east"}, {"arn:aws:kms:us-east-1:111122223333:key/0c6f", "0c6f"}, {"arn:aws:kms:us-east-1", "arn:aws-cn:kms:us-east-1"},
		{"alias/hashicorp", "key/hashicorp"}, {"alias/hashicorp/", "alias/aws/"}, {"arn:aws:kms:us-east-1:111122223333:alias/", "alias/"}, {`"arn:aws:kms:us-east-1:111122223333:alias`, `"arn:aws-cn:kms:us-east-1:111122223333:alias`},
		{"role/payments-cmek", "user/payments"}, {"arn:aws:iam::111122223333:role/payments-cmek", "payments-cmek"},
		{"regions: [eu-west-1]", "regions: eu-west-1"}, {"regions: [eu-west-1]", "regions: [Frankfurt]"}, {"trail: asserted", "trail: yes"},
		{"management: true", "management: yes"}, {"email: [a@example.com]", "email: [a]"}, {"email: [a@example.com]", "email: []"}, {"email: [a@example.com]", `email: ["A <a@example.com>"]`},
		{"email: [a@example.com]", "email: [a@example.com, a@example.com]"}, {"+15550100123", "5550100123"}, {`{sms: ["+15550100123"]}`, "{}"},
		{"kind: slack", "kind: teams"}, {"kind: slack", `kind: slack, url: "https://hooks.example.com"`}, {", kind: webhook", ""}, {`url: "https://siem.example.com/hooks/keyturn", `, ""},
		{"min_severity: high", "min_severity: warning"}, {"repair: true", "repair: 1"}, {"retention_days: 30", "retention_days: 0"}, {"retention_days: 30", "retention_days: 40000"},
		{"lock: compliance", "lock: none"}, {"log_days: 90", "log_days: 45"}, {"log_days: 90", `log_days: "ninety"`}, {"KEYTURN_SETTLE", "KEYTURN_SETLE"}, {"KEYTURN_SETTLE", "KEYTURN_MODE"},
		{"KEYTURN_LOG_LEVEL: DEBUG", "KEYTURN_LOG_LEVEL: WARN"}, {"rotation_days: 90", "rotation_days: 89"}, {"multi_region: true", "multi_region: false"}, {"key/mrk-", "key/"},
		{"regions: [eu-central-1, us-west-2]", "regions: []"}, {"regions: [eu-central-1, us-west-2]", "regions: [eu-central-1, eu-central-1]"}, {`    cluster_account: "777788889999"` + "\n", ""},
		{"role/oncall", "user/oncall"}, {"[arn:aws:iam::111122223333:role/oncall]", "oncall"},
		{"{team:", `{"aws:team":`}, {"{team:", `{"t;eam":`}, {"new_regions: [eu-west-9]", "new_regions: [eu-west-1]"}, {"new_regions: [eu-west-9]", "new_regions: [cn-north-9]"},
		{"cryptoperiod_days: 90", "cryptoperiod_days: -90"}, {"backup_factor: 3", "backup_factor: three"}, {"stuck_hours", "stuck_days"}, {"heartbeat_minutes: 120", "heartbeat_minutes: 60"}, {"us-east-1: [us-west-2]", "us-east-1: us-west-2"},
		{`{key: "arn:aws:kms`, `{key: "orders:kms`}, {"a trial", `""`}, {"audit_credential: true", "audit_credential: yes"}, {"000001: prod", `000001: ""`},
		{"check: CMEK-22", "check: CMEK-19"}, {"check: CMEK-22", "check: CMEK-33"}, {"owner: platform", `owner: " "`}, {"approver: security, ", ""}, {"expires: 2020-06-30", "expires: soon"}, {", expires: 2020-06-30", ""},
		{"new_regions: [eu-west-9]", "zone: a"}, {"alerts: {email: [a@example.com]}\n", ""}, {"mode: follow", "mode: follow\nmode: follow"},
	} {
		file := strings.Replace(rich, c.from, c.to, 1)
		if file == rich {
			t.Errorf("%q is not in the file", c.from)
		}
		if parsed(file) == nil {
			t.Errorf("the validator takes %q for %q", c.to, c.from)
		}
		if check(file) == nil {
			t.Errorf("the schema takes %q for %q", c.to, c.from)
		}
	}
	// Without new_regions only the Regions of the list are taken.
	for _, none := range []string{"", "new_regions: []\n"} {
		listed := strings.Replace(rich, "new_regions: [eu-west-9]\n", none, 1)
		if parsed(listed) != nil || check(listed) != nil {
			t.Errorf("without new_regions the file is refused: %v, %v", parsed(listed), check(listed))
		}
		refuseUnknownRegions(t, listed, parsed, check)
	}
	for _, c := range onlyChecked {
		if file := strings.Replace(rich, c.from, c.to, 1); parsed(file) == nil {
			t.Errorf("the validator takes %q for %q", c.to, c.from)
		}
	}
}

func refuseUnknownRegions(t *testing.T, listed string, parsed, check func(string) error) {
	t.Helper()
	for _, c := range []struct{ from, to string }{
		{"region: us-east-1}", "region: us-esat-1}"}, {"regions: [eu-west-1]", "regions: [eu-wset-1]"}, {"regions: [eu-central-1", "regions: [eu-cental-1"},
		{"aws:kms:us-east-1", "aws:kms:us-esat-1"}, {"heartbeat: us-east-1", "heartbeat: us-eats-1"}, {"aws:kms:eu-central-1", "aws:kms:eu-cental-1"},
	} {
		file := strings.Replace(listed, c.from, c.to, 1)
		if parsed(file) == nil || check(file) == nil {
			t.Errorf("%q for %q is taken; validator: %v, schema: %v", c.to, c.from, parsed(file), check(file))
		}
	}
}

// schemaObject is a part of the schema.
type schemaObject struct {
	Properties map[string]json.RawMessage
	Items      struct {
		Ref string `json:"$ref"`
	}
	Ref     string `json:"$ref"`
	Enum    []any
	Pattern string
}

func TestTheSchemaHasTheFieldsOfTheDeployment(t *testing.T) {
	data, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		schemaObject
		Defs map[string]schemaObject `json:"$defs"`
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	var compare func(path string, typ reflect.Type, object schemaObject)
	compare = func(path string, typ reflect.Type, object schemaObject) {
		var want []string
		for field := range typ.Fields() {
			name := field.Tag.Get("yaml")
			if name == "" || name == "-" {
				continue
			}
			want = append(want, name)
			inner := field.Type
			if inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			if inner.Kind() != reflect.Struct {
				continue
			}
			var of schemaObject
			if err := json.Unmarshal(object.Properties[name], &of); err != nil {
				t.Fatalf("%s.%s: %v", path, name, err)
			}
			if ref := of.Ref + of.Items.Ref; ref != "" {
				of = schema.Defs[filepath.Base(ref)]
			}
			compare(path+"."+name, inner, of)
		}
		var got []string
		for name := range object.Properties {
			got = append(got, name)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("the schema knows of %s the fields %v, the program %v", path, got, want)
		}
	}
	compare("keyturn.yaml", reflect.TypeFor[deployment.Deployment](), schema.schemaObject)

	var regions []string
	for _, region := range schema.Defs["known_region"].Enum {
		regions = append(regions, region.(string))
	}
	if want := amazon.Regions(); !slices.Equal(regions, want) {
		t.Errorf("the schema knows the Regions %v, the program %v", regions, want)
	}
	if got, want := schema.Defs["known_key"].Pattern, "^arn:aws:kms:("+strings.Join(amazon.Regions(), "|")+"):"; got != want {
		t.Errorf("the schema takes keys like %s, want %s", got, want)
	}
	var settings schemaObject
	if err := json.Unmarshal(schema.Properties["settings"], &settings); err != nil {
		t.Fatal(err)
	}
	for _, name := range deployment.Settings() {
		if settings.Properties[name] == nil {
			t.Errorf("the schema does not know the setting %s", name)
		}
	}
	if len(settings.Properties) != len(deployment.Settings()) {
		t.Errorf("the schema knows %d settings, the program %d", len(settings.Properties), len(deployment.Settings()))
	}
}

func TestTheExampleNamesItsSchema(t *testing.T) {
	reference := regexp.MustCompile(`(?m)^# yaml-language-server: \$schema=(\S+)$`).FindStringSubmatch(example(t))
	if reference == nil {
		t.Fatal("the example names no schema")
	}
	// As seen from where the example is copied to: the top of the repository.
	got, want := filepath.Join("../../..", reference[1]), filepath.Clean(schemaFile)
	if a, err := os.Stat(got); err != nil {
		t.Error(err)
	} else if b, err := os.Stat(want); err != nil || !os.SameFile(a, b) {
		t.Errorf("the example names %s, want %s", got, want)
	}
}
