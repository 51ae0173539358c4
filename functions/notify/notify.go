// Package notify carries alerts from the topic to one channel: Slack, PagerDuty or a signed webhook. Each channel has a
// queue and a function of its own, so that what befalls one concerns no other.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/channel"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Channel delivers an alert with at most one request. It returns a *channel.Refused if the other side answered no.
type Channel interface {
	Send(ctx context.Context, alert cmek.Alert) error
}

// Function sends alerts to its channel. It may be called concurrently.
type Function struct {
	Channel Channel
	// Least is the least severity that the channel is for.
	Least cmek.Severity
	Log   *slog.Logger

	mu sync.Mutex
	// quiet is until when the channel asked for a pause.
	quiet time.Time
}

// Alert sends the alert if it is for this channel. An error asks for another delivery; an alert that was delivered twice
// has the same content and incident both times.
func (f *Function) Alert(ctx context.Context, alert cmek.Alert) error {
	log := f.Log.With("alert", alert.ID, "severity", alert.Severity, "change", alert.Change, "key", alert.Key)
	if !Wanted(alert, f.Least) {
		log.InfoContext(ctx, "alert is below this channel's severity")
		return nil
	}
	if wait := f.pause(); wait > 0 {
		return fmt.Errorf("the channel asked for a pause; %s are left of it", wait.Round(time.Second))
	}
	if err := f.Channel.Send(ctx, alert); err != nil {
		if refused, ok := errors.AsType[*channel.Refused](err); ok {
			f.keepQuiet(refused.RetryAfter)
		}
		return err
	}
	log.InfoContext(ctx, "alert delivered", "resolved", alert.Resolved)
	return nil
}

// pause is how long the channel wants to be left alone. What comes meanwhile goes back to the queue unsent: to go on would
// make the pause longer.
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

// severities, most urgent first.
var severities = []cmek.Severity{cmek.Critical, cmek.High, cmek.Medium, cmek.Low, cmek.Info}

// Wanted reports whether an alert is for a channel of that least severity. The end of an incident always is: its message
// does not tell how severe the beginning was. So is a severity that is not known.
func Wanted(alert cmek.Alert, least cmek.Severity) bool {
	return alert.Resolved || slices.Index(severities, alert.Severity) <= slices.Index(severities, least)
}
