package ledger

import (
	"cmp"
	"context"
	"slices"

	"github.com/keyturn/keyturn/internal/cmek"
)

// ProjectNames are the names by which the cluster's keys and principals of Google Cloud name their projects.
func (c *Cluster) ProjectNames() (names []string) {
	for _, r := range c.CMEK.RegionInfos {
		for _, k := range r.KeyInfos {
			names = append(names, projectsOf(k.Spec)...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func projectsOf(spec cmek.KeySpec) (names []string) {
	if spec.Type != cmek.GCPCloudKMS {
		return nil
	}
	for _, name := range []string{spec.URI.Account(), spec.AuthPrincipal.Account()} {
		if cmek.IsProject(name) {
			names = append(names, name)
		}
	}
	return names
}

// project is the one of that name, zero if its other name is not known.
func (c *Cluster) project(name string) cmek.Project {
	i := slices.IndexFunc(c.Projects, func(p cmek.Project) bool { return p.Called(name) })
	if i < 0 {
		return cmek.Project{}
	}
	return c.Projects[i]
}

// LearnProjects notes the projects that were read, by the names by which the cluster names them, and forgets those that it no longer
// names.
func (c *Cluster) LearnProjects(read map[string]cmek.Project) {
	var projects []cmek.Project
	for _, name := range c.ProjectNames() {
		p, ok := read[name]
		if !ok || !p.Called(name) {
			p = c.project(name)
		}
		if p != (cmek.Project{}) {
			projects = append(projects, p)
		}
	}
	slices.SortFunc(projects, func(a, b cmek.Project) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Number, b.Number)) })
	c.Projects = slices.Compact(projects)
}

// Named says of clusters by which names their projects are known: an event may use either. Zero says that neither is known to be.
type Named struct {
	IDs     bool `json:"ids,omitempty"`
	Numbers bool `json:"numbers,omitempty"`
}

// And is what holds for both.
func (n Named) And(other Named) Named { return Named{n.IDs && other.IDs, n.Numbers && other.Numbers} }

// Named says by which names all of the cluster's projects are known.
func (c *Cluster) Named() Named {
	named := Named{true, true}
	for _, name := range c.ProjectNames() {
		known := c.project(name) != cmek.Project{}
		named = named.And(Named{IDs: known || !cmek.IsProjectNumber(name), Numbers: known || cmek.IsProjectNumber(name)})
	}
	return named
}

// Spelled is the key as the cluster names it, if it names it by the other name of its project; else as it is.
func (c *Cluster) Spelled(key cmek.KeyURI) cmek.KeyURI {
	p := c.project(key.Account())
	if key.Type() != cmek.GCPCloudKMS || p == (cmek.Project{}) {
		return key
	}
	other := key.In(p.Other(key.Account()))
	for _, r := range c.CMEK.RegionInfos {
		for _, k := range r.KeyInfos {
			if k.Spec.URI.SameKey(key) {
				return key
			}
			if k.Spec.URI.SameKey(other) {
				return k.Spec.URI
			}
		}
	}
	return key
}

// SpelledIn returns the cluster with every key of the project under that name of it: the same one if it names them so, else a copy, for
// comparison. It must not be written.
func (c *Cluster) SpelledIn(project string) *Cluster {
	p := c.project(project)
	from := p.Other(project)
	respell := func(u cmek.KeyURI) cmek.KeyURI {
		if u.Type() == cmek.GCPCloudKMS && u.Account() == from {
			return u.In(project)
		}
		return u
	}
	if from == "" || !slices.ContainsFunc(c.ProjectNames(), func(name string) bool { return name == from }) {
		return c
	}
	spelled := *c
	spelled.CMEK.RegionInfos = slices.Clone(c.CMEK.RegionInfos)
	for i := range spelled.CMEK.RegionInfos {
		infos := slices.Clone(c.CMEK.RegionInfos[i].KeyInfos)
		for k := range infos {
			infos[k].Spec.URI = respell(infos[k].Spec.URI)
		}
		spelled.CMEK.RegionInfos[i].KeyInfos = infos
	}
	spelled.Work, spelled.Done = slices.Clone(c.Work), slices.Clone(c.Done)
	for i := range spelled.Work {
		spelled.Work[i].Key = respell(spelled.Work[i].Key)
	}
	for i := range spelled.Done {
		spelled.Done[i].Key = respell(spelled.Done[i].Key)
	}
	return &spelled
}

// ByID is an event of Google Cloud with its project under its id, if it names the project by its number and a cluster in the ledger
// shows which it is. After an error it is the event as it was.
func (l *Ledger) ByID(ctx context.Context, e cmek.Event) (cmek.Event, error) {
	number := cmp.Or(e.Key.Account(), e.Account)
	if !cmek.IsProjectNumber(number) {
		return e, nil
	}
	clusters, err := l.ByAccount(ctx, number)
	for _, c := range clusters {
		if p := c.project(number); p.Number == number {
			return e.In(p), nil
		}
	}
	return e, err
}
