package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
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
	functions    bool
	mode         rotation.Mode
}

// SimulateCommand is "keyturn simulate".
func (p Commands) SimulateCommand() *cobra.Command {
	o := simulateOptions{mode: rotation.Follow}
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Serve a simulated CockroachDB Cloud API, AWS KMS and Cloud KMS on this machine",
		Long: `Serve a simulated CockroachDB Cloud API, AWS KMS and Cloud KMS on one loopback address, until Ctrl-C. It
prints the environment that points keyturn, the AWS CLI, gcloud and the Cloud API's own tools at it.

What the vendors document is always on; what they leave open is a switch (--list-switches), so that
everything can be tried with each answer. The world begins as a seed file describes it, or as the small
company of "keyturn demo". The address itself shows a page: what is simulated, the switches, the requests.

With --functions keyturn's functions run against it in the same process (rotation, alerting and notify, with
a ledger of their own), so that every command can be tried on what they do: status, plan, alerts, hold,
retry, replay. What would go to Slack is printed.`,
		Example: `  keyturn simulate
  keyturn simulate --functions --listen 127.0.0.1:8321
  keyturn simulate --rotation-time 30s --switch busy-reply=409 --request-log requests.ndjson
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
	flags.StringVar(&o.events, "events", "", "`file` for the events that the clouds would send, as NDJSON; - for standard output")
	flags.BoolVar(&o.functions, "functions", false, "run rotation, alerting and notify against it, too")
	flags.Func("mode", "`observe` or follow: the mode of rotation with --functions (default follow)", func(value string) error { return o.mode.UnmarshalText([]byte(value)) })
	p.OutputFlag(c)
	return c
}

func (p Commands) simulate(ctx context.Context, o simulateOptions) error {
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
		return &terminal.ConfigurationError{Problems: err}
	}
	listener, err := listenOnLoopback(o.listen, "the simulator has no real authentication")
	if err != nil {
		return err
	}
	requests, events, done, err := p.openJournals(o) // only now: the logs of another one on the same port are not for us to empty
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	guide := p.Out
	if o.events == "-" {
		guide = p.Err
	}
	url := "http://" + listener.Addr().String()
	dir, err := filepath.Abs(filepath.Join(".keyturn", fmt.Sprintf("simulate-%d", listener.Addr().(*net.TCPAddr).Port)))
	if err != nil {
		return errors.Join(err, listener.Close(), done())
	}
	j := &journal{world: world, requests: requests, events: events}
	if !o.functions {
		printGuide(guide, url, dir, seed, o)
		return errors.Join(serve(ctx, listener, world.Handler(), j.write), done())
	}
	if apiKeyOf(seed) == "" {
		return errors.Join(&terminal.ConfigurationError{Problems: errNoAPIKey}, listener.Close(), done())
	}
	i, err := install(ctx, world, url, dir, o.mode, apiKeyOf(seed), guide)
	if err != nil {
		return errors.Join(err, listener.Close(), done())
	}
	printGuide(guide, url, dir, seed, o)
	// The functions end before the world does: a request of theirs must not be cut off.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	ended := make(chan error, 1)
	go func() {
		ended <- i.run(ctx)
		stopServing()
	}()
	err = serve(serving, listener, i.handler(), j.write)
	return errors.Join(err, <-ended, done())
}

func loadSeed(file string) (simulator.Seed, error) {
	if file == "" {
		return companySeed(), nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return simulator.Seed{}, fmt.Errorf("read seed: %w", err)
	}
	seed, err := simulator.LoadSeed(data)
	if err != nil {
		return seed, &terminal.ConfigurationError{Problems: fmt.Errorf("seed %s: %w", file, err)}
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

func (p Commands) printSwitches(switches []simulator.Switch) error {
	if p.JSON {
		return p.PrintJSON(switches)
	}
	for _, s := range switches {
		terminal.Tell(p.Out, "%s=%s\n    %s\n    one of: %s\n", p.Palette().Bold(s.Name), s.Value, s.Doc, strings.Join(s.Settings, ", "))
	}
	return nil
}

// openJournals opens the files asked for; those not asked for discard.
func (p Commands) openJournals(o simulateOptions) (requests, events io.Writer, done func() error, err error) {
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
	events = p.Out
	if o.events != "-" {
		events = create(o.events)
	}
	if err != nil {
		return nil, nil, nil, errors.Join(fmt.Errorf("open log: %w", err), done())
	}
	return requests, events, done, nil
}

// printGuide prints what to paste into a shell. All secrets in it are samples.
func printGuide(out io.Writer, url, dir string, seed simulator.Seed, o simulateOptions) {
	also, mode, acts := "", "", "#   keyturn follow --mode follow\n"
	if o.functions {
		acts, mode = "#   keyturn alerts\n", fmt.Sprintf("KEYTURN_MODE=%s ", o.mode)
		also = fmt.Sprintf("# keyturn's functions run against it, in mode %s; what they send to Slack is printed here.\n", o.mode)
	}
	terminal.Tell(out, `# A simulated CockroachDB Cloud API, AWS KMS and Cloud KMS answer at %[1]s until Ctrl-C:
# %[2]s, %[3]s; that address shows a page, too.
%[14]s# Paste this into another shell:
export COCKROACH_SERVER=%[1]s
export COCKROACH_API_KEY=%[4]s
export AWS_ENDPOINT_URL_KMS=%[1]s AWS_ENDPOINT_URL_IAM=%[1]s AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
export AWS_ACCESS_KEY_ID=%[5]s AWS_SECRET_ACCESS_KEY=%[6]s
export KEYTURN_GOOGLE_ENDPOINT=%[1]s CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS=%[1]s/ CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING=%[1]s/ CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true
export KEYTURN_LEDGER='file:%[7]s'
export %[10]sKEYTURN_SETTLE=%[11]s KEYTURN_CONFIRM=%[12]s KEYTURN_POLL=%[13]s KEYTURN_SWEEP_EVERY=%[15]s
# Then, for example:
#   keyturn plan
%[8]s%[9]s#   keyturn status
`, url, terminal.Count(len(seed.Clusters), "cluster"), terminal.Count(len(seed.Keys), "key"), apiKeyOf(seed), SampleAccessKeyID, SampleSecretAccessKey,
		filepath.Join(dir, ledgerFile), rotations(seed), acts, mode, simulatedSettle, simulatedConfirm, pace, also, simulatedSweep)
}

// The pace of what follows against a simulated world.
const (
	simulatedSettle  = 10 * time.Second
	simulatedConfirm = 5 * time.Second
)

// Sample credentials, as in AWS' own documentation (docs.aws.amazon.com/IAM/latest/UserGuide/security-creds.html).
const (
	SampleAccessKeyID     = "AKIAIOSFODNN7EXAMPLE"
	SampleSecretAccessKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

// rotations are commands, each of which rotates a key: the first of each cloud.
func rotations(seed simulator.Seed) (lines string) {
	shown := map[cmek.KeyType]bool{}
	for _, k := range seed.Keys {
		of := k.URI.Type()
		if shown[of] {
			continue
		}
		shown[of] = true
		parts := strings.Split(k.URI.Canonical(), "/")
		switch {
		case of == cmek.AWSKMS:
			lines += "#   aws kms rotate-key-on-demand --key-id " + string(k.URI) + "\n"
		case of == cmek.GCPCloudKMS && len(parts) == 8: // projects/P/locations/L/keyRings/R/cryptoKeys/K
			lines += fmt.Sprintf("#   gcloud kms keys versions create --primary --key %s --keyring %s --location %s --project %s\n", parts[7], parts[5], parts[3], parts[1])
		}
	}
	return lines
}
