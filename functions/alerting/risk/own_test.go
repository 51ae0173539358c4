package risk

import (
	"slices"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

// A change is about what has a name of keyturn's own, in whatever form a caller writes it, and about nothing that only looks like it.
func TestNames_everyForm(t *testing.T) {
	const (
		arn   = "arn:aws:lambda:us-east-1:111122223333:function:keyturn-event"
		sns   = "arn:aws:sns:us-east-1:111122223333:"
		bus   = "arn:aws:events:us-east-1:111122223333:event-bus/"
		rule  = "arn:aws:events:us-east-1:111122223333:rule/"
		plan  = "arn:aws:scheduler:us-east-1:111122223333:schedule/"
		vault = "arn:aws:secretsmanager:us-east-1:111122223333:secret:"
		sqs   = "arn:aws:sqs:us-east-1:111122223333:"
		table = "arn:aws:dynamodb:us-east-1:111122223333:table/"
	)
	ours := func(name string) bool {
		return slices.Contains([]string{"keyturn", "keyturn-event", "keyturn-event-2", "keyturn2", "keyturn-key"}, name)
	}
	for _, row := range []struct {
		change cmek.Change
		with   []string
		want   bool
	}{
		{cmek.ChangeFunction, []string{"function", "keyturn-event"}, true}, {cmek.ChangeFunction, []string{"function", "keyturn-event-dev"}, false}, {cmek.ChangeFunction, nil, false},
		{cmek.ChangeFunction, []string{"function", "keyturn-event:live"}, true}, {cmek.ChangeFunction, []string{"function", "other:keyturn-event"}, false},
		{cmek.ChangeFunction, []string{"function", arn}, true}, {cmek.ChangeFunction, []string{"function", arn + ":live"}, true}, {cmek.ChangeFunction, []string{"function", arn + "-dev"}, false},
		{cmek.ChangeFunction, []string{"function", "111122223333:function:keyturn-event"}, true}, {cmek.ChangeFunction, []string{"function", "111122223333:keyturn-event:live"}, true},
		{cmek.ChangeFunction, []string{"function", "11112222333:function:keyturn-event"}, false}, {cmek.ChangeFunction, []string{"function", "11112222333x:function:keyturn-event"}, false},
		{cmek.ChangeFunction, []string{"function", "us-east-1:111122223333:function:keyturn-event"}, true}, {cmek.ChangeFunction, []string{"function", "us-gov-west-1:111122223333:function:keyturn-event"}, true},
		{cmek.ChangeFunction, []string{"function", "us-east-1:function:keyturn-event"}, false}, {cmek.ChangeFunction, []string{"function", "us-east-x:111122223333:function:keyturn-event"}, false},
		{cmek.ChangeFunction, []string{"function", "function:keyturn-event"}, true}, {cmek.ChangeFunction, []string{"function", "topic:keyturn-event"}, false},
		{cmek.ChangeFunction, []string{"function", "keyturn-event-2:111122223"}, true}, {cmek.ChangeFunction, []string{"function", "keyturn-event:111122223333"}, true}, {cmek.ChangeFunction, []string{"function", "keyturn2:111122223333"}, true},
		{cmek.ChangeFunction, []string{"function", "keyturn-event-2"}, true}, {cmek.ChangeFunction, []string{"function", "function"}, false}, {cmek.ChangeFunction, []string{"function", "111122223333"}, false},
		{cmek.ChangeFunction, []string{"function", "arn:keyturn-event"}, false}, {cmek.ChangeFunction, []string{"function", "arn:aws:lambda"}, false}, {cmek.ChangeFunction, []string{"function", "not:aws:lambda:keyturn-event"}, false},

		{cmek.ChangeAlertTopic, []string{"topic", sns + "keyturn"}, true}, {cmek.ChangeAlertTopic, []string{"topic", sns + "keyturn-dev"}, false}, {cmek.ChangeAlertTopic, []string{"subscription", sns + "keyturn:0a1b"}, true},
		{cmek.ChangeAlertTopic, []string{"subscription", sns + "other:keyturn"}, false}, {cmek.ChangeAlertTopic, []string{"topic", "arn:keyturn"}, false}, {cmek.ChangeAlertTopic, []string{"topic", "not:aws:sns:us-east-1:111122223333:keyturn"}, false},

		{cmek.ChangeEventRule, []string{"rule", "keyturn"}, true}, {cmek.ChangeEventRule, []string{"rule", "keyturn", "event_bus", "default"}, true}, {cmek.ChangeEventRule, []string{"rule", "keyturn", "event_bus", bus + "default"}, true},
		{cmek.ChangeEventRule, []string{"rule", "keyturn", "event_bus", "keyturn"}, true}, {cmek.ChangeEventRule, []string{"rule", "keyturn", "event_bus", "other"}, false}, {cmek.ChangeEventRule, []string{"rule", rule + "keyturn"}, true},
		{cmek.ChangeEventRule, []string{"rule", rule + "keyturn/keyturn-event"}, true}, {cmek.ChangeEventRule, []string{"rule", rule + "keyturn/other"}, false},
		{cmek.ChangeEventRule, []string{"alarm", "keyturn", "event_bus", "other"}, true}, {cmek.ChangeEventRule, []string{"event_bus", bus + "keyturn"}, true}, {cmek.ChangeEventRule, []string{"event_bus", "keyturn-dev"}, false},

		{cmek.ChangeSchedule, []string{"schedule", "keyturn"}, true}, {cmek.ChangeSchedule, []string{"schedule", "keyturn", "schedule_group", "default"}, true}, {cmek.ChangeSchedule, []string{"schedule", "keyturn", "schedule_group", "other"}, false},
		{cmek.ChangeSchedule, []string{"schedule", plan + "default/keyturn"}, true}, {cmek.ChangeSchedule, []string{"schedule", plan + "other/keyturn"}, false}, {cmek.ChangeSchedule, []string{"schedule", plan + "other/keyturn", "schedule_group", "default"}, false},

		{cmek.ChangeSecret, []string{"secret", "keyturn-key"}, true}, {cmek.ChangeSecret, []string{"secret", vault + "keyturn-key-AbCdEf"}, true}, {cmek.ChangeSecret, []string{"secret", vault + "keyturn-key"}, true},
		{cmek.ChangeSecret, []string{"secret", vault + "keyturn-key-AbCdE"}, false}, {cmek.ChangeSecret, []string{"secret", vault + "keyturn-keyxAbCdEf"}, false}, {cmek.ChangeSecret, []string{"secret", "keyturn-key-AbCdEf"}, false}, {cmek.ChangeSecret, []string{"secret", vault + "AbCdEf"}, false},

		{cmek.ChangeQueue, []string{"queue", "https://sqs.us-east-1.amazonaws.com/111122223333/keyturn"}, true}, {cmek.ChangeQueue, []string{"queue", sqs + "keyturn"}, true}, {cmek.ChangeQueue, []string{"queue", sqs + "other"}, false},
		{cmek.ChangeTable, []string{"table", "keyturn"}, true}, {cmek.ChangeTable, []string{"table", table + "keyturn"}, true}, {cmek.ChangeTable, []string{"table", table + "keyturn/index/x"}, true}, {cmek.ChangeTable, []string{"table", table + "keyturn-dev"}, false},
		{cmek.ChangeLogSink, []string{"sink", "keyturn"}, true}, {cmek.ChangeLogSink, []string{"feed", "keyturn"}, true}, {cmek.ChangeLogSink, []string{"exclusion", "keyturn"}, false},

		// Names that are cut or left out may be any.
		{cmek.ChangeAlarm, []string{"alarm", "a,keyturn"}, true}, {cmek.ChangeAlarm, []string{"alarm", "a,b"}, false}, {cmek.ChangeAlarm, []string{"alarm", "a,b" + cmek.Shortened}, true},
		{cmek.ChangeAlarm, []string{"omitted", "true"}, true}, {cmek.ChangeAlarm, []string{"omitted", "false"}, false}, {cmek.ChangeLogSink, []string{"omitted", "true"}, false}, {cmek.ChangeKeyPolicy, []string{"omitted", "true"}, false},
	} {
		c := of(row.change, with(row.with...))
		if got := Names(c.Event, ours); got != row.want {
			t.Errorf("%s of %q is about keyturn's own: %t, want %t", row.change, row.with, got, row.want)
		}
	}
}

func TestResources_areAsTheCallerWroteThem(t *testing.T) {
	for _, row := range []struct{ with, want []string }{
		{nil, nil}, {[]string{"alarm", "a,b", "rule", "r", "policy_arn", "p"}, []string{"r", "a", "b"}}, {[]string{"topic", ""}, nil},
	} {
		if got := Resources(of(cmek.ChangeAlarm, with(row.with...)).Event); !slices.Equal(got, row.want) {
			t.Errorf("the resources of %q are %q, want %q", row.with, got, row.want)
		}
	}
}

// A new version of a managed policy is in force only if the call made it the default one, which a call that was left out may have.
func TestDormant(t *testing.T) {
	policy := func(c *Case) { c.Event.Policy = "{}" }
	for _, row := range []struct {
		c    Case
		want bool
	}{
		{of(cmek.ChangeManagedPolicy, named("CreatePolicyVersion"), policy), true}, {of(cmek.ChangeManagedPolicy, named("CreatePolicyVersion"), policy, with("set_as_default", "false")), true},
		{of(cmek.ChangeManagedPolicy, named("CreatePolicyVersion"), policy, with("set_as_default", "true")), false}, {of(cmek.ChangeManagedPolicy, named("CreatePolicyVersion")), false},
		{of(cmek.ChangeManagedPolicy, named("CreatePolicyVersion"), policy, with("omitted", "true")), false}, {of(cmek.ChangeManagedPolicy, named("SetDefaultPolicyVersion"), policy), false},
	} {
		if got := Dormant(row.c.Event); got != row.want {
			t.Errorf("%s %v is dormant: %t, want %t", row.c.Event.Source, row.c.Event.Parameters, got, row.want)
		}
	}
	if !Denies(of(cmek.ChangeDenyPolicy).Event) || Denies(of(cmek.ChangeKeyPolicy).Event) {
		t.Error("a deny policy denies beside what others grant, and a key policy does not")
	}
	if !Bounds(of(cmek.ChangeAccessBoundary).Event) || Bounds(of(cmek.ChangeBoundary).Event) || Bounds(of(cmek.ChangeDenyPolicy).Event) {
		t.Error("a principal access boundary bounds, and neither a deny policy nor the permissions boundary of a role does")
	}
}
