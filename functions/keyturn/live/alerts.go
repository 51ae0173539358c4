package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/local"
)

// AlertsCommand is "keyturn alerts".
func (p Commands) AlertsCommand() *cobra.Command {
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
			return p.Watched(c.Context(), func(ctx context.Context) error {
				return p.WithLedger(ctx, func(ctx context.Context, l *ledger.Ledger) error {
					if len(args) > 0 {
						return p.alert(ctx, l, args[0])
					}
					return p.alerts(ctx, l)
				})
			})
		},
	}
	p.LedgerFlag(c)
	p.OutputFlag(c)
	p.WatchFlag(c)
	c.AddCommand(p.closeAlertCommand())
	return c
}

// OpenIncident is an incident that has not ended; a list of them is the output of "keyturn alerts -o json".
type OpenIncident struct {
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

func (p Commands) alerts(ctx context.Context, l *ledger.Ledger) error {
	incidents, err := openIncidents(ctx, l)
	if err != nil && !errors.Is(err, ledger.ErrUndecodable) {
		return err
	}
	if p.JSON {
		err = errors.Join(err, p.PrintJSON(incidents))
	} else {
		err = errors.Join(err, p.printAlerts(ctx, l, incidents))
	}
	if err == nil && slices.ContainsFunc(incidents, OpenIncident.pages) {
		return terminal.ErrNeedsPerson
	}
	return err
}

// openIncidents reads what alerting and rotation reported and has not ended, each incident once, the most urgent first and then the
// oldest. Beside a ledger.ErrUndecodable come all others.
func openIncidents(ctx context.Context, l *ledger.Ledger) ([]OpenIncident, error) {
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
	incidents := []OpenIncident{}
	known := map[string]bool{}
	for _, i := range found {
		known[i.DedupKey] = true
		incidents = append(incidents, shown(i))
	}
	add := func(conditions []ledger.Alarm) {
		for _, c := range conditions {
			if !known[c.Key] && !strings.HasPrefix(c.Key, alert.OnHold+"/") {
				known[c.Key] = true
				incidents = append(incidents, OpenIncident{ID: ledger.IncidentID(c.Key), Incident: c.Key, Severity: c.Alert.Severity, Since: c.Since, Alert: c.Alert, byRotation: true})
			}
		}
	}
	add(worker.Alarms)
	for _, c := range clusters {
		add(c.Alarms)
	}
	slices.SortStableFunc(incidents, func(a, b OpenIncident) int {
		if a.Severity.Above(b.Severity) {
			return -1
		} else if b.Severity.Above(a.Severity) {
			return 1
		}
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Incident, b.Incident))
	})
	return incidents, errors.Join(err, unread)
}

func shown(i *ledger.Incident) OpenIncident {
	return OpenIncident{
		ID: i.ID(), Incident: i.DedupKey, Severity: i.Alert.Severity, Since: i.Opened, NextLook: i.NextLook, Alert: i.Alert, Ended: i.Closed,
		Recovering: !i.Recovered.IsZero() || !i.GoodSince.IsZero(), Closing: i.Closing,
	}
}

// state is where the incident stands, in one word.
func (i OpenIncident) state() string {
	switch {
	case i.Closing.Asked():
		return "closing"
	case i.Recovering:
		return "recovering"
	}
	return "open"
}

// pages reports whether the incident is worth waking somebody for. One that somebody closed is not.
func (i OpenIncident) pages() bool {
	return i.Severity.AtLeast(alert.High) && !i.Closing.Asked()
}

// concerns reports whether the cluster is affected by the incident, or may be: because not all clusters are listed, or because it is
// about keyturn itself.
func (i OpenIncident) concerns(clusterID string) bool {
	return i.Alert.Shortened() || i.byRotation && len(i.Alert.Clusters) == 0 || slices.ContainsFunc(i.Alert.Clusters, func(c alert.AffectedCluster) bool { return c.ID == clusterID })
}

// about reports whether the incident is about the region's key, or about the region of the cluster.
func (i OpenIncident) about(clusterID string, r regionStatus) bool {
	if i.Alert.Key != "" {
		return r.Key != "" && i.Alert.Key.SameKey(r.Key)
	}
	return slices.ContainsFunc(i.Alert.Clusters, func(c alert.AffectedCluster) bool {
		return c.ID == clusterID && (len(c.Regions) == 0 || slices.Contains(c.Regions, r.Region))
	})
}

// printAlerts lists the incidents, and then what is on hold.
func (p Commands) printAlerts(ctx context.Context, l *ledger.Ledger, incidents []OpenIncident) error {
	now, c := time.Now(), p.Palette()
	holds, unread := l.Holds(ctx)
	if len(incidents) > 0 {
		t := p.NewSheet(terminal.Column{Name: "id"}, terminal.Column{Name: "severity"}, terminal.Column{Name: "since"}, terminal.Column{Name: "key", Wide: true}, terminal.Column{Name: "clusters", Wide: true}, terminal.Column{Name: "state"}, terminal.Column{Name: "what"})
		for _, i := range incidents {
			t.Add(i.ID, c.Severity(i.Severity, terminal.Printable(string(i.Severity))), terminal.When(i.Since, now), terminal.ShortKey(i.Alert.Key),
				fewNames(i.Alert.Clusters), i.state(), terminal.Printable(i.Alert.Summary))
		}
		t.Flush()
		terminal.Tell(p.Out, "\n\"keyturn alerts ID\" has the whole alert, with the recovery steps.\n")
	} else {
		terminal.Tell(p.Out, "No incident is open.\n")
	}
	printHolds(p.Out, holds.Standing(now), now)
	return unread
}

// alert shows one incident, which may have ended.
func (p Commands) alert(ctx context.Context, l *ledger.Ledger, wanted string) error {
	one, open, err := findIncident(ctx, l, wanted)
	if err != nil {
		return err
	}
	if p.JSON {
		err = p.PrintJSON([]OpenIncident{one})
	} else {
		err = p.printAlert(ctx, one)
	}
	if err == nil && open && one.pages() {
		return terminal.ErrNeedsPerson
	}
	return err
}

func (p Commands) printAlert(ctx context.Context, one OpenIncident) error {
	if err := local.NewTerminal(p.Out, bool(p.Palette())).Notify(ctx, one.Alert); err != nil {
		return err
	}
	now := time.Now()
	switch {
	case !one.Ended.IsZero():
		terminal.Tell(p.Out, "It ended %s.\n", terminal.When(one.Ended, now))
	case one.Closing.Asked():
		terminal.Tell(p.Out, "Closed %s by %s: %s\n", terminal.When(one.Closing.At, now), terminal.Printable(one.Closing.By), terminal.Printable(one.Closing.Reason))
	default:
		terminal.Tell(p.Out, "Incident %s is %s, since %s.\n", one.ID, one.state(), terminal.When(one.Since, now))
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
		names = append(names, terminal.Printable(cmp.Or(c.Name, c.ID)))
	}
	return cmp.Or(strings.Join(names, ", "), "–")
}

func (p Commands) closeAlertCommand() *cobra.Command {
	var closing ledger.Closing
	c := &cobra.Command{
		Use:   "close ID --reason TEXT",
		Short: "End an open incident that nothing else ends",
		Long: `End an open incident, given by the id that "keyturn alerts" prints, by its dedup key, or by the beginning of
either that fits one only.

This writes to the ledger and nowhere else. With its next tick alerting tells the end, with your name and
reason, wherever the alert was sent, and stops polling what it was about. The next event about it
alerts again.`,
		Example: `  keyturn alerts close 5d41402abc --reason "cluster restored under a new key, INC-7"
  keyturn alerts close key-unusable/arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e --reason "test key"`,
		Args: func(c *cobra.Command, args []string) error {
			if err := trimBy(c, &closing.By); err != nil {
				return err
			}
			if closing.Reason = strings.TrimSpace(terminal.Printable(closing.Reason)); closing.Reason == "" || len(closing.Reason) > mostReason {
				return fmt.Errorf("say why with --reason (and who with --by), in at most %d bytes", mostReason)
			}
			return cobra.ExactArgs(1)(c, args)
		},
		ValidArgsFunction: p.completeIncident,
		RunE: func(c *cobra.Command, args []string) error {
			return p.WithLedger(c.Context(), func(ctx context.Context, l *ledger.Ledger) error {
				closing.At = time.Now()
				return p.closeAlert(ctx, l, args[0], closing)
			})
		},
	}
	c.Flags().StringVar(&closing.Reason, "reason", "", "`why`; everybody who was notified reads it")
	c.Flags().StringVar(&closing.By, "by", "", "`who` closes it (default USER@HOST)")
	p.LedgerFlag(c)
	return c
}

// mostReason is more than people write, and less than any channel holds.
const mostReason = 1000

func (p Commands) closeAlert(ctx context.Context, l *ledger.Ledger, wanted string, closing ledger.Closing) error {
	found, open, err := findIncident(ctx, l, wanted)
	if err != nil {
		return err
	}
	if open && found.byRotation {
		return fmt.Errorf("rotation ends incident %s by itself, once what it is about is over; \"keyturn alerts %[1]s\" has the recovery steps", found.ID)
	}
	i, closed, err := l.CloseIncident(ctx, found.Incident, closing)
	if err != nil {
		return err
	}
	switch now := time.Now(); {
	case closed:
		terminal.Tell(p.Out, "Closed: %s\nAlerting tells the end with its next tick, within a minute or two.\n", terminal.Printable(i.Alert.Summary))
	case i.Open():
		terminal.Tell(p.Out, "It was closed already, %s by %s: %s\n", terminal.When(i.Closing.At, now), terminal.Printable(i.Closing.By), terminal.Printable(i.Closing.Reason))
	default:
		terminal.Tell(p.Out, "It ended already, %s.\n", terminal.When(i.Closed, now))
	}
	return nil
}

// findIncident finds an incident by its short id, by its dedup key, which may be that of one of alerting's that has ended, or by the
// beginning of either that fits one open incident only. It reports whether the incident is open.
func findIncident(ctx context.Context, l *ledger.Ledger, wanted string) (one OpenIncident, open bool, err error) {
	incidents, err := openIncidents(ctx, l)
	if err != nil && !errors.Is(err, ledger.ErrUndecodable) {
		return OpenIncident{}, false, err
	}
	fits := func(fit func(name string) bool) (found []OpenIncident) {
		return slices.DeleteFunc(slices.Clone(incidents), func(i OpenIncident) bool { return !fit(i.ID) && !fit(i.Incident) })
	}
	found := fits(func(name string) bool { return name == wanted })
	if len(found) == 0 {
		if ended, err := l.Incident(ctx, wanted); err == nil && !ended.Opened.IsZero() {
			return shown(ended), false, nil
		}
		found = fits(func(name string) bool { return wanted != "" && strings.HasPrefix(name, wanted) })
	}
	switch len(found) {
	case 1:
		return found[0], true, nil
	case 0:
		return OpenIncident{}, false, errors.Join(fmt.Errorf("no open incident is called %q; \"keyturn alerts\" lists them, and one that is not there has ended", wanted), err)
	}
	ids := make([]string, len(found))
	for i, incident := range found {
		ids[i] = incident.ID
	}
	return OpenIncident{}, false, fmt.Errorf("%d open incidents begin with %q: %s", len(found), wanted, strings.Join(ids, ", "))
}

// completeIncident offers the ids of the open incidents, with what they are about, for the one argument.
func (p Commands) completeIncident(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return p.Complete(c, args, func(ctx context.Context, l *ledger.Ledger, offer func(argument, about string)) error {
		incidents, err := openIncidents(ctx, l)
		for _, i := range incidents {
			switch {
			case i.Closing.Asked():
			case strings.HasPrefix(i.ID, begun):
				offer(i.ID, i.Alert.Summary)
			case strings.HasPrefix(i.Incident, begun):
				offer(i.Incident, i.Alert.Summary)
			}
		}
		return err
	})
}
