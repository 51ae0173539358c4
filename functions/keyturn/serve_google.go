package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	alerting "github.com/keyturn/keyturn/functions/alerting/gcp"
	notify "github.com/keyturn/keyturn/functions/notify/gcp"
	rotation "github.com/keyturn/keyturn/functions/rotation/gcp"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/google/function"
)

// googleFunctions are the functions by the names of their targets.
var googleFunctions = []struct {
	target string
	wire   func(environ []string) (function.Handler, error)
}{{"Rotation", rotation.Wire}, {"Alerting", alerting.Wire}, {"Notify", notify.Wire}}

func (p *program) serveCommand() *cobra.Command {
	listen := "127.0.0.1:8080"
	c := &cobra.Command{
		Use:   "serve",
		Short: "Serve the functions for Google Cloud on this machine",
		Long: `Serve the functions for Google Cloud on one loopback address, until Ctrl-C: /Rotation, /Alerting and
/Notify take what Pub/Sub pushes and Cloud Scheduler's ticks, as they do in the cloud. Their logs go to
standard error.

The environment is that of the functions; their READMEs list it. Against "keyturn simulate" with a seed
that has Google's keys, and google: {secrets: …} for the secrets:

  KEYTURN_GOOGLE_ENDPOINT, COCKROACH_SERVER        the simulator's address
  FIRESTORE_EMULATOR_HOST, PUBSUB_EMULATOR_HOST    those of gcloud's emulators
  KEYTURN_LEDGER=firestore://PROJECT/DATABASE   KEYTURN_ARCHIVE=gs://BUCKET
  KEYTURN_ALERTS_TOPIC, KEYTURN_OPERATIONS_TOPIC   projects/PROJECT/topics/TOPIC
  KEYTURN_API_KEY_SECRET, KEYTURN_CHANNEL_SECRET   projects/PROJECT/secrets/NAME
  KEYTURN_CHANNEL=slack, pagerduty or webhook

Nobody checks here who calls, so no other machine can.`,
		Example: `  keyturn serve --listen 127.0.0.1:8322
  curl -d '{"keyturn":"tick"}' -H 'X-CloudScheduler: true' \
    -H "X-CloudScheduler-ScheduleTime: $(date -u +%FT%TZ)" http://127.0.0.1:8322/Rotation`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.serveFunctions(c.Context(), listen) },
	}
	c.Flags().StringVar(&listen, "listen", listen, "loopback `address` to serve; port 0 picks a free one")
	return c
}

func (p *program) serveFunctions(ctx context.Context, listen string) error {
	mux := http.NewServeMux()
	var problems []error
	for _, f := range googleFunctions {
		handler, err := f.wire(p.environ)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %s", f.target, strings.ReplaceAll(err.Error(), "\n", "\n"+f.target+": ")))
			continue
		}
		mux.Handle("/"+f.target, function.New(handler))
	}
	// A ledger on this machine does not know what others did to the fleet.
	server := cmp.Or(p.lookup("COCKROACH_SERVER"), cockroachcloud.DefaultServer)
	if p.lookup("FIRESTORE_EMULATOR_HOST") != "" && !cockroachcloud.IsLoopback(server) {
		problems = append(problems, fmt.Errorf("FIRESTORE_EMULATOR_HOST is set and COCKROACH_SERVER is %s; want an emulated ledger for a simulated Cloud API only", server))
	}
	if len(problems) > 0 {
		return &configurationError{errors.Join(problems...)}
	}
	listener, err := listenOnLoopback(listen, "it does not check who calls")
	if err != nil {
		return err
	}
	for _, f := range googleFunctions {
		tell(p.out, "http://%s/%s\n", listener.Addr(), f.target)
	}
	return serve(ctx, listener, mux, func() error { return nil })
}
