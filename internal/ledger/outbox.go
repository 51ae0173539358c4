package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
)

// Outbox holds what must still be told or archived. A message enters it in the same swap as the transition that it
// reports, in its final bytes, and leaves it after it was delivered; so none is lost, and a repeat is identical.
type Outbox struct {
	Messages []Message `json:"outbox,omitempty"`
	// RetryAt is when to try again after a failed delivery; zero for at once.
	RetryAt time.Time `json:"outbox_retry_at,omitzero"`
	// FailingSince is when the first of the deliveries failed that have failed in a row; zero if none has.
	FailingSince time.Time `json:"outbox_failing_since,omitzero"`
}

// atOnce is a due time before all others: a message that was never tried goes first.
var atOnce = time.Unix(1, 0).UTC()

// dueAt is the earlier of the next poll and the next delivery.
func (o Outbox) dueAt(look time.Time) time.Time {
	if len(o.Messages) == 0 {
		return look
	}
	deliver := o.RetryAt
	if deliver.IsZero() {
		deliver = atOnce
	}
	if look.IsZero() || deliver.Before(look) {
		return deliver
	}
	return look
}

// Message is an alert to send or a record to archive.
type Message struct {
	// ID is unique in the outbox. For evidence it is the record's name in the archive.
	ID string `json:"id"`
	// Alert is set for an alert, Evidence for a record.
	Alert    *alert.Alert `json:"alert,omitempty"`
	Evidence []byte       `json:"evidence,omitempty"`
	// Merged is how many messages were merged into the alert for want of room; 0 for a message of its own.
	Merged int `json:"merged,omitempty"`
}

// Tell puts an alert into the outbox.
func (o *Outbox) Tell(a alert.Alert) {
	o.Messages = append(o.Messages, Message{ID: a.ID, Alert: &a})
}

// File puts an evidence record into the outbox, in the bytes given.
func (o *Outbox) File(name string, record []byte) {
	o.Messages = append(o.Messages, Message{ID: name, Evidence: record})
}

// Retry notes a failed delivery, to be tried again at the given time.
func (o *Outbox) Retry(now, at time.Time) {
	o.RetryAt = at
	if o.FailingSince.IsZero() {
		o.FailingSince = now
	}
}

// Clear takes the delivered messages out.
func (o *Outbox) Clear(delivered map[string]bool) {
	var rest []Message
	for _, m := range o.Messages {
		if !delivered[m.ID] {
			rest = append(rest, m)
		}
	}
	o.Messages, o.RetryAt = rest, time.Time{}
	if len(rest) == 0 {
		o.FailingSince = time.Time{}
	}
}

func encode(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode ledger item: %w", err)
	}
	return data, nil
}

// encodeItem encodes an item in the form that [decode] reads.
func encodeItem(item any) ([]byte, error) {
	data, err := encode(item)
	if err != nil {
		return nil, err
	}
	return stamped(data), nil
}

func decode(r Record, v any) error {
	if r.Version == 0 {
		return nil
	}
	read := unmarshal
	if bytes.HasPrefix(r.Data, gzipMagic) {
		read = unpack
	}
	if err := read(r.Data, v); err != nil {
		return fmt.Errorf("%w %s/%s: %w", ErrUndecodable, r.Kind, r.ID, err)
	}
	return nil
}

// unmarshal decodes an item that is not packed.
func unmarshal(data []byte, item any) error {
	if err := checkFormat(data); err != nil {
		return err
	}
	return json.Unmarshal(data, item)
}
