package live

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/progress"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// rotating is what "keyturn rotate" was asked for.
type rotating struct {
	to, from         string
	regions          []string
	file             string
	terraform        string
	noTerraform      bool
	dryRun, cancel   bool
	asking           rotation.Asking
	fileWanted       []rotation.Wanted
	terraformAnswers terraformState
}

// RotateCommand is "keyturn rotate".
func (p Commands) RotateCommand() *cobra.Command {
	var r rotating
	c := &cobra.Command{
		Use:   "rotate [CLUSTER] --to KEY",
		Short: "Move a cluster, or all clusters of a key, to another key",
		Long: `Move a cluster's regions to another key, or with --from all clusters that are on that key.

First everything is checked: cluster, keys, the principal's access to both, incidents, holds. If any region fails
a check, nothing is sent and the command exits with 4. Then it writes orders into the ledger and follows
them through: one cluster first, then a few at a time, each watched to its end, with evidence. Orders are sent in
observe mode, too; not while following is paused, on hold, or for a cluster labeled keyturn=off. Ctrl-C ends after
the step that is under way; the same command again, or the function's next tick, goes on. An order that was
not sent within 24 hours expires. --cancel takes back what was not sent yet.

KEY is the full ARN of a key of AWS KMS, or the resource name of a CryptoKey. With -f, the key of each region
is read from the file that the vendor's page describes: {"region_specs":[…]} or the list alone.

A rotation outside Terraform must be written back to its configuration, or the next edit puts the old key back:
--terraform DIR reads the state there and prints the steps; --no-terraform says that there is none.

The old key stays needed for backups of before. Never delete it because of this command.`,
		Example: `  keyturn rotate payments --to arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f00a --dry-run
  keyturn rotate payments -f cmek_config.json --terraform ../infra --reason "CHG-1234"
  keyturn rotate payments --cancel`,
		Args: func(c *cobra.Command, args []string) error {
			if err := installation.TrimBy(c, &r.asking.By); err != nil {
				return err
			}
			if r.asking.Reason = strings.TrimSpace(terminal.Printable(r.asking.Reason)); len(r.asking.Reason) > mostHoldReason {
				return fmt.Errorf("say why with --reason, in at most %d bytes", mostHoldReason)
			}
			return r.check(args)
		},
		ValidArgsFunction: p.CompleteCluster,
		RunE: func(c *cobra.Command, args []string) error {
			if r.cancel {
				return p.cancelOrders(c.Context(), args[0], r)
			}
			return p.rotate(c.Context(), strings.Join(args, ""), r)
		},
	}
	flags := c.Flags()
	flags.StringVar(&r.to, "to", "", "the `key` to move to")
	flags.StringVar(&r.from, "from", "", "move all clusters that are on this `key`, or no region that is on another")
	flags.StringSliceVar(&r.regions, "region", nil, "only this `region` of the cluster; may be repeated")
	flags.StringVarP(&r.file, "file", "f", "", "read regions and keys from this `file`")
	flags.StringVar(&r.terraform, "terraform", "", "the `folder` whose Terraform manages the clusters")
	flags.BoolVar(&r.noTerraform, "no-terraform", false, "no Terraform manages the clusters' CMEK")
	flags.BoolVar(&r.asking.CrossRegion, "cross-region-key", false, "allow a key in another Region than the cluster's")
	flags.BoolVar(&r.dryRun, "dry-run", false, "check everything and write nothing")
	flags.BoolVar(&r.cancel, "cancel", false, "cancel the cluster's orders that were not sent")
	flags.StringVar(&r.asking.Reason, "reason", "", "`why`, for the evidence")
	flags.StringVar(&r.asking.By, "by", "", "`who` gives the order (default USER@HOST)")
	p.LedgerFlag(c)
	p.ServerFlag(c)
	p.Variable(c, "archive", "KEYTURN_ARCHIVE", "where evidence goes: `file:DIR`, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")
	p.OutputFlag(c)
	return c
}

// check reports flags and arguments that do not go together.
func (r *rotating) check(args []string) error {
	named := len(args) == 1
	switch {
	case len(args) > 1:
		return errors.New("name one cluster, or all clusters of a key with --from")
	case r.cancel && (!named || r.to != "" || r.from != "" || r.file != "" || r.dryRun):
		return errors.New("--cancel goes with one cluster, and with --region")
	case r.cancel:
		return nil
	case r.file != "" && (!named || r.to != "" || len(r.regions) > 0):
		return errors.New("-f goes with one cluster: it names the regions and their keys")
	case r.file == "" && r.to == "":
		return errors.New("name the key with --to, or the regions and their keys with -f")
	case !named && r.from == "":
		return errors.New("name a cluster, or all clusters of a key with --from")
	case !named && len(r.regions) > 0:
		return errors.New("--region goes with one cluster")
	case r.terraform != "" && r.noTerraform:
		return errors.New("--terraform and --no-terraform contradict each other; use one of them")
	}
	return nil
}

// readFile reads the vendor's file: an object with region_specs, or the list alone.
func (r *rotating) readFile() error {
	data, err := os.ReadFile(r.file)
	if err != nil {
		return err
	}
	var object struct {
		RegionSpecs []cmek.RegionSpec `json:"region_specs"`
	}
	target := any(&object)
	if data = bytes.TrimSpace(data); len(data) > 0 && data[0] == '[' {
		target = &object.RegionSpecs
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(target); err != nil || d.More() {
		return fmt.Errorf(`%s: want {"region_specs":[{"region":…,"key_spec":{"type":…,"uri":…,"auth_principal":…}}]} or the list alone: %w`, r.file, cmp.Or(err, errors.New("more than that")))
	}
	seen := map[string]bool{}
	for _, s := range object.RegionSpecs {
		if s.Region == "" || s.KeySpec.URI == "" || seen[s.Region] {
			return fmt.Errorf("%s: each entry must name a region, once, and the uri of its key", r.file)
		}
		seen[s.Region] = true
		r.fileWanted = append(r.fileWanted, rotation.Wanted{Region: s.Region, From: cmek.KeyURI(r.from), To: s.KeySpec})
	}
	if len(seen) == 0 {
		return fmt.Errorf("%s names no region", r.file)
	}
	return nil
}

func (r *rotating) wanted() []rotation.Wanted {
	to := cmek.KeySpec{URI: cmek.KeyURI(r.to)}
	switch {
	case r.file != "":
		return r.fileWanted
	case len(r.regions) == 0:
		return []rotation.Wanted{{From: cmek.KeyURI(r.from), To: to}}
	}
	var wanted []rotation.Wanted
	for _, region := range r.regions {
		wanted = append(wanted, rotation.Wanted{Region: region, From: cmek.KeyURI(r.from), To: to})
	}
	return wanted
}

// OrderReport is one order as it was checked.
type OrderReport struct {
	Cluster   string      `json:"cluster"`
	ClusterID string      `json:"cluster_id"`
	Region    string      `json:"region"`
	From      cmek.KeyURI `json:"from"`
	To        cmek.KeyURI `json:"to"`
	// State is ready, ordered (before), done or refused.
	State string `json:"state"`
	// Problems are why it was refused.
	Problems []rotation.Problem `json:"problems,omitempty"`
}

func (p Commands) rotate(ctx context.Context, wanted string, r rotating) (err error) {
	if r.file != "" {
		if err := r.readFile(); err != nil {
			return &terminal.ConfigurationError{Problems: err}
		}
	}
	display := progress.NewDisplay(&p.Terminal)
	w, err := p.Open(ctx, installation.Needs{Puts: true, Asked: true}, display)
	if err != nil {
		return err
	}
	defer w.CloseInto(&err)
	if r.noTerraform {
		r.asking.Terraform = "none"
	}
	if r.terraform != "" {
		if r.terraformAnswers, err = readTerraform(ctx, r.terraform); err != nil {
			return err
		}
	}
	checked, err := p.checkOrders(ctx, w, wanted, r)
	if err != nil {
		return err
	}
	reports, refused := reportOrders(checked)
	p.sayUnverified(reports)
	if r.dryRun || refused {
		if p.JSON {
			err = p.PrintJSON(reports)
		} else {
			p.printOrders(reports)
		}
		switch {
		case err != nil:
			return err
		case refused:
			terminal.Tell(p.Err, "Nothing was sent: a check refused it.\n")
			return terminal.ErrRefused
		}
		if !p.JSON {
			r.printWriteBack(p.Out, checked)
			terminal.Tell(p.Out, "Nothing was written. Without --dry-run this is carried out.\n")
		}
		return nil
	}
	return p.carryOut(ctx, w, display, checked, r)
}

// checkOrders checks each cluster that is concerned.
func (p Commands) checkOrders(ctx context.Context, w *installation.Installation, wanted string, r rotating) (checked []rotation.CheckedCluster, err error) {
	var ids []string
	if wanted != "" {
		id, err := clusterID(ctx, w, wanted)
		if err != nil {
			return nil, err
		}
		ids = []string{id}
	} else {
		clusters, err := w.Ledger.ByKey(ctx, cmek.KeyURI(r.from))
		if err != nil {
			return nil, err
		}
		for _, c := range clusters {
			ids = append(ids, c.ID)
		}
	}
	for _, id := range ids {
		asking := r.asking
		if r.terraform != "" {
			asking.Terraform = r.terraformAnswers.answer(id)
		}
		c, err := w.CheckOrders(ctx, id, r.wanted(), asking)
		if err != nil {
			return nil, err
		}
		if len(c.Orders) > 0 {
			checked = append(checked, c)
		}
	}
	if len(checked) == 0 {
		return nil, errors.New("no cluster has a region on that key; \"keyturn status\" shows their keys")
	}
	return checked, nil
}

func reportOrders(checked []rotation.CheckedCluster) (reports []OrderReport, refused bool) {
	for _, c := range checked {
		for _, o := range c.Orders {
			state := "ready"
			switch {
			case o.Reached:
				state = "done"
			case o.Given:
				state = "ordered"
			case len(o.Problems) > 0:
				state, refused = "refused", true
			}
			reports = append(reports, OrderReport{c.Cluster.Name, c.Cluster.ID, o.Region, o.From.URI, o.To.URI, state, o.Problems})
		}
	}
	return reports, refused
}

// sayUnverified names what no check can tell: whether an installation watches where the new keys are.
func (p Commands) sayUnverified(reports []OrderReport) {
	said := map[string]bool{}
	for _, r := range reports {
		place := r.To.Account() + " in " + r.To.Location()
		if r.State == "ready" && !said[place] {
			said[place] = true
			terminal.Tell(p.Err, "Not verified: that account %s is watched, so that changes of the new key are reported. Check the accounts and Regions of the deployment.\n", terminal.Printable(place))
		}
	}
}

func (p Commands) printOrders(reports []OrderReport) {
	t := p.NewSheet(terminal.Column{Name: "cluster"}, terminal.Column{Name: "region"}, terminal.Column{Name: "from"}, terminal.Column{Name: "to"}, terminal.Column{Name: "state"})
	for _, r := range reports {
		t.Add(terminal.Printable(r.Cluster), terminal.Printable(r.Region), terminal.ShortKey(r.From), terminal.ShortKey(r.To), r.State)
	}
	t.Flush()
	for _, r := range reports {
		for _, problem := range r.Problems {
			terminal.Tell(p.Out, "%s, %s: %s\n", terminal.Printable(r.Cluster), terminal.Printable(r.Region), terminal.Printable(problem.Message))
		}
	}
}

// carryOut gives the orders and follows them through.
func (p Commands) carryOut(ctx context.Context, w *installation.Installation, display progress.Display, checked []rotation.CheckedCluster, r rotating) error {
	following := &orders{}
	for _, c := range checked {
		var give []ledger.Order
		for _, o := range c.Orders {
			switch {
			case o.Reached:
				terminal.Tell(display, "%s is on this key already in %s.\n", terminal.Printable(c.Cluster.Name), o.Region)
			case o.Given:
				following.all = append(following.all, clusterOrder{c.Cluster.ID, o.Order})
			default:
				give = append(give, o.Order)
			}
		}
		if len(give) == 0 {
			continue
		}
		placed, err := w.Ledger.PlaceOrders(ctx, c.Cluster.ID, give, time.Now())
		if err != nil {
			return err
		}
		for _, o := range placed {
			following.all = append(following.all, clusterOrder{c.Cluster.ID, o})
		}
	}
	if len(following.all) > 0 {
		terminal.Tell(display, "%s given; following them through at %s …\n", terminal.Count(len(following.all), "order"), w.Settings.CloudAPI())
		runner := &progress.Runner{Function: w.Function, Display: display, TickEvery: time.Second, PollEvery: 200 * time.Millisecond}
		if w.Settings.Ledger.Scheme != "file" {
			runner.PollEvery = 3 * time.Second
		}
		v, err := runner.Until(ctx, following.ended)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("interrupted; the orders stand in the ledger: the same command, or the function's next tick, goes on, and \"keyturn rotate CLUSTER --cancel\" takes back what was not sent")
		case err != nil:
			return err
		case v.Failures >= mostFailures:
			return fmt.Errorf("%d ticks failed in a row: %w", v.Failures, v.Problem)
		}
		following.view = v
	}
	r.printWriteBack(display, checked)
	return p.concludeRotate(display, following)
}

// orders are those that a command follows through.
type orders struct {
	all  []clusterOrder
	view progress.View
}

type clusterOrder struct {
	clusterID string
	ledger.Order
}

// stateOf is what became of an order: its end, or else its open work.
func stateOf(v progress.View, clusterID string, order ledger.Order) (end ledger.OrderEnd, ended bool, work ledger.Work, open bool) {
	i := slices.IndexFunc(v.Clusters, func(c *ledger.Cluster) bool { return c.ID == clusterID })
	if i < 0 {
		return end, false, work, false
	}
	end, ended = v.Clusters[i].OrderEnded(order.ID)
	for _, w := range v.Clusters[i].Work {
		if w.Order == order.ID {
			return end, ended, w, true
		}
	}
	return end, ended, work, false
}

// ended reports whether nothing of the orders goes on soon: each has come to its end or waits for somebody.
func (o *orders) ended(v progress.View) bool {
	if v.Failures >= mostFailures {
		return true
	}
	for _, order := range o.all {
		_, ended, work, open := stateOf(v, order.clusterID, order.Order)
		i := slices.IndexFunc(v.Clusters, func(c *ledger.Cluster) bool { return c.ID == order.clusterID })
		if ended {
			continue
		}
		if !open || i < 0 {
			return false
		}
		c := v.Clusters[i]
		_, held := v.Holds.Find(c.ID, work.Key, time.Now())
		waits := work.State == ledger.Blocked || work.State == ledger.Due && (held || v.Pause.Active()) || rotation.Stopped(v.Clusters, c, work, time.Now())
		if !waits {
			return false
		}
	}
	return !slices.ContainsFunc(v.Clusters, func(c *ledger.Cluster) bool {
		return len(c.Messages) > 0 && slices.ContainsFunc(o.all, func(order clusterOrder) bool { return order.clusterID == c.ID })
	})
}

// concludeRotate says what became of the orders, and what is still true of the old keys.
func (p Commands) concludeRotate(out io.Writer, o *orders) error {
	done, open := 0, false
	var old []cmek.KeyURI
	for _, order := range o.all {
		end, ended, work, _ := stateOf(o.view, order.clusterID, order.Order)
		switch {
		case ended && end.Done:
			done++
			old = append(old, order.From.URI)
		case ended:
			open = true
			terminal.Tell(out, "%s was not moved in %s: %s\n", order.clusterID, order.Region, terminal.Printable(end.Why))
		default:
			open = true
			terminal.Tell(out, "%s waits in %s: %s, %s\n", order.clusterID, order.Region, work.State, terminal.Printable(work.Reason))
		}
	}
	if len(o.all) > 0 {
		terminal.Tell(out, "%d of %s done.\n", done, terminal.Count(len(o.all), "order"))
	}
	slices.Sort(old)
	for _, key := range slices.Compact(old) {
		terminal.Tell(out, "The old key %s is still needed: backups of before can only be restored with it, until %s with the longest retention.\n",
			key, rotation.StillNeeded(time.Now()).Format(time.DateOnly))
	}
	if open {
		return terminal.ErrNeedsPerson
	}
	return nil
}

func (r *rotating) printWriteBack(out io.Writer, checked []rotation.CheckedCluster) {
	for _, c := range checked {
		var moves []string
		for _, o := range c.Orders {
			moves = append(moves, fmt.Sprintf("       the key of %s from %s to %s", o.Region, o.From.URI, o.To.URI))
		}
		r.terraformAnswers.printWriteBack(out, c.Cluster.Name, c.Cluster.ID, moves)
	}
}

// CanceledOrders are those that ended with --cancel, and those whose request was sent before, which go on.
type CanceledOrders struct {
	Canceled []ledger.Order `json:"canceled"`
	Sent     []ledger.Order `json:"sent"`
}

func (p Commands) cancelOrders(ctx context.Context, wanted string, r rotating) error {
	return p.withCluster(ctx, wanted, func(w *installation.Installation, c *ledger.Cluster) error {
		canceled, sent, err := w.Ledger.CancelOrders(ctx, c.ID, r.regions, time.Now(), r.asking.By)
		if err != nil {
			return err
		}
		if p.JSON {
			return p.PrintJSON(CanceledOrders{append([]ledger.Order{}, canceled...), append([]ledger.Order{}, sent...)})
		}
		for _, o := range canceled {
			terminal.Tell(p.Out, "Canceled: %s in %s to %s.\n", terminal.ClusterName(c), o.Region, o.To.URI)
		}
		for _, o := range sent {
			terminal.Tell(p.Out, "Sent already, and goes on: %s in %s to %s.\n", terminal.ClusterName(c), o.Region, o.To.URI)
		}
		if len(canceled)+len(sent) == 0 {
			terminal.Tell(p.Out, "No order about %s is open.\n", terminal.ClusterName(c))
		}
		return nil
	})
}
