package alerting

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Each way in which a caller can write the name of a part of keyturn names it, and no caller can hide it behind other names.
func TestOwn_everySpellingOfAName(t *testing.T) {
	const arn = "arn:aws:lambda:us-east-1:111122223333:function:keyturn-alerting-event"
	long := make([]string, 99)
	for i := range long {
		long[i] = strings.Repeat("x", 250)
	}
	for _, tc := range []struct {
		source, call string
		parameters   map[string]any
		own          bool
	}{
		{"sns", "Unsubscribe", map[string]any{"subscriptionArn": "arn:aws:sns:us-east-1:111122223333:keyturn-alerts:2bcfbf39-05c3-41de-beaa-fcfcc21c8f55"}, true},
		{"sns", "Unsubscribe", map[string]any{"subscriptionArn": "arn:aws:sns:us-east-1:111122223333:other:2bcfbf39-05c3-41de-beaa-fcfcc21c8f55"}, false},
		{"sns", "DeleteTopic", map[string]any{"topicArn": "arn:aws:sns:us-east-1:111122223333:keyturn-alerts"}, true},
		{"lambda", "UpdateFunctionCode20150331v2", map[string]any{"functionName": arn}, true},
		{"lambda", "UpdateFunctionCode20150331v2", map[string]any{"functionName": arn + ":$LATEST"}, true},
		{"lambda", "UpdateFunctionCode20150331v2", map[string]any{"functionName": "keyturn-alerting-event:$LATEST"}, true},
		{"lambda", "UpdateFunctionCode20150331v2", map[string]any{"functionName": "111122223333:function:keyturn-alerting-event:$LATEST"}, true},
		{"lambda", "DeleteFunction20150331", map[string]any{"functionName": "111122223333:function:keyturn-alerting-event"}, true},
		{"secretsmanager", "DeleteSecret", map[string]any{"secretId": "arn:aws:secretsmanager:us-east-1:111122223333:secret:keyturn-api-key-AbCdEf"}, true},
		{"secretsmanager", "DeleteSecret", map[string]any{"secretId": "other/keyturn-api-key"}, false},
		{"monitoring", "DeleteAlarms", map[string]any{"alarmNames": []string{"other", "keyturn-alerting-event-errors"}}, true},
		{"monitoring", "DeleteAlarms", map[string]any{"alarmNames": slices.Concat(long, []string{"keyturn-alerting-event-errors"})}, true},
		{"scheduler", "DeleteSchedule", map[string]any{"name": "keyturn-alerting-tick"}, true},
		{"scheduler", "DeleteSchedule", map[string]any{"name": "keyturn-alerting-tick", "groupName": "default"}, true},
		{"scheduler", "DeleteSchedule", map[string]any{"name": "keyturn-alerting-tick", "groupName": "other"}, false},
		{"sns", "SetTopicAttributes", map[string]any{"topicArn": "arn:aws:sns:us-east-1:111122223333:keyturn-alerts-dev"}, false},
		{"lambda", "UpdateFunctionCode20150331v2", map[string]any{"functionName": "us-east-1:111122223333:function:keyturn-alerting-event"}, true},
		{"lambda", "UpdateFunctionCode20150331v2", map[string]any{"functionName": "function:keyturn-alerting-event"}, true},
		{"lambda", "UpdateFunctionCode20150331v2", map[string]any{"functionName": "keyturn-alerting-event-dev"}, false},
		{"lambda", "UpdateFunctionCode20150331v2", map[string]any{"functionName": "other:keyturn-alerting-event"}, false},
		{"lambda", "PutFunctionConcurrency20171031", map[string]any{"functionName": arn}, true},
		{"secretsmanager", "DeleteSecret", map[string]any{"secretId": "keyturn-api-key"}, true},
		{"secretsmanager", "DeleteSecret", map[string]any{"secretId": "arn:aws:secretsmanager:us-east-1:111122223333:secret:keyturn-api-key"}, true},
		{"secretsmanager", "DeleteSecret", map[string]any{"secretId": "arn:aws:secretsmanager:us-east-1:111122223333:secret:keyturn-api-key-2-AbCdEf"}, false},
		{"secretsmanager", "DeleteSecret", map[string]any{"secretId": "arn:aws:secretsmanager:us-east-1:111122223333:secret:other/keyturn-api-key-AbCdEf"}, false},
		{"monitoring", "PutMetricAlarm", map[string]any{"alarmName": "keyturn-alerting-event-errors"}, true},
		{"monitoring", "DeleteAlarms", map[string]any{"alarmNames": []string{"keyturn-dev-alerting-event-errors"}}, false},
		{"events", "DeleteEventBus", map[string]any{"name": "keyturn"}, true},
		{"events", "DeleteEventBus", map[string]any{"name": "arn:aws:events:us-east-1:111122223333:event-bus/keyturn"}, true},
		{"events", "DeleteEventBus", map[string]any{"name": "keyturn-dev"}, false},
		{"events", "PutRule", map[string]any{"name": "keyturn-kms-calls"}, true},
		{"events", "PutRule", map[string]any{"name": "keyturn-kms-calls", "eventBusName": "arn:aws:events:us-east-1:111122223333:event-bus/default"}, true},
		{"events", "PutRule", map[string]any{"name": "keyturn-kms-calls", "eventBusName": "other"}, false},
		{"events", "PutRule", map[string]any{"name": "other", "eventBusName": "keyturn"}, true},
		{"events", "PutTargets", leftOut, true},
		{"sqs", "PurgeQueue", map[string]any{"queueUrl": "https://sqs.us-east-1.amazonaws.com/111122223333/keyturn-alerting-event"}, true},
		{"sqs", "PurgeQueue", map[string]any{"queueUrl": "https://sqs.us-east-1.amazonaws.com/111122223333/keyturn-alerting-event-dev"}, false},
		{"dynamodb", "DeleteTable", map[string]any{"tableName": "keyturn-hub-Ledger1-ABC"}, true},
		{"dynamodb", "DeleteTable", map[string]any{"tableName": "arn:aws:dynamodb:us-east-1:111122223333:table/keyturn-hub-Ledger1-ABC"}, true},
		{"dynamodb", "DeleteTable", map[string]any{"tableName": "keyturn-hub-Ledger1-ABCD"}, false},
	} {
		s := DefaultSettings()
		s.OwnResources = "keyturn,keyturn-{alerts,alerting-event,alerting-tick,alerting-event-errors,api-key,kms-calls},keyturn-hub-Ledger1-ABC"
		if got := s.own(call(t, tc.source, tc.call, tc.parameters, "")); got != tc.own {
			t.Errorf("%s %.120v is about keyturn's own: %t, want %t", tc.call, tc.parameters, got, tc.own)
		}
	}
}

// Only keyturn's own roles, in the accounts where they are deployed, assume its roles without an alert.
func TestOwn_foreignNamesakeAssumesTheReader(t *testing.T) {
	for issuer, silent := range map[cmek.Principal]bool{
		"arn:aws:iam::111122223333:role/keyturn-alerting": true,
		"arn:aws:iam::999900001111:role/keyturn-reader":   false,
		"arn:aws:iam::999900001111:role/keyturn-alerting": false,
		"arn:aws:iam::111122223333:role/keyturn-reader":   false,
		"arn:aws:iam::999900001111:role/Admin":            false,
	} {
		inWorld(t, func(t *testing.T, w *world) {
			w.Settings.OwnRoles = "arn:aws:iam::{account}:role/keyturn-reader,arn:aws:iam::111122223333:role/keyturn-alerting"
			w.happens(cmek.Event{ID: "e1", Source: "aws.sts/AWS API Call via CloudTrail/AssumeRole", Change: cmek.ChangePrincipalAssumed,
				Identity: "arn:aws:iam::111122223333:role/keyturn-reader", Account: account, Region: "us-east-1", Time: time.Now(),
				Principal: string(issuer) + "/s", Issuer: issuer, Caller: issuer.Account()})
			if got := len(w.told.Alerts()) == 0; got != silent {
				t.Errorf("%s assumes keyturn's reader: silent is %t, want %t", issuer, got, silent)
			}
		})
	}
}

// A deployment's change of keyturn's own is at least medium: whoever disarms keyturn can do it by CloudFormation, too.
func TestOwn_deploymentIsNeverSilent(t *testing.T) {
	for _, name := range []string{"PutTargets", "PutRule", "RemoveTargets", "DeleteRule"} {
		inWorld(t, func(t *testing.T, w *world) {
			e := call(t, "events", name, map[string]any{"name": "keyturn-kms-calls", "rule": "keyturn-kms-calls"}, "")
			e.Parameters["via"] = "cloudformation.amazonaws.com"
			w.happens(e)
			if n := len(w.told.Alerts()); n != 1 || !w.last().Severity.AtLeast(alert.Medium) {
				t.Errorf("%s by CloudFormation of keyturn's rule made %d alerts, want one of at least medium", name, n)
			}
		})
	}
}

// A role is keyturn's own by its whole ARN, in the account of the event.
func TestOwn_rolesByFullARN(t *testing.T) {
	s := DefaultSettings()
	s.OwnResources = "keyturn,keyturn-reader"
	s.OwnRoles = "arn:aws:iam::{account}:role/keyturn-{reader,forward-{us-east-1,eu-west-1}},arn:aws:iam::999900001111:role/keyturn-alerting"
	for role, own := range map[string]bool{"keyturn-reader": true, "keyturn-forward-eu-west-1": true, "keyturn-alerting": false, "keyturn": false, "keyturn-reader-dev": false} {
		if got := s.own(call(t, "iam", "DeleteRole", map[string]any{"roleName": role}, "")); got != own {
			t.Errorf("role %s of account %s is keyturn's own: %t, want %t", role, account, got, own)
		}
	}
	if problems := s.Check(); len(problems) > 0 {
		t.Error(problems)
	}
}

// The name of a role elsewhere is not keyturn's own role: what cuts a cluster off stays critical.
func TestOwn_clustersRoleOfTheSameName(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Settings.OwnResources = "keyturn-kms-calls,crdb-cmek" // the hub's account has a role of that name
		w.Settings.OwnRoles = "arn:aws:iam::777788889999:role/crdb-cmek"
		w.happens(event("e1", cmek.ChangePrincipalDeleted, ofRole(role)))
		w.wantCut()
	})
}

// A call padded until CloudTrail leaves its parameters out may be about any role of the account, keyturn's own among them.
func TestOmitted_mayBeAboutKeyturnsOwnRole(t *testing.T) {
	for _, name := range []string{"UpdateAssumeRolePolicy", "PutRolePolicy"} {
		inWorld(t, func(t *testing.T, w *world) {
			w.noted(role, goodTrust)
			time.Sleep(time.Hour)
			e := call(t, "iam", name, leftOut, "")
			e.Time = time.Now()
			w.happens(e)
			w.ticks(20 * time.Minute)
			if len(w.told.Alerts()) == 0 || !w.told.Alerts()[0].Severity.AtLeast(alert.Medium) {
				t.Errorf("%s of a role that the event does not name: nobody was notified", name)
			}
		})
	}
}

// Two deployments of a day are two alerts: the second may be an attacker's with the deployment's own role.
func TestOwn_eachDeploymentIsReported(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.Settings.OwnResources = "keyturn-alerting-event"
		for i := range 2 {
			e := call(t, "lambda", "UpdateFunctionCode20150331v2", map[string]any{"functionName": "keyturn-alerting-event"}, "")
			e.ID, e.Time, e.Parameters["via"] = fmt.Sprint("d", i), time.Now(), cloudFormation
			w.happens(e)
			time.Sleep(6 * time.Hour)
		}
		if n := len(w.told.Alerts()); n != 2 {
			t.Errorf("two deployments 6 hours apart made %d alerts, want 2", n)
		}
	})
}
