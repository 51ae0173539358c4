package policy_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/policy"
)

func TestParse_readsEveryFormOfTheLanguage(t *testing.T) {
	got, err := policy.Parse(`{
		"Version": "2012-10-17", "Id": "key-default-1", "Comment": "an element that nobody knows",
		"Statement": [
			{"Sid": "one", "Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"},
			{"Effect": "Deny", "NotPrincipal": {"AWS": "111122223333"}, "NotAction": ["kms:Decrypt"], "NotResource": ["a", "b"]},
			{"Effect": "Allow", "Principal": {
				"AWS": ["*", "arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:role/path/cmek", "AROAEXAMPLEEXAMPLE123", "AIDAEXAMPLEEXAMPLE123"],
				"Service": "logs.amazonaws.com", "Federated": ["accounts.google.com"], "CanonicalUser": "79a59df9"
			}, "Condition": {"StringEquals": {"sts:ExternalId": ["a", "b"]}, "Bool": {"aws:SecureTransport": false}, "NumericLessThan": {"aws:MultiFactorAuthAge": 3600}}}
		]}`)
	if err != nil {
		t.Fatal(err)
	}
	want := policy.Document{Version: "2012-10-17", Statements: []policy.Statement{
		{Index: 1, Sid: "one", Effect: policy.Allow, Principals: []policy.Principal{{Kind: policy.Everybody}},
			Actions: []string{"kms:*"}, Resources: []string{"*"}},
		{Index: 2, Effect: policy.Deny, NotPrincipals: []policy.Principal{{Kind: policy.Account, ID: account}},
			NotActions: []string{"kms:Decrypt"}, NotResources: []string{"a", "b"}},
		{Index: 3, Effect: policy.Allow, Principals: []policy.Principal{
			{Kind: policy.Everybody},
			{Kind: policy.Account, ID: account},
			{Kind: policy.Identity, ID: "arn:aws:iam::111122223333:role/path/cmek"},
			{Kind: policy.DeletedPrincipal, ID: "AROAEXAMPLEEXAMPLE123"},
			{Kind: policy.DeletedPrincipal, ID: "AIDAEXAMPLEEXAMPLE123"},
			{Kind: policy.CanonicalUser, ID: "79a59df9"},
			{Kind: policy.Federated, ID: "accounts.google.com"},
			{Kind: policy.Service, ID: "logs.amazonaws.com"},
		}, Conditions: []policy.Condition{
			{Operator: "NumericLessThan", Key: "aws:MultiFactorAuthAge", Values: []string{"3600"}},
			{Operator: "Bool", Key: "aws:SecureTransport", Values: []string{"false"}},
			{Operator: "StringEquals", Key: "sts:ExternalId", Values: []string{"a", "b"}},
		}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParse_takesAStatementWithoutAList(t *testing.T) {
	d, err := policy.Parse(`{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}}`)
	if err != nil || len(d.Statements) != 1 {
		t.Errorf("a statement that is no list reads %+v, %v; want one statement", d, err)
	}
}

func TestParse_namesTheWrongElement(t *testing.T) {
	good := `{"Effect":"Allow","Action":"*"}`
	for _, r := range []struct{ text, want string }{
		{``, "want an object, got nothing"},
		{`null`, "want an object, got null"},
		{`[]`, "want an object"},
		{`{"Statement":[` + good + `]`, "read object"},
		{`{"Statement":[` + good + `]} x`, "read object"},
		{`%7B%22Statement%22%3A%5B%5D%7D`, "percent-encoded"},
		{`{}`, "Statement: want a value or a list, got nothing"},
		{`{"statement":[]}`, `element "statement" must be spelled Statement`},
		{`{"Version":"2025-01-01","Statement":[]}`, "Version: want 2012-10-17 or 2008-10-17"},
		{`{"Statement":[` + good + `,7]}`, "statement 2: want an object, got 7"},
		{`{"Statement":[{"Sid":7}]}`, "statement 1: read Sid: want a string, got 7"},
		{`{"Statement":[` + good + `,{"Sid":"admin"}]}`, `statement 2 ("admin"): Effect: want Allow or Deny, got nothing`},
		{`{"Statement":[{"Effect":"allow"}]}`, `statement 1: Effect: want Allow or Deny, got "allow"`},
		{`{"Statement":[{"Effect":"Allow","Effect":"Deny"}]}`, `duplicate object member name "Effect"`},
		{`{"Statement":[{"Effect":"Allow","condition":{}}]}`, `element "condition" must be spelled Condition`},
		{`{"Statement":[{"Effect":"Allow","Action":{}}]}`, "statement 1: Action: want a string, got {}"},
		{`{"Statement":[{"Effect":"Allow","Action":null}]}`, "statement 1: Action: want a value or a list, got null"},
		{`{"Statement":[{"Effect":"Allow","Action":"*","NotAction":"*"}]}`, "Action and NotAction exclude each other"},
		{`{"Statement":[{"Effect":"Allow","NotAction":[]}]}`, "NotAction: want at least one value"},
		{`{"Statement":[{"Effect":"Allow","Resource":[7]}]}`, "Resource: want a string, got 7"},
		{`{"Statement":[{"Effect":"Allow","Principal":"111122223333"}]}`, `Principal: want "*" or an object, got "111122223333"`},
		{`{"Statement":[{"Effect":"Allow","Principal":["*"]}]}`, "Principal: want an object"},
		{`{"Statement":[{"Effect":"Deny","NotPrincipal":{"GCP":"x"}}]}`, `NotPrincipal: unknown principal type "GCP"`},
		{`{"Statement":[{"Effect":"Allow","Principal":{"AWS":[null]}}]}`, "Principal: AWS: want a string, got null"},
		{`{"Statement":[{"Effect":"Allow","Condition":"x"}]}`, "Condition: want an object"},
		{`{"Statement":[{"Effect":"Allow","Condition":{"StringEquals":[]}}]}`, "Condition: StringEquals: want an object"},
		{`{"Statement":[{"Effect":"Allow","Condition":{"StringEquals":{"sts:ExternalId":{}}}}]}`, "Condition: StringEquals sts:ExternalId: want a string"},
	} {
		d, err := policy.Parse(r.text)
		if err == nil || !strings.Contains(err.Error(), r.want) {
			t.Errorf("%s: error %v, want it to say %q", r.text, err, r.want)
		}
		if len(d.Statements) > 0 {
			t.Errorf("%s: the error comes with %d statements, want none", r.text, len(d.Statements))
		}
	}
}

func TestParseKeepsHostileInputOutOfItsError(t *testing.T) {
	long := strings.Repeat("x", 60_000)
	for _, hostile := range []string{
		`{"Version":"` + long + `"}`,
		`{"Statement":"` + long + `"}`,
		`{"Statement":{"Sid":"` + long + `"}}`,
		`{"Statement":{"Effect":"Allow","Principal":{"` + long + `":"x"}}}`,
		`{"Statement":{"Effect":"Allow","Condition":{"` + long + `":1}}}`,
		`{"` + long + `":1,"` + long + `":2}`,
		strings.Repeat(`{"Statement":`, 4500),
		strings.Repeat(" ", 1<<20) + `{"Statement":[]}`,
	} {
		if _, err := policy.Parse(hostile); err == nil || len(err.Error()) > 1000 {
			t.Errorf("the error about %.40s… has %d bytes, want a readable length", hostile, len(err.Error()))
		}
	}
}

// A document of white space counts as what remains of it.
func TestParse_compactsBeforeMeasuring(t *testing.T) {
	document := text(allow("cmek", aws(role), published))
	for _, blanks := range []int{0, 60_000, 70_000, 100_000, 131_072} {
		padded := strings.Replace(document, "{", "{"+strings.Repeat(" \t\r\n", blanks/4), 1)
		d, err := policy.Parse(padded)
		if err != nil || !policy.Equal(d, parse(t, document)) {
			t.Errorf("%d blanks: read %+v (%v), want the document without them", blanks, d, err)
		}
		if got := policy.Compact(padded); got != document {
			t.Errorf("%d blanks: compact form has %d bytes, want %d", blanks, len(got), len(document))
		}
	}
	// White space within a text counts, and so does every other character.
	long := text(allow(strings.Repeat(" ", 70_000), aws(role), published))
	if d, err := policy.Parse(long); err == nil || len(d.Statements) > 0 {
		t.Errorf("a document of %d bytes in its compact form was read", len(long))
	}
	for _, other := range []string{"", "no JSON  {", strings.Repeat(" ", 1<<20) + "{}"} {
		if got := policy.Compact(other); got != other {
			t.Errorf("%.20q became %.20q, want it as it is", other, got)
		}
	}
}

func TestDeletedPrincipalsAreListedOnce(t *testing.T) {
	d := doc(t, allow("", aws("AROAEXAMPLEEXAMPLE123", role), `"kms:*"`), deny("", aws("AROAEXAMPLEEXAMPLE123", "AIDAEXAMPLEEXAMPLE123"), `"kms:*"`))
	expectSentences(t, d.Deleted(), "AROAEXAMPLEEXAMPLE123", "AIDAEXAMPLEEXAMPLE123")
}

func TestParse_sizes(t *testing.T) {
	fill := func(size int, with string) string {
		text := `{"Statement":[{"Sid":"","Effect":"Allow","Action":"*"}]}`
		at, before := strings.Index(text, `"Effect"`), size-len(text)
		if with != " " {
			at = strings.Index(text, `","Effect"`)
		}
		return text[:at] + strings.Repeat(with, before) + text[at:]
	}
	for _, tc := range []struct {
		size int
		with string
		ok   bool
	}{{64 << 10, "x", true}, {64<<10 + 1, "x", false}, {64<<10 + 1, " ", true}, {512 << 10, " ", true}, {512<<10 + 1, " ", false}} {
		if _, err := policy.Parse(fill(tc.size, tc.with)); (err == nil) != tc.ok {
			t.Errorf("a document of %d bytes filled with %q: %v", tc.size, tc.with, err)
		}
	}
}
