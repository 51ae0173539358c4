package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/functions/compliance/planned"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
)

// plannedChange is the change that "keyturn check" is to judge before it is made: that of a plan, or a document of a key or a principal.
type plannedChange struct{ plan, policy, key, role string }

func (w *plannedChange) flags(c *cobra.Command) {
	c.Flags().StringVar(&w.plan, "terraform-plan", "", "judge the plan in this `file`, as \"terraform show -json\" prints it; - for the standard input")
	c.Flags().StringVar(&w.policy, "policy", "", "judge the policy in this `file`, which is to be set for --key or --role")
	c.Flags().StringVar(&w.key, "key", "", "the `key` whose policy is to be set, by its ARN or resource name")
	c.Flags().StringVar(&w.role, "role", "", "the `role` whose trust policy is to be set (if it names principals), or that is to get a further policy, by its ARN; or a service account by its e-mail")
}

func (w plannedChange) asked() bool { return w != plannedChange{} }

// given refuses a flag without a value, as a variable makes it that is not set: the fleet would be checked in place of the change.
func (w plannedChange) given(named func(flag string) bool) error {
	for name, value := range map[string]string{"terraform-plan": w.plan, "policy": w.policy, "key": w.key, "role": w.role} {
		if named(name) && value == "" {
			return &terminal.ConfigurationError{Problems: fmt.Errorf("--%s is empty", name)}
		}
	}
	return nil
}

// validate reports what does not go together.
func (w plannedChange) validate(o checkOptions, clusters []string) error {
	var problems []error
	switch {
	case w.plan != "" && w != plannedChange{plan: w.plan}:
		problems = append(problems, errors.New("--terraform-plan goes without --policy, --key and --role"))
	case w.plan == "" && (w.policy == "" || (w.key == "") == (w.role == "")):
		problems = append(problems, errors.New("--policy needs one of --key and --role, and each of those needs --policy"))
	}
	if o.format != "table" && o.format != "json" {
		problems = append(problems, fmt.Errorf("--format is %q; a change is printed as table or json", o.format))
	}
	if len(clusters) > 0 || len(o.checks) > 0 {
		problems = append(problems, errors.New("a change is judged for all clusters and by all questions; leave clusters and --check out"))
	}
	if err := errors.Join(problems...); err != nil {
		return &terminal.ConfigurationError{Problems: err}
	}
	return nil
}

// read reads the change.
func (p Commands) readChange(w plannedChange) (*planned.Plan, error) {
	file := w.plan + w.policy
	var data []byte
	var err error
	if file == "-" {
		data, err = io.ReadAll(p.In)
	} else {
		data, err = os.ReadFile(file)
	}
	switch {
	case err != nil:
		return nil, err
	case w.plan != "":
		return planned.Parse(data)
	case w.role != "":
		return planned.ForPrincipal(file, cmek.Principal(w.role), string(data))
	}
	key, err := cmek.ParseKeyURI(w.key)
	if err == nil && key.IsAlias() {
		err = errors.New("an alias names no key for good; use the ARN of the key")
	}
	if err != nil {
		return nil, &terminal.ConfigurationError{Problems: err}
	}
	return planned.ForKey(file, key, string(data))
}

// checkChange judges a change that is not made yet.
func (p Commands) checkChange(ctx context.Context, o checkOptions, clusters []string) (err error) {
	if err := errors.Join(o.validate(), o.change.validate(o, clusters)); err != nil {
		return err
	}
	plan, err := p.readChange(o.change)
	if err != nil {
		return err
	}
	known, done, err := p.surroundings(ctx, o.config, plan)
	if err != nil {
		return err
	}
	defer done(&err)
	r := planned.Judge(plan, known)
	err = p.writing(o.out, func(out io.Writer) error {
		if o.format == "json" {
			return terminal.WriteJSON(out, r, "  ")
		}
		p.printChange(out, r)
		return nil
	})
	if err != nil {
		return err
	}
	unread := r.Unread()
	if unread > 0 && o.allowUnread {
		terminal.Tell(p.Err, "keyturn: %s without an answer; --allow-unread lets them pass\n", terminal.Count(unread, "finding"))
	}
	if failOn := alert.Severity(o.failOn); failOn != alert.None && r.Reaches(failOn) || unread > 0 && !o.allowUnread {
		return terminal.ErrNeedsPerson
	}
	return nil
}

// surroundings are what is known beside the plan: nothing but what is declared, unless there is a key for the Cloud API, or an installation is
// named, which needs one.
func (p Commands) surroundings(ctx context.Context, config string, plan *planned.Plan) (known planned.Known, done func(*error), err error) {
	known.Now, done = time.Now(), func(*error) {}
	if p.Lookup(cockroachcloud.EnvAPIKey) == "" && !p.NamesDeployment() && p.Lookup("KEYTURN_LEDGER") == "" {
		known.Declared, err = p.declared(config)
		return known, done, err
	}
	f, done, err := p.compliance(ctx, config)
	if err != nil {
		return known, nil, err
	}
	survey, err := f.Survey(ctx)
	if err != nil {
		done(&err)
		return known, nil, err
	}
	known.Declared, known.OrganizationID = f.Declared, survey.OrganizationID
	known.Inventory = &planned.Inventory{Incomplete: survey.Incomplete}
	for _, u := range survey.Uses {
		known.Inventory.Uses = append(known.Inventory.Uses, planned.Use(u))
	}
	known = planned.Read(ctx, plan, known, survey)
	known.Now = time.Now()
	return known, done, ctx.Err()
}

// printChange writes a line for each finding.
func (p Commands) printChange(out io.Writer, r planned.Report) {
	c := p.Palette()
	if out != p.Out {
		c = false
	}
	for _, f := range r.Findings {
		result := c.Red(string(f.Result))
		if f.Result == checks.Error {
			result = c.Yellow(string(f.Result))
		}
		with := ""
		if len(f.Others) > 0 {
			with = fmt.Sprintf(" (with %s)", terminal.Printable(fmt.Sprint(f.Others)))
		}
		terminal.Tell(out, "%s  %s  %s%s: %s: %s\n", result, f.Severity, terminal.Printable(f.Address), with, f.Question, terminal.Printable(f.Why))
	}
	found := terminal.Count(len(r.Findings), "finding")
	if len(r.Findings) == 0 {
		found = c.Green("No findings")
	}
	terminal.Tell(out, "%s in %s to keys and their access.\nJudged by: %s.\n", found, terminal.Count(r.Judged, "change"), terminal.Printable(r.Inventory))
}
