package lifecycle

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

const (
	east = "us-east-1"
	west = "us-west-2"

	oldKey = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/aaaaaaaa-1111-2222-3333-444444444444")
	newKey = cmek.KeyURI("arn:aws:kms:us-east-1:111122223333:key/bbbbbbbb-1111-2222-3333-444444444444")
	farKey = cmek.KeyURI("arn:aws:kms:us-west-2:111122223333:key/cccccccc-1111-2222-3333-444444444444")
	mrk    = "111122223333:key/mrk-0123456789abcdef0123456789abcdef"
	role   = cmek.Principal("arn:aws:iam::111122223333:role/cmek")
)

// situation is a request with the facts about it.
type situation struct {
	request Request
	facts   Facts
}

// given changes a situation.
type given func(*situation)

func spec(region string, key cmek.KeyURI) cmek.RegionSpec {
	return cmek.RegionSpec{Region: region, KeySpec: cmek.KeySpec{Type: cmek.AWSKMS, URI: key, AuthPrincipal: role}}
}

func allowed() Access {
	yes := policy.Verdict{Decision: policy.Allowed}
	return Access{Key: yes, Principal: yes}
}

func noPrincipal() Access {
	no := policy.Verdict{Decision: policy.Denied, Why: "the role " + string(role) + " does not exist"}
	return Access{Key: no, Principal: no, NoPrincipal: true}
}

func usable(uri cmek.KeyURI) KeyFact {
	return KeyFact{Key: cmek.Key{URI: uri, State: cmek.KeyEnabled, Version: cmek.MaterialVersion(strings.Repeat("1", 64)),
		Versions: []cmek.KeyVersionInfo{{Version: cmek.MaterialVersion(strings.Repeat("1", 64)), State: cmek.KeyEnabled}}}}
}

// enabling: a cluster without CMEK is to be enabled, and nothing stands against it.
func enabling() *situation {
	s := &situation{
		request: Request{Kind: ledger.OperationEnable, ClusterID: "c-1", By: "ana", Specs: []cmek.RegionSpec{spec(east, newKey)}},
		facts: Facts{
			At: noon, Item: &ledger.Cluster{ID: "c-1"},
			Cluster: cmek.Cluster{ID: "c-1", Name: "orders", Plan: cmek.PlanAdvanced, CloudProvider: "AWS", AccountID: "900000000003", State: cmek.StateCreated,
				Regions: []cmek.Region{{Name: east, NodeCount: 3}}},
			CMEK: cmek.ClusterInfo{Status: cmek.Disabled},
			Keys: map[cmek.KeyURI]KeyFact{newKey: usable(newKey)}, Access: map[cmek.KeySpec]Access{spec(east, newKey).KeySpec: allowed()},
		},
	}
	return s
}

// enabled gives the cluster a CMEK in force.
func enabled(s *situation) {
	s.facts.CMEK = cmek.ClusterInfo{Status: cmek.Enabled, RegionInfos: []cmek.RegionInfo{{Region: east, Status: cmek.Enabled,
		KeyInfos: []cmek.KeyInfo{{Spec: spec(east, oldKey).KeySpec, Status: cmek.Enabled, UpdatedAt: noon.Add(-time.Hour)}}}}}
	s.facts.Item.CMEK = s.facts.CMEK
}

// adding: a cluster with CMEK in one region is to get another.
func adding() *situation {
	s := enabling()
	enabled(s)
	s.request.Kind, s.request.Specs = ledger.OperationAddRegion, nil
	s.request.Additions = []cmek.AddedRegion{{Region: west, Nodes: 3}}
	onKey(farKey)(s)
	return s
}

// revokingIt: a cluster whose access was taken away is to be revoked.
func revokingIt() *situation {
	s := enabling()
	enabled(s)
	s.request.Kind, s.request.Specs, s.request.Reason = ledger.OperationRevoke, nil, "key compromised"
	s.facts.Keys = map[cmek.KeyURI]KeyFact{oldKey: usable(oldKey)}
	s.facts.Access = map[cmek.KeySpec]Access{spec(east, oldKey).KeySpec: {Key: policy.Verdict{Decision: policy.Allowed}, Principal: policy.Verdict{Decision: policy.Denied, Why: "no statement"}}}
	s.facts.Swept = noon.Add(-time.Hour + time.Nanosecond)
	s.facts.Nodes = []cmek.Node{{Name: "n1", Region: east, Status: cmek.NodeLive}}
	s.facts.Backups = cmek.Backups{Frequency: time.Hour, Retention: 30 * 24 * time.Hour, Newest: noon.Add(-time.Minute)}
	return s
}

func cluster(change func(*cmek.Cluster)) given {
	return func(s *situation) { change(&s.facts.Cluster) }
}
func withSpec(change func(*cmek.RegionSpec)) given {
	return func(s *situation) { change(&s.request.Specs[0]) }
}
func key(f KeyFact) given { return func(s *situation) { s.facts.Keys[newKey] = f } }
func access(change func(*Access)) given {
	return func(s *situation) {
		for spec, a := range s.facts.Access {
			change(&a)
			s.facts.Access[spec] = a
		}
	}
}
func status(all cmek.Status) given {
	return func(s *situation) {
		enabled(s)
		s.facts.CMEK.Status, s.facts.CMEK.RegionInfos[0].Status, s.facts.CMEK.RegionInfos[0].KeyInfos[0].Status = all, all, all
	}
}
func waived(h Hazard) given {
	return func(s *situation) { s.request.Waived = map[Hazard]string{h: "agreed with the owners"} }
}
func keyIs(state cmek.KeyState) given {
	return func(s *situation) {
		for uri, f := range s.facts.Keys {
			f.Key.State = state
			s.facts.Keys[uri] = f
		}
	}
}

// onKey gives the request another key, which is usable and admits.
func onKey(uri cmek.KeyURI) given {
	return func(s *situation) {
		k := spec("", uri).KeySpec
		for i := range s.request.Specs {
			s.request.Specs[i].KeySpec = k
		}
		for i := range s.request.Additions {
			s.request.Additions[i].KeySpec = k
		}
		s.facts.Keys, s.facts.Access = map[cmek.KeyURI]KeyFact{uri: usable(uri)}, map[cmek.KeySpec]Access{k: allowed()}
	}
}

// onGoogle puts the cluster and its key on Google Cloud, the key in the location.
func onGoogle(location string) given {
	return func(s *situation) {
		uri := cmek.KeyURI("projects/acme/locations/" + location + "/keyRings/crdb/cryptoKeys/cmek")
		k := cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: uri, AuthPrincipal: "cmek@acme.iam.gserviceaccount.com"}
		s.facts.Cluster.CloudProvider, s.facts.Cluster.Regions = "GCP", []cmek.Region{{Name: "us-east1", NodeCount: 3}}
		s.request.Specs = []cmek.RegionSpec{{Region: "us-east1", KeySpec: k}}
		s.facts.Keys, s.facts.Access = map[cmek.KeyURI]KeyFact{uri: usable(uri)}, map[cmek.KeySpec]Access{k: allowed()}
	}
}

type refusalRow struct {
	sentence string
	from     func() *situation
	given    []given
	// rows are what refuses; none: the request is sent.
	rows string
}

var refusalRows = []refusalRow{
	{"a cluster without CMEK, with everything in order", enabling, nil, ""},
	{"the cluster is not shown", enabling, []given{func(s *situation) { s.facts.ClusterErr = fmt.Errorf("read: %w", cmek.ErrNotFound) }}, "cluster-not-found"},
	{"the cluster could not be read", enabling, []given{func(s *situation) { s.facts.ClusterErr = errors.New("timeout") }}, "cluster-unread"},
	{"the cluster is deleted", enabling, []given{cluster(func(c *cmek.Cluster) { c.State = cmek.StateDeleted })}, "cluster-deleted"},
	{"the cluster is not ADVANCED", enabling, []given{cluster(func(c *cmek.Cluster) { c.Plan = "STANDARD" })}, "plan"},
	{"the plan is not shown", enabling, []given{cluster(func(c *cmek.Cluster) { c.Plan = "" })}, "plan"},
	{"the cluster is on Azure", enabling, []given{cluster(func(c *cmek.Cluster) { c.CloudProvider = "AZURE" })}, "cloud"},
	{"the cluster is locked", enabling, []given{cluster(func(c *cmek.Cluster) { c.State = cmek.StateLocked })}, "busy"},
	{"the cluster is being created", enabling, []given{cluster(func(c *cmek.Cluster) { c.State = "CREATING" })}, "busy"},
	{"an operation runs", enabling, []given{cluster(func(c *cmek.Cluster) { c.OperationStatus = "CRDB_PATCH_RUNNING" })}, "busy"},
	{"an operation that failed is no reason to wait", enabling, []given{cluster(func(c *cmek.Cluster) { c.OperationStatus = "CRDB_PATCH_FAILED" })}, ""},
	{"the cluster is opted out", enabling, []given{cluster(func(c *cmek.Cluster) { c.Labels = map[string]string{"keyturn": "off"} })}, "opted-out"},
	{"another label is none of keyturn's", enabling, []given{cluster(func(c *cmek.Cluster) { c.Labels = map[string]string{"keyturn": "canary"} })}, ""},
	{"a PUT may be under way", enabling, []given{func(s *situation) { s.facts.Item.Work = []ledger.Work{{Region: east, State: ledger.Requested}} }}, "put-in-flight"},
	{"a PUT is about to leave", enabling, []given{func(s *situation) {
		s.facts.Item.Work = []ledger.Work{{Region: east, State: ledger.Due, Claim: &ledger.Claim{Intent: noon.Add(-39 * time.Second)}}}
	}}, "put-in-flight"},
	{"work that waits is no PUT", enabling, []given{func(s *situation) { s.facts.Item.Work = []ledger.Work{{Region: east, State: ledger.Due}} }}, ""},
	{"another request is open", enabling, []given{func(s *situation) {
		s.facts.Item.Operation = &ledger.Operation{Kind: ledger.OperationAddRegion, By: "bo", Sent: noon.Add(-time.Hour)}
	}}, "operation-open"},
	{"another request was sent longer ago than any takes", enabling, []given{func(s *situation) {
		s.facts.Item.Operation = &ledger.Operation{Kind: ledger.OperationAddRegion, By: "bo", Sent: noon.Add(-2 * time.Hour)}
	}}, ""},
	{"keyturn is paused", enabling, []given{func(s *situation) { s.facts.Paused = ledger.Pause{Since: noon.Add(-time.Hour), Reason: "freeze"} }}, "paused"},
	{"the cluster is on hold", enabling, []given{func(s *situation) {
		s.facts.Holds = cmek.Holds{{ClusterID: "c-1", Until: noon.Add(time.Hour), Reason: "freeze"}}
	}}, "on-hold"},
	{"the key is on hold", enabling, []given{func(s *situation) {
		s.facts.Holds = cmek.Holds{{Key: newKey, Until: noon.Add(time.Hour), Reason: "freeze"}}
	}}, "on-hold"},
	{"another cluster and another key are on hold, and a hold has ended", enabling, []given{func(s *situation) {
		s.facts.Holds = cmek.Holds{{ClusterID: "c-2", Until: noon.Add(time.Hour)}, {Key: oldKey, Until: noon.Add(time.Hour)}, {Key: newKey, Until: noon}}
	}}, ""},
	{"the CMEK could not be read", enabling, []given{func(s *situation) { s.facts.CMEKErr = errors.New("timeout") }}, "cmek-unread"},
	{"no CMEK is not found", enabling, []given{func(s *situation) {
		s.facts.CMEK, s.facts.CMEKErr = cmek.ClusterInfo{}, fmt.Errorf("read: %w", cmek.ErrNotFound)
	}}, ""},
	{"the CMEK that it had is not shown", enabling, []given{func(s *situation) { enabled(s); s.facts.CMEK = cmek.ClusterInfo{Status: cmek.Disabled} }}, "cmek-not-shown"},
	{"no key, and a status", enabling, []given{func(s *situation) { s.facts.CMEK.Status = cmek.Enabling }}, "status"},
	{"CMEK is enabled already", enabling, []given{enabled}, "already-enabled"},
	{"CMEK is being enabled", enabling, []given{status(cmek.Enabling)}, "status"},
	{"CMEK has a status of tomorrow", enabling, []given{status("REBALANCING")}, "status"},
	{"CMEK could not be enabled, and may be asked for again", enabling, []given{status(cmek.EnableFailed)}, ""},
	{"a rotation of it failed", enabling, []given{status(cmek.RotateFailed)}, "already-enabled"},
	{"CMEK was revoked", enabling, []given{status(cmek.Revoked)}, "revoked"},
	{"its revocation failed", enabling, []given{status(cmek.RevokeFailed)}, "revoked"},
	{"no region is shown", enabling, []given{cluster(func(c *cmek.Cluster) { c.Regions = nil })}, "regions-unread"},
	{"a region is missing in the file", enabling, []given{cluster(func(c *cmek.Cluster) { c.Regions = append(c.Regions, cmek.Region{Name: west, NodeCount: 3}) })}, "region-missing"},
	{"a region of the file is none of the cluster's", enabling, []given{func(s *situation) { s.request.Specs = append(s.request.Specs, spec(west, newKey)) }}, "region-unknown"},
	{"a region is named twice", enabling, []given{func(s *situation) { s.request.Specs = append(s.request.Specs, spec(east, newKey)) }}, "region-twice"},
	{"a key of another cloud", enabling, []given{withSpec(func(r *cmek.RegionSpec) { r.KeySpec.Type = cmek.GCPCloudKMS })}, "key-cloud"},
	{"a name of another cloud", enabling, []given{withSpec(func(r *cmek.RegionSpec) { r.KeySpec.URI = "projects/p/locations/l/keyRings/r/cryptoKeys/k" })}, "key-cloud"},
	{"no key at all", enabling, []given{withSpec(func(r *cmek.RegionSpec) { r.KeySpec.Type, r.KeySpec.URI = "NULL_KMS", "" })}, "key-cloud"},
	{"an alias", enabling, []given{withSpec(func(r *cmek.RegionSpec) { r.KeySpec.URI = "arn:aws:kms:us-east-1:111122223333:alias/cmek" })}, "key-uri"},
	{"half an ARN", enabling, []given{withSpec(func(r *cmek.RegionSpec) { r.KeySpec.URI = "arn:aws:kms:us-east-1" })}, "key-uri"},
	{"blanks around the ARN", enabling, []given{withSpec(func(r *cmek.RegionSpec) { r.KeySpec.URI += " " })}, "key-uri"},
	{"no principal", enabling, []given{withSpec(func(r *cmek.RegionSpec) { r.KeySpec.AuthPrincipal = "" })}, "principal"},
	{"a user as principal", enabling, []given{withSpec(func(r *cmek.RegionSpec) { r.KeySpec.AuthPrincipal = "arn:aws:iam::111122223333:user/x" })}, "principal"},
	{"keyturn has no access to that cloud", enabling, []given{func(s *situation) { delete(s.facts.Keys, newKey) }}, "key-unread"},
	{"keyturn may not read the key", enabling, []given{key(KeyFact{Err: fmt.Errorf("describe: %w", cmek.ErrDenied)})}, "key-denied"},
	{"the key could not be read", enabling, []given{key(KeyFact{Err: errors.New("timeout")})}, "key-unread"},
	{"the key does not exist", enabling, []given{keyIs(cmek.KeyNotFound)}, "key-not-found"},
	{"the key is disabled", enabling, []given{keyIs(cmek.KeyDisabled)}, "key-not-enabled"},
	{"the key is to be deleted", enabling, []given{keyIs(cmek.KeyDeletionScheduled)}, "key-not-enabled"},
	{"the key is being created", enabling, []given{keyIs(cmek.KeyTransient)}, "key-not-enabled"},
	{"the key is for signing", enabling, []given{key(KeyFact{Key: cmek.Key{State: cmek.KeyEnabled}})}, "key-not-symmetric"},
	{"the key is of no kind that we know", enabling, []given{keyIs(cmek.KeyUnknown)}, "key-not-symmetric"},
	{"the key's policy does not admit the role", enabling, []given{access(func(a *Access) { a.Key = policy.Verdict{Decision: policy.Denied, Why: "no statement"} })}, "key-policy"},
	{"no waiver admits it", enabling, []given{waived(AccessUnverified), access(func(a *Access) { a.Key = policy.Verdict{Decision: policy.Denied, Why: "no statement"} })}, "key-policy"},
	{"the role does not trust Cockroach Labs", enabling, []given{access(func(a *Access) { a.Principal = policy.Verdict{Decision: policy.Denied, Why: "no statement"} })}, "trust"},
	{"the role does not exist, which is one cause", enabling, []given{func(s *situation) { s.facts.Access[spec(east, newKey).KeySpec] = noPrincipal() }}, "no-principal"},
	{"no waiver makes it", enabling, []given{waived(AccessUnverified), func(s *situation) { s.facts.Access[spec(east, newKey).KeySpec] = noPrincipal() }}, "no-principal"},
	{"a key in another partition than the role", enabling, []given{withSpec(func(r *cmek.RegionSpec) {
		r.KeySpec.URI = "arn:aws-cn:kms:us-east-1:111122223333:key/bbbbbbbb-1111-2222-3333-444444444444"
	})}, "principal"},
	{"a role in another partition than the key", enabling, []given{withSpec(func(r *cmek.RegionSpec) { r.KeySpec.AuthPrincipal = "arn:aws-us-gov:iam::111122223333:role/cmek" })}, "principal"},
	{"the policies could not be read", enabling, []given{func(s *situation) { s.facts.Access = nil }}, "access-unverified access-unverified"},
	{"the policies could not be read, which is taken", enabling, []given{func(s *situation) { s.facts.Access = nil }, waived(AccessUnverified)}, ""},

	{"a key in another Region", enabling, []given{onKey(farKey)}, "cross-region-key"},
	{"a key in another Region, which is taken", enabling, []given{onKey(farKey), waived(CrossRegionKey)}, ""},
	{"another waiver does not take it", enabling, []given{onKey(farKey), waived(AccessUnverified)}, "cross-region-key"},
	{"a multi-Region key's replica in another Region", enabling, []given{onKey("arn:aws:kms:us-west-2:" + mrk)}, "cross-region-key"},
	{"a multi-Region key's replica in the region", enabling, []given{onKey("arn:aws:kms:us-east-1:" + mrk)}, ""},
	{"a key in another Region that is disabled as well", enabling, []given{onKey(farKey), keyIs(cmek.KeyDisabled)}, "cross-region-key key-not-enabled"},
	{"a key in Google's location of the region", enabling, []given{onGoogle("us-east1")}, ""},
	{"a key in another location of Google's", enabling, []given{onGoogle("us-east4")}, "cross-region-key"},
	{"a key in Google's global location", enabling, []given{onGoogle("global")}, "cross-region-key"},
	{"a key in a multi-region of Google's, which is taken", enabling, []given{onGoogle("us"), waived(CrossRegionKey)}, ""},

	{"a region is to be added, with everything in order", adding, nil, ""},
	{"its key is the other region's", adding, []given{onKey(newKey)}, "cross-region-key"},
	{"its key is the other region's, which is taken", adding, []given{onKey(newKey), waived(CrossRegionKey)}, ""},
	{"its key is a replica in the other region", adding, []given{onKey("arn:aws:kms:us-east-1:" + mrk)}, "cross-region-key"},
	{"its key is the replica there", adding, []given{onKey("arn:aws:kms:us-west-2:" + mrk)}, ""},
	{"CMEK was never enabled", adding, []given{func(s *situation) {
		s.facts.CMEK = cmek.ClusterInfo{Status: cmek.Disabled}
		s.facts.Item.CMEK = cmek.ClusterInfo{}
	}}, "no-cmek"},
	{"a rotation runs", adding, []given{status(cmek.Rotating)}, "status"},
	{"a rotation failed", adding, []given{status(cmek.RotateFailed)}, "status"},
	{"the cluster was revoked", adding, []given{status(cmek.Revoked)}, "revoked"},
	{"no region", adding, []given{func(s *situation) { s.request.Additions = nil }}, "no-addition"},
	{"a region that the cluster has", adding, []given{func(s *situation) { s.request.Additions[0].Region = east }}, "region-exists"},
	{"a region without a name", adding, []given{func(s *situation) { s.request.Additions[0].Region = "" }}, "region-unknown"},
	{"a region in capitals", adding, []given{func(s *situation) { s.request.Additions[0].Region = "US-WEST-2" }}, "region-unknown"},
	{"a region with a blank", adding, []given{func(s *situation) { s.request.Additions[0].Region = "us-west-2 " }}, "region-unknown"},
	{"a zone", adding, []given{func(s *situation) { s.request.Additions[0].Region = "us-west-2a" }}, "region-unknown"},
	{"a region of Google's name", adding, []given{func(s *situation) { s.request.Additions[0].Region = "us-west2" }, waived(CrossRegionKey)}, ""}, // which cloud has which is the API's to say
	{"a region without nodes", adding, []given{func(s *situation) { s.request.Additions[0].Nodes = 0 }}, "nodes"},
	{"a new region twice", adding, []given{func(s *situation) { s.request.Additions = append(s.request.Additions, s.request.Additions[0]) }}, "region-twice"},
	{"the nodes of a region are not shown", adding, []given{cluster(func(c *cmek.Cluster) { c.Regions[0].NodeCount = 0 })}, "nodes-unread"},
	{"the CMEK has a region that the cluster does not show", adding, []given{func(s *situation) {
		s.facts.CMEK.RegionInfos = append(s.facts.CMEK.RegionInfos, cmek.RegionInfo{Region: "eu-west-1", Status: cmek.Enabled})
	}}, "region-not-shown"},
	{"the ledger has a region that the cluster does not show", adding, []given{func(s *situation) {
		s.facts.Item.CMEK.RegionInfos = append(slices.Clone(s.facts.Item.CMEK.RegionInfos), cmek.RegionInfo{Region: "eu-west-1"})
	}}, "region-not-shown"},
	{"its key is disabled", adding, []given{keyIs(cmek.KeyDisabled)}, "key-not-enabled"},

	{"a cluster is to be revoked, whose access was taken away", revokingIt, nil, ""},
	{"by the key", revokingIt, []given{func(s *situation) { s.facts.Access[spec(east, oldKey).KeySpec] = allowed() }, keyIs(cmek.KeyDisabled)}, ""},
	{"its access still stands", revokingIt, []given{func(s *situation) { s.facts.Access[spec(east, oldKey).KeySpec] = allowed() }}, "access-still-granted"},
	{"which is taken", revokingIt, []given{func(s *situation) { s.facts.Access[spec(east, oldKey).KeySpec] = allowed() }, waived(AccessStillGranted)}, ""},
	{"one waiver is not another", revokingIt, []given{func(s *situation) { s.facts.Access[spec(east, oldKey).KeySpec] = allowed() }, waived(AccessUnverified)}, "access-still-granted"},
	{"its access could not be read", revokingIt, []given{func(s *situation) { s.facts.Access = nil }}, "access-unverified"},
	{"its key could not be read", revokingIt, []given{func(s *situation) { s.facts.Access, s.facts.Keys = nil, nil }}, "access-unverified"},
	{"its key is in a state of passage", revokingIt, []given{func(s *situation) { s.facts.Access[spec(east, oldKey).KeySpec] = allowed() }, keyIs(cmek.KeyTransient)}, "access-unverified"},
	{"other clusters use its key", revokingIt, []given{func(s *situation) { s.facts.Sharing = []string{"checkout"} }}, "shared-key"},
	{"other clusters use its key, which is taken", revokingIt, []given{func(s *situation) { s.facts.Sharing = []string{"checkout"} }, waived(SharedKey)}, ""},
	{"no sweep has ended, so that it is not known who uses its key", revokingIt, []given{func(s *situation) { s.facts.Swept = time.Time{} }}, "shared-key"},
	{"the last complete sweep ended an hour ago", revokingIt, []given{func(s *situation) { s.facts.Swept = noon.Add(-time.Hour) }}, "shared-key"},
	{"which is taken as well", revokingIt, []given{func(s *situation) { s.facts.Swept = time.Time{} }, waived(SharedKey)}, ""},
	{"its nodes could not be read", revokingIt, []given{func(s *situation) { s.facts.NodesErr = errors.New("timeout") }}, "nodes-unread"},
	{"its backups could not be read", revokingIt, []given{func(s *situation) { s.facts.BackupsErr = errors.New("timeout") }}, "backups-unverified"},
	{"its backups are off", revokingIt, []given{func(s *situation) { s.facts.Backups = cmek.Backups{} }}, "backups-unverified"},
	{"no backup was taken of late", revokingIt, []given{func(s *situation) { s.facts.Backups.Newest = time.Time{} }}, "backups-unverified"},
	{"it is busy", revokingIt, []given{cluster(func(c *cmek.Cluster) { c.State = cmek.StateLocked })}, "busy"},
	{"it was revoked already", revokingIt, []given{status(cmek.Revoked)}, "revoked"},
	{"it is being revoked", revokingIt, []given{status(cmek.Revoking)}, "status"},
	{"it has no CMEK", revokingIt, []given{func(s *situation) {
		s.facts.CMEK = cmek.ClusterInfo{Status: cmek.Disabled}
		s.facts.Item.CMEK = cmek.ClusterInfo{}
	}}, "no-cmek"},
	{"a failed rotation does not keep it", revokingIt, []given{status(cmek.RotateFailed)}, ""},
	{"a pause, a hold and a label do not keep it", revokingIt, []given{func(s *situation) {
		s.facts.Paused = ledger.Pause{Since: noon}
		s.facts.Holds = cmek.Holds{{Key: oldKey, Until: noon.Add(time.Hour)}}
		s.facts.Cluster.Labels = map[string]string{"keyturn": "off"}
	}}, ""},
}

// One row per sentence, in the words that an operator reads.
func TestRefusals(t *testing.T) {
	var told strings.Builder
	seen := map[string]bool{}
	for _, row := range refusalRows {
		s := row.from()
		for _, change := range row.given {
			change(s)
		}
		found := refusals(s.request, s.facts)
		var names []string
		for _, r := range found {
			names = append(names, r.Row)
			seen[r.Row] = true
			if r.What == "" || r.Waiver != "" && !slices.Contains(Hazards(s.request.Kind), r.Waiver) {
				t.Errorf("%s: the refusal %+v says nothing, or names a hazard that the command does not know", row.sentence, r)
			}
			fmt.Fprintf(&told, "%s, %s\n    %s: %s\n", s.request.Kind, row.sentence, r.Row, r.What)
			if r.Fix != "" {
				fmt.Fprintf(&told, "    fix: %s\n", r.Fix)
			}
		}
		if got := strings.Join(names, " "); got != row.rows {
			t.Errorf("%s (%s): refused by %q, want %q", row.sentence, s.request.Kind, got, row.rows)
		}
	}
	golden(t, "refusals.txt", told.String())
}

// What was shown to the person who confirmed it must still be so.
func TestRefusals_aPlanWhoseFactsHaveChanged(t *testing.T) {
	for name, change := range map[string]func(*Facts){
		"the cluster's state":            func(f *Facts) { f.Cluster.State = cmek.StateLocked },
		"the cluster's operation status": func(f *Facts) { f.Cluster.OperationStatus = "CRDB_PATCH_FAILED" },
		"the list of regions":            func(f *Facts) { f.Cluster.Regions[0].NodeCount = 5 },
		"the CMEK":                       func(f *Facts) { f.CMEK.RegionInfos[0].KeyInfos[0].UpdatedAt = noon },
		"the nodes":                      func(f *Facts) { f.Nodes[0].Status = "NOT_READY" },
		"a key":                          func(f *Facts) { f.Keys[oldKey] = KeyFact{Key: cmek.Key{State: cmek.KeyDisabled}} },
		"the access to a key": func(f *Facts) {
			f.Access[spec(east, oldKey).KeySpec] = Access{Key: policy.Verdict{Decision: policy.Denied}, Principal: policy.Verdict{Decision: policy.Denied}}
		},
		"the list of other clusters of its keys": func(f *Facts) { f.Sharing = []string{"checkout"} },
		"the configuration of backups":           func(f *Facts) { f.Backups.Retention = time.Hour },
		"":                                       func(f *Facts) { f.Backups.Newest = noon; f.CMEK.RegionInfos[0].KeyInfos[0].UserMessage = "hello" },
	} {
		s := revokingIt()
		planned := plannedFacts(s.facts)
		s.request.planned = &planned
		change(&s.facts)
		stale := ""
		for _, r := range refusals(s.request, s.facts) {
			if r.Row == "plan-stale" {
				stale += r.What
			}
		}
		if (stale != "") != (name != "") || !strings.Contains(stale, name) {
			t.Errorf("after a change of %q the refusal is %q", name, stale)
		}
	}
}

func golden(t *testing.T, file, text string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("the messages differ from %s (-update rewrites it):\n%s", path, text)
	}
}
