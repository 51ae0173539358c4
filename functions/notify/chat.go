package notify

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/channel"
)

// Chat is a channel where people read. Several alerts at once are one message there.
type Chat interface {
	Channel
	// SendAll posts one message about several alerts, SendCount one that says only how many there are and how to list them. A repeat
	// of an alert counts once.
	SendAll(ctx context.Context, alerts []alert.Alert) error
	SendCount(ctx context.Context, alerts []alert.Alert) error
}

const (
	// few alerts are no storm: their message needs no pause after it, and if the channel refuses it they can be sent one by one.
	few = 4
	// Pace is the pause after a message if those about several alerts were about more than a few within a minute. What arrives meanwhile is
	// the next message. A storm may come in small groups.
	Pace   = 20 * time.Second
	lately = time.Minute
)

// group is a message about several alerts.
type group struct {
	at     time.Time
	alerts int
}

// grouped notes a message about several alerts, and returns how many those of the last minute were about.
func (f *Function) grouped(alerts int) (sum int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now().Round(0)
	f.groups = slices.DeleteFunc(append(f.groups, group{now, alerts}), func(g group) bool { return now.Sub(g.at) > lately })
	for _, g := range f.groups {
		sum += g.alerts
	}
	return sum
}

// post sends one message about all. If the channel refuses it for what is in it, they are sent one by one if they are few; otherwise a
// message says that they exist and where to read them.
func (f *Function) post(ctx context.Context, chat Chat, deliveries []*delivery) {
	alerts := alertsOf(deliveries)
	err := f.send(ctx, func(ctx context.Context) error { return chat.SendAll(ctx, alerts) })
	if refused, ok := errors.AsType[*channel.Refused](err); ok && refused.OfContent() {
		f.Log.WarnContext(ctx, "the channel refused the message about several alerts; a shorter one is sent", "alerts", len(alerts), "error", err)
		if len(alerts) <= few {
			f.each(ctx, deliveries)
			return
		}
		err = f.send(ctx, func(ctx context.Context) error { return chat.SendCount(ctx, alerts) })
	}
	if err == nil && f.grouped(len(alerts)) > few {
		f.keepQuiet(Pace)
	}
	for _, d := range deliveries {
		d.err = err
	}
}
