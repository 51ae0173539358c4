package lifecycle

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
)

// Refusal is a reason why a request is not sent.
type Refusal struct {
	// Row names the rule.
	Row string `json:"row"`
	// What is wrong, and with what; Fix what to do about it, "" if waiting is all.
	What string `json:"what"`
	Fix  string `json:"fix,omitempty"`
	// Waiver is the hazard that lets the request be sent all the same; "" if nothing does.
	Waiver Hazard `json:"waiver,omitempty"`
}

// Hazard is something that may go wrong with a request, and that an operator may take by its name.
type Hazard string

// The hazards.
const (
	// AccessUnverified: whether the cluster may use a key could not be read.
	AccessUnverified Hazard = "access-unverified"
	// CrossRegionKey: a region's key is in another location.
	CrossRegionKey Hazard = "cross-region-key"
	// AccessStillGranted: a cluster is to be revoked whose access to its keys was not taken away first.
	AccessStillGranted Hazard = "access-still-granted"
	// SharedKey: other clusters use a key of a cluster that is to be revoked, and are held with it.
	SharedKey Hazard = "shared-key"
	// BackupsUnverified: it is not known that the cluster has backups.
	BackupsUnverified Hazard = "backups-unverified"
)

// Hazards are those that a request of the kind may waive.
func Hazards(kind ledger.OperationKind) []Hazard {
	if kind == ledger.OperationRevoke {
		return []Hazard{AccessStillGranted, AccessUnverified, SharedKey, BackupsUnverified}
	}
	return []Hazard{AccessUnverified, CrossRegionKey}
}

// NeedsReason reports whether an operator who takes the hazard must say why. A key elsewhere may be what the cluster is planned with.
func (h Hazard) NeedsReason() bool { return h != CrossRegionKey }

// keyTypes are the types of key of each cloud, by its name in the Cloud API. Key Vault keys are not read by keyturn.
var keyTypes = map[string]cmek.KeyType{"AWS": cmek.AWSKMS, "GCP": cmek.GCPCloudKMS}

// refusals are all that stands against the request, by these facts. It is pure. Without a cluster that could be read nothing else is
// said, since all else depends on it.
func refusals(r Request, f Facts) []Refusal {
	var d decision
	d.Request, d.Facts = r, f
	if !d.cluster() {
		return d.found
	}
	d.others()
	if d.status() {
		switch r.Kind {
		case ledger.OperationEnable:
			d.everyRegion()
		case ledger.OperationAddRegion:
			d.newRegions()
		case ledger.OperationRevoke:
			d.revocation()
		}
	}
	if r.Kind != ledger.OperationRevoke {
		d.keys()
	}
	if r.planned != nil {
		d.unchanged()
	}
	return d.found
}

type decision struct {
	Request
	Facts
	found []Refusal
}

func (d *decision) refuse(row, fix, format string, args ...any) {
	d.found = append(d.found, Refusal{Row: row, What: fmt.Sprintf(format, args...), Fix: fix})
}

// hazard refuses unless the operator has taken the hazard.
func (d *decision) hazard(h Hazard, fix, format string, args ...any) {
	if d.Waived[h] == "" {
		d.refuse(string(h), fix, format, args...)
		d.found[len(d.found)-1].Waiver = h
	}
}

// cluster are the rules for the cluster. It reports whether the cluster was read.
func (d *decision) cluster() bool {
	if !d.exists() {
		return false
	}
	d.takesCMEK()
	if busy := d.Cluster.Busy(); busy != "" {
		d.refuse("busy", "wait until it has ended, then run the command again", "%s", busy)
	}
	if d.Cluster.Labels["keyturn"] == "off" && d.Kind != ledger.OperationRevoke {
		d.refuse("opted-out", "remove the label", "the cluster has the label keyturn=off")
	}
	return true
}

// exists reports whether the cluster was read and is not deleted.
func (d *decision) exists() bool {
	c := d.Cluster
	switch {
	case errors.Is(d.ClusterErr, cmek.ErrNotFound):
		d.refuse("cluster-not-found", "check the id, and that keyturn's service account has Cluster Operator on it", "the Cloud API shows no cluster %s to the API key", d.ClusterID)
		return false
	case d.ClusterErr != nil:
		d.refuse("cluster-unread", "", "the cluster could not be read: %v", d.ClusterErr)
		return false
	case c.State == cmek.StateDeleted:
		d.refuse("cluster-deleted", "", "the cluster %s is deleted", c.Name)
		return false
	}
	return true
}

// takesCMEK: the cluster must be one that can have a CMEK with keys that keyturn reads.
func (d *decision) takesCMEK() {
	c := d.Cluster
	if c.Plan != cmek.PlanAdvanced {
		d.refuse("plan", "CMEK needs an ADVANCED cluster that was created with advanced security features", "the cluster's plan is %q", c.Plan)
	}
	if keyTypes[c.CloudProvider] == "" {
		d.refuse("cloud", "", "the cluster is on %q, and keyturn reads keys of AWS and Google Cloud only", c.CloudProvider)
	}
}

// others are keyturn's own requests, and operators' orders to send none. An order stops no revocation, which is nobody's automation.
func (d *decision) others() {
	if region := d.Item.Sending(d.At); region != "" {
		d.refuse("put-in-flight", `wait until it has ended ("keyturn status" shows it), then run the command again`, "a PUT of keyturn's to region %s is under way", region)
	}
	if o := d.Item.Operation; o.Excludes(d.At) && !sameRequest(*o, d.Request) {
		d.refuse("operation-open", "run that command again to watch it to its end", "another request is open: %s, by %s, sent %s", o.Kind, o.By, o.Sent.UTC().Format(time.RFC3339))
	}
	if d.Kind == ledger.OperationRevoke {
		return
	}
	if d.Paused.Active() {
		d.refuse("paused", `"keyturn resume"`, "keyturn is paused since %s: %s", d.Paused.Since.UTC().Format(time.RFC3339), d.Paused.Reason)
	}
	for _, h := range d.Holds.Standing(d.At) {
		if h.ClusterID == d.ClusterID || h.Key != "" && slices.ContainsFunc(d.specs(), func(s cmek.RegionSpec) bool { return h.On("", s.KeySpec.URI) }) {
			d.refuse("on-hold", fmt.Sprintf("%q", "keyturn release "+h.Argument()), "%s is on hold: %s", h.Subject(), h.Reason)
		}
	}
}

// status reports whether the cluster's CMEK is known to be in the state that the request needs.
func (d *decision) status() bool {
	info := d.CMEK
	notShown := errors.Is(d.CMEKErr, cmek.ErrNotFound) || errors.Is(d.CMEKErr, cmek.ErrIncomplete)
	if d.CMEKErr != nil && !notShown {
		d.refuse("cmek-unread", "", "the CMEK could not be read: %v", d.CMEKErr)
		return false
	}
	none := notShown || !info.HasKeys()
	if none && d.Item.CMEK.HasKeys() {
		d.refuse("cmek-not-shown", "", "the Cloud API shows no CMEK, although the cluster had one and it cannot be switched off")
		return false
	}
	worst := statusOf(info)
	switch {
	case d.Kind == ledger.OperationEnable && none:
		if worst != "" && worst != cmek.Disabled {
			d.refuse("status", "", "the CMEK shows no key, and the status %s", worst)
		}
		return true
	case none:
		d.refuse("no-cmek", `"keyturn enable" enables it`, "the cluster has no CMEK")
		return false
	case worst.InProgress() || !worst.Known():
		d.refuse("status", "wait until it has ended, then run the command again", "the CMEK's status is %s", worst)
		return false
	case worst == cmek.Revoked || worst == cmek.RevokeFailed:
		d.refuse("revoked", fmt.Sprintf("%q", "keyturn restore "+d.ClusterID), "the CMEK's status is %s: only Cockroach Labs' support can bring it back", worst)
		return false
	case d.Kind == ledger.OperationEnable && !onlyFailed(info):
		d.refuse("already-enabled", `a key is changed by a rotation, not by enabling`, "the cluster has a CMEK already, with status %s", worst)
		return false
	case d.Kind == ledger.OperationAddRegion && worst != cmek.Enabled:
		d.refuse("status", "bring every region to ENABLED first", "the CMEK's status is %s", worst)
		return false
	}
	return true
}

// statusOf is the status that says most about what must not be done: one in progress or not known before one that is revoked, before
// a failed one, before the cluster's own. Regions and current keys count, since how the API makes one status of them is not documented.
func statusOf(info cmek.ClusterInfo) cmek.Status {
	statuses := []cmek.Status{info.Status}
	for _, r := range info.RegionInfos {
		statuses = append(statuses, r.Status)
		for _, k := range r.KeyInfos {
			if k.Status != cmek.Disabled { // a past key
				statuses = append(statuses, k.Status)
			}
		}
	}
	statuses = slices.DeleteFunc(statuses, func(s cmek.Status) bool { return s == "" })
	for _, first := range []func(cmek.Status) bool{
		func(s cmek.Status) bool { return s.InProgress() || !s.Known() },
		func(s cmek.Status) bool { return s == cmek.Revoked || s == cmek.RevokeFailed },
		cmek.Status.Failed,
		func(s cmek.Status) bool { return s == cmek.Disabled },
		cmek.Status.Known,
	} {
		if i := slices.IndexFunc(statuses, first); i >= 0 {
			return statuses[i]
		}
	}
	return ""
}

// onlyFailed reports whether all that the CMEK shows are keys that could not be enabled: nothing is in force, and it may be asked for again.
func onlyFailed(info cmek.ClusterInfo) bool {
	return !slices.ContainsFunc(info.RegionInfos, func(r cmek.RegionInfo) bool {
		return slices.ContainsFunc(r.KeyInfos, func(k cmek.KeyInfo) bool { return k.Status != cmek.EnableFailed })
	})
}

// everyRegion: the API enables all regions of a cluster or none.
func (d *decision) everyRegion() {
	if len(d.Cluster.Regions) == 0 {
		d.refuse("regions-unread", "", "the Cloud API shows no region of the cluster")
		return
	}
	named := map[string]int{}
	for _, spec := range d.Specs {
		named[spec.Region]++
	}
	for _, r := range d.Cluster.Regions {
		if named[r.Name] == 0 {
			d.refuse("region-missing", "add it to the file", "the cluster's region %s has no key", r.Name)
		}
		if named[r.Name] > 1 {
			d.refuse("region-twice", "leave one of them", "region %s is named %d times", r.Name, named[r.Name])
		}
	}
	for _, spec := range d.Specs {
		if !hasRegion(d.Cluster, spec.Region) {
			d.refuse("region-unknown", "leave it out", "the cluster has no region %q", spec.Region)
		}
	}
}

func hasRegion(c cmek.Cluster, name string) bool {
	return slices.ContainsFunc(c.Regions, func(r cmek.Region) bool { return r.Name == name })
}

// newRegions: what is sent is the whole map of regions, so that every reading of them must agree.
func (d *decision) newRegions() {
	if len(d.Additions) == 0 {
		d.refuse("no-addition", "name one with --region REGION=NODES", "no region is to be added")
	}
	seen := map[string]bool{}
	for _, a := range d.Additions {
		switch {
		case a.Region == "":
			d.refuse("region-unknown", "name it", "a region has no name")
		case !regionNames.MatchString(a.Region):
			d.refuse("region-unknown", "name it as the cluster's cloud does, such as us-west-2", "no region is named %q", a.Region)
		case hasRegion(d.Cluster, a.Region):
			d.refuse("region-exists", "leave it out: this command changes no region that the cluster has", "the cluster has the region %s already", a.Region)
		case seen[a.Region]:
			d.refuse("region-twice", "leave one of them", "region %s is named twice", a.Region)
		case a.Nodes <= 0:
			d.refuse("nodes", "say how many, as --region "+a.Region+"=3", "region %s has no node count", a.Region)
		}
		seen[a.Region] = true
	}
	for _, r := range d.Cluster.Regions {
		if r.NodeCount <= 0 {
			d.refuse("nodes-unread", "", "the Cloud API does not show how many nodes region %s has, and it would be removed", r.Name)
		}
	}
	known := map[string]string{}
	for _, r := range d.Item.CMEK.RegionInfos {
		known[r.Region] = "the ledger"
	}
	for _, r := range d.CMEK.RegionInfos {
		known[r.Region] = "the CMEK"
	}
	for _, name := range sorted(known) {
		if !hasRegion(d.Cluster, name) {
			d.refuse("region-not-shown", `wait for the next sweep, or see "keyturn status"`, "%s has the region %s, and the cluster does not show it: it would be removed", known[name], name)
		}
	}
}

// fitsRegion reports whether the request may name the region; if not, that is refused, and where its key is says nothing more.
func (d *decision) fitsRegion(name string) bool {
	return regionNames.MatchString(name) && hasRegion(d.Cluster, name) != (d.Kind == ledger.OperationAddRegion)
}

// keys are the rules for each key that is new to the cluster.
func (d *decision) keys() {
	for _, spec := range d.specs() {
		d.key(spec)
	}
}

func (d *decision) key(spec cmek.RegionSpec) {
	uri, in := spec.KeySpec.URI, "region "+spec.Region+": "
	want := keyTypes[d.Cluster.CloudProvider]
	switch problem := checkURI(uri); {
	case want != "" && (spec.KeySpec.Type != want || uri.Type() != want):
		d.refuse("key-cloud", "a cluster on "+d.Cluster.CloudProvider+" takes keys of the type "+string(want), "%sthe key %q has the type %q", in, uri, spec.KeySpec.Type)
		return
	case problem != "":
		d.refuse("key-uri", "give the key's own name, without alias and version", "%s%s", in, problem)
		return
	case spec.KeySpec.AcrossPartitions():
		d.refuse("principal", "give a key and a role of one partition", "%sthe key %q and the role %q are in two partitions of AWS, between which there is no access", in, uri, spec.KeySpec.AuthPrincipal)
		return
	case !principalOf(spec.KeySpec):
		d.refuse("principal", "give the ARN of the IAM role, or the e-mail of the service account, that the cluster acts as", "%sthe auth_principal %q is none of the cluster's cloud", in, spec.KeySpec.AuthPrincipal)
		return
	}
	if why, instead := spec.Elsewhere(); why != "" && d.fitsRegion(spec.Region) {
		d.hazard(CrossRegionKey, instead, "%sthe key %s is %s", in, uri, why)
	}
	fact, read := d.Keys[uri]
	switch {
	case !read:
		d.refuse("key-unread", "configure access to that cloud's KMS", "%skeyturn has no access to keys of the type %s", in, spec.KeySpec.Type)
	case errors.Is(fact.Err, cmek.ErrDenied):
		d.refuse("key-denied", "let keyturn's reader read the key", "%skeyturn may not read the key %s: %v", in, uri, fact.Err)
	case fact.Err != nil:
		d.refuse("key-unread", "", "%sthe key %s could not be read: %v", in, uri, fact.Err)
	case fact.Key.State == cmek.KeyNotFound:
		d.refuse("key-not-found", "check the URI", "%sthe key %s does not exist", in, uri)
	case fact.Key.State == cmek.KeyUnknown || fact.Key.State.Usable() && fact.Key.Version.IsZero():
		d.refuse("key-not-symmetric", "use a symmetric key for encryption and decryption", "%sthe key %s is none for symmetric encryption", in, uri)
	case !fact.Key.State.Usable():
		d.refuse("key-not-enabled", wordsOf(spec.KeySpec.Type).enable(spec.KeySpec, fact.Key), "%sthe key %s is %s", in, uri, fact.Key.State)
	}
	d.access(spec)
}

// access: the principal must be admitted by the key, and Cockroach Labs to the principal.
func (d *decision) access(spec cmek.RegionSpec) {
	access := d.Access[spec.KeySpec]
	who := spec.KeySpec.AuthPrincipal
	if access.NoPrincipal {
		d.refuse("no-principal", wordsOf(spec.KeySpec.Type).create(spec.KeySpec), "region %s: %s", spec.Region, access.Principal.Why)
		return
	}
	for _, side := range []struct {
		row, may, fix string
		policy.Verdict
	}{
		{"key-policy", fmt.Sprintf("%s may use the key %s", who, spec.KeySpec.URI), accessFix(spec.KeySpec), access.Key},
		{"trust", fmt.Sprintf("Cockroach Labs may act as %s", who), trustFix(spec.KeySpec, d.Cluster), access.Principal},
	} {
		why := side.Why
		if why == "" {
			why = "the policies were not read"
		}
		switch side.Decision {
		case policy.Denied:
			d.refuse(side.row, side.fix, "region %s: %s: %s", spec.Region, strings.Replace(side.may, " may ", " may not ", 1), why)
		case policy.CannotTell:
			d.hazard(AccessUnverified, "let keyturn read the policies, or give the reason with --"+string(AccessUnverified),
				"region %s: whether %s is not known: %s", spec.Region, side.may, why)
		case policy.Allowed:
		}
	}
}

// checkURI says what keeps the URI from being sent as the name of a key; "" if nothing does.
func checkURI(uri cmek.KeyURI) string {
	parsed, err := cmek.ParseKeyURI(string(uri))
	switch {
	case err != nil:
		return err.Error()
	case parsed != uri:
		return fmt.Sprintf("the key URI %q has blanks around it", uri)
	case uri.IsAlias():
		return fmt.Sprintf("the key URI %q is an alias, which may point to another key at any time", uri)
	case uri.Type() == cmek.GCPCloudKMS && uri.Canonical() != string(uri):
		return fmt.Sprintf("the key URI %q is not the plain name of a key: it must begin with projects/ and name no version", uri)
	}
	return ""
}

// principalOf reports whether the principal has the form that the key's cloud needs.
func principalOf(spec cmek.KeySpec) bool {
	if spec.Type == cmek.AWSKMS {
		return spec.AuthPrincipal.IsRole()
	}
	return strings.HasSuffix(strings.ToLower(string(spec.AuthPrincipal)), ".gserviceaccount.com") && spec.AuthPrincipal.Name() != string(spec.AuthPrincipal)
}

// sweptWithin is how old a complete sweep may be by which no other cluster uses a key.
const sweptWithin = time.Hour

// revocation are the rules for what cannot be taken back.
func (d *decision) revocation() {
	if d.NodesErr != nil {
		d.refuse("nodes-unread", "", "the nodes could not be read, so that it is not known what stops: %v", d.NodesErr)
	}
	for _, spec := range inForce(d.CMEK) {
		switch gone, why := d.accessGone(spec); gone {
		case policy.Allowed:
			d.hazard(AccessStillGranted, removeAccess(spec.KeySpec), "region %s: %s may still use the key %s; take it away first: after that the cluster runs on, and can be given the access back",
				spec.Region, spec.KeySpec.AuthPrincipal, spec.KeySpec.URI)
		case policy.CannotTell:
			d.hazard(AccessUnverified, "let keyturn read the key and its policies", "region %s: whether %s may still use the key %s is not known: %s",
				spec.Region, spec.KeySpec.AuthPrincipal, spec.KeySpec.URI, why)
		}
	}
	switch {
	case len(d.Sharing) > 0:
		d.hazard(SharedKey, "move the other clusters to keys of their own first", "its keys are used by other clusters too, which are put on hold with it: %s", strings.Join(d.Sharing, ", "))
	case !d.At.Before(d.Swept.Add(sweptWithin)):
		d.hazard(SharedKey, `wait for the next sweep of the function, or run "keyturn follow", which sweeps first`,
			"whether other clusters use its keys is not known: no complete sweep has ended in the last hour")
	}
	switch {
	case d.BackupsErr != nil:
		d.hazard(BackupsUnverified, "", "the backups could not be read: %v", d.BackupsErr)
	case d.Backups.Frequency == 0:
		d.hazard(BackupsUnverified, "switch managed backups on, and wait for one", "managed backups are off")
	case d.Backups.Newest.IsZero():
		d.hazard(BackupsUnverified, "find out why none was taken", "there is no backup of the last %s", 2*d.Backups.Frequency)
	}
}

// accessGone judges the access of a region to a key that is to be revoked: Denied if it is gone, Allowed if it still stands.
func (d *decision) accessGone(spec cmek.RegionSpec) (policy.Decision, string) {
	fact, read := d.Keys[spec.KeySpec.URI]
	access := d.Access[spec.KeySpec]
	switch {
	case read && fact.Err == nil && fact.Key.State.Unusable():
		return policy.Denied, ""
	case access.Key.Decision == policy.Denied || access.Principal.Decision == policy.Denied:
		return policy.Denied, ""
	case !read || fact.Err != nil:
		return policy.CannotTell, "the key was not read"
	case access.Key.Decision == policy.Allowed && access.Principal.Decision == policy.Allowed && fact.Key.State.Usable():
		return policy.Allowed, ""
	}
	if why := strings.Trim(access.Key.Why+"; "+access.Principal.Why, "; "); why != "" {
		return policy.CannotTell, why
	}
	return policy.CannotTell, "the key is " + string(fact.Key.State) + ", or its policies were not read"
}

// unchanged: what an operator confirmed is what was shown.
func (d *decision) unchanged() {
	for _, change := range d.planned.changes(plannedFacts(d.Facts)) {
		d.refuse("plan-stale", "make a new plan", "since the plan was made, %s changed", change)
	}
}

// asAskedFor reports whether the cluster shows all that the request asks for, so that nothing is to be sent.
func asAskedFor(r Request, f Facts) bool {
	if f.ClusterErr != nil || f.CMEKErr != nil || f.Item.Operation.Excludes(f.At) {
		return false
	}
	shown := ledger.Operation{Kind: r.Kind, Specs: r.specs(), Nodes: r.nodes(), Baseline: &ledger.OperationBaseline{}}
	if r.Kind == ledger.OperationEnable && len(shown.Specs) != len(f.Cluster.Regions) || r.Kind != ledger.OperationRevoke && len(shown.Specs) == 0 {
		return false
	}
	return reached(shown, f.Cluster, f.CMEK)
}

func (r Request) nodes() map[string]int {
	if len(r.Additions) == 0 {
		return nil
	}
	nodes := map[string]int{}
	for _, a := range r.Additions {
		nodes[a.Region] = a.Nodes
	}
	return nodes
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
