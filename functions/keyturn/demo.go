package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/spf13/cobra"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

func (p *program) demoCommand() *cobra.Command {
	var dir string
	var noColor bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Watch a rotation being followed through and a key at risk being reported, with no cloud account",
		Long: `Watch a KMS rotation being followed through, and a key at risk being reported, on this machine and with
no cloud account.

A CockroachDB Cloud API and AWS KMS are simulated on a loopback address; the functions that follow
rotations and alert on risky changes, their ledger, the evidence and the events are the real ones. It
takes about fifteen seconds and leaves the ledger and the evidence in a folder to look at. A new demo
replaces those of the one before.`,
		Example: `  keyturn demo
  keyturn status --ledger file:.keyturn/demo/ledger.db`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if noColor {
				p.environ = append(p.environ, "NO_COLOR=1")
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

func (p *program) demo(ctx context.Context, dir string) error {
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
	function *rotation.Function
	alerting *alerting.Function
	runner   *runner
	alerts   *alertLog
	c        palette
	// name is how a person calls the program.
	name, dir, url string
	// rotations are the events about the rotated keys.
	rotations []cmek.Event
}

func (d *demo) say(format string, args ...any) { tell(d.runner.display, format+"\n", args...) }

func (d *demo) head(n int, title string) { d.say("\n%s", d.c.bold(fmt.Sprintf("%d. %s", n, title))) }

// play is the demo, act by act.
func (d *demo) play(ctx context.Context) error {
	d.say("%s", d.c.bold("keyturn follows KMS rotations through to CockroachDB Cloud, and watches over the keys"))
	d.say("A simulated CockroachDB Cloud and AWS KMS answer at %s.", d.url)
	d.say("What follows and watches are the functions that run in Lambda, with the ledger in %s.", filepath.Join(d.dir, ledgerFile))
	for i, act := range []struct {
		title string
		play  func(context.Context) error
	}{
		{"A first sweep reads the fleet", d.sweep},
		{"AWS KMS rotates two keys and sends events", d.rotate},
		{"The store keys are re-encrypted: one cluster of each key goes first, then the rest", d.follow},
		{"The same events arrive once more", d.deliverAgain},
		{"Somebody schedules the deletion of a key in use", d.scheduleDeletion},
		{"The deletion is canceled; the key stays disabled", d.cancelDeletion},
		{"The key is enabled", d.enableKey},
	} {
		d.head(i+1, act.title)
		if err := act.play(ctx); err != nil {
			return err
		}
	}
	return d.summary()
}

func (d *demo) sweep(ctx context.Context) error {
	v, err := d.runner.until(ctx, func(v view) bool { return !v.worker.Sweep.Ended.IsZero() })
	if err != nil {
		return err
	}
	regions := 0
	for _, c := range v.clusters {
		regions += len(c.Done)
	}
	d.say("   %s were read; %d of them use KMS keys of yours, in %s. Every store key is encrypted under",
		count(v.worker.Sweep.Clusters, "cluster"), len(v.clusters), count(regions, "region"))
	d.say("   its key's current version. The ledger now holds which cluster uses which key.")
	return nil
}

func (d *demo) rotate(ctx context.Context) error {
	for _, key := range demoKeys {
		if err := d.rotateKey(ctx, key.uri); err != nil {
			return err
		}
		d.say("   aws kms rotate-key-on-demand --key-id %s   %s", shortKey(key.uri), d.c.dim(key.users))
	}
	found, notices, err := d.await(ctx, cmek.ChangeRotated, 2*len(demoKeys))
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
	d.say("   EventBridge delivered %s, %d of them about these rotations (KMS and CloudTrail both report one).", count(notices, "event"), len(d.rotations))
	d.say("   They opened %s of work, one for each region, without a call to the Cloud API.", count(openWork(clusters), "piece"))
	d.say("   %s", d.c.dim("CockroachDB Cloud does nothing by itself: it waits for a PUT with the unchanged key."))
	return nil
}

func (d *demo) rotateKey(ctx context.Context, key cmek.KeyURI) error {
	_, err := d.kms.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: id(key)}, inRegionOf(key))
	if err != nil {
		return fmt.Errorf("rotate key %s: %w", key, err)
	}
	return nil
}

// await collects what AWS sends until it reported the change often enough. It returns these events and counts all notices.
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
	d.say("   %s", d.c.dim(fmt.Sprintf("First the new versions settle, %s here and %s in the cloud: a PUT at once could re-encrypt under the", s.Settle, roughly(usual.Settle))))
	d.say("   %s", d.c.dim(fmt.Sprintf("old material again. An end is believed after two reads, %s and %s apart: one read may be stale.", s.Confirm, roughly(usual.Confirm))))
	_, err := d.runner.until(ctx, func(v view) bool { return openWork(v.clusters) == 0 && undelivered(v.clusters) == 0 })
	return err
}

func (d *demo) deliverAgain(ctx context.Context) error {
	before := len(d.world.PUTs())
	if err := d.deliver(ctx); err != nil {
		return err
	}
	until := time.Now().Add(d.function.Settings.Settle + 300*time.Millisecond)
	v, err := d.runner.until(ctx, func(view) bool { return time.Now().After(until) })
	if err != nil {
		return err
	}
	after := len(d.world.PUTs())
	d.say("   EventBridge and SQS deliver at least once. The ledger knows these versions are done:")
	d.say("   %s of work opened; PUTs before %d, after %d.", count(openWork(v.clusters), "piece"), before, after)
	if after != before {
		return fmt.Errorf("the events were delivered twice and %d more PUTs were sent", after-before)
	}
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
		return fmt.Errorf("%s still encrypted under an older key version", count(behind, "store key"))
	}
	d.say("\n%s No store key is behind its KMS key, and no key is at risk.", d.c.green(d.c.bold("Done.")))
	d.say("   Cloud API   %d requests, %d of them PUTs: one for each cluster", requests, len(d.world.PUTs()))
	d.say("   evidence    %s, chained by SHA-256 for each cluster", count(len(evidence), "file"))
	d.say("   alerts      %s to the owners of the clusters", count(len(d.alerts.alerts), "message"))
	for _, alert := range d.alerts.alerts {
		d.say("      %s", d.c.dim(alert.Headline()))
	}
	d.say("\nLook around:")
	d.say("   %s status --ledger file:%s", d.name, filepath.Join(d.dir, ledgerFile))
	d.say("   %s alerts --ledger file:%s", d.name, filepath.Join(d.dir, ledgerFile))
	if len(evidence) > 0 {
		d.say("   cat %s", evidence[0])
	}
	d.say("   %s simulate --help   # the same world, to try the commands and the AWS CLI on", d.name)
	return nil
}
