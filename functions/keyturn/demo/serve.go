package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	alerting "github.com/keyturn/keyturn/functions/alerting/gcp"
	compliance "github.com/keyturn/keyturn/functions/compliance/gcp"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	notify "github.com/keyturn/keyturn/functions/notify/gcp"
	rotation "github.com/keyturn/keyturn/functions/rotation/gcp"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/google/function"
	"github.com/keyturn/keyturn/internal/simulator"
)

// listenOnLoopback listens at the address that a flag names; because is why no other machine may call.
func listenOnLoopback(listen, because string) (*net.TCPListener, error) {
	address, err := net.ResolveTCPAddr("tcp", listen)
	if err != nil {
		return nil, &terminal.ConfigurationError{Problems: fmt.Errorf("--listen is %q; want a loopback address such as 127.0.0.1:8080", listen)}
	}
	if !address.IP.IsLoopback() {
		return nil, &terminal.ConfigurationError{Problems: fmt.Errorf("--listen is %q; %s and serves loopback addresses only, such as 127.0.0.1:8080", listen, because)}
	}
	listener, err := net.ListenTCP("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return listener, nil
}

// serve serves until ctx ends, then lets running requests finish. Meanwhile and at the end it calls each from time to time.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, each func() error) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	for {
		select {
		case err := <-ended:
			return fmt.Errorf("serve: %w", err)
		case <-time.After(200 * time.Millisecond):
			if err := each(); err != nil {
				return errors.Join(err, server.Close())
			}
		case <-ctx.Done():
			within, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			if server.Shutdown(within) != nil {
				_ = server.Close() // clients that do not let go are cut off
			}
			return each()
		}
	}
}

// journal writes down what happens in a world, each thing once.
type journal struct {
	world            *simulator.World
	requests, events io.Writer
	// request and event are the sequence numbers of the newest that were written.
	request, event int
}

func (j *journal) write() error {
	for _, e := range j.world.EventsAfter(j.event) {
		j.event = e.Seq
		if _, err := fmt.Fprintf(j.events, "%s\n", e.Payload); err != nil {
			return fmt.Errorf("write event: %w", err)
		}
	}
	if j.requests == io.Discard {
		return nil
	}
	for _, r := range j.world.Requests() {
		if r.Seq <= j.request {
			continue
		}
		j.request = r.Seq
		if err := json.NewEncoder(j.requests).Encode(r); err != nil {
			return fmt.Errorf("write request log: %w", err)
		}
	}
	return nil
}

// googleFunctions are the functions by the names of their targets.
var googleFunctions = []googleFunction{
	{"Rotation", rotation.Wire}, {"Alerting", alerting.Wire}, {"Notify", notify.Wire}, {"Compliance", compliance.Wire},
}

type googleFunction struct {
	target string
	wire   func(environ []string) (function.Handler, error)
}

// declarationsVariable is what compliance alone needs.
const declarationsVariable = "KEYTURN_DECLARATIONS"

// chooseFunctions are the functions that are named, or else all that the environment is for.
func (p Commands) chooseFunctions(names []string) (chosen []googleFunction, err error) {
	var targets []string
	for _, f := range googleFunctions {
		targets = append(targets, f.target)
		if slices.Contains(names, f.target) || len(names) == 0 && (f.target != "Compliance" || p.Lookup(declarationsVariable) != "") {
			chosen = append(chosen, f)
		}
	}
	for _, name := range names {
		if !slices.Contains(targets, name) {
			err = errors.Join(err, fmt.Errorf("there is no function %q; want %s", terminal.Printable(name), strings.Join(targets, ", ")))
		}
	}
	if err != nil {
		return nil, &terminal.ConfigurationError{Problems: err}
	}
	return chosen, nil
}

// ServeCommand is "keyturn serve".
func (p Commands) ServeCommand() *cobra.Command {
	listen := "127.0.0.1:8080"
	c := &cobra.Command{
		Use:   "serve [FUNCTION…]",
		Short: "Serve the functions for Google Cloud on this machine",
		Long: `Serve the functions for Google Cloud on one loopback address, until Ctrl-C: /Rotation, /Alerting and
/Notify take what Pub/Sub pushes and Cloud Scheduler's ticks, as they do in the cloud. So does /Compliance, which
is served if KEYTURN_DECLARATIONS is set. Name functions to serve these alone, each with an environment of its own.
Their logs go to standard error.

The environment is that of the functions; their READMEs list it. Against "keyturn simulate" with a seed
that has Google's keys, and google: {secrets: …} for the secrets:

  KEYTURN_GOOGLE_ENDPOINT, COCKROACH_SERVER        the simulator's address
  FIRESTORE_EMULATOR_HOST, PUBSUB_EMULATOR_HOST    those of gcloud's emulators
  KEYTURN_LEDGER=firestore://PROJECT/DATABASE   KEYTURN_ARCHIVE=gs://BUCKET
  KEYTURN_ALERTS_TOPIC, KEYTURN_OPERATIONS_TOPIC   projects/PROJECT/topics/TOPIC
  KEYTURN_API_KEY_SECRET, KEYTURN_CHANNEL_SECRET   projects/PROJECT/secrets/NAME
  KEYTURN_CHANNEL=slack, pagerduty or webhook
  KEYTURN_DECLARATIONS=gs://BUCKET/NAME

Callers are not authenticated, so only loopback addresses are served.`,
		Example: `  keyturn serve --listen 127.0.0.1:8322
  keyturn serve Compliance
  curl -d '{"keyturn":"tick"}' -H 'X-CloudScheduler: true' \
    -H "X-CloudScheduler-ScheduleTime: $(date -u +%FT%TZ)" http://127.0.0.1:8322/Rotation`,
		RunE: func(c *cobra.Command, names []string) error { return p.serveFunctions(c.Context(), listen, names) },
	}
	c.Flags().StringVar(&listen, "listen", listen, "loopback `address` to serve; port 0 picks a free one")
	return c
}

func (p Commands) serveFunctions(ctx context.Context, listen string, names []string) error {
	chosen, err := p.chooseFunctions(names)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	var problems []error
	for _, f := range chosen {
		handler, err := f.wire(p.Environ)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %s", f.target, strings.ReplaceAll(err.Error(), "\n", "\n"+f.target+": ")))
			continue
		}
		mux.Handle("/"+f.target, function.New(handler))
	}
	// A ledger on this machine does not know what others did to the fleet.
	server := cmp.Or(p.Lookup("COCKROACH_SERVER"), cockroachcloud.DefaultServer)
	if p.Lookup("FIRESTORE_EMULATOR_HOST") != "" && !cockroachcloud.IsLoopback(server) {
		problems = append(problems, fmt.Errorf("FIRESTORE_EMULATOR_HOST is set and COCKROACH_SERVER is %s; want an emulated ledger for a simulated Cloud API only", server))
	}
	if len(problems) > 0 {
		return &terminal.ConfigurationError{Problems: errors.Join(problems...)}
	}
	listener, err := listenOnLoopback(listen, "it does not check who calls")
	if err != nil {
		return err
	}
	for _, f := range chosen {
		terminal.Tell(p.Out, "http://%s/%s\n", listener.Addr(), f.target)
	}
	return serve(ctx, listener, mux, func() error { return nil })
}
