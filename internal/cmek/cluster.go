package cmek

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Status is the state of a CMEK at cluster, region or key level: the Cloud API's CMEKStatus, verbatim. Values that are not
// among the constants are kept and treated as neither finished nor failed.
type Status string

// The eleven statuses of API version 2024-09-16.
const (
	Disabled      Status = "DISABLED"
	Disabling     Status = "DISABLING"
	DisableFailed Status = "DISABLE_FAILED"
	Enabled       Status = "ENABLED"
	Enabling      Status = "ENABLING"
	EnableFailed  Status = "ENABLE_FAILED"
	Rotating      Status = "ROTATING"
	RotateFailed  Status = "ROTATE_FAILED"
	Revoked       Status = "REVOKED"
	Revoking      Status = "REVOKING"
	RevokeFailed  Status = "REVOKE_FAILED"
)

// Statuses lists the eleven documented values.
var Statuses = []Status{Disabled, Disabling, DisableFailed, Enabled, Enabling, EnableFailed, Rotating, RotateFailed,
	Revoked, Revoking, RevokeFailed}

// Known reports whether s is one of the documented values.
func (s Status) Known() bool { return slices.Contains(Statuses, s) }

// InProgress reports whether an operation is under way (every …ING).
func (s Status) InProgress() bool { return s.Known() && strings.HasSuffix(string(s), "ING") }

// Failed reports whether an operation ended badly (every …_FAILED).
func (s Status) Failed() bool { return s.Known() && strings.HasSuffix(string(s), "_FAILED") }

// HandsOff reports whether automation must leave the cluster alone: it was revoked or disabled, or is on its way there.
// Only Cockroach Labs' support can bring a revoked cluster back.
func (s Status) HandsOff() bool {
	switch s {
	case Disabled, Disabling, DisableFailed, Revoked, Revoking, RevokeFailed:
		return true
	}
	return false
}

// KeySpec is a key together with who the cluster acts as when it uses it. JSON names are the Cloud API's.
type KeySpec struct {
	Type KeyType `json:"type"`
	URI  KeyURI  `json:"uri"`
	// AuthPrincipal is who the cluster acts as.
	AuthPrincipal Principal `json:"auth_principal"`
}

// AcrossPartitions reports whether key and role are in two partitions of AWS (aws, aws-cn, aws-us-gov), between which there is no access.
func (s KeySpec) AcrossPartitions() bool {
	key, err := parseARN(string(s.URI))
	role, ok := s.AuthPrincipal.role()
	return err == nil && ok && key.partition != role.partition
}

// RegionSpec asks for a key in one region of a cluster. JSON names are the Cloud API's.
type RegionSpec struct {
	Region  string  `json:"region"`
	KeySpec KeySpec `json:"key_spec"`
}

// Elsewhere reports whether the key is in another location than the region: another AWS Region, or another Google location, "global" and the
// multi-regions included. Every start of a node in the region then depends on both. It says why that is so, and what to name in its
// place; both are "" for a key in the region, a replica of a multi-Region key there included, and for a URI that names no location.
func (s RegionSpec) Elsewhere() (why, instead string) {
	at := s.KeySpec.URI.Location()
	if at == "" || at == s.Region {
		return "", ""
	}
	why = fmt.Sprintf("in %s and the cluster's region is %s: every node start depends on both", at, s.Region)
	if s.KeySpec.URI.IsMultiRegion() {
		return why, "name the key's replica in " + s.Region
	}
	return why, "name a key there"
}

// KeyInfo is one key of a region, current or past.
type KeyInfo struct {
	Spec   KeySpec `json:"spec"`
	Status Status  `json:"status"`
	// UserMessage is free text from Cockroach Labs about the status. It is shown to people and never decided upon.
	UserMessage string    `json:"user_message,omitempty"`
	CreatedAt   time.Time `json:"created_at,omitzero"`
	// UpdatedAt is the only change marker there is for a key; zero if the API left it out.
	UpdatedAt time.Time `json:"updated_at,omitzero"`
}

// RegionInfo is the CMEK of one region with all its keys, current and past, in the order of the API (which is not
// documented).
type RegionInfo struct {
	Region   string    `json:"region"`
	Status   Status    `json:"status"`
	KeyInfos []KeyInfo `json:"key_infos,omitempty"`
}

// ClusterInfo is the CMEK of a cluster: the API's CMEKClusterInfo. The zero value is a cluster without CMEK.
type ClusterInfo struct {
	Status      Status       `json:"status"`
	RegionInfos []RegionInfo `json:"region_infos,omitempty"`
}

// HasKeys reports whether any region shows a key, current or past. A cluster without CMEK may show regions all the same.
func (c ClusterInfo) HasKeys() bool {
	return slices.ContainsFunc(c.RegionInfos, func(r RegionInfo) bool { return len(r.KeyInfos) > 0 })
}

// Region returns the region's info, and whether there is one.
func (c ClusterInfo) Region(name string) (RegionInfo, bool) {
	for _, r := range c.RegionInfos {
		if r.Region == name {
			return r, true
		}
	}
	return RegionInfo{}, false
}

// Current returns the region's one key in force: the newest info of the only distinct spec that is ENABLED. Several
// infos of one spec are one (a same-URI rotation may append instead of update). The count is the number of distinct
// ENABLED specs; only with 1 is the info meaningful.
func (r RegionInfo) Current() (info KeyInfo, distinct int) {
	var specs []KeySpec
	for _, k := range r.KeyInfos {
		if k.Status != Enabled {
			continue
		}
		if !slices.Contains(specs, k.Spec) {
			specs = append(specs, k.Spec)
		}
	}
	if len(specs) != 1 {
		return KeyInfo{}, len(specs)
	}
	return r.newest(func(k KeyInfo) bool { return k.Spec == specs[0] }), 1
}

// Newest returns the newest info with the URI; the zero KeyInfo if there is none. Whether a same-URI rotation updates an info,
// or appends one and ends the other as DISABLED, is not documented, nor is the order of the list. Of two infos the older is
// the one that is DISABLED when the other is not, then the one with the earlier created_at, then the one with the earlier
// updated_at, then the one that comes first in the list.
func (r RegionInfo) Newest(uri KeyURI) KeyInfo {
	return r.newest(func(k KeyInfo) bool { return k.Spec.URI == uri })
}

func (r RegionInfo) newest(match func(KeyInfo) bool) KeyInfo {
	var newest KeyInfo
	for _, k := range r.KeyInfos {
		if match(k) && (newest.Spec.URI == "" || !k.olderThan(newest)) {
			newest = k
		}
	}
	return newest
}

// olderThan is the rule of [RegionInfo.Newest], except for the place in the list.
func (k KeyInfo) olderThan(other KeyInfo) bool {
	if a, b := k.Status == Disabled, other.Status == Disabled; a != b {
		return a
	}
	if c := k.CreatedAt.Compare(other.CreatedAt); c != 0 {
		return c < 0
	}
	return k.UpdatedAt.Before(other.UpdatedAt)
}

// Cluster states and operations that matter to us, verbatim from the Cloud API.
const (
	StateCreated = "CREATED"
	StateLocked  = "LOCKED"
	StateDeleted = "DELETED"

	CMEKOperationRunning = "CRDB_CMEK_OPERATION_RUNNING"
	CMEKOperationFailed  = "CRDB_CMEK_OPERATION_FAILED"

	PlanAdvanced = "ADVANCED"
)

// PlanWithoutCMEK reports whether clusters of the plan cannot have a CMEK. A plan that we do not know may have one.
func PlanWithoutCMEK(plan string) bool { return plan == "BASIC" || plan == "STANDARD" }

// Region is a region of a cluster.
type Region struct {
	Name      string `json:"name"`
	NodeCount int    `json:"node_count,omitempty"`
}

// AddedRegion asks for a region that a cluster does not have, with the key of its store key.
type AddedRegion struct {
	Region  string  `json:"region"`
	Nodes   int     `json:"nodes"`
	KeySpec KeySpec `json:"key_spec"`
}

// NodeLive is the status of a node that takes part in the cluster; the other documented one is NOT_READY.
const NodeLive = "LIVE"

// Node is a node of an ADVANCED cluster.
type Node struct {
	Name   string `json:"name"`
	Region string `json:"region"`
	Status string `json:"status"`
}

// Cluster is a CockroachDB Cloud cluster, without its CMEK.
type Cluster struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	ParentID string `json:"parent_id,omitempty"`
	// Plan is BASIC, STANDARD or ADVANCED; only ADVANCED clusters can have a CMEK.
	Plan string `json:"plan,omitempty"`
	// CloudProvider is AWS, GCP or AZURE.
	CloudProvider string `json:"cloud_provider,omitempty"`
	// AccountID is the cloud account of the cluster, which the customer's role trusts.
	AccountID string `json:"account_id,omitempty"`
	State     string `json:"state,omitempty"`
	// OperationStatus names what runs or failed last; "" and …UNSPECIFIED mean nothing.
	OperationStatus string            `json:"operation_status,omitempty"`
	Regions         []Region          `json:"regions,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	CreatedAt       time.Time         `json:"created_at,omitzero"`
	UpdatedAt       time.Time         `json:"updated_at,omitzero"`
	DeletedAt       time.Time         `json:"deleted_at,omitzero"`
}

// Busy names why no request should be sent to the cluster now, or "" if it is free: it is not CREATED, or an operation
// runs. An operation that failed is not a reason to wait.
func (c Cluster) Busy() string {
	if c.State != StateCreated {
		return "cluster state is " + c.State
	}
	if strings.HasSuffix(c.OperationStatus, "_RUNNING") {
		return "operation status is " + c.OperationStatus
	}
	return ""
}

// Use is a key as a cluster uses it: one key info of the cluster, whatever its status.
type Use struct {
	ClusterID string
	// CloudAccount is the account or project that the cluster's nodes run in, which acts as the principal.
	CloudAccount string
	Spec         KeySpec
}
