package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Google serves the REST APIs of Google Cloud that a client reaches with other endpoints than Google's own. The bearer token is not
// checked: if it looks like an e-mail address, the call is that account's, else an operator's.
func (w *World) Google() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, mostBody))
		if err != nil {
			body = []byte("too large") // not JSON, so the call is refused as one that cannot be read
		}
		w.answerGoogle(r, body).write(rw)
	})
}

// googleCall is one request to an API of Google.
type googleCall struct {
	row googleOperation
	// names are what stands for the stars of the row's path, in their order.
	names []string
	query url.Values
	body  []byte
	now   time.Time

	principal, userAgent string
	// resource is the canonical name of what the call is on, for permissions and for the audit log.
	resource string
	// entry is what the audit log shows beside what it shows of every call.
	entry auditDetails
}

// googleError is a google.rpc.Status: github.com/googleapis/googleapis/blob/master/google/rpc/status.proto.
type googleError struct {
	code    int
	message string
	details []any
}

// googleCodes are the canonical codes (google/rpc/code.proto) by number, each with its HTTP status.
var googleCodes = []struct {
	name   string
	status int
}{
	{"OK", 200},
	{"CANCELLED", 499}, //nolint:misspell // so it stands in code.proto
	{"UNKNOWN", 500},
	{"INVALID_ARGUMENT", 400},
	{"DEADLINE_EXCEEDED", 504},
	{"NOT_FOUND", 404},
	{"ALREADY_EXISTS", 409},
	{"PERMISSION_DENIED", 403},
	{"RESOURCE_EXHAUSTED", 429},
	{"FAILED_PRECONDITION", 400},
	{"ABORTED", 409},
	{"OUT_OF_RANGE", 400},
	{"UNIMPLEMENTED", 501},
	{"INTERNAL", 500},
	{"UNAVAILABLE", 503},
	{"DATA_LOSS", 500},
	{"UNAUTHENTICATED", 401},
}

// Codes that calls are refused with.
const (
	googleInvalid       = 3
	googleNotFound      = 5
	googleAlreadyExists = 6
	googleDenied        = 7
	googlePrecondition  = 9
	googleAborted       = 10
	googleUnimplemented = 12
)

func googleRefusal(code int, format string, args ...any) *googleError {
	return &googleError{code: code, message: fmt.Sprintf(format, args...)}
}

// googleMissing is the error for a resource that does not exist.
func googleMissing(kind, name string) *googleError {
	return googleRefusal(googleNotFound, "%s %s not found.", kind, name)
}

// errorInfo is a refusal with its reason: google/rpc/error_details.proto.
func errorInfo(reason, domain string, metadata map[string]string, format string, args ...any) *googleError {
	failed := googleRefusal(googleDenied, format, args...)
	failed.details = []any{map[string]any{
		"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": domain, "metadata": metadata,
	}}
	return failed
}

// status is the google.rpc.Status of audit log entries; an empty one stands for success.
func (e *googleError) status() map[string]any {
	if e == nil {
		return map[string]any{}
	}
	status := map[string]any{"code": e.code, "message": e.message}
	if len(e.details) > 0 {
		status["details"] = e.details
	}
	return status
}

// answerGoogle does everything that needs the world, so that a slow reader of the answer holds up nobody.
func (w *World) answerGoogle(r *http.Request, body []byte) answer {
	now := w.enter()
	defer w.mu.Unlock()
	c, failed := w.googleCall(r, body, now)
	var output any
	if failed == nil {
		output, failed = w.performGoogle(c)
		if c.row.log != "" {
			w.emitGoogleCall(c, failed)
		}
		w.agenda.run(now) // what takes no time at all has happened when the caller gets the answer
	}
	request := Request{
		Seq: w.requests.next(), Time: w.observed(now), API: "google", Method: r.Method, Path: r.URL.EscapedPath(), Caller: c.principal,
		Status: http.StatusOK, Outcome: "ok",
	}
	a := newAnswer(http.StatusOK, "application/json; charset=UTF-8", nil)
	if failed != nil {
		known := googleCodes[failed.code]
		a.status, request.Status, request.Outcome = known.status, known.status, known.name+": "+failed.message
		status := failed.status()
		status["code"], status["status"] = known.status, known.name // of HTTP, unlike in google.rpc.Status
		output = map[string]any{"error": status}
	}
	a.body = toJSON(output)
	w.requests.add(request)
	return a
}

// performGoogle runs the operation if the project is in order and the caller may.
func (w *World) performGoogle(c *googleCall) (any, *googleError) {
	p := w.google.project(c.resource)
	switch {
	case strings.HasPrefix(c.resource, "projects/") && !strings.HasPrefix(c.resource, "projects/-/") && p == nil:
		return nil, c.denial()
	case p != nil && c.row.service != resourceService && c.row.service != usageService:
		if failed := p.refuses(c.row.service); failed != nil {
			return nil, failed
		}
	}
	if denied := w.google.denied[c.resource]; slices.Contains(denied, "") || slices.Contains(denied, c.row.permission) {
		return nil, c.denial()
	}
	return c.row.run(w, c)
}

// denial is the error for a caller without the permission. It does not tell whether the resource exists.
func (c *googleCall) denial() *googleError {
	return errorInfo("IAM_PERMISSION_DENIED", c.row.service, map[string]string{"permission": c.row.permission, "resource": c.resource},
		"Permission '%s' denied on resource '%s' (or it may not exist).", c.row.permission, c.resource)
}

// refuses is the error of the service for a project in which it does not work.
func (p *googleProject) refuses(service string) *googleError {
	metadata := map[string]string{"consumer": "projects/" + p.number, "service": service}
	switch {
	case p.shutDown:
		return errorInfo("USER_PROJECT_DENIED", "googleapis.com", metadata, "Project '%s' has been deleted.", p.number)
	case p.off[service]:
		return errorInfo("SERVICE_DISABLED", "googleapis.com", metadata,
			"%s has not been used in project %s before or it is disabled.", service, p.number)
	case p.withoutBilling && service == kmsService:
		return errorInfo("BILLING_DISABLED", "googleapis.com", metadata,
			"This API method requires billing to be enabled. Please enable billing on project #%s.", p.number)
	}
	return nil
}

// operatorAddress is who calls without an account of his own.
const operatorAddress = "operator@example.com"

func (w *World) googleCall(r *http.Request, body []byte, now time.Time) (*googleCall, *googleError) {
	c := &googleCall{query: r.URL.Query(), body: body, now: now, principal: operatorAddress, userAgent: r.UserAgent()}
	if token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); strings.Contains(token, "@") {
		c.principal = token
	}
	path, verb := splitGooglePath(r.URL.EscapedPath())
	for _, row := range googleOperations {
		if row.method == r.Method && row.verb == verb {
			if names, ok := matchPath(row.path, path); ok {
				c.row, c.names = row, names
				c.resource = w.google.called(row.resource(names))
				return c, nil
			}
		}
	}
	return c, googleRefusal(googleUnimplemented, "%s %s is not simulated.", r.Method, r.URL.EscapedPath())
}

// customVerb is what Google's paths end with if the method is none of the standard ones.
var customVerb = regexp.MustCompile(`:([a-z][A-Za-z]+)$`)

// splitGooglePath takes the segments and the verb out of a path. Segments may hold escaped slashes; some clients escape them twice.
func splitGooglePath(escaped string) (segments []string, verb string) {
	escaped = strings.TrimPrefix(escaped, "/")
	if found := customVerb.FindStringSubmatch(escaped); found != nil && googleVerbs[found[1]] {
		escaped, verb = strings.TrimSuffix(escaped, found[0]), found[1]
	}
	for segment := range strings.SplitSeq(escaped, "/") {
		for range 2 {
			if once, err := url.PathUnescape(segment); err == nil {
				segment = once
			}
		}
		segments = append(segments, segment)
	}
	return segments, verb
}

// matchPath compares with a pattern whose segments are names or stars, and returns what the stars stand for.
func matchPath(pattern string, segments []string) (names []string, ok bool) {
	parts := strings.Split(pattern, "/")
	if len(parts) != len(segments) {
		return nil, false
	}
	for i, part := range parts {
		switch {
		case part == "*" && segments[i] != "":
			names = append(names, segments[i])
		case part != segments[i]:
			return nil, false
		}
	}
	return names, true
}

// resource is the name that stands behind the version in the path; a version of a key counts as the key, a collection as its parent.
func (row googleOperation) resource(names []string) string {
	parts := strings.Split(row.path, "/")[1:]
	if len(parts)%2 == 1 {
		parts = parts[:len(parts)-1]
	}
	if i := slices.Index(parts, "cryptoKeyVersions"); i >= 0 {
		parts = parts[:i]
	}
	if slices.Contains(parts, "policyBindings") || slices.Contains(parts, "principalAccessBoundaryPolicies") || row.isOfBoundaries() {
		parts = parts[:2] // they are the project's, the folder's or the organization's, in every location
	}
	for i, n := 0, 0; i < len(parts); i++ {
		if parts[i] == "*" {
			parts[i] = names[n]
			n++
		}
	}
	return strings.Join(parts, "/")
}

// called is the canonical name of what a call is on: of a deny policy the project, folder or organization, of a service account that
// the path names by its unique id, or in the project "-", the full name.
func (g *googleCloud) called(name string) string {
	if a := g.account(name); a != nil {
		return a.name()
	}
	if point, ok := strings.CutPrefix(name, "policies/cloudresourcemanager.googleapis.com/"); ok {
		name, _, _ = strings.Cut(point, "/denypolicies")
	}
	return g.canonical(name)
}

// decode reads the body into v. Unknown fields are ignored, as Google ignores those of newer versions of an API.
func (c *googleCall) decode(v any) *googleError {
	if len(c.body) == 0 {
		return nil
	}
	if err := json.Unmarshal(c.body, v); err != nil {
		return googleRefusal(googleInvalid, "Invalid JSON payload received. %s", err)
	}
	return nil
}

// mask reads the updateMask: field names in either spelling, separated by commas, at their top level.
func (c *googleCall) mask() (fields []string) {
	for path := range strings.SplitSeq(c.query.Get("updateMask"), ",") {
		field, _, _ := strings.Cut(strings.TrimSpace(path), ".")
		if field != "" && !slices.Contains(fields, camelCase(field)) {
			fields = append(fields, camelCase(field))
		}
	}
	return fields
}

func camelCase(field string) string {
	words := strings.Split(field, "_")
	for i, word := range words[1:] {
		if word != "" {
			words[i+1] = strings.ToUpper(word[:1]) + word[1:]
		}
	}
	return strings.Join(words, "")
}

// enum writes an enum's value. Google writes numbers to those that ask for them, as its own client libraries do, and names to others.
func (w *World) enum(c *googleCall, numbers map[string]int, name string) any {
	asked := strings.Contains(c.query.Get("$alt"), "enum-encoding=int")
	if w.is(GoogleEnums, "integers") || asked && !w.is(GoogleEnums, "names") {
		return numbers[name]
	}
	return name
}

// enumName reads an enum's value, a name or a number; "" if it is none of the numbers.
func enumName(numbers map[string]int, value any) string {
	for name, number := range numbers {
		if value == name || value == float64(number) {
			return name
		}
	}
	return ""
}

// googlePage cuts a list as pageSize and pageToken ask.
func googlePage[T any](w *World, c *googleCall, all []T) (page []T, next string, failed *googleError) {
	most, from := w.number(GooglePageLimit), 0
	if text := c.query.Get("pageSize"); text != "" && text != "0" {
		size, err := strconv.Atoi(text)
		if err != nil || size < 0 {
			return nil, "", googleRefusal(googleInvalid, "Invalid page size %q.", text)
		}
		most = min(most, size)
	}
	if token := c.query.Get("pageToken"); token != "" {
		number, ok := strings.CutPrefix(token, "from-")
		var err error
		if from, err = strconv.Atoi(number); !ok || err != nil || from < 0 || from > len(all) {
			return nil, "", googleRefusal(googleInvalid, "Invalid page token.")
		}
	}
	page = all[from:min(from+most, len(all))]
	if from+len(page) < len(all) {
		next = "from-" + strconv.Itoa(from+len(page))
	}
	return page, next, nil
}

// googleTime is a google.protobuf.Timestamp; nil is left out.
func googleTime(at time.Time) any {
	if at.IsZero() {
		return nil
	}
	return at.UTC().Format(time.RFC3339Nano)
}

// googleDuration is a google.protobuf.Duration.
func googleDuration(d time.Duration) any {
	if d == 0 {
		return nil
	}
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}

// withoutNil is a message without the fields that are not set, which JSON leaves out.
func withoutNil(message map[string]any) map[string]any {
	for name, value := range message {
		if value == nil {
			delete(message, name)
		}
	}
	return message
}
