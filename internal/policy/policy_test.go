package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/policy"
)

const (
	account  = "111122223333"
	key      = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	role     = "arn:aws:iam::111122223333:role/payments-cmek"
	root     = "arn:aws:iam::111122223333:root"
	admin    = "arn:aws:iam::111122223333:role/admin"
	stranger = "999988887777"
	cluster  = "444455556666" // the cluster's account at CockroachDB Cloud
	org      = "0f3c1a52-5a61-4b5e-8b0f-3a6d1c2e9f10"

	published = `["kms:Encrypt","kms:Decrypt","kms:GenerateDataKey*","kms:DescribeKey","kms:ReEncrypt*"]`
)

// Building blocks of documents. A principal is a JSON value; extra is further elements, such as a Condition.
func allow(sid, principal, action string, extra ...string) string {
	return statement("Allow", sid, principal, action, extra)
}

func deny(sid, principal, action string, extra ...string) string {
	return statement("Deny", sid, principal, action, extra)
}

func statement(effect, sid, principal, action string, extra []string) string {
	elements := []string{fmt.Sprintf(`"Effect":%q`, effect), `"Action":` + action}
	if sid != "" {
		elements = append(elements, fmt.Sprintf(`"Sid":%q`, sid))
	}
	if principal != "" {
		elements = append(elements, `"Principal":`+principal)
	}
	elements = append(elements, extra...)
	if all := strings.Join(elements, ","); !strings.Contains(all, `Resource"`) && !strings.Contains(action, "sts:") {
		elements = append(elements, `"Resource":"*"`)
	}
	return "{" + strings.Join(elements, ",") + "}"
}

func aws(ids ...string) string { return `{"AWS":["` + strings.Join(ids, `","`) + `"]}` }

func when(operator, key, value string) string {
	return fmt.Sprintf(`"Condition":{%q:{%q:%q}}`, operator, key, value)
}

func text(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func doc(t testing.TB, statements ...string) policy.Document {
	t.Helper()
	d, err := policy.Parse(text(statements...))
	if err != nil {
		t.Fatalf("%v in %s", err, text(statements...))
	}
	return d
}

func expectSentences(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d sentences, want %d:\n  got  %s\n  want %s", len(got), len(want), strings.Join(got, "\n       "), strings.Join(want, "\n       "))
		return
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("sentence %d:\n  got  %s\n  want %s", i+1, got[i], want[i])
		}
	}
}
