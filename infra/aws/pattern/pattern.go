// Package pattern makes EventBridge rules from the table of what keyturn understands and from what its functions subscribe to,
// so that what selects an event and what understands it cannot drift apart.
package pattern

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Limit is the length of a pattern that EventBridge takes without a raised quota, in characters
// (docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html).
const Limit = 2048

// Rule selects events.
type Rule struct {
	// Name is unique among the rules that were made together.
	Name string
	// Pattern is the event pattern, at most Limit characters of JSON.
	Pattern string
	// ReadOnly says that the events are read-only management events, which a rule sees only in the state
	// ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS
	// (docs.aws.amazon.com/eventbridge/latest/userguide/eb-service-event-cloudtrail-management.html).
	ReadOnly bool
}

// Scope is what is watched in one account and Region.
type Scope struct {
	// Keys are there and wrap store keys.
	Keys []cmek.KeyURI
	// Roles are those that clusters assume, in any account: a use that is refused is recorded where the role is, any other use
	// where the key is, too.
	Roles []string
	// Own is what is keyturn's own there.
	Own Own
	// Global says that IAM and Organizations record their calls in this Region.
	Global bool
}

// Selected are the rules that pick what a function subscribes to from a bus that holds forwarded events only. Between them no
// event is picked twice.
func Selected(subscribes []cmek.Change) []Rule {
	var rules []Rule
	for _, g := range groups(subscribes) {
		rules = append(rules, fit(g.name, g.readOnly, g.names, nil, g.plain)...)
	}
	return rules
}

// Forwarded are the rules that pick, from the default bus of an account and Region, what any of the functions subscribes to.
//
// What would come in great numbers is narrowed: use of keys to the clusters' roles and keys, grants to the clusters' keys, what watches
// over all this to keyturn's own. A failed call may lack what is narrowed by; of these kinds it would alert nobody, but for
// refused use, which names its caller. Nothing that is done to a role of keyturn's own, or as one, is left out, but for what the
// functions do every minute: they assume the readers.
func Forwarded(subscribes []cmek.Change, s Scope) []Rule {
	var rules []Rule
	add := func(name string, readOnly bool, names, narrow []string, build func(names, narrow []string) any) {
		if narrow != nil && len(narrow) == 0 {
			return // There is nothing of that kind here.
		}
		rules = append(rules, fit(name, readOnly, names, narrow, build)...)
	}
	for _, g := range groups(subscribes) {
		switch {
		case (g.source == "aws.iam" || g.source == "aws.organizations") && !s.Global:
		case g.source == "aws.sts":
			add(g.name, g.readOnly, g.names, append([]string{}, s.Roles...), func(names, roles []string) any {
				return g.calls(names, object{"requestParameters": object{"roleArn": roles}})
			})
			if len(s.Own.Roles) > 0 {
				add(g.name+"-own", g.readOnly, g.names, nil, func(names, _ []string) any {
					return g.calls(names, object{"requestParameters": object{"roleArn": s.Own.Roles}, "$or": notAs(s.Own.AssumedBy)})
				})
			}
		case g.readOnly:
			if len(s.Roles) > 0 {
				add(g.name+"-refused", true, g.names, s.Roles, func(names, roles []string) any {
					return g.calls(names, object{"errorCode": exists(true), "userIdentity": issuer(roles)})
				})
			}
			// Reading a key's description is no use of it.
			names := slices.DeleteFunc(slices.Clone(g.names), func(name string) bool { return name == "DescribeKey" })
			if keys := texts(s.Keys); len(keys) > 0 {
				add(g.name+"-by-others", true, names, keys, func(names, keys []string) any {
					return g.byOthers(names, keys, s.Roles)
				})
			}
		case watches[g.source] != nil:
			add(g.name, g.readOnly, g.names, s.Own.named(g.source), func(names, own []string) any {
				// A call whose parameters CloudTrail left out may be about anything.
				return g.calls(names, object{"$or": append(watches[g.source](s.Own, own), request("omitted", []bool{true}))})
			})
		default:
			grants, others := split(g.names, func(name string) bool { return slices.Contains(grantCalls, name) })
			add(g.name, false, others, nil, g.plain)
			if keys := texts(s.Keys); len(grants) > 0 && len(keys) > 0 {
				add(g.name+"-grants", false, grants, keys, func(names, keys []string) any {
					return g.calls(names, object{"resources": object{"ARN": keys}})
				})
			}
		}
	}
	return rules
}

// grantCalls come in great numbers where AWS services use keys.
var grantCalls = []string{"CreateGrant", "RevokeGrant", "RetireGrant"}

// group is the notices of one source and kind.
type group struct {
	name       string
	source     string
	detailType string // "" if the names are detail types themselves
	names      []string
	readOnly   bool
}

// Sources are the services of AWS that send what the functions subscribe to.
func Sources(subscribes []cmek.Change) (sources []string) {
	for _, g := range groups(subscribes) {
		if !slices.Contains(sources, g.source) {
			sources = append(sources, g.source)
		}
	}
	slices.Sort(sources)
	return sources
}

// groups sorts the rows of the table that mean a subscribed change, be it when the call succeeded or when it failed.
func groups(subscribes []cmek.Change) (found []group) {
	for _, row := range events.AWS() {
		if !slices.Contains(subscribes, row.Change) && !slices.Contains(subscribes, row.Failed) {
			continue
		}
		g := group{source: row.Source, detailType: row.DetailType, readOnly: row.ReadOnly}
		name := row.Name
		if name == "" {
			g.detailType, name = "", row.DetailType
		}
		g.name = strings.TrimPrefix(row.Source, "aws.") + kind(g)
		i := slices.IndexFunc(found, func(f group) bool { return f.name == g.name })
		if i < 0 {
			found, i = append(found, g), len(found)
		}
		found[i].names = append(found[i].names, name)
	}
	return found
}

func kind(g group) string {
	switch {
	case g.detailType == "":
		return "-notices"
	case g.source == "aws.kms" && g.readOnly:
		return "-use"
	case strings.HasPrefix(g.detailType, "AWS Service Event"):
		return "-service-events"
	}
	return "-calls"
}

type object map[string]any

// plain selects all notices of the group.
func (g group) plain(names, _ []string) any {
	if g.detailType == "" {
		return object{"source": []string{g.source}, "detail-type": names}
	}
	return g.calls(names, object{})
}

// calls selects CloudTrail's records of the calls that have the detail, too.
func (g group) calls(names []string, detail object) any {
	detail["eventName"] = names
	return object{"source": []string{g.source}, "detail-type": []string{g.detailType}, "detail": detail}
}

// byOthers selects successful use of keys by anybody but the clusters. Where the clusters' roles are too many for a pattern their
// use is selected as well; alerting knows them by itself.
func (g group) byOthers(names, keys, clusters []string) any {
	detail := object{"errorCode": exists(false), "resources": object{"ARN": keys}}
	if len(clusters) > 0 && length(clusters) <= Limit/2 {
		detail["$or"] = notAs(clusters)
	}
	return g.calls(names, detail)
}

// notAs selects what was done as none of the roles.
func notAs(roles []string) []object {
	return []object{{"userIdentity": issuer([]object{{"anything-but": roles}})}, {"userIdentity": issuer(exists(false))}}
}

// issuer is where a record names the role behind a session.
func issuer(arn any) object {
	return object{"sessionContext": object{"sessionIssuer": object{"arn": arn}}}
}

func exists(yes bool) []object { return []object{{"exists": yes}} }

// fit makes as many rules as it takes for each pattern to have at most Limit characters, halving the longer list each time.
func fit(name string, readOnly bool, names, narrow []string, build func(names, narrow []string) any) (rules []Rule) {
	if len(names) == 0 {
		return nil
	}
	for _, pattern := range fitting(names, narrow, build) {
		rule := Rule{Name: name, Pattern: pattern, ReadOnly: readOnly}
		if len(rules) > 0 {
			rule.Name += "-" + strconv.Itoa(len(rules)+1)
		}
		rules = append(rules, rule)
	}
	return rules
}

func fitting(names, narrow []string, build func(names, narrow []string) any) []string {
	pattern := encode(build(names, narrow))
	switch {
	case len(pattern) <= Limit || len(names) <= 1 && len(narrow) <= 1:
		return []string{pattern}
	case len(narrow) <= 1 || len(names) > 1 && length(names) >= length(narrow):
		half := len(names) / 2
		return append(fitting(names[:half], narrow, build), fitting(names[half:], narrow, build)...)
	}
	half := len(narrow) / 2
	return append(fitting(names, narrow[:half], build), fitting(names, narrow[half:], build)...)
}

func length(list []string) int { return len(strings.Join(list, `","`)) }

func encode(pattern any) string {
	data, err := json.Marshal(pattern)
	if err != nil {
		panic(err) // It is made of strings.
	}
	return string(data)
}

func texts(keys []cmek.KeyURI) (arns []string) {
	for _, key := range keys {
		arns = append(arns, string(key))
	}
	return arns
}

func split(list []string, is func(string) bool) (yes, no []string) {
	for _, s := range list {
		if is(s) {
			yes = append(yes, s)
		} else {
			no = append(no, s)
		}
	}
	return yes, no
}
