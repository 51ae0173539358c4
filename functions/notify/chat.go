package notify

import (
	"context"
	"errors"
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
	// Pace is the pause after a message about more alerts than a few. What arrives meanwhile is the next message.
	Pace = 20 * time.Second
)

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
	if len(alerts) > few && err == nil {
		f.keepQuiet(Pace)
	}
	for _, d := range deliveries {
		d.err = err
	}
}
