package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/internal/config"
)

// Exit codes.
const (
	exitFine = iota
	exitFailed
	exitUsage
	exitNeedsPerson
)

// errNeedsPerson ends a command that worked, but found what needs attention. The command has said what.
var errNeedsPerson = errors.New("something needs attention")

// program is one run of the command line.
type program struct {
	// name is how the program was called; empty means keyturn.
	name     string
	in       io.Reader
	out, err io.Writer
	// environ is the environment, NAME=value; flags are appended to it, and the last entry of a name counts.
	environ []string
	// live is true if out is a terminal that can be painted over.
	live bool

	// json is true after --output json.
	json bool
	// began is true once flags and arguments were accepted: what fails before that is wrong usage.
	began bool
}

const about = `keyturn re-encrypts the store keys of CockroachDB Cloud clusters when their KMS keys rotate, and says at
once when somebody endangers a key that they need.

CockroachDB Cloud does not re-encrypt by itself: somebody has to send a PUT with the unchanged key,
cluster by cluster. "keyturn demo" shows how keyturn does it, on this machine and with no cloud
account. "keyturn plan" says what it would do to your clusters, and sends nothing. "keyturn explain"
says what an event of your cloud means for them.

Environment (flags override it):
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
  3  something needs attention: blocked, failed or stuck work, or an open alert of severity high or critical`

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
	add("try", p.demoCommand(), p.simulateCommand())
	add("look", p.statusCommand(), p.alertsCommand(), p.explainCommand(), p.planCommand())
	add("act", p.followCommand(), p.replayCommand(), p.pauseCommand(), p.resumeCommand(), p.retryCommand(), p.forgetCommand(), p.incidentCommand())
	root.AddCommand(p.versionCommand())
	return root
}

// variable adds a flag that overrides an environment variable. A name in backquotes within usage stands for its value.
func (p *program) variable(c *cobra.Command, flag, variable, usage string) {
	c.Flags().Func(flag, usage+" ("+variable+")", func(value string) error {
		if strings.TrimSpace(value) == "" {
			return errors.New("the value is empty")
		}
		p.environ = append(p.environ, variable+"="+value)
		return nil
	})
}

func (p *program) ledgerFlag(c *cobra.Command) {
	c.Flags().Func("ledger", "the ledger: `file:PATH` or dynamodb://TABLE?region=REGION (KEYTURN_LEDGER)", func(value string) error {
		l, err := config.ParseLocation(value)
		if err != nil || l.Scheme != "file" && l.Scheme != "dynamodb" {
			return errors.New("not a ledger; want file:PATH or dynamodb://TABLE?region=REGION")
		}
		p.environ = append(p.environ, "KEYTURN_LEDGER="+value)
		return nil
	})
}

func (p *program) serverFlag(c *cobra.Command) {
	p.variable(c, "server", "COCKROACH_SERVER", "base `URL` of the CockroachDB Cloud API")
}

// outputFlag adds --output to a command that prints data.
func (p *program) outputFlag(c *cobra.Command) {
	c.Flags().FuncP("output", "o", "`table` or json", func(value string) error {
		if value != "table" && value != "json" {
			return errors.New("want table or json")
		}
		p.json = value == "json"
		return nil
	})
	// The flag exists: it was just added.
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]cobra.Completion{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
}
