package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

func (p *program) explainCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain [FILE|-]...",
		Short: "Say what provider events mean for a cluster, and how to recover; no cloud is asked",
		Long: `Say what provider events mean for a cluster: what changed, the severity if a cluster needs the key and if
none does, who did it and when, the impact, and the recovery steps.

The input is EventBridge events, CloudTrail records and log entries of Google Cloud in any form that people keep
them in: alone, in an array, or one a line (NDJSON), CloudTrail log files (gzip, too), and what these print or
deliver:
  aws cloudtrail lookup-events (with any --query, or through jq), get-query-results (CloudTrail Lake)
  aws athena get-query-results, rows of Athena as JSON
  aws logs filter-log-events, get-log-events, tail; decoded CloudWatch Logs subscriptions
  SQS and SNS messages, Lambda batches, destinations of failed Lambda invocations
  gcloud logging read --format=json, gcloud pubsub subscriptions pull --format=json, Pub/Sub pushes, Cloud Asset
  Inventory feeds
Standard input is read if no file is named.

No cloud is asked. Without a ledger (--ledger or KEYTURN_LEDGER), the key is assumed to be in use, and the
caller to be a stranger. With a ledger, the clusters are named, and the severity is that of the clusters
that the ledger knows. A new policy is compared with the one that the ledger has noted before it;
without a ledger it is judged by itself.

With -o json each record is one object on a line of its own; change and severity are "none" for those
that concern no key. What cannot be understood is reported on standard error with its line, hides no
record after it, and makes the exit code 1.`,
		Example: `  keyturn explain event.json
  aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventSource,AttributeValue=kms.amazonaws.com | keyturn explain
  gcloud logging read 'protoPayload.serviceName="cloudkms.googleapis.com"' --format=json | keyturn explain
  keyturn explain trail/*.json.gz -o json | jq 'select(.severity == "critical")'`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"-"}
			}
			return p.explain(c.Context(), args)
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
	Severity       alert.Severity `json:"severity"`
	SeverityUnused alert.Severity `json:"severity_unused"`
	// Key and Principal are "" if the record does not tell; so is Time, which is RFC 3339 in UTC.
	Key       cmek.KeyURI `json:"key"`
	Principal string      `json:"principal"`
	Time      string      `json:"time"`
	// Succeeded is false only if the record says that the call failed.
	Succeeded bool   `json:"succeeded"`
	Reason    string `json:"reason"`
	// RecoverySteps has one step an entry; none if there is nothing to undo.
	RecoverySteps []string `json:"recovery_steps"`

	// The rest is for people. Clusters are those that the ledger knows, nil without a ledger.
	summary, impact, source, version, role, failure, amends string
	clusters                                                []string
}

// explain explains the records of files one after the other, so that the size of the files does not matter.
func (p *program) explain(ctx context.Context, files []string) (err error) {
	var j judge
	if p.lookup("KEYTURN_LEDGER") != "" || p.namesDeployment() {
		w, err := p.wire(ctx, needs{ledger: true}, p.err)
		if err != nil {
			return err
		}
		defer w.closeInto(&err)
		j = judge{ledger: w.Ledger, organizationID: w.settings.OrganizationID}
	}
	show := p.newExplainer()
	records, bad := 0, 0
	var unread []error
	for _, file := range files {
		in, done, err := p.openRecords(file)
		if err != nil {
			unread = append(unread, err)
			continue
		}
		where := ""
		if len(files) > 1 {
			where = printable(file) + ": "
		}
		for record, err := range events.DecodeStream(in) {
			switch {
			case ctx.Err() != nil:
				err = fmt.Errorf("interrupted after %s", count(records, "record"))
			case err != nil:
				records++
				bad++
				tell(p.err, "keyturn: %s%s: %s\n", where, place(record), printable(oneLine(err)))
				continue
			default:
				records++
				var x explanation
				if x, err = j.explain(ctx, record); err == nil {
					err = show.one(x)
				}
			}
			if err != nil {
				done()
				return err
			}
		}
		done()
	}
	show.end(bad)
	if bad > 0 {
		unread = append(unread, fmt.Errorf("%d of %s could not be understood", bad, count(records, "record")))
	}
	if records == 0 && len(unread) == 0 {
		tell(p.err, "There is no record in the input.\n")
	}
	return errors.Join(unread...)
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
		return fmt.Sprintf("line %d", r.Line)
	}
	const longest = 200
	pointer := r.Pointer
	if len(pointer) > longest {
		pointer = pointer[:longest] + "…"
	}
	return fmt.Sprintf("line %d, record %s", r.Line, printable(pointer))
}

// explainer shows explanations one by one; end is called once, with the number of records that had none.
type explainer interface {
	one(x explanation) error
	end(bad int)
}

func (p *program) newExplainer() explainer {
	if p.json {
		return explainerJSON{p.out}
	}
	return &explainerText{out: p.out, c: palette(p.color())}
}

type explainerJSON struct{ out io.Writer }

func (e explainerJSON) one(x explanation) error { return writeJSON(e.out, x, "") }

func (explainerJSON) end(int) {}
