package pattern

import (
	"slices"
)

// Own is what a deployment has of its own in one account and Region, by exact name.
type Own struct {
	Account, Region string

	Rules, Functions, Alarms, Topics, Schedules, Secrets, Queues []string
	// Table begins the name of the ledger's table, which CloudFormation ends; "" where there is none.
	Table string
	// Bus is the name of the event bus; "" where there is none.
	Bus string
	// Roles are the ARNs of the roles that keyturn's functions assume in this account, AssumedBy those of the functions.
	Roles, AssumedBy []string
}

// Names are all names of what is there, without those of roles and the table, in alphabetical order.
func (o Own) Names() []string {
	names := slices.Concat(o.Rules, o.Functions, o.Alarms, o.Topics, o.Schedules, o.Secrets, o.Queues)
	if o.Bus != "" {
		names = append(names, o.Bus)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// named are the names of what the source's calls can be about; never nil.
func (o Own) named(source string) []string {
	found := []string{}
	switch source {
	case "aws.events":
		found = append(found, o.Rules...)
		if o.Bus != "" {
			found = append(found, o.Bus)
		}
	case "aws.monitoring":
		found = append(found, o.Alarms...)
	case "aws.sns":
		found = append(found, o.Topics...)
	case "aws.scheduler":
		found = append(found, o.Schedules...)
	case "aws.lambda":
		found = append(found, o.Functions...)
	case "aws.secretsmanager":
		found = append(found, o.Secrets...)
	case "aws.sqs":
		found = append(found, o.Queues...)
	case "aws.dynamodb":
		if o.Table != "" {
			found = append(found, o.Table)
		}
	}
	return found
}

func (o Own) arn(service, rest string) string {
	return "arn:aws:" + service + ":" + o.Region + ":" + o.Account + ":" + rest
}

// watches says, for the sources of what watches over everything else, where a record names the thing that was changed: one
// alternative for each place, each with all forms in which a caller can write the name.
var watches = map[string]func(o Own, names []string) []object{
	"aws.events": func(o Own, names []string) []object {
		alternatives := []object{request("name", names), request("rule", names)}
		if o.Bus != "" && slices.Contains(names, o.Bus) { // a call about the bus alone has no other name
			alternatives = append(alternatives, request("eventBusName", []string{o.Bus, o.arn("events", "event-bus/"+o.Bus)}))
			alternatives[0] = request("name", append(slices.Clone(names), o.arn("events", "event-bus/"+o.Bus)))
		}
		return alternatives
	},
	"aws.monitoring": func(_ Own, names []string) []object {
		return []object{request("alarmNames", names), request("alarmName", names)}
	},
	"aws.sns": func(o Own, names []string) []object {
		var topics, subscriptions []any
		for _, name := range names {
			topics = append(topics, o.arn("sns", name))
			subscriptions = append(subscriptions, object{"prefix": o.arn("sns", name) + ":"})
		}
		return []object{request("topicArn", topics), request("subscriptionArn", subscriptions)}
	},
	"aws.scheduler": func(_ Own, names []string) []object { return []object{request("name", names)} },
	// docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionCode.html: a name, the end of an ARN, or an ARN, each with a qualifier or
	// not. An answer has the ARN; that of a deletion is empty. Calls about an event source name it by an id, and their answers by the
	// function and the queue.
	"aws.lambda": func(o Own, names []string) []object {
		var asked, answered, fed []any
		for _, name := range names {
			asked = append(asked, name, object{"prefix": name + ":"}, object{"suffix": ":" + name}, object{"wildcard": "*:" + name + ":*"})
			answered = append(answered, o.arn("lambda", "function:"+name))
			if slices.Contains(o.Queues, name) { // the queue has the name of the function
				fed = append(fed, o.arn("sqs", name))
			}
		}
		alternatives := []object{request("functionName", asked), {"responseElements": object{"functionArn": answered}}}
		if len(fed) > 0 {
			alternatives = append(alternatives, object{"responseElements": object{"eventSourceArn": fed}})
		}
		return alternatives
	},
	// A queue's URL begins with one of several hosts.
	"aws.sqs": func(o Own, names []string) []object {
		var urls []any
		for _, name := range names {
			urls = append(urls, object{"suffix": "/" + o.Account + "/" + name})
		}
		return []object{request("queueUrl", urls)}
	},
	"aws.dynamodb": func(o Own, names []string) []object {
		var tables []any
		for _, name := range names {
			tables = append(tables, object{"prefix": name}, object{"prefix": o.arn("dynamodb", "table/"+name)})
		}
		return []object{request("tableName", tables)}
	},
	// docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html#ARN_secretnamehyphen: a secret's ARN ends in its name, a
	// hyphen and six characters, which can be left out.
	"aws.secretsmanager": func(o Own, names []string) []object {
		var secrets []any
		for _, name := range names {
			secrets = append(secrets, name, o.arn("secretsmanager", "secret:"+name), object{"prefix": o.arn("secretsmanager", "secret:"+name) + "-"})
		}
		return []object{request("secretId", secrets)}
	},
}

func request(field string, values any) object {
	return object{"requestParameters": object{field: values}}
}
