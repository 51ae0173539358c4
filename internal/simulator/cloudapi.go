package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Versions of the Cloud API. The simulator answers all of them in the shapes of 2024-09-16.
var cloudVersions = []string{"2022-03-31", "2022-09-20", "2023-04-10", "2024-09-16", "2026-09-15"}

// Roles of CockroachDB Cloud. Every service account is an ORG_MEMBER.
const (
	orgAdmin        = "ORG_ADMIN"
	orgMember       = "ORG_MEMBER"
	clusterAdmin    = "CLUSTER_ADMIN"
	clusterOperator = "CLUSTER_OPERATOR_WRITER"
	clusterDev      = "CLUSTER_DEVELOPER"
	clusterCreator  = "CLUSTER_CREATOR"
	auditor         = "AUDITOR"
)

var (
	knownRoles = []string{orgAdmin, orgMember, clusterAdmin, clusterOperator, clusterDev, "FOLDER_ADMIN", "FOLDER_MOVER",
		"METRICS_VIEWER", "CLUSTER_MONITOR", auditor, clusterCreator, "BILLING_COORDINATOR"}

	// viewers see that a cluster exists.
	viewers   = append([]string{auditor, clusterCreator}, readers...)
	admins    = []string{orgAdmin}
	accounts  = []string{orgAdmin, clusterAdmin}
	operators = []string{clusterAdmin, clusterOperator}
	nodeRoles = []string{orgAdmin, clusterAdmin, clusterOperator, clusterDev}
	readers   = []string{orgAdmin, clusterAdmin, clusterOperator, clusterDev, "FOLDER_ADMIN", "FOLDER_MOVER",
		"METRICS_VIEWER", "CLUSTER_MONITOR"}
)

// cloudRoute is one call of the Cloud API.
type cloudRoute struct {
	pattern string
	roles   []string
	// auditors may call it too, from API version 2026-09-15 on.
	auditors bool
	run      func(*World, *cloudCall) (any, *cloudError)
}

// onClusters: a role on single clusters may do, which the call itself decides.
func (r cloudRoute) onClusters() bool { return strings.Contains(r.pattern, "/clusters") }

// The paths, methods and roles of the Cloud API's OpenAPI document, version 2024-09-16.
var cloudRoutes = []cloudRoute{
	{"GET /api/v1/clusters", readers, false, (*World).listClusters},
	{"POST /api/v1/clusters", []string{clusterAdmin, clusterCreator}, false, (*World).createCluster},
	{"GET /api/v1/clusters/{cluster_id}", readers, false, (*World).getCluster},
	{"PATCH /api/v1/clusters/{cluster_id}", operators, false, (*World).updateCluster},
	{"DELETE /api/v1/clusters/{cluster_id}", []string{clusterAdmin}, false, (*World).deleteCluster},
	{"GET /api/v1/clusters/{cluster_id}/nodes", nodeRoles, false, (*World).listNodes},
	{"GET /api/v1/clusters/{cluster_id}/cmek", operators, true, (*World).getCMEK},
	{"POST /api/v1/clusters/{cluster_id}/cmek", operators, false, (*World).postCMEK},
	{"PUT /api/v1/clusters/{cluster_id}/cmek", operators, false, (*World).putCMEK},
	{"PATCH /api/v1/clusters/{cluster_id}/cmek", operators, false, (*World).patchCMEK},
	{"GET /api/v1/clusters/{cluster_id}/backups", operators, false, (*World).listBackups},
	{"GET /api/v1/clusters/{cluster_id}/backups-config", operators, false, (*World).getBackupConfiguration},
	{"GET /api/v1/clusters/{cluster_id}/maintenance-window", operators, false, (*World).getMaintenanceWindow},
	{"PUT /api/v1/clusters/{cluster_id}/maintenance-window", operators, false, (*World).setMaintenanceWindow},
	{"DELETE /api/v1/clusters/{cluster_id}/maintenance-window", operators, false, (*World).deleteMaintenanceWindow},
	{"GET /api/v1/clusters/{cluster_id}/blackout-windows", operators, false, (*World).listBlackoutWindows},
	{"POST /api/v1/clusters/{cluster_id}/blackout-windows", operators, false, (*World).createBlackoutWindow},
	{"GET /api/v1/clusters/{cluster_id}/blackout-windows/{blackout_window_id}", operators, false, (*World).getBlackoutWindow},
	{"PATCH /api/v1/clusters/{cluster_id}/blackout-windows/{blackout_window_id}", operators, false, (*World).updateBlackoutWindow},
	{"DELETE /api/v1/clusters/{cluster_id}/blackout-windows/{blackout_window_id}", operators, false, (*World).deleteBlackoutWindow},
	{"GET /api/v1/organization", []string{orgAdmin, orgMember}, false, (*World).getOrganization},
	{"GET /api/v1/auditlogevents", admins, true, (*World).listAuditLogs},
	{"GET /api/v1/service-accounts", accounts, false, (*World).listServiceAccounts},
	{"POST /api/v1/service-accounts", accounts, false, (*World).createServiceAccount},
	{"GET /api/v1/service-accounts/{id}", accounts, false, (*World).getServiceAccount},
	{"PATCH /api/v1/service-accounts/{id}", accounts, false, (*World).updateServiceAccount},
	{"DELETE /api/v1/service-accounts/{id}", accounts, false, (*World).deleteServiceAccount},
	{"GET /api/v1/api-keys", accounts, false, (*World).listAPIKeys},
	{"POST /api/v1/api-keys", admins, false, (*World).createAPIKey},
	{"GET /api/v1/api-keys/{id}", accounts, false, (*World).getAPIKey},
	{"PATCH /api/v1/api-keys/{id}", admins, false, (*World).updateAPIKey},
	{"DELETE /api/v1/api-keys/{id}", admins, false, (*World).deleteAPIKey},
	{"GET /api/v1/jwt-issuers", admins, false, (*World).listJWTIssuers},
	{"POST /api/v1/jwt-issuers", admins, false, (*World).addJWTIssuer},
	{"GET /api/v1/jwt-issuers/{id}", admins, false, (*World).getJWTIssuer},
	{"PATCH /api/v1/jwt-issuers/{id}", admins, false, (*World).updateJWTIssuer},
	{"DELETE /api/v1/jwt-issuers/{id}", admins, false, (*World).deleteJWTIssuer},
}

// cloudService is the Cloud API on the page.
func cloudService() Service {
	s := Service{
		Name: "CockroachDB Cloud API", At: "/api/v1/ (COCKROACH_SERVER is this page's address)",
		Doc: "Clusters, their CMEK, and what belongs to the organization. An endpoint that is not simulated answers 501 with code 12.",
	}
	for _, route := range cloudRoutes {
		s.Operations = append(s.Operations, route.pattern)
	}
	return s
}

// CloudAPI serves the CockroachDB Cloud API under /api/.
func (w *World) CloudAPI() http.Handler { return w.cloudRoutes }

func (w *World) routeCloudAPI() *http.ServeMux {
	mux := http.NewServeMux()
	routes := slices.Clone(cloudRoutes)
	// Everything else, and what has the form of a cluster's path without being one.
	for _, pattern := range []string{"/", "GET /api/v1/clusters/available-regions"} {
		routes = append(routes, cloudRoute{pattern: pattern, roles: []string{orgMember}, run: func(*World, *cloudCall) (any, *cloudError) {
			return nil, refusal("501", "this endpoint is not simulated")
		}})
	}
	for _, route := range routes {
		mux.HandleFunc(route.pattern, func(rw http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, mostBody))
			w.answerCloud(route, r, body, err).write(rw)
		})
	}
	return mux
}

// answerCloud does everything that needs the world, so that a slow reader of the answer holds up nobody.
func (w *World) answerCloud(route cloudRoute, r *http.Request, body []byte, unread error) answer {
	c := &cloudCall{Request: r, body: body, now: w.enter()}
	defer w.mu.Unlock()
	failed := w.admit(c, route)
	if failed == nil && unread != nil {
		failed = badRequest("read request body: %v", unread)
	}
	var result any
	if failed == nil {
		result, failed = route.run(w, c)
	}
	a := newAnswer(http.StatusOK, "application/json", nil)
	if failed != nil {
		a = w.errorAnswer(failed)
	} else {
		a.body = toJSON(result)
	}
	if c.version != "" {
		a.header.Set("Cc-Version", c.version)
	}
	w.recordCloud(c, a.status, failed)
	return a
}

// cloudCall is one admitted request.
type cloudCall struct {
	*http.Request
	body   []byte
	caller *serviceAccount
	// roles are those of the route.
	roles   []string
	version string
	now     time.Time
}

// decode reads the JSON body. Unknown fields are ignored, as the API does.
func (c *cloudCall) decode(into any) *cloudError {
	if err := json.Unmarshal(c.body, into); err != nil {
		if wrongType, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return badRequest("invalid value for field %s: got %s", wrongType.Field, wrongType.Value)
		}
		return badRequest("the request body is not valid JSON")
	}
	return nil
}

// admit checks, in this order: the bearer token, the rate limit, the API version and the role.
func (w *World) admit(c *cloudCall, route cloudRoute) *cloudError {
	secret, isBearer := strings.CutPrefix(c.Header.Get("Authorization"), "Bearer ")
	key := w.apiKeys[secret]
	if key == nil || !isBearer {
		return &cloudError{status: http.StatusUnauthorized, code: codeUnauthenticated, message: "invalid or expired bearer token"}
	}
	c.caller, c.roles = key.account, route.roles
	if wait := c.caller.bucket.take(c.now, float64(w.number(RateLimit))); wait > 0 {
		status, _ := strconv.Atoi(w.switches[RateLimitStatus])
		return &cloudError{status: status, code: codeResourceExhausted, message: "rate limit exceeded", retryAfter: wait}
	}
	version := c.Header.Get("Cc-Version")
	if version == "" {
		version = cloudVersions[len(cloudVersions)-1]
	}
	if !slices.Contains(cloudVersions, version) {
		return badRequest("invalid Cc-Version")
	}
	c.version = version
	if route.auditors && version >= "2026-09-15" {
		c.roles = append(slices.Clone(c.roles), auditor)
	}
	if c.caller.hasAnyOn(nil, c.roles) || (route.onClusters() && c.caller.hasAny(c.roles)) {
		return nil
	}
	return refusal("403", "permission denied: the call needs any of "+strings.Join(route.roles, ", "))
}

// gRPC codes, which the Status body carries instead of the HTTP status.
const (
	codeInvalidArgument    = 3
	codeNotFound           = 5
	codePermissionDenied   = 7
	codeResourceExhausted  = 8
	codeFailedPrecondition = 9
	codeAborted            = 10
	codeUnimplemented      = 12
	codeUnavailable        = 14
	codeUnauthenticated    = 16
)

// cloudError is an error reply; its JSON is the schema Status.
type cloudError struct {
	status, code int
	message      string
	retryAfter   time.Duration
}

func badRequest(format string, args ...any) *cloudError {
	return &cloudError{status: http.StatusBadRequest, code: codeInvalidArgument, message: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) *cloudError {
	return &cloudError{status: http.StatusNotFound, code: codeNotFound, message: fmt.Sprintf(format, args...)}
}

// refusal is an error whose HTTP status a switch chose.
func refusal(status, message string) *cloudError {
	httpStatus, _ := strconv.Atoi(status)
	failed := &cloudError{status: httpStatus, code: codeFailedPrecondition, message: message}
	switch httpStatus {
	case http.StatusForbidden:
		failed.code = codePermissionDenied
	case http.StatusNotFound:
		failed.code = codeNotFound
	case http.StatusConflict:
		failed.code = codeAborted
	case http.StatusNotImplemented:
		failed.code = codeUnimplemented
	case http.StatusServiceUnavailable:
		failed.code = codeUnavailable
	}
	return failed
}

func (w *World) errorAnswer(failed *cloudError) answer {
	var a answer
	switch w.switches[ErrorBody] {
	case "html":
		page := fmt.Sprintf("<html><head><title>%d %s</title></head><body><center><h1>%s</h1></center></body></html>\n",
			failed.status, http.StatusText(failed.status), failed.message)
		a = newAnswer(failed.status, "text/html", []byte(page))
	case "text":
		a = newAnswer(failed.status, "text/plain; charset=utf-8", []byte(failed.message+"\n"))
	default:
		a = newAnswer(failed.status, "application/json", toJSON(struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
			Details []any  `json:"details"`
		}{failed.code, failed.message, []any{}}))
	}
	if failed.retryAfter > 0 {
		a.header.Set("Retry-After", strconv.Itoa(int((failed.retryAfter+time.Second-1)/time.Second)))
	}
	return a
}

func (w *World) recordCloud(c *cloudCall, status int, failed *cloudError) {
	request := Request{
		Seq: w.requests.next(), Time: w.observed(c.now), API: "cloud", Method: c.Method, Path: c.URL.Path, Status: status, Outcome: "ok",
	}
	if c.caller != nil {
		request.Caller = c.caller.name
	}
	if failed != nil {
		request.Outcome = failed.message
	}
	w.requests.add(request)
}

// bucket is a token bucket that is filled when it is looked at. It holds one second's worth, and begins full.
type bucket struct {
	tokens float64
	at     time.Time
}

// take takes a token and returns 0, or says how long to wait for one.
func (b *bucket) take(now time.Time, rate float64) (wait time.Duration) {
	b.tokens = min(max(rate, 1), b.tokens+now.Sub(b.at).Seconds()*rate)
	b.at = now
	if b.tokens < 1 {
		return time.Duration((1 - b.tokens) / rate * float64(time.Second))
	}
	b.tokens--
	return 0
}
