package cockroachcloud

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/url"
	"time"
)

// Organization is the CockroachDB Cloud organization of the service account.
type Organization struct {
	// ID is also the external id in the trust policy of an AWS role that clusters assume.
	ID        string
	Label     string
	Name      string
	CreatedAt time.Time
}

// Organization reads the organization.
func (c *Client) Organization(ctx context.Context) (Organization, error) {
	type organization struct {
		ID        string    `json:"id"`
		Label     string    `json:"label"`
		Name      string    `json:"name"`
		CreatedAt timestamp `json:"created_at"`
	}
	w, err := read(ctx, c, "/api/v1/organization", nil, func(w organization) error {
		if w.ID == "" {
			return missing("id")
		}
		return nil
	})
	if err != nil {
		return Organization{}, err
	}
	return Organization{w.ID, w.Label, w.Name, w.CreatedAt.Time}, nil
}

// Audit log actions that concern CMEK; enabling and rotating are both an update.
const (
	AuditUpdateCMEK = "AUDIT_LOG_ACTION_UPDATE_CMEK"
	AuditRevokeCMEK = "AUDIT_LOG_ACTION_REVOKE_CMEK"
)

// AuditLogEvent is one entry of the organization's audit log.
type AuditLogEvent struct {
	ID          string
	Action      string
	ClusterID   string
	ClusterName string
	CreatedAt   time.Time
	// Error is why the action failed, "" if it did not.
	Error string
	// Payload is the entry's detail, usually JSON text. Its form is not documented.
	Payload            string
	ServiceAccountName string
	UserEmail          string
	IPAddress          string
	// Source is where the action came from, for example AUDIT_LOG_SOURCE_CC_API or AUDIT_LOG_SOURCE_UI.
	Source string
}

// AuditLogEvents yields the organization's audit log after the given time, the whole log if it is zero, oldest first and
// each entry once. An error ends it. The service account needs ORG_ADMIN on the organization; otherwise the error wraps
// cmek.ErrDenied.
func (c *Client) AuditLogEvents(ctx context.Context, after time.Time) iter.Seq2[AuditLogEvent, error] {
	return func(yield func(AuditLogEvent, error) bool) {
		// Pages are cut by time, and an entry may come twice.
		seen := make(map[string]bool)
		for range maxPages {
			events, next, err := c.auditLogPage(ctx, after)
			if err != nil {
				yield(AuditLogEvent{}, err)
				return
			}
			for _, e := range events {
				if seen[e.ID] && e.ID != "" {
					continue
				}
				seen[e.ID] = true
				if !yield(e, nil) {
					return
				}
			}
			// In ascending order there always is a next time; the log ends with a page that leads no further.
			if len(events) == 0 || !next.After(after) {
				return
			}
			after = next
		}
		yield(AuditLogEvent{}, fmt.Errorf("list audit log events: no end after %d pages", maxPages))
	}
}

func (c *Client) auditLogPage(ctx context.Context, after time.Time) ([]AuditLogEvent, time.Time, error) {
	query := url.Values{}
	if !after.IsZero() {
		query.Set("starting_from", after.UTC().Format(time.RFC3339Nano))
	}
	list, err := read(ctx, c, "/api/v1/auditlogevents", query, auditLog.check)
	if err != nil {
		return nil, time.Time{}, err
	}
	events := make([]AuditLogEvent, len(list.Entries))
	for i, w := range list.Entries {
		events[i] = w.toEvent()
	}
	if list.Next == "" {
		return events, time.Time{}, nil
	}
	// Not lenient here: a time that cannot be followed would silently cut the log short.
	next, err := time.Parse(time.RFC3339, list.Next)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("list audit log events: next_starting_from %q is not a time", clip(list.Next))
	}
	return events, next, nil
}

// auditLog is the API's ListAuditLogsResponse.
type auditLog struct {
	Entries []auditLogEntry `json:"entries"`
	Next    string          `json:"next_starting_from"`
}

func (w auditLog) check() error { return missingArray("entries", w.Entries) }

// auditLogEntry is the API's AuditLogEntry.
type auditLogEntry struct {
	ID                 string          `json:"id"`
	Action             string          `json:"action"`
	ClusterID          string          `json:"cluster_id"`
	ClusterName        string          `json:"cluster_name"`
	CreatedAt          timestamp       `json:"created_at"`
	Error              string          `json:"error"`
	Payload            json.RawMessage `json:"payload"`
	ServiceAccountName string          `json:"service_account_name"`
	UserEmail          string          `json:"user_email"`
	Source             string          `json:"source"`
	Metadata           struct {
		IPAddress string `json:"ip_address"`
	} `json:"metadata"`
}

func (w auditLogEntry) toEvent() AuditLogEvent {
	return AuditLogEvent{
		ID: w.ID, Action: w.Action, ClusterID: w.ClusterID, ClusterName: w.ClusterName, CreatedAt: w.CreatedAt.Time,
		Error: w.Error, Payload: payloadText(w.Payload), ServiceAccountName: w.ServiceAccountName,
		UserEmail: w.UserEmail, IPAddress: w.Metadata.IPAddress, Source: w.Source,
	}
}

// payloadText is the payload as text. The API sends an object or a string under one and the same version.
func payloadText(raw json.RawMessage) string {
	var text string
	if len(raw) == 0 || json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}
