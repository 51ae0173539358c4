package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// CheckedPin is a pin that was asked for, with what was read about it.
type CheckedPin struct {
	Cluster cmek.Cluster
	ledger.Pin
	// Key is the region's key, Target the one that the alias names; "" if that is not known.
	Key, Target cmek.KeyURI
	// Given: the region is pinned so already.
	Given bool
	// Problems are why the pin may not be set.
	Problems []Problem
	// Waits is what keeps the region from being moved to Target now, if that is not its key. It ends by itself, and refuses no pin.
	Waits []Problem
}

// CheckPin reads what decides about a pin, as it is now, and says what is wrong with it. It writes nothing.
func (f *Function) CheckPin(ctx context.Context, clusterID string, pin ledger.Pin) (c CheckedPin, err error) {
	c.Pin = pin
	if c.Cluster, err = f.Cloud.Cluster(ctx, clusterID); err != nil {
		return c, fmt.Errorf("read cluster %s: %w", clusterID, err)
	}
	info, err := f.Cloud.CMEK(ctx, clusterID)
	if err != nil && !errors.Is(err, cmek.ErrNotFound) {
		return c, fmt.Errorf("read CMEK of cluster %s: %w", clusterID, err)
	}
	given, err := f.Ledger.Pins(ctx, clusterID)
	if err != nil {
		return c, err
	}
	c.Given = slices.ContainsFunc(given, func(old ledger.Pin) bool { return old.Same(pin) })
	region, shown := info.Region(pin.Region)
	current, distinct := region.Current()
	c.Key = current.Spec.URI
	if c.Problems = unfitPin(pin, c.Cluster, info, current.Spec, shown && distinct == 1); len(c.Problems) > 0 {
		return c, nil
	}
	target, err := f.aliasTarget(ctx, pin.Alias)
	switch {
	case errors.Is(err, cmek.ErrNotFound):
		c.Problems = append(c.Problems, Problem{Row: "alias", Message: fmt.Sprintf("the alias %s does not exist", pin.Alias)})
	case errors.Is(err, cmek.ErrDenied):
		c.Problems = append(c.Problems, Problem{Row: "alias", Unread: true, Message: fmt.Sprintf("the alias %s may not be read; kms:DescribeKey is needed on the key that it names", pin.Alias)})
	case err != nil:
		c.Problems = append(c.Problems, Problem{Row: "alias", Unread: true, Message: fmt.Sprintf("the alias could not be read: %v", err)})
	}
	if err != nil || ctx.Err() != nil {
		return c, ctx.Err()
	}
	if c.Target = target; target == c.Key {
		return c, nil
	}
	order := ledger.Order{Region: pin.Region, From: current.Spec, To: cmek.KeySpec{Type: target.Type(), URI: target, AuthPrincipal: current.Spec.AuthPrincipal}, Terraform: pin.Terraform, Alias: pin.Alias}
	holds, err := f.Ledger.Holds(ctx)
	if err != nil {
		return c, err
	}
	c.Waits = Preflight(order, c.Cluster, info, f.ReadMove(ctx, c.Cluster, order), holds, time.Now())
	if !pin.Follow {
		c.Waits = slices.DeleteFunc(c.Waits, func(p Problem) bool { return p.Row == "terraform" })
	}
	return c, ctx.Err()
}

// unfitPin is what is wrong with a pin whatever its alias names.
func unfitPin(pin ledger.Pin, cluster cmek.Cluster, info cmek.ClusterInfo, current cmek.KeySpec, oneKey bool) (problems []Problem) {
	add := func(row, format string, args ...any) {
		problems = append(problems, Problem{Row: row, Message: fmt.Sprintf(format, args...)})
	}
	if cluster.CloudProvider != "" && cluster.CloudProvider != "AWS" || current.URI != "" && current.Type != cmek.AWSKMS {
		add("cloud", "cluster %s is not on AWS, and only AWS KMS has aliases. It needs no pin: a new version of a Cloud KMS key is followed by itself", cluster.Name)
		return problems
	}
	alias, err := cmek.ParseKeyURI(string(pin.Alias))
	_, shown := info.Region(pin.Region)
	switch {
	case err != nil || alias != pin.Alias || !alias.IsAlias() || alias.Location() == "" || alias.Account() == "":
		add("alias", "%q is not the ARN of an alias; want arn:aws:kms:REGION:ACCOUNT:alias/NAME", pin.Alias)
	case cmek.KeySpec{URI: alias, AuthPrincipal: current.AuthPrincipal}.AcrossPartitions():
		add("alias", "%s and the cluster's role %s are in two partitions of AWS, between which there is no access", alias, current.AuthPrincipal)
	case alias.AWSManaged():
		add("alias", "%s is an alias of AWS's own, for keys that no cluster can use", alias)
	case !shown:
		add("region", "the cluster shows no CMEK in region %s; it has %s", pin.Region, strings.Join(regionsOf(info), ", "))
	case !oneKey:
		add("region", "region %s has not exactly one ENABLED key spec; pin it when it has", pin.Region)
	case alias.Account() != current.URI.Account() || alias.Location() != current.URI.Location():
		add("location", "the alias %s is in another account or Region than the region's key %s; only a person orders such a move, with \"keyturn rotate\"", alias, current.URI)
	}
	if pin.Follow && pin.Terraform == "" {
		add("terraform", whyTerraform)
	}
	return problems
}
