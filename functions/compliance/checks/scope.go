package checks

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// SubjectKind is what a check is about.
type SubjectKind string

// The kinds of subjects. A region is one of a cluster, an access is a key with a principal that uses it.
const (
	ClusterSubject    SubjectKind = "cluster"
	RegionSubject     SubjectKind = "region"
	KeySubject        SubjectKind = "key"
	AccessSubject     SubjectKind = "access"
	PrincipalSubject  SubjectKind = "principal"
	AccountSubject    SubjectKind = "account"
	CredentialSubject SubjectKind = "credential"
)

// Subject is what a finding is about.
type Subject struct {
	Kind SubjectKind `json:"kind"`
	// ID names the subject among all of its kind: it is stable from run to run.
	ID          string         `json:"id"`
	Cloud       Cloud          `json:"cloud,omitempty"`
	ClusterID   string         `json:"cluster_id,omitempty"`
	ClusterName string         `json:"cluster_name,omitempty"`
	Region      string         `json:"region,omitempty"`
	Key         cmek.KeyURI    `json:"key,omitempty"`
	Principal   cmek.Principal `json:"principal,omitempty"`
	Account     string         `json:"account,omitempty"`
}

// scope is a subject with the facts about it. What is not in the snapshot is there without facts, and so unread.
type scope struct {
	*world
	subject Subject
	cloud   Cloud
	// whyNoCloud says why the cloud is not known, and grants what is missing for it.
	whyNoCloud string
	grants     []string

	cluster    *Cluster
	key        *Key
	principal  *Principal
	account    *Account
	credential *Credential

	ownUses *ownUses // of key, see own
}

// world is a snapshot with its subjects found by name.
type world struct {
	facts    *Facts
	declared Declarations
	now      time.Time

	clusters   map[string]*Cluster
	keys       map[string]*Key
	principals map[string]*Principal
	accounts   map[string]*Account

	// shown are the key infos that clusters of the snapshot show, by the place of their key and by their principal.
	shown map[string][]shownInfo
}

// shownInfo is a key info as a cluster shows it.
type shownInfo struct {
	clusterID, region string
	inForce           bool
}

// place is a key's identity here: replicas of a multi-Region key are keys of their own.
func place(u cmek.KeyURI) string { return u.Canonical() + " " + u.Location() }

func sameKey(a, b cmek.KeyURI) bool { return place(a) == place(b) }

func accountID(cloud Cloud, id, location string) string {
	if cloud == GCP {
		location = "" // projects have none
	}
	return strings.TrimSuffix(string(cloud)+"/"+id+"/"+location, "/")
}

func newWorld(facts Facts, declared Declarations, now time.Time) *world {
	w := &world{facts: &facts, declared: declared, now: now, clusters: map[string]*Cluster{}, keys: map[string]*Key{},
		principals: map[string]*Principal{}, accounts: map[string]*Account{}, shown: map[string][]shownInfo{}}
	for i := range facts.Clusters {
		w.clusters[facts.Clusters[i].ID] = &facts.Clusters[i]
	}
	for i := range facts.Keys {
		w.keys[place(facts.Keys[i].URI)] = &facts.Keys[i]
	}
	for i := range facts.Principals {
		w.principals[facts.Principals[i].ID.Canonical()] = &facts.Principals[i]
	}
	for i := range facts.Accounts {
		a := &facts.Accounts[i]
		w.accounts[accountID(a.Cloud, a.ID, a.Location)] = a
	}
	for _, c := range facts.Clusters {
		for _, region := range c.CMEK.Value.RegionInfos {
			for _, info := range region.KeyInfos {
				w.name(info)
				if read := needCMEK.unread(c.CMEK.Reading, now) == ""; !read {
					continue
				}
				status := region.Newest(info.Spec.URI).Status
				seen := shownInfo{c.ID, region.Region, InForce(status)}
				w.shown[place(info.Spec.URI)] = append(w.shown[place(info.Spec.URI)], seen)
				w.shown[info.Spec.AuthPrincipal.Canonical()] = append(w.shown[info.Spec.AuthPrincipal.Canonical()], seen)
			}
		}
	}
	for _, key := range facts.Keys {
		w.nameAccount(key.URI)
	}
	return w
}

// name makes sure that what a cluster's key info names is among the subjects.
func (w *world) name(info cmek.KeyInfo) {
	w.keyOf(info.Spec.URI)
	w.nameAccount(info.Spec.URI)
	if InForce(info.Status) {
		w.principalOf(info.Spec.AuthPrincipal)
	}
}

func (w *world) nameAccount(uri cmek.KeyURI) {
	cloud := cloudOf(uri)
	if cloud == "" {
		return
	}
	id := accountID(cloud, uri.Account(), uri.Location())
	if w.accounts[id] == nil {
		a := &Account{Cloud: cloud, ID: uri.Account(), Location: uri.Location()}
		if cloud == GCP {
			a.Location = ""
		}
		w.accounts[id] = a
	}
}

// keyOf is the key with the URI, without facts if nothing was read of it.
func (w *world) keyOf(uri cmek.KeyURI) *Key {
	id := place(uri)
	if w.keys[id] == nil {
		w.keys[id] = &Key{URI: uri}
	}
	return w.keys[id]
}

func (w *world) principalOf(p cmek.Principal) *Principal {
	id := p.Canonical()
	if w.principals[id] == nil {
		w.principals[id] = &Principal{ID: p}
	}
	return w.principals[id]
}

// azure is a cloud that keyturn has no checks for. A word that is none of the three is not known, and so no reason to leave anything out.
const azure Cloud = "AZURE"

// cloudOf is the cloud of a key; "" for any other.
func cloudOf(uri cmek.KeyURI) Cloud {
	switch uri.Type() {
	case cmek.AWSKMS:
		return AWS
	case cmek.GCPCloudKMS:
		return GCP
	case cmek.AzureKeyVault:
		return azure
	}
	return ""
}

// subjects are the scopes of all subjects of the kind, by id.
func (w *world) subjects(kind SubjectKind) []*scope {
	var all []*scope
	switch kind {
	case ClusterSubject:
		for _, id := range slices.Sorted(maps.Keys(w.clusters)) {
			all = append(all, w.clusterScope(w.clusters[id], ""))
		}
	case RegionSubject:
		for _, id := range slices.Sorted(maps.Keys(w.clusters)) {
			for _, region := range w.clusters[id].regions() {
				all = append(all, w.clusterScope(w.clusters[id], region))
			}
		}
	case KeySubject:
		for _, id := range slices.Sorted(maps.Keys(w.keys)) {
			all = append(all, w.keyScope(w.keys[id]))
		}
	case AccessSubject:
		all = w.accesses()
	case PrincipalSubject:
		for _, id := range slices.Sorted(maps.Keys(w.principals)) {
			p := w.principals[id]
			s := &scope{world: w, cloud: cloudOfPrincipal(p.ID), principal: p,
				subject: Subject{Kind: kind, ID: string(p.ID), Principal: p.ID, Account: p.ID.Account()}}
			all = append(all, s)
		}
	case AccountSubject:
		for _, id := range slices.Sorted(maps.Keys(w.accounts)) {
			a := w.accounts[id]
			all = append(all, &scope{world: w, cloud: a.Cloud, account: a, subject: Subject{Kind: kind, ID: id, Account: a.ID, Region: a.Location}})
		}
	case CredentialSubject:
		for i := range w.facts.Credentials {
			c := &w.facts.Credentials[i]
			all = append(all, &scope{world: w, cloud: c.Cloud, credential: c, subject: Subject{Kind: kind, ID: c.Name}})
		}
	}
	for _, s := range all {
		s.subject.Cloud = s.cloud
	}
	slices.SortStableFunc(all, func(a, b *scope) int { return cmp.Compare(a.subject.ID, b.subject.ID) })
	return all
}

func cloudOfPrincipal(p cmek.Principal) Cloud {
	switch {
	case p.IsRole():
		return AWS
	case strings.Contains(string(p), "@"):
		return GCP
	}
	if isTenant(string(p)) {
		return azure
	}
	return ""
}

// isTenant reports whether a text has the form of a tenant's id at Azure, a UUID.
func isTenant(s string) bool {
	const form = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
	digits := strings.Map(func(r rune) rune {
		if strings.ContainsRune("0123456789abcdefABCDEF", r) {
			return 'x'
		}
		return r
	}, s)
	return digits == form
}

func (w *world) clusterScope(c *Cluster, region string) *scope {
	s := &scope{world: w, cluster: c, subject: Subject{Kind: ClusterSubject, ID: c.ID, ClusterID: c.ID, ClusterName: c.Info.Value.Name, Region: region}}
	if region != "" {
		s.subject.Kind, s.subject.ID = RegionSubject, c.ID+"/"+region
	}
	if why := needInfo.unread(c.Info.Reading, w.now); why != "" {
		s.subject.ClusterName, s.whyNoCloud, s.grants = "", needInfo.Name+" "+why, []string{c.Info.Grant}
		return s
	}
	if s.cloud = Cloud(c.Info.Value.CloudProvider); s.cloud == "" {
		s.whyNoCloud = "the Cloud API does not tell the cluster's provider"
	}
	return s
}

func (w *world) keyScope(k *Key) *scope {
	return &scope{world: w, cloud: cloudOf(k.URI), key: k, subject: Subject{Kind: KeySubject, ID: string(k.URI), Key: k.URI, Account: k.URI.Account(), Region: k.URI.Location()}}
}

// accesses are the keys in force with each principal that clusters use them as. What clusters show counts as much as the inventory.
func (w *world) accesses() []*scope {
	found := map[string]*scope{}
	add := func(spec cmek.KeySpec) {
		id := place(spec.URI) + " " + spec.AuthPrincipal.Canonical()
		if found[id] != nil {
			return
		}
		s := w.keyScope(w.keyOf(spec.URI))
		s.principal = w.principalOf(spec.AuthPrincipal)
		s.subject.Kind, s.subject.Principal = AccessSubject, s.principal.ID
		s.subject.ID = string(s.key.URI) + " " + string(s.principal.ID)
		found[id] = s
	}
	for _, c := range w.facts.Clusters {
		for _, region := range c.CMEK.Value.RegionInfos {
			for _, info := range region.KeyInfos {
				if InForce(info.Status) {
					add(info.Spec)
				}
			}
		}
	}
	for _, k := range w.facts.Keys {
		for _, u := range k.Uses.Value {
			if InForce(u.Status) && sameKey(u.Spec.URI, k.URI) {
				add(u.Spec)
			}
		}
	}
	return slices.Collect(maps.Values(found))
}

// unlisted is a use of the key that a cluster of the snapshot shows and the inventory by key does not; "" if there is none. An
// inventory that lacks a use would make a key look unused.
func (s *scope) unlisted() string { return s.own().unlisted }

// unassumed is the same for the clusters of a principal.
func (s *scope) unassumed() string {
	assumers := map[string]bool{}
	for _, a := range s.principal.Clusters.Value {
		assumers[a.ClusterID] = true
	}
	for _, i := range s.shown[s.principal.ID.Canonical()] {
		if i.inForce && !assumers[i.clusterID] {
			return fmt.Sprintf("do not show that cluster %s acts as it", clip(i.clusterID))
		}
	}
	return ""
}

// regions are those of the cluster and of its CMEK. One without a name stands for all if none is known.
func (c *Cluster) regions() []string {
	names := map[string]bool{}
	for _, r := range c.Info.Value.Regions {
		names[r.Name] = true
	}
	for _, r := range c.CMEK.Value.RegionInfos {
		names[r.Region] = true
	}
	if len(names) == 0 {
		return []string{unknownRegion}
	}
	return slices.Sorted(maps.Keys(names))
}

const unknownRegion = "?"

// InForce reports whether a key info with the status is one that protects data now, or may. REVOKED keys do, too: the cluster
// needs them to come back.
func InForce(s cmek.Status) bool { return s != cmek.Disabled }

// protects reports whether data is written under a key with the status.
func protects(s cmek.Status) bool {
	return s == cmek.Enabled || s == cmek.Rotating || s == cmek.RotateFailed
}

// excluded is why nothing about the subject's cluster is checked; "" if it is.
func (s *scope) excluded() string {
	if s.cluster == nil {
		return ""
	}
	for _, x := range s.declared.OutOfScope {
		if x.Cluster == s.cluster.ID {
			return "declared out of scope: " + clip(x.Reason)
		}
	}
	if needInfo.unread(s.cluster.Info.Reading, s.now) != "" {
		return ""
	}
	switch info := s.cluster.Info.Value; {
	case info.State == cmek.StateDeleted || !info.DeletedAt.IsZero():
		return "the cluster is deleted"
	case cmek.PlanWithoutCMEK(info.Plan):
		return fmt.Sprintf("only %s clusters can have a CMEK, this one is %s", cmek.PlanAdvanced, clip(info.Plan))
	}
	return ""
}

// region is the CMEK of the scope's region, and its key infos that protect data now, the newest of each key.
func (s *scope) region() (r cmek.RegionInfo, current []cmek.KeyInfo) {
	r, _ = s.cluster.CMEK.Value.Region(s.subject.Region)
	return r, protecting(r)
}

func protecting(r cmek.RegionInfo) (current []cmek.KeyInfo) {
	seen := map[string]bool{}
	for _, info := range r.KeyInfos {
		newest := r.Newest(info.Spec.URI)
		if id := place(info.Spec.URI); !seen[id] && protects(newest.Status) {
			seen[id] = true
			current = append(current, newest)
		}
	}
	slices.SortFunc(current, func(a, b cmek.KeyInfo) int { return cmp.Compare(a.Spec.URI, b.Spec.URI) })
	return current
}

// ownUses are the uses of a key, computed once for all checks: a key may have as many as there are clusters.
type ownUses struct {
	// all are the uses of the very key, not those of related multi-Region keys; inForce are those that are not past.
	all, inForce []Use
	// principals are whom clusters use or used the key as, acting those in force.
	principals, acting []cmek.Principal
	unlisted           string
}

func (s *scope) own() *ownUses {
	if s.ownUses != nil {
		return s.ownUses
	}
	o := &ownUses{}
	listed := map[string]bool{} // whether the use is in force
	for _, u := range s.key.Uses.Value {
		if !sameKey(u.Spec.URI, s.key.URI) {
			continue
		}
		where, live := u.ClusterID+"/"+u.Region, InForce(u.Status)
		listed[where] = listed[where] || live
		o.all = append(o.all, u)
		o.principals = addNew(o.principals, u.Spec.AuthPrincipal)
		if live {
			o.inForce = append(o.inForce, u)
			o.acting = addNew(o.acting, u.Spec.AuthPrincipal)
		}
	}
	if s.world != nil {
		for _, i := range s.shown[place(s.key.URI)] {
			if live, ok := listed[i.clusterID+"/"+i.region]; o.unlisted == "" && (!ok || i.inForce && !live) {
				o.unlisted = fmt.Sprintf("do not show that cluster %s uses it in %s", clip(i.clusterID), clip(i.region))
			}
		}
	}
	s.ownUses = o
	return o
}

// addNew adds a principal unless it is in the list, which is short.
func addNew(list []cmek.Principal, p cmek.Principal) []cmek.Principal {
	if slices.Contains(list, p) {
		return list
	}
	return append(list, p)
}

// unused is why checks of keys in force have no meaning for the key; "" if a cluster uses it.
func (s *scope) unused() string {
	switch {
	case len(s.own().all) == 0:
		return "no cluster names the key"
	case len(s.own().inForce) == 0:
		return "no cluster uses the key any more"
	}
	return ""
}
