package google

import (
	"context"
	"errors"

	"github.com/keyturn/keyturn/internal/cmek"
)

// errOtherPolicies says that a judgement asked for documents as AWS has them. It cannot tell, then.
var errOtherPolicies = errors.New("policies of Google Cloud are not documents of this form")

// KeyPolicy returns an error: see [Policies.Policy].
func (p *Policies) KeyPolicy(context.Context, cmek.KeyURI) (string, error) {
	return "", errOtherPolicies
}

// RoleTrust returns an error: see [Policies.ServiceAccount].
func (p *Policies) RoleTrust(context.Context, cmek.Principal) (string, error) {
	return "", errOtherPolicies
}

// RolePolicies returns an error: see [Policies.Policy].
func (p *Policies) RolePolicies(context.Context, cmek.Principal) (string, error) {
	return "", errOtherPolicies
}
