package cmek

import (
	"strings"
	"time"
)

// AuditEntry is an entry of the audit log of the organization at Cockroach Labs.
type AuditEntry struct {
	ID        string    `json:"id"`
	ClusterID string    `json:"cluster_id,omitempty"`
	Action    string    `json:"action"`
	At        time.Time `json:"at"`
	// By is the user's e-mail or the service account's name. Error is set if the action failed.
	By    string `json:"by,omitempty"`
	Error string `json:"error,omitempty"`
}

// APIKeyID is the id of an API key of Cockroach Labs, which is no secret: all of it but its last part. "" if it has another form.
func APIKeyID(secret string) string {
	if strings.Count(secret, "_") != 2 {
		return ""
	}
	return secret[:strings.LastIndexByte(secret, '_')]
}
