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
	asked map[string]*projectRead
}

// projectRead is one read of a project; its result stands once done is closed. It is zero if the project cannot be read.
type projectRead struct {
	done    chan struct{}
	project cmek.Project
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

// project reads a project, or waits for who reads it already.
func (f *Function) project(ctx context.Context, began time.Time, name string) (cmek.Project, bool) {
	names := &f.projects
	names.mu.Lock()
	if names.asked == nil || !names.began.Equal(began) || len(names.asked) >= keysCached {
		names.began, names.asked = began, map[string]*projectRead{}
	}
	read, asked := names.asked[name]
	if !asked {
		read = &projectRead{done: make(chan struct{})}
		names.asked[name] = read
	}
	names.mu.Unlock()
	if asked {
		select {
		case <-read.done:
			return read.project, read.project.Called(name)
		case <-ctx.Done():
			return cmek.Project{}, false
		}
	}
	defer close(read.done)
	id, number, err := f.Projects.Project(ctx, name)
	switch {
	case err == nil:
		read.project = cmek.Project{ID: id, Number: number}
	case ctx.Err() != nil: // our own time is over: another tick asks again
		names.mu.Lock()
		defer names.mu.Unlock()
		if names.asked[name] == read {
			delete(names.asked, name)
		}
	default:
		f.Log.Warn("project not read: whether events that name it by its other name concern a cluster is unclear", "project", name, "error", err)
	}
	return read.project, read.project.Called(name)
}
