package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/keyturn/explain"
)

func TestReplayOpensTheWorkOfAnEventOnceAndAsksNobody(t *testing.T) {
	b := newBench(t).swept(t)
	event := b.rotate(t, paymentsKey)[0]
	requests := len(b.Requests())
	file := filepath.Join(b.folder, "event.json")
	if err := os.WriteFile(file, []byte(event), 0o600); err != nil {
		t.Fatal(err)
	}
	wantText(t, "the first replay", b.succeed(t, "replay", file), paymentsKey+" rotated to material:", "told by aws.kms/KMS CMK Rotation",
		"Opened work for payments in us-east-1.", "Opened work for checkout in us-east-1.")
	wantText(t, "the second replay", b.succeed(t, "replay", file), "Nothing new: 2 clusters")

	all := decodeJSON[[]explain.Replayed](t, b.succeed(t, "replay", file, "-o", "json"))
	if len(all) != 1 || all[0].Clusters != 2 || len(all[0].Opened) != 0 {
		t.Errorf("the third replay is %+v, want one event, two clusters and nothing opened", all)
	}
	if after := len(b.Requests()); after != requests {
		t.Errorf("replay sent %d requests, want none", after-requests)
	}
}

func TestReplayReadsTheWrappersOfTheQueueAndTheTopic(t *testing.T) {
	b := newBench(t).swept(t)
	event := b.rotate(t, ordersKey)[0]
	notification, _ := json.Marshal(map[string]string{"Type": "Notification", "Message": event})
	batch, _ := json.Marshal(map[string]any{"Records": []map[string]string{
		{"messageId": "1", "eventSource": "aws:sqs", "body": event},
		{"messageId": "2", "eventSource": "aws:sqs", "body": string(notification)},
	}})
	for _, tc := range []struct {
		name, payload string
		events        int
	}{
		{"an SNS notification", string(notification), 1},
		{"an SQS batch", string(batch), 2},
	} {
		o := b.keyturnWith(t.Context(), tc.payload, "replay", "-", "-o", "json")
		o.wantCode(t, exitFine, "replay", tc.name)
		if all := decodeJSON[[]explain.Replayed](t, o.out); len(all) != tc.events {
			t.Errorf("%s holds %d events, want %d", tc.name, len(all), tc.events)
		}
	}
}

func TestReplayTellsForeignEventsFromBrokenOnes(t *testing.T) {
	b := newBench(t).swept(t)
	b.Events()
	b.kms(t, "DisableKey", ordersKey)
	o := b.keyturnWith(t.Context(), string(b.Events()[0].Payload), "replay", "-")
	o.wantCode(t, exitFine, "replay")
	wantText(t, "the answer to an event for alerting", o.out, "none that concerns rotation")
	foreign := `{"version":"0","id":"1","source":"aws.ec2","detail-type":"EC2 Instance State-change Notification","detail":{}}`
	o = b.keyturnWith(t.Context(), foreign, "replay", "-")
	o.wantCode(t, exitFine, "replay")
	wantText(t, "the answer", o.out, "none that concerns rotation")

	for _, broken := range []string{"", "rotate, please", "{}", strings.Repeat("[", 1<<20)} {
		o := b.keyturnWith(t.Context(), broken, "replay", "-")
		o.wantCode(t, exitFailed, "replay")
		wantText(t, "the error", o.err, "keyturn: read event: ")
	}
	o = b.keyturn(t, "replay", filepath.Join(b.folder, "missing.json"))
	o.wantCode(t, exitFailed, "replay")
	wantText(t, "the error", o.err, "missing.json")
}
