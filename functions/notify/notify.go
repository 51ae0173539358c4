// Package notify carries alerts from the topic to one channel: Slack, PagerDuty or a signed webhook. Each channel has a
// queue and a function of its own, so that a failure of one does not affect another.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/channel"
)

// Channel delivers an alert with at most one request. It returns a *channel.Refused if the other side answered no.
type Channel interface {
	Send(ctx context.Context, alert alert.Alert) error
}

// Function sends alerts to its channel. It may be called concurrently.
type Function struct {
	Channel Channel
	// Least is the least severity that the channel is for.
	Least alert.Severity
	Log   *slog.Logger

	mu sync.Mutex
	// quiet is until when the channel asked for a pause.
	quiet time.Time
}

// Alert sends the alert if it is for this channel. An error asks for another delivery; an alert that was delivered twice
// has the same content and incident both times.
func (f *Function) Alert(ctx context.Context, a alert.Alert) error {
	log := f.Log.With("alert", a.ID, "severity", a.Severity, "change", a.Change, "key", a.Key)
	if !Wanted(a, f.Least) {
		log.InfoContext(ctx, "alert is below this channel's severity")
		return nil
	}
	if wait := f.pause(); wait > 0 {
		return fmt.Errorf("the channel asked for a pause; %s are left of it", wait.Round(time.Second))
	}
	if err := f.Channel.Send(ctx, a); err != nil {
		if refused, ok := errors.AsType[*channel.Refused](err); ok {
			f.keepQuiet(refused.RetryAfter)
		}
		return err
	}
	log.InfoContext(ctx, "alert delivered", "resolved", a.Resolved)
	return nil
}

// pause is how long the channel asked for no more requests. Alerts that arrive meanwhile go back to the queue unsent: another request
// would make the pause longer.
func (f *Function) pause() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Until(f.quiet)
}

func (f *Function) keepQuiet(wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if until := time.Now().Add(wait); until.After(f.quiet) {
		f.quiet = until
	}
}

// Wanted reports whether an alert is for a channel of that least severity. The end of an incident always is: its message
// does not say how severe the beginning was. So is a severity that is not known.
func Wanted(a alert.Alert, least alert.Severity) bool {
	return a.Resolved || !a.Severity.Known() || a.Severity.AtLeast(least)
}
