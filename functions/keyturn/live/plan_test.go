package live

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Where a reader role is set, the statement is for it.
func TestPlan_keysDenied_namesTheReaderRole(t *testing.T) {
	const key = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001"
	steps := toRead(rotation.UnreadKeys{Keys: []cmek.KeyURI{key}, Denied: true}, "arn:aws:iam::{account}:role/keyturn-reader")
	if len(steps) != 1 || !strings.Contains(steps[0], `{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/keyturn-reader"}`) {
		t.Errorf("the recovery steps are %q, want the statement with the reader role", steps)
	}
}
