package lambda

import (
	"testing"

	"github.com/keyturn/keyturn/internal/amazon"
)

// EventBridge puts an event into a queue as it is, without the envelope of SNS.
func TestAnAlarmsEventInAQueueIsReadAsAnAlert(t *testing.T) {
	const event = `{"version":"0","id":"c4c1c1c9","detail-type":"CloudWatch Alarm State Change","source":"aws.cloudwatch","account":"111122223333",` +
		`"time":"2026-10-02T17:04:40Z","region":"us-east-1","resources":["arn:aws:cloudwatch:us-east-1:111122223333:alarm:keyturn-sweep-overdue"],` +
		`"detail":{"alarmName":"keyturn-sweep-overdue","configuration":{"description":"no walk has ended"},"state":{"value":"ALARM","reason":"r"},"previousState":{"value":"OK"}}}`
	a, err := amazon.ParseMessage(string(unwrap(event)))
	if err != nil || a.ID == "" || a.Summary == "" || a.Resolved {
		t.Errorf("it is read as %+v (%v)", a, err)
	}
}
