package planned

import (
	"context"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// Reader reads what stands around a plan. It changes nothing.
type Reader interface {
	// Document is a document as it is now, by the names of [cmek.Policies]; ok is false if it could not be read.
	Document(ctx context.Context, name string) (text string, ok bool)
	// Key is what a KMS, the ledger and the Cloud API show of a key; what could not be read of it says why.
	Key(ctx context.Context, uri cmek.KeyURI) checks.Key
}

// mostRounds bounds how often what was read is looked through for what it refers to, mostRead how much is read.
const (
	mostRounds = 5
	mostRead   = 2000
)

// Read adds what decides about the plan's changes and the plan does not show. What cannot be read, or is beyond what is read for one plan,
// stays unknown.
func Read(ctx context.Context, p *Plan, known Known, from Reader) Known {
	known.Documents, known.Keys = map[string]string{}, map[cmek.KeyURI]checks.Key{}
	tried := map[string]bool{}
	for range mostRounds {
		more := false
		for _, name := range wanted(p, known) {
			if tried[name] || len(tried) >= mostRead || ctx.Err() != nil {
				continue
			}
			tried[name] = true
			if text, ok := from.Document(ctx, name); ok && text != "" {
				known.Documents[name], more = text, true
			}
		}
		if !more {
			break
		}
	}
	b := build(p, known)
	j := newJudging(b)
	for _, c := range p.changes {
		if uri := j.uriOf(c); c.acts() && !b.fresh[string(uri)] && uri.Type() != "" && len(known.Keys) < mostRead {
			if _, err := cmek.ParseKeyURI(string(uri)); err == nil {
				known.Keys[uri] = from.Key(ctx, uri)
			}
		}
		if c.Type == "google_kms_crypto_key_version" && c.acts() {
			if uri, _, err := cmek.ParseCryptoKeyName(c.before().text("name")); err == nil {
				known.Keys[uri] = from.Key(ctx, uri)
			}
		}
	}
	return known
}

// wanted names the documents that decide about the changes, as far as what is known shows them.
func wanted(p *Plan, known Known) (names []string) {
	b := build(p, known)
	j := newJudging(b)
	add := func(all ...string) {
		for _, name := range all {
			if !slices.Contains(names, name) && !b.fresh[name] {
				names = append(names, name)
			}
		}
	}
	for _, d := range sortedDocuments(b) {
		if len(d.by) == 0 || strings.Contains(d.name, "unknown") {
			continue
		}
		add(d.name)
		for _, u := range j.concerned(d) {
			add(deciding(u, known)...)
		}
	}
	if len(b.of("aws_iam_policy")) > 0 {
		for _, u := range j.uses {
			if u.Spec.Type == cmek.AWSKMS {
				add(ledger.RolePolicies(u.Spec.AuthPrincipal))
			}
		}
	}
	return names
}

func deciding(u alerting.Use, known Known) []string {
	if u.Spec.Type == cmek.AWSKMS {
		return []string{string(u.Spec.URI), string(u.Spec.AuthPrincipal), ledger.RolePolicies(u.Spec.AuthPrincipal)}
	}
	by, _ := google.CockroachAccount(u.ClusterID, u.CloudAccount)
	return google.Deciding(u.Spec.URI, u.Spec.AuthPrincipal, known.Documents, by)
}

func sortedDocuments(b *builder) (all []*document) {
	for _, d := range b.docs {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *document) int { return strings.Compare(a.name, b.name) })
	return all
}
