// Package evidence verifies what keyturn has archived: the chains of records of re-encryptions, the chain of compliance runs, and the files
// of each run. It finds whatever was altered, is missing, in another order, hidden behind another version, or cut off at the end.
package evidence

import (
	"cmp"
	"fmt"
	"slices"
)

// Kind is what is wrong with a record.
type Kind string

// The kinds.
const (
	// Altered: the bytes are not those that something later vouches for.
	Altered Kind = "altered"
	// Missing: a number before the last has no record. Cut: records at the end are missing.
	Missing Kind = "missing"
	Cut     Kind = "cut"
	// Reordered: the record is not where its number says.
	Reordered Kind = "reordered"
	// Shadowed: there is a second version under the name, or a deletion.
	Shadowed Kind = "shadowed"
	// Foreign: keyturn did not write it as far as is known.
	Foreign Kind = "foreign"
	// Unreadable: it cannot be read, and so not verified.
	Unreadable Kind = "unreadable"
	// Unanchored: nothing outside of the records themselves vouches for the last of them, so that a cut would not be seen.
	Unanchored Kind = "unanchored"
)

// Problem is what is wrong, and with what.
type Problem struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
	What string `json:"what"`
}

// record is a record of a chain as it is stored.
type record struct {
	name string
	// at is the number in the name; number and previous are what the record itself says. hash is that of its bytes.
	at, number     int
	previous, hash string
	// unread is why its content is not known.
	unread string
}

// anchor is what something outside of a chain says of it: how many records it has, or had, and the hash of the last of them.
type anchor struct {
	source string
	count  int
	hash   string
	// exact: there are no records after it.
	exact bool
}

// judge verifies a chain. Its records come in any order.
func judge(chain string, records []record, anchors []anchor) (problems []Problem) {
	found := func(kind Kind, name, format string, args ...any) {
		problems = append(problems, Problem{kind, name, fmt.Sprintf(format, args...)})
	}
	slices.SortFunc(records, func(a, b record) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.name, b.name)) })
	byNumber := map[int]record{}
	last := 0
	for _, r := range records {
		if first, taken := byNumber[r.at]; taken {
			found(Foreign, r.name, "there are two records with number %d: %s is the other", r.at, first.name)
			continue
		}
		byNumber[r.at], last = r, r.at
		switch {
		case r.unread != "":
			found(Unreadable, r.name, "%s", r.unread)
		case r.number != r.at:
			found(Reordered, r.name, "it says that its number is %d", r.number)
		}
	}
	altered := map[int]bool{}
	for n := 1; n <= last; n++ {
		r, ok := byNumber[n]
		before, known := byNumber[n-1]
		switch {
		case !ok:
			found(Missing, chain, "record %d of %d is missing", n, last)
		case r.unread != "" || known && before.unread != "":
		case n == 1 && r.previous != "":
			found(Altered, r.name, "it is the first, and says that another was before it")
		case n > 1 && known && r.previous != before.hash && !altered[n-1]:
			altered[n-1] = true
			found(Altered, before.name, "its SHA-256 is %s, and the record after it was chained to %s", short(before.hash), short(r.previous))
		}
	}
	end := 0
	slices.SortStableFunc(anchors, func(a, b anchor) int { return cmp.Compare(b.count, a.count) })
	for i, a := range anchors {
		end = max(end, a.count)
		r, ok := byNumber[a.count]
		switch {
		case a.count > last && i == 0:
			found(Cut, chain, "it ends with record %d, and %s knows %d", last, a.source, a.count)
		case ok && r.unread == "" && r.hash != a.hash && !altered[a.count]:
			altered[a.count] = true
			found(Altered, r.name, "its SHA-256 is %s, and %s has %s", short(r.hash), a.source, short(a.hash))
		case a.exact && last > a.count:
			found(Foreign, byNumber[last].name, "%s knows %d records, and there are %d", a.source, a.count, last)
			end = last // it is reported
		}
	}
	switch {
	case end+1 == last:
		found(Unanchored, chain, "nothing vouches for record %d but itself: neither the ledger nor a manifest", last)
	case end < last:
		found(Unanchored, chain, "nothing vouches for the records %d to %d but themselves: neither the ledger nor a manifest", end+1, last)
	}
	return problems
}

// short is a hash as people compare it.
func short(hash string) string {
	if hash == "" {
		return "none"
	}
	return hash[:min(len(hash), 12)]
}
