// Package audit has the commands that judge without acting: check compares a fleet with the compliance catalog, or judges a change before it is
// made, and retire says whether a key may go.
package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/trailcheck/cloudtrail"
	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/report"
	"github.com/keyturn/keyturn/internal/version"
)

// checkOptions are the flags of check.
type checkOptions struct {
	checks      []string
	format      string
	failOn      string
	allowUnread bool
	// out is the file that gets the output; "" for the standard output.
	out string
	// config is the keyturn.yaml with the declarations; "" for the one in reach.
	config string
	change plannedChange
}

// The formats of "keyturn check".
var checkFormats = []string{"table", "json", "csv", "junit", "ocsf", "html"}

// Commands makes the commands of this package. Their flags set what is embedded.
type Commands struct{ *installation.Program }

// CheckCommand is "keyturn check".
func (p Commands) CheckCommand() *cobra.Command {
	o := checkOptions{format: checkFormats[0], failOn: string(alert.Low)}
	c := &cobra.Command{
		Use:   "check [CLUSTER…]",
		Short: "Check clusters, keys, roles and logs against the compliance catalog",
		Long: `Check every cluster, or those that are named, with the keys, roles and accounts that they depend on, against the
catalog CMEK-01 to CMEK-32. Nothing is changed: the Cloud API, the KMS and IAM are only read. What a fresh
ledger knows is not read again.

PASS and FAIL rest on what was read. What could not be read is ERROR, with the permission that is missing, and
never a PASS. Thresholds, expected principals and exceptions are declared under compliance in keyturn.yaml: the
one in this directory or above it, or the one that --config names.

With the ledger of an installation, clusters of another key type are out of scope. The last re-encryption of each
region is shown with its record and with what the cloud's log says of it; that is no check and changes no exit code.

Exit code 3: a failure of the severity --fail-on or worse that no exception accepts, or something that could not
be read (unless --allow-unread). Exit code 1: the checks could not be run.

With --terraform-plan, or --policy and --key or --role, a change is judged before it is made: would it cut a
cluster off, expose a key, shorten a deletion window, switch rotation off, or destroy a key that is still needed?
What Terraform knows after apply is ERROR and never fine. Who uses which key is read from the ledger and the Cloud
API if COCKROACH_API_KEY is set. Otherwise whoever a document admits before the change is assumed to need it, and
the output says so. "keyturn schema check planned" describes the JSON.`,
		Example: `  keyturn check
  keyturn check orders --check CMEK-04 --check CMEK-12
  keyturn check --format junit --fail-on high > keyturn.xml
  keyturn check --format html --out report.html
  terraform plan -out tfplan && terraform show -json tfplan > plan.json
  keyturn check --terraform-plan plan.json --fail-on high
  keyturn check --policy policy.json --key arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
  keyturn check --policy trust.json --role arn:aws:iam::111122223333:role/cmek -o json`,
		ValidArgsFunction: p.CompleteClusters,
		RunE: func(c *cobra.Command, args []string) error {
			if p.JSON {
				o.format = "json"
			}
			if err := o.change.given(c.Flags().Changed); err != nil {
				return err
			}
			if o.change.asked() {
				return p.checkChange(c.Context(), o, args)
			}
			return p.check(c.Context(), o, args)
		},
	}
	o.change.flags(c)
	p.OutputFlag(c)
	c.Flags().StringSliceVar(&o.checks, "check", nil, "only the check with this `ID`; repeat for more")
	c.Flags().StringVar(&o.format, "format", o.format, "the `form` of the output: "+strings.Join(checkFormats, ", ")+"; \"keyturn schema check\" describes json")
	c.Flags().StringVar(&o.failOn, "fail-on", o.failOn, "the least `severity` of a failure for exit code 3: low, medium, high, critical, or none")
	c.Flags().BoolVar(&o.allowUnread, "allow-unread", false, "exit as if everything could be read; what could not is printed all the same")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(checkFormats, cobra.ShellCompDirectiveNoFileComp))
	outFlag(c, &o.out)
	configFlag(c, &o.config)
	p.LedgerFlag(c)
	p.ServerFlag(c)
	return c
}

// outFlag names the file for the output.
func outFlag(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "out", "", "write to this `file`, which is replaced (the standard output)")
}

// configFlag names the keyturn.yaml with the declarations.
func configFlag(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "config", "", "the keyturn.yaml `file` with what is declared (the one in reach)")
}

// validate reports every flag that is wrong.
func (o checkOptions) validate() error {
	var problems []error
	for _, id := range o.checks {
		if _, ok := checks.Of(id); !ok {
			problems = append(problems, fmt.Errorf("--check is %q; want an id of the catalog, such as CMEK-04", id))
		}
	}
	if !slices.Contains(checkFormats, o.format) {
		problems = append(problems, fmt.Errorf("--format is %q; want %s", o.format, strings.Join(checkFormats, ", ")))
	}
	if !slices.Contains([]alert.Severity{alert.None, alert.Low, alert.Medium, alert.High, alert.Critical}, alert.Severity(o.failOn)) {
		problems = append(problems, fmt.Errorf("--fail-on is %q; want low, medium, high, critical or none", o.failOn))
	}
	if err := errors.Join(problems...); err != nil {
		return &terminal.ConfigurationError{Problems: err}
	}
	return nil
}

func (p Commands) check(ctx context.Context, o checkOptions, clusters []string) (err error) {
	if err := o.validate(); err != nil {
		return err
	}
	f, done, err := p.compliance(ctx, o.config)
	if err != nil {
		return err
	}
	defer done(&err)
	run, err := f.Check(ctx, clusters...)
	if err != nil {
		return err
	}
	if len(o.checks) > 0 {
		run.Findings = slices.DeleteFunc(run.Findings, func(f checks.Finding) bool { return !slices.Contains(o.checks, f.Check) })
		if !slices.Contains(o.checks, "CMEK-04") { // the check that re-encryptions are about
			run.Proofs = nil
		}
	}
	unasked := slices.DeleteFunc(slices.Clone(o.checks), func(id string) bool {
		return slices.ContainsFunc(run.Findings, func(f checks.Finding) bool { return f.Check == id })
	})
	r := report.New(run, version.Read())
	if err := p.writing(o.out, func(out io.Writer) error { return p.writeReport(out, r, o.format) }); err != nil {
		return err
	}
	if r.Unread() && o.allowUnread {
		terminal.Tell(p.Err, "keyturn: %s and %s could not be read; --allow-unread lets them pass\n",
			terminal.Count(len(r.Population.Unread), "cluster"), terminal.Count(r.Summary.Error, "check"))
	}
	if len(unasked) > 0 {
		terminal.Tell(p.Err, "keyturn: %s was asked about nothing: there is none of what it is about among what was checked\n", strings.Join(unasked, ", "))
	}
	failOn := alert.Severity(o.failOn)
	if failOn != alert.None && r.Reaches(failOn) || (r.Unread() || len(unasked) > 0) && !o.allowUnread {
		return terminal.ErrNeedsPerson
	}
	return nil
}

// writing calls write with the file, or with the standard output if none is named.
func (p Commands) writing(file string, write func(io.Writer) error) (err error) {
	if file == "" {
		return write(p.Out)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return write(f)
}

func (p Commands) writeReport(out io.Writer, r report.Report, format string) error {
	switch format {
	case "json":
		return terminal.WriteJSON(out, r, "  ")
	case "csv":
		return r.CSV(out)
	case "junit":
		return r.JUnit(out)
	case "ocsf":
		return r.OCSF(out)
	case "html":
		return r.HTML(out)
	}
	if out != p.Out {
		return r.Table(out, nil)
	}
	c := p.Palette()
	return r.Table(out, func(result checks.Result, text string) string {
		switch result {
		case checks.Fail:
			return c.Red(text)
		case checks.Error:
			return c.Yellow(text)
		case checks.Pass:
			return c.Green(text)
		}
		return text
	})
}

// compliance builds the function. done releases it.
func (p Commands) compliance(ctx context.Context, config string) (f *compliance.Function, done func(*error), err error) {
	declared, err := p.declared(config)
	if err != nil {
		return nil, nil, err
	}
	w, err := p.Open(ctx, installation.Needs{Reads: true}, p.Err)
	if err != nil {
		return nil, nil, err
	}
	s := w.Settings
	cloud, err := cockroachcloud.NewReader(cockroachcloud.Options{
		Server: s.Server, APIKey: cockroachcloud.StaticAPIKey(s.APIKey), Version: s.CloudAPIVersion, Rate: s.RequestRate,
	})
	if err != nil {
		return nil, nil, errors.Join(&terminal.ConfigurationError{Problems: err}, w.Close())
	}
	roles := amazon.ReaderRoles{"*": {ARN: s.ReaderRole, ExternalID: s.ReaderExternalID}}
	keys, policies := amazon.NewKMS(w.AWS, roles), amazon.NewPolicies(w.AWS, roles)
	f = &compliance.Function{
		Cloud: cloud, Declared: declared, KeyTypes: s.KeyTypes(), AWS: compliance.AWS{Keys: keys, Use: keys, Aliases: keys, Policies: policies},
	}
	// The credentials for a simulator are nobody's at the real clouds.
	reaches := func(service string) bool {
		return !s.Rotation.Loopback || p.Lookup("AWS_ENDPOINT_URL_"+service) != "" || p.Lookup("AWS_ENDPOINT_URL") != ""
	}
	if reaches("IAM") {
		f.AWS.Roles = policies
	}
	if reaches("STS") && reaches("CLOUDTRAIL") {
		f.AWS.Trails = cloudtrail.NewOwn(w.AWS)
	}
	if !s.Rotation.Loopback || w.Google.Endpoint != "" {
		of, err := google.NewKMS(w.Google) //nolint:contextcheck // a client outlives the call that makes it
		if err != nil {
			return nil, nil, errors.Join(err, w.Close())
		}
		f.Google = compliance.Google{Keys: of, Policies: google.NewPolicies(w.Google)}
	}
	if _, missing := os.Stat(s.Ledger.Name); s.Ledger.Scheme == "dynamodb" || s.Ledger.Scheme == "firestore" || s.Ledger.Scheme == "file" && !errors.Is(missing, fs.ErrNotExist) {
		f.Ledger = w.Ledger
	}
	return f, w.CloseInto, nil
}

// declared is what the keyturn.yaml that is named, or in reach, declares.
func (p Commands) declared(config string) (checks.Declarations, error) {
	file := cmp.Or(config, p.FileInReach())
	if file == "" {
		return checks.Declarations{}, nil
	}
	declared, _, err := deployment.LoadDeclarations(file)
	var problems deployment.Problems
	switch {
	case errors.As(err, &problems):
		return checks.Declarations{}, &terminal.ConfigurationError{Problems: fmt.Errorf("%s has %s; see %q", file, terminal.Count(len(problems), "problem"), "keyturn config check "+file)}
	case err != nil:
		return checks.Declarations{}, &terminal.ConfigurationError{Problems: err}
	}
	return declared, nil
}

// RetireCommand is "keyturn retire".
func (p Commands) RetireCommand() *cobra.Command {
	var config string
	c := &cobra.Command{
		Use:   "retire KEY|VERSION",
		Short: "Say whether a key, or a version of it, may be disabled or deleted",
		Long: `Say whether a key, or a version of a key of Cloud KMS, may be disabled or deleted:

  NEVER             something uses it now
  NOT BEFORE date   nothing needs it from then on; a date in the past is the only yes
  NOT KNOWN         it is not proven that nothing needs it, so keep it

It reads the current and past keys of all clusters, how long their backups are kept, the last use, and grants.
The key is named by its ARN or resource name, or by the id of one that the ledger knows. A version is named by
its resource name. Nothing is changed.

Exit code 3: it may not be disabled or deleted now.`,
		Example: `  keyturn retire arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab
  keyturn retire projects/p/locations/us-east1/keyRings/r/cryptoKeys/k/cryptoKeyVersions/3`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return p.retire(c.Context(), args[0], config)
		},
	}
	p.OutputFlag(c)
	configFlag(c, &config)
	p.LedgerFlag(c)
	p.ServerFlag(c)
	return c
}

func (p Commands) retire(ctx context.Context, wanted, config string) (err error) {
	f, done, err := p.compliance(ctx, config)
	if err != nil {
		return err
	}
	defer done(&err)
	key, version, err := cmek.ParseCryptoKeyName(wanted)
	switch {
	case err == nil:
	case f.Ledger == nil && cmek.KeyURI(wanted).Type() == "":
		return &terminal.ConfigurationError{Problems: fmt.Errorf("no ledger is named, so %q must be the ARN or the resource name of a key", wanted)}
	default:
		if key, err = installation.FindKey(ctx, f.Ledger, wanted); err != nil {
			return err
		}
	}
	r, err := f.Retire(ctx, key, version)
	if err != nil {
		return err
	}
	if p.JSON {
		err = p.PrintJSON(r)
	} else {
		p.printRetirement(r)
	}
	if err == nil && !r.Allowed(time.Now()) {
		return terminal.ErrNeedsPerson
	}
	return err
}

func (p Commands) printRetirement(r checks.Retirement) {
	c := p.Palette()
	what := terminal.Printable(string(r.Key))
	if !r.Version.IsZero() {
		what += ", version " + terminal.Printable(r.Version.ID)
	}
	terminal.Tell(p.Out, "%s\n", what)
	verdict := c.Red(string(r.Permission))
	if r.Permission == checks.NotBefore {
		verdict = string(r.Permission) + " " + r.NotBefore.UTC().Format(time.DateOnly)
		if r.Allowed(time.Now()) {
			verdict = c.Green(verdict + ", which is past: it may be disabled or deleted")
		} else {
			verdict = c.Yellow(verdict)
		}
	}
	terminal.Tell(p.Out, "%s\n", verdict)
	for _, reason := range r.Reasons {
		terminal.Tell(p.Out, "  %s\n", terminal.Printable(reason))
	}
	for _, grant := range r.Grants {
		terminal.Tell(p.Out, "  To know, grant keyturn %s.\n", terminal.Printable(grant))
	}
}
