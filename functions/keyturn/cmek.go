package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/internal/cmek"
)

func (p *program) cmekCommand() *cobra.Command {
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
		ValidArgsFunction: p.completeCluster,
		RunE:              func(c *cobra.Command, args []string) error { return p.cmek(c.Context(), args[0]) },
	}
	p.serverFlag(c)
	p.outputFlag(c)
	return c
}

func (p *program) cmek(ctx context.Context, wanted string) (err error) {
	f, err := p.operations(ctx, true)
	if err != nil {
		return err
	}
	defer f.close(&err)
	id := wanted
	if !clusterIDForm.MatchString(wanted) {
		c, err := f.Find(ctx, wanted)
		if err != nil {
			return err
		}
		id = c.ID
	}
	info, document, err := f.client.CMEKDocument(ctx, id)
	switch {
	case errors.Is(err, cmek.ErrNotFound):
		tell(p.err, "keyturn: the Cloud API shows no CMEK of %s: the cluster has none, or the API key does not see it\n", printable(wanted))
		return errNeedsPerson
	case err != nil:
		return err
	case p.json:
		_, err := p.out.Write(append(document, '\n'))
		return err
	}
	p.printCMEK(info)
	return nil
}

func (p *program) printCMEK(info cmek.ClusterInfo) {
	c := palette(p.color())
	tell(p.out, "CMEK %s\n", c.state(printable(string(info.Status))))
	now := time.Now()
	t := p.newSheet(column{name: "region"}, column{name: "status"}, column{name: "key"}, column{name: "key status"}, column{name: "updated"}, column{name: "principal", wide: true}, column{name: "message"})
	for _, r := range info.RegionInfos {
		if len(r.KeyInfos) == 0 {
			t.add(printable(r.Region), c.state(printable(string(r.Status))), "–", "–", "–", "–", "")
		}
		for _, k := range r.KeyInfos {
			key := shortKey(k.Spec.URI)
			if p.wide {
				key = printable(string(k.Spec.URI))
			}
			t.add(printable(r.Region), c.state(printable(string(r.Status))), key, c.state(printable(string(k.Status))), when(k.UpdatedAt, now),
				printable(string(k.Spec.AuthPrincipal)), strings.TrimSpace(printable(k.UserMessage)))
		}
	}
	t.flush()
}
