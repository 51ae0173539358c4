package alerting

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Settings are the knobs of alerting. Begin with [DefaultSettings].
type Settings struct {
	// Enrich bounds all reading beyond the ledger for one event; the alert goes out with what is known by then.
	Enrich time.Duration `env:"KEYTURN_ENRICH"`
	// RecheckEvery is the time between reads of the state behind an open incident.
	RecheckEvery time.Duration `env:"KEYTURN_RECHECK_EVERY"`
	// WellFor is how long the state must read well after a recovery event before an incident is resolved.
	WellFor time.Duration `env:"KEYTURN_WELL_FOR"`
	// RepairAfter is the time between a deletion that was scheduled and its repair, in which events that speak against it arrive.
	RepairAfter time.Duration `env:"KEYTURN_REPAIR_AFTER"`
	// OwnRoles are the names of keyturn's own roles, separated by commas: their denied reads raise no alarm.
	OwnRoles string `env:"KEYTURN_OWN_ROLES"`
	// HeartbeatRole is the name of the role that changes a tag of a canary key every hour, to show that events arrive.
	HeartbeatRole string `env:"KEYTURN_HEARTBEAT_ROLE"`
	// OrganizationID is the CockroachDB Cloud organization's id, which a role's trust policy must ask for as external id.
	OrganizationID string `env:"KEYTURN_ORGANIZATION_ID"`
	// OwnRules is the prefix of the names of keyturn's own event rules.
	OwnRules string `env:"KEYTURN_OWN_RULES"`
}

// wellWithoutEvent is how long the state must read well when no recovery event came: events can be lost.
const wellWithoutEvent = time.Hour

// mostEnrich leaves two looks into the ledger, and the publishing, within 10 seconds.
const mostEnrich = 6 * time.Second

// DefaultSettings are made for a person who is woken.
func DefaultSettings() Settings {
	return Settings{Enrich: 5 * time.Second, RecheckEvery: 5 * time.Minute, WellFor: 10 * time.Minute, RepairAfter: 5 * time.Minute, OwnRules: "keyturn"}
}

// Check returns every setting that makes no sense, each naming its variable and what it should be.
func (s Settings) Check() (problems []error) {
	if s.Enrich <= 0 || s.Enrich > mostEnrich {
		problems = append(problems, fmt.Errorf("KEYTURN_ENRICH is %s; want a duration above 0s and at most %s, so that an alert is out within 10 s", s.Enrich, mostEnrich))
	}
	if s.RecheckEvery <= 0 {
		problems = append(problems, fmt.Errorf("KEYTURN_RECHECK_EVERY is %s; want a duration above 0s, such as 5m", s.RecheckEvery))
	}
	if s.WellFor <= 0 {
		problems = append(problems, fmt.Errorf("KEYTURN_WELL_FOR is %s; want a duration above 0s, such as 10m", s.WellFor))
	}
	if s.RepairAfter < 0 || s.RepairAfter > mostRepairAfter {
		problems = append(problems, fmt.Errorf("KEYTURN_REPAIR_AFTER is %s; want a duration of at most %s, such as 5m", s.RepairAfter, mostRepairAfter))
	}
	return problems
}

// mostRepairAfter leaves most of the shortest waiting period, 7 days, for people.
const mostRepairAfter = 24 * time.Hour

// ours reports whether the event is a use of a key or role by keyturn itself.
func (s Settings) ours(e cmek.Event) bool {
	switch e.Change {
	case cmek.UseRefused, cmek.UseUnexpected, cmek.RoleAssumed:
	default:
		return false
	}
	for name := range strings.SplitSeq(s.OwnRoles, ",") {
		if madeAs(e, strings.TrimSpace(name)) {
			return true
		}
	}
	return false
}

// heartbeatTag is the tag that the heartbeat changes.
const heartbeatTag = "keyturn-heartbeat"

// heartbeat reports whether the event is the hourly sign of life: the heartbeat's role has set its tag. All else that the role
// does, and a tag that anybody else sets, is an event like any other.
func (s Settings) heartbeat(e cmek.Event) bool {
	if e.Change != cmek.KeyTagged || !e.Succeeded() || !madeAs(e, s.HeartbeatRole) {
		return false
	}
	// As CloudTrail records TagResource.
	var tags []struct {
		Key string `json:"tagKey"`
	}
	if json.Unmarshal([]byte(e.Parameters["tags"]), &tags) != nil {
		return false
	}
	for _, tag := range tags {
		if tag.Key == heartbeatTag {
			return true
		}
	}
	return false
}

// madeAs reports whether a call was made as the role: one of that name in whatever account, or the very one if it is an ARN.
// A call is never made as "".
func madeAs(e cmek.Event, role string) bool {
	name, account := lastSegment(role), ""
	if parts := strings.Split(role, ":"); len(parts) == 6 {
		account = parts[4]
	}
	is := func(arn string) bool {
		parts := strings.SplitN(arn, ":", 6)
		if name == "" || len(parts) != 6 || account != "" && parts[4] != account {
			return false
		}
		kind, path, _ := strings.Cut(parts[5], "/")
		return kind == "role" && lastSegment(path) == name || kind == "assumed-role" && strings.HasPrefix(path, name+"/")
	}
	return is(e.Issuer) || is(e.Principal)
}
