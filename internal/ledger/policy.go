package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

const policyPrefix = "policy#"

// storedPolicy is the last policy of a key or role that a sweep saw.
type storedPolicy struct {
	Document string    `json:"document"`
	At       time.Time `json:"at"`
}

// LastPolicy returns the last policy document noted for a key or role, by its URI or ARN; "" if none was.
func (l *Ledger) LastPolicy(ctx context.Context, name string) (string, error) {
	document, _, err := l.PolicyNoted(ctx, name)
	return document, err
}

// PolicyNoted is LastPolicy with the time at which the document was noted.
func (l *Ledger) PolicyNoted(ctx context.Context, name string) (document string, at time.Time, err error) {
	var p storedPolicy
	r, err := l.store.Get(ctx, kindControl, policyPrefix+name)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("read last policy of %s: %w", name, err)
	}
	err = decode(r, &p)
	return p.Document, p.At, err
}

// SetLastPolicy notes the policy document of a key or role, as of now.
func (l *Ledger) SetLastPolicy(ctx context.Context, name, document string) error {
	return l.setControl(ctx, policyPrefix+name, storedPolicy{document, time.Now()})
}

// RolePolicies is the name under which all identity policies of a role and its boundary are noted together; under the role's
// ARN is its trust policy.
func RolePolicies(role cmek.Principal) string { return string(role) + "#policies" }

// PolicyName is the name in the archive of a policy document of a key or role. Each document has one name, so that noting it
// twice changes nothing.
func PolicyName(name, document string) string {
	sum := sha256.Sum256([]byte(document))
	return "policies/" + strings.NewReplacer(":", "_", "/", "_", "#", "_").Replace(name) + "/" + hex.EncodeToString(sum[:8]) + ".json"
}
