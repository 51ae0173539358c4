// Package explain has the commands that read what people paste: explain says what provider events mean, and replay hands one to
// rotation once more.
package explain

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
	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Commands makes the commands of this package. Their flags set what is embedded.
type Commands struct{ *installation.Program }

// ExplainCommand is "keyturn explain".
func (p Commands) ExplainCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain [FILE|-]...",
		Short: "Say what provider events mean for a cluster, and how to recover; no cloud is asked",
		Long: `Show what provider events mean for a cluster: what changed, the severity if a cluster needs the key and if
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

No cloud is called. Without a ledger (--ledger or KEYTURN_LEDGER), the key is assumed to be in use, and the
caller not to be a cluster. With a ledger, the clusters are named, and the severity is that of the clusters
that the ledger knows. A new policy is compared with the one that the ledger has noted before it;
without a ledger it is judged by itself. On Google Cloud the other policies, roles and service accounts
that decide are taken as a sweep noted them within 6 hours, and the age is said.

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
	p.LedgerFlag(c)
	p.OutputFlag(c)
	return c
}

// Explanation is what one record means; its JSON is a line of "keyturn explain -o json".
type Explanation struct {
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
func (p Commands) explain(ctx context.Context, files []string) (err error) {
	var j judge
	if p.Lookup("KEYTURN_LEDGER") != "" || p.NamesDeployment() {
		w, err := p.Open(ctx, installation.Needs{Ledger: true}, p.Err)
		if err != nil {
			return err
		}
		defer w.CloseInto(&err)
		j = judge{ledger: w.Ledger, organizationID: w.Settings.OrganizationID}
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
			where = terminal.Printable(file) + ": "
		}
		for record, err := range events.DecodeStream(in) {
			switch {
			case ctx.Err() != nil:
				err = fmt.Errorf("interrupted after %s", terminal.Count(records, "record"))
			case err != nil:
				records++
				bad++
				terminal.Tell(p.Err, "keyturn: %s%s: %s\n", where, place(record), terminal.Printable(terminal.OneLine(err)))
				continue
			default:
				records++
				var x Explanation
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
		unread = append(unread, fmt.Errorf("%d of %s could not be understood", bad, terminal.Count(records, "record")))
	}
	if records == 0 && len(unread) == 0 {
		terminal.Tell(p.Err, "There is no record in the input.\n")
	}
	return errors.Join(unread...)
}

// openRecords opens a file, "-" for standard input, and unpacks it if it is packed as CloudTrail packs its log files.
func (p Commands) openRecords(file string) (in io.Reader, done func(), err error) {
	in, done = p.In, func() {}
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, nil, fmt.Errorf("read records: %w", err)
		}
		in, done = f, func() { _ = f.Close() } // it is only read
		if info, err := f.Stat(); err == nil && info.IsDir() {
			done()
			return nil, nil, fmt.Errorf("read %s: is a directory", terminal.Printable(file))
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
	return fmt.Sprintf("line %d, record %s", r.Line, terminal.Printable(pointer))
}

// explainer shows explanations one by one; end is called once, with the number of records that had none.
type explainer interface {
	one(x Explanation) error
	end(bad int)
}

func (p Commands) newExplainer() explainer {
	if p.JSON {
		return explainerJSON{p.Out}
	}
	return &explainerText{out: p.Out, c: p.Palette()}
}

type explainerJSON struct{ out io.Writer }

func (e explainerJSON) one(x Explanation) error { return terminal.WriteJSON(e.out, x, "") }

func (explainerJSON) end(int) {}
