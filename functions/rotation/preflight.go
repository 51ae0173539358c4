package rotation

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

// Move is what was read about the keys of an order.
type Move struct {
	From, To KeyCheck
}

// KeyCheck is what was read about one key of an order, and about the cluster's use of it.
type KeyCheck struct {
	Key KeyFact
	// Access is whether the principal of the spec may use the key; AccessWhy is the reason, unless it is Allowed.
	Access    policy.Decision
	AccessWhy string
	// Incidents are the open incidents about the key, for people; IncidentsErr says why they could not be read.
	Incidents    []string
	IncidentsErr error
	// Unwatched says why changes of the key are not reported to keyturn; "" if they are, or nobody can tell, which the caller of the pre-flight says.
	Unwatched string
}

// Problem is why an order may not be carried out.
type Problem struct {
	// Row names the condition that is not met.
	Row string `json:"row"`
	// Message says what is wrong, and how it is put right.
	Message string `json:"message"`
	// Unread: it could not be read whether the condition is met.
	Unread bool `json:"unread,omitempty"`
}

// Preflight says all that keeps an order from being carried out now: what its cluster shows and operators hold, then what
// [Move.Problems] says. It is what an operator reads before an order is given; [Decide] asks again before each request.
func Preflight(o ledger.Order, cluster cmek.Cluster, info cmek.ClusterInfo, m Move, holds cmek.Holds, now time.Time) (problems []Problem) {
	add := func(row, format string, args ...any) {
		problems = append(problems, Problem{Row: row, Message: fmt.Sprintf(format, args...)})
	}
	switch {
	case cluster.Plan != "" && cluster.Plan != cmek.PlanAdvanced:
		add("cluster", "the cluster's plan is %s; only %s clusters have a CMEK", cluster.Plan, cmek.PlanAdvanced)
	case cluster.Busy() != "":
		add("cluster", "the cluster is not idle: %s; try again when it is CREATED and nothing runs", cluster.Busy())
	case off(cluster):
		add("cluster", "the cluster has the label keyturn=off; remove it to let keyturn send PUTs to it")
	}
	for _, key := range []cmek.KeyURI{o.From.URI, o.To.URI} {
		if h, held := holds.Find(cluster.ID, key, now); held {
			add("hold", "%s is on hold: %s; \"keyturn release %s\" ends it", h.Subject(), h.Reason, h.Argument())
			break
		}
	}
	region, shown := info.Region(o.Region)
	current, distinct := region.Current()
	switch {
	case !shown:
		add("current", "the cluster shows no CMEK in region %s; it has %s", o.Region, strings.Join(regionsOf(info), ", "))
		return problems
	case info.Status.HandsOff() || region.Status.HandsOff():
		add("current", "the CMEK is %s in %s; keyturn leaves it alone", region.Status, o.Region)
	case info.Status != cmek.Enabled || region.Status != cmek.Enabled:
		add("current", "the CMEK of region %s is %s, that of the cluster %s; it must be ENABLED and nothing under way", o.Region, region.Status, info.Status)
	case distinct != 1:
		add("current", "region %s has %d ENABLED key specs; exactly one must be", o.Region, distinct)
	case current.Spec != o.From:
		add("current", "the key of region %s is %s; the order is to move it from %s", o.Region, current.Spec.URI, o.From.URI)
	}
	return append(problems, m.Problems(o, cluster)...)
}

func regionsOf(info cmek.ClusterInfo) (names []string) {
	for _, r := range info.RegionInfos {
		names = append(names, r.Region)
	}
	return names
}

// Problems says what keeps the order's keys from being exchanged; what could not be read comes after what is wrong.
func (m Move) Problems(o ledger.Order, cluster cmek.Cluster) (problems []Problem) {
	add := func(row, format string, args ...any) {
		problems = append(problems, Problem{Row: row, Message: fmt.Sprintf(format, args...)})
	}
	if why := unfitURI(o, cluster); why != "" {
		add("uri", "%s", why)
		return problems // what else was read is not about a key
	}
	problems = append(problems, m.To.problems("new", o.To)...)
	if why := elsewhere(o); why != "" {
		add("location", "%s", why)
	}
	problems = append(problems, m.From.problems("old", o.From)...)
	if m.To.Unwatched != "" {
		add("watched", "nobody reports changes of the new key %s: %s", o.To.URI, m.To.Unwatched)
	}
	if o.Terraform == "" {
		add("terraform", whyTerraform)
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return rankOf(a) - rankOf(b)
	})
	return problems
}

const whyTerraform = "it is not known whether Terraform manages the cluster's CMEK; an apply would put the old key back. Name its folder with --terraform DIR, or say --no-terraform"

func rankOf(p Problem) int {
	if p.Unread {
		return 1
	}
	return 0
}

// unfitURI says why the order's URI names no key that a cluster can be moved to; "" for nothing.
func unfitURI(o ledger.Order, cluster cmek.Cluster) string {
	providers := map[cmek.KeyType]string{cmek.AWSKMS: "AWS", cmek.GCPCloudKMS: "GCP"}
	uri, err := cmek.ParseKeyURI(string(o.To.URI))
	switch {
	case err != nil:
		return err.Error()
	case uri != o.To.URI:
		return fmt.Sprintf("the URI %q has spaces around it", o.To.URI)
	case uri.IsAlias():
		return fmt.Sprintf("%s is an alias, which may come to name another key; name the key by its ARN", uri)
	case uri.Type() == cmek.GCPCloudKMS && uri.Canonical() != string(uri):
		return fmt.Sprintf("%s names a version; name the key: %s", uri, uri.Canonical())
	case uri.Location() == "" || uri.Account() == "":
		return fmt.Sprintf("%s does not name the whole key, with its Region and account", uri)
	case providers[uri.Type()] == "":
		return fmt.Sprintf("keyturn does not move clusters to keys of the type %s", uri.Type())
	case o.To.Type != uri.Type() || o.From.Type != uri.Type() || cluster.CloudProvider != "" && cluster.CloudProvider != providers[uri.Type()]:
		return fmt.Sprintf("%s is no key of the cluster's cloud", uri)
	case o.To.AcrossPartitions():
		return fmt.Sprintf("%s and the cluster's role %s are in two partitions of AWS, between which there is no access", uri, o.To.AuthPrincipal)
	case o.To.AuthPrincipal == "":
		return "the order names no auth_principal, the role or service account that the cluster assumes"
	case o.To.URI == o.From.URI:
		return fmt.Sprintf("region %s is on key %s already", o.Region, uri)
	}
	return ""
}

// elsewhere says that the new key is in another place than the region and the old key; "" if it is not, or may be.
func elsewhere(o ledger.Order) string {
	why, instead := cmek.RegionSpec{Region: o.Region, KeySpec: o.To}.Elsewhere()
	if why == "" || o.CrossRegion || o.To.URI.Location() == o.From.URI.Location() {
		return ""
	}
	return fmt.Sprintf("the new key is %s; %s, or say --cross-region-key", why, instead)
}

// problems are what is wrong with one key of the order, which is called the new or the old one.
func (c KeyCheck) problems(which string, spec cmek.KeySpec) (problems []Problem) {
	add := func(unread bool, row, format string, args ...any) {
		problems = append(problems, Problem{Row: which + " " + row, Unread: unread, Message: fmt.Sprintf("the "+which+" key %s: ", spec.URI) + fmt.Sprintf(format, args...)})
	}
	switch key := c.Key.Key; {
	case errors.Is(c.Key.Err, cmek.ErrDenied):
		add(true, "key", "keyturn may not read it; allow it as for every watched key")
	case c.Key.Err != nil:
		add(true, "key", "it could not be read: %v", c.Key.Err)
	case key.State.Unusable():
		add(false, "key", "it is %s", key.State)
	case key.Unfit != "":
		add(false, "key", "it cannot encrypt store keys: %s; want a symmetric key for ENCRYPT_DECRYPT", key.Unfit)
	case !key.State.Usable():
		add(true, "key", "it is in a %s state", key.State)
	case key.Version.IsZero():
		add(true, "key", "the KMS shows no version of it")
	}
	exists := c.Key.Err == nil && c.Key.Key.State != cmek.KeyNotFound // otherwise nobody can know more
	switch c.Access {
	case policy.Denied:
		add(false, "access", "it does not admit the cluster's principal: %s", c.AccessWhy)
	case policy.CannotTell:
		if !exists {
			break
		}
		add(true, "access", "whether %s may use it is not known: %s", spec.AuthPrincipal, c.AccessWhy)
	case policy.Allowed:
	}
	switch {
	case c.IncidentsErr != nil:
		add(true, "incident", "whether an incident is open could not be read: %v", c.IncidentsErr)
	case len(c.Incidents) > 0:
		add(false, "incident", "an incident is open: %s", c.Incidents[0])
	}
	return problems
}
