package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/local"
)

func (p *program) alertsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "alerts [ID]",
		Short: "List what endangers a key now: the open incidents, the most urgent first",
		Long: `List the open incidents, the most urgent first: what endangers a key that clusters need, or their access to it,
and has not ended yet. An incident is recovering once its state was mended; it ends when that has read well
for a while.

With an id that the list prints, or with the dedup key, or the beginning of either that fits one only, that
one alert in full: impact, recovery steps and the runbook.

Only the ledger is read. It exits with 3 if an incident of severity high or critical is open. With -o json
each incident comes with its whole alert. What rotation found by itself is in "keyturn status".

"keyturn alerts close" ends what nothing else ends, such as the incident of a key that was deleted.`,
		Example: `  keyturn alerts
  keyturn alerts 5d41402abc
  keyturn alerts -o json | jq -r '.[0].alert.recovery_steps[]'
  keyturn alerts close 5d41402abc --reason "cluster restored under a new key"`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: p.completeIncident,
		RunE: func(c *cobra.Command, args []string) error {
			return p.withLedger(c.Context(), func(ctx context.Context, l *ledger.Ledger) error {
				if len(args) > 0 {
					return p.alert(ctx, l, args[0])
				}
				return p.alerts(ctx, l)
			})
		},
	}
	p.ledgerFlag(c)
	p.outputFlag(c)
	c.AddCommand(p.closeAlertCommand())
	return c
}

// openIncident is an incident that has not ended; a list of them is the output of "keyturn alerts -o json".
type openIncident struct {
	// ID is short, for people; Incident is the dedup key that its alerts share.
	ID       string         `json:"id"`
	Incident string         `json:"incident"`
	Severity alert.Severity `json:"severity"`
	Since    time.Time      `json:"since"`
	// Recovering is true once an event or a read showed that it was mended; NextLook is when it is looked at again.
	Recovering bool      `json:"recovering"`
	NextLook   time.Time `json:"next_look,omitzero"`
	// Closing is set once somebody closed it by hand; alerting ends it with its next tick.
	Closing ledger.Closing `json:"closing,omitzero"`
	Alert   alert.Alert    `json:"alert"`
}

func (p *program) alerts(ctx context.Context, l *ledger.Ledger) error {
	incidents, err := openIncidents(ctx, l)
	if err != nil && !errors.Is(err, ledger.ErrUndecodable) {
		return err
	}
	if p.json {
		err = errors.Join(err, printJSON(p.out, incidents))
	} else {
		err = errors.Join(err, p.printAlerts(ctx, l, incidents))
	}
	if err == nil && slices.ContainsFunc(incidents, openIncident.pages) {
		return errNeedsPerson
	}
	return err
}

// openIncidents reads them, the most urgent first and then the oldest. Beside a ledger.ErrUndecodable come all others.
func openIncidents(ctx context.Context, l *ledger.Ledger) ([]openIncident, error) {
	found, err := l.OpenIncidents(ctx)
	incidents := []openIncident{}
	for _, i := range found {
		if i.Open() {
			incidents = append(incidents, shown(i))
		}
	}
	slices.SortStableFunc(incidents, func(a, b openIncident) int {
		return cmp.Or(cmp.Compare(urgency(a.Severity), urgency(b.Severity)), a.Since.Compare(b.Since), cmp.Compare(a.Incident, b.Incident))
	})
	return incidents, err
}

func shown(i *ledger.Incident) openIncident {
	return openIncident{
		ID: i.ID(), Incident: i.DedupKey, Severity: i.Alert.Severity, Since: i.Opened, NextLook: i.NextLook, Alert: i.Alert,
		Recovering: !i.Recovered.IsZero() || !i.GoodSince.IsZero(), Closing: i.Closing,
	}
}

// state is where the incident stands, in one word.
func (i openIncident) state() string {
	switch {
	case i.Closing.Asked():
		return "closing"
	case i.Recovering:
		return "recovering"
	}
	return "open"
}

// pages reports whether the incident is worth waking somebody for. One that somebody closed is not.
func (i openIncident) pages() bool {
	return (i.Severity == alert.Critical || i.Severity == alert.High) && !i.Closing.Asked()
}

// concerns reports whether the cluster is within the incident's blast radius, or may be, because not all clusters are listed.
func (i openIncident) concerns(clusterID string) bool {
	return i.Alert.Shortened() || slices.ContainsFunc(i.Alert.Clusters, func(c alert.AffectedCluster) bool { return c.ID == clusterID })
}

// urgency ranks severities, the most urgent lowest; one that is not known comes last.
func urgency(s alert.Severity) int {
	ranked := []alert.Severity{alert.Critical, alert.High, alert.Medium, alert.Low, alert.Info}
	if i := slices.Index(ranked, s); i >= 0 {
		return i
	}
	return len(ranked)
}

// printAlerts lists the incidents, and then what the ledger knows beside them.
func (p *program) printAlerts(ctx context.Context, l *ledger.Ledger, incidents []openIncident) error {
	now, c := time.Now(), palette(p.color())
	clusters, err := l.Clusters(ctx)
	worker, problem := l.Worker(ctx)
	declared, unknown := declaredKeys(ctx, l, clusters, incidents)
	alarms := ""
	if n := countAlarms(clusters, worker); n > 0 {
		alarms = fmt.Sprintf("rotation has %s: \"keyturn status\"", count(n, "alarm"))
	}
	switch {
	case len(incidents) > 0:
		t := newTable("id", "severity", "since", "key", "clusters", "state", "what")
		for _, i := range incidents {
			t.AppendRow(table.Row{i.ID, c.severity(i.Severity, printable(string(i.Severity))), when(i.Since, now), shortKey(i.Alert.Key),
				fewNames(i.Alert.Clusters), i.state(), printable(i.Alert.Summary)})
		}
		printTable(p.out, t)
		tell(p.out, "\n\"keyturn alerts ID\" has the whole alert, with the recovery steps.\n")
		if alarms != "" {
			tell(p.out, "Beside these, %s.\n", alarms)
		}
	case alarms != "":
		tell(p.out, "No incident of alerting is open; %s.\n", alarms)
	default:
		tell(p.out, "No incident is open.\n")
	}
	printDeclared(p.out, declared, now)
	return errors.Join(err, problem, unknown)
}

// countAlarms counts what rotation has told and that has not ended.
func countAlarms(clusters []*ledger.Cluster, worker *ledger.Worker) (n int) {
	for _, c := range clusters {
		n += len(c.Alarms)
	}
	if worker != nil {
		n += len(worker.Alarms)
	}
	return n
}

// alert shows one incident, which may have ended.
func (p *program) alert(ctx context.Context, l *ledger.Ledger, wanted string) error {
	dedupKey, err := findIncident(ctx, l, wanted)
	if err != nil {
		return err
	}
	i, err := l.Incident(ctx, dedupKey)
	if err != nil {
		return err
	}
	one := shown(i)
	if p.json {
		err = printJSON(p.out, []openIncident{one})
	} else {
		err = p.printAlert(ctx, i, one)
	}
	if err == nil && i.Open() && one.pages() {
		return errNeedsPerson
	}
	return err
}

func (p *program) printAlert(ctx context.Context, i *ledger.Incident, one openIncident) error {
	if err := local.NewTerminal(p.out, p.color()).Notify(ctx, one.Alert); err != nil {
		return err
	}
	now := time.Now()
	switch {
	case !i.Open():
		tell(p.out, "It ended %s.\n", when(i.Closed, now))
	case one.Closing.Asked():
		tell(p.out, "Closed %s by %s: %s\n", when(one.Closing.At, now), printable(one.Closing.By), printable(one.Closing.Reason))
	default:
		tell(p.out, "Incident %s is %s, since %s.\n", one.ID, one.state(), when(one.Since, now))
	}
	return nil
}

// fewNames names clusters within the width of a column.
func fewNames(clusters []alert.AffectedCluster) string {
	const most = 3
	var names []string
	for i, c := range clusters {
		if i == most {
			names = append(names, "…")
			break
		}
		names = append(names, printable(cmp.Or(c.Name, c.ID)))
	}
	return cmp.Or(strings.Join(names, ", "), "–")
}
