package compliance

import (
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
)

// owners say which cluster is the first, in the order of ids, to name a key, a principal, a key as a principal, or a place: what several
// clusters share is checked once in a run, with its owner. Names are kept as hashes, so that those of a large fleet take little.
type owners map[name]string

type name [16]byte

func named(kind string, parts ...string) name {
	h := sha256.New()
	for _, part := range append([]string{kind}, parts...) {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return name(h.Sum(nil)[:16])
}

func ofKey(uri cmek.KeyURI) name { return named("key", uri.Canonical(), uri.Location()) }

func ofAccess(uri cmek.KeyURI, p cmek.Principal) name {
	return named("access", uri.Canonical(), uri.Location(), p.Canonical())
}

func ofPrincipal(p cmek.Principal) name { return named("principal", p.Canonical()) }

func ofPlace(id string) name { return named("place", id) }

// note makes the cluster the owner of what it is the first to name.
func (o owners) note(cluster string, info cmek.ClusterInfo) {
	note := func(n name) {
		if o[n] == "" {
			o[n] = cluster
		}
	}
	for _, region := range info.RegionInfos {
		for _, k := range region.KeyInfos {
			note(ofKey(k.Spec.URI))
			if at, ok := placeOf(k.Spec.URI); ok {
				note(ofPlace(at.String()))
			}
			if checks.InForce(k.Status) {
				note(ofPrincipal(k.Spec.AuthPrincipal))
				note(ofAccess(k.Spec.URI, k.Spec.AuthPrincipal))
			}
		}
	}
}

// of is the owner; "" if no cluster names it.
func (o owners) of(n name) string { return o[n] }

// owner is the cluster with which a subject is checked; "" for one that no cluster names.
func (o owners) owner(s checks.Subject) string {
	switch s.Kind {
	case checks.ClusterSubject, checks.RegionSubject:
		return s.ClusterID
	case checks.KeySubject:
		return o.of(ofKey(s.Key))
	case checks.AccessSubject:
		if first := o.of(ofAccess(s.Key, s.Principal)); first != "" {
			return first
		}
		return o.of(ofKey(s.Key)) // a cluster that is out of scope uses it so
	case checks.PrincipalSubject:
		return o.of(ofPrincipal(s.Principal))
	case checks.AccountSubject:
		return o.of(ofPlace(s.ID))
	case checks.CredentialSubject:
	}
	return ""
}

// installable are the types of keys of which there are installations.
var installable = []cmek.KeyType{cmek.AWSKMS, cmek.GCPCloudKMS}

// elsewhere reports whether keys of the type are another installation's.
func (f *Function) elsewhere(t cmek.KeyType) bool {
	return len(f.KeyTypes) > 0 && slices.Contains(installable, t) && !slices.Contains(f.KeyTypes, t)
}

// foreignTo is why the cluster is left to another installation; "" if it is not. One that no installation would own stays in scope: nobody
// else would miss it.
func (f *Function) foreignTo(c cmek.Cluster, info cmek.ClusterInfo) string {
	if c.MayHaveKeys(info, func(t cmek.KeyType) bool { return !f.elsewhere(t) }) {
		return ""
	}
	var types []string
	for _, t := range installable {
		if c.MayHaveKeys(info, func(other cmek.KeyType) bool { return other == t }) {
			types = append(types, string(t))
		}
	}
	return "another installation's key type: " + strings.Join(types, ", ")
}
