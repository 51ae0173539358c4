package alerting

import (
	"cmp"
	"log/slog"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// happened is when the event happened, or now if the notice does not say.
func happened(e cmek.Event) time.Time {
	if e.Time.IsZero() {
		return time.Now()
	}
	return e.Time
}

// age is how long ago an event happened, for the log; nothing if the notice does not say. Clocks differ: it is never negative.
func age(e cmek.Event) slog.Attr {
	if e.Time.IsZero() {
		return slog.Attr{}
	}
	return slog.Float64("seconds_since_event", max(0, time.Since(e.Time).Seconds()))
}

// told reports whether people know of this very event, or of the one that it is an addendum to.
func told(e cmek.Event, a Assessment, i *ledger.Incident) bool {
	if i.Told(e.ID) || a.Incident == "" && !i.Opened.IsZero() {
		return true
	}
	return e.Amends != "" && i.Told(e.Amends) && level(a.Severity) <= level(i.Alert.Severity)
}

// repeats reports whether an event tells nothing new about an open incident. New is what is worse, what happened in another
// way (a disabled key is scheduled for deletion), and what happened after it had got well or was closed by hand. A refused use
// is only what the incident leads to.
func repeats(e cmek.Event, a Assessment, i *ledger.Incident) bool {
	at := happened(e)
	switch {
	case !i.Open(), level(a.Severity) > level(i.Alert.Severity), i.Closing.Asked() && !at.Before(i.Closing.At):
		return false
	case !i.Recovered.IsZero():
		// Events come in any order. A deletion is canceled before the key is enabled, if both happened in one second.
		return at.Before(i.Recovered) || at.Equal(i.Recovered) && e.Change == cmek.DeletionWasCanceled
	case e.Change == cmek.UseRefused:
		return true
	case e.Change != i.Alert.Change:
		return false
	}
	return i.GoodSince.IsZero() || at.Before(i.GoodSince)
}

// dedupKey names the incident of an event. What has no end is named by its event, and repeated use by who uses the key, and
// the day: nobody wants to hear of each call.
func dedupKey(e cmek.Event, a Assessment) string {
	if a.Incident != "" {
		return incidentKey(e, a.Incident)
	}
	id := cmp.Or(e.Amends, e.ID)
	if isUse(e.Change) {
		id = cmp.Or(e.Issuer, e.Principal, "unknown") + "/" + happened(e).UTC().Format(time.DateOnly)
	}
	return string(e.Change) + "/" + subject(e) + "/" + id
}

// incidentKey names an incident: what is broken, at which key, role or key store.
func incidentKey(e cmek.Event, incident string) string { return incident + "/" + subject(e) }

func subject(e cmek.Event) string {
	role := e.Role
	if e.Change == cmek.UseRefused {
		role = refusedRole(e)
	}
	store := e.Parameters["custom_key_store_id"]
	switch {
	case e.Key != "":
		return string(e.Key)
	case role != "":
		account := e.Account
		if parts := strings.SplitN(role, ":", 6); len(parts) == 6 {
			account = parts[4]
		}
		return account + "/" + lastSegment(role)
	case store != "":
		return e.Account + "/" + store
	}
	return e.Account
}

// roleRefused reports that a role refused to be assumed, where other refusals are a key's.
func roleRefused(e cmek.Event) bool {
	return e.Change == cmek.UseRefused && e.Key == "" && e.Role != ""
}

// refusedRole is the role that a refusal is about: the one that was to be assumed, or else the caller's own, which a key
// refused.
func refusedRole(e cmek.Event) string { return cmp.Or(e.Role, e.Issuer) }

func isUse(change cmek.Change) bool {
	return change == cmek.UseRefused || change == cmek.UseUnexpected || change == cmek.RoleAssumed
}
