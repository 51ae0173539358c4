package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/config"
	"github.com/keyturn/keyturn/internal/version"
)

// Exit codes; the help text lists them for all commands.
const (
	exitFine = iota
	exitFailed
	exitUsage
	exitNeedsPerson
	exitRefused
	exitDue
)

// What ends a command that worked, with an exit code of its own. The command has said what it found.
var (
	errNeedsPerson = errors.New("something needs attention")
	errDue         = errors.New("a re-encryption is due")
)

// program is one run of the command line.
type program struct {
	// name is how the program was called; empty means keyturn.
	name     string
	in       io.Reader
	out, err io.Writer
	// environ is the environment, NAME=value; flags are appended to it, and the last entry of a name counts.
	environ []string
	// flagged are the flags that set variables, by those.
	flagged map[string]string
	// dir is the working directory, from which keyturn.yaml is searched for; "" for no search.
	dir string
	// deployment is what --deployment names, declarations the keyturn.yaml that --config does.
	deployment, declarations string
	// found is what the deployment publishes, once it was found, and foundBy what named it.
	found   *deployment.Published
	foundBy string
	// live is true if out is a terminal that can be painted over.
	live bool

	// width is the number of columns of the terminal; 0 if out is none.
	width int

	// json is true after --output json, wide after --output wide.
	json, wide bool
	// quiet leaves out progress; watch is the pause between two reads, 0 for one read.
	quiet bool
	watch time.Duration
	// began is true once flags and arguments were accepted: what fails before that is wrong usage.
	began bool
}

const about = `keyturn re-encrypts the store keys of CockroachDB Cloud clusters when their KMS keys rotate, and says at
once when a key that they need is at risk.

CockroachDB Cloud does not re-encrypt by itself: somebody has to send a PUT with the unchanged key,
cluster by cluster. "keyturn demo" shows how keyturn does it, on this machine and with no cloud
account. "keyturn plan" says what it would do to your clusters, and sends nothing. "keyturn explain"
says what an event of your cloud means for them.

A deployment on AWS is named by --deployment, by KEYTURN_DEPLOYMENT, or by a keyturn.yaml in this directory or above it:
its hub says where ledger, archive and topics are. Flags and the environment override what it says;
"keyturn config show" prints each setting with its origin.

Environment (flags override it):
  KEYTURN_DEPLOYMENT   name of the deployment on AWS to work on
  COCKROACH_API_KEY    secret of an API key whose service account has Cluster Operator
  COCKROACH_SERVER     base URL of the Cloud API (https://cockroachlabs.cloud)
  KEYTURN_LEDGER       file:PATH or dynamodb://TABLE?region=REGION
  KEYTURN_ARCHIVE      file:DIR or s3://BUCKET/PREFIX (for a file ledger: the folder archive beside it)
  KEYTURN_MODE         observe or follow (observe)
  KEYTURN_READER_ROLE  role to assume for reading keys, with {account} for the key's account
  AWS_PROFILE, AWS_REGION, …   credentials and Region, as for every AWS tool
All other KEYTURN_… variables are those of the functions; their READMEs list them.

Exit codes:
  0  fine
  1  failed
  2  wrong usage or configuration; nothing was done
  3  something needs attention: blocked, failed or stuck work, what cannot be read, an open incident of
     severity high or critical, a check that fails, or a key that must be kept
  4  a check before the first request refused it, and nothing was sent
  5  nothing needs attention, and a re-encryption is due (only with --detailed-exitcode)`

// run executes the command line and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	root := p.command() //nolint:contextcheck // cobra hands the context on when a command runs
	root.SetArgs(args)
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	executed, err := root.ExecuteContextC(ctx)
	var wrong *configurationError
	switch {
	case err == nil:
		return exitFine
	case errors.Is(err, errNeedsPerson):
		return exitNeedsPerson
	case errors.Is(err, errDue):
		return exitDue
	case errors.As(err, &wrong):
		tell(p.err, "keyturn: %s\n", printableLines(err.Error()))
		return exitUsage
	case !p.began:
		tell(p.err, "keyturn: %s\nSee %q.\n", printable(oneLine(err)), executed.CommandPath()+" --help")
		return exitUsage
	}
	tell(p.err, "keyturn: %s\n", printable(oneLine(err)))
	return exitFailed
}

// oneLine joins the lines of an error, which may be several errors.
func oneLine(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "keyturn",
		Short:         "Turn the store keys when the KMS keys turn",
		Long:          about,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(*cobra.Command, []string) {
			p.began = true
		},
	}
	root.Version = version.Read().String()
	root.SetVersionTemplate("{{.Version}}\n")
	root.PersistentFlags().BoolVarP(&p.quiet, "quiet", "q", false, "show no progress")
	root.PersistentFlags().Func("deployment", "the deployment on AWS to work on, by `name` ("+deploymentVariable+", or a keyturn.yaml in reach)", func(name string) error {
		if strings.TrimSpace(name) == "" {
			return errors.New("the value is empty")
		}
		p.deployment = name
		return nil
	})
	root.AddGroup(
		&cobra.Group{ID: "try", Title: "Try it on this machine:"},
		&cobra.Group{ID: "look", Title: "Look:"},
		&cobra.Group{ID: "act", Title: "Act:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("try", p.demoCommand(), p.simulateCommand(), p.serveCommand())
	add("look", p.statusCommand(), p.alertsCommand(), p.explainCommand(), p.planCommand(), p.checkCommand(), p.retireCommand())
	add("act", p.followCommand(), p.replayCommand(), p.pauseCommand(), p.resumeCommand(), p.holdCommand(), p.releaseCommand(), p.retryCommand(), p.forgetCommand())
	root.AddCommand(p.doctorCommand(), p.configCommand(), p.versionCommand(), p.schemaCommand(), p.manualCommand())
	return root
}

// variable adds a flag that overrides an environment variable. A name in backquotes within usage stands for its value.
func (p *program) variable(c *cobra.Command, flag, variable, usage string) {
	c.Flags().Func(flag, usage+" ("+variable+")", func(value string) error {
		if strings.TrimSpace(value) == "" {
			return errors.New("the value is empty")
		}
		p.set(flag, variable, value)
		return nil
	})
}

// set gives a variable the value of a flag.
func (p *program) set(flag, variable, value string) {
	p.environ = append(p.environ, variable+"="+value)
	if p.flagged == nil {
		p.flagged = map[string]string{}
	}
	p.flagged[variable] = "--" + flag
}

func (p *program) ledgerFlag(c *cobra.Command) {
	c.Flags().Func("ledger", "the ledger: `file:PATH` or dynamodb://TABLE?region=REGION (KEYTURN_LEDGER)", func(value string) error {
		l, err := config.ParseLocation(value)
		if err != nil && strings.Contains(value, "?") {
			return err
		}
		if err != nil || l.Scheme != "file" && l.Scheme != "dynamodb" {
			return errors.New("not a ledger; want file:PATH or dynamodb://TABLE?region=REGION")
		}
		p.set("ledger", "KEYTURN_LEDGER", value)
		return nil
	})
}

func (p *program) serverFlag(c *cobra.Command) {
	p.variable(c, "server", "COCKROACH_SERVER", "base `URL` of the CockroachDB Cloud API")
}

// outputFlag adds --output to a command that prints data.
func (p *program) outputFlag(c *cobra.Command) {
	forms := []cobra.Completion{"table", "wide", "json"}
	c.Flags().FuncP("output", "o", "the `form` of the output: table, wide (every column, no wrapping) or json (described by \"keyturn schema\")", func(value string) error {
		if !slices.Contains(forms, value) {
			return errors.New("want table, wide or json")
		}
		p.json, p.wide = value == "json", value == "wide"
		return nil
	})
	// The flag exists: it was just added.
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(forms, cobra.ShellCompDirectiveNoFileComp))
}
