package hub

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/config"
	"github.com/keyturn/keyturn/internal/google"
)

// Target is a part of a deployment that permissions are about.
type Target string

// The targets of a [Grant].
const (
	OnDeployment Target = "deployment"
	OnLedger     Target = "ledger"
	OnKeys       Target = "keys"
	OnProject    Target = "project"
	OnTopics     Target = "topics"
	OnArchive    Target = "archive"
	// OnRuns are the compliance runs in the archive.
	OnRuns Target = "compliance runs"
)

// Grant lets a person do something with a part of the deployment.
type Grant struct {
	Permission string
	On         Target
}

// ViewerGrants are what "keyturn status", "alerts", "plan" and the reading half of "doctor" call.
func ViewerGrants() []Grant {
	return []Grant{
		{"storage.objects.get", OnDeployment},
		{"datastore.entities.get", OnLedger},
		{"datastore.entities.list", OnLedger},
		{"cloudkms.cryptoKeys.get", OnKeys},
		{"cloudkms.cryptoKeyVersions.list", OnKeys},
		{"pubsub.subscriptions.get", OnProject},
		{"monitoring.timeSeries.list", OnProject},
	}
}

// OperatorGrants are what every command calls, but for deny policies, principal access boundaries and what is above projects: it is not documented
// whether a project says who may read those, and a permission that it does not know would fail the question about all others.
func OperatorGrants() []Grant {
	return append(ViewerGrants(),
		Grant{"cloudkms.cryptoKeys.getIamPolicy", OnKeys},
		Grant{"cloudkms.keyRings.getIamPolicy", OnKeys},
		Grant{"iam.roles.get", OnKeys},
		Grant{"iam.serviceAccounts.get", OnKeys},
		Grant{"iam.serviceAccounts.getIamPolicy", OnKeys},
		Grant{"resourcemanager.projects.get", OnKeys},
		Grant{"resourcemanager.projects.getIamPolicy", OnKeys},
		Grant{"datastore.entities.create", OnLedger},
		Grant{"datastore.entities.update", OnLedger},
		Grant{"pubsub.topics.publish", OnTopics},
		Grant{"storage.objects.create", OnArchive},
		Grant{"storage.objects.get", OnArchive},
		Grant{"storage.objects.list", OnArchive},
	)
}

// AuditorGrants are what "keyturn report" calls: it finds the deployment, reads the archived compliance runs, and nothing else.
func AuditorGrants() []Grant {
	return []Grant{
		{"storage.objects.get", OnDeployment},
		{"storage.objects.get", OnRuns},
		{"storage.objects.list", OnArchive},
	}
}

// Hub is a deployment as a person's credentials reach it.
type Hub struct {
	Config    google.Config
	Published Published
}

// Outcome is what a call showed of a permission.
type Outcome struct {
	Grant
	// Resource is what it was asked about.
	Resource string
	// Denied reports that the permission is missing.
	Denied bool
	// Err is why it cannot be said; nil if it can. Denied is then false, and means nothing.
	Err error
}

// errNotShown is why a permission cannot be seen without another.
type errNotShown struct{ without string }

func (e errNotShown) Error() string { return "cannot be shown without " + e.without }

// Permissions says of each grant whether the caller has it, and changes nothing. Cloud Resource Manager, Cloud Storage and Pub/Sub say what a
// caller may do (testIamPermissions); Firestore does not: reads are made there, and writes of which one cannot succeed, so that none does.
func (h Hub) Permissions(ctx context.Context, grants []Grant) (outcomes []Outcome) {
	for _, target := range []Target{OnDeployment, OnLedger, OnKeys, OnProject, OnTopics, OnArchive} {
		var permissions []string
		for _, g := range grants {
			if g.On == target {
				permissions = append(permissions, g.Permission)
			}
		}
		if len(permissions) == 0 {
			continue
		}
		for _, resource := range h.resources(target) {
			for permission, outcome := range h.test(ctx, target, resource, permissions) {
				outcome.Permission, outcome.On, outcome.Resource = permission, target, resource
				outcomes = append(outcomes, outcome)
			}
		}
	}
	slices.SortStableFunc(outcomes, func(a, b Outcome) int {
		return strings.Compare(a.Permission+" "+a.Resource, b.Permission+" "+b.Resource)
	})
	return outcomes
}

// resources are what a target consists of.
func (h Hub) resources(target Target) (names []string) {
	p := h.Published
	switch target {
	case OnDeployment:
		return []string{"gs://" + Bucket(p.Project, p.Name)}
	case OnLedger:
		return []string{p.Ledger}
	case OnKeys:
		for _, project := range p.WatchedProjects {
			names = append(names, "projects/"+project)
		}
		return names
	case OnProject:
		return []string{"projects/" + p.Project}
	case OnTopics:
		return []string{p.AlertsTopic, p.OperationsTopic}
	}
	archive, _ := config.ParseLocation(p.Archive) // it was read as one
	return []string{"gs://" + archive.Name}
}

// test asks about permissions on one resource.
func (h Hub) test(ctx context.Context, target Target, resource string, permissions []string) map[string]Outcome {
	if target == OnLedger {
		return h.tryLedger(ctx, permissions)
	}
	held, err := h.held(ctx, resource, permissions)
	outcomes := map[string]Outcome{}
	for _, p := range permissions {
		outcomes[p] = Outcome{Err: err, Denied: err == nil && !slices.Contains(held, p)}
	}
	return outcomes
}

// held are those of the permissions that the caller has on the resource. The calls ask for no permission themselves
// (cloud.google.com/resource-manager/reference/rest/v3/projects/testIamPermissions; cloud.google.com/pubsub/docs/reference/rest/v1/projects.topics/
// testIamPermissions; cloud.google.com/storage/docs/json_api/v1/buckets/testIamPermissions).
func (h Hub) held(ctx context.Context, resource string, permissions []string) ([]string, error) {
	var answer struct{ Permissions []string }
	doing := "ask what may be done with " + resource
	if bucket, ok := strings.CutPrefix(resource, "gs://"); ok {
		err := h.Config.Call(ctx, doing, http.MethodGet, storageHost, "/storage/v1/b/"+bucket+"/iam/testPermissions", url.Values{"permissions": permissions}, nil, &answer)
		return answer.Permissions, err
	}
	host, version := "cloudresourcemanager.googleapis.com", "/v3/"
	if strings.Contains(resource, "/topics/") {
		host, version = "pubsub.googleapis.com", "/v1/"
	}
	err := h.Config.Call(ctx, doing, http.MethodPost, host, version+resource+":testIamPermissions", nil, map[string]any{"permissions": permissions}, &answer)
	return answer.Permissions, err
}

// tryLedger tries what the permissions are for.
func (h Hub) tryLedger(ctx context.Context, permissions []string) map[string]Outcome {
	tries := []struct {
		permission, without string
		try                 func(context.Context) error
	}{
		{"datastore.entities.get", "", h.getNothing},
		{"datastore.entities.list", "datastore.entities.get", h.queryNothing},
		{"datastore.entities.update", "", func(ctx context.Context) error { return h.commitNothing(ctx, false) }},
		{"datastore.entities.create", "datastore.entities.update", func(ctx context.Context) error { return h.commitNothing(ctx, true) }},
	}
	outcomes := map[string]Outcome{}
	for _, t := range tries {
		if !slices.Contains(permissions, t.permission) {
			continue
		}
		if needed, tried := outcomes[t.without]; tried && (needed.Denied || needed.Err != nil) {
			outcomes[t.permission] = Outcome{Err: errNotShown{t.without}}
			continue
		}
		switch err := t.try(ctx); {
		case errors.Is(err, cmek.ErrDenied):
			outcomes[t.permission] = Outcome{Denied: true}
		default:
			outcomes[t.permission] = Outcome{Err: err}
		}
	}
	return outcomes
}

// nobody is the id of a document that never exists.
const nobody = "keyturn-doctor"

// documents is where the ledger's documents are.
func (h Hub) documents() string {
	l, _ := config.ParseLocation(h.Published.Ledger) // it was read as one
	return "projects/" + l.Name + "/databases/" + cmp.Or(l.Prefix, "(default)") + "/documents"
}

// firestore calls the ledger's database. Its emulator, if there is one, goes before the configuration's endpoint, as for the ledger itself.
func (h Hub) firestore(ctx context.Context, doing, verb string, message, into any) error {
	c := h.Config
	if host := os.Getenv("FIRESTORE_EMULATOR_HOST"); host != "" {
		c.Endpoint, c.Tokens = "http://"+host, nil
	}
	return c.Call(ctx, doing, http.MethodPost, "firestore.googleapis.com", "/v1/"+h.documents()+":"+verb, nil, message, into)
}

func (h Hub) getNothing(ctx context.Context) error {
	var found []struct {
		Missing string
		Found   any
	}
	err := h.firestore(ctx, "read the ledger", "batchGet", map[string]any{"documents": []string{h.documents() + "/rotation/" + nobody}}, &found)
	if err == nil && (len(found) != 1 || found[0].Missing == "" && found[0].Found == nil) {
		return cmek.ErrIncomplete
	}
	return err
}

func (h Hub) queryNothing(ctx context.Context) error {
	var found []struct{ ReadTime string }
	err := h.firestore(ctx, "query the ledger", "runQuery", map[string]any{"structuredQuery": map[string]any{
		"from": []any{map[string]string{"collectionId": "rotation"}}, "limit": 1,
	}}, &found)
	if err == nil && (len(found) == 0 || found[0].ReadTime == "") {
		return cmek.ErrIncomplete
	}
	return err
}

// commitNothing updates a document that must exist and does not, so that all writes of the commit fail: with create, one that makes a
// document comes before it (firebase.google.com/docs/firestore/reference/rest/v1/projects.databases.documents/commit: atomic).
func (h Hub) commitNothing(ctx context.Context, create bool) error {
	documents := h.documents()
	write := func(id string, exists bool) map[string]any {
		return map[string]any{
			"update":          map[string]any{"name": documents + "/rotation/" + id, "fields": map[string]any{}},
			"currentDocument": map[string]bool{"exists": exists},
		}
	}
	writes := []any{write(nobody, true)}
	if create {
		writes = []any{write(nobody+"-new", false), writes[0]}
	}
	err := h.firestore(ctx, "write to the ledger", "commit", map[string]any{"writes": writes}, &struct{}{})
	switch {
	case errors.Is(err, cmek.ErrNotFound):
		return nil // as it must: the write was not refused, but for the document that is missing
	case err == nil:
		return errors.New("write to the ledger: a write that cannot succeed did")
	}
	return err
}
