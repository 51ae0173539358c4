package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

func (p *program) incidentCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "incident",
		Short: "Tell keyturn that people are at work on a key, so that it repairs nothing there",
		Long: `Tell keyturn that people are at work on a key. As long as an incident is declared on it, alerting's opt-in
repair (KEYTURN_REPAIR) leaves the key alone: a deletion that you mean is not canceled. Alerts still come.`,
		Example: `  keyturn incident open 0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001 --reason "key compromised, CHG-1234"
  keyturn incident close 0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(p.incidentOpenCommand(), p.incidentCloseCommand())
	return c
}

func (p *program) incidentOpenCommand() *cobra.Command {
	declaration := ledger.Declaration{By: operator()}
	c := &cobra.Command{
		Use:   "open KEY",
		Short: "Declare an incident on a key, given by its ARN or by an id that the ledger knows",
		Long: `Declare an incident on a key, given by its ARN, by an id that the ledger knows, or by the short form of that
which "keyturn status" prints, if it fits one key only.

On a key that has one already, another --reason replaces the reason.`,
		Example: `  keyturn incident open arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001
  keyturn incident open mrk-5e3c0b9d71f84a62b6e07c2f18d4a906 --reason "moving to a new key"`,
		Args: func(c *cobra.Command, args []string) error {
			if err := trimBy(&declaration.By); err != nil {
				return err
			}
			if declaration.Reason = strings.TrimSpace(printable(declaration.Reason)); len(declaration.Reason) > mostReason {
				return fmt.Errorf("the reason is too long; want at most %d bytes", mostReason)
			}
			return cobra.ExactArgs(1)(c, args)
		},
		ValidArgsFunction: p.completeKey,
		RunE: func(c *cobra.Command, args []string) error {
			return p.withLedger(c.Context(), func(ctx context.Context, l *ledger.Ledger) error {
				declaration.Since = time.Now()
				return p.openIncident(ctx, l, args[0], declaration)
			})
		},
	}
	c.Flags().StringVar(&declaration.Reason, "reason", "", "`why`, for those who find the key left alone")
	c.Flags().StringVar(&declaration.By, "by", declaration.By, "`who` declares it")
	p.ledgerFlag(c)
	return c
}

func (p *program) incidentCloseCommand() *cobra.Command {
	by := operator()
	c := &cobra.Command{
		Use:     "close KEY",
		Short:   "End a declared incident",
		Example: `  keyturn incident close 0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f001`,
		Args: func(c *cobra.Command, args []string) error {
			if err := trimBy(&by); err != nil {
				return err
			}
			return cobra.ExactArgs(1)(c, args)
		},
		ValidArgsFunction: p.completeKey,
		RunE: func(c *cobra.Command, args []string) error {
			return p.withLedger(c.Context(), func(ctx context.Context, l *ledger.Ledger) error {
				return p.closeIncident(ctx, l, args[0], by)
			})
		},
	}
	c.Flags().StringVar(&by, "by", by, "`who` closes it")
	p.ledgerFlag(c)
	return c
}

// trimBy makes a name fit to be shown.
func trimBy(by *string) error {
	if *by = strings.TrimSpace(printable(*by)); *by == "" || len(*by) > mostReason {
		return fmt.Errorf("say who with --by, in at most %d bytes", mostReason)
	}
	return nil
}

func (p *program) openIncident(ctx context.Context, l *ledger.Ledger, wanted string, d ledger.Declaration) error {
	key, err := findKey(ctx, l, wanted)
	if err != nil {
		return err
	}
	before, err := l.Declared(ctx, key)
	if err != nil {
		return err
	}
	if before.Active() && d.Reason != "" && d.Reason != before.Reason {
		d.Since = before.Since
		if err := l.Declare(ctx, key, d); err != nil {
			return err
		}
		tell(p.out, "The incident on %s has another reason now. It was declared %s.\n", key, describeDeclaration(before, time.Now()))
		return nil
	}
	if before.Active() {
		tell(p.out, "An incident was declared on %s already, %s.\n", key, describeDeclaration(before, time.Now()))
		return nil
	}
	if err := l.Declare(ctx, key, d); err != nil {
		return err
	}
	users, err := l.ByKey(ctx, key)
	if err != nil {
		return err
	}
	tell(p.out, "Declared: keyturn repairs nothing on %s until \"keyturn incident close\". Alerts still come.\n", key)
	if len(users) == 0 {
		tell(p.out, "The ledger knows no cluster that uses this key.\n")
	}
	return nil
}

func (p *program) closeIncident(ctx context.Context, l *ledger.Ledger, wanted, by string) error {
	key, err := findKey(ctx, l, wanted)
	if err != nil {
		return err
	}
	before, err := l.Declared(ctx, key)
	if err != nil {
		return err
	}
	if !before.Active() {
		tell(p.out, "No incident is declared on %s.\n", key)
		return nil
	}
	if err := l.Declare(ctx, key, ledger.Declaration{}); err != nil {
		return err
	}
	tell(p.out, "Closed by %s. The incident on %s was declared %s.\n", by, key, describeDeclaration(before, time.Now()))
	return nil
}

func describeDeclaration(d ledger.Declaration, now time.Time) string {
	s := when(d.Since, now)
	if d.By != "" {
		s += " by " + printable(d.By)
	}
	if d.Reason != "" {
		s += ": " + printable(d.Reason)
	}
	return s
}

// findKey finds a key by its URI, which the ledger need not know, or by the id of one that it does know, in full or as
// status prints it. Replicas of a multi-Region key are one.
func findKey(ctx context.Context, l *ledger.Ledger, wanted string) (cmek.KeyURI, error) {
	if cmek.KeyURI(wanted).Type() != "" {
		key, err := cmek.ParseKeyURI(wanted)
		if err == nil && key.IsAlias() {
			err = errors.New("an alias names no key for good; use the ARN of the key")
		}
		return key, err
	}
	clusters, err := l.Clusters(ctx)
	if err != nil {
		return "", err
	}
	keys := keysOf(clusters)
	named := slices.DeleteFunc(slices.Clone(keys), func(key cmek.KeyURI) bool { return key.ID() != wanted })
	if len(named) == 0 {
		named = slices.DeleteFunc(keys, func(key cmek.KeyURI) bool { return shortKey(key) != wanted })
	}
	switch len(named) {
	case 1:
		return named[0], nil
	case 0:
		return "", fmt.Errorf("the ledger knows no key %q; \"keyturn status\" lists those it knows, and any key can be named by its ARN", wanted)
	}
	return "", fmt.Errorf("%d keys have the id %q; use the ARN of one", len(named), wanted)
}

// keysOf lists the keys of the clusters, current and past, each once.
func keysOf(clusters []*ledger.Cluster) (keys []cmek.KeyURI) {
	for _, c := range clusters {
		for _, info := range c.CMEK.RegionInfos {
			for _, k := range info.KeyInfos {
				if !slices.ContainsFunc(keys, k.Spec.URI.SameKey) {
					keys = append(keys, k.Spec.URI)
				}
			}
		}
	}
	return keys
}

// completeKey offers the ids of the ledger's keys for the one argument.
func (p *program) completeKey(c *cobra.Command, args []string, begun string) (offers []cobra.Completion, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	known, err := p.knownClusters(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, key := range keysOf(known) {
		if strings.HasPrefix(key.ID(), begun) {
			offers = append(offers, cobra.CompletionWithDesc(printable(key.ID()), printable(string(key))))
		}
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}
