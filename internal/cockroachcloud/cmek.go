package cockroachcloud

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/keyturn/keyturn/internal/cmek"
)

// CMEK reads the customer-managed encryption keys of a cluster, current and past. The API leaves open how it shows a cluster
// without CMEK: it is an info with status DISABLED, or an error that wraps cmek.ErrNotFound, or one that wraps
// cmek.ErrIncomplete, because an answer without a status, or without regions although the status is another, proves nothing.
func (c *Client) CMEK(ctx context.Context, id string) (cmek.ClusterInfo, error) {
	path, err := clusterPath(id, "/cmek")
	if err != nil {
		return cmek.ClusterInfo{}, err
	}
	info, err := read(ctx, c, path, nil, clusterInfo.check)
	return info.toCMEK(), err
}

// CMEKDocument is CMEK with the body of the answer, as the API wrote it.
func (c *Client) CMEKDocument(ctx context.Context, id string) (cmek.ClusterInfo, json.RawMessage, error) {
	path, err := clusterPath(id, "/cmek")
	if err != nil {
		return cmek.ClusterInfo{}, nil, err
	}
	document, err := read(ctx, c, path, nil, func(w cmekDocument) error { return w.check() })
	return document.toCMEK(), document.text, err
}

// cmekDocument is a clusterInfo with the text that it was read from.
type cmekDocument struct {
	clusterInfo
	text json.RawMessage
}

func (w *cmekDocument) UnmarshalJSON(text []byte) error {
	w.text = bytes.Clone(text)
	return json.Unmarshal(text, &w.clusterInfo)
}

// EnableCMEK switches CMEK on (POST, EnableCMEKSpec). The specs must name every region of the cluster, otherwise the API
// refuses.
func (c *Client) EnableCMEK(ctx context.Context, id string, specs []cmek.RegionSpec) cmek.Answer {
	return c.writeSpecs(ctx, http.MethodPost, id, specs)
}

// RotateCMEK sends the PUT (UpdateCMEKSpec) that re-encrypts the store keys of the regions named under the current version
// of the keys named; other regions stay as they are. It is sent at most once. It may wait for the rate limit before that,
// so a PUT that must not leave late needs a ctx with a deadline: one that would leave after it is refused at once.
func (c *Client) RotateCMEK(ctx context.Context, id string, specs []cmek.RegionSpec) cmek.Answer {
	return c.writeSpecs(ctx, http.MethodPut, id, specs)
}

// RevokeCMEK makes the cluster drop its keys (PATCH with the one action there is). The cluster cannot work any more
// afterwards, and only Cockroach Labs' support can bring it back.
func (c *Client) RevokeCMEK(ctx context.Context, id string) cmek.Answer {
	path, err := clusterPath(id, "/cmek")
	if err != nil {
		return refuse(err)
	}
	return c.writeCMEK(ctx, http.MethodPatch, path, struct {
		Action string `json:"action"`
	}{"REVOKE"}, clusterInfo.checkRevoked)
}

func (c *Client) writeSpecs(ctx context.Context, method, id string, specs []cmek.RegionSpec) cmek.Answer {
	path, err := clusterPath(id, "/cmek")
	if err != nil {
		return refuse(err)
	}
	if err := checkSpecs(specs); err != nil {
		return refuse(err)
	}
	return c.writeCMEK(ctx, method, path, struct {
		RegionSpecs []cmek.RegionSpec `json:"region_specs"`
	}{specs}, func(w clusterInfo) error { return w.checkNames(specs) })
}

func (c *Client) writeCMEK(ctx context.Context, method, path string, body any, check func(clusterInfo) error) cmek.Answer {
	var info clusterInfo
	answer := c.write(ctx, method, path, body, func(got reply) (err error) {
		info, err = decode(got, check)
		return err
	})
	answer.Info = info.toCMEK()
	return answer
}

// checkSpecs refuses what can only be a mistake of ours. What the server makes of an incomplete key spec is not
// documented, so it is not sent.
func checkSpecs(specs []cmek.RegionSpec) error {
	if len(specs) == 0 {
		return errors.New("no region is named")
	}
	seen := make(map[string]bool, len(specs))
	for _, s := range specs {
		switch {
		case s.Region == "":
			return fmt.Errorf("the key %q has no region", clip(string(s.KeySpec.URI)))
		case seen[s.Region]:
			return fmt.Errorf("region %q is named twice", clip(s.Region))
		case s.KeySpec.URI == "" || s.KeySpec.Type == "":
			return fmt.Errorf("the key of region %q lacks its URI or type", clip(s.Region))
		case s.KeySpec.Type == "NULL_KMS": // In the API's enum, but no key at all.
			return fmt.Errorf("the key of region %q is of type NULL_KMS", clip(s.Region))
		}
		seen[s.Region] = true
	}
	return nil
}

// clusterInfo is the API's CMEKClusterInfo.
type clusterInfo struct {
	Status      cmek.Status `json:"status"`
	RegionInfos []struct {
		Region   string      `json:"region"`
		Status   cmek.Status `json:"status"`
		KeyInfos []keyInfo   `json:"key_infos"`
	} `json:"region_infos"`
}

// keyInfo is the API's CMEKKeyInfo.
type keyInfo struct {
	Spec        cmek.KeySpec `json:"spec"`
	Status      cmek.Status  `json:"status"`
	UserMessage string       `json:"user_message"`
	CreatedAt   timestamp    `json:"created_at"`
	UpdatedAt   timestamp    `json:"updated_at"`
}

// check says what a read lacks. Every field is optional in the API's schema, but an answer without these says nothing about
// the cluster's keys. One that names a region twice does not say which of the two holds.
func (w clusterInfo) check() error {
	if w.Status == "" && w.RegionInfos != nil && len(w.RegionInfos) == 0 {
		return nil // says that there are no regions, which is how a cluster without CMEK may look
	}
	if w.Status == "" {
		return missing("status")
	}
	if w.Status != cmek.Disabled {
		if err := missingArray("region_infos", w.RegionInfos); err != nil {
			return err
		}
	}
	seen := make(map[string]bool, len(w.RegionInfos))
	for i, r := range w.RegionInfos {
		if r.Region == "" {
			return missing(fmt.Sprintf("region_infos[%d].region", i))
		}
		if seen[r.Region] {
			return fmt.Errorf("%w: region_infos names region %q twice", cmek.ErrIncomplete, clip(r.Region))
		}
		seen[r.Region] = true
	}
	return nil
}

// checkNames says which of the regions sent the answer to a write does not name.
func (w clusterInfo) checkNames(sent []cmek.RegionSpec) error {
	var named []string
	for _, r := range w.RegionInfos {
		named = append(named, r.Region)
	}
	for _, s := range sent {
		if !slices.Contains(named, s.Region) {
			return fmt.Errorf("%w: region %q is not among its regions %q", cmek.ErrIncomplete, s.Region, named)
		}
	}
	return nil
}

// checkRevoked says what the answer to REVOKE lacks. The request names no region, so one region or a status of the API's
// must do: {"status": "error"} is nobody's CMEK.
func (w clusterInfo) checkRevoked() error {
	for _, r := range w.RegionInfos {
		if r.Region != "" {
			return nil
		}
	}
	if !w.Status.Known() {
		return fmt.Errorf("%w: it has neither a CMEK status nor a region", cmek.ErrIncomplete)
	}
	return nil
}

// spec is the key spec with a type, which the API's schema does not require: the form of the URI names it. Without one, the key
// would look like another cloud's, and no PUT could name it.
func (w keyInfo) spec() cmek.KeySpec {
	spec := w.Spec
	spec.Type = cmp.Or(spec.Type, spec.URI.Type())
	return spec
}

func (w clusterInfo) toCMEK() cmek.ClusterInfo {
	info := cmek.ClusterInfo{Status: w.Status}
	for _, r := range w.RegionInfos {
		region := cmek.RegionInfo{Region: r.Region, Status: r.Status}
		for _, k := range r.KeyInfos {
			region.KeyInfos = append(region.KeyInfos, cmek.KeyInfo{
				Spec: k.spec(), Status: k.Status, UserMessage: clip(k.UserMessage),
				CreatedAt: k.CreatedAt.Time, UpdatedAt: k.UpdatedAt.Time,
			})
		}
		info.RegionInfos = append(info.RegionInfos, region)
	}
	return info
}
