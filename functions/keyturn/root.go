// Command keyturn is the operator's command line: it shows what keyturn knows and would do, follows rotations through from
// a terminal, and demonstrates all of it on one machine with no cloud account.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/keyturn/keyturn/functions/keyturn/audit"
	"github.com/keyturn/keyturn/functions/keyturn/demo"
	"github.com/keyturn/keyturn/functions/keyturn/explain"
	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/life"
	"github.com/keyturn/keyturn/functions/keyturn/live"
	"github.com/keyturn/keyturn/functions/keyturn/setup"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	p := &program{}
	p.Name, p.In, p.Out, p.Err, p.Environ = calledAs(os.Args[0]), os.Stdin, os.Stdout, os.Stderr, os.Environ()
	p.Interactive = term.IsTerminal(int(os.Stdin.Fd()))
	if term.IsTerminal(int(os.Stdout.Fd())) {
		p.Live = os.Getenv("TERM") != "dumb"
		if p.Width, _, _ = term.GetSize(int(os.Stdout.Fd())); p.Width <= 0 {
			p.Width = 80
		}
	}
	p.Dir, _ = os.Getwd() // without one there is no file in reach
	os.Exit(p.run(ctx, os.Args[1:]))
}

// calledAs is what a person types to call the program again.
func calledAs(arg0 string) string {
	if strings.ContainsRune(arg0, filepath.Separator) {
		return arg0
	}
	return "keyturn"
}

// Exit codes; the help text lists them for all commands.
const (
	exitFine = iota
	exitFailed
	exitUsage
	exitNeedsPerson
	exitRefused
	exitDue
)

// program is one run of the command line.
type program struct {
	installation.Program
	// began is true once flags and arguments were accepted: what fails before that is wrong usage.
	began bool
}

const about = `keyturn re-encrypts the store keys of CockroachDB Cloud clusters when their KMS keys rotate, and alerts
when a key that they need is at risk.

CockroachDB Cloud does not re-encrypt by itself: somebody has to send a PUT with the unchanged key,
cluster by cluster. "keyturn demo" shows how keyturn does it, on this machine and with no cloud
account. "keyturn plan" shows what it would do to your clusters, and sends nothing. "keyturn explain"
shows what an event of your cloud means for them.

A deployment is named by --deployment, by KEYTURN_DEPLOYMENT, or by a keyturn.yaml in this directory or above it: NAME on
AWS, PROJECT/NAME on Google Cloud. It says where ledger, archive and topics are. Flags and the environment override what it says;
"keyturn config show" prints each setting with its origin.

Environment (flags override it):
  KEYTURN_DEPLOYMENT   deployment to work on: NAME on AWS, PROJECT/NAME on Google Cloud
  COCKROACH_API_KEY    secret of an API key whose service account has Cluster Operator
  COCKROACH_SERVER     base URL of the Cloud API (https://cockroachlabs.cloud)
  KEYTURN_LEDGER       file:PATH, dynamodb://TABLE?region=REGION or firestore://PROJECT/DATABASE
  KEYTURN_ARCHIVE      file:DIR, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX (for a file ledger: the folder archive beside it)
  KEYTURN_MODE         observe or follow (observe)
  KEYTURN_READER_ROLE  role to assume for reading keys, with {account} for the key's account
  AWS_PROFILE, AWS_REGION, …   credentials and Region, as for every AWS tool; those for Google Cloud are
                       the application default credentials (gcloud auth application-default login)
All other KEYTURN_… variables are those of the functions; their READMEs list them.

Exit codes:
  0  fine
  1  failed
  2  wrong usage or configuration; nothing was done
  3  something needs attention: blocked, failed or stuck work, what cannot be read, an open incident of
     severity high or critical, a check that fails, or a key that must be kept
  4  refused by a check before the first request; nothing was sent
  5  nothing needs attention, and a re-encryption is due (only with --detailed-exitcode)`

// run executes the command line and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	root := p.command() //nolint:contextcheck // cobra hands the context on when a command runs
	root.SetArgs(args)
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	executed, err := root.ExecuteContextC(ctx)
	var wrong *terminal.ConfigurationError
	switch {
	case err == nil:
		return exitFine
	case errors.Is(err, terminal.ErrNeedsPerson):
		return exitNeedsPerson
	case errors.Is(err, terminal.ErrRefused):
		return exitRefused
	case errors.Is(err, terminal.ErrDue):
		return exitDue
	case errors.As(err, &wrong):
		terminal.Tell(p.Err, "keyturn: %s\n", terminal.PrintableLines(err.Error()))
		return exitUsage
	case !p.began:
		terminal.Tell(p.Err, "keyturn: %s\nSee %q.\n", terminal.Printable(terminal.OneLine(err)), executed.CommandPath()+" --help")
		return exitUsage
	}
	terminal.Tell(p.Err, "keyturn: %s\n", terminal.Printable(terminal.OneLine(err)))
	return exitFailed
}

// blank reports an argument, or the value of a flag, that is given and empty, as a variable of the shell leaves it that is not set. None stands for
// nothing given, which may mean all clusters, or all regions.
func blank(c *cobra.Command, args []string) error {
	if c.Name() == cobra.ShellCompRequestCmd || c.Name() == cobra.ShellCompNoDescRequestCmd {
		return nil // the shell asks about a word of which nothing is typed yet
	}
	isBlank := func(text string) bool { return strings.TrimSpace(text) == "" }
	if slices.ContainsFunc(args, isBlank) {
		return errors.New("an argument is empty; leave it out, or set the shell's variable")
	}
	var empty []string
	c.Flags().Visit(func(f *pflag.Flag) {
		list, isList := f.Value.(pflag.SliceValue)
		if f.Value.Type() == "string" && isBlank(f.Value.String()) || isList && (len(list.GetSlice()) == 0 || slices.ContainsFunc(list.GetSlice(), isBlank)) {
			empty = append(empty, "--"+f.Name)
		}
	})
	if len(empty) > 0 {
		return fmt.Errorf("%s is given without a value; leave it out, or set the shell's variable", strings.Join(empty, ", "))
	}
	return nil
}

func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "keyturn",
		Short:         "Turn the store keys when the KMS keys turn",
		Long:          about,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(c *cobra.Command, args []string) error {
			if err := blank(c, args); err != nil {
				return err
			}
			p.began = true
			return nil
		},
	}
	root.Version = version.Read().String()
	root.SetVersionTemplate("{{.Version}}\n")
	root.PersistentFlags().BoolVarP(&p.Quiet, "quiet", "q", false, "show no progress")
	p.DeploymentFlag(root)
	root.AddGroup(
		&cobra.Group{ID: "try", Title: "Try it on this machine:"},
		&cobra.Group{ID: "look", Title: "Look:"},
		&cobra.Group{ID: "act", Title: "Act:"},
		&cobra.Group{ID: "life", Title: "Change a cluster's CMEK:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	trying, reading := demo.Commands{Terminal: &p.Terminal}, explain.Commands{Program: &p.Program}
	running, auditing, preparing := live.Commands{Program: &p.Program}, audit.Commands{Program: &p.Program}, setup.Commands{Program: &p.Program}
	add("try", trying.DemoCommand(), trying.SimulateCommand(), trying.ServeCommand())
	changing := life.Commands{Program: &p.Program}
	add("look", running.StatusCommand(), changing.CMEKCommand(), running.AlertsCommand(), reading.ExplainCommand(), running.PlanCommand(), auditing.CheckCommand(), auditing.RetireCommand(),
		auditing.ReportCommand(), auditing.EvidenceCommand())
	add("act", running.FollowCommand(), running.RotateCommand(), running.PinCommand(), running.UnpinCommand(), reading.ReplayCommand(), running.PauseCommand(), running.ResumeCommand(), running.HoldCommand(), running.ReleaseCommand(),
		running.RetryCommand(), running.ForgetCommand())
	add("life", changing.ProvisionCommand(), changing.EnableCommand(), changing.AddRegionCommand(), changing.RevokeCommand(), changing.ApplyCommand(), changing.RestoreCommand())
	root.AddCommand(preparing.DoctorCommand(), preparing.ConfigCommand(), p.versionCommand(), p.schemaCommand(), p.manualCommand())
	return root
}
