package events

import (
	"strings"
	"testing"
)

// Each further call by which keyturn is made blind or mute is decoded: a change that nobody decodes is never reported.
func TestTable_hasEachWayToBlindKeyturn(t *testing.T) {
	known := map[string]bool{}
	for _, row := range AWS() {
		known[strings.TrimPrefix(row.Source, "aws.")+" "+strings.TrimRight(row.Name, "0123456789v")] = true
	}
	for _, call := range []string{
		"lambda UpdateFunctionCode", "lambda UpdateFunctionConfiguration", "lambda DeleteFunction", "lambda PutFunctionConcurrency",
		"lambda DeleteEventSourceMapping", "lambda UpdateEventSourceMapping",
		"sns DeleteTopic", "sns Unsubscribe", "sns SetTopicAttributes", "sns SetSubscriptionAttributes",
		"sqs DeleteQueue", "sqs PurgeQueue", "sqs SetQueueAttributes",
		"monitoring DeleteAlarms", "monitoring DisableAlarmActions", "monitoring PutMetricAlarm",
		"events DeleteEventBus", "events RemovePermission", "events UpdateEventBus", "events PutPermission",
		"scheduler DeleteSchedule", "scheduler UpdateSchedule", "scheduler DeleteScheduleGroup",
		"secretsmanager DeleteSecret", "secretsmanager PutSecretValue", "dynamodb DeleteTable",
	} {
		if !known[call] {
			t.Errorf("no row decodes %s", call)
		}
	}
}

// A ReEncrypt uses two keys, and either may be a cluster's.
func TestDecode_reEncryptIsAUseOfBothKeys(t *testing.T) {
	payload := `{"version":"0","id":"1","detail-type":"AWS API Call via CloudTrail","source":"aws.kms","account":"111122223333","time":"2025-01-01T00:00:00Z","region":"us-east-1","detail":{` +
		`"eventVersion":"1.11","eventTime":"2025-01-01T00:00:00Z","eventSource":"kms.amazonaws.com","eventName":"ReEncrypt","awsRegion":"us-east-1","eventID":"e1","eventType":"AwsApiCall",` +
		`"recipientAccountId":"111122223333","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/x","accountId":"111122223333"},` +
		`"requestParameters":{"destinationKeyId":"0987dcba-09fe-87dc-65ba-ab0987654321"},"resources":[` +
		`{"type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111122223333:key/0987dcba-09fe-87dc-65ba-ab0987654321"},` +
		`{"type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"}]}}`
	list, err := Decode([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, e := range list {
		keys[e.Key.ID()] = true
	}
	if len(keys) != 2 {
		t.Errorf("a ReEncrypt from one key to another is about %v, want both", keys)
	}
}
