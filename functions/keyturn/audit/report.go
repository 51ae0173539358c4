package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/report"
)

// reportOptions are the flags of report.
type reportOptions struct {
	run      int
	from, to string
	format   string
	out      string
}

// longestHistory is how many years a history has at most. Each of its days is counted for each check.
const longestHistory = 10

// The formats of a history.
var historyFormats = []string{"table", "json", "csv"}

// ReportCommand is "keyturn report".
func (p Commands) ReportCommand() *cobra.Command {
	o := reportOptions{format: checkFormats[0]}
	c := &cobra.Command{
		Use:   "report",
		Short: "Show an archived compliance run, or how the checks stood over some days",
		Long: `Show a compliance run as it was archived: the last one that ended, or the one that --run names. Each file is compared
with the run's manifest before it is shown.

With --from and --to, show how the checks stood over these days (UTC, both included): for each check the days on
which it passed, failed, was accepted or had no answer, and each failure from its beginning to its end. A day without
a complete run is a day without an answer.

It reads the archive alone: neither the ledger nor a cloud.`,
		Example: `  keyturn report
  keyturn report --run 12 --format csv > run-12.csv
  keyturn report --format html --out report.html
  keyturn report --from 2026-01-01 --to 2026-03-31`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			from, to, err := o.validate(c.Flags().Changed("run"))
			if err != nil {
				return err
			}
			return p.withArchive(c.Context(), func(ctx context.Context, a *installation.Archive) error {
				if o.from == "" {
					return p.reportRun(ctx, a, o)
				}
				h, err := report.Between(ctx, a, from, to)
				if err != nil {
					return err
				}
				return p.writing(o.out, func(out io.Writer) error { return p.writeHistory(out, h, o.format) })
			})
		},
	}
	c.Flags().IntVar(&o.run, "run", 0, "the `number` of the run (the last one that ended)")
	c.Flags().StringVar(&o.from, "from", "", "the first `day`, as 2026-01-31")
	c.Flags().StringVar(&o.to, "to", "", "the last `day`")
	c.Flags().StringVar(&o.format, "format", o.format, "the `form` of the output: "+strings.Join(checkFormats, ", "))
	outFlag(c, &o.out)
	p.ArchiveFlag(c)
	return c
}

// validate reports every flag that is wrong.
func (o reportOptions) validate(named bool) (from, to time.Time, err error) {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	period := o.from != "" || o.to != ""
	formats := checkFormats
	if period {
		formats = historyFormats
	}
	if !slices.Contains(formats, o.format) {
		problem("--format is %q; want %s", o.format, strings.Join(formats, ", "))
	}
	if named && o.run < 1 {
		problem("--run is %d; want the number of a run", o.run)
	}
	if period {
		if named {
			problem("--run and --from or --to exclude each other")
		}
		var badFrom, badTo error
		from, badFrom = time.Parse(time.DateOnly, o.from)
		to, badTo = time.Parse(time.DateOnly, o.to)
		switch {
		case badFrom != nil || badTo != nil:
			problem("--from is %q and --to is %q; want two days, as 2026-01-31", o.from, o.to)
		case to.Before(from):
			problem("--to is before --from")
		case to.After(from.AddDate(longestHistory, 0, 0)):
			problem("--to is more than %d years after --from", longestHistory)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return from, to, &terminal.ConfigurationError{Problems: err}
	}
	return from, to, nil
}

func (p Commands) reportRun(ctx context.Context, a *installation.Archive, o reportOptions) error {
	run, err := report.Load(ctx, a, o.run)
	if err != nil {
		return err
	}
	if m := run.Manifest; !m.Complete {
		terminal.Tell(p.Err, "keyturn: run %d is incomplete: %s\n", m.Run, terminal.Printable(m.Incomplete))
	}
	return p.writing(o.out, func(out io.Writer) error {
		if o.format == "html" {
			return run.HTML(ctx, out)
		}
		r, err := run.Report(ctx)
		if err != nil {
			return err
		}
		if o.format == "table" {
			terminal.Tell(out, "Run %d, manifest SHA-256 %s\n", run.Manifest.Run, run.SHA256)
		}
		return p.writeReport(out, r, o.format)
	})
}

func (p Commands) writeHistory(out io.Writer, h report.History, format string) error {
	switch format {
	case "json":
		return terminal.WriteJSON(out, h, "  ")
	case "csv":
		return h.CSV(out)
	}
	return h.Table(out)
}
