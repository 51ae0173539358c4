// Package clouds joins the adapters of several clouds, for programs on one machine that work on keys of all of them: the demo, the simulated
// installation, and the command line. In a cloud, each installation follows the keys of its own.
package clouds

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// KMS reads each key with the adapter for its type.
type KMS map[cmek.KeyType]cmek.KMS

// Types are the types of keys that can be read, in one order.
func (k KMS) Types() []cmek.KeyType { return slices.Sorted(maps.Keys(k)) }

// Key implements [cmek.KMS].
func (k KMS) Key(ctx context.Context, uri cmek.KeyURI) (cmek.Key, error) {
	of, err := k.of(uri)
	if err != nil {
		return cmek.Key{}, err
	}
	return of.Key(ctx, uri)
}

// Describe implements [cmek.KMS].
func (k KMS) Describe(ctx context.Context, uri cmek.KeyURI) (cmek.Key, error) {
	of, err := k.of(uri)
	if err != nil {
		return cmek.Key{}, err
	}
	return of.Describe(ctx, uri)
}

// AliasTarget implements [cmek.Aliases].
func (k KMS) AliasTarget(ctx context.Context, alias cmek.KeyURI) (cmek.KeyURI, error) {
	of, has := k[alias.Type()].(cmek.Aliases)
	if !has {
		return "", fmt.Errorf("read alias %q: nothing here reads aliases of its type", alias)
	}
	return of.AliasTarget(ctx, alias)
}

func (k KMS) of(uri cmek.KeyURI) (cmek.KMS, error) {
	if of := k[uri.Type()]; of != nil {
		return of, nil
	}
	return nil, fmt.Errorf("read key %q: nothing here reads keys of its type", uri)
}

// Policies reads each document with the adapter of the cloud that it is of. Where that is nil no document is named.
type Policies struct{ AWS, Google cmek.Policies }

// Deciding implements [cmek.Policies].
func (p Policies) Deciding(use cmek.Use, known map[string]string) (names []string) {
	for _, of := range []cmek.Policies{p.AWS, p.Google} {
		if of != nil {
			names = append(names, of.Deciding(use, known)...)
		}
	}
	return names
}

// Document implements [cmek.Policies]. The name of what is of AWS is an ARN, or begins with one; no other name does.
func (p Policies) Document(ctx context.Context, name string) (string, error) {
	of := p.Google
	if strings.HasPrefix(name, "arn:") {
		of = p.AWS
	}
	if of == nil {
		return "", fmt.Errorf("read document %q: nothing here reads those of its cloud", name)
	}
	return of.Document(ctx, name)
}
