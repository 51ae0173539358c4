package risk

import (
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// watchers are the parameters that name what watches over keys: rules, alarms, topics and the like, each with the reader of the plain
// names that a value of it can stand for. A caller chooses how to write a name, and where there can be many, which others stand beside it.
var watchers = []struct {
	word  string
	plain func(e cmek.Event, value string) []string
}{
	{"rule", ruleNames}, {"event_bus", resourceNames("event-bus/")}, {"alarm", itself}, {"topic", topicNames}, {"subscription", topicNames},
	{"schedule", scheduleNames}, {"function", functionNames}, {"secret", secretNames}, {"queue", queueNames}, {"table", resourceNames("table/")},
	{"trail", resourceNames("trail/")}, {"sink", itself}, {"feed", itself},
}

// Resources are the names or ARNs, as the caller wrote them, of what a change of the account's own watchers is about.
func Resources(e cmek.Event) (names []string) {
	for _, w := range watchers {
		for name := range strings.SplitSeq(e.Parameters[w.word], ",") {
			if name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}

// Names reports whether a change is about a watcher with one of the names that own holds of. It is, too, if the names are not known in
// full: a caller can make a call so large that they are cut or left out.
func Names(e cmek.Event, own func(name string) bool) bool {
	if row, _ := Of(e.Change); row.Kind == Watch && e.Change != cmek.ChangeLogSink && Omitted(e) {
		return true
	}
	for _, w := range watchers {
		value := e.Parameters[w.word]
		if w.word == "rule" && !onOwnBus(e, own) {
			continue
		}
		for name := range strings.SplitSeq(value, ",") {
			if slices.ContainsFunc(w.plain(e, name), own) {
				return true
			}
		}
		if strings.HasSuffix(value, cmek.Shortened) {
			return true
		}
	}
	return false
}

// Omitted reports that the provider left the parameters of the call out, so that the event may be about anything of its kind.
func Omitted(e cmek.Event) bool { return e.Parameters["omitted"] == "true" }

// onOwnBus reports whether the rule of an event is on the default bus, which every account has, or on one of the own buses.
func onOwnBus(e cmek.Event, own func(name string) bool) bool {
	buses := resourceNames("event-bus/")(e, e.Parameters["event_bus"])
	return slices.ContainsFunc(buses, func(bus string) bool { return bus == "" || bus == "default" || own(bus) })
}

func itself(_ cmek.Event, name string) []string { return []string{name} }

// arnParts are the parts of arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE; ok is false if the text is no ARN.
func arnParts(text string) (parts []string, ok bool) {
	parts = strings.SplitN(text, ":", 6)
	return parts, len(parts) == 6 && parts[0] == "arn"
}

// resourceNames reads a name, or an ARN whose resource is the kind and the name. What follows the name, such as a table's index, is a
// part of the thing.
func resourceNames(kind string) func(cmek.Event, string) []string {
	return func(_ cmek.Event, text string) []string {
		if parts, ok := arnParts(text); ok {
			text, _, _ = strings.Cut(strings.TrimPrefix(parts[5], kind), "/")
		}
		return []string{text}
	}
}

// ruleNames reads the name of a rule, or its ARN: rule/NAME, or rule/BUS/NAME.
func ruleNames(_ cmek.Event, text string) []string {
	if parts, ok := arnParts(text); ok {
		text = lastSegment(parts[5])
	}
	return []string{text}
}

// topicNames reads the ARN of a topic, or of a subscription, which has an id behind the topic's name.
func topicNames(_ cmek.Event, text string) []string {
	if parts, ok := arnParts(text); ok {
		text, _, _ = strings.Cut(parts[5], ":")
	}
	return []string{text}
}

// scheduleNames reads the name of a schedule, or its ARN: schedule/GROUP/NAME. Names are unique in their group only, and keyturn's
// schedules are in the default one.
func scheduleNames(e cmek.Event, text string) []string {
	group := e.Parameters["schedule_group"]
	if parts, ok := arnParts(text); ok {
		group, text, _ = strings.Cut(strings.TrimPrefix(parts[5], "schedule/"), "/")
	}
	if group != "" && group != "default" {
		return nil
	}
	return []string{text}
}

// functionNames reads every form of a function's name
// (docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionCode.html): a name, the end of an ARN, or an ARN, with a qualifier or not.
func functionNames(_ cmek.Event, text string) []string {
	parts := strings.Split(text, ":")
	if len(parts) > 3 && parts[0] == "arn" {
		parts = parts[3:]
	}
	if len(parts) > 1 && strings.Count(parts[0], "-") >= 2 && strings.Trim(parts[0][len(parts[0])-1:], "0123456789") == "" && isAccount(parts[1]) {
		parts = parts[1:] // the Region
	}
	if len(parts) > 1 && isAccount(parts[0]) {
		parts = parts[1:]
	}
	if len(parts) > 1 && parts[0] == "function" {
		parts = parts[1:]
	}
	return parts[:1]
}

func isAccount(text string) bool { return len(text) == 12 && strings.Trim(text, "0123456789") == "" }

// secretNames reads the name of a secret, or its ARN, which ends in a hyphen and six characters. They can be left out, and a name
// can end like that by itself
// (docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html#ARN_secretnamehyphen).
func secretNames(_ cmek.Event, text string) []string {
	parts, ok := arnParts(text)
	if !ok {
		return []string{text}
	}
	name := strings.TrimPrefix(parts[5], "secret:")
	names := []string{name}
	if i := len(name) - 7; i > 0 && name[i] == '-' {
		names = append(names, name[:i])
	}
	return names
}

// queueNames reads the name at the end of a queue's URL or ARN.
func queueNames(_ cmek.Event, text string) []string {
	if parts, ok := arnParts(text); ok {
		return []string{parts[5]}
	}
	return []string{lastSegment(text)}
}
