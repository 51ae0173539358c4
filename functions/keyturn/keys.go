package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

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

// knownKeys are the ids of the ledger's keys that begin so, for completion.
func (p *program) knownKeys(c *cobra.Command, begun string) (offers []cobra.Completion) {
	known, err := p.knownClusters(c.Context())
	if err != nil {
		return nil
	}
	for _, key := range keysOf(known) {
		if strings.HasPrefix(key.ID(), begun) {
			offers = append(offers, cobra.CompletionWithDesc(printable(key.ID()), printable(string(key))))
		}
	}
	return offers
}
