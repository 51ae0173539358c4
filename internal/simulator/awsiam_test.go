package simulator_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
	"github.com/keyturn/keyturn/internal/simulator"
)

// The reader of policies is the official SDK's client: it sees the cluster's role, trusting the cluster's account alone, and no other role.
func TestAWSIAM_showsTheRolesOfTheClusters(t *testing.T) {
	seed := simulator.DefaultSeed()
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "sample", "AWS_SECRET_ACCESS_KEY": "sample"}
	config, err := amazon.ConfigFromEnv(func(name string) string { return env[name] }, &http.Client{Transport: simulator.Transport(world.Handler())})
	if err != nil {
		t.Fatal(err)
	}
	policies := amazon.NewPolicies(config, nil)
	role := seed.Clusters[0].Regions[0].AuthPrincipal
	text, err := policies.RoleTrust(t.Context(), role)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := policy.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if policy.RoleTrust(trust, seed.Clusters[0].AccountID, seed.Organization.ID).Assume.Decision != policy.Allowed {
		t.Errorf("the trust policy %s does not let the cluster's account assume the role", text)
	}
	if policy.RoleTrust(trust, "999999999999", seed.Organization.ID).Assume.Decision != policy.Denied {
		t.Errorf("the trust policy %s lets another account assume the role", text)
	}
	if text, err := policies.RolePolicies(t.Context(), role); err != nil || !strings.Contains(text, `"inline":{}`) {
		t.Errorf("the role's policies are %s, error %v", text, err)
	}
	if _, err := policies.RoleTrust(t.Context(), "arn:aws:iam::111122223333:role/nobody"); !errors.Is(err, cmek.ErrNotFound) {
		t.Errorf("a role that no cluster names: error %v, want not found", err)
	}
}
