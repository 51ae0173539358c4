package google

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A message that nobody can read is tried as often as the subscription says, and kept where somebody can read it; those after it arrive.
func TestPoison_endsInTheDeadLetterSubscription(t *testing.T) {
	t.Parallel()
	s := newStand(t, "acme-poisoned")
	s.sweep()
	for _, function := range []string{"rotation", "alerting"} {
		s.hurry(function)
		s.publish(function+"-events", []byte(`{"hunter2":`), nil)
	}
	s.hurry("notify-slack-alerts")
	s.publish("alerts", []byte(`{"hunter2":`), map[string]string{"severity": "critical"})
	s.setState(sharedKey, 1, "DISABLED")
	s.untilSlack("the event behind it is handled", "CRITICAL", "Version 1", "was disabled")

	for _, function := range []string{"rotation", "alerting", "notify-slack"} {
		s.until("the dead letter of "+function, func() string {
			for _, letter := range s.deadLetters(function) {
				if letter.data == `{"hunter2":` && letter.attempts == "5" {
					return ""
				}
			}
			return "it"
		})
	}
	if text := s.log.String(); strings.Contains(text, "hunter2") || !strings.Contains(text, "message cannot be understood") {
		t.Error("the log shows the message, or does not say that it cannot be understood")
	}
}

// hurry takes the waiting out of a subscription: with the module's own 100 attempts, 10 to 600 s apart, a dead letter takes most of a day.
func (s *stand) hurry(subscription string) {
	s.t.Helper()
	full := "projects/" + s.project + "/subscriptions/" + name + "-" + subscription
	var now struct {
		Topic            string         `json:"topic"`
		DeadLetterPolicy map[string]any `json:"deadLetterPolicy"`
	}
	pubsub(s.t, http.MethodGet, full, nil, &now)
	if fmt.Sprint(now.DeadLetterPolicy["maxDeliveryAttempts"]) != "100" {
		s.t.Errorf("%s has the dead-letter policy %v, want 100 attempts", subscription, now.DeadLetterPolicy)
	}
	now.DeadLetterPolicy["maxDeliveryAttempts"] = 5
	pubsub(s.t, http.MethodPatch, full, map[string]any{
		"subscription": map[string]any{
			"name": full, "topic": now.Topic, "deadLetterPolicy": now.DeadLetterPolicy, "retryPolicy": map[string]string{"minimumBackoff": "0s", "maximumBackoff": "1s"},
		},
		"updateMask": "retryPolicy,deadLetterPolicy",
	}, nil)
}

type deadLetter struct{ data, attempts string }

// deadLetters pulls what the subscription of a function's dead letters holds.
func (s *stand) deadLetters(function string) (letters []deadLetter) {
	s.t.Helper()
	var pulled struct {
		Received []struct {
			Message struct {
				Data       []byte
				Attributes map[string]string
			}
		} `json:"receivedMessages"`
	}
	pubsub(s.t, http.MethodPost, "projects/"+s.project+"/subscriptions/"+name+"-"+function+"-dead:pull", json.RawMessage(`{"maxMessages":10,"returnImmediately":true}`), &pulled)
	for _, r := range pulled.Received {
		letters = append(letters, deadLetter{string(r.Message.Data), r.Message.Attributes["CloudPubSubDeadLetterSourceDeliveryCount"]})
	}
	return letters
}
