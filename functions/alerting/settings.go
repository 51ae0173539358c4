package alerting

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Settings are the knobs of alerting. Begin with [DefaultSettings].
type Settings struct {
	// Enrich bounds all reading beyond the ledger for one event; the alert goes out with what is known by then.
	Enrich time.Duration `env:"KEYTURN_ENRICH"`
	// RecheckEvery is the time between reads of the state behind an open incident.
	RecheckEvery time.Duration `env:"KEYTURN_RECHECK_EVERY"`
	// ReviewAfter is when a judgement that rests on reads which may have been older than the event is made again.
	ReviewAfter time.Duration `env:"KEYTURN_REVIEW_AFTER"`
	// HealthyFor is how long the state must read healthy after a recovery event before an incident is resolved.
	HealthyFor time.Duration `env:"KEYTURN_HEALTHY_FOR"`
	// RepairAfter is the time between a deletion that was scheduled and its repair, in which events that speak against it arrive.
	RepairAfter time.Duration `env:"KEYTURN_REPAIR_AFTER"`
	// OwnRoles are the ARNs of keyturn's own roles, as a list for [cmek.ExpandNames], with {account} for the account that an event is
	// about: a denied DescribeKey of theirs raises no alert, and changes of theirs do. Those without {account} are the functions', which
	// assume the others.
	OwnRoles string `env:"KEYTURN_OWN_ROLES"`
	// HeartbeatRole is the ARN of the role, with {account} and {region} for those of a key, that changes a tag of a canary key every
	// hour, to show that events arrive.
	HeartbeatRole string `env:"KEYTURN_HEARTBEAT_ROLE"`
	// OwnResources are the exact names of what the deployment consists of, as a list for [cmek.ExpandNames]: rules, functions, alarms,
	// topics, schedules, the event bus, secrets, queues, and the table. Whoever changes one of them is reported.
	OwnResources string `env:"KEYTURN_OWN_RESOURCES"`
	// OrganizationID is the CockroachDB Cloud organization's id, which a role's trust policy must ask for as external id.
	OrganizationID string `env:"KEYTURN_ORGANIZATION_ID"`
}

// healthyWithoutEvent is how long the state must read healthy when no recovery event came: events can be lost.
const healthyWithoutEvent = time.Hour

// mostEnrich leaves two reads of the ledger, and the publishing, within 10 seconds.
const mostEnrich = 6 * time.Second

// DefaultSettings are made for a person on call.
func DefaultSettings() Settings {
	return Settings{Enrich: 5 * time.Second, RecheckEvery: 5 * time.Minute, ReviewAfter: 5 * time.Minute, HealthyFor: 10 * time.Minute, RepairAfter: 5 * time.Minute}
}

// Check returns every setting that makes no sense, each naming its variable and what it should be.
func (s Settings) Check() (problems []error) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if s.Enrich <= 0 || s.Enrich > mostEnrich {
		bad("KEYTURN_ENRICH is %s; want a duration above 0s and at most %s, so that an alert is out within 10 s", s.Enrich, mostEnrich)
	}
	for _, d := range []struct {
		variable string
		value    time.Duration
		example  string
	}{{"KEYTURN_RECHECK_EVERY", s.RecheckEvery, "5m"}, {"KEYTURN_REVIEW_AFTER", s.ReviewAfter, "5m"}, {"KEYTURN_HEALTHY_FOR", s.HealthyFor, "10m"}} {
		if d.value <= 0 {
			bad("%s is %s; want a duration above 0s, such as %s", d.variable, d.value, d.example)
		}
	}
	if s.RepairAfter < 0 || s.RepairAfter > mostRepairAfter {
		bad("KEYTURN_REPAIR_AFTER is %s; want a duration of at most %s, such as 5m", s.RepairAfter, mostRepairAfter)
	}
	for _, role := range s.ownRoles("111122223333") {
		if role.Account() == "" {
			bad("KEYTURN_OWN_ROLES has %q; want the ARN of a role, such as arn:aws:iam::{account}:role/keyturn-reader, or the e-mail address of a service account", role)
		}
	}
	if s.HeartbeatRole != "" && inAccount(strings.ReplaceAll(s.HeartbeatRole, regionMark, "us-east-1"), "111122223333").Account() == "" {
		bad("KEYTURN_HEARTBEAT_ROLE is %q; want the ARN of a role, such as arn:aws:iam::{account}:role/keyturn-heartbeat-{region}, or the e-mail address of a service account", s.HeartbeatRole)
	}
	return problems
}

// mostRepairAfter leaves most of the shortest waiting period, 7 days, for people.
const mostRepairAfter = 24 * time.Hour

// inAccount is the role of a setting in the account.
func inAccount(role, account string) cmek.Principal {
	return cmek.Principal(strings.ReplaceAll(strings.TrimSpace(role), accountMark, account))
}

// accountMark and regionMark stand for an account and a Region in the settings.
const (
	accountMark = "{account}"
	regionMark  = "{region}"
)

// ownRoles are keyturn's own roles, as deployed in the account.
func (s Settings) ownRoles(account string) (roles []cmek.Principal) {
	for _, role := range cmek.ExpandNames(strings.ReplaceAll(s.OwnRoles, accountMark, account)) {
		roles = append(roles, cmek.Principal(role))
	}
	return roles
}

// ownRole reports whether the principal is one of keyturn's own roles, as deployed in the account: that of what an event is about. The
// caller's would make a role of that name in any account keyturn's own.
func (s Settings) ownRole(p cmek.Principal, account string) bool {
	return slices.ContainsFunc(s.ownRoles(account), p.Same)
}

// ownFunction reports whether the principal is the role of one of keyturn's functions.
func (s Settings) ownFunction(p cmek.Principal) bool {
	const nowhere = "" // makes no role of an ARN that is for any account
	return p.Account() != "" && s.ownRole(p, nowhere)
}

// deniedRead reports whether the event is a denied DescribeKey by keyturn itself. Nothing else that keyturn's roles do with a key
// or a principal is excused: somebody may have taken them over.
func (s Settings) deniedRead(e cmek.Event) bool {
	row, _ := risk.Of(e.Change)
	return row.Kind == risk.Refused && e.Failure == cmek.FailureDenied && strings.HasSuffix(e.Source, "/DescribeKey") &&
		s.ownRole(caller(e), e.Key.Account())
}

// own reports whether the event is about what keyturn itself is made of. A role is known by its whole ARN: anybody can give a role
// any name.
func (s Settings) own(e cmek.Event) bool {
	if role := e.Identity; role != "" {
		if role.Account() == "" {
			role = cmek.Principal("arn:aws:iam::" + e.Account + ":role/" + role.Name())
		}
		return s.ownRole(role, e.Account)
	}
	names := cmek.ExpandNames(s.OwnResources)
	return risk.Names(e, func(name string) bool { return slices.Contains(names, name) })
}

// heartbeatTag is the tag that the heartbeat changes.
const heartbeatTag = "keyturn-heartbeat"

// heartbeat reports whether the event is the hourly sign of life: the heartbeat's role has set its tag, and nothing else. All else that the role
// does, and a tag that anybody else sets, is an event like any other.
func (s Settings) heartbeat(e cmek.Event) bool {
	row, _ := risk.Of(e.Change)
	role := strings.ReplaceAll(s.HeartbeatRole, regionMark, e.Key.Location())
	if row.Kind != risk.Tags || !e.Succeeded() || !caller(e).Same(inAccount(role, e.Key.Account())) {
		return false
	}
	// As Google Cloud writes labels, or as CloudTrail records TagResource.
	var labels map[string]string
	if json.Unmarshal([]byte(e.Parameters["tags"]), &labels) == nil {
		return labels[heartbeatTag] != ""
	}
	var tags []struct {
		Key string `json:"tagKey"`
	}
	if json.Unmarshal([]byte(e.Parameters["tags"]), &tags) != nil {
		return false
	}
	return len(tags) == 1 && tags[0].Key == heartbeatTag
}
