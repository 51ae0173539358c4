package cockroachcloud

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Auditor is a client with a credential of its own for what a Cluster Operator may not read: the organization's audit log, and roles. It has
// no method that sends anything but a GET.
type Auditor struct{ client *Client }

// NewAuditor returns an auditor, or an error that names every option that is wrong.
func NewAuditor(o Options) (Auditor, error) {
	client, err := New(o)
	return Auditor{client}, err
}

// auditRole is what the audit log takes (Cloud API, auditlogevents).
const auditRole = "the role Org Admin (or, with Cc-Version 2026-09-15, Auditor) at CockroachDB Cloud to the service account of the audit credential"

// CMEKChanges reads the entries of the organization's audit log about changes of CMEKs after the time, the oldest first. One without a
// cluster, a time or an id is [cmek.ErrIncomplete]: it may be about any cluster.
func (a Auditor) CMEKChanges(ctx context.Context, after time.Time) (changes []cmek.AuditEntry, err error) {
	for e, err := range a.client.AuditLogEvents(ctx, after) {
		if err != nil {
			return nil, auditDenied(err)
		}
		if e.Action != AuditUpdateCMEK && e.Action != AuditRevokeCMEK {
			continue
		}
		if e.ID == "" || e.ClusterID == "" || e.CreatedAt.IsZero() {
			return nil, fmt.Errorf("list audit log events: %w: entry %q about a CMEK has no id, cluster or time", cmek.ErrIncomplete, clip(e.ID))
		}
		by := e.UserEmail
		if by == "" {
			by = e.ServiceAccountName
		}
		changes = append(changes, cmek.AuditEntry{ID: e.ID, ClusterID: e.ClusterID, Action: e.Action, At: e.CreatedAt, By: by, Error: e.Error})
	}
	return changes, nil
}

// Roles reads the roles of the service account to which an API key belongs, by the key's id, each once for each resource that it holds on.
func (a Auditor) Roles(ctx context.Context, apiKeyID string) (roles []string, err error) {
	type apiKey struct {
		ServiceAccountID string `json:"service_account_id"`
	}
	key, err := read(ctx, a.client, "/api/v1/api-keys/"+url.PathEscape(apiKeyID), nil, func(w apiKey) error {
		if w.ServiceAccountID == "" {
			return missing("service_account_id")
		}
		return nil
	})
	if err != nil {
		return nil, auditDenied(err)
	}
	type account struct {
		Roles []struct {
			Name string `json:"name"`
		} `json:"roles"`
	}
	found, err := read(ctx, a.client, "/api/v1/service-accounts/"+url.PathEscape(key.ServiceAccountID), nil, func(w account) error { return missingArray("roles", w.Roles) })
	if err != nil {
		return nil, auditDenied(err)
	}
	for _, role := range found.Roles {
		roles = append(roles, role.Name)
	}
	return roles, nil
}

func auditDenied(err error) error {
	if errors.Is(err, cmek.ErrDenied) && !errors.Is(err, cmek.ErrNoCredentials) {
		return &cmek.PermissionError{Permission: auditRole, Err: err}
	}
	return err
}
