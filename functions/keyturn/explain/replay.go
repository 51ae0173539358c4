package explain

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// ReplayCommand is "keyturn replay".
func (p Commands) ReplayCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "replay FILE|-",
		Short: "Hand one provider event to the function once more; it opens work, nothing is sent",
		Long: `Hand one provider event to the function once more: an EventBridge event, alone, in an SNS notification,
or in an SQS batch as Lambda gets it (a message from the dead-letter queue, say), or in anything else that
"keyturn explain" reads.

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
	p.LedgerFlag(c)
	p.OutputFlag(c)
	return c
}

// Replayed is what became of one event; a list of them is the output of "keyturn replay -o json".
type Replayed struct {
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

func (p Commands) replay(ctx context.Context, file string) (err error) {
	decoded, broken, err := p.readEvents(file)
	if err != nil {
		return err
	}
	w, err := p.Open(ctx, installation.Needs{Ledger: true}, p.Err)
	if err != nil {
		return err
	}
	defer w.CloseInto(&err)
	all := []Replayed{}
	for _, e := range decoded {
		r, err := replayOne(ctx, w.Function, e)
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	if p.JSON {
		return errors.Join(broken, p.PrintJSON(all))
	}
	p.printReplayed(all)
	return broken
}

// readEvents reads the events that rotation acts on. Beside them comes an error about those that cannot be understood; if there
// are only such, it is the last result.
func (p Commands) readEvents(file string) (decoded []cmek.Event, broken, err error) {
	in, done, err := p.openRecords(file)
	if err != nil {
		return nil, nil, fmt.Errorf("read event: %w", err)
	}
	defer done()
	records, bad := 0, 0
	for record, err := range events.DecodeStream(in) {
		records++
		switch {
		case err != nil && bad == 0:
			bad, broken = 1, fmt.Errorf("read event: %s: %w", place(record), err)
		case err != nil:
			bad++
		case record.Event != nil && slices.Contains(rotation.Subscribes, record.Event.Change):
			decoded = append(decoded, *record.Event)
		}
	}
	switch {
	case records == 0:
		return nil, nil, errors.New("read event: there is none in the input")
	case bad > 1:
		broken = fmt.Errorf("%w, and %d more", broken, bad-1)
	}
	if bad == records {
		return nil, nil, broken
	}
	return decoded, broken, nil
}

// replayOne handles one event and tells which work is new.
func replayOne(ctx context.Context, f *rotation.Function, e cmek.Event) (Replayed, error) {
	before, err := f.Ledger.ByKey(ctx, e.Key)
	if err != nil {
		return Replayed{}, err
	}
	if err := f.Event(ctx, e); err != nil {
		return Replayed{}, err
	}
	after, err := f.Ledger.ByKey(ctx, e.Key)
	if err != nil {
		return Replayed{}, err
	}
	r := Replayed{Event: e, Clusters: len(after), Opened: []openedWork{}}
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

func (p Commands) printReplayed(all []Replayed) {
	if len(all) == 0 {
		terminal.Tell(p.Out, "The payload is an event, but none that concerns rotation. Nothing was opened.\n")
	}
	for _, r := range all {
		e := r.Event
		terminal.Tell(p.Out, "%s %s", e.Key, e.Change)
		if !e.Version.IsZero() {
			terminal.Tell(p.Out, " to %s", e.Version.Short())
		}
		terminal.Tell(p.Out, "\n  told by %s, event %s\n", e.Source, terminal.Printable(e.ID))
		switch {
		case r.Clusters == 0:
			terminal.Tell(p.Out, "  The ledger knows no cluster that uses the key.\n")
		case len(r.Opened) == 0:
			terminal.Tell(p.Out, "  Nothing new: %s known to use the key, and all is done or open already.\n", terminal.Count(r.Clusters, "cluster"))
		}
		for _, o := range r.Opened {
			terminal.Tell(p.Out, "  Opened work for %s in %s.\n", terminal.Printable(o.Cluster), o.Region)
		}
	}
}
