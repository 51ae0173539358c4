// Package life has the commands that change a cluster's CMEK, which functions/lifecycle carries out: enable, add-region, revoke, apply and
// restore, and cmek, which shows it.
package life

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/lifecycle"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Commands makes the commands of this package. Their flags set what is embedded.
type Commands struct{ *installation.Program }

// operationOptions are the flags that all commands have that change a cluster's CMEK.
type operationOptions struct {
	by, reason string
	dry        bool
	waived     map[lifecycle.Hazard]*string
	taken      map[lifecycle.Hazard]*bool
}

// operationFlags adds them to a command; kind says which hazards it has.
func (p Commands) operationFlags(c *cobra.Command, o *operationOptions, kind ledger.OperationKind) {
	c.Flags().StringVar(&o.by, "by", "", "`who` asks for it (default USER@HOST)")
	c.Flags().BoolVar(&o.dry, "dry-run", false, "say what stands against it and what would be sent; send and write nothing")
	o.waived, o.taken = map[lifecycle.Hazard]*string{}, map[lifecycle.Hazard]*bool{}
	for _, h := range lifecycle.Hazards(kind) {
		if h.NeedsReason() {
			o.waived[h] = c.Flags().String(string(h), "", hazardHelp[h])
		} else {
			o.taken[h] = c.Flags().Bool(string(h), false, hazardHelp[h])
		}
	}
	p.LedgerFlag(c)
	p.ServerFlag(c)
	p.ArchiveFlag(c)
	p.OutputFlag(c)
}

var hazardHelp = map[lifecycle.Hazard]string{
	lifecycle.AccessUnverified:   "go on although it is not known whether the cluster may use a key, for this `reason`",
	lifecycle.CrossRegionKey:     "allow a key in another Region than the cluster's",
	lifecycle.AccessStillGranted: "revoke although the cluster may still use a key, for this `reason`",
	lifecycle.SharedKey:          "revoke although other clusters use its keys, or may; they are put on hold, for this `reason`",
	lifecycle.BackupsUnverified:  "revoke although it is not known that there are backups, for this `reason`",
}

// request is a request with the flags.
func (o operationOptions) request(kind ledger.OperationKind, id string) lifecycle.Request {
	r := lifecycle.Request{Kind: kind, ClusterID: id, By: o.by, Reason: o.reason, Waived: map[lifecycle.Hazard]string{}}
	for h, reason := range o.waived {
		if text := strings.TrimSpace(terminal.Printable(*reason)); text != "" {
			r.Waived[h] = text
		}
	}
	for h, taken := range o.taken {
		if *taken {
			r.Waived[h] = "no reason given"
		}
	}
	return r
}

// operations is the function of the operations with what its commands need.
type operations struct {
	*lifecycle.Function
	settings installation.Settings
	client   *cockroachcloud.Client
	close    func(*error)
}

// operations builds the function. With dry only reads are needed, and a ledger need not exist.
func (p Commands) operations(ctx context.Context, dry bool) (*operations, error) {
	n := installation.Needs{Puts: true, Asked: true}
	if dry {
		n = installation.Needs{Reads: true}
	}
	w, err := p.Open(ctx, n, p.Err)
	if err != nil {
		return nil, err
	}
	s := w.Settings
	o := cockroachcloud.Options{
		Server: s.Server, APIKey: cockroachcloud.StaticAPIKey(s.APIKey), Version: s.CloudAPIVersion, Rate: s.RequestRate / 2, // two clients share it
	}
	client, err := cockroachcloud.New(o)
	details, detailsErr := cockroachcloud.NewReader(o)
	if err := errors.Join(err, detailsErr); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	f := &lifecycle.Function{
		Cloud: client, Details: details, Keys: map[cmek.KeyType]lifecycle.KeyCloud{}, Ledger: w.Ledger, Archive: w.Archive, Settings: operationTimes(s.Rotation),
	}
	for t, of := range w.Clouds {
		f.Keys[t] = lifecycle.KeyCloud(of)
	}
	if !p.Quiet {
		out := p.Out
		if p.JSON {
			out = p.Err
		}
		f.Report = func(step lifecycle.Step) { p.report(out, step) }
	}
	return &operations{f, s, client, w.CloseInto}, nil
}

// operationTimes are those of rotations, where both have them.
func operationTimes(s rotation.Settings) lifecycle.Settings {
	times := lifecycle.DefaultSettings()
	times.Confirm = s.ConfirmAfter()
	if s.Loopback {
		times.Poll = min(times.Poll, s.Poll)
	}
	return times
}

// report writes a step.
func (p Commands) report(out io.Writer, step lifecycle.Step) {
	terminal.Tell(out, "%s  %-9s %s\n", step.At.UTC().Format("15:04:05"), step.Stage, terminal.Printable(step.Detail))
}

// run carries the request out, or with dry says what would happen.
func (p Commands) runOperation(ctx context.Context, f *operations, cluster cmek.Cluster, r lifecycle.Request, dry bool) error {
	if dry {
		_, refused, err := f.Check(ctx, r)
		if err != nil {
			return err
		}
		return p.concludeDry(cluster, r, refused)
	}
	result, err := f.Run(ctx, r)
	if err != nil {
		return err
	}
	return p.conclude(cluster, result)
}

// DryRun is what a request would do.
type DryRun struct {
	// Refusals are what stands against it: if there are any, nothing would be sent.
	Refusals []lifecycle.Refusal `json:"refusals"`
	// WouldSend is what it would add or set at the Cloud API.
	WouldSend any `json:"would_send"`
}

// concludeDry says what a request would do.
func (p Commands) concludeDry(cluster cmek.Cluster, r lifecycle.Request, refused []lifecycle.Refusal) error {
	if p.JSON {
		err := p.PrintJSON(DryRun{append([]lifecycle.Refusal{}, refused...), wouldSend(r)})
		if err == nil && len(refused) > 0 {
			err = terminal.ErrRefused
		}
		return err
	}
	if len(refused) > 0 {
		return p.refuse(cluster, refused)
	}
	terminal.Tell(p.Out, "Nothing stands against it. It would send to cluster %s:\n", terminal.Printable(cluster.Name))
	return p.PrintJSON(wouldSend(r))
}

// wouldSend is what the request adds or sets.
func wouldSend(r lifecycle.Request) any {
	switch r.Kind {
	case ledger.OperationEnable:
		return map[string]any{"region_specs": r.Specs}
	case ledger.OperationAddRegion:
		return map[string]any{"additions": r.Additions}
	case ledger.OperationRevoke:
	}
	return map[string]string{"action": "REVOKE"}
}

// conclude says how the operation stands.
func (p Commands) conclude(cluster cmek.Cluster, result lifecycle.Result) error {
	o, kind := result.Operation, ""
	if len(result.Refusals) > 0 && (o == nil || o.Attempts == 1 && o.Answer != nil && o.Answer.Unsent) {
		return p.refuse(cluster, result.Refusals)
	}
	if p.JSON {
		if err := p.PrintJSON(result); err != nil {
			return err
		}
	}
	if o != nil {
		kind = terminal.Printable(string(o.Kind))
	}
	name := terminal.Printable(cluster.Name)
	if len(result.Refusals) > 0 { // a request has left, and the Cloud API has refused it
		if !p.JSON {
			terminal.Tell(p.Err, "keyturn: %s of cluster %s was sent and %s; it is not sent again:\n", kind, name, terminal.Printable(o.Why))
			p.printRefusals(result.Refusals)
		}
		return terminal.ErrNeedsPerson
	}
	say := func(format string, args ...any) {
		if !p.JSON {
			terminal.Tell(p.Out, format, args...)
		}
	}
	switch {
	case result.Already:
		say("Cluster %s is as asked for; nothing was sent.\n", name)
		return nil
	case o == nil:
		return errors.New("the operation is not on record")
	case o.Open():
		say("%s of cluster %s has no end after %s. It stays open, and the same command watches on. The last read: %s.\n",
			kind, name, terminal.Roughly(time.Since(o.Sent)), lastSighting(*o))
		return terminal.ErrNeedsPerson
	case o.Result == ledger.OperationDone:
		say("Done: %s of cluster %s (%s).\n", kind, name, terminal.Printable(o.Why))
		return nil
	}
	say("%s of cluster %s: %s: %s\n", kind, name, terminal.Printable(string(o.Result)), terminal.Printable(o.Why))
	return terminal.ErrNeedsPerson
}

func lastSighting(o ledger.Operation) string {
	if n := len(o.Timeline); n > 0 {
		return terminal.Printable(string(o.Timeline[n-1].CMEK) + ", cluster " + o.Timeline[n-1].State)
	}
	return "none"
}

// refuse prints what stands against a request.
func (p Commands) refuse(cluster cmek.Cluster, refused []lifecycle.Refusal) error {
	if p.JSON {
		return errors.Join(p.PrintJSON(lifecycle.Result{Refusals: refused}), terminal.ErrRefused)
	}
	name := ""
	if cluster.Name != "" {
		name = " to cluster " + terminal.Printable(cluster.Name)
	}
	terminal.Tell(p.Err, "keyturn: refused, and nothing was sent%s:\n", name)
	p.printRefusals(refused)
	return terminal.ErrRefused
}

func (p Commands) printRefusals(refused []lifecycle.Refusal) {
	for _, r := range refused {
		terminal.Tell(p.Err, "  %s\n", terminal.Printable(r.What))
		if r.Fix != "" {
			terminal.Tell(p.Err, "    Fix: %s\n", terminal.Printable(r.Fix))
		}
		switch {
		case r.Waiver == "":
		case r.Waiver.NeedsReason():
			terminal.Tell(p.Err, "    Or take it: --%s REASON\n", r.Waiver)
		default:
			terminal.Tell(p.Err, "    Or take it: --%s\n", r.Waiver)
		}
	}
}

// readFile reads a file that a flag or an argument names; "-" is the standard input.
func (p Commands) readFile(name string) ([]byte, error) {
	const most = 1 << 20
	in := p.In
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, &terminal.ConfigurationError{Problems: err}
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, most+1))
	if err == nil && len(data) > most {
		err = fmt.Errorf("%s is larger than 1 MB", name)
	}
	if err != nil {
		return nil, &terminal.ConfigurationError{Problems: err}
	}
	return data, nil
}

// onCluster opens the operations, with dry for reading only, and hands over the cluster that somebody named. One that is not there is refused.
func (p Commands) onCluster(ctx context.Context, o operationOptions, wanted string, do func(*operations, cmek.Cluster) error) (err error) {
	f, err := p.operations(ctx, o.dry)
	if err != nil {
		return err
	}
	defer f.close(&err)
	cluster, err := f.Find(ctx, wanted)
	switch {
	case errors.Is(err, cmek.ErrNotFound):
		return p.refuse(cluster, []lifecycle.Refusal{{Row: "cluster-not-found", What: err.Error(), Fix: "check the name, and that keyturn's service account has Cluster Operator on it"}})
	case errors.Is(err, lifecycle.ErrSeveral):
		return p.refuse(cluster, []lifecycle.Refusal{{Row: "cluster-ambiguous", What: err.Error(), Fix: "name the cluster by its id"}})
	case err != nil:
		return err
	}
	return do(f, cluster)
}
