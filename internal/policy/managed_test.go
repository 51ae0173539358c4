package policy_test

import (
	"testing"

	"github.com/keyturn/keyturn/internal/policy"
)

func TestManaged_knowsAWSDenyAll(t *testing.T) {
	want := doc(t, deny("", "", `"*"`))
	for arn, known := range map[string]bool{
		"arn:aws:iam::aws:policy/AWSDenyAll":              true,
		"arn:aws-cn:iam::aws:policy/AWSDenyAll":           true,
		"arn:aws-us-gov:iam::aws:policy/AWSDenyAll":       true,
		"arn:aws:iam::111122223333:policy/AWSDenyAll":     false, // a customer may call a policy what it likes
		"arn:aws:iam::111122223333:policy/aws/AWSDenyAll": false,
		"arn:aws:iam::aws:policy/job-function/AWSDenyAll": false,
		"arn:aws:iam::aws:policy/AWSDenyAlll":             false,
		"arn:aws:iam::aws:policy/awsdenyall":              false,
		"arn:aws:iam::aws:role/AWSDenyAll":                false,
		"arn:aws:iam:us-east-1:aws:policy/AWSDenyAll":     false,
		"arn:aws:sts::aws:policy/AWSDenyAll":              false,
		"urn:aws:iam::aws:policy/AWSDenyAll":              false,
		"arn:gcp:iam::aws:policy/AWSDenyAll":              false,
		"arn:aws:iam::aws:policy/AWSDenyAll:x":            false,
		"arn:aws:iam::aws:policy/ReadOnlyAccess":          false,
		"AWSDenyAll":                                      false,
		"":                                                false,
	} {
		d, ok := policy.Managed(arn)
		if ok != known || ok && !policy.Equal(d, want) || !ok && len(d.Statements) > 0 {
			t.Errorf("%q is %+v (known: %t), want known: %t", arn, d, ok, known)
		}
	}
	denial, _ := policy.Managed("arn:aws:iam::aws:policy/AWSDenyAll")
	keyPolicy := doc(t, allow("cmek", aws(role), published))
	if got := policy.KeyAccess(keyPolicy, key, policy.Role{ARN: role, Policies: []policy.Document{denial}}); got.Decision() != policy.Denied {
		t.Errorf("a role with AWSDenyAll is %s, want denied", got.Decision())
	}
}
