package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/keyturn/keyturn/functions/alerting"
	"github.com/keyturn/keyturn/internal/cmek"
)

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
	d.say("   aws kms schedule-key-deletion --pending-window-in-days %d --key-id %s", days, shortKey(atRisk))
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
	d.say("\n%s", indent(indent(strings.Replace(alert.Text(), alert.Impact, text.WrapSoft(alert.Impact, textWidth), 1))))
	d.say("   %s", d.c.dim("In the cloud it goes to Slack, PagerDuty or a webhook of yours."))
	return nil
}

func (d *demo) cancelDeletion(ctx context.Context) error {
	d.say("   aws kms cancel-key-deletion --key-id %s", shortKey(atRisk))
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
	d.say("   A canceled deletion leaves the key %s: the clusters still cannot use it.", d.c.red("disabled"))
	for _, alert := range d.alerts.alerts[sent:] {
		d.say("   %s", alert.Headline())
	}
	d.say("   keyturn keeps reading the key: %s still open, and nothing is resolved.", count(open, "incident"))
	return nil
}

func (d *demo) enableKey(ctx context.Context) error {
	d.say("   aws kms enable-key --key-id %s", shortKey(atRisk))
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
		d.alerting.Settings.HealthyFor, roughly(alerting.DefaultSettings().HealthyFor))
	d.say("   %s", d.c.green(last.Headline()))
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
		open, err := openIncidents(ctx, d.alerting.Ledger)
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
