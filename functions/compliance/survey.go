package compliance

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Survey is who uses which key, for whoever judges a change that is not made yet. It reads further facts, each once.
type Survey struct {
	g *gatherer
	// Uses are all key infos, current and past, of all clusters. Incomplete is why there may be more; "" if there are not.
	Uses       []SurveyedUse
	Incomplete string
	// OrganizationID is the external id of trust policies; "" if it could not be read.
	OrganizationID string
}

// SurveyedUse is a use with the account or project that the cluster's nodes run in.
type SurveyedUse struct {
	checks.Use
	CloudAccount string
}

// Survey lists all clusters with their keys, those of other installations, too: a change may be about any key. The error means that they
// cannot be listed.
func (f *Function) Survey(ctx context.Context) (*Survey, error) {
	own := *f
	own.KeyTypes = nil
	g := newGatherer(&own, fresh)
	if err := g.inventory(ctx); err != nil {
		return nil, err
	}
	g.organization(ctx)
	s := &Survey{g: g, Incomplete: g.incomplete(), OrganizationID: g.facts.Organization.Value}
	for _, uri := range slices.Sorted(maps.Keys(g.uses)) {
		for _, u := range g.uses[uri] {
			s.Uses = append(s.Uses, SurveyedUse{u, g.listed[u.ClusterID].Value.AccountID})
		}
	}
	return s, nil
}

// Key is what was read of a key.
func (s *Survey) Key(ctx context.Context, uri cmek.KeyURI) checks.Key {
	key := s.g.key(ctx, uri)
	key.Retention, key.Ties = s.g.retention(ctx, key.Uses.Value), s.g.ties(ctx, uri)
	return key
}

// Document is a document as it was noted lately, or is now, by the names of [cmek.Policies]; ok is false if it could not be read.
func (s *Survey) Document(ctx context.Context, name string) (text string, ok bool) {
	resource, permissions := strings.CutSuffix(name, ledger.RolePolicies(""))
	role := cmek.Principal(resource)
	var read checks.Fact[checks.Document]
	switch {
	case permissions || role.IsRole():
		var p checks.Principal
		p.ID = role
		s.g.role(ctx, &p)
		if read = p.Trust; permissions {
			read = p.Policies
		}
	case cmek.KeyURI(name).Type() == cmek.AWSKMS:
		one := s.g.policy(ctx, cmek.KeyURI(name))
		return one.Value, one.Unread == ""
	default:
		read = s.g.iam(ctx, name)
	}
	return read.Value.Text, read.Unread == "" && !read.Value.Missing
}
