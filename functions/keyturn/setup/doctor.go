// Package setup has the commands about keyturn's own configuration: config check, config show and doctor.
package setup

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/amazon/hub"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/config"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/version"
)

// Results of a [diagnosis].
const (
	ResultOK         = "ok"
	ResultProblem    = "problem"
	ResultUnverified = "not verified"
)

// Diagnosis is one line of "keyturn doctor", and an object of its JSON.
type Diagnosis struct {
	// Check is what was checked: configuration, a permission, …
	Check  string `json:"check"`
	Result string `json:"result"`
	// Detail is what was found, or why nothing was.
	Detail string `json:"detail"`
	// Fix is what to do about a problem, or to verify what is not; "" if there is nothing to do.
	Fix string `json:"fix,omitempty"`
}

// Commands makes the commands of this package. Their flags set what is embedded.
type Commands struct{ *installation.Program }

// DoctorCommand is "keyturn doctor".
func (p Commands) DoctorCommand() *cobra.Command {
	viewer := false
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check configuration, credentials, permissions, reachability and subscriptions, each with its fix",
		Long: `Check what keyturn's command line and its deployment on AWS need, a line for each: the configuration, whose
the AWS credentials are, each permission of the policy keyturn-operator, the reader roles and a key of each
account, the Cloud API and the API key, the clock, the subscriptions of the topics, and the versions.

Reads are tried. Writes are tried with a condition that cannot hold, so nothing is changed. What cannot be
tried like that is "not verified", never "ok". With --viewer, only what keyturn-viewer allows is needed.

Exit code 3: there is a problem.`,
		Example: `  keyturn doctor --deployment keyturn
  keyturn doctor --viewer -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.doctor(c.Context(), viewer) },
	}
	c.Flags().BoolVar(&viewer, "viewer", false, "check the permissions of those who only look")
	p.LedgerFlag(c)
	p.ServerFlag(c)
	p.OutputFlag(c)
	return c
}

// examination collects diagnoses, and prints each as it comes.
type examination struct {
	Commands
	settings installation.Settings
	aws      amazon.Config
	// file is the keyturn.yaml in reach, if it describes the deployment that was found.
	file *deployment.Deployment
	all  []Diagnosis
	// interrupted reports whether the checks were ended: what they find from then on says nothing.
	interrupted func() bool
}

func (e *examination) add(check, result, detail, fix string) {
	if e.interrupted() {
		return
	}
	d := Diagnosis{check, result, terminal.Printable(terminal.OneLine(errors.New(detail))), terminal.Printable(fix)}
	e.all = append(e.all, d)
	if e.JSON {
		return
	}
	paint := e.Palette()
	word := map[string]func(string) string{ResultOK: paint.Green, ResultProblem: paint.Red, ResultUnverified: paint.Yellow}[result](result)
	terminal.Tell(e.Out, "%s%s  %s: %s", word, strings.Repeat(" ", len(ResultUnverified)-len(result)), d.Check, d.Detail)
	if d.Fix != "" {
		terminal.Tell(e.Out, ". Fix: %s", d.Fix)
	}
	terminal.Tell(e.Out, "\n")
}

func (p Commands) doctor(ctx context.Context, viewer bool) error {
	e := &examination{Commands: p, interrupted: func() bool { return ctx.Err() != nil }}
	e.configuration(ctx)
	e.versions()
	grants, policy := deployment.OperatorGrants(), deployment.OperatorPolicy
	if viewer {
		grants, policy = deployment.ViewerGrants(), deployment.ViewerPolicy
	}
	switch {
	case p.Found == nil:
		e.add("AWS", ResultUnverified, "no deployment was found, so its permissions and subscriptions are not known", "name it with --deployment NAME")
	case e.identify(ctx):
		e.permissions(ctx, grants, policy)
		e.keys(ctx)
		e.subscriptions(ctx)
	default:
		e.add("permissions", ResultUnverified, "there are no credentials to try them with", "fix the credentials")
	}
	e.cloudAPI(ctx)
	if e.JSON {
		if err := p.PrintJSON(e.all); err != nil {
			return err
		}
	}
	if e.interrupted() {
		return errors.New("interrupted; the rest was not checked")
	}
	for _, d := range e.all {
		if d.Result == ResultProblem {
			return terminal.ErrNeedsPerson
		}
	}
	return nil
}

// configuration checks the settings, after those of the deployment.
func (e *examination) configuration(ctx context.Context) {
	const check = "configuration"
	if err := e.UseDeployment(ctx); err != nil {
		e.add(check, ResultProblem, err.Error(), `see "keyturn config show"`)
	}
	if e.Found != nil {
		e.file = e.describedBy(e.FileInReach())
	}
	var err error
	// No request is sent yet, so that what the Cloud API needs is checked where it is used.
	if e.settings, err = installation.LoadSettings(e.Environ, installation.Needs{}); err != nil {
		problems := err
		var wrong *terminal.ConfigurationError
		if errors.As(err, &wrong) {
			problems = wrong.Problems
		}
		for line := range strings.Lines(problems.Error()) {
			e.add(check, ResultProblem, strings.TrimSpace(line), `see "keyturn config show"`)
		}
	}
	if len(e.all) > 0 {
		return
	}
	if e.Found == nil {
		e.add(check, ResultOK, "the settings are well-formed", "")
		return
	}
	e.add(check, ResultOK, "deployment "+e.Found.Name+" in "+e.Found.Region+" of account "+e.Found.Account+", mode "+e.Found.Mode+", named by "+e.FoundBy, "")
}

// describedBy is what a keyturn.yaml says of the deployment that was found; nil if it has problems, or describes another one.
func (e *examination) describedBy(file string) *deployment.Deployment {
	if file == "" {
		return nil
	}
	d, err := deployment.Load(file)
	if err != nil || d.Name != e.Found.Name || d.Hub.Account != e.Found.Account {
		return nil
	}
	return &d
}

func (e *examination) versions() {
	if e.Found == nil {
		return
	}
	const check = "versions"
	program, deployed := version.Read().Version, e.Found.Version
	detail := "program " + program + ", deployment " + deployed
	switch installation.CompareVersions(program, deployed) {
	case installation.SameVersion:
		e.add(check, ResultOK, detail, "")
	case installation.DifferentVersion:
		e.add(check, ResultProblem, detail, "install the deployment's version, or deploy this one")
	default:
		e.add(check, ResultUnverified, detail, "build keyturn in a checkout of a commit, and deploy from there")
	}
}

// patience bounds one check, so that one address that does not answer holds up nothing else for long.
const patience = 15 * time.Second

// identify reports whether there are credentials, and says whose.
func (e *examination) identify(ctx context.Context) bool {
	const check = "credentials"
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var who amazon.Identity
	var err error
	if e.aws, err = installation.LoadAWS(ctx, e.Found.Region); err == nil {
		who, err = amazon.WhoAmI(ctx, e.aws)
	}
	switch {
	case err != nil:
		e.add(check, ResultProblem, err.Error(), "set AWS_PROFILE or sign in again")
		return false
	case who.Account != e.Found.Account:
		e.add(check, ResultProblem, who.ARN+" is of account "+who.Account+", and the hub is in "+e.Found.Account, "use credentials of the hub's account")
	default:
		e.add(check, ResultOK, who.ARN, "")
	}
	return true
}

// permissions tries each permission of a policy.
func (e *examination) permissions(ctx context.Context, grants []deployment.Grant, policy string) {
	h := e.hub()
	policy = e.Found.Name + "-" + policy
	for _, g := range grants {
		within, cancel := context.WithTimeout(ctx, patience)
		outcomes := h.Try(within, g.Action, string(g.On))
		cancel()
		for _, o := range outcomes {
			check := "permission " + g.Action
			switch {
			case o.Unverified != "":
				e.add(check, ResultUnverified, o.On+": "+o.Unverified, "")
			case o.Err == nil:
				e.add(check, ResultOK, o.On, "")
			case errors.Is(o.Err, cmek.ErrDenied) && g.On == deployment.OnReaders:
				e.add(check, ResultProblem, o.Err.Error(), "attach the policy "+policy+" to your role, and list the role under operators in keyturn.yaml, then deploy")
			case errors.Is(o.Err, cmek.ErrDenied):
				e.add(check, ResultProblem, o.Err.Error(), "attach the policy "+policy+" to your role; if it is attached, look for a policy that denies the action")
			default:
				e.add(check, ResultProblem, "cannot be tried: "+o.Err.Error(), "check that the deployment is complete and reachable from here")
			}
		}
	}
}

// hub is what permissions are tried on.
func (e *examination) hub() hub.Hub {
	h := hub.Hub{
		Config: e.aws, Parameter: deployment.ParameterName(e.Found.Name),
		Topics: []string{e.Found.AlertsTopic, e.Found.OperationsTopic}, ExternalID: e.Found.ReaderExternalID,
	}
	for _, items := range ledger.OperatorItems {
		h.Kinds = append(h.Kinds, items.Kind)
	}
	// What the deployment published was read as locations already: the settings begin with it.
	if l, err := config.ParseLocation(e.Found.Ledger); err == nil {
		h.Table = l.Name
	}
	if l, err := config.ParseLocation(e.Found.Archive); err == nil {
		h.Bucket, h.Prefix = l.Name, l.Prefix
	}
	if e.file != nil {
		for _, account := range e.file.Accounts {
			if len(account.Keys) > 0 || len(e.file.AccountRoles(account)) > 0 {
				h.Readers = append(h.Readers, strings.ReplaceAll(e.Found.ReaderRole, "{account}", account.ID))
			}
		}
	}
	return h
}

// keys reads the first key of each account, as "keyturn plan" reads all of them.
func (e *examination) keys(ctx context.Context) {
	const check = "keys"
	if e.file == nil {
		e.add(check, ResultUnverified, "without the deployment's keyturn.yaml in reach it is not known which keys there are", "run this beside keyturn.yaml, or run \"keyturn plan\"")
		return
	}
	kms := amazon.NewKMS(e.aws, amazon.ReaderRoles{"*": {ARN: e.Found.ReaderRole, ExternalID: e.Found.ReaderExternalID}})
	for _, account := range e.file.Accounts {
		if len(account.Keys) == 0 {
			continue
		}
		uri := account.Keys[0]
		within, cancel := context.WithTimeout(ctx, patience)
		key, err := kms.Key(within, uri)
		cancel()
		switch {
		case errors.Is(err, cmek.ErrDenied):
			e.add(check, ResultProblem, err.Error(), "add the output KeyPolicyStatement of the stack "+e.Found.Name+"-roles-"+account.ID+" to the key's policy, or see the permission sts:AssumeRole")
		case err != nil:
			e.add(check, ResultProblem, err.Error(), "check that KMS is reachable from here")
		case key.State == cmek.KeyNotFound:
			e.add(check, ResultProblem, string(uri)+" does not exist", "correct the account's keys in keyturn.yaml")
		default:
			e.add(check, ResultOK, string(uri)+" can be read", "")
		}
	}
}
