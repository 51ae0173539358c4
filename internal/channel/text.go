package channel

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Lengths in this package are bytes. Vendors count characters, of which there are never more.

// line makes s one line without control and formatting characters, so that no value can imitate another part of a
// message.
func line(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == unicode.ReplacementChar, !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s))
}

const ellipsis = "…"

// clip cuts s to at most so many bytes and shows that it did.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	cut := most - len(ellipsis)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + ellipsis
}

// timestamp is the time as in every other text of an alert; "" if it is not known.
func timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
