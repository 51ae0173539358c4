package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	lambdaevents "github.com/aws/aws-lambda-go/events"
	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

func (p *program) replayCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "replay FILE|-",
		Short: "Hand one provider event to the function once more; it opens work, nothing is sent",
		Long: `Hand one provider event to the function once more: an EventBridge event, alone, in an SNS notification,
or in an SQS batch as Lambda gets it (a message from the dead-letter queue, say).

The event opens work in the ledger for the clusters that use the key, exactly as it would in the
cloud. replay itself asks nobody and sends nothing: whether a PUT is needed is for the next tick to
find out. Repeating an event is harmless.`,
		Example: `  keyturn replay event.json
  aws sqs receive-message --queue-url "$DLQ" --query 'Messages[0].Body' --output text | keyturn replay -`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return p.replay(c.Context(), args[0])
		},
	}
	p.ledgerFlag(c)
	p.outputFlag(c)
	return c
}

// replayed is what became of one event; a list of them is the output of "keyturn replay -o json".
type replayed struct {
	Event cmek.Event `json:"event"`
	// Clusters are those whose current or past keys include the event's key.
	Clusters int          `json:"clusters"`
	Opened   []openedWork `json:"opened"`
}

type openedWork struct {
	ClusterID string `json:"cluster_id"`
	Cluster   string `json:"cluster"`
	Region    string `json:"region"`
}

func (p *program) replay(ctx context.Context, file string) (err error) {
	payload, err := p.readPayload(file)
	if err != nil {
		return err
	}
	var decoded []cmek.Event
	for _, message := range unwrap(payload) {
		found, err := events.Decode(message)
		if err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		for _, e := range found {
			if slices.Contains(rotation.Subscribes, e.Change) {
				decoded = append(decoded, e)
			}
		}
	}
	w, err := p.wire(ctx, needs{ledger: true}, p.err)
	if err != nil {
		return err
	}
	defer w.closeInto(&err)
	all := []replayed{}
	for _, e := range decoded {
		r, err := w.replay(ctx, e)
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	if p.json {
		return printJSON(p.out, all)
	}
	p.printReplayed(all)
	return nil
}

// mostPayload is more than any queue delivers; SQS allows 1 MiB.
const mostPayload = 8 << 20

func (p *program) readPayload(file string) ([]byte, error) {
	in := p.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read event: %w", err)
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	payload, err := io.ReadAll(io.LimitReader(in, mostPayload+1))
	if err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	if len(payload) > mostPayload {
		return nil, errors.New("read event: more than 8 MiB is no event")
	}
	return payload, nil
}

// unwrap takes events out of an SQS batch and out of SNS notifications, as the function's trigger does. Anything else is
// an event by itself.
func unwrap(payload []byte) [][]byte {
	var batch struct{ Records []lambdaevents.SQSMessage }
	if json.Unmarshal(payload, &batch) != nil || batch.Records == nil {
		return [][]byte{unwrapNotification(payload)}
	}
	var messages [][]byte
	for _, record := range batch.Records {
		messages = append(messages, unwrapNotification([]byte(record.Body)))
	}
	return messages
}

// unwrapNotification takes the message out of an SNS notification.
func unwrapNotification(body []byte) []byte {
	var notification struct{ Type, Message string }
	if json.Unmarshal(body, &notification) == nil && notification.Type == "Notification" {
		return []byte(notification.Message)
	}
	return body
}

// replay handles one event and tells which work is new.
func (w *wiring) replay(ctx context.Context, e cmek.Event) (replayed, error) {
	before, err := w.Ledger.ByKey(ctx, e.Key)
	if err != nil {
		return replayed{}, err
	}
	if err := w.Event(ctx, e); err != nil {
		return replayed{}, err
	}
	after, err := w.Ledger.ByKey(ctx, e.Key)
	if err != nil {
		return replayed{}, err
	}
	r := replayed{Event: e, Clusters: len(after), Opened: []openedWork{}}
	for _, c := range after {
		for _, work := range c.Work {
			if !slices.ContainsFunc(before, func(old *ledger.Cluster) bool { return old.ID == c.ID && has(old, work) }) {
				r.Opened = append(r.Opened, openedWork{c.ID, c.Cluster.Name, work.Region})
			}
		}
	}
	return r, nil
}

func has(c *ledger.Cluster, work ledger.Work) bool {
	return slices.ContainsFunc(c.Work, func(w ledger.Work) bool { return w.Region == work.Region && w.Since.Equal(work.Since) })
}

func (p *program) printReplayed(all []replayed) {
	if len(all) == 0 {
		tell(p.out, "The payload is an event, but none that concerns rotation. Nothing was opened.\n")
	}
	for _, r := range all {
		e := r.Event
		tell(p.out, "%s %s", e.Key, e.Change)
		if !e.Version.IsZero() {
			tell(p.out, " to %s", e.Version.Short())
		}
		tell(p.out, "\n  told by %s, event %s\n", e.Source, printable(e.ID))
		switch {
		case r.Clusters == 0:
			tell(p.out, "  The ledger knows no cluster that uses the key.\n")
		case len(r.Opened) == 0:
			tell(p.out, "  Nothing new: %s known to use the key, and all is done or open already.\n", count(r.Clusters, "cluster"))
		}
		for _, o := range r.Opened {
			tell(p.out, "  Opened work for %s in %s.\n", printable(o.Cluster), o.Region)
		}
	}
}
