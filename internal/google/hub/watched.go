package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/google"
	policy "github.com/keyturn/keyturn/internal/policy/google"
)

// ErrWatchedUnknown is that a deployment does not publish all that it watches.
var ErrWatchedUnknown = errors.New("the deployment does not publish which folders and organization it watches, because it was made by a version that did not; " +
	"look for the key's project in the module's variables")

// Unwatched says why changes of the key do not reach the deployment, and what to do; "" if they do. The error says why it cannot be told. What
// is above the key's project is read only if the project is not among those that are watched one by one.
func (h Hub) Unwatched(ctx context.Context, key cmek.KeyURI) (why string, err error) {
	p := h.Published
	if key.Type() != cmek.GCPCloudKMS {
		return fmt.Sprintf("deployment %s/%s is on Google Cloud and watches keys of Cloud KMS only; use the deployment on the key's cloud", p.Project, p.Name), nil
	}
	project := key.Account()
	if slices.Contains(p.WatchedProjects, project) {
		return "", nil
	}
	if cmek.IsProjectNumber(project) {
		return "", fmt.Errorf("the key names its project by its number %s; name it by its id", project)
	}
	if p.WatchedFolders == nil {
		return "", ErrWatchedUnknown
	}
	watched := make([]string, 0, len(p.WatchedFolders)+1)
	for _, folder := range p.WatchedFolders {
		watched = append(watched, "folders/"+folder)
	}
	if p.WatchedOrganization != "" {
		watched = append(watched, "organizations/"+p.WatchedOrganization)
	}
	if len(watched) > 0 {
		text, err := google.NewPolicies(h.Config).Document(ctx, policy.Parents("projects/"+project))
		if err != nil {
			return "", err
		}
		parents, err := policy.ParseParents(text)
		if err != nil {
			return "", err
		}
		if slices.ContainsFunc(parents, func(parent string) bool { return slices.Contains(watched, parent) }) {
			return "", nil
		}
	}
	return fmt.Sprintf("deployment %s/%s does not watch project %s; add it to watched_projects of the module, and run terraform apply", p.Project, p.Name, project), nil
}
