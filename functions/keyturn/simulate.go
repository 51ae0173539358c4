package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/simulator"
)

// simulateOptions are the flags of simulate.
type simulateOptions struct {
	listen       string
	seed         string
	rotationTime time.Duration
	rateLimit    int
	switches     []string
	listSwitches bool
	requestLog   string
	events       string
}

func (p *program) simulateCommand() *cobra.Command {
	var o simulateOptions
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Serve a simulated CockroachDB Cloud API and AWS KMS on this machine",
		Long: `Serve a simulated CockroachDB Cloud API and AWS KMS on one loopback address, until Ctrl-C. It prints
the environment that points keyturn, the AWS CLI and the Cloud API's own tools at it.

What the vendors document is always on; what they leave open is a switch (--list-switches), so that
everything can be tried with each answer. The world begins as a seed file describes it, or as a small
company on AWS. Under /_simulator/ a world shows its requests, its PUTs and the truth about its store keys.`,
		Example: `  keyturn simulate
  keyturn simulate --rotation-time 30s --switch busy-reply=409 --request-log requests.ndjson
  keyturn simulate --events - | while read -r event; do echo "$event" | keyturn replay -; done
  keyturn simulate --list-switches`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.simulate(c.Context(), o)
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.listen, "listen", "127.0.0.1:0", "loopback `address` to serve; port 0 picks a free one")
	flags.StringVar(&o.seed, "seed", "", "YAML or JSON `file` that describes the world")
	flags.DurationVar(&o.rotationTime, "rotation-time", 5*time.Second, "how long an operation on a cluster takes")
	flags.IntVar(&o.rateLimit, "rate-limit", cockroachcloud.UserRate, "`requests` per second that one service account may send")
	flags.StringArrayVar(&o.switches, "switch", nil, "`name=value` of a switch; repeat for more, \"help\" lists them")
	flags.BoolVar(&o.listSwitches, "list-switches", false, "list all switches with their settings, and end")
	flags.StringVar(&o.requestLog, "request-log", "", "`file` for the requests as NDJSON, without headers and bodies")
	flags.StringVar(&o.events, "events", "", "`file` for the events that AWS would send, as NDJSON; - for standard output")
	p.outputFlag(c)
	return c
}

func (p *program) simulate(ctx context.Context, o simulateOptions) error {
	seed, err := loadSeed(o.seed)
	if err != nil {
		return err
	}
	world, err := simulator.New(seed)
	if err != nil {
		return err
	}
	if o.listSwitches || len(o.switches) == 1 && o.switches[0] == "help" {
		return p.printSwitches(world.Switches())
	}
	if err := turnSwitches(world, o); err != nil {
		return &configurationError{err}
	}
	address, err := net.ResolveTCPAddr("tcp", o.listen)
	if err != nil {
		return &configurationError{fmt.Errorf("--listen is %q; want a loopback address such as 127.0.0.1:8080", o.listen)}
	}
	if !address.IP.IsLoopback() {
		return &configurationError{fmt.Errorf("--listen is %q; the simulator has no real authentication and serves loopback addresses only, such as 127.0.0.1:8080", o.listen)}
	}
	requests, events, done, err := p.openJournals(o)
	if err != nil {
		return err
	}
	listener, err := net.ListenTCP("tcp", address)
	if err != nil {
		return errors.Join(fmt.Errorf("listen: %w", err), done())
	}
	guide := p.out
	if o.events == "-" {
		guide = p.err
	}
	printGuide(guide, "http://"+listener.Addr().String(), listener.Addr().(*net.TCPAddr).Port, seed)
	j := &journal{world: world, requests: requests, events: events}
	return errors.Join(serve(ctx, listener, world.Handler(), j.write), done())
}

func loadSeed(file string) (simulator.Seed, error) {
	if file == "" {
		return simulator.DefaultSeed(), nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return simulator.Seed{}, fmt.Errorf("read seed: %w", err)
	}
	seed, err := simulator.LoadSeed(data)
	if err != nil {
		return seed, &configurationError{fmt.Errorf("seed %s: %w", file, err)}
	}
	return seed, nil
}

// turnSwitches reports every switch that is wrong.
func turnSwitches(world *simulator.World, o simulateOptions) error {
	problems := []error{
		world.Set(simulator.RotationDuration, o.rotationTime.String()),
		world.Set(simulator.RateLimit, strconv.Itoa(o.rateLimit)),
	}
	for _, s := range o.switches {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			problems = append(problems, fmt.Errorf("--switch is %q; want name=value, such as busy-reply=409 (--list-switches shows all)", s))
			continue
		}
		problems = append(problems, world.Set(name, value))
	}
	return errors.Join(problems...)
}

func (p *program) printSwitches(switches []simulator.Switch) error {
	if p.json {
		return printJSON(p.out, switches)
	}
	for _, s := range switches {
		tell(p.out, "%s=%s\n    %s\n    one of: %s\n", palette(p.color()).bold(s.Name), s.Value, s.Doc, strings.Join(s.Settings, ", "))
	}
	return nil
}

// openJournals opens the files asked for; those not asked for discard.
func (p *program) openJournals(o simulateOptions) (requests, events io.Writer, done func() error, err error) {
	var open []*os.File
	done = func() error {
		var problems []error
		for _, f := range open {
			problems = append(problems, f.Close())
		}
		return errors.Join(problems...)
	}
	create := func(name string) io.Writer {
		if name == "" || err != nil {
			return io.Discard
		}
		var f *os.File
		if f, err = os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600); err == nil {
			open = append(open, f)
		}
		return f
	}
	requests = create(o.requestLog)
	events = p.out
	if o.events != "-" {
		events = create(o.events)
	}
	if err != nil {
		return nil, nil, nil, errors.Join(fmt.Errorf("open log: %w", err), done())
	}
	return requests, events, done, nil
}

// printGuide prints what to paste into a shell. All secrets in it are samples.
func printGuide(out io.Writer, url string, port int, seed simulator.Seed) {
	apiKey := ""
	if len(seed.APIKeys) > 0 {
		apiKey = seed.APIKeys[0].Secret
	}
	tell(out, `# A simulated CockroachDB Cloud API and AWS KMS answer at %[1]s until Ctrl-C:
# %[2]s, %[3]s. Paste this into another shell:
export COCKROACH_SERVER=%[1]s
export COCKROACH_API_KEY=%[4]s
export AWS_ENDPOINT_URL_KMS=%[1]s AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
export AWS_ACCESS_KEY_ID=%[5]s AWS_SECRET_ACCESS_KEY=%[6]s
export KEYTURN_LEDGER=file:.keyturn/simulate-%[7]d/ledger.db
export KEYTURN_SETTLE=10s KEYTURN_CONFIRM=5s KEYTURN_POLL=1s
# Then, for example:
#   keyturn plan
#   aws kms rotate-key-on-demand --key-id %[8]s
#   keyturn follow --mode follow
#   keyturn status
`, url, count(len(seed.Clusters), "cluster"), count(len(seed.Keys), "key"), apiKey, sampleAccessKeyID, sampleSecretAccessKey, port, firstKey(seed))
}

// Sample credentials, as in AWS' own documentation (docs.aws.amazon.com/IAM/latest/UserGuide/security-creds.html).
const (
	sampleAccessKeyID     = "AKIAIOSFODNN7EXAMPLE"
	sampleSecretAccessKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

func firstKey(seed simulator.Seed) string {
	if len(seed.Keys) == 0 {
		return "KEY"
	}
	return string(seed.Keys[0].URI)
}
