package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/progress"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/channel"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cockroachcloud"
	"github.com/keyturn/keyturn/internal/simulator"
)

// simulation is keyturn's functions against a simulated world, in one process: what EventBridge, Scheduler and the queues do in the
// cloud, it does with calls. Their ledger is a file, which other commands use at the same time.
type simulation struct {
	*functions
	world  *simulator.World
	notify *notify.Function
	out    io.Writer

	mu      sync.Mutex
	pending []alert.Alert
	// handled is the number of the newest event that was handed over.
	handled int
}

// The pace of the functions: that of the cloud, for people who wait.
const (
	pace           = time.Second
	simulatedSweep = time.Minute
	chatPath       = "/_simulator/slack"
)

// install builds the functions over the world at the URL and a new ledger in the folder.
func install(ctx context.Context, world *simulator.World, url, dir string, mode rotation.Mode, apiKey string, out io.Writer) (*simulation, error) {
	i := &simulation{world: world, out: out}
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var err error
	if i.functions, err = build(ctx, dir, url, apiKey, installation.WorkingRate, i, log); err != nil {
		return nil, err
	}
	following := &i.rotation.Settings
	following.Mode, following.Loopback, following.SweepEvery = mode, true, simulatedSweep
	following.Settle, following.Confirm, following.Poll = simulatedSettle, simulatedConfirm, pace
	judging := &i.alerting.Settings
	judging.RecheckEvery, judging.HealthyFor, judging.ReviewAfter = pace, 10*time.Second, 10*time.Second
	i.notify = &notify.Function{
		Channel: channel.Slack{
			Client: channel.NewClient(channel.Reach{Loopback: true}),
			URL:    func(context.Context) (string, error) { return url + chatPath, nil },
		},
		Least: alert.Info, Log: log.With("function", "notify"),
	}
	return i, nil
}

// simulatedClients are clients of the simulated AWS and the simulated Cloud API at the URL.
func simulatedClients(url, apiKey string, rate float64) (amazon.Config, *cockroachcloud.Client, error) {
	environment := map[string]string{
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": SampleAccessKeyID, "AWS_SECRET_ACCESS_KEY": SampleSecretAccessKey, "AWS_ENDPOINT_URL": url,
	}
	aws, err := amazon.ConfigFromEnv(func(name string) string { return environment[name] }, &http.Client{Timeout: 5 * time.Second})
	if err != nil {
		return aws, nil, err
	}
	cloud, err := cockroachcloud.New(cockroachcloud.Options{Server: url, APIKey: cockroachcloud.StaticAPIKey(apiKey), Rate: rate})
	return aws, cloud, err
}

// Notify implements alert.Notifier: the alert waits for notify, as in the topic.
func (i *simulation) Notify(_ context.Context, a alert.Alert) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.pending = append(i.pending, a)
	return nil
}

// handler serves the world, and receives what notify sends to Slack.
func (i *simulation) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", i.world.Handler())
	mux.HandleFunc("POST "+chatPath, func(w http.ResponseWriter, r *http.Request) {
		var message struct {
			Text string `json:"text"`
		}
		const most = 1 << 20
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, most)).Decode(&message); err != nil || message.Text == "" {
			http.Error(w, "invalid_payload", http.StatusBadRequest)
			return
		}
		terminal.Tell(i.out, "%s  Slack  %s\n", time.Now().Format(time.TimeOnly), terminal.Printable(message.Text))
		_, _ = io.WriteString(w, "ok") // as Slack answers
	})
	return mux
}

// run hands events over and ticks until ctx ends. A function's error is for its log, and its next tick goes on.
func (i *simulation) run(ctx context.Context) error {
	for {
		i.deliver(ctx)
		// Ctrl-C does not cut a tick off: it may leave a PUT whose outcome nobody knows.
		whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), progress.TickTime)
		for _, f := range []struct {
			name string
			tick func(context.Context) error
		}{{"rotation", i.rotation.Tick}, {"alerting", i.alerting.Tick}} {
			if err := f.tick(whole); err != nil {
				i.complain(f.name+" tick", err)
			}
		}
		i.send(whole)
		cancel()
		select {
		case <-time.After(pace):
		case <-ctx.Done():
			return i.store.Close()
		}
	}
}

// deliver hands the world's new events to the functions that subscribe to them, each twice, as EventBridge and SQS may.
func (i *simulation) deliver(ctx context.Context) {
	for _, notice := range i.world.EventsAfter(i.handled) {
		i.handled = notice.Seq
		decoded, err := events.Decode(notice.Payload)
		if err != nil {
			i.complain("read event", err)
		}
		for _, e := range decoded {
			for range 2 {
				i.hand(ctx, "rotation", rotation.Subscribes, i.rotation.Event, e)
				i.hand(ctx, "alerting", alerting.Subscribes, i.alerting.Event, e)
			}
		}
	}
}

func (i *simulation) hand(ctx context.Context, name string, subscribes []cmek.Change, handle func(context.Context, cmek.Event) error, e cmek.Event) {
	for _, change := range subscribes {
		if change == e.Change {
			if err := handle(ctx, e); err != nil {
				i.complain(name+" event", err)
			}
			return
		}
	}
}

// send hands what waits to notify, as one batch of its queue; what fails waits on.
func (i *simulation) send(ctx context.Context) {
	i.mu.Lock()
	batch := i.pending
	i.pending = nil
	i.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	for n, err := range i.notify.Alerts(ctx, batch) {
		if err != nil {
			i.complain("notify", err)
			_ = i.Notify(ctx, batch[n])
		}
	}
}

func (i *simulation) complain(where string, err error) {
	terminal.Tell(i.out, "%s  %s: %s\n", time.Now().Format(time.TimeOnly), where, terminal.Printable(terminal.OneLine(err)))
}

// apiKeyOf is the first API key of the seed, which may write.
func apiKeyOf(seed simulator.Seed) string {
	if len(seed.APIKeys) == 0 {
		return ""
	}
	return cmp.Or(seed.APIKeys[0].Secret, simulator.SampleAPIKey)
}

var errNoAPIKey = errors.New("the seed has no API key; --functions needs one whose service account has Cluster Operator")
