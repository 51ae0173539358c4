package alerting

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
)

// effect judges what a change of a policy does to the clusters.
func (f *Function) effect(ctx context.Context, e cmek.Event, clusters []*ledger.Cluster) (*Effect, error) {
	switch e.Change {
	case cmek.KeyPolicyReplaced:
		return f.keyPolicyEffect(ctx, e, clusters)
	case cmek.RoleTrustChanged:
		return f.trustEffect(ctx, e, clusters)
	case cmek.RoleDeleted:
		_, previous, err := f.trustBefore(ctx, e, clusters, policy.Document{})
		return &Effect{CutsOff: true, Previous: previous}, err
	}
	return f.rolePolicyEffect(ctx, e, clusters)
}

// keyPolicyEffect compares the policy that the event set with the last one known. CloudTrail leaves a large policy out; then
// the current one is read.
func (f *Function) keyPolicyEffect(ctx context.Context, e cmek.Event, clusters []*ledger.Cluster) (*Effect, error) {
	text := e.Policy
	if text == "" {
		var err error
		if text, err = f.Policies.KeyPolicy(ctx, e.Key); err != nil {
			return nil, err
		}
	}
	after, unclear := parsed(text)
	if unclear != nil {
		return unclear, nil
	}
	before, previous, err := f.before(ctx, string(e.Key), after)
	if err != nil {
		return nil, err
	}
	result := &Effect{Previous: previous}
	known := []string{e.Key.Account()}
	for _, role := range roles(clusters, e.Key) {
		access := policy.KeyAccess(after, e.Key, policy.Role{ARN: string(role)})
		switch access.Decision() {
		case policy.Denied:
			result.CutsOff = true
		case policy.CannotTell:
			result.Unclear = "the key policy leaves it to other policies or to conditions"
		}
		if before == nil {
			result.Words = append(result.Words, access.Sentences()...)
		} else {
			result.Words = append(result.Words, policy.DiffKeyPolicy(*before, after, e.Key, policy.Role{ARN: string(role)})...)
		}
		known = append(known, string(role))
	}
	grants := policy.KeyGrants(after, e.Key)
	if before == nil {
		result.Words = append(result.Words, "the previous policy is not known")
	} else {
		grants = policy.Gained(policy.KeyGrants(*before, e.Key), grants)
	}
	for _, grant := range policy.Outsiders(grants, known...) {
		result.Exposes = true
		if before == nil {
			result.Words = append(result.Words, grant.String())
		}
	}
	result.Words = sentences(result.Words)
	return result, nil
}

// before returns the policy that a key or role had before this one, as far as the rotation sweep noted it; nil and "" if that
// is not known. A sweep that came after the change has noted the new one already.
func (f *Function) before(ctx context.Context, name string, after policy.Document) (*policy.Document, string, error) {
	last, err := f.Ledger.LastPolicy(ctx, name)
	if err != nil || last == "" {
		return nil, "", err
	}
	if before, err := policy.Parse(last); err == nil && !reflect.DeepEqual(before, after) {
		return &before, last, nil
	}
	return nil, "", nil
}

// parsed reads a policy, or says that its effect is unclear.
func parsed(text string) (policy.Document, *Effect) {
	document, err := policy.Parse(text)
	if err != nil {
		return policy.Document{}, &Effect{Unclear: "its document cannot be read: " + err.Error()}
	}
	return document, nil
}

// trustEffect judges a role's new trust policy for each cluster that acts as the role, and compares it with the last one known.
func (f *Function) trustEffect(ctx context.Context, e cmek.Event, clusters []*ledger.Cluster) (*Effect, error) {
	after, unclear := parsed(e.Policy)
	if unclear != nil {
		return unclear, nil
	}
	before, previous, err := f.trustBefore(ctx, e, clusters, after)
	result := &Effect{Previous: previous}
	organizationID := f.Settings.OrganizationID
	if organizationID == "" {
		result.Unclear = "the organization's id, which must be the external id, is not configured (KEYTURN_ORGANIZATION_ID)"
	}
	for _, c := range clusters {
		trust := policy.RoleTrust(after, c.Cluster.AccountID, organizationID)
		result.CutsOff = result.CutsOff || trust.Assume.Decision == policy.Denied && organizationID != ""
		result.Exposes = result.Exposes || len(trust.Gaps) > 0 || len(outsidersOf(trust, clusters)) > 0
		if trust.Assume.Decision == policy.CannotTell && result.Unclear == "" {
			result.Unclear = trust.Assume.Why
		}
		var changed []string
		if before != nil {
			changed = policy.DiffTrust(*before, after, c.Cluster.AccountID, organizationID)
		}
		if len(changed) == 0 {
			changed = trust.Sentences() // what was wrong before is wrong still
		}
		result.Words = append(result.Words, changed...)
	}
	if before == nil && len(clusters) > 0 {
		result.Words = append(result.Words, "the previous trust policy is not known")
	}
	result.Words = sentences(result.Words)
	return result, err
}

// trustBefore is the trust policy that the clusters' role had before this one; nil and "" if that is not known.
func (f *Function) trustBefore(ctx context.Context, e cmek.Event, clusters []*ledger.Cluster, after policy.Document) (*policy.Document, string, error) {
	for _, role := range rolesNamed(clusters, e.Role) {
		if before, previous, err := f.before(ctx, string(role), after); err != nil || previous != "" {
			return before, previous, err
		}
	}
	return nil, "", nil
}

// outsidersOf are the grants to accounts that belong to none of the clusters of the role.
func outsidersOf(trust policy.Trust, clusters []*ledger.Cluster) []policy.Grant {
	var accounts []string
	for _, c := range clusters {
		accounts = append(accounts, c.Cluster.AccountID)
	}
	return policy.Outsiders(trust.Others, accounts...)
}

// rolePolicyEffect judges an identity policy or a boundary that was put on a role: an explicit Deny, or a boundary that does
// not allow the key's actions, cuts the clusters off.
func (f *Function) rolePolicyEffect(ctx context.Context, e cmek.Event, clusters []*ledger.Cluster) (*Effect, error) {
	var document policy.Document
	if e.Policy != "" {
		var unclear *Effect
		if document, unclear = parsed(e.Policy); unclear != nil {
			return unclear, nil
		}
	}
	result := &Effect{}
	var problems []error
	for _, c := range clusters {
		for _, info := range c.CMEK.RegionInfos {
			current, n := info.Current()
			if n != 1 || current.Spec.Type != cmek.AWSKMS || current.Spec.AuthPrincipal.Name() != lastSegment(e.Role) {
				continue
			}
			text, err := f.Policies.KeyPolicy(ctx, current.Spec.URI)
			if err != nil {
				problems = append(problems, err)
				continue
			}
			keyPolicy, err := policy.Parse(text)
			if err != nil {
				problems = append(problems, fmt.Errorf("read policy of key %s: %w", current.Spec.URI, err))
				continue
			}
			role, err := f.role(ctx, current.Spec.AuthPrincipal)
			if err != nil && e.Policy == "" {
				result.Unclear = "the role's policies cannot be read, and the event does not carry the document"
				continue
			}
			// The event's own document counts, too: IAM may not show it yet. A call may only be rated up by what is read.
			switch {
			case e.Policy != "" && e.Change == cmek.BoundaryChanged:
				role.Boundary = &document
			case e.Policy != "":
				role.Policies = append(role.Policies, document)
			}
			access := policy.KeyAccess(keyPolicy, current.Spec.URI, role)
			result.CutsOff = result.CutsOff || access.Decision() == policy.Denied
			if access.Decision() == policy.CannotTell {
				result.Unclear = "not all policies of the role are known"
			}
			words, previous, err := f.roleDiff(ctx, keyPolicy, current.Spec, access)
			if err != nil {
				problems = append(problems, err)
			}
			result.Words, result.Previous = append(result.Words, words...), previous
		}
	}
	result.Words = sentences(result.Words)
	return result, errors.Join(problems...)
}

// role reads a role with all its policies. With an error it is the role by its name alone.
func (f *Function) role(ctx context.Context, principal cmek.Principal) (policy.Role, error) {
	text, err := f.Policies.RolePolicies(ctx, principal)
	if err != nil {
		return policy.Role{ARN: string(principal)}, err
	}
	role, err := policy.ParseRole(string(principal), text)
	if err != nil {
		return policy.Role{ARN: string(principal)}, err
	}
	return role, nil
}

// roleDiff says what a change of the role's policies changed since a sweep noted them, and what they were.
func (f *Function) roleDiff(ctx context.Context, keyPolicy policy.Document, spec cmek.KeySpec, after policy.Access) (words []string, previous string, err error) {
	last, err := f.Ledger.LastPolicy(ctx, ledger.RolePolicies(spec.AuthPrincipal))
	if err != nil || last == "" {
		return append(after.Sentences(), "the role's previous policies are not known"), "", err
	}
	before, err := policy.ParseRole(string(spec.AuthPrincipal), last)
	if err != nil {
		return after.Sentences(), "", err
	}
	return policy.DiffAccess(policy.KeyAccess(keyPolicy, spec.URI, before), after), last, nil
}

// accessible reports whether the clusters of an access incident can use their keys again, as far as that can be read.
func (f *Function) accessible(ctx context.Context, i *ledger.Incident) (bool, error) {
	// Without clusters there is nothing to read: an event must have said that it is well.
	// Nor can those be read that the item had no room to list.
	if (len(i.Alert.Clusters) == 0 || i.Alert.Shortened()) && i.Recovered.IsZero() {
		return false, nil
	}
	ofRole := i.Alert.Change == cmek.RolePolicyChanged || i.Alert.Change == cmek.BoundaryChanged
	for _, affected := range i.Alert.Clusters {
		c, err := f.Ledger.Cluster(ctx, affected.ID)
		if err != nil {
			return false, err
		}
		for _, info := range c.CMEK.RegionInfos {
			current, n := info.Current()
			if n != 1 || !slices.Contains(affected.Regions, info.Region) {
				continue
			}
			role, err := f.role(ctx, current.Spec.AuthPrincipal)
			if err != nil && ofRole && i.Recovered.IsZero() {
				return false, nil // what is broken cannot be read, and no event says that it is well
			}
			well, err := f.mayUse(ctx, current.Spec, role, c.Cluster.AccountID)
			if err != nil || !well {
				return false, err
			}
		}
	}
	return true, nil
}

// mayUse reads key, key policy and trust policy, and reports whether nothing in them stands against the use of the key by a
// cluster of the account.
func (f *Function) mayUse(ctx context.Context, spec cmek.KeySpec, role policy.Role, account string) (bool, error) {
	key, err := f.KMS.Key(ctx, spec.URI)
	if err != nil || !key.State.Usable() {
		return false, err
	}
	text, err := f.Policies.KeyPolicy(ctx, spec.URI)
	if err != nil {
		return false, err
	}
	document, err := policy.Parse(text)
	if err != nil {
		return false, fmt.Errorf("read policy of key %s: %w", spec.URI, err)
	}
	if policy.KeyAccess(document, spec.URI, role).Decision() == policy.Denied {
		return false, nil
	}
	text, err = f.Policies.RoleTrust(ctx, spec.AuthPrincipal)
	switch {
	case errors.Is(err, cmek.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	if document, err = policy.Parse(text); err != nil {
		return false, fmt.Errorf("read trust policy of %s: %w", spec.AuthPrincipal, err)
	}
	trust := policy.RoleTrust(document, account, f.Settings.OrganizationID)
	return trust.Assume.Decision != policy.Denied, nil
}

// roles lists the principals that the clusters use the key as, without repeats.
func roles(clusters []*ledger.Cluster, key cmek.KeyURI) (list []cmek.Principal) {
	for _, c := range clusters {
		for _, info := range c.CMEK.RegionInfos {
			if current, n := info.Current(); n == 1 && current.Spec.URI.SameKey(key) {
				list = append(list, current.Spec.AuthPrincipal)
			}
		}
	}
	return unique(list)
}

// rolesNamed lists the clusters' roles of that name, without repeats.
func rolesNamed(clusters []*ledger.Cluster, role string) (list []cmek.Principal) {
	for _, c := range clusters {
		for _, info := range c.CMEK.RegionInfos {
			if current, n := info.Current(); n == 1 && current.Spec.AuthPrincipal.Name() == lastSegment(role) {
				list = append(list, current.Spec.AuthPrincipal)
			}
		}
	}
	return unique(list)
}

// unique drops repeats and keeps the order.
func unique[S ~string](list []S) (kept []S) {
	for _, s := range list {
		if !slices.Contains(kept, s) {
			kept = append(kept, s)
		}
	}
	return kept
}

// sentences gives clauses a capital and a full stop, and drops repeats.
func sentences(clauses []string) []string {
	list := unique(clauses)
	for i, s := range list {
		if !strings.HasPrefix(s, "arn:") && !strings.HasPrefix(s, "keyturn") {
			s = strings.ToUpper(s[:1]) + s[1:]
		}
		list[i] = strings.TrimSuffix(s, ".") + "."
	}
	return list
}
