package cmek_test

import (
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestPrincipalsOfEveryForm(t *testing.T) {
	const role = "arn:aws:iam::111122223333:role/cmek"
	const sa = "crdb-cmek@acme-prod.iam.gserviceaccount.com"
	itself := "" // the canonical form, and the name, are the text itself
	for _, r := range []struct {
		sentence         string
		principal        cmek.Principal
		canonical        string
		account, name    string
		isRole, isItself bool
	}{
		{"a role", role, role, "111122223333", "cmek", true, false},
		{"a role with a path", "arn:aws:iam::111122223333:role/teams/db/cmek", role, "111122223333", "cmek", true, false},
		{"a role with the path of service roles", "arn:aws:iam::111122223333:role/service-role/role/cmek", role, "111122223333", "cmek", true, false},
		{"a role with every character of a name", "arn:aws:iam::111122223333:role/p/a+=,.@-_1", "arn:aws:iam::111122223333:role/a+=,.@-_1", "111122223333", "a+=,.@-_1", true, false},
		{"a role whose case differs", "arn:aws:iam::111122223333:role/CMEK", "arn:aws:iam::111122223333:role/CMEK", "111122223333", "CMEK", true, false},
		{"a role in China", "arn:aws-cn:iam::111122223333:role/p/cmek", "arn:aws-cn:iam::111122223333:role/cmek", "111122223333", "cmek", true, false},
		{"a role in GovCloud", "arn:aws-us-gov:iam::111122223333:role/cmek", "arn:aws-us-gov:iam::111122223333:role/cmek", "111122223333", "cmek", true, false},
		{"a session of the role", "arn:aws:sts::111122223333:assumed-role/cmek/session", itself, "", itself, false, true},
		{"a session under iam", "arn:aws:iam::111122223333:assumed-role/cmek/session", itself, "", itself, false, true},
		{"a user", "arn:aws:iam::111122223333:user/cmek", itself, "", itself, false, true},
		{"a user with the path of a role", "arn:aws:iam::111122223333:user/role/cmek", itself, "", itself, false, true},
		{"the account's root", "arn:aws:iam::111122223333:root", itself, "", itself, false, true},
		{"a policy of the name", "arn:aws:iam::111122223333:policy/role/cmek", itself, "", itself, false, true},
		{"a role without a name", "arn:aws:iam::111122223333:role/", itself, "", itself, false, true},
		{"a path without a name", "arn:aws:iam::111122223333:role/teams/", itself, "", itself, false, true},
		{"a role of no account", "arn:aws:iam:::role/cmek", itself, "", itself, false, true},
		{"a role of a short account", "arn:aws:iam::1111:role/cmek", itself, "", itself, false, true},
		{"a role of a Region", "arn:aws:iam:us-east-1:111122223333:role/cmek", itself, "", itself, false, true},
		{"a role of no partition", "arn::iam::111122223333:role/cmek", itself, "", itself, false, true},
		{"a role with one part too many", "arn:aws:iam::111122223333:role/cmek:1", itself, "", itself, false, true},
		{"a role's bare name", "cmek", itself, "", itself, false, true},

		{"a service account", sa, sa, "acme-prod", "crdb-cmek", false, false},
		{"a service account in upper case", "CRDB-CMEK@Acme-Prod.iam.gserviceaccount.com", sa, "acme-prod", "crdb-cmek", false, false},
		{"a service account of a domain's project", "crdb@prod.example.com.iam.gserviceaccount.com",
			"crdb@prod.example.com.iam.gserviceaccount.com", "example.com:prod", "crdb", false, false},
		{"Google's own service account", "123-compute@developer.gserviceaccount.com", "123-compute@developer.gserviceaccount.com", "", "123-compute", false, false},
		{"a person", "Ana@example.com", "ana@example.com", "", "ana", false, false},
		{"an IAM member", "serviceAccount:" + sa, itself, "", itself, false, true},
		{"an e-mail with two @", "a@b@acme.iam.gserviceaccount.com", itself, "", itself, false, true},
		{"an e-mail without a name", "@acme.iam.gserviceaccount.com", itself, "", itself, false, true},
		{"a domain that only ends alike", "a@eviliam.gserviceaccount.com", "a@eviliam.gserviceaccount.com", "", "a", false, false},
		{"no project", "a@.iam.gserviceaccount.com", "a@.iam.gserviceaccount.com", "", "a", false, false},

		{"a tenant id", "0B9C1F7E-8A53-4f0e-9d4c-1f2e3d4c5b6a", itself, "", itself, false, true},
		{"nobody", "", "", "", "", false, false},
	} {
		p := r.principal
		if r.isItself {
			r.canonical, r.name = string(p), string(p)
		}
		if got := p.Canonical(); got != r.canonical {
			t.Errorf("%s: %s has the canonical form %s, want %s", r.sentence, p, got, r.canonical)
		}
		if p.Account() != r.account || p.Name() != r.name || p.IsRole() != r.isRole {
			t.Errorf("%s: %s has account %q, name %q, is a role %t; want %q, %q, %t",
				r.sentence, p, p.Account(), p.Name(), p.IsRole(), r.account, r.name, r.isRole)
		}
		canonical := cmek.Principal(p.Canonical())
		if again := canonical.Canonical(); again != string(canonical) {
			t.Errorf("%s: the canonical form %s has the canonical form %s, want itself", r.sentence, canonical, again)
		}
		if canonical.Account() != r.account || canonical.Name() != r.name || p.Same(canonical) != (p != "") {
			t.Errorf("%s: the canonical form %s is another principal than %s", r.sentence, canonical, p)
		}
	}
}

func TestPrincipalsAreToldApart(t *testing.T) {
	for _, r := range []struct {
		sentence string
		a, b     cmek.Principal
		want     bool
	}{
		{"a role with and without its path", "arn:aws:iam::111122223333:role/p/cmek", "arn:aws:iam::111122223333:role/cmek", true},
		{"roles of two accounts", "arn:aws:iam::111122223333:role/cmek", "arn:aws:iam::444455556666:role/cmek", false},
		{"roles of two partitions", "arn:aws:iam::111122223333:role/cmek", "arn:aws-cn:iam::111122223333:role/cmek", false},
		{"a role and its session", "arn:aws:iam::111122223333:role/cmek", "arn:aws:sts::111122223333:assumed-role/cmek/s", false},
		{"a role and a user of its name", "arn:aws:iam::111122223333:role/cmek", "arn:aws:iam::111122223333:user/cmek", false},
		{"a role and its bare name", "arn:aws:iam::111122223333:role/cmek", "cmek", false},
		{"a path's last part and a role", "arn:aws:iam::111122223333:role/cmek/other", "arn:aws:iam::111122223333:role/cmek", false},
		{"a service account in two cases", "a@acme.iam.gserviceaccount.com", "A@ACME.iam.gserviceaccount.com", true},
		{"service accounts of two projects", "a@acme.iam.gserviceaccount.com", "a@acme2.iam.gserviceaccount.com", false},
		{"nobody and nobody", "", "", false},
	} {
		if got := r.a.Same(r.b); got != r.want {
			t.Errorf("%s are one principal: %t, want %t", r.sentence, got, r.want)
		}
	}
}
