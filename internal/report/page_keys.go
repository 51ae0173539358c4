package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// mostKeys is how many keys the timeline shows, those that need attention first; mostMarks bounds the marks of one key, mostMoments the
// rows of the table beside the timeline.
const (
	mostKeys    = 50
	mostMarks   = 24
	mostMoments = 500
)

// keyTimes keeps the timelines to be shown, and counts all.
type keyTimes struct {
	at time.Time
	// archived: the page is in the archive, where the records are.
	archived bool
	kept     []keyTime
	all      int
	// seen are the keys that were added, pending the proofs of those that were not.
	seen    map[cmek.KeyURI]bool
	pending map[cmek.KeyURI][]Proof
}

// keyTime is a timeline with what follows from it.
type keyTime struct {
	Timeline
	state follow
	// age is that of the current version, lag the longest time from its rotation to a re-encryption; negative: not recorded.
	age, lag                           time.Duration
	followed, waiting, unknown, period int
	// proofs are by cluster and region.
	proofs map[[2]string]Proof
}

// follow is how far the re-encryptions of a key are, the most urgent first.
type follow uint8

const (
	unread follow = iota
	late
	unclear
	followed
	unused
)

func (k *keyTimes) add(t Timeline) {
	k.all++
	one := k.judge(t)
	one.prove(k.pending[t.Key]...)
	delete(k.pending, t.Key)
	k.seen[t.Key] = true
	k.kept = append(k.kept, one)
	if len(k.kept) >= 2*mostKeys {
		k.shorten()
	}
}

// judge compares versions: a region that was re-encrypted under another version than the current one waits, one of which no version is
// recorded is unclear.
func (k *keyTimes) judge(t Timeline) keyTime {
	one := keyTime{Timeline: t, age: -1, lag: -1, period: t.CryptoperiodDays}
	if !t.Current.Since.IsZero() && !t.Current.Since.After(k.at) {
		one.age = k.at.Sub(t.Current.Since)
	}
	lags := 0
	for _, r := range t.Regions {
		switch {
		case r.Version.IsZero() || t.Current.Version.IsZero():
			one.unknown++
		case r.Version != t.Current.Version:
			one.waiting++
		default:
			one.followed++
			// One that keyturn found up to date was re-encrypted some time before.
			if !t.Current.Since.IsZero() && !r.At.Before(t.Current.Since) && r.Adopted == "" {
				lags++
				one.lag = max(one.lag, r.At.Sub(t.Current.Since))
			}
		}
	}
	if lags < len(t.Regions) {
		one.lag = -1 // the longest is one that is not over, or not recorded
	}
	switch {
	case t.Unread != "":
		one.state, one.age, one.lag = unread, -1, -1
	case one.waiting > 0:
		one.state = late
	case one.unknown > 0:
		one.state = unclear
	case one.followed > 0:
		one.state = followed
	default:
		one.state = unused
	}
	return one
}

func (k keyTime) tooOld() bool {
	return k.period > 0 && k.age > time.Duration(k.period)*24*time.Hour
}

func (k *keyTimes) shorten() {
	rank := func(one keyTime) int {
		if one.state >= followed && one.tooOld() {
			return int(followed)
		}
		if one.state >= followed {
			return int(one.state) + 1
		}
		return int(one.state)
	}
	slices.SortFunc(k.kept, func(a, b keyTime) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), -cmp.Compare(a.lag, b.lag), -cmp.Compare(a.age, b.age), cmp.Compare(a.Key, b.Key))
	})
	if len(k.kept) > mostKeys {
		clear(k.kept[mostKeys:])
		k.kept = k.kept[:mostKeys]
	}
}

// The size of a lane of the timeline, and of a bar of the key ages, in units of the drawing, as in the template.
const (
	laneWidth = 340
	laneEdge  = 8
	barWidth  = 120
)

// keysView is the timeline with all that it shows in words.
type keysView struct {
	Keys     []keyView
	All      int
	From, To string
	Ticks    []tick
	Moments  []moment
	// MoreMoments counts the rows that are not shown.
	MoreMoments int
}

type tick struct {
	X    int
	Text string
	// End is the anchor of the text.
	End string
}

type keyView struct {
	Name, URI, Where                string
	State                           state
	Word, Says, Rotated, Since, Lag string
	Age, Period                     string
	// Old: the age is beyond the period.
	Old  bool
	Lane lane
	Bar  *bar
	// Proofs count the re-encryptions that keyturn requested, by state.
	Proofs []proofCount
}

// lane is the picture of a key's rotations and re-encryptions.
type lane struct {
	Title     string
	Rotations []int
	Follows   []laneMark
	// Bars lead from a rotation to what followed it.
	Bars []stretch
}

// laneMark is a re-encryption, or a use of an old version.
type laneMark struct {
	Class string
	X     int
}

type stretch struct{ X, Width int }

// bar is the picture of a key's age: how much of its period is used, Over what is beyond.
type bar struct {
	Title                string
	Used, Period, Beyond int
}

// moment is a row of the table that says what the timeline shows.
type moment struct {
	Key, What, Version, Where, At, Lag string
	Proof                              proofView
	at                                 time.Time
}

func (k *keyTimes) view() keysView {
	k.shorten()
	v := keysView{All: k.all}
	from := k.at.Add(-24 * time.Hour)
	for _, one := range k.kept {
		for _, version := range append(slices.Clone(one.Versions), one.Current) {
			if !version.Since.IsZero() && version.Since.Before(from) {
				from = version.Since
			}
		}
	}
	if earliest := k.at.AddDate(-3, 0, 0); from.Before(earliest) {
		from = earliest
	}
	v.From, v.To = dateOf(from), dateOf(k.at)
	scale := scale{from, k.at}
	v.Ticks = []tick{
		{laneEdge, v.From, "start"}, {laneWidth / 2, dateOf(from.Add(k.at.Sub(from) / 2)), "middle"}, {laneWidth - laneEdge, v.To, "end"},
	}
	for _, one := range k.kept {
		v.Keys = append(v.Keys, k.viewOf(one, scale))
		for _, m := range k.moments(one) {
			if len(v.Moments) == mostMoments {
				v.MoreMoments++
				continue
			}
			v.Moments = append(v.Moments, m)
		}
	}
	return v
}

type scale struct{ from, to time.Time }

// x is where a time is drawn; ok is false for times outside.
func (s scale) x(t time.Time) (x int, ok bool) {
	if t.IsZero() || t.Before(s.from) || t.After(s.to) {
		return 0, false
	}
	return laneEdge + int(float64(laneWidth-2*laneEdge)*float64(t.Sub(s.from))/float64(s.to.Sub(s.from))), true
}

func (k *keyTimes) viewOf(one keyTime, s scale) keyView {
	v := keyView{
		Name: shown(one.Key.ID()), URI: shown(string(one.Key)), Where: one.where(), Rotated: stamp(one.Current.Since),
		Lag: notRecorded, Age: notRecorded,
	}
	regions := one.followed + one.waiting + one.unknown
	switch one.state {
	case unread:
		v.State, v.Word, v.Says, v.Rotated, v.Lag = unanswered, "NOT READ", shown(one.Unread), notRecorded, ""
	case late:
		v.State, v.Word = unanswered, "WAITING"
		v.Says = fmt.Sprintf("%d of %s", one.waiting, plural(regions, "region"))
	case unclear:
		v.State, v.Word, v.Says = unrecorded, unrecorded.Word(), fmt.Sprintf("%d of %s", one.unknown, plural(regions, "region"))
	case followed:
		v.State, v.Word, v.Says = passed, "FOLLOWED", plural(regions, "region")
	case unused:
		v.State, v.Word, v.Says, v.Lag = notApplicable, "NOT IN USE", "no region uses it", ""
	}
	if one.state == unclear && one.followed == 0 {
		v.Lag = "" // the state says it
	}
	if one.lag >= 0 {
		v.Lag = span(one.lag)
	} else if one.waiting > 0 && one.age >= 0 {
		v.Lag = "more than " + span(one.age)
	}
	if one.age >= 0 {
		days := int(one.age / (24 * time.Hour))
		v.Age, v.Old, v.Bar = plural(days, "day"), one.tooOld(), one.bar()
		if one.period > 0 {
			v.Age = number(days)
		}
	}
	v.Period = "period not declared"
	if one.period > 0 {
		v.Period = "of " + plural(one.period, "day")
	}
	v.Proofs = k.proofsOf(one)
	v.Lane = k.lane(one, s)
	v.Lane.Title = fmt.Sprintf("Key %s: %s, last on %s; %s", v.Name, plural(one.rotations(), "version"), v.Rotated, v.Says)
	for _, p := range v.Proofs {
		v.Lane.Title += fmt.Sprintf("; %d %s", p.Count, strings.ToLower(p.Word))
	}
	return v
}

// where names the key's location and owner, and who uses it.
func (k keyTime) where() string {
	var users []string
	for _, r := range k.Regions[:min(len(k.Regions), 2)] {
		users = append(users, cmp.Or(r.Name, r.Cluster))
	}
	if more := len(k.Regions) - len(users); more > 0 {
		users = append(users, fmt.Sprintf("and %d more", more))
	}
	parts := []string{k.Key.Location(), k.Key.Account(), strings.Join(users, ", ")}
	return shown(strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), " · "))
}

func (k keyTime) rotations() int {
	n := 0
	for _, v := range k.times() {
		if !v.Since.IsZero() {
			n++
		}
	}
	return n
}

// times are all versions, the current one once.
func (k keyTime) times() []TimelineVersion {
	all := slices.Clone(k.Versions)
	for i, v := range all {
		if v.Version == k.Current.Version {
			all[i].Since = laterOf(v.Since, k.Current.Since)
			return all
		}
	}
	if k.Current.Version.IsZero() && k.Current.Since.IsZero() {
		return all
	}
	return append(all, k.Current)
}

// laterOf prefers what is known.
func laterOf(a, b time.Time) time.Time {
	if b.IsZero() || a.After(b) {
		return a
	}
	return b
}

func (k *keyTimes) lane(one keyTime, s scale) (l lane) {
	since := map[cmek.KeyVersion]time.Time{}
	for _, v := range one.times() {
		since[v.Version] = v.Since
		if x, ok := s.x(v.Since); ok && len(l.Rotations) < mostMarks {
			l.Rotations = append(l.Rotations, x)
		}
	}
	for _, r := range one.Regions {
		p := k.proofOf(one, r)
		if at, ok := s.x(p.oldAt); ok && len(l.Follows) < mostMarks {
			l.Follows = append(l.Follows, laneMark{"old", at})
		}
		x, ok := s.x(r.At)
		if !ok || len(l.Follows) == mostMarks {
			continue
		}
		class := "fol"
		if p.Record.Name == "" {
			class = "fol no"
		}
		l.Follows = append(l.Follows, laneMark{class, x})
		if began, ok := s.x(since[r.Version]); ok && began <= x && r.Adopted == "" {
			l.Bars = append(l.Bars, stretch{began, max(x-began, 2)})
		}
	}
	return l
}

func (k keyTime) bar() *bar {
	days := int(k.age / (24 * time.Hour))
	longest := max(days, k.period, 1)
	b := bar{Used: barWidth * days / longest, Period: barWidth * k.period / longest}
	b.Title = fmt.Sprintf("%s of use, no period declared", plural(days, "day"))
	if k.period > 0 {
		b.Title = fmt.Sprintf("%s of use of a period of %d", plural(days, "day"), k.period)
		if k.tooOld() {
			b.Beyond = max(barWidth-b.Period, 2)
			b.Used = barWidth - b.Beyond
			b.Title += ": too old"
		}
	}
	return &b
}

func (k *keyTimes) moments(one keyTime) (moments []moment) {
	since := map[cmek.KeyVersion]time.Time{}
	for _, v := range one.times() {
		since[v.Version] = v.Since
		moments = append(moments, moment{Key: shown(one.Key.ID()), What: "Rotation", Version: versionText(v.Version), Where: shown(one.Key.Location()), At: stamp(v.Since), at: v.Since})
	}
	for _, r := range one.Regions {
		m := moment{
			Key: shown(one.Key.ID()), What: "Re-encryption", Version: versionText(r.Version), At: stamp(r.At), Lag: notRecorded, at: r.At,
			Where: shown(cmp.Or(r.Name, r.Cluster) + ", " + r.Region), Proof: k.proofOf(one, r),
		}
		began := since[r.Version]
		switch {
		case r.Adopted != "":
			m.What, m.Lag = "Found up to date", ""
		case !began.IsZero() && !r.At.IsZero() && !r.At.Before(began):
			m.Lag = span(r.At.Sub(began))
		}
		moments = append(moments, m)
		if p := m.Proof; p.Old != "" {
			moments = append(moments, moment{Key: m.Key, What: "Use of an old version", Version: p.oldVersion, Where: m.Where, At: stamp(p.oldAt), at: p.oldAt, Proof: proofView{
				Class: failed.Class(), Word: string(OldVersionUsed), Log: p.Old,
			}})
		}
	}
	slices.SortStableFunc(moments, func(a, b moment) int { return a.at.Compare(b.at) })
	return moments
}

func versionText(v cmek.KeyVersion) string { return cmp.Or(shown(v.Short()), notRecorded) }
