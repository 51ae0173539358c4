package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Words for where a region stands, beside the Cloud API's own statuses.
const (
	stageDue       = string(ledger.Due)
	stageRequested = string(ledger.Requested)
	stageBlocked   = string(ledger.Blocked)
	stageStuck     = "stuck"
	stageDone      = "done"
	stageDropped   = "dropped"
	stageUpToDate  = "up to date"
	stageNotShown  = "not shown"
	stageOnHold    = "on hold"
	stageAtRisk    = "at risk"
)

// stage is where a piece of open work stands: its state, or what was last seen of its request.
func stage(w ledger.Work) string {
	if w.State != ledger.Requested {
		return string(w.State)
	}
	if !w.Request.StuckSince.IsZero() {
		return stageStuck
	}
	for i := len(w.Request.Timeline) - 1; i >= 0; i-- {
		if seen := w.Request.Timeline[i].Region; seen != "" {
			return string(seen)
		}
	}
	return stageRequested
}

// need is something that needs attention, and where to read on, which may be "".
type need struct{ what, runbook string }

// whats are the needs without their runbooks; nil if there are none.
func whats(needs []need) (found []string) {
	for _, n := range needs {
		found = append(found, n.what)
	}
	return found
}

// rotationRunbook is where rotation's runbook has a section for each alert.
const rotationRunbook = "functions/rotation/README.md"

// urgent lists the work that needs attention: what is blocked, failed or stuck, and clusters that are not shown.
func urgent(clusters []*ledger.Cluster) []need {
	var found []need
	for _, c := range clusters {
		for _, w := range c.Work {
			add := func(is, section string) {
				found = append(found, need{fmt.Sprintf("%s %s %s: %s", name(c), w.Region, is, w.Reason), rotationRunbook + section})
			}
			switch {
			case w.State == ledger.Blocked:
				add("is blocked", "#follow-through-blocked")
			case w.Failed > 0:
				add("failed", "#rotation-failed")
			case w.Request != nil && !w.Request.StuckSince.IsZero():
				add("is stuck", "#rotation-stuck")
			}
		}
		if len(paging(c.Alarms)) == 0 && !c.Unread.IsZero() { // its alert comes when a sweep could have said that it is deleted
			found = append(found, need{fmt.Sprintf("Cluster %s: %s", name(c), c.Unread.Why), rotationRunbook + "#cluster-not-shown"})
		}
	}
	return found
}

func paging(alarms []ledger.Alarm) []need {
	var found []need
	for _, a := range alarms {
		if a.Alert.Severity == alert.Critical || a.Alert.Severity == alert.High {
			found = append(found, need{a.Alert.Headline(), a.Alert.Runbook})
		}
	}
	return found
}

// name is how people call the cluster.
func name(c *ledger.Cluster) string {
	if c.Cluster.Name != "" {
		return printable(c.Cluster.Name)
	}
	return printable(c.ID)
}

// findCluster finds a cluster of the ledger by id or name.
func findCluster(clusters []*ledger.Cluster, wanted string) (*ledger.Cluster, error) {
	var named []*ledger.Cluster
	for _, c := range clusters {
		if c.ID == wanted {
			return c, nil
		}
		if c.Cluster.Name == wanted {
			named = append(named, c)
		}
	}
	switch len(named) {
	case 1:
		return named[0], nil
	case 0:
		return nil, fmt.Errorf("the ledger knows no cluster %q; \"keyturn status\" lists those it knows", wanted)
	}
	return nil, fmt.Errorf("%d clusters are named %q; use one of their ids", len(named), wanted)
}

// completeClusters offers them for any number of arguments.
func (p *program) completeClusters(c *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return p.completeCluster(c, nil, begun)
}

// completeCluster offers the names and ids of the ledger's clusters for the one argument. A ledger that cannot be read
// offers none.
func (p *program) completeCluster(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	known, err := p.knownClusters(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var offers []cobra.Completion
	for _, known := range known {
		if strings.HasPrefix(known.Cluster.Name, begun) {
			offers = append(offers, cobra.CompletionWithDesc(name(known), printable(known.ID)))
		}
		if begun != "" && strings.HasPrefix(known.ID, begun) {
			offers = append(offers, cobra.CompletionWithDesc(printable(known.ID), name(known)))
		}
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// completionTime is how long a person waits for the shell to complete a word.
const completionTime = 2 * time.Second

func (p *program) knownClusters(ctx context.Context) ([]*ledger.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	w, err := p.wire(ctx, needs{ledger: true}, p.err)
	if err != nil {
		return nil, err
	}
	known, err := w.Ledger.Clusters(ctx)
	if closed := w.close(); err == nil {
		err = closed
	}
	return known, err
}
