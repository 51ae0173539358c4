package alert

import (
	"encoding/json"
	"fmt"
	"strings"
)

// MostMessage bounds an alert's message, in bytes, on every cloud, so that an alert looks the same whatever it travels through. It is
// SNS's limit for a message with its attributes (docs.aws.amazon.com/sns/latest/api/API_Publish.html), which is also what a queue
// takes of the whole envelope in which a topic sends the message on, less the room for the rest of the envelope. Pub/Sub takes 10 MB
// (cloud.google.com/pubsub/quotas).
const MostMessage = 256<<10 - 4<<10

// Message is the alert as a topic carries it: the text, an empty line, and on the last line the alert's JSON. People read the
// beginning, [ParseMessage] the end. An alert that would make it too large is cut short, and says so; see [Alert.Fit].
func (a Alert) Message() (string, error) {
	var problem error
	fitting := a.Fit(MostMessage, func(a Alert) int {
		message, err := a.message()
		if err != nil {
			problem = err
		}
		return enveloped(message)
	})
	if problem != nil {
		return "", fmt.Errorf("encode: %w", problem)
	}
	return fitting.message()
}

func (a Alert) message() (string, error) {
	data, err := a.JSON()
	return a.Text() + "\n" + string(data), err
}

// enveloped is the size of the message as a string of JSON, which is how a queue gets it from a topic. Other bytes than these are not
// escaped in a message.
func enveloped(message string) int {
	return len(message) + strings.Count(message, `"`) + strings.Count(message, `\`) + strings.Count(message, "\n")
}

// ParseMessage reads the alert from the last line of a [Alert.Message].
func ParseMessage(message string) (Alert, error) {
	last := message[strings.LastIndexByte(message, '\n')+1:]
	var a Alert
	if err := json.Unmarshal([]byte(last), &a); err != nil {
		return Alert{}, fmt.Errorf("parse alert on the last line of the message: %w", err)
	}
	return a, nil
}
