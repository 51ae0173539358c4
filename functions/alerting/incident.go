package alerting

import (
	"cmp"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// happened is when the event happened, or now if the notice does not say. A time that is further ahead than clocks differ is not
// believed: nothing that happens until then would count.
func happened(e cmek.Event) time.Time {
	now := time.Now()
	if e.Time.IsZero() || e.Time.After(now.Add(clocks)) {
		return now
	}
	return e.Time
}

// Lines of the log that alarms and metrics read, and the field with the time from an event to its alert.
const (
	LogAlertSent      = "alert sent"
	LogReportedBefore = "reported before"
	LogHeartbeat      = "heartbeat"
	LogSecondsSince   = "seconds_since_event"
)

// age is how long ago an event happened, for the log; nothing if the notice does not say. Clocks differ: it is never negative.
func age(e cmek.Event) slog.Attr {
	if e.Time.IsZero() {
		return slog.Attr{}
	}
	return slog.Float64(LogSecondsSince, max(0, time.Since(e.Time).Seconds()))
}

// repeats reports whether an event says nothing new about an incident. New is what is worse, what happened in another
// way (a disabled key is scheduled for deletion), and what happened after it had recovered or was closed by hand. A refused use
// is only what the incident leads to. What is reported late, of a time before the recovery that ended an incident is over with it, however
// bad it was; nobody read the state for an end by hand, so before that one the rules of an open incident hold.
func repeats(e cmek.Event, a Assessment, i *ledger.Incident) bool {
	at := happened(e)
	switch {
	case i.Opened.IsZero():
		return false
	case at.Before(i.HealthySince()):
		return true
	case a.Severity.Above(i.Alert.Severity):
		return false
	case e.Amends != "" && i.Notified(e.Amends), a.Incident == "":
		return true
	case !i.Open() && !i.Closing.Asked(), i.Closing.Asked() && !at.Before(i.Closing.At):
		return false
	case !i.Recovered.IsZero():
		// Events come in any order. A deletion is canceled before the key is enabled, if both happened in one second.
		return at.Before(i.Recovered) || at.Equal(i.Recovered) && kind(e) == risk.Canceled
	case kind(e) == risk.Refused:
		return true
	case !slices.Contains(i.Changes, e.Change) && e.Change != i.Alert.Change:
		return false
	}
	return i.GoodSince.IsZero() || at.Before(i.GoodSince)
}

// dedupKey names the incident of an event. What has no end is named by who did it, and when: what one principal does over and over
// is one alert a day, or an hour if it pages. Changes of keyturn's own parts by one deployment belong together: those of half an hour.
// The next deployment may be somebody else's.
func dedupKey(e cmek.Event, a Assessment) string {
	if a.Incident != "" {
		return alert.IncidentKey(a.Incident, subject(e))
	}
	by, day := string(cmp.Or(caller(e), "unknown")), happened(e).UTC().Format(time.DateOnly)
	switch {
	case a.Grouped:
		return "deployment/" + e.Account + "/" + e.Region + "/" + by + "/" + happened(e).UTC().Truncate(30*time.Minute).Format(time.RFC3339)
	case !e.Succeeded() && kind(e) != risk.Refused && kind(e) != risk.Failed:
		return string(e.Change) + "/" + subject(e) + "/attempts of " + by + "/" + day
	case kind(e).Used():
		return string(e.Change) + "/" + subject(e) + "/" + by + "/" + day
	}
	// Whoever repeats a change makes no more noise than one who makes it once; what pages is reported again after an hour.
	window := day
	if a.Severity.AtLeast(alert.High) {
		window = happened(e).UTC().Format("2006-01-02T15")
	}
	return string(a.Change) + "/" + subject(e) + "/" + by + "/" + window
}

// subject is what an event is about: the key or the version of it, the principal, the key store, or else the account or what of it.
func subject(e cmek.Event) string {
	principal := e.Identity
	if kind(e) == risk.Refused {
		principal = refused(e)
	}
	store := e.Parameters["custom_key_store_id"]
	row, _ := risk.Of(e.Change)
	switch {
	case e.Key != "" && (row.Scope == risk.ScopeVersion || row.Kind == risk.Refused) && !e.On.IsZero():
		return string(e.Key) + "/cryptoKeyVersions/" + e.On.ID // each version has a state, and so an incident, of its own
	case e.Key != "":
		return string(e.Key)
	case principal != "":
		return cmp.Or(principal.Account(), e.Account) + "/" + lastSegment(principal.Name())
	case kind(e) == risk.Managed:
		return cmp.Or(e.Parameters["policy_arn"], e.Parameters["role"], e.Account)
	case store != "":
		return e.Account + "/" + store
	case len(risk.Resources(e)) > 0:
		return e.Account + "/" + strings.Join(risk.Resources(e), ",")
	case row.Part != "":
		return strings.TrimSuffix(cmp.Or(e.Account, e.Parameters["resource"])+"/"+row.Part+"/"+e.Parameters["api"], "/")
	}
	return cmp.Or(e.Parameters["key_ring"], e.Parameters["resource"], e.Account)
}

// refused is the principal that a refusal is about: the one that was to be assumed, or else the caller's own, which a key refused.
func refused(e cmek.Event) cmek.Principal { return cmp.Or(e.Identity, e.Issuer) }
