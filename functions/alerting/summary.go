package alerting

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// summary is one line that makes sense alone, also read aloud.
func summary(r risk, e cmek.Event, f Facts) string {
	line := about(e) + " " + happening(r, e, f)
	switch {
	case attempt(e):
		line = fmt.Sprintf("Somebody tried and failed (%s) at %s: %s", e.Error, lowerFirst(about(e)), e.Change)
	case e.Error != "":
		line += " (" + e.Error + ")"
	case byDeployment(e, f):
		line += " by a CloudFormation deployment"
	case !changesPolicy(e.Change) || f.Effect == nil:
	case f.Effect.CutsOff && f.Effect.Exposes:
		line += ", which cuts clusters off and lets somebody else in"
	case f.Effect.CutsOff:
		line += ", which cuts clusters off"
	case f.Effect.Exposes:
		line += ", which lets somebody else in"
	}
	link, unknown, nobody := "needed by", "which clusters need it is not known", "no cluster needs it"
	if concernsAccount(e.Change) || namesNone(e) {
		link, unknown, nobody = "may concern", "which clusters it concerns is not known", "it concerns no cluster"
	}
	switch names := clusterNames(f.Usage.Clusters); {
	case len(names) == 0 && !f.Usage.Complete:
		return line + "; " + unknown
	case len(names) == 0:
		return line + "; " + nobody
	}
	return fmt.Sprintf("%s; %s %s", line, link, someNames(f.Usage.Clusters, len(f.Usage.Clusters)))
}

// happening says what happened, after the name of what it happened to.
func happening(r risk, e cmek.Event, f Facts) string {
	switch {
	case roleRefused(e):
		return "could not be assumed by a cluster"
	case f.NoInventory && e.Change == cmek.UseUnexpected:
		return "was used by a principal that may not be a cluster's"
	case f.NoInventory && e.Change == cmek.RoleAssumed:
		return "was assumed by a principal that may not be a cluster's"
	}
	switch call := lastSegment(e.Source); call {
	case "StopLogging":
		return "was stopped"
	case "DeleteTrail", "DeleteRule":
		return "was deleted"
	case "UpdateTrail":
		return "was changed"
	case "PutEventSelectors":
		return "had its event selectors changed"
	case "DisableRule":
		return "was disabled"
	case "PutRule":
		if e.Parameters["state"] == "DISABLED" {
			return "was disabled"
		}
		return "was changed"
	case "PutTargets":
		return "was given other targets"
	case "RemoveTargets":
		return "lost targets"
	}
	return r.happened
}

// namesNone reports that an event names nothing that a cluster needs: no key, no role and no key store.
func namesNone(e cmek.Event) bool {
	return e.Key == "" && e.Role == "" && e.Parameters["custom_key_store_id"] == ""
}

// someNames lists up to four of the clusters, of which there are count, or three and how many more.
func someNames(clusters []cmek.AffectedCluster, count int) string {
	names := clusterNames(clusters)
	if count <= 4 {
		return strings.Join(names, ", ")
	}
	names = names[:min(len(names), 3)]
	return fmt.Sprintf("%s and %d more clusters", strings.Join(names, ", "), count-len(names))
}

// about names what an event is about, at the beginning of a sentence.
func about(e cmek.Event) string {
	kind, name := "Key", e.Key.ID()
	if roleRefused(e) {
		return "Role " + lastSegment(e.Role)
	}
	switch e.Change {
	case cmek.RoleTrustChanged, cmek.RoleDeleted, cmek.RolePolicyChanged, cmek.BoundaryChanged, cmek.RoleChanged, cmek.RoleAssumed:
		kind, name = "Role", lastSegment(e.Role)
	case cmek.PolicyChanged:
		kind, name = "Managed policy", lastSegment(e.Parameters["policy_arn"])
	case cmek.KeyStoreDisconnected, cmek.KeyStoreConnected, cmek.KeyStoreChanged:
		kind, name = "Custom key store", e.Parameters["custom_key_store_id"]
	case cmek.TrailChanged:
		kind, name = "Trail", inQuotes(lastSegment(e.Parameters["trail"]))
	case cmek.RuleChanged:
		kind, name = "Event rule", inQuotes(e.Parameters["rule"])
	case cmek.GuardRailsChanged:
		return "Organization policies"
	case cmek.AccountDetached:
		kind, name = "Account", concerned(e)
	case cmek.RegionDisabled:
		kind, name = "Region", cmp.Or(e.Parameters["region_name"], e.Region)
	}
	switch {
	case name == "" && strings.ContainsAny(kind[:1], "AE"): // Account, Event rule
		return "An " + lowerFirst(kind)
	case name == "":
		return "A " + lowerFirst(kind)
	}
	return kind + " " + name
}

// inQuotes sets a name that people chose apart from the sentence; "" stays "".
func inQuotes(name string) string {
	if name == "" {
		return ""
	}
	return strconv.Quote(name)
}

func clusterNames(clusters []cmek.AffectedCluster) (names []string) {
	for _, c := range clusters {
		names = append(names, cmp.Or(c.Name, c.ID))
	}
	return names
}

func lowerFirst(s string) string { return strings.ToLower(s[:min(len(s), 1)]) + s[min(len(s), 1):] }
