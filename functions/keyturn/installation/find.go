package installation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// ErrNoCluster is that the ledger knows no cluster of that name or id.
var ErrNoCluster = errors.New("the ledger knows no cluster")

// FindCluster finds a cluster of the ledger by id, in either case, or by name.
func FindCluster(clusters []*ledger.Cluster, wanted string) (*ledger.Cluster, error) {
	var named []*ledger.Cluster
	for _, c := range clusters {
		if strings.EqualFold(c.ID, wanted) {
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
		return nil, fmt.Errorf("%w %q; \"keyturn status\" lists those it knows", ErrNoCluster, wanted)
	}
	return nil, fmt.Errorf("%d clusters are named %q; use one of their ids", len(named), wanted)
}

// CompleteClusters offers them for any number of arguments.
func (p *Program) CompleteClusters(c *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return p.CompleteCluster(c, nil, begun)
}

// CompleteCluster offers the names and ids of the ledger's clusters for the one argument.
func (p *Program) CompleteCluster(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return p.Complete(c, args, func(ctx context.Context, l *ledger.Ledger, offer func(argument, about string)) error {
		known, err := l.Clusters(ctx)
		if err != nil {
			return err
		}
		for _, known := range known {
			if strings.HasPrefix(known.Cluster.Name, begun) {
				offer(terminal.ClusterName(known), known.ID)
			}
			if begun != "" && strings.HasPrefix(known.ID, begun) {
				offer(known.ID, terminal.ClusterName(known))
			}
		}
		return nil
	})
}

// completionTime is how long a person waits for the shell to complete a word.
const completionTime = 2 * time.Second

// Complete offers for the one argument of a command what list finds in the ledger, each with what it is about. A ledger that cannot
// be read offers none.
func (p *Program) Complete(c *cobra.Command, args []string, list func(ctx context.Context, l *ledger.Ledger, offer func(argument, about string)) error) (offers []cobra.Completion, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionTime)
	defer cancel()
	_ = p.WithLedger(ctx, func(ctx context.Context, l *ledger.Ledger) error {
		return list(ctx, l, func(argument, about string) {
			offers = append(offers, cobra.CompletionWithDesc(terminal.Printable(argument), terminal.Printable(about)))
		})
	})
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// FindKey finds a key by its URI, which the ledger need not know, or by the id of one that it does know, in full or as
// status prints it. Replicas of a multi-Region key are one.
func FindKey(ctx context.Context, l *ledger.Ledger, wanted string) (cmek.KeyURI, error) {
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
	keys := KeysOf(clusters)
	named := slices.DeleteFunc(slices.Clone(keys), func(key cmek.KeyURI) bool { return key.ID() != wanted })
	if len(named) == 0 {
		named = slices.DeleteFunc(keys, func(key cmek.KeyURI) bool { return terminal.ShortKey(key) != wanted })
	}
	switch len(named) {
	case 1:
		return named[0], nil
	case 0:
		return "", fmt.Errorf("the ledger knows no key %q; \"keyturn status\" lists those it knows, and any key can be named by its ARN", wanted)
	}
	return "", fmt.Errorf("%d keys have the id %q; use the ARN of one", len(named), wanted)
}

// KeysOf lists the keys of the clusters, current and past, each once.
func KeysOf(clusters []*ledger.Cluster) (keys []cmek.KeyURI) {
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

// CompleteKey offers the ids of the ledger's keys for the one argument.
func (p *Program) CompleteKey(c *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return p.Complete(c, args, func(ctx context.Context, l *ledger.Ledger, offer func(argument, about string)) error {
		known, err := l.Clusters(ctx)
		for _, key := range KeysOf(known) {
			if strings.HasPrefix(key.ID(), begun) {
				offer(key.ID(), string(key))
			}
		}
		return err
	})
}
