// Package demo has the commands that need no cloud account: demo, simulate, and serve, which run keyturn's functions in this process against
// simulated or emulated clouds.
package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/compliance"
	"github.com/keyturn/keyturn/functions/keyturn/progress"
	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/report"
	"github.com/keyturn/keyturn/internal/simulator"
)

// Commands makes the commands of this package. Their flags set what is embedded.
type Commands struct{ *terminal.Terminal }

// DemoCommand is "keyturn demo".
func (p Commands) DemoCommand() *cobra.Command {
	var dir string
	var noColor bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Watch a rotation being followed through and a key at risk being reported, with no cloud account",
		Long: `Watch a KMS rotation being followed through, and a key at risk being reported, on this machine and with
no cloud account.

A CockroachDB Cloud API, AWS KMS and Cloud KMS are simulated on a loopback address; the functions that follow
rotations, alert on risky changes and check compliance, their ledger, the evidence and the events are the real
ones. It takes about sixteen seconds and leaves the ledger, the evidence and a compliance report in a folder for
you to read. A new demo replaces those of the one before.`,
		Example: `  keyturn demo
  keyturn status --ledger file:.keyturn/demo/ledger.db`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if noColor {
				p.Environ = append(p.Environ, "NO_COLOR=1")
			}
			return p.demo(c.Context(), dir)
		},
	}
	c.Flags().StringVar(&dir, "dir", filepath.Join(".keyturn", "demo"), "`folder` for the ledger and the evidence")
	c.Flags().BoolVar(&noColor, "no-color", false, "use no colors")
	return c
}

// demoTime is more than a demo ever takes.
const demoTime = time.Minute

func (p Commands) demo(ctx context.Context, dir string) error {
	bounded, cancel := context.WithTimeout(ctx, demoTime)
	defer cancel()
	d, done, err := p.setUpDemo(bounded, dir)
	if err != nil {
		return err
	}
	err = errors.Join(d.play(bounded), done())
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted; the next demo begins anew")
	case bounded.Err() != nil:
		return fmt.Errorf("the demo did not come to its end within %s", demoTime)
	}
	return err
}

// demo is a stage with everything on it.
type demo struct {
	world    *simulator.World
	kms      *kms.Client
	google   google.Config
	function *rotation.Function
	alerting *alerting.Function
	checks   *compliance.Function
	runner   *progress.Runner
	alerts   *alertLog
	c        terminal.Palette
	// name is how a person calls the program.
	name, dir, url string
	// page is the file with the page of the compliance run.
	page string
	// rotations are the events about the rotated keys.
	rotations []cmek.Event
}

func (d *demo) say(format string, args ...any) { terminal.Tell(d.runner.Display, format+"\n", args...) }

func (d *demo) head(n int, title string) { d.say("\n%s", d.c.Bold(fmt.Sprintf("%d. %s", n, title))) }

// play is the demo, act by act.
func (d *demo) play(ctx context.Context) error {
	d.say("%s", d.c.Bold("keyturn follows KMS rotations through to CockroachDB Cloud, and watches over the keys"))
	d.say("A simulated CockroachDB Cloud, AWS KMS and Cloud KMS answer at %s.", d.url)
	d.say("What follows and watches are the functions that run in both clouds, with the ledger in %s.", filepath.Join(d.dir, ledgerFile))
	for i, act := range []struct {
		title string
		play  func(context.Context) error
	}{
		{"A first sweep reads the fleet", d.sweep},
		{"Two keys of AWS KMS and one of Cloud KMS are rotated, and events report it", d.rotate},
		{"The store keys are re-encrypted: one cluster of each key goes first, then the rest", d.follow},
		{"The same events arrive once more", d.deliverAgain},
		{"Somebody schedules the deletion of a key in use", d.scheduleDeletion},
		{"The deletion is canceled; the key stays disabled", d.cancelDeletion},
		{"The key is enabled", d.enableKey},
		{"The fleet is checked against the compliance catalog", d.check},
	} {
		d.head(i+1, act.title)
		if err := act.play(ctx); err != nil {
			return err
		}
	}
	return d.summary()
}

func (d *demo) sweep(ctx context.Context) error {
	v, err := d.runner.Until(ctx, func(v progress.View) bool { return !v.Worker.Sweep.Ended.IsZero() })
	if err != nil {
		return err
	}
	regions := 0
	for _, c := range v.Clusters {
		regions += len(c.Done)
	}
	d.say("   %s were read; %d of them use KMS keys of yours, in %s. Every store key is encrypted under",
		terminal.Count(v.Worker.Sweep.Clusters, "cluster"), len(v.Clusters), terminal.Count(regions, "region"))
	d.say("   its key's current version. The ledger now holds which cluster uses which key.")
	return nil
}

func (d *demo) rotate(ctx context.Context) error {
	reports := 0
	for _, key := range demoKeys {
		if err := d.rotateKey(ctx, key.uri); err != nil {
			return err
		}
		command := "aws kms rotate-key-on-demand --key-id " + terminal.ShortKey(key.uri)
		if key.uri.Type() == cmek.GCPCloudKMS {
			command = "gcloud kms keys versions create --primary --key " + terminal.ShortKey(key.uri)
		}
		d.say("   %s   %s", command, d.c.Dim(key.users))
		reports += key.events
	}
	found, notices, err := d.await(ctx, cmek.ChangeRotated, reports)
	if err != nil {
		return err
	}
	d.rotations = found
	if err := d.deliver(ctx); err != nil {
		return err
	}
	clusters, err := d.function.Ledger.Clusters(ctx)
	if err != nil {
		return err
	}
	d.say("   EventBridge and Pub/Sub delivered %s, %d of them about these rotations (AWS KMS and CloudTrail both report one).", terminal.Count(notices, "event"), len(d.rotations))
	d.say("   They opened %s of work, one for each region, without a call to the Cloud API.", terminal.Count(progress.OpenWork(clusters), "piece"))
	d.say("   %s", d.c.Dim("CockroachDB Cloud does nothing by itself: it waits for a PUT with the unchanged key."))
	return nil
}

func (d *demo) rotateKey(ctx context.Context, key cmek.KeyURI) error {
	if key.Type() == cmek.GCPCloudKMS {
		return d.rotateGoogleKey(ctx, key)
	}
	_, err := d.kms.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: id(key)}, inRegionOf(key))
	if err != nil {
		return fmt.Errorf("rotate key %s: %w", key, err)
	}
	return nil
}

// rotateGoogleKey makes a new version and then makes it the primary one, as gcloud does: only then is it a rotation.
func (d *demo) rotateGoogleKey(ctx context.Context, key cmek.KeyURI) error {
	var version struct{ Name string }
	doing, host := "rotate key "+string(key), "cloudkms.googleapis.com"
	if err := d.google.Call(ctx, doing, http.MethodPost, host, "/v1/"+string(key)+"/cryptoKeyVersions", nil, struct{}{}, &version); err != nil {
		return err
	}
	primary := map[string]string{"cryptoKeyVersionId": path.Base(version.Name)}
	return d.google.Call(ctx, doing, http.MethodPost, host, "/v1/"+string(key)+":updatePrimaryVersion", nil, primary, &version)
}

// await collects what both clouds send until it reported the change often enough. It returns these events and counts all notices.
func (d *demo) await(ctx context.Context, change cmek.Change, times int) (found []cmek.Event, notices int, err error) {
	for {
		for _, notice := range d.world.Events() {
			notices++
			decoded, err := events.Decode(notice.Payload)
			if err != nil {
				return nil, notices, fmt.Errorf("read notice: %w", err)
			}
			for _, e := range decoded {
				if e.Change == change {
					found = append(found, e)
				}
			}
		}
		if len(found) >= times {
			return found, notices, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, notices, ctx.Err()
		}
	}
}

// deliver hands the events about rotations to the function, as its queue does.
func (d *demo) deliver(ctx context.Context) error {
	for _, e := range d.rotations {
		if err := d.function.Event(ctx, e); err != nil {
			return fmt.Errorf("handle event %s: %w", e.ID, err)
		}
	}
	return nil
}

func (d *demo) follow(ctx context.Context) error {
	s, usual := d.function.Settings, rotation.DefaultSettings()
	d.say("   %s", d.c.Dim(fmt.Sprintf("First the new versions settle, %s here and %s in the cloud: a PUT at once could re-encrypt under the", s.Settle, terminal.Roughly(usual.Settle))))
	d.say("   %s", d.c.Dim(fmt.Sprintf("old material again. An end is believed after two reads, %s and %s apart: one read may be stale.", s.Confirm, terminal.Roughly(usual.Confirm))))
	_, err := d.runner.Until(ctx, func(v progress.View) bool {
		return progress.OpenWork(v.Clusters) == 0 && progress.Undelivered(v.Clusters) == 0
	})
	return err
}

func (d *demo) deliverAgain(ctx context.Context) error {
	before := len(d.world.PUTs())
	if err := d.deliver(ctx); err != nil {
		return err
	}
	until := time.Now().Add(d.function.Settings.Settle + 300*time.Millisecond)
	v, err := d.runner.Until(ctx, func(progress.View) bool { return time.Now().After(until) })
	if err != nil {
		return err
	}
	after := len(d.world.PUTs())
	d.say("   EventBridge, SQS and Pub/Sub deliver at least once. The ledger knows these versions are done:")
	d.say("   %s of work opened; PUTs before %d, after %d.", terminal.Count(progress.OpenWork(v.Clusters), "piece"), before, after)
	if after != before {
		return fmt.Errorf("the events were delivered twice and %d more PUTs were sent", after-before)
	}
	return nil
}

// check makes the run of the day, as compliance does in the cloud, and keeps where its page is.
func (d *demo) check(ctx context.Context) error {
	if err := d.checks.Tick(ctx); err != nil {
		return fmt.Errorf("check the fleet: %w", err)
	}
	run, err := report.Load(ctx, d.checks.Archive, 1)
	if err != nil {
		return err
	}
	r, err := run.Report(ctx)
	if err != nil {
		return err
	}
	m, s := run.Manifest, r.Summary
	d.page = filepath.Join(d.dir, archiveFolder, filepath.FromSlash(report.PageName(m.ChainStart, m.Run)))
	d.say("   %s of %s: %d passed, %d failed, %d not applicable, and %d that nobody could answer,",
		terminal.Count(len(r.Findings), "check"), terminal.Count(m.Population.Checked, "cluster"), s.Pass, s.Fail, s.NotApplicable, s.Error)
	d.say("   for nothing here simulates CloudTrail or keyturn's own alarms. An unread fact is never a pass.")
	d.say("   Each finding, the page for auditors, and a manifest with the SHA-256 of every file are archived.")
	return nil
}

// summary counts what happened by the simulator's own truth, and says where to look next.
func (d *demo) summary() error {
	behind, requests := 0, 0
	for _, key := range d.world.StoreKeys() {
		if key.Behind {
			behind++
		}
	}
	for _, r := range d.world.Requests() {
		if r.API == "cloud" {
			requests++
		}
	}
	evidence, err := filepath.Glob(filepath.Join(d.dir, archiveFolder, "evidence", "*", "*.json"))
	if err != nil {
		return fmt.Errorf("list evidence: %w", err)
	}
	if behind > 0 {
		return fmt.Errorf("%s still encrypted under an older key version", terminal.Count(behind, "store key"))
	}
	d.say("\n%s No store key is behind its KMS key, and no key is at risk.", d.c.Green(d.c.Bold("Done.")))
	d.say("   Cloud API   %d requests, %d of them PUTs: one for each cluster", requests, len(d.world.PUTs()))
	d.say("   evidence    %s, chained by SHA-256 for each cluster", terminal.Count(len(evidence), "file"))
	d.say("   alerts      %s to the owners of the clusters", terminal.Count(len(d.alerts.alerts), "message"))
	for _, alert := range d.alerts.alerts {
		d.say("      %s", d.c.Dim(alert.Headline()))
	}
	d.say("\nLook around:")
	d.say("   %s status --ledger file:%s", d.name, filepath.Join(d.dir, ledgerFile))
	d.say("   %s alerts --ledger file:%s", d.name, filepath.Join(d.dir, ledgerFile))
	if len(evidence) > 0 {
		d.say("   cat %s", evidence[0])
	}
	d.say("   %s evidence verify --archive file:%s --ledger file:%s", d.name, filepath.Join(d.dir, archiveFolder), filepath.Join(d.dir, ledgerFile))
	d.say("   %s simulate --help   # the same world, to try the commands and the AWS CLI on", d.name)
	d.say("\nThe compliance report, for a browser:\n   %s", d.page)
	return nil
}

// atRisk is the key that somebody schedules for deletion.
var atRisk = demoKeys[0].uri

// demoAlerting are the settings of the cloud at a faster pace.
func demoAlerting() alerting.Settings {
	s := alerting.DefaultSettings()
	s.RecheckEvery = 100 * time.Millisecond
	s.HealthyFor = 500 * time.Millisecond
	return s
}

func (d *demo) scheduleDeletion(ctx context.Context) error {
	const days = 7
	d.say("   aws kms schedule-key-deletion --pending-window-in-days %d --key-id %s", days, terminal.ShortKey(atRisk))
	_, err := d.kms.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: id(atRisk), PendingWindowInDays: aws.Int32(days)}, inRegionOf(atRisk))
	if err != nil {
		return fmt.Errorf("schedule deletion of key %s: %w", atRisk, err)
	}
	sent := len(d.alerts.alerts)
	took, err := d.deliverToAlerting(ctx, cmek.ChangeDeletionScheduled)
	if err != nil {
		return err
	}
	if len(d.alerts.alerts) == sent {
		return errors.New("the scheduled deletion was not reported")
	}
	d.say("   CloudTrail reports the call. The ledger holds which clusters use the key; %d ms later this alert is sent:", took.Milliseconds())
	alert := d.alerts.alerts[sent]
	d.say("\n%s", terminal.Indent(terminal.Indent(strings.Replace(alert.Text(), alert.Impact, text.WrapSoft(alert.Impact, terminal.TextWidth), 1))))
	d.say("   %s", d.c.Dim("In the cloud it goes to Slack, PagerDuty or a webhook of yours."))
	return nil
}

func (d *demo) cancelDeletion(ctx context.Context) error {
	d.say("   aws kms cancel-key-deletion --key-id %s", terminal.ShortKey(atRisk))
	if _, err := d.kms.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: id(atRisk)}, inRegionOf(atRisk)); err != nil {
		return fmt.Errorf("cancel deletion of key %s: %w", atRisk, err)
	}
	sent := len(d.alerts.alerts)
	if _, err := d.deliverToAlerting(ctx, cmek.ChangeDeletionCanceled); err != nil {
		return err
	}
	// Longer than a healthy key would need to be resolved.
	until := time.Now().Add(d.alerting.Settings.HealthyFor + 3*d.alerting.Settings.RecheckEvery)
	open, err := d.recheck(ctx, func(int) bool { return time.Now().After(until) })
	if err != nil {
		return err
	}
	if open == 0 {
		return errors.New("the incident was resolved although the key is still disabled")
	}
	d.say("   A canceled deletion leaves the key %s: the clusters still cannot use it.", d.c.Red("disabled"))
	for _, alert := range d.alerts.alerts[sent:] {
		d.say("   %s", alert.Headline())
	}
	d.say("   keyturn keeps reading the key: %s still open, and nothing is resolved.", terminal.Count(open, "incident"))
	return nil
}

func (d *demo) enableKey(ctx context.Context) error {
	d.say("   aws kms enable-key --key-id %s", terminal.ShortKey(atRisk))
	if _, err := d.kms.EnableKey(ctx, &kms.EnableKeyInput{KeyId: id(atRisk)}, inRegionOf(atRisk)); err != nil {
		return fmt.Errorf("enable key %s: %w", atRisk, err)
	}
	if _, err := d.deliverToAlerting(ctx, cmek.ChangeKeyEnabled); err != nil {
		return err
	}
	if _, err := d.recheck(ctx, func(open int) bool { return open == 0 }); err != nil {
		return err
	}
	last := d.alerts.alerts[len(d.alerts.alerts)-1]
	if !last.Resolved {
		return errors.New("the incident ended silently")
	}
	d.say("   The event alone resolves nothing. The key must stay healthy, for %s here and %s in the cloud; then:",
		d.alerting.Settings.HealthyFor, terminal.Roughly(alerting.DefaultSettings().HealthyFor))
	d.say("   %s", d.c.Green(last.Headline()))
	return nil
}

// deliverToAlerting awaits the event of a call and hands it to alerting, as its queue does. It returns how long alerting took.
func (d *demo) deliverToAlerting(ctx context.Context, change cmek.Change) (time.Duration, error) {
	found, _, err := d.await(ctx, change, 1)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	for _, e := range found {
		if err := d.alerting.Event(ctx, e); err != nil {
			return 0, fmt.Errorf("handle event %s: %w", e.ID, err)
		}
	}
	return time.Since(began), nil
}

// recheck runs alerting's ticks until enough says so of the number of open incidents, and returns that number.
func (d *demo) recheck(ctx context.Context, enough func(open int) bool) (int, error) {
	for {
		if err := d.alerting.Tick(ctx); err != nil {
			return 0, fmt.Errorf("recheck incidents: %w", err)
		}
		open, err := d.alerting.Ledger.OpenIncidents(ctx)
		if err != nil || enough(len(open)) {
			return len(open), err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return len(open), ctx.Err()
		}
	}
}

func id(key cmek.KeyURI) *string { return aws.String(string(key)) }

func inRegionOf(key cmek.KeyURI) func(*kms.Options) {
	return func(o *kms.Options) { o.Region = key.Location() }
}
