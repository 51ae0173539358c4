// Package alerting notifies people at once when a key that a cluster needs is put at risk: what happened, who did it, which
// clusters it concerns, the deadline, and the recovery steps as commands.
//
// An event is judged on the state that results. Everything beyond the event and the ledger is enrichment with a time limit:
// what is not known by then is said to be unknown, and the alert goes out. Publishing comes before recording, so a crash in
// between repeats an alert and never loses one. A judgement that may rest on reads older than the event is made once more.
package alerting

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Subscribes lists the changes that concern alerting: all of the catalog. Infrastructure builds event rules from it.
var Subscribes = slices.Sorted(slices.Values(risk.Changes()))

// Parallel is how many events one process handles at a time: as many as a batch of its queue has. So no event waits for another one's
// reads, and a storm of a thousand is out soon after its last event.
const Parallel = 50

// RequestRate is how many requests per second one process sends to the Cloud API. An API user has 10, and rotation takes 8 of them: two
// processes at a time have the rest.
const RequestRate = 1.0

// Function is alerting with everything it needs. Its methods may be called concurrently.
type Function struct {
	Ledger   *ledger.Ledger
	Notifier alert.Notifier
	KMS      cmek.KMS
	Policies cmek.Policies
	Cloud    Cloud
	// Repairer is nil unless the owner wants scheduled deletions undone (KEYTURN_REPAIR=true).
	Repairer Repairer
	// RepairRole is the ARN of the role that the Repairer acts as, with {account} for the key's account: its own records raise no
	// alert. Empty: they are judged like anybody's.
	RepairRole string
	Settings   Settings
	Log        *slog.Logger
}

// Event judges one event and notifies people if they should know. An error means that the event must be delivered again: the
// alert could not be sent, or not be recorded, or it could not be decided whether one is due. Repeating an event is harmless.
func (f *Function) Event(ctx context.Context, e cmek.Event) error {
	if e.Begun {
		return f.began(ctx, e)
	}
	return errors.Join(f.event(ctx, e), f.ended(ctx, e))
}

func (f *Function) event(ctx context.Context, e cmek.Event) error {
	if f.Settings.heartbeat(e) {
		used, err := f.used(ctx, e.Key)
		if !used {
			said, alive := LogHeartbeat, true
			switch {
			case e.Time.IsZero() || time.Since(e.Time) > cmek.HeartbeatEvery:
				said, alive = "late heartbeat", false // what takes so long is no sign that events arrive
			case err != nil, e.Time.After(time.Now().Add(clocks)):
				alive = false // it arrived: the one comes again to be judged, the other does not say when it was sent
			}
			f.Log.Info(said, "account", e.Account, "region", e.Region, "key", e.Key, age(e))
			if alive {
				err = f.noteHeartbeat(ctx, e)
			}
			return err
		}
	}
	if f.Settings.deniedRead(e) {
		return nil
	}
	e = f.named(ctx, e)
	log := f.Log.With("event", e.ID, "change", e.Change, "key", e.Key, "region", e.Region, "principal", e.Principal)
	facts, doubts, unread := f.gather(ctx, e)
	a := Assess(e, facts)
	if a.Severity == alert.None && kind(e).Used() && unread != nil {
		return fmt.Errorf("find out whose use of the key it was: %w", unread)
	}
	var problem error
	if a.Recovery {
		var noted bool
		if noted, problem = f.noteRecovery(ctx, e); noted && a.Incident != "" {
			log.Info("recovery noted", "severity", a.Severity)
			return nil
		}
	}
	if !a.Severity.Above(alert.Info) {
		log.Info("no alert", "severity", a.Severity)
		return errors.Join(problem, f.planReview(ctx, e, a, facts, ""))
	}
	return errors.Join(problem, f.notify(ctx, log, e, a, facts, doubts), f.planReview(ctx, e, a, facts, dedupKey(e, a)))
}

// named is the event as [Named] has it, or as it is if the ledger does not answer in time: it is judged by its number then.
func (f *Function) named(ctx context.Context, e cmek.Event) cmek.Event {
	ctx, cancel := context.WithTimeout(ctx, ledgerPatience)
	defer cancel()
	named, err := Named(ctx, f.Ledger, e)
	if err != nil {
		f.Log.Warn("project not looked up", "event", e.ID, "project", e.Account, "error", err)
	}
	return named
}

func kind(e cmek.Event) risk.Kind { return risk.KindOf(e.Change) }

// noteHeartbeat keeps the heartbeat for compliance: a project of Google Cloud by its id where the event has it.
func (f *Function) noteHeartbeat(ctx context.Context, e cmek.Event) error {
	ctx, cancel := context.WithTimeout(ctx, ledgerPatience)
	defer cancel()
	account, region := e.Key.Account(), e.Key.Location()
	if e.Key.Type() == cmek.GCPCloudKMS {
		region = ""
		if cmek.IsProjectNumber(account) && e.Account != "" {
			account = e.Account
		}
	}
	return f.Ledger.NoteHeartbeat(ctx, account, region, ledger.Heartbeat{At: e.Time.UTC(), Arrived: time.Now().UTC()})
}

// used reports whether a cluster is known that needs the key. A canary key is no cluster's: what a heartbeat says of one is an event like
// any other. An error means that it is not known.
func (f *Function) used(ctx context.Context, key cmek.KeyURI) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerPatience)
	defer cancel()
	clusters, err := f.Ledger.ByKey(ctx, key)
	if err != nil {
		return false, fmt.Errorf("find out whether a cluster uses the canary key: %w", err)
	}
	return len(clusters) > 0, nil
}

// ledgerPatience bounds each use of the ledger that an alert waits for, after its facts were gathered.
const ledgerPatience = 1500 * time.Millisecond

// noteRecovery notes with an open incident that the event may have ended it, and reports whether there is one, or was when
// the event came first. It is resolved when reads of the state agree. Without an open incident the time is kept: events come in any
// order, and of what broke it before people may still have to be notified.
func (f *Function) noteRecovery(ctx context.Context, e cmek.Event) (noted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerPatience)
	defer cancel()
	row, _ := risk.Of(e.Change)
	at := happened(e)
	_, err = f.Ledger.UpdateIncident(ctx, alert.IncidentKey(row.Incident, subject(e)), func(i *ledger.Incident) error {
		noted = i.Open() || i.Notified(e.ID)
		before := at.Before(i.Alert.Time)
		if !i.Open() {
			before = i.Closing.Asked() && at.Before(i.Closing.At)
		}
		if i.Notified(e.ID) || before || !at.After(i.Recovered) {
			return ledger.ErrUnchanged
		}
		i.Recovered = at
		if i.Open() {
			i.Add(e.ID)
			i.NextLook = time.Now()
		}
		return nil
	})
	return noted && err == nil, err
}

// notify publishes the alert, unless it would repeat what was sent, and then records it, with the repair that is asked for.
func (f *Function) notify(ctx context.Context, log *slog.Logger, e cmek.Event, a Assessment, facts Facts, doubts []string) error {
	name := dedupKey(e, a)
	incident, unread := f.incident(ctx, name)
	if unread != nil {
		// Sending twice is better than never.
		incident, doubts = &ledger.Incident{DedupKey: name}, append(doubts, "whether this was reported before")
	}
	if incident.Notified(e.ID) {
		log.Info(LogReportedBefore, "incident", name)
		return nil
	}
	repeat := repeats(e, a, incident)
	counted := repeat && a.Incident == "" && !kind(e).Used() && isPowerOfTen(incident.Repeats+2) // the first, those repeated before, and this one
	if counted {
		a.Summary += fmt.Sprintf(" (%d times)", incident.Repeats+2)
	}
	sent := compose(e, a, facts, name, doubts)
	if !repeat || counted {
		if err := f.Notifier.Notify(ctx, sent); err != nil {
			return errors.Join(unread, fmt.Errorf("send alert about %s: %w", e.Change, err))
		}
		log.Info(LogAlertSent, "severity", a.Severity, "incident", name, age(e))
	}
	_, err := f.Ledger.UpdateIncident(ctx, name, func(i *ledger.Incident) error {
		f.planRepair(i, e, facts, repeat)
		record(i, e, a, sent, repeat)
		if !repeat || i.NextLook.IsZero() {
			f.schedule(i)
		} else {
			i.PollBy(i.NextLook)
		}
		return nil
	})
	return errors.Join(unread, err)
}

// isPowerOfTen reports whether n is 10, 100, 1000 and so on: so often, what is repeated is reported again, with its count.
func isPowerOfTen(n int) bool {
	if n < 10 {
		return false
	}
	for n >= 10 && n%10 == 0 {
		n /= 10
	}
	return n == 1
}

// schedule sets when the incident is polled next: while it is open.
func (f *Function) schedule(i *ledger.Incident) {
	switch {
	case i.Open():
		i.PollBy(time.Now().Add(f.Settings.RecheckEvery))
	default:
		i.NextLook = time.Time{}
	}
}

func (f *Function) incident(ctx context.Context, name string) (*ledger.Incident, error) {
	ctx, cancel := context.WithTimeout(ctx, ledgerPatience)
	defer cancel()
	return f.Ledger.Incident(ctx, name)
}

// record notes what was sent. What has no end is closed from the start. A recovery that is known already stands unless the
// event came after it: so events in any order lead to the same.
func record(i *ledger.Incident, e cmek.Event, a Assessment, sent alert.Alert, repeat bool) {
	i.Add(e.ID)
	if repeat {
		i.Repeats++
		if kind(e) == risk.Refused && !happened(e).Before(i.GoodSince) {
			i.GoodSince = time.Time{} // the reads were wrong: it has not recovered
		}
		return
	}
	if i.Open() && !i.Closing.Asked() {
		sent.Severity = alert.Worse(sent.Severity, i.Alert.Severity)
		sent.Time = later(sent.Time, i.Alert.Time)
	}
	at, now := happened(e), time.Now()
	if !i.Open() || i.Recovered.After(i.Opened) {
		i.Changes = nil
	}
	if kind(e) == risk.Canceled { // a deletion that is scheduled once more is news
		i.Changes = slices.DeleteFunc(i.Changes, func(c cmek.Change) bool { return risk.KindOf(c) == risk.Scheduled })
	}
	if !slices.Contains(i.Changes, e.Change) {
		i.Changes = append(i.Changes, e.Change)
	}
	if i.Recovered.Before(at) {
		i.Recovered = time.Time{}
	}
	i.Alert, i.Kind, i.On, i.Opened, i.Closed = sent, a.Incident, e.On, now, now
	i.GoodSince, i.Closing = time.Time{}, ledger.Closing{}
	if a.Incident == "" {
		return
	}
	i.Closed = time.Time{}
	if a.Recovery {
		i.Recovered = later(i.Recovered, at)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
