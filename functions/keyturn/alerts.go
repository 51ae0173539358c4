package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/local"
)

func (p *program) alertsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "alerts [ID]",
		Short: "List the keys at risk now: the open incidents, the most urgent first",
		Long: `List the open incidents, the most urgent first: what puts a key at risk that clusters need, or their access to it,
and has not ended yet. An incident is recovering once its state was fixed; it ends when that has been healthy
for a while.

With an id that the list prints, or with the dedup key, or the beginning of either that fits one only, that
one alert in full: impact, recovery steps and the runbook.

Only the ledger is read. It exits with 3 if an incident of severity high or critical is open. With -o json
each incident comes with its whole alert. What is on hold is listed below them.

"keyturn alerts close" ends what nothing else ends, such as the incident of a key that was deleted.`,
		Example: `  keyturn alerts
  keyturn alerts 5d41402abc
  keyturn alerts -o json | jq -r '.[0].alert.recovery_steps[]'
  keyturn alerts close 5d41402abc --reason "cluster restored under a new key"`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: p.completeIncident,
		RunE: func(c *cobra.Command, args []string) error {
			return p.watched(c.Context(), func(ctx context.Context) error {
				return p.withLedger(ctx, func(ctx context.Context, l *ledger.Ledger) error {
					if len(args) > 0 {
						return p.alert(ctx, l, args[0])
					}
					return p.alerts(ctx, l)
				})
			})
		},
	}
	p.ledgerFlag(c)
	p.outputFlag(c)
	p.watchFlag(c)
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
	// Recovering is true once an event or a read showed that it was fixed; NextLook is when it is checked again.
	Recovering bool      `json:"recovering"`
	NextLook   time.Time `json:"next_look,omitzero"`
	// Closing is set once somebody closed it by hand; alerting ends it with its next tick.
	Closing ledger.Closing `json:"closing,omitzero"`
	// Ended is set for one that was named and has ended.
	Ended time.Time   `json:"ended,omitzero"`
	Alert alert.Alert `json:"alert"`

	// byRotation: rotation keeps it, and ends it by itself.
	byRotation bool
}

func (p *program) alerts(ctx context.Context, l *ledger.Ledger) error {
	incidents, err := openIncidents(ctx, l)
	if err != nil && !errors.Is(err, ledger.ErrUndecodable) {
		return err
	}
	if p.json {
		err = errors.Join(err, p.printJSON(incidents))
	} else {
		err = errors.Join(err, p.printAlerts(ctx, l, incidents))
	}
	if err == nil && slices.ContainsFunc(incidents, openIncident.pages) {
		return errNeedsPerson
	}
	return err
}

// openIncidents reads what alerting and rotation reported and has not ended, each incident once, the most urgent first and then the
// oldest. Beside a ledger.ErrUndecodable come all others.
func openIncidents(ctx context.Context, l *ledger.Ledger) ([]openIncident, error) {
	found, err := l.OpenIncidents(ctx)
	if err != nil && !errors.Is(err, ledger.ErrUndecodable) {
		return nil, err
	}
	clusters, unread := l.Clusters(ctx)
	if unread != nil && !errors.Is(unread, ledger.ErrUndecodable) {
		return nil, unread
	}
	worker, unreadWorker := l.Worker(ctx)
	if unreadWorker != nil {
		return nil, unreadWorker
	}
	incidents := []openIncident{}
	known := map[string]bool{}
	for _, i := range found {
		known[i.DedupKey] = true
		incidents = append(incidents, shown(i))
	}
	add := func(conditions []ledger.Alarm) {
		for _, c := range conditions {
			if !known[c.Key] && !strings.HasPrefix(c.Key, alert.OnHold+"/") {
				known[c.Key] = true
				incidents = append(incidents, openIncident{ID: ledger.IncidentID(c.Key), Incident: c.Key, Severity: c.Alert.Severity, Since: c.Since, Alert: c.Alert, byRotation: true})
			}
		}
	}
	add(worker.Alarms)
	for _, c := range clusters {
		add(c.Alarms)
	}
	slices.SortStableFunc(incidents, func(a, b openIncident) int {
		return cmp.Or(cmp.Compare(urgency(a.Severity), urgency(b.Severity)), a.Since.Compare(b.Since), cmp.Compare(a.Incident, b.Incident))
	})
	return incidents, errors.Join(err, unread)
}

func shown(i *ledger.Incident) openIncident {
	return openIncident{
		ID: i.ID(), Incident: i.DedupKey, Severity: i.Alert.Severity, Since: i.Opened, NextLook: i.NextLook, Alert: i.Alert, Ended: i.Closed,
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

// concerns reports whether the cluster is affected by the incident, or may be: because not all clusters are listed, or because it is
// about keyturn itself.
func (i openIncident) concerns(clusterID string) bool {
	return i.Alert.Shortened() || i.byRotation && len(i.Alert.Clusters) == 0 || slices.ContainsFunc(i.Alert.Clusters, func(c alert.AffectedCluster) bool { return c.ID == clusterID })
}

// about reports whether the incident is about the region's key, or about the region of the cluster.
func (i openIncident) about(clusterID string, r regionStatus) bool {
	if i.Alert.Key != "" {
		return r.Key != "" && i.Alert.Key.SameKey(r.Key)
	}
	return slices.ContainsFunc(i.Alert.Clusters, func(c alert.AffectedCluster) bool {
		return c.ID == clusterID && (len(c.Regions) == 0 || slices.Contains(c.Regions, r.Region))
	})
}

// urgency ranks severities, the most urgent lowest; one that is not known comes last.
func urgency(s alert.Severity) int {
	ranked := []alert.Severity{alert.Critical, alert.High, alert.Medium, alert.Low, alert.Info}
	if i := slices.Index(ranked, s); i >= 0 {
		return i
	}
	return len(ranked)
}

// printAlerts lists the incidents, and then what is on hold.
func (p *program) printAlerts(ctx context.Context, l *ledger.Ledger, incidents []openIncident) error {
	now, c := time.Now(), palette(p.color())
	holds, unread := l.Holds(ctx)
	if len(incidents) > 0 {
		t := p.newSheet(column{name: "id"}, column{name: "severity"}, column{name: "since"}, column{name: "key", wide: true}, column{name: "clusters", wide: true}, column{name: "state"}, column{name: "what"})
		for _, i := range incidents {
			t.add(i.ID, c.severity(i.Severity, printable(string(i.Severity))), when(i.Since, now), shortKey(i.Alert.Key),
				fewNames(i.Alert.Clusters), i.state(), printable(i.Alert.Summary))
		}
		t.flush()
		tell(p.out, "\n\"keyturn alerts ID\" has the whole alert, with the recovery steps.\n")
	} else {
		tell(p.out, "No incident is open.\n")
	}
	printHolds(p.out, holds.Standing(now), now)
	return unread
}

// alert shows one incident, which may have ended.
func (p *program) alert(ctx context.Context, l *ledger.Ledger, wanted string) error {
	one, open, err := findIncident(ctx, l, wanted)
	if err != nil {
		return err
	}
	if p.json {
		err = p.printJSON([]openIncident{one})
	} else {
		err = p.printAlert(ctx, one)
	}
	if err == nil && open && one.pages() {
		return errNeedsPerson
	}
	return err
}

func (p *program) printAlert(ctx context.Context, one openIncident) error {
	if err := local.NewTerminal(p.out, p.color()).Notify(ctx, one.Alert); err != nil {
		return err
	}
	now := time.Now()
	switch {
	case !one.Ended.IsZero():
		tell(p.out, "It ended %s.\n", when(one.Ended, now))
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
