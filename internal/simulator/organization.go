package simulator

import (
	"encoding/json"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

func (w *World) getOrganization(*cloudCall) (any, *cloudError) {
	return struct {
		ID         string            `json:"id"`
		Label      string            `json:"label"`
		Name       string            `json:"name"`
		CreatedAt  time.Time         `json:"created_at"`
		Principals servicePrincipals `json:"cockroach_cloud_service_principals"`
	}{w.organization.ID, w.organization.Label, w.organization.Name, w.organizationCreated, servicePrincipals{
		awsPrincipal{"arn:aws:iam::900000000000:user/" + w.organization.Label}, gcpPrincipal{w.organization.Label + "@crl-sample.iam.gserviceaccount.com"},
	}}, nil
}

// servicePrincipals are Cockroach Labs' own in the customer's clouds. They are not who uses a CMEK.
type servicePrincipals struct {
	AWS awsPrincipal `json:"aws"`
	GCP gcpPrincipal `json:"gcp"`
}

type awsPrincipal struct {
	UserARN string `json:"user_arn"`
}

type gcpPrincipal struct {
	ServiceAccountEmail string `json:"service_account_email"`
}

// Actions of the audit log. There is none of its own for enabling CMEK.
const (
	updateCMEK = "AUDIT_LOG_ACTION_UPDATE_CMEK"
	revokeCMEK = "AUDIT_LOG_ACTION_REVOKE_CMEK"
)

// auditEntry is the schema AuditLogEntry.
type auditEntry struct {
	ID                 string            `json:"id"`
	Action             string            `json:"action"`
	ClusterID          string            `json:"cluster_id"`
	ClusterName        string            `json:"cluster_name"`
	CreatedAt          time.Time         `json:"created_at"`
	Error              string            `json:"error,omitempty"`
	Metadata           map[string]string `json:"metadata"`
	Payload            any               `json:"payload"`
	ServiceAccountName string            `json:"service_account_name"`
	Source             string            `json:"source"`
	TraceID            string            `json:"trace_id"`
}

func (w *World) auditCMEK(call *cloudCall, action string, c *cluster, specs []cmek.RegionSpec, failed *cloudError) {
	message := ""
	if failed != nil {
		message = failed.message
	}
	w.addAudit(call, action, c, map[string]any{"region_specs": specs}, message)
}

func (w *World) auditCluster(call *cloudCall, action string, c *cluster) {
	w.addAudit(call, action, c, map[string]any{}, "")
}

// addAudit notes what the caller did, to a cluster unless c is nil.
func (w *World) addAudit(call *cloudCall, action string, c *cluster, payload map[string]any, message string) {
	if c == nil {
		c = &cluster{} // the entry is about none
	}
	w.audit = append(w.audit, auditEntry{
		ID: w.uuid(), Action: action, ClusterID: c.id, ClusterName: c.name, CreatedAt: call.now, Error: message,
		Metadata: map[string]string{"ip_address": "192.0.2.10"}, Payload: json.RawMessage(toJSON(payload)),
		ServiceAccountName: call.caller.name, Source: "AUDIT_LOG_SOURCE_CC_API", TraceID: w.uuid(),
	})
	if n := len(w.audit); n > 1 && w.audit[n-2].CreatedAt.After(call.now) { // The clock was set back.
		slices.SortStableFunc(w.audit, func(a, b auditEntry) int { return a.CreatedAt.Compare(b.CreatedAt) })
	}
}

// listAuditLogs pages by time: starting_from is exclusive, and all entries of one moment come together, so that limit is
// approximate. Ascending order always says where to go on; descending order ends.
func (w *World) listAuditLogs(call *cloudCall) (any, *cloudError) {
	query := call.URL.Query()
	limit, descending := 200, query.Get("sort_order") == "DESC"
	if asked, err := strconv.Atoi(query.Get("limit")); err == nil && asked > 0 {
		limit = asked
	}
	from, err := optionalTime(query.Get("starting_from"))
	if err != nil {
		return nil, badRequest("invalid starting_from")
	}
	entries, more := w.auditPage(from, descending, limit)
	for i := range entries {
		if w.is(AuditPayload, "string") {
			entries[i].Payload = string(entries[i].Payload.(json.RawMessage))
		}
	}
	result := struct {
		Entries          []auditEntry `json:"entries"`
		NextStartingFrom time.Time    `json:"next_starting_from,omitzero"`
	}{Entries: entries}
	switch {
	case len(entries) > 0 && (more || !descending):
		result.NextStartingFrom = entries[len(entries)-1].CreatedAt
	case !descending:
		result.NextStartingFrom = from
		setDefault(&result.NextStartingFrom, call.now)
	}
	return result, nil
}

// auditPage returns a copy of the entries after (descending: before) from, and whether there are more.
func (w *World) auditPage(from time.Time, descending bool, limit int) (page []auditEntry, more bool) {
	var rest []auditEntry
	if descending {
		end := len(w.audit)
		if !from.IsZero() {
			end = sort.Search(len(w.audit), func(i int) bool { return !w.audit[i].CreatedAt.Before(from) })
		}
		rest = slices.Clone(w.audit[:end])
		slices.Reverse(rest)
	} else {
		start := sort.Search(len(w.audit), func(i int) bool { return w.audit[i].CreatedAt.After(from) })
		rest = slices.Clone(w.audit[start:])
	}
	n := min(limit, len(rest))
	for n > 0 && n < len(rest) && rest[n].CreatedAt.Equal(rest[n-1].CreatedAt) {
		n++
	}
	return append([]auditEntry{}, rest[:n]...), n < len(rest)
}

// optionalTime parses RFC 3339; "" is the zero time.
func optionalTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339, s)
}
