package lifecycle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

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
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields() // a misspelled auth_principal must not be none
	if data[0] == '[' {
		err = d.Decode(&body.RegionSpecs)
	} else {
		err = d.Decode(&body)
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

// unwrapped is the JSON without a byte order mark and blanks around it, and without a "spec" around all of it.
func unwrapped(data []byte) ([]byte, error) {
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	if len(data) == 0 {
		return nil, errors.New("the file is empty")
	}
	if err := unambiguous(data); err != nil {
		return nil, err
	}
	var outer map[string]json.RawMessage
	if data[0] == '{' && json.Unmarshal(data, &outer) == nil && len(outer) == 1 && len(outer["spec"]) > 0 && outer["spec"][0] != 'n' {
		return outer["spec"], nil
	}
	return data, nil
}

// unambiguous reports what is no single JSON value, and an object that names a member twice: a reader takes the one or the other, or, in a list
// that is named twice, some of both. Names that differ in case only are one name to Go.
func unambiguous(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	type level struct {
		names map[string]bool // nil in an array
		name  bool            // a name comes next
	}
	var open []level
	for {
		token, err := d.Token()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read JSON: %w", err)
		}
		at := len(open) - 1
		if name, is := token.(string); is && at >= 0 && open[at].name {
			folded := strings.ToLower(name)
			if open[at].names[folded] {
				return fmt.Errorf("read JSON: an object has %q twice", name)
			}
			open[at].names[folded], open[at].name = true, false
			continue
		}
		switch token {
		case json.Delim('{'):
			open = append(open, level{map[string]bool{}, true})
			continue
		case json.Delim('['):
			open = append(open, level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:at]
		}
		if len(open) == 0 { // the value is whole
			if d.More() {
				return errors.New("read JSON: something follows the value")
			}
			continue
		}
		open[len(open)-1].name = open[len(open)-1].names != nil
	}
}
