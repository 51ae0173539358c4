package life

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/progress"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/lifecycle"
	"github.com/keyturn/keyturn/internal/cmek"
)

// CMEKCommand is "keyturn cmek".
func (p Commands) CMEKCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cmek CLUSTER",
		Short: "Show a cluster's CMEK as the Cloud API has it now: regions, keys, statuses, messages",
		Long: `Show a cluster's CMEK as the Cloud API has it now, with one GET (and the list of clusters, if the cluster is
named and not given by its id). Nothing is written, and the ledger is not asked: "keyturn status" shows what keyturn knows
and does.

With -o json the API's own answer is printed as it came.`,
		Example: `  keyturn cmek orders
  keyturn cmek 7c1d9e20-3a4b-4c5d-8e6f-000000000003 -o json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: p.CompleteCluster,
		RunE:              func(c *cobra.Command, args []string) error { return p.cmek(c.Context(), args[0]) },
	}
	p.ServerFlag(c)
	p.OutputFlag(c)
	return c
}

func (p Commands) cmek(ctx context.Context, wanted string) (err error) {
	f, err := p.operations(ctx, true)
	if err != nil {
		return err
	}
	defer f.close(&err)
	id := wanted
	if !lifecycle.IsID(wanted) {
		c, err := f.Find(ctx, wanted)
		if err != nil {
			return err
		}
		id = c.ID
	}
	info, document, err := f.client.CMEKDocument(ctx, id)
	switch {
	case errors.Is(err, cmek.ErrNotFound):
		terminal.Tell(p.Err, "keyturn: the Cloud API shows no CMEK of %s: the cluster has none, or the API key does not see it\n", terminal.Printable(wanted))
		return terminal.ErrNeedsPerson
	case err != nil:
		return err
	case p.JSON:
		_, err := p.Out.Write(append(document, '\n'))
		return err
	}
	p.printCMEK(info)
	return nil
}

func (p Commands) printCMEK(info cmek.ClusterInfo) {
	c := p.Palette()
	terminal.Tell(p.Out, "CMEK %s\n", progress.State(c, terminal.Printable(string(info.Status))))
	now := time.Now()
	t := p.NewSheet(terminal.Column{Name: "region"}, terminal.Column{Name: "status"}, terminal.Column{Name: "key"}, terminal.Column{Name: "key status"}, terminal.Column{Name: "updated"}, terminal.Column{Name: "principal", Wide: true}, terminal.Column{Name: "message"})
	for _, r := range info.RegionInfos {
		if len(r.KeyInfos) == 0 {
			t.Add(terminal.Printable(r.Region), progress.State(c, terminal.Printable(string(r.Status))), "–", "–", "–", "–", "")
		}
		for _, k := range r.KeyInfos {
			key := terminal.ShortKey(k.Spec.URI)
			if p.Wide() {
				key = terminal.Printable(string(k.Spec.URI))
			}
			t.Add(terminal.Printable(r.Region), progress.State(c, terminal.Printable(string(r.Status))), key, progress.State(c, terminal.Printable(string(k.Status))), terminal.When(k.UpdatedAt, now),
				terminal.Printable(string(k.Spec.AuthPrincipal)), strings.TrimSpace(terminal.Printable(k.UserMessage)))
		}
	}
	t.Flush()
}
