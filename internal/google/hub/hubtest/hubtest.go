// Package hubtest stands for Google's APIs as far as a person's commands ask them about a deployment.
package hubtest

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/keyturn/keyturn/internal/google/hub"
)

// Google is a deployment as the APIs show it, in order unless something of it is taken away. It is safe for concurrent use once it serves.
type Google struct {
	// Published is what the deployment says of itself.
	Published hub.Published
	// Deny is the permission that the caller lacks, everywhere or, if On is not "", on the resources whose names begin with it; "" for none.
	Deny, On string
	// Subscriptions replace what is shown of a subscription, by name; "" for one that does not exist.
	Subscriptions map[string]string
	// Held are the messages that subscriptions hold, by name without the project. nil shows no metrics.
	Held map[string]int

	mu      sync.Mutex
	written int
}

// Deployment is a deployment keyturn of the project.
func Deployment(project string) hub.Published {
	topic, subscription := "projects/"+project+"/topics/keyturn-", "projects/"+project+"/subscriptions/keyturn-"
	return hub.Published{
		Format: hub.Format, Version: "v1.2.3", Name: "keyturn", Project: project, Region: "us-east1", Mode: "observe",
		OrganizationID: "3b1f7a52-6d0c-4e8b-9f21-5c7a90d4e613", Ledger: "firestore://" + project + "/keyturn", Archive: "gs://" + project + "-keyturn-archive/evidence",
		AlertsTopic: topic + "alerts", OperationsTopic: topic + "operations", WatchedProjects: []string{"acme-keys"},
		PushSubscriptions: []string{subscription + "alerting", subscription + "rotation"}, DeadSubscriptions: []string{subscription + "alerting-dead", subscription + "rotation-dead"},
	}
}

// Written is how many documents and objects were written.
func (g *Google) Written() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.written
}

// has reports whether the caller has the permission on the resource.
func (g *Google) has(permission, resource string) bool {
	return permission != g.Deny || !strings.HasPrefix(resource, g.On)
}

// ServeHTTP implements [http.Handler].
func (g *Google) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		body = nil
	}
	path := r.URL.Path
	resource := path[strings.Index(path[1:], "/")+2:] // behind the version
	name, verb, _ := strings.Cut(resource, ":")
	var asked struct{ Permissions []string }
	switch last := path[strings.LastIndex(path, "/")+1:]; {
	case last == "testPermissions":
		bucket := strings.Split(path, "/")[4]
		g.permissions(w, "gs://"+bucket, r.URL.Query()["permissions"])
	case verb == "testIamPermissions":
		_ = json.Unmarshal(body, &asked)
		g.permissions(w, name, asked.Permissions)
	case strings.HasPrefix(path, "/storage/v1/b/"+hub.Bucket(g.Published.Project, g.Published.Name)+"/o/"+hub.Object):
		if !g.has("storage.objects.get", "gs://"+hub.Bucket(g.Published.Project, g.Published.Name)) {
			storageDenial(w)
			return
		}
		answer(w, http.StatusOK, g.Published)
	case strings.HasPrefix(path, "/storage/"):
		storageDenial(w) // as for a caller who may not list the bucket
	case strings.Contains(path, "/databases/"):
		g.firestore(w, verb, body)
	case strings.Contains(path, "/subscriptions/"):
		g.subscription(w, resource)
	case last == "timeSeries":
		g.series(w)
	default:
		answer(w, http.StatusNotFound, rpcError(http.StatusNotFound, "NOT_FOUND", "Method not found."))
	}
}

func (g *Google) permissions(w http.ResponseWriter, resource string, asked []string) {
	held := slices.DeleteFunc(slices.Clone(asked), func(p string) bool { return !g.has(p, resource) })
	if len(held) == 0 {
		answer(w, http.StatusOK, map[string]any{}) // an empty list is left out
		return
	}
	answer(w, http.StatusOK, map[string]any{"permissions": held})
}

// firestore answers as an empty database does.
func (g *Google) firestore(w http.ResponseWriter, verb string, body []byte) {
	denied := func(permissions ...string) bool {
		if !slices.ContainsFunc(permissions, func(p string) bool { return !g.has(p, g.Published.Ledger) }) {
			return false
		}
		// Firestore does not say which permission is missing.
		answer(w, http.StatusForbidden, rpcError(http.StatusForbidden, "PERMISSION_DENIED", "Missing or insufficient permissions."))
		return true
	}
	const at = "2026-03-01T12:00:00Z"
	switch verb {
	case "batchGet":
		var q struct{ Documents []string }
		if _ = json.Unmarshal(body, &q); !denied("datastore.entities.get") && len(q.Documents) == 1 {
			answer(w, http.StatusOK, []any{map[string]string{"missing": q.Documents[0], "readTime": at}})
		}
	case "runQuery":
		if !denied("datastore.entities.get", "datastore.entities.list") {
			answer(w, http.StatusOK, []any{map[string]string{"readTime": at}})
		}
	case "commit":
		var q struct {
			Writes []struct {
				CurrentDocument struct{ Exists *bool }
			}
		}
		_ = json.Unmarshal(body, &q)
		fails := false
		for _, write := range q.Writes {
			permission := "datastore.entities.create"
			if exists := write.CurrentDocument.Exists; exists != nil && *exists {
				permission, fails = "datastore.entities.update", true
			}
			if denied(permission) {
				return
			}
		}
		if fails {
			answer(w, http.StatusNotFound, rpcError(http.StatusNotFound, "NOT_FOUND", "No document to update."))
			return
		}
		g.mu.Lock()
		g.written += len(q.Writes)
		g.mu.Unlock()
		answer(w, http.StatusOK, map[string]any{})
	}
}

func (g *Google) subscription(w http.ResponseWriter, name string) {
	if !g.has("pubsub.subscriptions.get", "projects/"+g.Published.Project) {
		answer(w, http.StatusForbidden, rpcError(http.StatusForbidden, "PERMISSION_DENIED", "User not authorized to perform this action."))
		return
	}
	shown, replaced := g.Subscriptions[name]
	switch {
	case replaced && shown == "":
		answer(w, http.StatusNotFound, rpcError(http.StatusNotFound, "NOT_FOUND", "Resource not found (resource="+name+")."))
	case replaced:
		_, _ = io.WriteString(w, shown)
	default:
		answer(w, http.StatusOK, map[string]any{
			"name": name, "topic": strings.Replace(name, "/subscriptions/", "/topics/", 1) + "-events", "state": "ACTIVE", "expirationPolicy": map[string]any{},
			"pushConfig":       map[string]string{"pushEndpoint": "https://function.example.com"},
			"deadLetterPolicy": map[string]any{"deadLetterTopic": name + "-dead", "maxDeliveryAttempts": 100},
		})
	}
}

func (g *Google) series(w http.ResponseWriter) {
	if !g.has("monitoring.timeSeries.list", "projects/"+g.Published.Project) {
		answer(w, http.StatusForbidden, rpcError(http.StatusForbidden, "PERMISSION_DENIED", "Permission monitoring.timeSeries.list denied (or the resource may not exist)."))
		return
	}
	var series []any
	for name, n := range g.Held {
		series = append(series, map[string]any{
			"resource": map[string]any{"labels": map[string]string{"subscription_id": name}},
			"points":   []any{map[string]any{"value": map[string]string{"int64Value": strconv.Itoa(n)}}},
		})
	}
	answer(w, http.StatusOK, map[string]any{"timeSeries": series})
}

// rpcError is an error of Google's APIs (cloud.google.com/apis/design/errors).
func rpcError(code int, status, message string) any {
	return map[string]any{"error": map[string]any{"code": code, "status": status, "message": message}}
}

// storageDenial is an error of Cloud Storage, which has no status.
func storageDenial(w http.ResponseWriter) {
	const message = "Caller does not have storage.objects.get access to the Google Cloud Storage object. Permission 'storage.objects.get' denied on resource (or it may not exist)."
	answer(w, http.StatusForbidden, map[string]any{"error": map[string]any{
		"code": http.StatusForbidden, "message": message, "errors": []map[string]string{{"domain": "global", "reason": "forbidden", "message": message}}}})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
