package installation

import (
	"context"
	"errors"

	"github.com/keyturn/keyturn/internal/cmek"
	googlehub "github.com/keyturn/keyturn/internal/google/hub"
)

// errNoDeployment is that no deployment was named that could say what it watches.
var errNoDeployment = errors.New("no deployment is named with --deployment; check the accounts and Regions, or the projects, of the one that watches its clusters")

// Unwatched says why changes of the key are not reported to the deployment that the program found, and what to do; "" if they are. The error says
// why it cannot be told.
func (p *Program) Unwatched(ctx context.Context, w *Installation, key cmek.KeyURI) (why string, err error) {
	switch {
	case p.Found == nil:
		return "", errNoDeployment
	case p.FoundGoogle != nil:
		return googlehub.Hub{Config: w.Google, Published: *p.FoundGoogle}.Unwatched(ctx, key)
	}
	return p.Found.Unwatched(key)
}
