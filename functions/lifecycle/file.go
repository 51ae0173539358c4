package lifecycle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/keyturn/keyturn/internal/cmek"
)

// The vendor's pages show a body as {"region_specs":[…]}, the array alone, and either within {"spec":…}. All are taken.

// ParseSpecs reads the file with which CMEK is enabled.
func ParseSpecs(data []byte) ([]cmek.RegionSpec, error) {
	data, err := unwrapped(data)
	if err != nil {
		return nil, err
	}
	var body struct {
		RegionSpecs []cmek.RegionSpec `json:"region_specs"`
	}
	if data[0] == '[' {
		err = json.Unmarshal(data, &body.RegionSpecs)
	} else {
		err = json.Unmarshal(data, &body)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read key specs: %w", err)
	case len(body.RegionSpecs) == 0:
		return nil, errors.New(`read key specs: there are none; want {"region_specs":[{"region":…,"key_spec":{"type":…,"uri":…,"auth_principal":…}}]}`)
	}
	return body.RegionSpecs, nil
}

// ParseAdditions reads the file of the vendor's page on adding a region, as additions: regions that the cluster has may stand in it only as
// they are. What it says about hardware is not sent.
func ParseAdditions(data []byte, has []cmek.Region) ([]cmek.AddedRegion, error) {
	data, err := unwrapped(data)
	if err != nil {
		return nil, err
	}
	var body struct {
		Dedicated struct {
			RegionNodes map[string]int    `json:"region_nodes"`
			Specs       []cmek.RegionSpec `json:"cmek_region_specs"`
		} `json:"dedicated"`
	}
	if err := json.Unmarshal(data, &body); err != nil {
		return nil, fmt.Errorf("read regions to add: %w", err)
	}
	nodes := body.Dedicated.RegionNodes
	for _, r := range has {
		if n, named := nodes[r.Name]; named && n != r.NodeCount {
			return nil, fmt.Errorf("read regions to add: region %s has %d nodes, and the file says %d: this command resizes nothing", r.Name, r.NodeCount, n)
		}
	}
	var additions []cmek.AddedRegion
	for _, spec := range body.Dedicated.Specs {
		additions = append(additions, cmek.AddedRegion{Region: spec.Region, Nodes: nodes[spec.Region], KeySpec: spec.KeySpec})
	}
	for _, name := range sorted(nodes) {
		known := slices.ContainsFunc(has, func(r cmek.Region) bool { return r.Name == name })
		keyed := slices.ContainsFunc(additions, func(a cmek.AddedRegion) bool { return a.Region == name })
		if !known && !keyed {
			return nil, fmt.Errorf("read regions to add: region %s has no key among cmek_region_specs", name)
		}
	}
	if len(additions) == 0 {
		return nil, errors.New(`read regions to add: there are none; want {"dedicated":{"region_nodes":{…},"cmek_region_specs":[…]}}`)
	}
	return additions, nil
}

// unwrapped is the JSON without blanks around it, and without a "spec" around all of it.
func unwrapped(data []byte) ([]byte, error) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return nil, errors.New("the file is empty")
	}
	var outer struct {
		Spec json.RawMessage `json:"spec"`
	}
	if data[0] == '{' && json.Unmarshal(data, &outer) == nil && len(outer.Spec) > 0 && outer.Spec[0] != 'n' {
		return outer.Spec, nil
	}
	return data, nil
}
