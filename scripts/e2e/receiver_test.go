package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/channel"
)

// channels are all kinds of channels, in the order in which the tests walk through them.
var channels = []notify.Kind{notify.Slack, notify.PagerDuty, notify.Webhook}

// What each channel's owner shares with keyturn.
const (
	slackPath  = "/services/T0SAMPLE/B0SAMPLE/sampleSlackSecretThatNoLog"
	routingKey = "sampleroutingkeythatnologmayshow"
	signingKey = "sample signing key that no log may show"
)

// receiver is one HTTP server that stands for Slack, PagerDuty and somebody's webhook. It judges each request as they do and
// keeps what it took. It is safe for concurrent use.
type receiver struct {
	t   *testing.T
	url string

	mu       sync.Mutex
	taken    map[notify.Kind][]delivery
	attempts map[notify.Kind]int
	refusals map[notify.Kind][]refusal
}

// delivery is a message that a channel took.
type delivery struct {
	// text is what people read.
	text     string
	resolved bool
	// id names the message, dedupKey the incident; Slack has no field for either, PagerDuty's end of an incident no id.
	id, dedupKey string
	body         string
}

// refusal answers a request in a channel's place.
type refusal func(http.ResponseWriter)

// serverError is a channel that is out of order, hangUp one that is not even that.
func serverError(w http.ResponseWriter) {
	http.Error(w, "out of order", http.StatusInternalServerError)
}
func hangUp(http.ResponseWriter) { panic(http.ErrAbortHandler) }

func newReceiver(t *testing.T) *receiver {
	r := &receiver{
		t: t, taken: map[notify.Kind][]delivery{}, attempts: map[notify.Kind]int{}, refusals: map[notify.Kind][]refusal{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+slackPath, r.serve(notify.Slack, readSlack, http.StatusOK, "ok"))
	mux.HandleFunc("POST /v2/enqueue", r.serve(notify.PagerDuty, readPagerDuty, http.StatusAccepted, `{"status":"success"}`))
	mux.HandleFunc("POST /hook", r.serve(notify.Webhook, readWebhook, http.StatusNoContent, ""))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// refuse has the channel answer its next requests so, one after the other.
func (r *receiver) refuse(kind notify.Kind, how ...refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusals[kind] = append(r.refusals[kind], how...)
}

// accept has the channel answer as usual again.
func (r *receiver) accept(kind notify.Kind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.refusals, kind)
}

// got returns what the channel took so far.
func (r *receiver) got(kind notify.Kind) []delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.taken[kind])
}

// tried is how many requests reached the channel.
func (r *receiver) tried(kind notify.Kind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.attempts[kind]
}

func (r *receiver) serve(kind notify.Kind, read func(*http.Request, []byte) (delivery, error), status int, answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			panic(http.ErrAbortHandler) // The function died while it was sending.
		}
		if refuse := r.nextRefusal(kind); refuse != nil {
			refuse(w)
			return
		}
		d, err := read(req, body)
		if err != nil {
			r.t.Errorf("%s refuses a message: %v\n%s", kind, err, body)
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		d.body = string(body)
		r.mu.Lock()
		r.taken[kind] = append(r.taken[kind], d)
		r.mu.Unlock()
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	}
}

func (r *receiver) nextRefusal(kind notify.Kind) refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts[kind]++
	coming := r.refusals[kind]
	if len(coming) == 0 {
		return nil
	}
	r.refusals[kind] = coming[1:]
	return coming[0]
}

// readSlack reads the text out of a message of Block Kit (docs.slack.dev/reference/block-kit/blocks).
func readSlack(_ *http.Request, body []byte) (delivery, error) {
	type text struct{ Text string }
	var message struct {
		Text   string
		Blocks []struct {
			Type     string
			Text     text
			Fields   []text
			Elements []text
		}
	}
	if err := json.Unmarshal(body, &message); err != nil {
		return delivery{}, err
	}
	if message.Text == "" || len(message.Blocks) == 0 {
		return delivery{}, errors.New("no_text")
	}
	lines := []string{message.Text}
	for _, b := range message.Blocks {
		for _, t := range slices.Concat([]text{b.Text}, b.Fields, b.Elements) {
			lines = append(lines, t.Text)
		}
	}
	return delivery{
		text:     html.UnescapeString(strings.Join(lines, "\n")),
		resolved: strings.HasPrefix(message.Text, "[RESOLVED]"),
	}, nil
}

// readPagerDuty reads an event of the Events API v2 (developer.pagerduty.com/docs/events-api-v2/trigger-events).
func readPagerDuty(_ *http.Request, body []byte) (delivery, error) {
	var event struct {
		RoutingKey string `json:"routing_key"`
		Action     string `json:"event_action"`
		DedupKey   string `json:"dedup_key"`
		Payload    *struct {
			Summary, Source, Severity string
			// Details are an alert, or what is known of several.
			Details alert.Alert `json:"custom_details"`
		}
	}
	if err := json.Unmarshal(body, &event); err != nil {
		return delivery{}, err
	}
	d := delivery{resolved: event.Action == "resolve", dedupKey: event.DedupKey}
	switch {
	case event.RoutingKey != routingKey:
		return delivery{}, errors.New("invalid routing key")
	case event.DedupKey == "":
		return delivery{}, errors.New("no dedup key")
	case d.resolved:
		return d, nil
	case event.Action != "trigger" || event.Payload == nil:
		return delivery{}, fmt.Errorf("event_action is %q, with payload: %t", event.Action, event.Payload != nil)
	case event.Payload.Summary == "" || event.Payload.Source == "":
		return delivery{}, errors.New("payload without summary or source")
	case !slices.Contains([]string{"critical", "error", "warning", "info"}, event.Payload.Severity):
		return delivery{}, fmt.Errorf("severity is %q", event.Payload.Severity)
	}
	d.id = event.Payload.Details.ID
	d.text = event.Payload.Summary + "\n" + event.Payload.Details.Text()
	return d, nil
}

// readWebhook does what the README of notify tells receivers to do.
func readWebhook(req *http.Request, body []byte) (delivery, error) {
	if err := channel.Verify(signingKey, req.Header, body, time.Now()); err != nil {
		return delivery{}, err
	}
	var a alert.Alert
	if err := json.Unmarshal(body, &a); err != nil {
		return delivery{}, err
	}
	return delivery{text: a.Text(), resolved: a.Resolved, id: a.ID, dedupKey: a.DedupKey}, nil
}
