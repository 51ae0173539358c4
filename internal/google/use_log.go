package google

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// UseLog reads uses of keys from the Data Access logs of their projects. These are off unless somebody enables them, and kept for 30 days
// unless the log bucket says otherwise (docs.cloud.google.com/logging/docs/audit, "Data Access audit logs"; …/logging/quotas). It is safe
// for concurrent use.
type UseLog struct {
	rest rest

	mu sync.Mutex
	// next is when the next request may leave.
	next time.Time
}

// UseLogPermission is what it needs on a key's project, or above it. Without it, and with logging.logEntries.list, Cloud Logging leaves Data
// Access logs out of its answers (docs.cloud.google.com/logging/docs/access-control).
const UseLogPermission = "logging.privateLogEntries.list"

const (
	loggingHost   = "logging.googleapis.com"
	dataAccessLog = "cloudaudit.googleapis.com/data_access"

	// entriesPace: 60 requests a minute are granted to a project (docs.cloud.google.com/logging/quotas). One pace for all projects leaves room
	// for people's own, whichever project they count for.
	entriesPace = 1500 * time.Millisecond
	// searchTime is what a page may take, where other calls may take less: a log is searched, however much is in it.
	searchTime = 30 * time.Second
	// entriesOnPage and mostEntryPages bound what is read of one key. An entry about a use has some 2 KB.
	entriesOnPage  = 500
	mostEntryPages = 10
)

// NewUseLog returns a reader of uses.
func NewUseLog(config Config) *UseLog {
	if config.HTTP.Timeout > 0 {
		client := *config.HTTP
		client.Timeout = max(client.Timeout, searchTime)
		config.HTTP = &client
	}
	return &UseLog{rest: config.rest()}
}

// RecordedUses reads the successful cryptographic operations with the key from the time on. An entry comes seconds after the call, and
// sometimes much later. That the log has none proves nothing: see [UseLog].
func (u *UseLog) RecordedUses(ctx context.Context, uri cmek.KeyURI, since time.Time) (uses cmek.RecordedUses, err error) {
	project := uri.Account()
	if uri.Type() != cmek.GCPCloudKMS || project == "" {
		return uses, fmt.Errorf("read uses of key %s: not a key of Cloud KMS", uri)
	}
	doing := "read Data Access logs of project " + project
	q := entriesQuery{ResourceNames: []string{"projects/" + project}, Filter: usesFilter(uri, since), OrderBy: "timestamp desc", PageSize: entriesOnPage}
	seen := false
	for page := 0; ; page++ {
		if page == mostEntryPages {
			uses.Cut = true
			break
		}
		entries, next, err := u.page(ctx, q)
		if err != nil {
			return uses, u.refusal(explain(err, doing), project)
		}
		seen = seen || len(entries) > 0
		for _, text := range entries {
			use, ok, err := parseUse(text, uri)
			switch {
			case err != nil:
				uses.Cut = true // it may be any use
			case ok:
				uses.Uses = append(uses.Uses, use)
			}
		}
		// A page may be empty although another one follows: the search had no time for all entries (entries.list, nextPageToken).
		if q.PageToken = next; next == "" {
			break
		}
	}
	if seen {
		return uses, nil
	}
	return uses, u.mayRead(ctx, project, doing)
}

// mayRead is an error if the entries may have been left out for want of the permission. To ask takes none
// (docs.cloud.google.com/resource-manager/reference/rest/v3/projects/testIamPermissions).
func (u *UseLog) mayRead(ctx context.Context, project, doing string) error {
	body, err := json.Marshal(map[string][]string{"permissions": {UseLogPermission}})
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	text, err := u.rest.call(ctx, request{method: http.MethodPost, host: resourceManagerHost, path: "/v3/projects/" + project + ":testIamPermissions", body: body, header: jsonBody()})
	if err != nil {
		return explain(err, doing+": ask for the permission "+UseLogPermission)
	}
	var held struct {
		Permissions []string `json:"permissions"`
	}
	if err := only(text, &held, "permissions"); err != nil {
		return explain(err, doing+": ask for the permission "+UseLogPermission)
	}
	if !slices.Contains(held.Permissions, UseLogPermission) {
		return u.refusal(fmt.Errorf("%s: %w: without %s Cloud Logging leaves them out", doing, cmek.ErrDenied, UseLogPermission), project)
	}
	return nil
}

func (*UseLog) refusal(err error, project string) error {
	if !errors.Is(err, cmek.ErrDenied) || errors.Is(err, cmek.ErrNoCredentials) {
		return err
	}
	return &cmek.PermissionError{Permission: UseLogPermission + " on project " + project, Err: err}
}

// entriesQuery is the body of entries.list (docs.cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list).
type entriesQuery struct {
	ResourceNames []string `json:"resourceNames"`
	Filter        string   `json:"filter"`
	OrderBy       string   `json:"orderBy"`
	PageSize      int      `json:"pageSize"`
	PageToken     string   `json:"pageToken,omitempty"`
}

// page reads a page of entries when the pace permits.
func (u *UseLog) page(ctx context.Context, q entriesQuery) (entries []json.RawMessage, next string, err error) {
	if err := u.wait(ctx); err != nil {
		return nil, "", err
	}
	body, err := json.Marshal(q)
	if err != nil {
		return nil, "", err
	}
	text, err := u.rest.call(ctx, request{method: http.MethodPost, host: loggingHost, path: "/v2/entries:list", body: body, header: jsonBody()})
	if err != nil {
		return nil, "", err
	}
	var answer struct {
		Entries []json.RawMessage `json:"entries"`
		Next    string            `json:"nextPageToken"`
	}
	err = only(text, &answer, "entries", "nextPageToken")
	return answer.Entries, answer.Next, err
}

// wait keeps the pace.
func (u *UseLog) wait(ctx context.Context) error {
	u.mu.Lock()
	at := u.next
	if now := time.Now(); at.Before(now) {
		at = now
	}
	u.next = at.Add(entriesPace)
	u.mu.Unlock()
	return sleep(ctx, time.Until(at))
}

// usesFilter selects the uses of a key since a time. Methods have short names in the log; should one be written out, its last part counts.
// Texts are compared without regard to case, so that it may select uses of another key, too. The labels are those of both monitored
// resources, of keys and of their versions (docs.cloud.google.com/monitoring/api/resources).
func usesFilter(uri cmek.KeyURI, since time.Time) string {
	parts := strings.Split(uri.Canonical(), "/")
	label := func(name, value string) string { return "resource.labels." + name + "=" + strconv.Quote(value) }
	return strings.Join([]string{
		`log_id(` + strconv.Quote(dataAccessLog) + `)`,
		`protoPayload.serviceName="` + kmsHost + `"`,
		`protoPayload.methodName=~"(^|[.])(Encrypt|Decrypt)$"`,
		label("location", parts[3]), label("key_ring_id", parts[5]), label("crypto_key_id", parts[7]),
		`timestamp>=` + strconv.Quote(since.UTC().Truncate(time.Second).Format(time.RFC3339)),
	}, " AND ")
}

// useEntry is what an entry about a use is read for (docs.cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry, and
// …/logging/docs/reference/audit/auditlog/rest/Shared.Types/AuditLog).
type useEntry struct {
	InsertID  string    `json:"insertId"`
	LogName   string    `json:"logName"`
	Timestamp time.Time `json:"timestamp"`
	// Split is set for a part of an entry that was too large.
	Split    json.RawMessage `json:"split"`
	Resource struct {
		Labels map[string]string `json:"labels"`
	} `json:"resource"`
	Payload *struct {
		ServiceName  string `json:"serviceName"`
		MethodName   string `json:"methodName"`
		ResourceName string `json:"resourceName"`
		Status       struct {
			Code int `json:"code"`
		} `json:"status"`
		Authentication struct {
			Email   string `json:"principalEmail"`
			Subject string `json:"principalSubject"`
		} `json:"authenticationInfo"`
		Request  named `json:"request"`
		Response named `json:"response"`
	} `json:"protoPayload"`
}

type named struct {
	Name string `json:"name"`
}

// parseUse reads an entry; ok is false if it is of no successful use of the key.
func parseUse(text []byte, uri cmek.KeyURI) (use cmek.RecordedUse, ok bool, err error) {
	var e useEntry
	if err := json.Unmarshal(text, &e); err != nil {
		return use, false, fmt.Errorf("read log entry: %w", err)
	}
	if e.Payload == nil || len(e.Split) > 0 || e.InsertID == "" || e.Timestamp.IsZero() || e.LogName == "" {
		return use, false, fmt.Errorf("log entry: %w: no insertId, logName, timestamp or protoPayload, or a part of an entry", cmek.ErrIncomplete)
	}
	p := e.Payload
	_, log, _ := strings.Cut(e.LogName, "/logs/")
	method := p.MethodName[strings.LastIndex(p.MethodName, ".")+1:]
	if strings.ReplaceAll(log, "%2F", "/") != dataAccessLog || p.ServiceName != kmsHost || method != "Encrypt" && method != "Decrypt" || p.Status.Code != 0 {
		return use, false, nil
	}
	key, _, err := cmek.ParseCryptoKeyName(p.ResourceName)
	switch {
	case err != nil:
		return use, false, fmt.Errorf("log entry: %w: resourceName: %w", cmek.ErrIncomplete, err)
	case !sameResource(string(key), uri.Canonical()):
		return use, false, nil
	}
	use = cmek.RecordedUse{Event: e.InsertID, At: e.Timestamp.UTC(), Operation: method, By: cmek.Principal(p.Authentication.Email)}
	if account, is := strings.CutPrefix(p.Authentication.Subject, "serviceAccount:"); is && use.By == "" {
		use.By = cmek.Principal(account)
	}
	version := versionNamed(uri, p.ResourceName, labeled(e.Resource.Labels), p.Request.Name, p.Response.Name)
	if method == "Encrypt" {
		use.Encrypted = version
	} else {
		use.Decrypted = version
	}
	return use, true, nil
}

// labeled is the name of the version that the labels of a monitored resource are of, "" if they are of none.
func labeled(labels map[string]string) string {
	if labels["crypto_key_version_id"] == "" {
		return ""
	}
	return "projects/" + labels["project_id"] + "/locations/" + labels["location"] + "/keyRings/" + labels["key_ring_id"] + "/cryptoKeys/" + labels["crypto_key_id"] +
		"/cryptoKeyVersions/" + labels["crypto_key_version_id"]
}

// versionNamed is the version that names of the key, or of its versions, agree on. It is zero if none of them names one, if two name
// different ones, and if one is of something else. Where an entry names the version that was used is not documented: Encrypt is called on
// the key, and its answer names the version (google.cloud.kms.v1.EncryptResponse), but no known entry has an answer.
func versionNamed(uri cmek.KeyURI, names ...string) (version cmek.KeyVersion) {
	for _, name := range names {
		if name == "" {
			continue
		}
		key, v, err := cmek.ParseCryptoKeyName(name)
		switch {
		case err != nil, !sameResource(string(key), uri.Canonical()), !v.IsZero() && !version.IsZero() && v != version:
			return cmek.KeyVersion{}
		case !v.IsZero():
			version = v
		}
	}
	return version
}
