package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/internal/cmek"
)

func (p *program) explainCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain [FILE|-]",
		Short: "Say what provider events mean for a cluster, and how to undo them; nobody is asked",
		Long: `Say what provider events mean for a cluster: what changed, how bad it is if a cluster needs the key and if
none does, who did it and when, what breaks, and the way back.

The input is one EventBridge event or CloudTrail record, an array of them, one a line (NDJSON), a
CloudTrail log file (gzip, too), or what SQS and SNS wrap around them; standard input if no file is named.

Nobody is asked: neither a cloud nor, without --ledger, the ledger, so that the key is taken to be in use,
and the caller to be the one to worry about. With --ledger the clusters are named, and the severity is
that of the clusters that the ledger knows. A new policy is judged by itself.

With -o json each record is one object on a line of its own; change and severity are "none" for those
that concern no key. Records that cannot be understood are told on standard error and exit with 1 at the
end.`,
		Example: `  keyturn explain event.json
  aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventSource,AttributeValue=kms.amazonaws.com | keyturn explain
  keyturn explain trail.json.gz -o json | jq 'select(.severity == "critical")'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			file := "-"
			if len(args) > 0 {
				file = args[0]
			}
			return p.explain(c.Context(), file, c.Flags().Changed("ledger"))
		},
	}
	p.ledgerFlag(c)
	p.outputFlag(c)
	return c
}

// explanation is what one record means; its JSON is a line of "keyturn explain -o json".
type explanation struct {
	// Change is "none" for a record that concerns no key.
	Change cmek.Change `json:"change"`
	// Severity is for a key that clusters need, or for the clusters that the ledger knows; SeverityUnused is for a key that
	// nobody needs.
	Severity       cmek.Severity `json:"severity"`
	SeverityUnused cmek.Severity `json:"severity_unused"`
	// Key and Principal are "" if the record does not tell; so is Time, which is RFC 3339 in UTC.
	Key       cmek.KeyURI `json:"key"`
	Principal string      `json:"principal"`
	Time      string      `json:"time"`
	// Succeeded is false only if the record says that the call failed.
	Succeeded bool   `json:"succeeded"`
	Reason    string `json:"reason"`
	// WayBack has one step an entry; none if there is nothing to undo.
	WayBack []string `json:"way_back"`

	// The rest is for people. Clusters are those that the ledger knows, nil without a ledger.
	summary, consequence, source, role, failure, amends string
	clusters                                            []string
}

// explain explains the records of a file one after the other, so that the size of the file does not matter.
func (p *program) explain(ctx context.Context, file string, withLedger bool) (err error) {
	var j judge
	if withLedger {
		w, err := p.wire(ctx, needs{ledger: true}, p.err)
		if err != nil {
			return err
		}
		defer w.closeInto(&err)
		j = judge{ledger: w.Ledger, organizationID: w.settings.OrganizationID}
	}
	in, done, err := p.openRecords(file)
	if err != nil {
		return err
	}
	defer done()
	show := p.newExplainer()
	records, bad := 0, 0
	for record, err := range events.DecodeStream(in) {
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted after %s", count(records, "record"))
		}
		records++
		if err != nil {
			bad++
			tell(p.err, "keyturn: %s: %s\n", place(record), printable(oneLine(err)))
			continue
		}
		x, err := j.explain(ctx, record)
		if err != nil {
			return err
		}
		if err := show.one(x); err != nil {
			return err
		}
	}
	show.end(bad)
	switch {
	case records == 0:
		tell(p.err, "There is no record in the input.\n")
	case bad > 0:
		return fmt.Errorf("%d of %s could not be understood", bad, count(records, "record"))
	}
	return nil
}

// openRecords opens a file, "-" for standard input, and unpacks it if it is packed as CloudTrail packs its log files.
func (p *program) openRecords(file string) (in io.Reader, done func(), err error) {
	in, done = p.in, func() {}
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, nil, fmt.Errorf("read records: %w", err)
		}
		in, done = f, func() { _ = f.Close() } // it is only read
		if info, err := f.Stat(); err == nil && info.IsDir() {
			done()
			return nil, nil, fmt.Errorf("read %s: is a directory", printable(file))
		}
	}
	buffered := bufio.NewReader(in)
	if head, _ := buffered.Peek(2); string(head) != "\x1f\x8b" { // RFC 1952
		return buffered, done, nil
	}
	unpacked, err := gzip.NewReader(buffered)
	if err != nil {
		done()
		return nil, nil, fmt.Errorf("read records: %w", err)
	}
	return unpacked, done, nil
}

// place says where a record is, for people who look for it.
func place(r events.Record) string {
	if r.Pointer == "" {
		return fmt.Sprintf("record at byte %d", r.Offset)
	}
	return fmt.Sprintf("record %s at byte %d", printable(r.Pointer), r.Offset)
}

// explainer shows explanations one by one; end is called once, with the number of records that had none.
type explainer interface {
	one(x explanation) error
	end(bad int)
}

func (p *program) newExplainer() explainer {
	if p.json {
		encoder := json.NewEncoder(p.out)
		encoder.SetEscapeHTML(false)
		return explainerJSON{encoder}
	}
	return &explainerText{out: p.out, c: palette(p.color())}
}

type explainerJSON struct{ *json.Encoder }

func (e explainerJSON) one(x explanation) error {
	if err := e.Encode(x); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

func (explainerJSON) end(int) {}
