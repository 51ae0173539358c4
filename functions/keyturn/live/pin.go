package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// pinning is what "keyturn pin" was asked for.
type pinning struct {
	pin         ledger.Pin
	alias       string
	terraform   string
	noTerraform bool
	dryRun      bool
}

// PinCommand is "keyturn pin".
func (p Commands) PinCommand() *cobra.Command {
	var r pinning
	c := &cobra.Command{
		Use:   "pin [CLUSTER] --region REGION --alias ALIAS",
		Short: "Let a cluster's region follow an alias of AWS KMS",
		Long: `Let a cluster's region follow an alias of AWS KMS. A cluster names its key by the ARN, so it stays on that key when the
alias is moved to another one, by hand or by Vault, which makes a new key for each rotation. keyturn reads which
key a pinned alias names, at each event about it and at each sweep, and reports when that is not the region's.

With --follow keyturn then moves the region to that key, as "keyturn rotate" does: once the alias has settled, one
cluster first, after every check. A check that refuses blocks the move until it passes: a key that Vault made has to
admit the cluster's role first. An alias that is moved back before that moves nothing; a key in another account or
Region never does. Not in observe mode, while following is paused, on hold, or for a cluster labeled keyturn=off.
Whoever may move the alias then chooses the region's key.

A region has one pin. The same command again changes nothing. Without an argument the pins are listed.
Clusters on Google Cloud need none: a CryptoKey keeps its name, and its new version is followed by itself.`,
		Example: `  keyturn pin payments --region us-east-1 --alias arn:aws:kms:us-east-1:111122223333:alias/payments-cmek --dry-run
  keyturn pin payments --region us-east-1 --alias arn:aws:kms:us-east-1:111122223333:alias/payments-cmek --follow --no-terraform
  keyturn pin`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 && !c.Flags().Changed("alias") && !c.Flags().Changed("region") {
				return nil
			}
			if err := installation.TrimBy(c, &r.pin.By); err != nil {
				return err
			}
			if r.pin.Reason = strings.TrimSpace(terminal.Printable(r.pin.Reason)); len(r.pin.Reason) > mostHoldReason {
				return fmt.Errorf("say why with --reason, in at most %d bytes", mostHoldReason)
			}
			switch {
			case r.pin.Region == "" || r.alias == "":
				return errors.New("name the region with --region, and the alias with --alias")
			case r.terraform != "" && r.noTerraform:
				return errors.New("--terraform and --no-terraform contradict each other; use one of them")
			}
			return cobra.ExactArgs(1)(c, args)
		},
		ValidArgsFunction: p.CompleteCluster,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return p.WithLedger(c.Context(), p.listPins)
			}
			return p.pin(c.Context(), args[0], r)
		},
	}
	flags := c.Flags()
	flags.StringVar(&r.pin.Region, "region", "", "the `region` of the cluster")
	flags.StringVar(&r.alias, "alias", "", "the `ARN` of the alias")
	flags.BoolVar(&r.pin.Follow, "follow", false, "move the region to the key that the alias comes to name")
	flags.StringVar(&r.terraform, "terraform", "", "the `folder` whose Terraform manages the cluster")
	flags.BoolVar(&r.noTerraform, "no-terraform", false, "no Terraform manages the cluster's CMEK")
	flags.BoolVar(&r.dryRun, "dry-run", false, "check everything and write nothing")
	flags.StringVar(&r.pin.Reason, "reason", "", "`why`, for the evidence")
	flags.StringVar(&r.pin.By, "by", "", "`who` gives the order (default USER@HOST)")
	p.LedgerFlag(c)
	p.ServerFlag(c)
	p.ArchiveFlag(c)
	p.OutputFlag(c)
	return c
}

// PinReport is a pin as it was checked.
type PinReport struct {
	Cluster   string      `json:"cluster"`
	ClusterID string      `json:"cluster_id"`
	Region    string      `json:"region"`
	Alias     cmek.KeyURI `json:"alias"`
	Follow    bool        `json:"follow"`
	// Key is the region's, Target the one that the alias names; "" if that is not known.
	Key    cmek.KeyURI `json:"key,omitempty"`
	Target cmek.KeyURI `json:"target,omitempty"`
	// State is ready (with --dry-run), pinned or refused.
	State string `json:"state"`
	// Problems are why it was refused; Waits is what keeps the region from being moved to Target now.
	Problems []rotation.Problem `json:"problems,omitempty"`
	Waits    []rotation.Problem `json:"waits,omitempty"`
}

func (p Commands) pin(ctx context.Context, wanted string, r pinning) (err error) {
	w, err := p.Open(ctx, installation.Needs{Puts: true, Asked: true}, p.Err)
	if err != nil {
		return err
	}
	defer w.CloseInto(&err)
	id, err := clusterID(ctx, w, wanted)
	if nothing, is := errors.AsType[notOneCluster](err); is {
		return p.refuseCluster(nothing, func() error { return p.PrintJSON([]PinReport{}) })
	}
	if err != nil {
		return err
	}
	r.pin.Alias, r.pin.Since = cmek.KeyURI(r.alias), time.Now()
	switch {
	case r.noTerraform:
		r.pin.Terraform = "none"
	case r.terraform != "":
		state, err := readTerraform(ctx, r.terraform)
		if err != nil {
			return err
		}
		r.pin.Terraform = state.answer(id)
	}
	checked, err := w.CheckPin(ctx, id, r.pin)
	if err != nil {
		return err
	}
	report := PinReport{checked.Cluster.Name, id, r.pin.Region, r.pin.Alias, r.pin.Follow, checked.Key, checked.Target, "ready", checked.Problems, checked.Waits}
	switch {
	case len(checked.Problems) > 0:
		report.State = "refused"
	case checked.Given:
		report.State = "pinned"
	case !r.dryRun:
		if err := w.Ledger.SetPin(ctx, id, r.pin); err != nil {
			return err
		}
		report.State = "pinned"
	}
	if p.JSON {
		err = p.PrintJSON([]PinReport{report})
	} else {
		p.printPin(report, checked.Given)
	}
	if strings.HasPrefix(r.pin.Terraform, rotation.ManagedAs) && r.pin.Follow && report.State != "refused" {
		terminal.Tell(p.Err, "Terraform manages the CMEK of %s: after each move its configuration names the old key. Write the new one back, as the alert of each move and \"keyturn status\" show, before anything is applied there.\n", terminal.Printable(report.Cluster))
	}
	if err == nil && report.State == "refused" {
		terminal.Tell(p.Err, "Nothing was written: a check refused it.\n")
		return terminal.ErrRefused
	}
	return err
}

func (p Commands) printPin(r PinReport, given bool) {
	name := terminal.Printable(r.Cluster)
	for _, problem := range r.Problems {
		terminal.Tell(p.Out, "%s, %s: %s\n", name, terminal.Printable(r.Region), terminal.Printable(problem.Message))
	}
	if r.State == "refused" {
		return
	}
	does := "reports when it is moved"
	if r.Follow {
		does = "follows it"
	}
	switch {
	case given:
		terminal.Tell(p.Out, "Pinned already: %s in %s to %s; keyturn %s.\n", name, r.Region, r.Alias, does)
	case r.State == "pinned":
		terminal.Tell(p.Out, "Pinned %s in %s to %s; keyturn %s.\n", name, r.Region, r.Alias, does)
	default:
		terminal.Tell(p.Out, "%s in %s may be pinned to %s; keyturn then %s. Nothing was written.\n", name, r.Region, r.Alias, does)
	}
	switch {
	case r.Target == r.Key:
		terminal.Tell(p.Out, "The alias names the region's key %s.\n", r.Key)
		return
	case r.Follow:
		terminal.Tell(p.Out, "The alias names key %s, and the region is on %s: it is moved once the alias has settled.\n", r.Target, r.Key)
	default:
		terminal.Tell(p.Out, "The alias names key %s, and the region is on %s. Without --follow it stays there.\n", r.Target, r.Key)
	}
	for _, wait := range r.Waits {
		terminal.Tell(p.Out, "Such a move waits: %s\n", terminal.Printable(wait.Message))
	}
}

// PinStatus is a pin and what became of it.
type PinStatus struct {
	Cluster   string `json:"cluster"`
	ClusterID string `json:"cluster_id"`
	ledger.Pin
	// Pinned is nil until the alias was read.
	Pinned *ledger.Pinned `json:"pinned,omitempty"`
}

func (p Commands) listPins(ctx context.Context, l *ledger.Ledger) error {
	clusters, err := l.Clusters(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(clusters, func(a, b *ledger.Cluster) int {
		return strings.Compare(terminal.ClusterName(a), terminal.ClusterName(b))
	})
	found := []PinStatus{}
	for _, c := range clusters {
		pins, err := l.Pins(ctx, c.ID)
		if err != nil {
			return err
		}
		for _, pin := range pins {
			s := PinStatus{Cluster: c.Cluster.Name, ClusterID: c.ID, Pin: pin}
			if known, ok := c.PinnedIn(pin.Region); ok && known.Since.Equal(pin.Since) {
				s.Pinned = &known
			}
			found = append(found, s)
		}
	}
	if p.JSON {
		return p.PrintJSON(found)
	}
	if len(found) == 0 {
		terminal.Tell(p.Out, "No region is pinned.\n")
		return nil
	}
	now := time.Now()
	t := p.NewSheet(terminal.Column{Name: "cluster"}, terminal.Column{Name: "region"}, terminal.Column{Name: "alias", Wide: true}, terminal.Column{Name: "follows"}, terminal.Column{Name: "since"}, terminal.Column{Name: "stands"})
	for _, s := range found {
		follows, stands := "no", "not read yet"
		if s.Follow {
			follows = "yes"
		}
		if s.Pinned != nil {
			stands = standing(*s.Pinned, now)
		}
		t.Add(terminal.Printable(s.Cluster), terminal.Printable(s.Region), terminal.Printable(string(s.Alias)), follows, ordered(s.Since, s.By, s.Reason, now), terminal.Printable(stands))
	}
	t.Flush()
	return nil
}

// standing says how a pinned region and its alias stand.
func standing(p ledger.Pinned, now time.Time) string {
	switch {
	case !p.Unread.IsZero():
		return fmt.Sprintf("alias not read since %s: %s", terminal.When(p.Unread.Since, now), p.Unread.Why)
	case p.Seen.IsZero():
		return "not read yet"
	case p.Target == "":
		return "alias does not exist, since " + terminal.When(p.Seen, now)
	case p.Target == p.Agreed:
		return "names key " + p.Target.ID() + ", as last agreed"
	}
	return "names another key, " + p.Target.ID() + ", since " + terminal.When(p.Seen, now)
}

func describePinned(p ledger.Pinned, now time.Time) string {
	follows := "reported only"
	if p.Follow {
		follows = "followed"
	}
	return fmt.Sprintf("%s, %s: %s", p.Alias, follows, standing(p, now))
}

// UnpinReport is a pin that was asked to end.
type UnpinReport struct {
	Cluster   string `json:"cluster"`
	ClusterID string `json:"cluster_id"`
	Region    string `json:"region"`
	// Was: there was one.
	Was bool `json:"was"`
	// Sent: the request of a move that followed from it left before, and goes on.
	Sent bool `json:"sent,omitempty"`
}

// UnpinCommand is "keyturn unpin".
func (p Commands) UnpinCommand() *cobra.Command {
	var region string
	c := &cobra.Command{
		Use:   "unpin CLUSTER --region REGION",
		Short: "End a pin: the region no longer follows its alias",
		Long: `End the pin of a cluster's region: what the alias names is no longer read, and a move that followed from it and was
not sent yet is dropped. One that was sent goes on and is watched. The region stays on the key that it has.`,
		Example: `  keyturn unpin payments --region us-east-1`,
		Args: func(c *cobra.Command, args []string) error {
			if region == "" {
				return errors.New("name the region with --region")
			}
			return cobra.ExactArgs(1)(c, args)
		},
		ValidArgsFunction: p.CompleteCluster,
		RunE: func(c *cobra.Command, args []string) error {
			return p.withCluster(c.Context(), args[0], func(w *installation.Installation, found *ledger.Cluster) error {
				return p.unpin(c.Context(), w.Ledger, found, region)
			})
		},
	}
	c.Flags().StringVar(&region, "region", "", "the `region` of the cluster")
	p.LedgerFlag(c)
	p.OutputFlag(c)
	return c
}

func (p Commands) unpin(ctx context.Context, l *ledger.Ledger, c *ledger.Cluster, region string) error {
	was, err := l.Unpin(ctx, c.ID, region, time.Now())
	if err != nil {
		return err
	}
	if c, err = l.Cluster(ctx, c.ID); err != nil { // a request may have left meanwhile
		return err
	}
	sent := slices.ContainsFunc(c.Work, func(w ledger.Work) bool {
		return w.Region == region && w.Trigger.Kind == "pin" && w.State == ledger.Requested
	})
	name := terminal.ClusterName(c)
	switch {
	case p.JSON:
		return p.PrintJSON([]UnpinReport{{c.Cluster.Name, c.ID, region, was, sent}})
	case !was:
		terminal.Tell(p.Out, "%s is not pinned in %s. \"keyturn pin\" lists the pins.\n", name, terminal.Printable(region))
	default:
		terminal.Tell(p.Out, "Unpinned %s in %s.\n", name, terminal.Printable(region))
	}
	if sent {
		terminal.Tell(p.Out, "A PUT that followed from the pin was sent, and goes on.\n")
	}
	return nil
}
