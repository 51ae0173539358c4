package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
)

// Subscribers says whom the messages for an audience reach.
type Subscribers interface {
	// Subscribers lists who is subscribed, each as PROTOCOL:ENDPOINT, and whether the subscription is confirmed. One that is not listed
	// does not exist. An error means that nothing is known.
	Subscribers(ctx context.Context, audience alert.Audience) (confirmed map[string]bool, err error)
}

// subscribersEvery is the time between two reads of the subscriptions: one that is lost is reported within the hour, even if a read fails
// in between. subscribersWithin bounds a read.
const (
	subscribersEvery  = 15 * time.Minute
	subscribersWithin = 5 * time.Second
)

// readsSubscribers reports whether there is somebody whose subscription is to be read.
func (f *Function) readsSubscribers() bool {
	return f.Subscribers != nil && len(f.Settings.wanted(alert.Owners))+len(f.Settings.wanted(alert.Operations)) > 0
}

// checkSubscribers reports subscriptions that are not confirmed or gone, one incident for each audience, and reads that fail. A failed
// read ends no incident.
func (w *worker) checkSubscribers(ctx context.Context) error {
	now := time.Now()
	if w.lease == nil || !w.readsSubscribers() || now.Before(w.lease.SubscribersRead.Add(subscribersEvery)) {
		return nil
	}
	var conditions []alert.Alert
	var problems []error
	unread := map[string]bool{}
	for _, audience := range []alert.Audience{alert.Owners, alert.Operations} {
		wanted := w.Settings.wanted(audience)
		if len(wanted) == 0 {
			continue
		}
		confirmed, err := w.subscribers(ctx, audience)
		if err != nil {
			unread[lostKey(audience)] = true
			conditions = append(conditions, subscribersUnread(audience, err))
			problems = append(problems, fmt.Errorf("read subscriptions of %s: %w", audience, err))
			continue
		}
		if lost := lostSubscribers(wanted, confirmed); len(lost) > 0 {
			conditions = append(conditions, subscribersLost(audience, lost))
		}
	}
	w.lease.SubscribersRead = now
	w.lease.Alarms = transitions(w.lease.Alarms, conditions, func(key string) bool { return !aboutSubscribers(key) || unread[key] }, now, &w.lease.Outbox)
	return errors.Join(append(problems, w.saveAndDeliver(ctx))...)
}

func (w *worker) subscribers(ctx context.Context, audience alert.Audience) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, subscribersWithin)
	defer cancel()
	return w.Subscribers.Subscribers(ctx, audience)
}

// nextSubscribers is when the subscriptions are to be read next; sweep is when there is something to do anyway.
func (w *worker) nextSubscribers(sweep time.Time) time.Time {
	if due := w.lease.SubscribersRead.Add(subscribersEvery); w.readsSubscribers() && due.Before(sweep) {
		return due
	}
	return sweep
}

// wanted are the subscriptions that must exist for the audience.
func (s Settings) wanted(audience alert.Audience) []string {
	list := s.OperationsSubscribers
	if audience == alert.Owners {
		list = s.AlertsSubscribers
	}
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

// lostSubscribers are those wanted that are not confirmed, each with what is wrong. Endpoints are compared without regard to case, as
// mail addresses are.
func lostSubscribers(wanted []string, confirmed map[string]bool) (lost []string) {
	listed := map[string]bool{}
	for subscriber, is := range confirmed {
		name := strings.ToLower(subscriber)
		listed[name] = listed[name] || is
	}
	for _, subscriber := range wanted {
		switch is, exists := listed[strings.ToLower(subscriber)]; {
		case !exists:
			lost = append(lost, subscriber+" (gone)")
		case !is:
			lost = append(lost, subscriber+" (not confirmed)")
		}
	}
	slices.Sort(lost)
	return lost
}

func lostKey(audience alert.Audience) string { return "subscribers-lost/" + string(audience) }

func unreadKey(audience alert.Audience) string { return "subscribers-unread/" + string(audience) }

func aboutSubscribers(key string) bool {
	code, _, _ := strings.Cut(key, "/")
	return code == "subscribers-lost" || code == "subscribers-unread"
}

// subscribersLost is for the other audience: its messages arrive.
func subscribersLost(audience alert.Audience, lost []string) alert.Alert {
	other := alert.Operations
	if audience == alert.Operations {
		other = alert.Owners
	}
	return alert.Alert{
		DedupKey: lostKey(audience), Audience: other, Severity: alert.High, Change: changeSubscribersLost,
		Summary: fmt.Sprintf("Messages of the topic %s do not reach %s", audience, strings.Join(lost, ", ")),
		Impact:  "Whoever relies on this subscription is not notified. A subscription that is not confirmed within 48 hours is deleted.",
		RecoverySteps: []string{
			"Not confirmed: open the message \"Subscription Confirmation\" at that address, and confirm it.",
			"Gone: subscribe it again, as the runbook shows. A deployment without changes does not do that.",
		},
	}
}

func subscribersUnread(audience alert.Audience, cause error) alert.Alert {
	return alert.Alert{
		DedupKey: unreadKey(audience), Audience: alert.Operations, Severity: alert.Medium, Change: changeSubscribersUnread,
		Summary:       fmt.Sprintf("keyturn cannot read who is subscribed to the topic %s: %v", audience, cause),
		Impact:        "It is not known whether the topic's messages reach everybody.",
		RecoverySteps: []string{"Check that keyturn's role may list the topic's subscriptions, and that the topic exists."},
	}
}
