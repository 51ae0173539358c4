package rotation

import (
	"context"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// projectNames are the projects of Google Cloud by each name that was asked for, once in a walk over the fleet.
type projectNames struct {
	mu    sync.Mutex
	began time.Time
	asked map[string]cmek.Project
}

// readProjects returns the projects that the clusters name, by those names, without those that cannot be read. began is when the walk
// began.
func (f *Function) readProjects(ctx context.Context, began time.Time, clusters ...*ledger.Cluster) map[string]cmek.Project {
	if f.Projects == nil {
		return nil
	}
	read := map[string]cmek.Project{}
	for _, c := range clusters {
		for _, name := range c.ProjectNames() {
			if p, ok := f.project(ctx, began, name); ok {
				read[name] = p
			}
		}
	}
	return read
}

func (f *Function) project(ctx context.Context, began time.Time, name string) (cmek.Project, bool) {
	f.projects.mu.Lock()
	defer f.projects.mu.Unlock()
	if f.projects.asked == nil || !f.projects.began.Equal(began) || len(f.projects.asked) >= keysCached {
		f.projects.began, f.projects.asked = began, map[string]cmek.Project{}
	}
	if p, asked := f.projects.asked[name]; asked {
		return p, p.Called(name)
	}
	id, number, err := f.Projects.Project(ctx, name)
	p := cmek.Project{ID: id, Number: number}
	if err != nil {
		if ctx.Err() != nil {
			return cmek.Project{}, false // our own time is over
		}
		f.Log.Warn("project not read: whether events that name it by its other name concern a cluster is unclear", "project", name, "error", err)
		p = cmek.Project{}
	}
	f.projects.asked[name] = p
	return p, p.Called(name)
}
