package live

import (
	"context"
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
	"github.com/keyturn/keyturn/functions/lifecycle"
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
	flags.StringArrayVar(&r.regions, "region", nil, "only this `region` of the cluster; may be repeated")
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
	p.ArchiveFlag(c)
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
	for i, region := range r.regions {
		if slices.Contains(r.regions[:i], region) {
			return fmt.Errorf("--region names %q twice", region)
		}
	}
	return nil
}

// readFile reads the vendor's file, as enable does.
func (r *rotating) readFile() error {
	data, err := os.ReadFile(r.file)
	if err != nil {
		return err
	}
	specs, err := lifecycle.ParseSpecs(data)
	if err != nil {
		return fmt.Errorf("%s: %w", r.file, err)
	}
	seen := map[string]bool{}
	for _, s := range specs {
		if s.Region == "" || s.KeySpec.URI == "" || seen[s.Region] {
			return fmt.Errorf("%s: each entry must name a region, once, and the uri of its key", r.file)
		}
		seen[s.Region] = true
		r.fileWanted = append(r.fileWanted, rotation.Wanted{Region: s.Region, From: cmek.KeyURI(r.from), To: s.KeySpec})
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

// RotateReport is what became of the orders, or with --dry-run or after a refusal what would. It is the last line of what rotate prints as JSON.
type RotateReport struct {
	Orders []OrderReport `json:"orders"`
	// NotVerified is what no check could tell about the new keys.
	NotVerified []string `json:"not_verified"`
	// OldKeys are those that regions were moved from.
	OldKeys []OldKey `json:"old_keys"`
}

// OrderReport is one order, about one region of a cluster.
type OrderReport struct {
	Cluster   string      `json:"cluster"`
	ClusterID string      `json:"cluster_id"`
	Region    string      `json:"region"`
	From      cmek.KeyURI `json:"from"`
	To        cmek.KeyURI `json:"to"`
	// State is "ready" to be given, "refused" for Problems, "ordered" and open, "done", or "dropped".
	State string `json:"state"`
	// Why is the reason of an order that is open, or was dropped.
	Why string `json:"why,omitempty"`
	// Problems are why it was refused.
	Problems []rotation.Problem `json:"problems,omitempty"`
}

// The states of an order in a report.
const (
	orderReady   = "ready"
	orderRefused = "refused"
	orderOpen    = "ordered"
	orderDone    = "done"
	orderDropped = "dropped"
)

// OldKey is a key that a region was moved from.
type OldKey struct {
	Key cmek.KeyURI `json:"key"`
	// NeededUntil is until when backups may need it, with the longest retention that there is. It is no leave to delete it.
	NeededUntil time.Time `json:"needed_until"`
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
	unknown := &unverified{}
	r.asking.Unwatched = func(ctx context.Context, key cmek.KeyURI) string { return unknown.ask(ctx, p, w, key) }
	checked, err := p.checkOrders(ctx, w, wanted, r)
	if nothing, is := errors.AsType[notOneCluster](err); is {
		return p.refuseCluster(nothing, func() error { return p.printRotateReport(nil, nil) })
	}
	if err != nil {
		return err
	}
	reports, refused := reportOrders(checked)
	for _, text := range unknown.texts {
		terminal.Tell(p.Err, "Not verified: %s.\n", terminal.Printable(text))
	}
	if r.dryRun || refused {
		if p.JSON {
			err = p.printRotateReport(reports, unknown.texts)
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
			if slices.ContainsFunc(reports, func(o OrderReport) bool { return o.State != orderDone }) {
				terminal.Tell(p.Out, "Nothing was written. Without --dry-run this is carried out.\n")
			} else {
				terminal.Tell(p.Out, "There is nothing to do: each region is on that key.\n")
			}
		}
		return nil
	}
	return p.carryOut(ctx, w, display, checked, r, unknown.texts)
}

// refuseCluster refuses a command whose clusters are none, or more than was meant; printJSON prints its report, if JSON is asked for.
func (p Commands) refuseCluster(why notOneCluster, printJSON func() error) error {
	terminal.Tell(p.Err, "keyturn: %s\nNothing was sent: a check refused it.\n", terminal.Printable(terminal.OneLine(why)))
	if p.JSON {
		if err := printJSON(); err != nil {
			return err
		}
	}
	return terminal.ErrRefused
}

// unverified collects what could not be told about the new keys, each once.
type unverified struct{ texts []string }

// ask says why changes of the key would not be reported; "" if they are, or it cannot be told.
func (u *unverified) ask(ctx context.Context, p Commands, w *installation.Installation, key cmek.KeyURI) string {
	why, err := p.Unwatched(ctx, w, key)
	if err != nil {
		text := fmt.Sprintf("whether changes of keys of %s in %s are reported: %v", key.Account(), key.Location(), err)
		if !slices.Contains(u.texts, text) {
			u.texts = append(u.texts, text)
		}
	}
	return why
}

func (p Commands) printRotateReport(orders []OrderReport, unverified []string) error {
	report := RotateReport{Orders: append([]OrderReport{}, orders...), NotVerified: append([]string{}, unverified...), OldKeys: []OldKey{}}
	for _, o := range orders {
		old := OldKey{o.From, rotation.StillNeeded(time.Now())}
		known := slices.ContainsFunc(report.OldKeys, func(k OldKey) bool { return k.Key == o.From })
		if o.State == orderDone && !known && o.From != o.To {
			report.OldKeys = append(report.OldKeys, old)
		}
	}
	return terminal.WriteJSON(p.Out, report, "") // one line, after those of the progress
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
	switch {
	case len(checked) > 0:
	case wanted != "" && r.from == "":
		return nil, notOneCluster{fmt.Errorf("the Cloud API shows no CMEK of cluster %s, so that there is nothing to move; \"keyturn cmek\" shows it", wanted)}
	case wanted != "":
		return nil, notOneCluster{fmt.Errorf("no region of cluster %s is on key %s; \"keyturn cmek\" shows its keys", wanted, r.from)}
	default:
		return nil, notOneCluster{errors.New("no cluster has a region on that key; \"keyturn status\" shows their keys")}
	}
	return checked, nil
}

func reportOrders(checked []rotation.CheckedCluster) (reports []OrderReport, refused bool) {
	for _, c := range checked {
		for _, o := range c.Orders {
			report := orderReport(c.Cluster, o.Order, orderReady)
			switch {
			case o.Reached && !o.Accepts:
				report.State = orderDone
			case o.Given:
				report.State = orderOpen
			case len(o.Problems) > 0:
				report.State, report.Problems, refused = orderRefused, o.Problems, true
			}
			reports = append(reports, report)
		}
	}
	return reports, refused
}

func orderReport(c cmek.Cluster, o ledger.Order, state string) OrderReport {
	return OrderReport{Cluster: c.Name, ClusterID: c.ID, Region: o.Region, From: o.From.URI, To: o.To.URI, State: state}
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
func (p Commands) carryOut(ctx context.Context, w *installation.Installation, display progress.Display, checked []rotation.CheckedCluster, r rotating, unverified []string) (err error) {
	following := &orders{}
	for _, c := range checked {
		var give []ledger.Order
		for _, o := range c.Orders {
			switch {
			case o.Reached && o.Accepts:
				terminal.Tell(display, "%s is on this key already in %s, and not by the last order: it is accepted as the chosen one.\n", terminal.Printable(c.Cluster.Name), o.Region)
				give = append(give, o.Order)
			case o.Reached:
				terminal.Tell(display, "%s is on this key already in %s.\n", terminal.Printable(c.Cluster.Name), o.Region)
				following.reached = append(following.reached, orderReport(c.Cluster, o.Order, orderDone))
			case o.Given:
				following.all = append(following.all, clusterOrder{c.Cluster, o.Order})
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
			following.all = append(following.all, clusterOrder{c.Cluster, o})
		}
	}
	if p.JSON {
		defer func() {
			if written := p.printRotateReport(following.reports(), unverified); err == nil {
				err = written
			}
		}()
	}
	if len(following.all) > 0 {
		terminal.Tell(display, "%s given; following them through at %s …\n", terminal.Count(len(following.all), "order"), w.Settings.CloudAPI())
		runner := &progress.Runner{Function: w.Function, Display: display, TickEvery: time.Second, PollEvery: 200 * time.Millisecond}
		if w.Settings.Ledger.Scheme != "file" {
			runner.PollEvery = 3 * time.Second
		}
		following.view, err = runner.Until(ctx, following.ended)
		switch v := following.view; {
		case ctx.Err() != nil:
			return fmt.Errorf("interrupted; the orders stand in the ledger: the same command, or the function's next tick, goes on, and \"keyturn rotate CLUSTER --cancel\" takes back what was not sent")
		case err != nil:
			return err
		case v.Failures >= mostFailures:
			return fmt.Errorf("%d ticks failed in a row: %w", v.Failures, v.Problem)
		}
	}
	r.printWriteBack(display, checked)
	return p.concludeRotate(display, following)
}

// orders are those that a command follows through.
type orders struct {
	all  []clusterOrder
	view progress.View
	// reached are those whose regions were on their keys before.
	reached []OrderReport
}

type clusterOrder struct {
	cluster cmek.Cluster
	ledger.Order
}

// reports say what became of the orders.
func (o *orders) reports() []OrderReport {
	reports := slices.Clone(o.reached)
	for _, order := range o.all {
		report := orderReport(order.cluster, order.Order, orderOpen)
		switch end, ended, work, open := stateOf(o.view, order.cluster.ID, order.Order); {
		case ended && end.Done:
			report.State = orderDone
		case ended:
			report.State, report.Why = orderDropped, end.Why
		case open:
			report.Why = fmt.Sprintf("%s, %s", work.State, work.Reason)
		default:
			report.Why = "not begun"
		}
		reports = append(reports, report)
	}
	return reports
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
		_, ended, work, open := stateOf(v, order.cluster.ID, order.Order)
		i := slices.IndexFunc(v.Clusters, func(c *ledger.Cluster) bool { return c.ID == order.cluster.ID })
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
		return len(c.Messages) > 0 && slices.ContainsFunc(o.all, func(order clusterOrder) bool { return order.cluster.ID == c.ID })
	})
}

// concludeRotate says what became of the orders, and what is still true of the old keys.
func (p Commands) concludeRotate(out io.Writer, o *orders) error {
	done, open := 0, false
	var old []cmek.KeyURI
	for _, r := range o.reports()[len(o.reached):] {
		cluster, why := terminal.Printable(r.Cluster), terminal.Printable(r.Why)
		switch r.State {
		case orderDone:
			done++
			if r.From != r.To {
				old = append(old, r.From)
			}
		case orderDropped:
			open = true
			terminal.Tell(out, "%s was not moved in %s: %s\n", cluster, r.Region, why)
		default:
			open = true
			terminal.Tell(out, "%s waits in %s: %s\n", cluster, r.Region, why)
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
