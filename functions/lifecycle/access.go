package lifecycle

import (
	"errors"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// judge says whether the cluster may use the key, from the documents that were read. It is pure.
func judge(use cmek.Use, organization string, documents map[string]document, at time.Time) Access {
	if use.Spec.Type == cmek.GCPCloudKMS {
		return judgeGoogle(use, documents, at)
	}
	return judgeAWS(use, organization, documents)
}

func judgeAWS(use cmek.Use, organization string, documents map[string]document) (a Access) {
	arn := string(use.Spec.AuthPrincipal)
	key, keyErr := parsed(documents, string(use.Spec.URI))
	trust, trustErr := parsed(documents, arn)
	role := policy.Role{ARN: arn}
	if d, ok := documents[ledger.RolePolicies(use.Spec.AuthPrincipal)]; ok && d.err == nil {
		if read, err := policy.ParseRole(arn, d.text); err == nil {
			role = read
		}
	}
	switch {
	case errors.Is(trustErr, cmek.ErrNotFound):
		missing := policy.Verdict{Decision: policy.Denied, Why: "the role " + arn + " does not exist"}
		return Access{Key: missing, Principal: missing, NoPrincipal: true}
	case trustErr != nil:
		a.Principal.Why = "its trust policy was not read: " + trustErr.Error()
	default:
		verdict := policy.RoleTrust(trust, use.CloudAccount, organization)
		a.Principal = policy.Verdict{Decision: verdict.Assume.Decision, Why: strings.Join(verdict.Sentences(), "; ")}
	}
	if keyErr != nil {
		a.Key.Why = "the key's policy was not read: " + keyErr.Error()
		return a
	}
	verdict := policy.KeyAccess(key, use.Spec.URI, role)
	a.Key = policy.Verdict{Decision: verdict.Decision(), Why: strings.Join(verdict.Sentences(), "; ")}
	return a
}

func parsed(documents map[string]document, name string) (policy.Document, error) {
	d, ok := documents[name]
	switch {
	case !ok:
		return policy.Document{}, errors.New("nothing names it")
	case d.err != nil:
		return policy.Document{}, d.err
	}
	return policy.Parse(d.text)
}

func judgeGoogle(use cmek.Use, documents map[string]document, at time.Time) (a Access) {
	texts := map[string]string{}
	for name, d := range documents {
		if d.err == nil {
			texts[name] = d.text
		}
	}
	docs, _ := google.ReadAll(texts)
	account := google.ServiceAccount{Email: string(use.Spec.AuthPrincipal)}
	switch state := documents[google.State(use.Spec.AuthPrincipal)]; {
	case errors.Is(state.err, cmek.ErrNotFound):
		missing := policy.Verdict{Decision: policy.Denied, Why: "the service account " + account.Email + " does not exist"}
		return Access{Key: missing, Principal: missing, NoPrincipal: true}
	case state.err == nil:
		if read, err := google.ParseServiceAccount(state.text); err == nil {
			account = read
		}
	}
	access := google.KeyAccess(docs, use.Spec.URI, account, at)
	a.Key = policy.Verdict{Decision: access.Decision(), Why: strings.Join(access.Sentences(), "; ")}
	cockroach, known := google.CockroachAccount(use.ClusterID, use.CloudAccount)
	if !known {
		a.Principal.Why = "the cluster's account_id names no project, so that Cockroach Labs' service account is not known"
		return a
	}
	acts := google.ActAs(docs, account, cockroach, at)
	a.Principal = policy.Verdict{Decision: acts.Decision(), Why: strings.Join(acts.Sentences(), "; ")}
	return a
}
