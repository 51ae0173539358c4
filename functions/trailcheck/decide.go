package trailcheck

import (
	"fmt"
	"slices"
	"strings"
)

// Answer is three-valued, ordered No < Unknown < Yes: "and" is the least, "or" the greatest. Unknown is never a pass.
type Answer int

// The answers.
const (
	No Answer = iota
	Unknown
	Yes
)

func (a Answer) String() string { return [...]string{"no", "cannot tell", "yes"}[a] }

// Record is what a trail records of KMS's management events in our Region.
type Record struct {
	Trail Trail
	// Writes are changes of keys. Reads are uses of keys: Decrypt and Encrypt count as read-only events.
	Writes, Reads Answer
	// Why says why writes are not recorded or cannot be told; it is "" if they are.
	Why string
}

// Verdict is whether the deployment may go on, and why in at most MostText bytes.
type Verdict struct {
	Pass    bool
	Text    string
	Records []Record
}

// Decide judges the trails that are visible in the Region; unread is why there is no list of them, or "".
func Decide(region string, trails []Trail, unread string, asserted bool) Verdict {
	var records []Record
	writes, reads := No, No
	for _, trail := range trails {
		record := judge(region, trail)
		records = append(records, record)
		writes, reads = max(writes, record.Writes), max(reads, record.Reads)
	}
	// Without a trail in sight, or without a list, nothing contradicts the owner.
	if len(trails) == 0 {
		writes = Unknown
	}
	verdict := Verdict{Pass: writes == Yes || asserted && writes == Unknown, Records: records}
	switch {
	case writes == Yes:
		verdict.Text = recorded(region, records, reads)
	case verdict.Pass:
		verdict.Text = onTrust(region, records, unread)
	default:
		verdict.Text = refused(region, records, unread, asserted, writes)
	}
	return verdict
}

// judge says what one trail records.
func judge(region string, trail Trail) Record {
	record := Record{Trail: trail}
	covers, outside := coverage(region, trail)
	logging, off := logging(trail)
	writes, unwritten := selected(trail, "false")
	reads, _ := selected(trail, "true")
	record.Writes, record.Reads = min(covers, logging, writes), min(covers, logging, reads)
	// What is certain comes first: it is what has to be fixed.
	for _, part := range []struct {
		answer Answer
		why    string
	}{{covers, outside}, {logging, off}, {writes, unwritten}} {
		if record.Writes != Yes && part.answer == record.Writes {
			record.Why = part.why
			break
		}
	}
	return record
}

func coverage(region string, trail Trail) (Answer, string) {
	switch {
	case trail.MultiRegion || trail.HomeRegion == region:
		return Yes, ""
	case trail.HomeRegion == "":
		return Unknown, "its home Region is not given"
	}
	return No, "it records " + trail.HomeRegion + " only"
}

func logging(trail Trail) (Answer, string) {
	switch {
	case trail.LoggingUnread != "":
		return Unknown, "its status cannot be read (" + cut(trail.LoggingUnread) + ")"
	case trail.Logging:
		return Yes, ""
	}
	return No, "its logging is off"
}

// selected says whether the trail's selectors match KMS management events with that value of readOnly, and why not.
func selected(trail Trail, readOnly string) (Answer, string) {
	switch {
	case trail.SelectorsUnread != "":
		return Unknown, "its event selectors cannot be read (" + cut(trail.SelectorsUnread) + ")"
	case len(trail.Selectors) == 0 && trail.CustomSelectors:
		return Unknown, "it has event selectors that are not shown"
	case len(trail.Selectors) == 0:
		return Yes, ""
	}
	best, whys := No, []string(nil)
	for _, selector := range trail.Selectors {
		answer, why := selector.matches(readOnly)
		if answer > best {
			best, whys = answer, nil
		}
		if answer == best && why != "" && !slices.Contains(whys, why) {
			whys = append(whys, why)
		}
	}
	if best == No && len(whys) == 0 {
		whys = []string{"none of its event selectors includes management events"}
	}
	return best, strings.Join(whys, ", and ")
}

// matches says whether the selector matches KMS management events. Why is "" for a selector of other events altogether.
func (s Selector) matches(readOnly string) (answer Answer, why string) {
	category := s.holds("eventCategory", "Management")
	if category == No {
		return No, ""
	}
	if !s.has("eventCategory") { // it is required; a selector without one is of a kind that we do not know
		category = Unknown
	}
	source, mode := s.holds("eventSource", kmsSource), s.holds("readOnly", readOnly)
	switch {
	case source == No:
		return No, "its event selectors exclude " + kmsSource
	case mode == No:
		return No, "its event selectors include read-only events but no write events"
	}
	answer, why = min(category, source, mode), ""
	if answer == Unknown {
		why = "an event selector of it has a condition that is not understood"
	}
	for _, condition := range s {
		// A trail's selectors of management events know no further field; what one would filter out is anybody's guess.
		if !slices.Contains([]string{"eventCategory", "eventSource", "readOnly"}, condition.Field) {
			answer, why = Unknown, fmt.Sprintf("an event selector of it has a condition on %q, which is not understood", condition.Field)
		}
	}
	return answer, why
}

const kmsSource = "kms.amazonaws.com"

func (s Selector) has(field string) bool {
	return slices.ContainsFunc(s, func(c Condition) bool { return c.Field == field })
}

// holds says whether every condition on the field allows the value.
func (s Selector) holds(field, value string) Answer {
	answer := Yes
	for _, condition := range s {
		if condition.Field == field {
			answer = min(answer, condition.allows(value))
		}
	}
	return answer
}

// allows says whether the condition allows the value: one of the operators that select matches, if there are any, and none of
// those that deselect (docs.aws.amazon.com/awscloudtrail/latest/userguide/filtering-data-events.html).
func (c Condition) allows(value string) Answer {
	is := func(other string) bool { return value == other }
	starts := func(prefix string) bool { return strings.HasPrefix(value, prefix) }
	ends := func(suffix string) bool { return strings.HasSuffix(value, suffix) }
	selecting := len(c.Equals) + len(c.StartsWith) + len(c.EndsWith)
	deselecting := len(c.NotEquals) + len(c.NotStartsWith) + len(c.NotEndsWith)
	onlyEquals := selecting == len(c.Equals) && deselecting == 0
	odd := func(v string) bool { return v != "true" && v != "false" }
	switch {
	case selecting+deselecting == 0:
		return Unknown
	case c.Field != "eventSource" && !onlyEquals: // Equals is the only operator that the other two fields know
		return Unknown
	case c.Field == "readOnly" && slices.ContainsFunc(c.Equals, odd):
		return Unknown
	case slices.ContainsFunc(c.NotEquals, is), slices.ContainsFunc(c.NotStartsWith, starts), slices.ContainsFunc(c.NotEndsWith, ends):
		return No
	case selecting == 0, slices.ContainsFunc(c.Equals, is), slices.ContainsFunc(c.StartsWith, starts), slices.ContainsFunc(c.EndsWith, ends):
		return Yes
	}
	return No
}
