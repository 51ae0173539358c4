package ledger

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// The sizes of an item, in bytes. DynamoDB takes 400 KB an item, with all names and indexes of its attributes.
const (
	// largestItem is what a record may take in a database: its data, its keys as [PackKeys] makes them, and its names.
	largestItem = 300_000
	// largestPlain is up to which size data is plain JSON, for people to read. Larger data is compressed.
	largestPlain = 100_000
)

// ErrTooLarge is, wrapped with the item's name and what is large in it, the error about an item that does not fit the database
// although all was summarized that may be.
var ErrTooLarge = errors.New("ledger item is too large")

// An item that would be larger than largestItem is first compressed, which loses nothing. If that is not enough, what follows is
// summarized, one after the other, until the item fits:
//
//  1. lists of affected clusters in alerts: the first are kept, and the count of all;
//  2. Cockroach Labs' messages about keys that are disabled;
//  3. timelines of requests whose outcome is known: the first and the last sighting are kept;
//  4. the timeline and the baseline of an operation that has ended;
//  5. alerts that wait to be sent: the least urgent are merged into one, with their count and the worst of them.
//
// Never summarized: open work, done versions, the URIs and principals of all keys (past ones count as in use), open alarms, and
// evidence that waits to be archived. An item that is too large even so is an ErrTooLarge.

// summary is a step that makes an item smaller and loses something. It does not change what slices and pointers of the item lead
// to: others may hold them.
type summary func()

// fit encodes the record's data from the item, and summarizes the item as far as it must.
func fit(r *Record, item any, steps []summary, parts func() []part) error {
	for next := 0; ; next++ {
		data, err := encodeItem(item)
		if err != nil {
			return err
		}
		r.Data = data
		if len(data) > largestPlain {
			if r.Data, err = pack(item); err != nil {
				return err
			}
		}
		size := r.size()
		if size <= largestItem {
			return nil
		}
		if next == len(steps) {
			return tooLarge(*r, size, parts())
		}
		steps[next]()
	}
}

// size is what the record takes in a database, as DynamoDB counts: names and values of attributes, three bytes for a list and one
// for each value in it (docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html).
func (r Record) size() int {
	const attributes = 150 // names of attributes, numbers and the token
	n := attributes + 2*len(r.Kind) + len(r.ID) + len(r.Data)
	if packed := PackKeys(r.Keys); packed != nil {
		return n + len(packed)
	}
	for _, key := range r.Keys {
		n += len(key) + 1
	}
	return n
}

// part is a part of an item, for the error about one that is too large.
type part struct {
	name string
	size int
}

func partOf(name string, v any) part {
	data, _ := encode(v)
	return part{name, len(data)}
}

func tooLarge(r Record, size int, parts []part) error {
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(b.size, a.size) })
	var large []string
	for _, p := range parts[:min(len(parts), 3)] {
		large = append(large, fmt.Sprintf("%s %d bytes", p.name, p.size))
	}
	return fmt.Errorf("write ledger item %s/%s: %w: %d bytes compressed, at most %d fit; largest before compression: %s",
		r.Kind, r.ID, ErrTooLarge, size, largestItem, strings.Join(large, ", "))
}

// fit encodes the cluster's item into the record.
func (c *Cluster) fit(r *Record) error {
	steps := append([]summary{c.shortenAlerts, c.dropPastMessages, c.shortenTimelines, c.shortenOperation}, c.mergeSteps("cluster/"+c.ID, c.Cluster.Name)...)
	return fit(r, c, steps, func() []part {
		var keys int
		for _, region := range c.CMEK.RegionInfos {
			keys += len(region.KeyInfos)
		}
		return append(c.parts(), partOf(fmt.Sprintf("%d keys", keys), c.CMEK), partOf("open work", c.Work), partOf("alarms", c.Alarms),
			partOf("done versions", c.Done), partOf("description of the cluster", c.Cluster), partOf("dropped work", c.Dropped), partOf("operation", c.Operation))
	})
}

// fit encodes the worker's item into the record.
func (w *Worker) fit(r *Record) error {
	steps := append([]summary{func() {
		w.Alarms = shortenAlarms(w.Alarms)
		w.shortenAlerts()
	}}, w.mergeSteps("worker", "")...)
	return fit(r, w, steps, func() []part { return append(w.parts(), partOf("alarms", w.Alarms)) })
}

// fit encodes the incident's item into the record. Which clusters it lists decides when it has ended, so names and impact go first.
func (i *Incident) fit(r *Record) error {
	return fit(r, i, []summary{
		func() {
			i.Alert.Clusters = slices.Clone(i.Alert.Clusters)
			for n := listedClusters; n < len(i.Alert.Clusters); n++ {
				i.Alert.Clusters[n].Name, i.Alert.Clusters[n].Impact = "", ""
			}
		},
		func() { i.Alert.Shorten(listedClusters) },
	}, func() []part {
		return []part{partOf("affected clusters", i.Alert.Clusters), partOf("events", i.Events), partOf("repair", i.Repair)}
	})
}

// listedClusters is how many clusters a shortened alert lists: more than any channel shows.
const listedClusters = 25

func (c *Cluster) shortenAlerts() {
	c.Alarms = shortenAlarms(c.Alarms)
	c.Outbox.shortenAlerts()
}

func shortenAlarms(alarms []Alarm) []Alarm {
	alarms = slices.Clone(alarms)
	for i := range alarms {
		alarms[i].Alert.Shorten(listedClusters)
	}
	return alarms
}

func (c *Cluster) dropPastMessages() {
	c.CMEK.RegionInfos = slices.Clone(c.CMEK.RegionInfos)
	for i := range c.CMEK.RegionInfos {
		region := &c.CMEK.RegionInfos[i]
		region.KeyInfos = slices.Clone(region.KeyInfos)
		for k := range region.KeyInfos {
			if region.KeyInfos[k].Status == cmek.Disabled {
				region.KeyInfos[k].UserMessage = ""
			}
		}
	}
}

func (c *Cluster) shortenTimelines() {
	c.Work = slices.Clone(c.Work)
	for i := range c.Work {
		w := &c.Work[i]
		if w.State == Requested || w.Request == nil || len(w.Request.Timeline) == 0 {
			continue
		}
		request := *w.Request
		first, last := request.Timeline[:1], request.Timeline[max(1, len(request.Timeline)-1):]
		request.Timeline = slices.Concat(first, last)
		w.Request = &request
	}
}

func (o *Outbox) shortenAlerts() {
	o.Messages = slices.Clone(o.Messages)
	for i, m := range o.Messages {
		if m.Alert != nil {
			a := *m.Alert
			a.Shorten(listedClusters)
			o.Messages[i].Alert = &a
		}
	}
}

func (o *Outbox) parts() []part {
	var alerts, evidence part
	var nAlerts, nEvidence int
	for _, m := range o.Messages {
		if m.Alert != nil {
			nAlerts++
			alerts.size += partOf("", m.Alert).size
		} else {
			nEvidence++
			evidence.size += len(m.Evidence)
		}
	}
	alerts.name, evidence.name = fmt.Sprintf("%d alerts to send", nAlerts), fmt.Sprintf("%d evidence records to archive", nEvidence)
	return []part{alerts, evidence}
}

// mergeSteps merge alerts until only a few are left. The scope is unique to the item; the name is for people.
func (o *Outbox) mergeSteps(scope, name string) (steps []summary) {
	for _, kept := range []int{200, 50, 10, 0} {
		steps = append(steps, func() {
			o.merge(alert.Owners, kept, scope, name)
			o.merge(alert.Operations, kept, scope, name)
		})
	}
	return steps
}

// merge leaves the most urgent alerts for the audience as they are and merges the others into one message in the place of the
// first of them.
func (o *Outbox) merge(audience alert.Audience, kept int, scope, name string) {
	var candidates []int
	for i, m := range o.Messages {
		if m.Alert != nil && m.Alert.Audience == audience {
			candidates = append(candidates, i)
		}
	}
	if len(candidates) <= kept+1 { // to merge one saves nothing
		return
	}
	slices.SortStableFunc(candidates, func(a, b int) int { return cmp.Compare(urgency(*o.Messages[a].Alert), urgency(*o.Messages[b].Alert)) })
	merged := candidates[kept:]
	slices.Sort(merged)

	count, worst := 0, o.Messages[merged[0]]
	sum := sha256.New()
	gone := map[int]bool{}
	for _, i := range merged {
		m := o.Messages[i]
		gone[i] = true
		count += max(m.Merged, 1)
		_, _ = fmt.Fprintf(sum, "%q", m.ID)
		if severityRank(*m.Alert) < severityRank(*worst.Alert) {
			worst = m
		}
	}
	one := mergedAlert(audience, worst, count, scope, name)
	one.ID += "/" + hex.EncodeToString(sum.Sum(nil)[:8])
	var rest []Message
	for i, m := range o.Messages {
		switch {
		case i == merged[0]:
			rest = append(rest, Message{ID: one.ID, Alert: &one, Merged: count})
		case !gone[i]:
			rest = append(rest, m)
		}
	}
	o.Messages = rest
}

// MessagesMerged is what the alert is about that stands for alerts that were merged, MergedRunbook the section about it in the
// README of rotation, whose alerts they are.
const (
	MessagesMerged cmek.Change = "messages merged"
	MergedRunbook  string      = "functions/rotation/README.md#messages-merged"
)

// worstIs stands before the headline of the most urgent of merged messages, where another merge finds it.
const worstIs = " The most urgent of them: "

// mergedAlert says what became of messages that there was no room to keep.
func mergedAlert(audience alert.Audience, worst Message, count int, scope, name string) alert.Alert {
	var of string
	if name != "" {
		of = " about cluster " + name
	}
	said := worst.Alert.Headline()
	if worst.Merged > 0 {
		_, said, _ = strings.Cut(worst.Alert.Impact, worstIs)
	}
	a := alert.Alert{
		ID: "messages-merged/" + scope, DedupKey: "messages-merged/" + scope, Audience: audience, Severity: worst.Alert.Severity, Change: MessagesMerged,
		Summary: fmt.Sprintf("%d messages%s could not be sent for a long time and were merged into this one", count, of),
		Impact:  "They are not sent one by one: incidents that they open or resolve do not change at your pager. Evidence is not affected." + worstIs + said,
		RecoverySteps: []string{
			"Check with \"keyturn status\" and \"keyturn alerts\" what is open now.",
			"Find out why messages could not be sent: see the function's log.",
			"Resolve this incident at your pager by hand.",
		},
		Key: worst.Alert.Key, Clusters: worst.Alert.Clusters, ClusterCount: worst.Alert.ClusterCount, Time: worst.Alert.Time, Runbook: MergedRunbook,
	}
	a.Shorten(listedClusters)
	return a
}

// urgency ranks alerts, the most urgent lowest. The end of an incident ranks with high: who was paged is to know.
func urgency(a alert.Alert) int {
	if a.Resolved {
		return slices.Index(severities, alert.High)
	}
	return severityRank(a)
}

var severities = []alert.Severity{alert.Critical, alert.High, alert.Medium, alert.Low, alert.Info}

// severityRank ranks alerts by what is wrong, the worst lowest. What has ended is not wrong.
func severityRank(a alert.Alert) int {
	if i := slices.Index(severities, a.Severity); i >= 0 && !a.Resolved {
		return i
	}
	return len(severities)
}
