// Package hub is what a person's own credentials find of a deployment on Google Cloud: what it publishes, and what they may do with it. The
// functions need none of it.
package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/config"
	"github.com/keyturn/keyturn/internal/google"
)

// Published is what a deployment says of itself, for commands that find it by project and name: the object [Object] in the bucket of its
// source ([Bucket]), which only those who deploy may write. It holds no secrets. infra/gcp/people.tf writes it.
type Published struct {
	// Format changes when an older program would misunderstand the rest.
	Format int `json:"format"`
	// Version is what the deployment was made from.
	Version string `json:"version"`

	Name    string `json:"name"`
	Project string `json:"project"`
	Region  string `json:"region"`
	Mode    string `json:"mode"`

	OrganizationID string `json:"organization_id"`
	// Server is the base URL of the Cloud API; "" for the public one.
	Server string `json:"server"`

	// Ledger and Archive are locations: firestore://PROJECT/DATABASE and gs://BUCKET/PREFIX.
	Ledger  string `json:"ledger"`
	Archive string `json:"archive"`
	// AlertsTopic and OperationsTopic are projects/PROJECT/topics/TOPIC.
	AlertsTopic     string `json:"alerts_topic"`
	OperationsTopic string `json:"operations_topic"`
	APIKeySecret    string `json:"api_key_secret"`

	// WatchedProjects are the projects whose keys are watched one by one; folders and an organization are not among them.
	WatchedProjects []string `json:"watched_projects"`
	// WatchedFolders are the numbers of the folders, and WatchedOrganization is the number of the organization, in which all projects are watched;
	// "" for none. The version before published neither: then WatchedFolders is nil.
	WatchedFolders      []string `json:"watched_folders"`
	WatchedOrganization string   `json:"watched_organization"`
	// PushSubscriptions and DeadSubscriptions are projects/PROJECT/subscriptions/SUBSCRIPTION.
	PushSubscriptions []string `json:"push_subscriptions"`
	DeadSubscriptions []string `json:"dead_subscriptions"`

	// Settings are the variables that the owner chose.
	Settings map[string]string `json:"settings"`
}

// Format is the format that this program reads.
const Format = 1

// Object is the name of the object in which a deployment is published.
const Object = "deployment.json"

const storageHost = "storage.googleapis.com"

// deploymentName is what infra/gcp takes as the name of a deployment, without its length.
var deploymentName = regexp.MustCompile(`^[a-z][a-z0-9-]*[a-z0-9]$`)

// ParseName takes PROJECT/NAME apart, as people name a deployment on Google Cloud. Other names are of deployments elsewhere.
func ParseName(text string) (project, name string, ok bool) {
	project, name, ok = strings.Cut(text, "/")
	return project, name, ok && cmek.IsProject(project) && len(name) >= 4 && len(name) <= 12 && deploymentName.MatchString(name)
}

// Bucket is the bucket in which the deployment is published.
func Bucket(project, name string) string {
	return strings.NewReplacer(":", "-", ".", "-").Replace(project) + "-" + name + "-source"
}

// Read returns what the deployment publishes. The error wraps [cmek.ErrNotFound] if it publishes nothing, and [cmek.ErrDenied] if the
// caller may not read it, or may not know that there is nothing: Cloud Storage answers both with 403 to those who may not list a bucket
// (cloud.google.com/storage/docs/json_api/v1/status-codes).
func Read(ctx context.Context, c google.Config, project, name string) (Published, error) {
	var text json.RawMessage
	doing := "read gs://" + Bucket(project, name) + "/" + Object
	path := "/storage/v1/b/" + Bucket(project, name) + "/o/" + Object
	if err := c.Call(ctx, doing, http.MethodGet, storageHost, path, url.Values{"alt": {"media"}}, nil, &text); err != nil {
		return Published{}, err
	}
	p, err := parse(project, name, text)
	if err != nil {
		return Published{}, fmt.Errorf("%s: %w", doing, err)
	}
	return p, nil
}

// parse reads what the module wrote. One of another format, of another deployment, or without what commands need is an error.
func parse(project, name string, text []byte) (Published, error) {
	var p Published
	if json.Unmarshal(text, &p) != nil {
		return Published{}, errors.New("it holds no JSON that keyturn's module wrote")
	}
	switch {
	case p.Format > Format:
		return Published{}, fmt.Errorf("it has format %d, and this keyturn knows %d; install the deployment's version%s", p.Format, Format, strings.TrimRight(" "+p.Version, " "))
	case p.Format != Format:
		return Published{}, fmt.Errorf("it has format %d, want %d", p.Format, Format)
	case p.Name != name || p.Project != project:
		return Published{}, fmt.Errorf("it is about the deployment %q", p.Project+"/"+p.Name)
	}
	var missing []string
	for _, field := range []struct{ name, value string }{
		{"version", p.Version}, {"region", p.Region}, {"mode", p.Mode}, {"organization_id", p.OrganizationID}, {"ledger", p.Ledger},
		{"archive", p.Archive}, {"alerts_topic", p.AlertsTopic}, {"operations_topic", p.OperationsTopic},
		{"push_subscriptions", strings.Join(p.PushSubscriptions, "")}, {"dead_subscriptions", strings.Join(p.DeadSubscriptions, "")},
	} {
		if field.value == "" {
			missing = append(missing, field.name)
		}
	}
	if len(missing) > 0 {
		return Published{}, fmt.Errorf("it lacks %s", strings.Join(missing, ", "))
	}
	for _, location := range []struct{ name, value, scheme string }{{"ledger", p.Ledger, "firestore"}, {"archive", p.Archive, "gs"}} {
		if l, err := config.ParseLocation(location.value); err != nil || l.Scheme != location.scheme {
			return Published{}, fmt.Errorf("its %s is %q, want %s://…", location.name, location.value, location.scheme)
		}
	}
	return p, nil
}
