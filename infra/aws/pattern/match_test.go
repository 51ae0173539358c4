package pattern_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/infra/aws/pattern"
	"github.com/keyturn/keyturn/infra/aws/pattern/patterntest"
	"github.com/keyturn/keyturn/internal/cmek"
)

// selects reports whether any of the rules picks CloudTrail's record of the call.
func selects(t *testing.T, rules []pattern.Rule, source, name string, detail map[string]any) bool {
	t.Helper()
	full := map[string]any{"eventName": name}
	for field, value := range detail {
		full[field] = value
	}
	data, err := json.Marshal(map[string]any{"source": source, "detail-type": "AWS API Call via CloudTrail", "detail": full})
	if err != nil {
		t.Fatal(err)
	}
	var event any
	if err := json.Unmarshal(data, &event); err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(rules, func(r pattern.Rule) bool {
		var p any
		if err := json.Unmarshal([]byte(r.Pattern), &p); err != nil {
			t.Fatal(err)
		}
		return patterntest.Matches(t, p, event)
	})
}

type fields = map[string]any

func asked(name string, value any) fields { return fields{"requestParameters": fields{name: value}} }

func answered(name string, value any) fields { return fields{"responseElements": fields{name: value}} }

// watching are calls that make keyturn blind, by source: each about our own thing, and the same about somebody else's.
var watching = map[string][]struct {
	calls        []string
	ours, theirs fields
}{
	"aws.events": {
		{[]string{"PutRule", "DisableRule", "DeleteRule"}, asked("name", "keyturn-kms-calls"), asked("name", "keyturn-dev-kms-calls")},
		{[]string{"RemoveTargets", "PutTargets"}, asked("rule", "keyturn-kms-calls"), asked("rule", "keyturn-kms-calls-x")},
		{[]string{"DeleteEventBus"}, asked("name", "keyturn"), asked("name", "keyturn-dev")},
		{[]string{"DeleteEventBus"}, asked("name", "arn:aws:events:us-east-1:111122223333:event-bus/keyturn"), asked("name", "arn:aws:events:us-east-1:111122223333:event-bus/keyturn-dev")},
		{[]string{"RemovePermission", "PutPermission"}, asked("eventBusName", "keyturn"), asked("eventBusName", "default")},
		{[]string{"UpdateEventBus"}, asked("name", "keyturn"), asked("name", "keyturn-dev")},
		{[]string{"RemovePermission"}, asked("eventBusName", "arn:aws:events:us-east-1:111122223333:event-bus/keyturn"), fields{}},
	},
	"aws.monitoring": {
		{[]string{"DeleteAlarms", "DisableAlarmActions"}, asked("alarmNames", []string{"other", "keyturn-alerting-event-errors"}), asked("alarmNames", []string{"other", "keyturn-dev-alerting-event-errors"})},
		{[]string{"PutMetricAlarm", "PutCompositeAlarm"}, asked("alarmName", "keyturn-alerting-event-errors"), asked("alarmName", "keyturn-alerting-event-errors-2")},
	},
	"aws.sns": {
		{[]string{"DeleteTopic", "SetTopicAttributes", "AddPermission", "RemovePermission"}, asked("topicArn", "arn:aws:sns:us-east-1:111122223333:keyturn-alerts"), asked("topicArn", "arn:aws:sns:us-east-1:111122223333:keyturn-alerts-dev")},
		{[]string{"Unsubscribe", "SetSubscriptionAttributes"}, asked("subscriptionArn", "arn:aws:sns:us-east-1:111122223333:keyturn-alerts:0b1c"), asked("subscriptionArn", "arn:aws:sns:us-east-1:111122223333:keyturn-alerts-dev:0b1c")},
	},
	"aws.scheduler": {
		{[]string{"DeleteSchedule", "UpdateSchedule"}, asked("name", "keyturn-alerting-tick"), asked("name", "keyturn-dev-alerting-tick")},
	},
	"aws.lambda": {
		{[]string{"UpdateFunctionCode20150331v2", "UpdateFunctionConfiguration20150331v2", "DeleteFunction20150331"}, asked("functionName", "keyturn-alerting-event"), asked("functionName", "keyturn-dev-alerting-event")},
		{[]string{"DeleteFunction20150331"}, asked("functionName", "arn:aws:lambda:us-east-1:111122223333:function:keyturn-alerting-event"), asked("functionName", "arn:aws:lambda:us-east-1:111122223333:function:keyturn-alerting-event-x")},
		{[]string{"DeleteFunction20150331"}, asked("functionName", "111122223333:function:keyturn-alerting-event"), fields{}},
		{[]string{"UpdateFunctionCode20150331v2"}, asked("functionName", "keyturn-alerting-event:$LATEST"), asked("functionName", "keyturn-alerting-event-x:$LATEST")},
		{[]string{"UpdateFunctionCode20150331v2"}, asked("functionName", "111122223333:function:keyturn-alerting-event:$LATEST"), asked("functionName", "111122223333:function:keyturn-dev-alerting-event:$LATEST")},
		{[]string{"PutFunctionConcurrency20171031"}, asked("functionName", "keyturn-alerting-event"), asked("functionName", "keyturn-alerting-event-x")},
		{[]string{"DeleteEventSourceMapping20150331", "UpdateEventSourceMapping20150331"}, answered("functionArn", "arn:aws:lambda:us-east-1:111122223333:function:keyturn-alerting-event"), answered("functionArn", "arn:aws:lambda:us-east-1:111122223333:function:other")},
		{[]string{"UpdateEventSourceMapping20150331"}, answered("eventSourceArn", "arn:aws:sqs:us-east-1:111122223333:keyturn-alerting-event"), answered("eventSourceArn", "arn:aws:sqs:us-east-1:111122223333:keyturn-dev-alerting-event")},
		{[]string{"UpdateFunctionCode20150331v2"}, fields{"responseElements": fields{"functionArn": "arn:aws:lambda:us-east-1:111122223333:function:keyturn-alerting-event"}}, fields{}},
	},
	"aws.sqs": {
		{[]string{"DeleteQueue", "PurgeQueue", "SetQueueAttributes", "AddPermission", "RemovePermission"}, asked("queueUrl", "https://sqs.us-east-1.amazonaws.com/111122223333/keyturn-alerting-event"), asked("queueUrl", "https://sqs.us-east-1.amazonaws.com/111122223333/keyturn-dev-alerting-event")},
		{[]string{"DeleteQueue"}, asked("queueUrl", "https://us-east-1.queue.amazonaws.com/111122223333/keyturn-alerting-event"), asked("queueUrl", "https://sqs.us-east-1.amazonaws.com/999900001111/keyturn-alerting-event")},
	},
	"aws.dynamodb": {
		{[]string{"DeleteTable", "UpdateTable"}, asked("tableName", "keyturn-hub-Ledger0A1B-2C3D"), asked("tableName", "keyturn-dev-hub-Ledger0A1B-2C3D")},
		{[]string{"DeleteTable", "UpdateTable"}, asked("tableName", "arn:aws:dynamodb:us-east-1:111122223333:table/keyturn-hub-Ledger0A1B-2C3D"), asked("tableName", "arn:aws:dynamodb:us-east-1:111122223333:table/other")},
	},
	"aws.secretsmanager": {
		{[]string{"DeleteSecret", "PutSecretValue", "UpdateSecret"}, asked("secretId", "keyturn-api-key"), asked("secretId", "keyturn-dev-api-key")},
		{[]string{"DeleteSecret"}, asked("secretId", "arn:aws:secretsmanager:us-east-1:111122223333:secret:keyturn-api-key-a1B2c3"), asked("secretId", "arn:aws:secretsmanager:us-east-1:111122223333:secret:keyturn-dev-api-key-a1B2c3")},
	},
}

func TestBlindingCallsAreForwardedIfAboutOurOwn(t *testing.T) {
	rules := pattern.Forwarded(slices.Concat(rotation.Subscribes, alerting.Subscribes), scope)
	understood := map[string]bool{}
	for _, row := range events.AWS() {
		if slices.Contains(alerting.Subscribes, row.Change) {
			understood[row.Source+"/"+row.Name] = true
		}
	}
	checked := 0
	for source, cases := range watching {
		for _, tc := range cases {
			for _, name := range tc.calls {
				if !understood[source+"/"+name] {
					continue
				}
				checked++
				if !selects(t, rules, source, name, tc.ours) {
					t.Errorf("%s of %v is not forwarded", name, tc.ours)
				}
				if selects(t, rules, source, name, tc.theirs) {
					t.Errorf("%s of %v is forwarded, and is not about keyturn's own", name, tc.theirs)
				}
			}
		}
	}
	if checked < 40 {
		t.Errorf("only %d calls were checked", checked)
	}
	// CloudTrail leaves out what is too large, and with it the names.
	if !selects(t, rules, "aws.events", "PutTargets", fields{"requestParameters": fields{"reason": "requestParameters too large", "omitted": true}}) {
		t.Error("a call whose parameters were left out is not forwarded")
	}
}

// A pattern for each such service is checked whether or not the table has rows of it.
func TestEachWatchPatternPicksOurOwnOnly(t *testing.T) {
	for source, cases := range watching {
		for i, tc := range cases {
			p := pattern.OfOwn(source, tc.calls, own)
			if p == "" {
				t.Fatalf("%s has no pattern", source)
			}
			rules := []pattern.Rule{{Pattern: p}}
			for _, name := range tc.calls {
				if !selects(t, rules, source, name, tc.ours) || selects(t, rules, source, name, tc.theirs) {
					t.Errorf("%s, case %d, %s: ours or theirs is wrong: %s", source, i, name, p)
				}
			}
		}
	}
}

// Every change that a function of a watching service means must be narrowed: such calls come in great numbers.
func TestNoWatchingServiceIsForwardedWhole(t *testing.T) {
	watched := []cmek.Change{
		cmek.ChangeEventRule, cmek.ChangeEventBus, cmek.ChangeAlarm, cmek.ChangeAlertTopic, cmek.ChangeSchedule, cmek.ChangeFunction, cmek.ChangeSecret,
		cmek.ChangeQueue, cmek.ChangeTable,
	}
	rules := pattern.Forwarded(watched, scope)
	for _, row := range events.AWS() {
		if slices.Contains(watched, row.Change) && selects(t, rules, row.Source, row.Name, asked("name", "somebody-else's")) {
			t.Errorf("%s of anything is forwarded", row.Name)
		}
	}
}

func TestNothingDoneToOrAsOurRolesIsHidden(t *testing.T) {
	rules := pattern.Forwarded(slices.Concat(rotation.Subscribes, alerting.Subscribes), scope)
	const reader = "arn:aws:iam::111122223333:role/keyturn-reader"
	key := string(scope.Keys[0])
	as := func(issuer string) fields {
		return fields{"sessionContext": fields{"sessionIssuer": fields{"arn": issuer}}}
	}
	for name, tc := range map[string]struct {
		source, call string
		detail       fields
		want         bool
	}{
		"the reader decrypts":          {"aws.kms", "Decrypt", fields{"resources": []any{fields{"ARN": key}}, "userIdentity": as(reader)}, true},
		"a stranger's reader decrypts": {"aws.kms", "Decrypt", fields{"resources": []any{fields{"ARN": key}}, "userIdentity": as("arn:aws:iam::999900001111:role/keyturn-reader")}, true},
		"a user decrypts":              {"aws.kms", "Decrypt", fields{"resources": []any{fields{"ARN": key}}, "userIdentity": fields{"arn": "arn:aws:iam::111122223333:user/ana"}}, true},
		"the cluster decrypts":         {"aws.kms", "Decrypt", fields{"resources": []any{fields{"ARN": key}}, "userIdentity": as(scope.Roles[0])}, false},
		"the reader's trust":           {"aws.iam", "UpdateAssumeRolePolicy", asked("roleName", "keyturn-reader"), true},
		"a policy on the forwarder":    {"aws.iam", "AttachRolePolicy", asked("roleName", "keyturn-forward-us-east-1"), true},
		"somebody becomes the reader":  {"aws.sts", "AssumeRole", fields{"requestParameters": fields{"roleArn": reader}, "userIdentity": as("arn:aws:iam::111122223333:role/admin")}, true},
		"a user becomes the reader":    {"aws.sts", "AssumeRole", fields{"requestParameters": fields{"roleArn": reader}, "userIdentity": fields{"arn": "arn:aws:iam::111122223333:user/ana"}}, true},
		"a function's name elsewhere":  {"aws.sts", "AssumeRole", fields{"requestParameters": fields{"roleArn": reader}, "userIdentity": as("arn:aws:iam::999900001111:role/keyturn-alerting-event")}, true},
		"a function becomes it":        {"aws.sts", "AssumeRole", fields{"requestParameters": fields{"roleArn": reader}, "userIdentity": as(own.AssumedBy[0])}, false},
	} {
		if got := selects(t, rules, tc.source, tc.call, tc.detail); got != tc.want {
			t.Errorf("%s: forwarded is %t, want %t", name, got, tc.want)
		}
	}
}

func TestSourcesAreThoseOfTheTable(t *testing.T) {
	subscribes := slices.Concat(rotation.Subscribes, alerting.Subscribes)
	got := pattern.Sources(subscribes)
	for _, rule := range pattern.Selected(subscribes) {
		var p struct{ Source []string }
		if err := json.Unmarshal([]byte(rule.Pattern), &p); err != nil || !slices.Contains(got, p.Source[0]) {
			t.Errorf("rule %s is about %v, want one of %v (%v)", rule.Name, p.Source, got, err)
		}
	}
	if fmt.Sprint(pattern.Sources([]cmek.Change{cmek.ChangeRotated})) != "[aws.kms]" {
		t.Errorf("rotations come from %v", pattern.Sources([]cmek.Change{cmek.ChangeRotated}))
	}
}
