package simulator

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// What people do to a cluster beside keyturn. Other changes go through the Cloud API with an API key of their own.

// PUTCMEK sends a PUT …/cmek as the service account named: what a person does with another API key. Without specs it names
// every region with the key that is in force there, as one who re-encrypts by hand; with specs it may name other keys. It
// counts for that account's rate limit, and is among [World.PUTs] with that caller. The error is the API's refusal.
func (w *World) PUTCMEK(serviceAccount, cluster string, specs ...cmek.RegionSpec) error {
	request, err := w.putRequest(serviceAccount, cluster, specs)
	if err != nil {
		return fmt.Errorf("PUT CMEK of cluster %q: %w", cluster, err)
	}
	response := &responseBuffer{header: http.Header{}}
	w.CloudAPI().ServeHTTP(response, request)
	if response.status != http.StatusOK {
		return fmt.Errorf("PUT CMEK of cluster %q: %d %s", cluster, response.status, response.body.String())
	}
	return nil
}

func (w *World) putRequest(serviceAccount, cluster string, specs []cmek.RegionSpec) (*http.Request, error) {
	w.enter()
	defer w.mu.Unlock()
	i := slices.IndexFunc(sortedKeys(w.apiKeys), func(secret string) bool { return w.apiKeys[secret].account.name == serviceAccount })
	if i < 0 {
		return nil, fmt.Errorf("no service account %q", serviceAccount)
	}
	c, err := w.clusters.find(cluster)
	if err != nil {
		return nil, err
	}
	if len(specs) == 0 {
		for _, r := range c.regions {
			if r.current >= 0 {
				specs = append(specs, cmek.RegionSpec{Region: r.name, KeySpec: r.keys[r.current].Spec})
			}
		}
	}
	body := toJSON(map[string][]cmek.RegionSpec{"region_specs": specs})
	//nolint:noctx // It is answered in this goroutine, without a network.
	request, err := http.NewRequest(http.MethodPut, "/api/v1/clusters/"+c.id+"/cmek", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+sortedKeys(w.apiKeys)[i])
	return request, nil
}

// AddRegion gives the cluster a region at once, without the operation that PATCH takes; both views show it from now on. On a
// cluster with CMEK the region's store key is wrapped under the spec's key; otherwise the spec names the region only.
func (w *World) AddRegion(cluster string, nodes int, spec cmek.RegionSpec) error {
	now := w.enter()
	defer w.mu.Unlock()
	c, err := w.clusters.find(cluster)
	if err != nil {
		return err
	}
	if spec.Region == "" || nodes < 1 || c.region(spec.Region) != nil {
		return fmt.Errorf("add region %q with %d nodes to cluster %q: want a new region and nodes", spec.Region, nodes, cluster)
	}
	r := newRegion(spec.Region, nodes)
	if c.hasCMEK() {
		if failed := w.checkKeySpec(c, spec); failed != nil {
			return fmt.Errorf("add region to cluster %q: %s", cluster, failed.message)
		}
		material, usable := w.wrappingMaterial(c, spec.KeySpec, now)
		if !usable {
			return fmt.Errorf("add region to cluster %q: %s", cluster, keyRefused)
		}
		info := cmek.KeyInfo{Spec: spec.KeySpec, Status: cmek.Enabled, CreatedAt: now, UpdatedAt: now}
		r.status, r.keys, r.current = cmek.Enabled, []cmek.KeyInfo{info}, 0
		r.storeKey = storeKey{spec.KeySpec, material, w.observed(now)}
	}
	c.regions = append(c.regions, r)
	c.sortRegions()
	c.updated = now
	return nil
}

// RemoveRegion takes the region from the cluster for good, from both views at once. (HideRegion takes it from one.)
func (w *World) RemoveRegion(cluster, name string) error {
	now := w.enter()
	defer w.mu.Unlock()
	c, err := w.clusters.find(cluster)
	if err != nil {
		return err
	}
	if c.region(name) == nil || len(c.regions) == 1 {
		return fmt.Errorf("cluster %q has no region %q, or no other", cluster, name)
	}
	c.regions = slices.DeleteFunc(c.regions, func(r *region) bool { return r.name == name })
	c.updated = now
	return nil
}

// Restore is what Cockroach Labs' support does for a cluster whose CMEK was revoked, since the Cloud API has no call for it: an
// operation enables the keys in force again. The error says which of them the cluster cannot use, or that nothing was revoked.
func (w *World) Restore(cluster string) error {
	now := w.enter()
	defer w.mu.Unlock()
	c, err := w.clusters.find(cluster)
	switch {
	case err != nil:
		return err
	case !c.revoked || c.operation != nil:
		return fmt.Errorf("restore cluster %q: its CMEK is not revoked, or an operation runs", cluster)
	}
	for _, r := range c.regions {
		if _, usable := w.wrappingMaterial(c, r.keys[r.current].Spec, now); !usable {
			return fmt.Errorf("restore cluster %q: it cannot use the key in region %s", cluster, r.name)
		}
	}
	op := w.cmekOperation(c, now)
	for _, r := range c.regions {
		r.status = cmek.Enabling
		w.setStatus(&r.keys[r.current], cmek.Enabling, "", now)
		op.finish = append(op.finish, func(at time.Time) bool {
			r.status = cmek.Enabled
			w.setStatus(&r.keys[r.current], cmek.Enabled, "", at)
			return true
		})
	}
	c.revoked = false
	w.begin(c, op, now)
	return nil
}
