package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const heartbeatPrefix = "heartbeat#"

// Heartbeat is the last change of a place's canary key that reached alerting. The zero value says that none ever did.
type Heartbeat struct {
	// At is when the key was changed, Arrived when alerting got the event.
	At      time.Time `json:"at,omitzero"`
	Arrived time.Time `json:"arrived,omitzero"`
}

// heartbeatID names the place: an account with a Region of AWS, or a project of Google Cloud, whose region is "".
func heartbeatID(account, region string) string { return heartbeatPrefix + account + "/" + region }

// Heartbeat reads the last heartbeat of the place.
func (l *Ledger) Heartbeat(ctx context.Context, account, region string) (h Heartbeat, err error) {
	r, err := l.store.Get(ctx, kindAlerting, heartbeatID(account, region))
	if err != nil {
		return h, fmt.Errorf("read heartbeat of %s in %s: %w", account, region, err)
	}
	return h, decode(r, &h)
}

// NoteHeartbeat notes a heartbeat of the place, unless a later one is noted: events come in any order. One that is noted for a time after the
// arrival of this one is none.
func (l *Ledger) NoteHeartbeat(ctx context.Context, account, region string, h Heartbeat) error {
	for range attempts {
		r, err := l.store.Get(ctx, kindAlerting, heartbeatID(account, region))
		if err != nil {
			return fmt.Errorf("read heartbeat of %s in %s: %w", account, region, err)
		}
		var before Heartbeat
		if err := decode(r, &before); err != nil {
			return err
		}
		if !h.At.After(before.At) && !before.At.After(h.Arrived) {
			return nil
		}
		r.Kind, r.ID = kindAlerting, heartbeatID(account, region)
		if err := fit(&r, h, nil, func() []part { return []part{partOf("its content", h)} }); err != nil {
			return err
		}
		if _, err = l.put(ctx, r); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("note heartbeat of %s in %s: %w", account, region, ErrConflict)
}
