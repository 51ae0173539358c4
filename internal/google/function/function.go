// Package function is the runtime layer of the functions on Google Cloud: it turns the requests that Pub/Sub and Cloud Scheduler send to a
// function into events, alerts and ticks, and what became of them into the answers that these need.
package function

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/GoogleCloudPlatform/functions-framework-go/functions"

	"github.com/keyturn/keyturn/internal/delivery"
)

// Handler serves an HTTP function that gets
//
//   - messages of a Pub/Sub push subscription, wrapped: each a log entry, a change of an asset, or an alert
//     (cloud.google.com/pubsub/docs/push, "How push endpoints receive messages");
//   - ticks of Cloud Scheduler: POST of {"keyturn":"tick"} with its headers X-CloudScheduler and X-CloudScheduler-ScheduleTime
//     (cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs, HttpTarget).
//
// It decodes a push itself: a CloudEvent function of the framework loses the number of the delivery, and formats errors as if they were
// formats. Who may call it is up to IAM; headers prove nothing.
//
// The answer is 204 if the message or the tick is done with. 500 asks for another delivery; a message that nobody can read gets it too, and
// so ends in the dead-letter topic. 4xx is for what is neither a push nor a tick, and for more alerts than are held at a time.
type Handler struct {
	delivery.Handler
	Settings Settings
	// Gather is how long an alert waits for others, so that Alerts gets them together: Pub/Sub pushes one by one. 0: each is handed
	// over by itself, at once.
	Gather time.Duration
}

// Register registers a function with the framework under the name of its target, and builds it; see [delivery.Start]. A process serves one
// function, and in those of the others nothing happens: neither their configuration nor their clients are there.
func Register(target, function string, wire func(environ []string) (Handler, error)) {
	if os.Getenv("FUNCTION_TARGET") == target {
		functions.HTTP(target, New(delivery.Start(function, wire)).ServeHTTP)
	}
}

// New returns the function as it is called over HTTP, by many requests at once.
func New(h Handler) http.Handler {
	s := &server{Handler: h, places: make(chan struct{}, max(1, h.Parallel))}
	s.gatherer.deliver, s.gatherer.window = h.Deliver, h.Gather
	return s
}

type server struct {
	Handler
	places   chan struct{}
	gatherer gatherer
	ticking  sync.Mutex
}

// mostBody bounds a request's body. A log entry has at most 256 KiB (cloud.google.com/logging/quotas), an alert less
// ([alert.MostMessage]), and base64 adds a third.
const mostBody = 1 << 20

// reply is the answer to a request: a status, and a line that says why unless all is well.
type reply struct {
	status int
	why    string
}

var done = reply{status: http.StatusNoContent}

// ServeHTTP implements [http.Handler].
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := s.within(r.Context())
	defer cancel()
	if deadline, ok := ctx.Deadline(); ok {
		_ = http.NewResponseController(w).SetReadDeadline(deadline) // a test's recorder has none
	}
	a := s.serve(ctx, w, r)
	if a.status >= http.StatusBadRequest && a.status < http.StatusInternalServerError {
		s.Logger().WarnContext(ctx, "request refused", "status", a.status, "error", a.why)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(a.status)
	if a.why != "" {
		_, _ = io.WriteString(w, a.why+"\n")
	}
}

// within bounds the work on a request, with time left to answer. Cloud Run ends no work by itself, and what was begun is not given up
// because whoever asked for it has gone: it would have to be begun again.
func (s *server) within(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline := time.Now().Add(s.Settings.Timeout)
	if earlier, ok := ctx.Deadline(); ok && earlier.Before(deadline) {
		deadline = earlier
	}
	whole, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	ctx, cancelAnswer := delivery.WithTimeToAnswer(whole)
	return ctx, func() { cancelAnswer(); cancel() }
}

// request is what tells a push and a tick apart.
type request struct {
	Keyturn string `json:"keyturn"`
	Message *struct {
		Data      string `json:"data"`
		MessageID string `json:"messageId"`
	} `json:"message"`
	Subscription    string `json:"subscription"`
	DeliveryAttempt int    `json:"deliveryAttempt"`
}

func (s *server) serve(ctx context.Context, w http.ResponseWriter, r *http.Request) reply {
	if r.Method != http.MethodPost {
		return reply{http.StatusMethodNotAllowed, "want POST, of a Pub/Sub push or a tick of Cloud Scheduler"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return reply{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes, which is more than a log entry or an alert can have", mostBody)}
	}
	if err != nil {
		return reply{http.StatusBadRequest, "read body: " + delivery.Clip(err.Error())}
	}
	var q request
	if err := json.Unmarshal(body, &q); err != nil {
		return reply{http.StatusBadRequest, "read body: " + delivery.Clip(err.Error())}
	}
	switch {
	case q.Keyturn == "tick" && q.Message == nil:
		return s.tick(ctx, r.Header)
	case q.Keyturn == "" && q.Message != nil && q.Subscription != "":
		return s.push(ctx, q, body)
	}
	return reply{http.StatusBadRequest, `want a Pub/Sub push ({"message":{"data":…},"subscription":…}) or a tick of Cloud Scheduler ({"keyturn":"tick"})`}
}

func (s *server) tick(ctx context.Context, h http.Header) (answer reply) {
	if s.Tick == nil {
		return reply{http.StatusBadRequest, "this function takes no ticks"}
	}
	if h.Get("X-CloudScheduler") != "true" {
		return reply{http.StatusBadRequest, "the tick has no header X-CloudScheduler: true"}
	}
	scheduled := h.Get("X-CloudScheduler-ScheduleTime")
	if _, err := time.Parse(time.RFC3339, scheduled); err != nil {
		return reply{http.StatusBadRequest, fmt.Sprintf("the header X-CloudScheduler-ScheduleTime is %q; want an RFC 3339 time", delivery.Clip(scheduled))}
	}
	log := s.Logger().With("scheduled", scheduled)
	// The ledger's lease tells processes apart, but not the ticks of one.
	if !s.ticking.TryLock() {
		log.InfoContext(ctx, "tick skipped: the previous one is still running")
		return done
	}
	defer s.ticking.Unlock()
	if !s.RunTick(ctx, log) {
		return reply{http.StatusInternalServerError, "the tick failed; the log says why"}
	}
	return done
}

func (s *server) push(ctx context.Context, q request, body []byte) reply {
	log := s.Logger().With("message_id", delivery.Clip(q.Message.MessageID), "delivery_attempt", q.DeliveryAttempt)
	failed := reply{http.StatusInternalServerError, "the message was not handled; the log says why"}
	switch {
	case q.Message.Data == "":
		log.ErrorContext(ctx, delivery.LogUnreadable, "error", "the message has no data")
		return failed
	case s.Alerts != nil:
		return s.alert(ctx, log, q.Message.Data, failed)
	case s.Event == nil:
		return reply{http.StatusBadRequest, "this function takes no messages"}
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	case <-ctx.Done(): // which Events logs
	}
	if !s.Events(ctx, log, body) {
		return failed
	}
	return done
}

func (s *server) alert(ctx context.Context, log *slog.Logger, data string, failed reply) reply {
	text, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		log.ErrorContext(ctx, delivery.LogUnreadable, "error", "message.data: not base64")
		return failed
	}
	received, ok := s.Read(ctx, log, string(text))
	if !ok {
		return failed
	}
	handled, full := s.gatherer.add(ctx, received)
	switch {
	case full:
		// Pub/Sub pushes less after that, and this message again later.
		return reply{http.StatusTooManyRequests, fmt.Sprintf("%d alerts are being sent; this one must come again", mostHeld)}
	case !handled:
		return failed
	}
	return done
}
