// Package notify carries alerts from the topic to one channel: Slack, PagerDuty or a signed webhook. Each channel has a
// queue and a function of its own, so that a failure of one does not affect another.
package notify

import (
	"cmp"
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
	Send(ctx context.Context, a alert.Alert) error
}

// Function sends alerts to its channel. It may be called concurrently.
type Function struct {
	// Channel gets every alert by itself, unless it is a [Chat] or a [Pager].
	Channel Channel
	// Least is the least severity that the channel is for.
	Least alert.Severity
	// Pages is where it is kept what a [Pager] was sent. nil: every incident is opened there by itself.
	Pages Pages
	Log   *slog.Logger

	mu sync.Mutex
	// quiet is until when nothing should be sent.
	quiet time.Time
	// groups are the latest messages about several alerts.
	groups []group
}

// delivery is an alert for this channel, and what became of it.
type delivery struct {
	alert.Alert
	err error
}

// Alerts sends the alerts that are for this channel. It returns an error for each, nil for those that are done with; an error asks
// for another delivery of that alert. An alert that was delivered twice has the same content and incident both times.
func (f *Function) Alerts(ctx context.Context, alerts []alert.Alert) []error {
	all := make([]*delivery, len(alerts))
	var wanted []*delivery
	for i, a := range alerts {
		all[i] = &delivery{Alert: a}
		if Wanted(a, f.Least) {
			wanted = append(wanted, all[i])
		} else {
			f.logOf(a).InfoContext(ctx, "alert is below this channel's severity")
		}
	}
	pager, isPager := f.Channel.(Pager)
	chat, isChat := f.Channel.(Chat)
	switch {
	case isPager && len(wanted) > 0:
		f.page(ctx, pager, wanted)
	case isChat && len(wanted) > 1:
		f.post(ctx, chat, wanted)
	default:
		f.each(ctx, wanted)
	}
	errs := make([]error, len(all))
	for i, d := range all {
		errs[i] = d.err
	}
	for _, d := range wanted {
		if d.err == nil {
			f.logOf(d.Alert).InfoContext(ctx, "alert delivered", "resolved", d.Resolved)
		}
	}
	return errs
}

func (f *Function) logOf(a alert.Alert) *slog.Logger {
	return f.Log.With("alert", a.ID, "severity", a.Severity, "change", a.Change, "key", a.Key)
}

// atOnce is how many requests one invocation makes at a time, so that a slow channel does not use up its time.
const atOnce = 10

// each sends every alert by itself, those of one incident in their order.
func (f *Function) each(ctx context.Context, deliveries []*delivery) {
	incidents := map[string][]*delivery{}
	var order []string
	for _, d := range deliveries {
		key := incidentOf(d.Alert)
		if incidents[key] == nil {
			order = append(order, key)
		}
		incidents[key] = append(incidents[key], d)
	}
	var g sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, key := range order {
		slots <- struct{}{}
		g.Go(func() {
			defer func() { <-slots }()
			for _, d := range incidents[key] {
				d.err = f.one(ctx, d.Alert)
			}
		})
	}
	g.Wait()
}

// one sends one alert. A panic is an error: it would end the process, and so hide the other alerts.
func (f *Function) one(ctx context.Context, a alert.Alert) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("sending panicked: %v", p)
		}
	}()
	return f.send(ctx, func(ctx context.Context) error { return f.Channel.Send(ctx, a) })
}

// incidentOf names the alert's incident.
func incidentOf(a alert.Alert) string { return cmp.Or(a.DedupKey, a.ID) }

// mostPauses bounds how often one request is made again because the channel asked for it.
const mostPauses = 20

// send makes the request, after the pause that the channel asked for, if any, and again after each one that it asks for now. Within
// a pause nothing is sent, since another request would make it longer. If it is longer than the invocation lasts, that is an error: the
// queue's visibility timeout is longer than any pause ([channel.Refused]), so the next delivery finds it over.
func (f *Function) send(ctx context.Context, request func(context.Context) error) error {
	var err error
	for range mostPauses {
		if waited := f.waitOut(ctx); waited != nil {
			return errors.Join(waited, err)
		}
		err = request(ctx)
		refused, ok := errors.AsType[*channel.Refused](err)
		if !ok || refused.RetryAfter <= 0 {
			return err
		}
		f.keepQuiet(refused.RetryAfter)
	}
	return err
}

// waitOut returns when the pause is over, or at once with an error if it will not be before ctx ends.
func (f *Function) waitOut(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		f.mu.Lock()
		wait := time.Until(f.quiet)
		f.mu.Unlock()
		if wait <= 0 {
			return nil
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
			return fmt.Errorf("the channel asked for a pause; %s are left of it, more than this invocation has", wait.Round(time.Second))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// keepQuiet lets nothing be sent for so long. The monotonic clock stands still while Lambda freezes the function, so it is not used.
func (f *Function) keepQuiet(wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if until := time.Now().Round(0).Add(wait); until.After(f.quiet) {
		f.quiet = until
	}
}

// Wanted reports whether an alert is for a channel of that least severity. The end of an incident always is: its message
// does not say how severe the beginning was. So is a severity that is not known.
func Wanted(a alert.Alert, least alert.Severity) bool {
	return a.Resolved || !a.Severity.Known() || a.Severity.AtLeast(least)
}
