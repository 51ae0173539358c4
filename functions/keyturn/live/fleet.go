package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
)

// A fleet over several clouds has an installation for each. status and alerts show them as one.

// unreadInstallation is an installation that could not be read. The others are shown, and it is a reason to look.
type unreadInstallation struct {
	name string
	err  error
}

func (u unreadInstallation) line() string {
	return fmt.Sprintf("%s cannot be read: %s", u.name, terminal.OneLine(u.err))
}

// each reads every installation that is named, one after the other, and returns those that could not be read.
func (p Commands) each(ctx context.Context, read func(ctx context.Context, name string, w *installation.Installation) error) (unread []unreadInstallation) {
	for _, one := range p.Each() {
		err := func() (err error) {
			w, err := one.Open(ctx, installation.Needs{Ledger: true}, p.Err)
			if err != nil {
				return err
			}
			defer w.CloseInto(&err)
			return read(ctx, one.InstallationName(), w)
		}()
		if err != nil {
			unread = append(unread, unreadInstallation{one.InstallationName(), err})
		}
	}
	return unread
}

// InstallationStatus is what the ledger of one of several installations knows, or why it could not be read; a list of them is the output of
// "keyturn status -o json" with several.
type InstallationStatus struct {
	Installation string `json:"installation"`
	Error        string `json:"error,omitempty"`
	*Status
}

// fleetStatus shows the installations as one fleet, or all about one cluster of it.
func (p Commands) fleetStatus(ctx context.Context, args []string) error {
	var all []InstallationStatus
	without := 0
	unread := p.each(ctx, func(ctx context.Context, name string, w *installation.Installation) error {
		s, err := readStatus(ctx, w, args)
		if errors.Is(err, installation.ErrNoCluster) {
			without++
			return nil
		}
		if err == nil {
			all = append(all, InstallationStatus{Installation: name, Status: &s})
		}
		return err
	})
	if len(all) == 0 && len(unread) == 0 && without > 0 {
		return fmt.Errorf("no ledger knows a cluster %q; \"keyturn status\" lists those they know", args[0])
	}
	attention := len(unread) > 0
	for _, s := range all {
		attention = attention || len(s.NeedsPerson) > 0
	}
	if p.JSON {
		for _, u := range unread {
			all = append(all, InstallationStatus{Installation: u.name, Error: terminal.OneLine(u.err)})
		}
		if err := p.PrintJSON(all); err != nil {
			return err
		}
	} else {
		p.printFleet(all, unread, len(args) > 0)
	}
	if attention {
		return terminal.ErrNeedsPerson
	}
	return nil
}

func (p Commands) printFleet(all []InstallationStatus, unread []unreadInstallation, oneCluster bool) {
	now, c := time.Now(), p.Palette()
	var needs []need
	for _, u := range unread {
		needs = append(needs, need{what: u.line()})
	}
	for _, s := range all {
		terminal.Tell(p.Out, "%s\n", c.Bold(terminal.Printable(s.Installation)))
		if oneCluster {
			p.printCluster(s.Clusters[0])
			p.printOpen(*s.Status)
			continue
		}
		p.printLedger(*s.Status, now)
		for _, n := range s.needs {
			needs = append(needs, need{s.Installation + ": " + n.what, n.runbook})
		}
	}
	if !oneCluster {
		p.printFleetRows(all, now)
	}
	printUrgent(p.Out, c, needs)
}

// printFleetRows writes a line for each region of the fleet, in the order of the clusters' names.
func (p Commands) printFleetRows(all []InstallationStatus, now time.Time) {
	type row struct {
		installation string
		clusterStatus
	}
	var rows []row
	for _, s := range all {
		for _, cluster := range s.Clusters {
			rows = append(rows, row{s.Installation, cluster})
		}
	}
	if len(rows) == 0 {
		return
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	t := p.NewSheet(append([]terminal.Column{{Name: "installation"}}, statusColumns...)...)
	for _, r := range rows {
		for _, cells := range p.statusRows(r.clusterStatus, now) {
			t.Add(append([]any{terminal.Printable(r.installation)}, cells...)...)
		}
	}
	t.Flush()
}

// LocatedIncident is an open incident of one of several installations; a list of them is the output of "keyturn alerts -o json" with several.
type LocatedIncident struct {
	Installation string `json:"installation"`
	// Error is why the installation's incidents could not be read; then there is nothing else.
	Error string `json:"error,omitempty"`
	*OpenIncident
}

// fleetAlerts lists the open incidents of all installations, the most urgent first, or shows one in full.
func (p Commands) fleetAlerts(ctx context.Context, args []string) error {
	all, attention := []LocatedIncident{}, false
	unread := p.each(ctx, func(ctx context.Context, name string, w *installation.Installation) error {
		if len(args) > 0 {
			one, open, err := findIncident(ctx, w.Ledger, args[0])
			if errors.Is(err, errNoIncident) {
				return nil
			}
			if err == nil {
				all, attention = append(all, LocatedIncident{Installation: name, OpenIncident: &one}), attention || open && one.pages()
			}
			return err
		}
		incidents, err := openIncidents(ctx, w.Ledger)
		for _, i := range incidents {
			all, attention = append(all, LocatedIncident{Installation: name, OpenIncident: &i}), attention || i.pages()
		}
		return err
	})
	if len(all) == 0 && len(unread) == 0 && len(args) > 0 {
		return fmt.Errorf("no ledger knows an incident %q; \"keyturn alerts\" lists those that are open", args[0])
	}
	slices.SortStableFunc(all, func(a, b LocatedIncident) int { return a.compare(*b.OpenIncident) })
	if p.JSON {
		for _, u := range unread {
			all = append(all, LocatedIncident{Installation: u.name, Error: terminal.OneLine(u.err)})
		}
		if err := p.PrintJSON(all); err != nil {
			return err
		}
	} else if err := p.printFleetAlerts(ctx, all, unread, len(args) > 0); err != nil {
		return err
	}
	if attention || len(unread) > 0 {
		return terminal.ErrNeedsPerson
	}
	return nil
}

func (p Commands) printFleetAlerts(ctx context.Context, all []LocatedIncident, unread []unreadInstallation, whole bool) error {
	now, c := time.Now(), p.Palette()
	for _, i := range all {
		if whole {
			terminal.Tell(p.Out, "%s\n", c.Bold(terminal.Printable(i.Installation)))
			if err := p.printAlert(ctx, *i.OpenIncident); err != nil {
				return err
			}
		}
	}
	switch {
	case whole:
	case len(all) > 0:
		t := p.NewSheet(append([]terminal.Column{{Name: "installation"}}, alertColumns...)...)
		for _, i := range all {
			t.Add(append([]any{terminal.Printable(i.Installation)}, p.alertRow(*i.OpenIncident, now)...)...)
		}
		t.Flush()
		terminal.Tell(p.Out, "\n\"keyturn alerts ID\" has the whole alert, with the recovery steps.\n")
	case len(unread) == 0:
		terminal.Tell(p.Out, "No incident is open.\n")
	default:
		terminal.Tell(p.Out, "No incident is open where incidents can be read.\n")
	}
	var lines []string
	for _, u := range unread {
		lines = append(lines, c.Red(terminal.Printable(u.line())))
	}
	if len(lines) > 0 {
		terminal.Tell(p.Out, "\n%s\n  %s\n", c.Bold("Needs attention:"), strings.Join(lines, "\n  "))
	}
	return nil
}
