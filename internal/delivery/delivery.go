// Package delivery hands messages to a function, whatever platform delivered them: it reads events and alerts out of them, calls the
// function with those that it wants, and logs what became of each message that failed. What a platform's requests look like, and how
// they are answered, is up to the packages that import it.
package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// What the log says about a message that will never be handled as it is, and about code that failed on one. Metrics are made of both.
const (
	LogUnreadable = "message cannot be understood"
	LogPanicked   = "handling message panicked"
)

// Handler is a function as it is plugged into its platform. All messages arrive at least once and in any order. No payload is ever
// logged.
type Handler struct {
	// Event handles one event; an error asks for its redelivery. nil: the function takes no events.
	Event func(ctx context.Context, e cmek.Event) error
	// Parallel is how many messages Event handles at a time.
	Parallel int
	// Subscribes lists the changes that Event is called for; other events are acknowledged as they come. Empty: all.
	Subscribes []cmek.Change
	// Alerts handles alerts that arrived together, each of which Parse reads from the text of a message. It returns an error for each, nil
	// for those that are done with; an error asks for that alert's redelivery. After a panic, each of the alerts is handed over again
	// by itself. nil: the function takes no alerts. A function takes events or alerts, not both.
	Alerts func(ctx context.Context, alerts []alert.Alert) []error
	Parse  func(message string) (alert.Alert, error)
	// Tick does the function's periodic work; nil: the function takes no ticks.
	Tick func(ctx context.Context) error
	// Log receives one line for each message that failed. nil: slog.Default.
	Log *slog.Logger
}

// Logger is the log.
func (h Handler) Logger() *slog.Logger { return cmp.Or(h.Log, slog.Default()) }

// Events calls Event with the events in the message that the function wants, and reports whether the message is done with. Otherwise it
// logs why.
func (h Handler) Events(ctx context.Context, log *slog.Logger, message []byte) bool {
	return InTime(ctx, log) && protected(ctx, log, func() bool {
		decoded, err := events.Decode(message)
		if err != nil {
			log.ErrorContext(ctx, LogUnreadable, "error", err)
			return false
		}
		if len(decoded) == 0 {
			log.InfoContext(ctx, "message ignored: it holds no change that keyturn handles")
		}
		done := true
		for _, e := range h.Subscribed(decoded) {
			if err := h.Event(ctx, e); err != nil {
				log.ErrorContext(ctx, "event not handled", "event", e.ID, "change", e.Change, "key", e.Key,
					"region", e.Region, "principal", e.Principal, "error", err)
				done = false
			}
		}
		return done
	})
}

// Subscribed returns the events that the function wants.
func (h Handler) Subscribed(decoded []cmek.Event) []cmek.Event {
	if len(h.Subscribes) == 0 {
		return decoded
	}
	return slices.DeleteFunc(decoded, func(e cmek.Event) bool { return !slices.Contains(h.Subscribes, e.Change) })
}

// Received is an alert with the log of its message.
type Received struct {
	alert.Alert
	Log *slog.Logger
}

// Read reads the alert in a message. If there is none, it logs why, and ok is false.
func (h Handler) Read(ctx context.Context, log *slog.Logger, message string) (r Received, ok bool) {
	r.Log = log
	ok = InTime(ctx, log) && protected(ctx, log, func() bool {
		var err error
		r.Alert, err = h.Parse(message)
		if err == nil && (r.ID == "" || r.Summary == "") {
			err = errors.New("it holds no alert with an id and a summary")
		}
		if err != nil {
			log.ErrorContext(ctx, LogUnreadable, "error", Clip(err.Error()))
		}
		return err == nil
	})
	return r, ok
}

// Deliver hands all alerts over at once, and reports which are done with. For each other one it logs why.
func (h Handler) Deliver(ctx context.Context, all []Received) []bool {
	if len(all) == 0 {
		return nil
	}
	done, panicked := h.alerts(ctx, all)
	if panicked && len(all) > 1 {
		// One of them is to blame. Some of the others may have been sent and are sent again: better twice than never.
		for i := range all {
			handled, _ := h.alerts(ctx, all[i:i+1])
			done[i] = handled[0]
		}
	}
	return done
}

// alerts reports which of the alerts were handled. A panic of several is not logged: it is to be found out whose it was.
func (h Handler) alerts(ctx context.Context, all []Received) (handled []bool, panicked bool) {
	handled = make([]bool, len(all))
	alerts := make([]alert.Alert, len(all))
	for i, r := range all {
		alerts[i] = r.Alert
	}
	defer func() {
		if p := recover(); p != nil {
			panicked = true
			if len(all) == 1 {
				logPanic(ctx, all[0].Log, p)
			}
		}
	}()
	errs := h.Alerts(ctx, alerts)
	for i, a := range all {
		err := errors.New("it was left out")
		if i < len(errs) {
			err = errs[i]
		}
		if handled[i] = err == nil; !handled[i] {
			a.Log.ErrorContext(ctx, "alert not handled", "alert", Clip(a.ID), "severity", Clip(string(a.Severity)),
				"change", Clip(string(a.Change)), "key", Clip(string(a.Key)), "error", err)
		}
	}
	return handled, false
}

// RunTick does the function's periodic work, and reports whether that succeeded. Otherwise it logs why.
func (h Handler) RunTick(ctx context.Context, log *slog.Logger) bool {
	return protected(ctx, log, func() bool {
		err := h.Tick(ctx)
		if err != nil {
			log.ErrorContext(ctx, "tick failed", "error", err)
		}
		return err == nil
	})
}

// InTime reports whether there is time left for another message. Otherwise it logs that the message is left.
func InTime(ctx context.Context, log *slog.Logger) bool {
	err := ctx.Err()
	if err != nil {
		log.ErrorContext(ctx, "message not handled in time; it is delivered again", "error", err)
	}
	return err == nil
}

// protected is what f returns, and false if it panics.
func protected(ctx context.Context, log *slog.Logger, f func() bool) (done bool) {
	defer func() {
		if p := recover(); p != nil {
			logPanic(ctx, log, p)
			done = false
		}
	}()
	return f()
}

func logPanic(ctx context.Context, log *slog.Logger, p any) {
	log.ErrorContext(ctx, LogPanicked, "error", Clip(fmt.Sprint(p)), "stack", string(debug.Stack()))
}

// WithTimeToAnswer ends ctx a little before the platform gives up on the request, so that what was not handled is answered as failed
// and what was handled is not delivered again.
func WithTimeToAnswer(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	reserve := min(time.Second, time.Until(deadline)/10)
	return context.WithDeadline(ctx, deadline.Add(-reserve))
}

// Clip keeps hostile input out of errors and logs beyond a readable length.
func Clip(s string) string {
	const most = 200
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
