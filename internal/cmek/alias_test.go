package cmek_test

import (
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestEventAlias_isWhereItsKeyIs(t *testing.T) {
	const named, key = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:alias/orders"), cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
	for _, r := range []struct {
		sentence, parameter string
		change              cmek.Change
		key, want           cmek.KeyURI
	}{
		{"beside its key", "alias/orders", cmek.ChangeAlias, key, named},
		{"in another partition", "alias/orders", cmek.ChangeAlias, "arn:aws-cn:kms:cn-north-1:111122223333:key/k", "arn:aws-cn:kms:cn-north-1:111122223333:alias/orders"},
		{"alone", "alias/orders", cmek.ChangeAlias, named, named},
		{"without a name", "", cmek.ChangeAlias, key, ""},
		{"with a name that is none", "orders", cmek.ChangeAlias, key, ""},
		{"without a key", "alias/orders", cmek.ChangeAlias, "", ""},
		{"in an event about something else", "alias/orders", cmek.ChangeRotated, key, ""},
	} {
		e := cmek.Event{Change: r.change, Key: r.key, Parameters: map[string]string{"alias": r.parameter}}
		if got := e.Alias(); got != r.want {
			t.Errorf("an alias %s is %q, want %q", r.sentence, got, r.want)
		}
	}
}
