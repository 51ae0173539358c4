package trailcheck

import (
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/version"
)

// MostText bounds an answer, in bytes: CloudFormation takes 4,096 for a whole response, and its list of events is read
// by people.
const MostText = 1000

// mostReason bounds what is quoted of an AWS error.
const mostReason = 160

const (
	fix    = " Fix: a trail with logging on that covers this Region, includes read and write management events, and does not exclude " + kmsSource + "."
	wayOut = " If an organization trail that this account cannot read records KMS events, its owner may vouch for it: trail: asserted in keyturn.yaml (property Assert: true)."
)

// recorded is the answer where a trail records writes.
func recorded(region string, records []Record, reads Answer) string {
	var good []string
	warning, note := "", ""
	for _, record := range records {
		if record.Writes != Yes {
			continue
		}
		good = append(good, title(record.Trail))
		if home := record.Trail.HomeRegion; home != "" && home != region && note == "" {
			note = fmt.Sprintf(" Note: calls that stop or change %s are recorded in %s only, its home Region: have that watched too (regions in keyturn.yaml).", title(record.Trail), home)
		}
		if record.Trail.DeliveryError != "" && warning == "" {
			warning = fmt.Sprintf(" Warning: S3 refuses the files of %s (%s).", title(record.Trail), cut(record.Trail.DeliveryError))
		}
	}
	switch reads {
	case No:
		warning += " Warning: no trail records read-only KMS events, so keyturn will not see failed use of a key; set read and write events on the trail."
	case Unknown:
		warning += " Warning: no trail is known to record read-only KMS events, so keyturn may not see failed use of a key."
	case Yes:
	}
	return list("KMS management events in "+region+" are recorded by ", good, ", ", "."+warning+note)
}

// onTrust is the answer where the owner's word stands in for what cannot be told.
func onTrust(region string, records []Record, unread string) string {
	return list("Passed on the owner's word alone (Assert is true): no trail can be seen to record KMS management events in "+
		region+". ", seen(records, unread), "; ", ". If no organization trail does, keyturn is notified of no rotated, disabled or deleted key.")
}

// refused is the answer of a deployment that must not go on.
func refused(region string, records []Record, unread string, asserted bool, writes Answer) string {
	end := "." + fix
	switch {
	case asserted:
		end += " Assert is true, but it does not stand against trails that can be read."
	case writes == Unknown:
		end += wayOut
	}
	return list("No trail is known to record KMS write management events in "+region+
		", so keyturn would not be notified of rotated, disabled or deleted keys. ", seen(records, unread), "; ", end+" Runbook: "+version.URL("functions/trailcheck/README.md"))
}

// seen is one phrase for each trail, or why there is none.
func seen(records []Record, unread string) []string {
	switch {
	case unread != "":
		return []string{"The trails cannot be listed (" + cut(unread) + ")"}
	case len(records) == 0:
		return []string{"No trail is visible here"}
	}
	var phrases []string
	for _, record := range records {
		certainty := ""
		if record.Writes == Unknown {
			certainty = "cannot tell, "
		}
		phrases = append(phrases, fmt.Sprintf("%s: %s%s", title(record.Trail), certainty, record.Why))
	}
	phrases[0] = "Seen: " + phrases[0]
	return phrases
}

func title(trail Trail) string {
	kind := "trail"
	if trail.Organization {
		kind = "organization trail"
	}
	return fmt.Sprintf("%s %q", kind, trail.Name)
}

// list joins as many phrases as fit between start and end, and says how many did not.
func list(start string, phrases []string, separator, end string) string {
	for n := len(phrases); n > 0; n-- {
		middle := strings.Join(phrases[:n], separator)
		if more := len(phrases) - n; more > 0 {
			middle += fmt.Sprintf("%sand %d more", separator, more)
		}
		if len(start)+len(middle)+len(end) <= MostText {
			return start + middle + end
		}
	}
	return fmt.Sprintf("%s%d trails%s", start, len(phrases), end)
}

// cut shortens a reason to one line that leaves room for others.
func cut(reason string) string {
	reason = strings.Join(strings.Fields(reason), " ")
	if len(reason) <= mostReason {
		return reason
	}
	return strings.ToValidUTF8(reason[:mostReason], "") + "…"
}
