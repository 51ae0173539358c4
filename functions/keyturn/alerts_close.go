package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/internal/ledger"
)

func (p *program) closeAlertCommand() *cobra.Command {
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
			if closing.Reason = strings.TrimSpace(printable(closing.Reason)); closing.Reason == "" || len(closing.Reason) > mostReason {
				return fmt.Errorf("say why with --reason (and who with --by), in at most %d bytes", mostReason)
			}
			return cobra.ExactArgs(1)(c, args)
		},
		ValidArgsFunction: p.completeIncident,
		RunE: func(c *cobra.Command, args []string) error {
			return p.withLedger(c.Context(), func(ctx context.Context, l *ledger.Ledger) error {
				closing.At = time.Now()
				return p.closeAlert(ctx, l, args[0], closing)
			})
		},
	}
	c.Flags().StringVar(&closing.Reason, "reason", "", "`why`; everybody who was notified reads it")
	c.Flags().StringVar(&closing.By, "by", "", "`who` closes it (default USER@HOST)")
	p.ledgerFlag(c)
	return c
}

// mostReason is more than people write, and less than any channel holds.
const mostReason = 1000

func (p *program) closeAlert(ctx context.Context, l *ledger.Ledger, wanted string, closing ledger.Closing) error {
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
		tell(p.out, "Closed: %s\nAlerting tells the end with its next tick, within a minute or two.\n", printable(i.Alert.Summary))
	case i.Open():
		tell(p.out, "It was closed already, %s by %s: %s\n", when(i.Closing.At, now), printable(i.Closing.By), printable(i.Closing.Reason))
	default:
		tell(p.out, "It ended already, %s.\n", when(i.Closed, now))
	}
	return nil
}

// findIncident finds an incident by its short id, by its dedup key, which may be that of one of alerting's that has ended, or by the
// beginning of either that fits one open incident only. It reports whether the incident is open.
func findIncident(ctx context.Context, l *ledger.Ledger, wanted string) (one openIncident, open bool, err error) {
	incidents, err := openIncidents(ctx, l)
	if err != nil && !errors.Is(err, ledger.ErrUndecodable) {
		return openIncident{}, false, err
	}
	fits := func(fit func(name string) bool) (found []openIncident) {
		return slices.DeleteFunc(slices.Clone(incidents), func(i openIncident) bool { return !fit(i.ID) && !fit(i.Incident) })
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
		return openIncident{}, false, errors.Join(fmt.Errorf("no open incident is called %q; \"keyturn alerts\" lists them, and one that is not there has ended", wanted), err)
	}
	ids := make([]string, len(found))
	for i, incident := range found {
		ids[i] = incident.ID
	}
	return openIncident{}, false, fmt.Errorf("%d open incidents begin with %q: %s", len(found), wanted, strings.Join(ids, ", "))
}

// completeIncident offers the ids of the open incidents, with what they are about, for the one argument.
func (p *program) completeIncident(c *cobra.Command, args []string, begun string) (offers []cobra.Completion, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionTime)
	defer cancel()
	// A ledger that cannot be read offers none.
	_ = p.withLedger(ctx, func(ctx context.Context, l *ledger.Ledger) error {
		incidents, err := openIncidents(ctx, l)
		for _, i := range incidents {
			switch what := printable(i.Alert.Summary); {
			case i.Closing.Asked():
			case strings.HasPrefix(i.ID, begun):
				offers = append(offers, cobra.CompletionWithDesc(i.ID, what))
			case strings.HasPrefix(i.Incident, begun):
				offers = append(offers, cobra.CompletionWithDesc(i.Incident, what))
			}
		}
		return err
	})
	return offers, cobra.ShellCompDirectiveNoFileComp
}
