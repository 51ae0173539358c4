package deployment

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/infra/aws/pattern"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Functions of the hub, after the deployment's name. Each has a role of the same name.
const (
	RotationEvent = "rotation-event"
	RotationTick  = "rotation-tick"
	AlertingEvent = "alerting-event"
	AlertingTick  = "alerting-tick"
	// ComplianceTick is the function compliance.
	ComplianceTick = "compliance"
)

// NotifyFunction is the function of a channel.
func NotifyFunction(c Channel) string { return "notify-" + c.Name }

// Of is the name of a part of the deployment.
func (d Deployment) Of(part string) string { return d.Name + "-" + part }

// RoleARN is the ARN of a role of keyturn's own in the account.
func (d Deployment) RoleARN(account, part string) string {
	return "arn:aws:iam::" + account + ":role/" + d.Of(part)
}

// Assuming are the ARNs of the roles that may assume the reader roles: those of functions, and of operators.
func (d Deployment) Assuming() (arns []string) {
	for _, function := range []string{RotationTick, AlertingEvent, AlertingTick, ComplianceTick} {
		arns = append(arns, d.RoleARN(d.Hub.Account, function))
	}
	return append(arns, d.Operators...)
}

// OwnRoles are the ARNs of all roles of keyturn's own, as a list for cmek.ExpandNames; "{account}" stands for any watched account. Those
// of the functions have the hub's account: only these may assume the others.
func (d Deployment) OwnRoles() string {
	everywhere := []string{"reader", "repair"}
	for _, a := range d.Accounts {
		for _, region := range d.WatchedRegions(a) {
			everywhere = append(everywhere, "forward-"+region, TrailCheck+"-"+region)
		}
		for _, region := range d.Heartbeats(a) {
			everywhere = append(everywhere, "heartbeat-"+region)
		}
	}
	hub := []string{RotationEvent, RotationTick, AlertingEvent, AlertingTick, ComplianceTick}
	for _, c := range d.Channels {
		everywhere = append(everywhere, NotifyFunction(c))
	}
	// The scheduler invokes functions with these, and they assume nothing.
	everywhere = append(everywhere, RotationTick+"-scheduler", AlertingTick+"-scheduler", ComplianceTick+"-scheduler")
	return d.RoleARN("{account}", "{"+factored(everywhere)+"}") + "," + d.RoleARN(d.Hub.Account, "{"+factored(hub)+"}")
}

// Own is what the deployment has in a Region of the account. The tests of the stacks compare it with what is made.
func (d Deployment) Own(a Account, region string) pattern.Own {
	own := d.ownBut(a, region)
	// The rules that watch the rules are among them, and there may be more of them the more rules there are.
	for {
		var names []string
		for _, r := range d.rules(a, region, own) {
			names = append(names, d.Of(r.Name))
		}
		names = append(names, d.hubRules(Place{a.ID, region})...)
		if len(names) <= len(own.Rules) {
			return own
		}
		own.Rules = names
	}
}

// hubRules are the names of the rules on the hub's bus.
func (d Deployment) hubRules(place Place) (names []string) {
	if place != d.Hub {
		return nil
	}
	for function, subscribes := range selections {
		for _, r := range pattern.Selected(subscribes) {
			names = append(names, d.Of(function+"-"+r.Name))
		}
	}
	for _, c := range d.Channels {
		names = append(names, d.Of(NotifyFunction(c)+"-alarms"))
	}
	names = append(names, d.Of("operations-alarms"))
	slices.Sort(names)
	return names
}

// ChannelAlarms are the names of the alarms about a channel.
func (d Deployment) ChannelAlarms(c Channel) (names []string) {
	for _, alarm := range append(fedAlarms(), "secret-unreadable") {
		names = append(names, d.Of(NotifyFunction(c)+"-"+alarm))
	}
	return names
}

// fedAlarms are the alarms about a function that a queue feeds.
func fedAlarms() []string {
	return []string{"dead-letters", "queue-old", "errors", "poison", "throttles"}
}

// ownBut is Own without the rules.
func (d Deployment) ownBut(a Account, region string) pattern.Own {
	own := pattern.Own{Account: a.ID, Region: region, AssumedBy: d.Assuming()}
	named := func(list *[]string, parts ...string) {
		for _, part := range parts {
			*list = append(*list, d.Of(part))
		}
	}
	named(&own.Functions, TrailCheck+"-"+region)
	named(&own.Alarms, "forward-dead-letters-"+region)
	named(&own.Queues, "forward-dead")
	if slices.Contains(d.Heartbeats(a), region) {
		named(&own.Schedules, "heartbeat")
		named(&own.Alarms, "heartbeat-dead-letters")
		named(&own.Queues, "heartbeat-dead")
	}
	own.Roles = []string{d.RoleARN(a.ID, "reader"), d.RoleARN(a.ID, "repair")}
	if (Place{a.ID, region}) != d.Hub {
		return own
	}
	own.Bus, own.Table = d.Name, d.Of("hub-Ledger")
	named(&own.Topics, "alerts", "operations")
	named(&own.Secrets, "api-key", "compliance-api-key")
	if d.Compliance.AuditCredential {
		named(&own.Secrets, "audit-api-key")
	}
	fed := []string{RotationEvent, AlertingEvent}
	for _, c := range d.Channels {
		fed = append(fed, NotifyFunction(c))
		named(&own.Secrets, NotifyFunction(c))
		named(&own.Alarms, NotifyFunction(c)+"-secret-unreadable")
	}
	for _, function := range fed {
		named(&own.Functions, function)
		named(&own.Queues, function, function+"-dead")
		for _, alarm := range fedAlarms() {
			named(&own.Alarms, function+"-"+alarm)
		}
	}
	for _, function := range []string{RotationTick, AlertingTick, ComplianceTick} {
		named(&own.Functions, function)
		named(&own.Schedules, function)
		named(&own.Queues, function+"-failed", function+"-dead")
		named(&own.Alarms, function+"-dead-letters", function+"-errors", function+"-silent", function+"-throttles")
	}
	named(&own.Queues, "operations-alarms-dead")
	named(&own.Alarms, "secret-unreadable", "event-to-alert", "sweep-overdue", "operations-alarms-dead-letters", "compliance-overdue", "compliance-secret-unreadable")
	if d.Mode == Follow {
		named(&own.Alarms, "open-work-old")
	}
	for _, a := range d.Accounts {
		for _, region := range d.Heartbeats(a) {
			named(&own.Alarms, "heartbeat-"+a.ID+"-"+region)
		}
	}
	return own
}

// OwnResources are the names of everything that Own names anywhere, as a list for cmek.ExpandNames. It is as
// short as it can be: a function's whole environment has at most 4 KB.
func (d Deployment) OwnResources() string {
	var parts []string
	list := []string{}
	for _, a := range d.Accounts {
		for _, region := range d.WatchedRegions(a) {
			for _, name := range d.Own(a, region).Names() {
				if part, ok := strings.CutPrefix(name, d.Name+"-"); ok {
					parts = append(parts, part)
				} else {
					list = append(list, name)
				}
			}
		}
	}
	return strings.Join(append(list, d.Name+"-{"+factored(parts)+"}"), ",")
}

// ending is what many names have in common.
var ending = regexp.MustCompile(`^(.+?)(-(?:dead-letters|dead|failed|queue-old|errors|poison|secret-unreadable|alarms|throttles|silent|scheduler|[0-9]{1,3}|[a-z]{2}-[a-z]+-[0-9]))?$`)

// factored writes the parts with what they have in common once.
func factored(parts []string) string {
	slices.Sort(parts)
	endings := map[string][]string{} // by beginning
	for _, part := range slices.Compact(parts) {
		m := ending.FindStringSubmatch(part)
		endings[m[1]] = append(endings[m[1]], m[2])
	}
	beginnings := map[string][]string{} // by endings
	for _, begin := range slices.Sorted(maps.Keys(endings)) {
		beginnings[words(endings[begin])] = append(beginnings[words(endings[begin])], begin)
	}
	var list []string
	for _, end := range slices.Sorted(maps.Keys(beginnings)) {
		list = append(list, words(beginnings[end])+end)
	}
	return strings.Join(list, ",")
}

func words(list []string) string {
	if len(list) == 1 {
		return list[0]
	}
	return "{" + strings.Join(list, ",") + "}"
}

// Subscriptions are the subscriptions that the topic for "alerts" or "operations" must have, as rotation's setting: people, and the
// channels' queues.
func (d Deployment) Subscriptions(audience string) string {
	var list []string
	for _, address := range d.subscribersOf(audience).Email {
		list = append(list, "email:"+address)
	}
	for _, number := range d.subscribersOf(audience).SMS {
		list = append(list, "sms:"+number)
	}
	for _, c := range d.Channels {
		list = append(list, "sqs:arn:aws:sqs:"+d.Hub.Region+":"+d.Hub.Account+":"+d.Of(NotifyFunction(c)))
	}
	return strings.Join(list, ",")
}

func (d Deployment) subscribersOf(audience string) Subscribers {
	if audience == "alerts" {
		return d.Alerts
	}
	return d.Operations
}

// selections say which function takes which changes from the hub's bus.
var selections = map[string][]cmek.Change{RotationEvent: rotation.Subscribes, AlertingEvent: alerting.Subscribes}

func subscribed() []cmek.Change { return slices.Concat(rotation.Subscribes, alerting.Subscribes) }
