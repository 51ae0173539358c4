package simulator

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/simulator/language"
)

// Cloud Logging, as far as entries are read: docs.cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list.

const (
	loggingService = "logging.googleapis.com"
	// mostLogEntries is how many entries are kept, in all projects together.
	mostLogEntries = 10_000

	readsLogs        = "logging.logEntries.list"
	readsPrivateLogs = "logging.privateLogEntries.list"
)

// keptEntry is an entry in a log bucket, which a reader sees after a while.
type keptEntry struct {
	*logEntry
	at, shownFrom time.Time
}

// keep files an entry in its bucket.
func (w *World) keep(entry *logEntry, at time.Time) {
	if w.is(GoogleLogging, "never") {
		return
	}
	if g := &w.google; len(g.log) == mostLogEntries {
		g.log = slices.Delete(g.log, 0, mostLogEntries/10)
	}
	w.google.log = append(w.google.log, keptEntry{entry, at, at.Add(w.duration(GoogleLogging))})
}

// listEntries answers with the entries of projects that the filter selects. Those of Data Access logs are left out for a caller who may read
// all others only (docs.cloud.google.com/logging/docs/access-control).
func (w *World) listEntries(c *googleCall) (any, *googleError) {
	var body struct {
		ResourceNames []string `json:"resourceNames"`
		Filter        string   `json:"filter"`
		OrderBy       string   `json:"orderBy"`
		PageSize      int      `json:"pageSize"`
		PageToken     string   `json:"pageToken"`
	}
	if failed := c.decode(&body); failed != nil {
		return nil, failed
	}
	if len(body.ResourceNames) == 0 || body.OrderBy != "" && body.OrderBy != "timestamp asc" && body.OrderBy != "timestamp desc" {
		return nil, googleRefusal(googleInvalid, "resource_names is required, and order_by must be empty, timestamp asc or timestamp desc.")
	}
	private := map[string]bool{} // by project: whether Data Access logs may be read, too
	for _, name := range body.ResourceNames {
		name = w.google.canonical(name)
		denied := w.google.denied[name]
		mayNot := func(permission string) bool {
			return w.google.projects[strings.TrimPrefix(name, "projects/")] == nil || slices.Contains(denied, "") || slices.Contains(denied, permission)
		}
		if mayNot(readsLogs) && mayNot(readsPrivateLogs) {
			return nil, errorInfo("IAM_PERMISSION_DENIED", loggingService, map[string]string{"permission": readsLogs, "resource": name}, "Permission denied for all log views.")
		}
		private[name] = !mayNot(readsPrivateLogs)
	}
	selected := []any{}
	for _, e := range w.google.log {
		name, log, _ := strings.Cut(e.LogName, "/logs/")
		all, read := private[name]
		if !read || !all && strings.HasSuffix(log, "%2Fdata_access") || e.shownFrom.After(c.now) || e.at.Before(c.now.Add(-w.duration(GoogleLogRetention))) {
			continue
		}
		var entry map[string]any
		if err := json.Unmarshal(toJSON(e.logEntry), &entry); err != nil {
			return nil, googleRefusal(googleInvalid, "An entry cannot be written: %s", err)
		}
		is, err := body.Filter == "", error(nil)
		if !is {
			is, err = language.Selects(body.Filter, entry, language.Documented)
		}
		if err != nil {
			return nil, googleRefusal(googleInvalid, "Unparseable filter: %s", err)
		}
		if is {
			selected = append(selected, e.logEntry)
		}
	}
	if body.OrderBy == "timestamp desc" {
		slices.Reverse(selected)
	}
	c.query.Set("pageSize", strconv.Itoa(body.PageSize))
	c.query.Set("pageToken", body.PageToken)
	page, next, failed := googlePage(w, c, selected)
	if failed != nil {
		return nil, failed
	}
	answer := map[string]any{}
	if len(page) > 0 {
		answer["entries"] = page
	}
	if next != "" {
		answer["nextPageToken"] = next
	}
	return answer, nil
}

// testPermissions says which of the permissions the caller has on the project: all that were not denied. It takes none itself
// (docs.cloud.google.com/resource-manager/reference/rest/v3/projects/testIamPermissions).
func (w *World) testPermissions(c *googleCall) (any, *googleError) {
	var body struct {
		Permissions []string `json:"permissions"`
	}
	if failed := c.decode(&body); failed != nil {
		return nil, failed
	}
	held := slices.DeleteFunc(body.Permissions, func(p string) bool { return slices.Contains(w.google.denied[c.resource], p) })
	if len(held) == 0 {
		return map[string]any{}, nil
	}
	return map[string]any{"permissions": held}, nil
}

// logsUse reports whether a use by the caller is in a Data Access log: always while the switch is on, else where the allow policy of the
// project, or of what is above it, says so (google.iam.v1.AuditConfig).
func (w *World) logsUse(c *googleCall) bool {
	if w.is(GoogleDataAccess, "on") {
		return true
	}
	on := false
	node := w.logParent(c)
	for _, level := range append([]string{node}, w.google.above(node)...) {
		p := w.google.policies[level]
		if p == nil {
			continue
		}
		for _, config := range p.Audit {
			if config.Service != c.row.service && config.Service != "allServices" {
				continue
			}
			for _, log := range config.Logs {
				if fmt.Sprint(log.LogType) != "DATA_READ" {
					continue
				}
				if slices.ContainsFunc(log.Exempted, func(m string) bool { return strings.HasSuffix(m, ":"+c.principal) }) {
					return false
				}
				on = true
			}
		}
	}
	return on
}

// nameVersion puts the version that was used where the entry of a use names it. Where that is, is not documented.
func (w *World) nameVersion(c *googleCall, entry *logEntry) {
	version := c.entry.version
	if c.row.service != kmsService || version == "" || w.is(GoogleLoggedVersion, "label") {
		return
	}
	key := w.google.canonical(entry.ProtoPayload.ResourceName)
	entry.Resource = kmsResource(key, "")
	switch named := key + "/cryptoKeyVersions/" + version; {
	case w.is(GoogleLoggedVersion, "resource-name"):
		entry.ProtoPayload.ResourceName = named
	case w.is(GoogleLoggedVersion, "response") && c.row.log == "Encrypt":
		entry.ProtoPayload.Response = map[string]any{"@type": "type.googleapis.com/google.cloud.kms.v1.EncryptResponse", "name": named}
	}
}
