package planned_test

import (
	"os"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/functions/compliance/planned"
)

func TestParse_saysWhatIsWrongAndWhatToRun(t *testing.T) {
	plan := string(planOf(onKey(object{"is_enabled": false})))
	replaced := func(old, new string) string { return strings.Replace(plan, old, new, 1) }
	for text, want := range map[string]string{
		"":                                   "the file is empty",
		" \n":                                "the file is empty",
		"PK\x03\x04\x14":                     "in Terraform's own format",
		"\xff\xfe{\x00":                      "UTF-16",
		"Terraform will perform the actions": "no JSON object",
		"[]":                                 "no JSON object",
		"null":                               "no JSON object",
		"{":                                  "cut off",
		plan[:len(plan)/2]:                   "cut off",
		plan[:len(plan)-1]:                   "cut off",
		plan + "{}":                          "something follows",
		"{]":                                 "no JSON",
		`{}`:                                 "no format_version",
		`{"@level":"info","@message":"Terraform 1.11.4","type":"version"}` + "\n" + `{"@level":"info"}`: "the log of",
		`{"version":4,"terraform_version":"1.11.4","serial":1,"lineage":"x","resources":[]}`:            "a state file",
		`{"format_version":"1.0","terraform_version":"1.11.4","values":{}}`:                             "a state, which",
		`{"format_version":"1.0","provider_schemas":{}}`:                                                "no planned_values",
		replaced(`"1.2"`, `"2.0"`):                    `its format_version is "2.0"`,
		replaced(`"1.2"`, `"0.2"`):                    `its format_version is "0.2"`,
		replaced(`"1.2"`, `"10.2"`):                   `its format_version is "10.2"`,
		replaced(`"1.2"`, `1.2`):                      "its format_version is 1.2",
		replaced(`"1.2"`, `null`):                     "its format_version is null",
		replaced(`["update"]`, `["obliterate"]`):      `"obliterate" of aws_kms_key.orders is not known`,
		replaced(`"mode":"managed"`, `"mode":"x"`):    "it is not known what aws_kms_key.orders is",
		replaced(`"mode":"managed",`, ``):             "it is not known what aws_kms_key.orders is",
		replaced(`["update"]`, `[]`):                  "no actions",
		replaced(`"aws_kms_key.orders"`, `""`):        "no address",
		replaced(`"before":{`, `"before":null,"x":{`): "what it is before is not there",
		replaced(`"after":{`, `"after":null,"x":{`):   "what it will be is not there",
		replaced(`"before":{`, `"before":[],"x":{`):   "not in the form of a plan",
	} {
		_, err := planned.Parse([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"terraform show -json tfplan > plan.json"`) {
			t.Errorf("%.60q: %v, want %q and what to run", text, err, want)
		}
	}
	if _, err := planned.Parse(planOf(sameKey, sameKey)); err == nil || !strings.Contains(err.Error(), "in it twice") {
		t.Error(err)
	}
	if _, err := planned.Parse([]byte("\xef\xbb\xbf" + plan)); err != nil {
		t.Errorf("with a byte order mark: %v", err)
	}
	for _, version := range []string{"1.0", "1.2", "1.99"} {
		if _, err := planned.Parse([]byte(replaced(`"1.2"`, `"`+version+`"`))); err != nil {
			t.Errorf("%s: %v", version, err)
		}
	}
}

func TestParse_aPlanThatLacksSomething(t *testing.T) {
	for member, want := range map[string]string{
		`"errored":true`:   "ended with an error",
		`"complete":false`: "not complete",
		`"deferred_changes":[{"reason":"provider_config_unknown","resource_change":{"address":"aws_kms_key.x","type":"aws_kms_key","change":{"actions":["create"]}}}]`: "aws_kms_key.x is deferred",
	} {
		r := judge(t, []byte(strings.Replace(string(planOf(sameKey)), "{", "{"+member+",", 1)), planned.Known{})
		if r.Unread() != 1 || !strings.Contains(r.Findings[0].Why, want) {
			t.Errorf("%s: %+v", member, r.Findings)
		}
	}
	for _, member := range []string{`"complete":true`, `"errored":false`, `"deferred_changes":[{"reason":"x","resource_change":{"address":"aws_s3_bucket.x","type":"aws_s3_bucket","change":{"actions":["create"]}}}],"complete":false`} {
		r := judge(t, []byte(strings.Replace(string(planOf(sameKey)), "{", "{"+member+",", 1)), planned.Known{})
		if len(r.Findings) > 0 {
			t.Errorf("%s: %+v", member, r.Findings)
		}
	}
}

// TestSensitive_isNotShown: nothing of a document that Terraform does not show is in a finding.
func TestSensitive_isNotShown(t *testing.T) {
	for _, changes := range [][]resource{
		{onKey(object{"policy": document(statement("Allow", object{"AWS": "arn:aws:iam::999999999999:role/secret"}, "kms:*", "*"))}), sameRole},
		{onRole(object{"assume_role_policy": trusting("999999999999", "secret")}), sameKey},
		{sameKey, sameRole, {address: "aws_kms_grant.x", after: object{"key_id": keyARN, "grantee_principal": "arn:aws:iam::999999999999:role/secret", "operations": []string{"Decrypt"}}}},
		{{address: "aws_kms_key.orders", before: with(key, object{"policy": document(byRoot, statement("Allow", object{"AWS": "arn:aws:iam::111122223333:role/secret"}, needed, "*"))})}},
	} {
		data := strings.ReplaceAll(string(planOf(changes...)), `"after_sensitive":{}`, `"after_sensitive":{"policy":true,"assume_role_policy":true,"grantee_principal":true}`)
		r := judge(t, []byte(data), planned.Known{})
		if len(r.Findings) == 0 {
			t.Errorf("%s: nothing was found", changes[0].address)
		}
		if shown := text(r); strings.Contains(shown, "secret") || strings.Contains(shown, "999999999999") {
			t.Errorf("%s: %s", changes[0].address, shown)
		}
	}
}

// TestReferences_findWhatIsNotKnownYet: the configuration tells what a new resource belongs to, in modules and for each key.
func TestReferences_findWhatIsNotKnownYet(t *testing.T) {
	data := string(fixture(t, "google-new"))
	public := strings.Replace(data, "serviceAccount:cluster-cmek@customer-keys.iam.gserviceaccount.com\",\n     \"role\": \"roles/cloudkms", "allUsers\",\n     \"role\": \"roles/cloudkms", 1)
	if public == data {
		t.Fatal("the plan has no such member")
	}
	r := judge(t, []byte(public), planned.Known{})
	if len(r.Findings) != 1 || r.Findings[0].Address != `module.orders["europe-west1"].google_kms_crypto_key_iam_member.cluster` || r.Findings[0].Question != planned.Exposes {
		t.Errorf("%+v", r.Findings)
	}
	r = judge(t, []byte(strings.ReplaceAll(data, `"google_kms_crypto_key.key.id"`, `"local.key"`)), planned.Known{})
	if r.Unread() != 0 { // the resource is named beside its attribute
		t.Errorf("%+v", r.Findings)
	}
	r = judge(t, []byte(strings.ReplaceAll(strings.ReplaceAll(data, `"google_kms_crypto_key.key.id"`, `"local.key"`), `"google_kms_crypto_key.key"`+"\n", `"local.other"`+"\n")), planned.Known{})
	if r.Unread() != 2 {
		t.Errorf("without references: %+v", r.Findings)
	}
}

func TestMoved_findingsNameTheFormerAddress(t *testing.T) {
	c := onKey(object{"is_enabled": false})
	c.more = object{"previous_address": "aws_kms_key.former"}
	r := judge(t, planOf(c, sameRole), planned.Known{})
	if len(r.Findings) != 1 || !strings.Contains(r.Findings[0].Why, "moved from aws_kms_key.former") {
		t.Errorf("%+v", r.Findings)
	}
}

// FuzzParse: whatever the file holds, it is judged or refused.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"google-new", "google-losses", "google-quiet", "google-exposed", "google-denied"} {
		data, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, rows := range [][]row{awsRows(), googleRows()} {
		for i := 0; i < len(rows); i += 5 {
			f.Add(planOf(rows[i].changes...))
		}
	}
	f.Add([]byte(`{"format_version":"1.0","planned_values":{},"resource_changes":[{"address":"a","module_address":"x","mode":"managed","type":"aws_kms_key_policy","name":"a","change":{"actions":["create"],"after":{},"after_unknown":{"key_id":true}}}],"configuration":{"root_module":{"resources":[{"address":"aws_kms_key_policy.a","expressions":{"key_id":{"references":["var.x","module.y.z","each.value"]}}}]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := planned.Parse(data)
		if err != nil {
			if !strings.Contains(err.Error(), "terraform show -json") {
				t.Error(err)
			}
			return
		}
		for _, finding := range planned.Judge(p, planned.Known{Now: now}).Findings {
			if finding.Why == "" || finding.Result != checks.Fail && finding.Result != checks.Error {
				t.Errorf("%+v", finding)
			}
		}
	})
}
