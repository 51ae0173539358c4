package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

func (p *program) alertsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "alerts",
		Short: "List what endangers a key now: the open incidents, the most urgent first",
		Long: `List the open incidents, the most urgent first: what endangers a key that clusters need, or their access to it,
and has not ended yet. An incident is recovering once its state was mended; it ends when that has read well
for a while.

Only the ledger is read. It exits with 3 if an incident of severity high or critical is open. With -o json
each incident comes with its whole alert, the way back included.

"keyturn alerts close" ends what nothing else ends, such as the incident of a key that was deleted.`,
		Example: `  keyturn alerts
  keyturn alerts -o json | jq -r '.[0].alert.way_back[]'
  keyturn alerts close 5d41402abc --reason "cluster restored under a new key"`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withLedger(c.Context(), p.alerts)
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
	ID       string        `json:"id"`
	Incident string        `json:"incident"`
	Severity cmek.Severity `json:"severity"`
	Since    time.Time     `json:"since"`
	// Recovering is true once an event or a read showed that it was mended; NextLook is when it is looked at again.
	Recovering bool      `json:"recovering"`
	NextLook   time.Time `json:"next_look,omitzero"`
	// Closing is set once somebody closed it by hand; alerting ends it with its next tick.
	Closing ledger.Closing `json:"closing,omitzero"`
	Alert   cmek.Alert     `json:"alert"`
}

func (p *program) alerts(ctx context.Context, l *ledger.Ledger) error {
	incidents, err := openIncidents(ctx, l)
	if err != nil && !errors.Is(err, ledger.ErrUndecodable) {
		return err
	}
	if p.json {
		err = errors.Join(err, printJSON(p.out, incidents))
	} else {
		p.printAlerts(incidents)
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
			incidents = append(incidents, openIncident{
				ID: i.ID(), Incident: i.DedupKey, Severity: i.Alert.Severity, Since: i.Opened, NextLook: i.NextLook, Alert: i.Alert,
				Recovering: !i.Recovered.IsZero() || !i.GoodSince.IsZero(), Closing: i.Closing,
			})
		}
	}
	slices.SortStableFunc(incidents, func(a, b openIncident) int {
		return cmp.Or(cmp.Compare(urgency(a.Severity), urgency(b.Severity)), a.Since.Compare(b.Since), cmp.Compare(a.Incident, b.Incident))
	})
	return incidents, err
}

// pages reports whether the incident is worth waking somebody for. One that somebody closed is not.
func (i openIncident) pages() bool {
	return (i.Severity == cmek.Critical || i.Severity == cmek.High) && !i.Closing.Asked()
}

// concerns reports whether the cluster is within the incident's blast radius.
func (i openIncident) concerns(clusterID string) bool {
	return slices.ContainsFunc(i.Alert.Clusters, func(c cmek.AffectedCluster) bool { return c.ID == clusterID })
}

// urgency ranks severities, the most urgent lowest; one that is not known comes last.
func urgency(s cmek.Severity) int {
	ranked := []cmek.Severity{cmek.Critical, cmek.High, cmek.Medium, cmek.Low, cmek.Info}
	if i := slices.Index(ranked, s); i >= 0 {
		return i
	}
	return len(ranked)
}

func (p *program) printAlerts(incidents []openIncident) {
	if len(incidents) == 0 {
		tell(p.out, "No incident is open.\n")
		return
	}
	now, c := time.Now(), palette(p.color())
	t := newTable("id", "severity", "since", "key", "clusters", "state", "what")
	for _, i := range incidents {
		state := "open"
		switch {
		case i.Closing.Asked():
			state = "closing"
		case i.Recovering:
			state = "recovering"
		}
		t.AppendRow(table.Row{i.ID, c.severity(i.Severity, string(i.Severity)), when(i.Since, now), shortKey(i.Alert.Key),
			fewNames(i.Alert.Clusters), state, printable(i.Alert.Summary)})
	}
	printTable(p.out, t)
	tell(p.out, "\n\"keyturn alerts -o json\" has the whole alerts, with the way back.\n")
}

// fewNames names clusters within the width of a column.
func fewNames(clusters []cmek.AffectedCluster) string {
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
