package simulator

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

type awsAlias struct {
	name string
	key  *awsKey
	// created and updated are when the alias was made, and when it was last pointed at a key.
	created, updated time.Time
}

func (a *awsAlias) arn() string {
	return fmt.Sprintf("arn:%s:kms:%s:%s:%s", a.key.partition(), a.key.region, a.key.account, a.name)
}

// alias finds an alias by name, nil if there is none.
func (a *awsKMS) alias(account, region, name string) *awsAlias {
	for _, alias := range a.aliases {
		if alias.name == name && alias.key.region == region && alias.key.account == account {
			return alias
		}
	}
	return nil
}

func (w *World) keyByTarget(c *kmsCall) (*awsKey, *kmsError) {
	return w.findKey(c, c.input.TargetKeyID, false)
}

// keyOfAlias is the key that the alias is for.
func (w *World) keyOfAlias(c *kmsCall) (*awsKey, *kmsError) {
	alias, failed := w.ownAlias(c)
	if failed != nil {
		return nil, failed
	}
	c.alias = alias.arn()
	return alias.key, nil
}

// ownAlias is the caller's alias with the name in the input.
func (w *World) ownAlias(c *kmsCall) (*awsAlias, *kmsError) {
	if !strings.HasPrefix(c.input.AliasName, "alias/") {
		return nil, invalid("Invalid identifier: an alias name begins with alias/")
	}
	if alias := w.aws.alias(c.account, c.region, c.input.AliasName); alias != nil {
		return alias, nil
	}
	return nil, refused("NotFoundException", "Alias arn:%s:kms:%s:%s:%s is not found.", partitionOf(c.region), c.region, c.account, c.input.AliasName)
}

// createAlias refuses names that are none, and alias/aws/, which is for the keys of AWS services.
func (w *World) createAlias(c *kmsCall, k *awsKey) (any, *kmsError) {
	name := c.input.AliasName
	switch rest, ok := strings.CutPrefix(name, "alias/"); {
	case !ok || rest == "" || strings.Contains(rest, ":"):
		return nil, refused("InvalidAliasNameException", "Invalid alias name '%s': want alias/ and letters, digits, / _ -", name)
	case strings.HasPrefix(rest, "aws/"):
		return nil, refused("InvalidAliasNameException", "Invalid alias name '%s': alias/aws/ is reserved for AWS managed keys", name)
	case w.aws.alias(c.account, c.region, name) != nil:
		return nil, refused("AlreadyExistsException", "An alias with the name arn:%s:kms:%s:%s:%s already exists", k.partition(), c.region, c.account, name)
	case k.pendingDeletion():
		return nil, k.invalidState()
	}
	alias := &awsAlias{name, k, c.now, c.now}
	w.aws.aliases = append(w.aws.aliases, alias)
	c.alias = alias.arn()
	return nil, nil
}

// updateAlias needs permission on the key that the alias leaves, too.
func (w *World) updateAlias(c *kmsCall, k *awsKey) (any, *kmsError) {
	alias, failed := w.ownAlias(c)
	switch {
	case failed != nil:
		return nil, failed
	case !alias.key.permits(c.kmsCaller, c.operation, nil) || alias.key.denied:
		return nil, c.denied(alias.key)
	case k.pendingDeletion():
		return nil, k.invalidState()
	}
	alias.key, alias.updated = k, c.now
	c.alias = alias.arn()
	return nil, nil
}

func (w *World) deleteAlias(c *kmsCall, _ *awsKey) (any, *kmsError) {
	w.aws.aliases = slices.DeleteFunc(w.aws.aliases, func(a *awsAlias) bool { return a.arn() == c.alias })
	return nil, nil
}

type aliasesOutput struct {
	Aliases    []aliasEntry
	Truncated  bool
	NextMarker string `json:",omitempty"`
}

type aliasEntry struct {
	AliasName       string
	AliasArn        string
	TargetKeyID     string `json:"TargetKeyId"`
	CreationDate    epoch
	LastUpdatedDate epoch
}

func (w *World) listAliases(c *kmsCall, k *awsKey) (any, *kmsError) {
	entries := []aliasEntry{}
	for _, a := range w.aws.aliases {
		if a.key.region != c.region || a.key.account != c.account || (k != nil && a.key != k) {
			continue
		}
		entries = append(entries, aliasEntry{a.name, a.arn(), a.key.id, epoch{a.created}, epoch{a.updated}})
	}
	slices.SortFunc(entries, func(a, b aliasEntry) int { return strings.Compare(a.AliasName, b.AliasName) })
	page, next, failed := kmsPage(c, entries, 50, 100)
	return aliasesOutput{page, next != "", next}, failed
}
