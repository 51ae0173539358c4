package ledger

import (
	"slices"
	"time"
)

// SentKept is for how long the times of requests are kept: for longer than the checks look back. mostSent bounds how many.
const (
	SentKept = 8 * 24 * time.Hour
	mostSent = 200
)

// NoteSent notes that a request about the CMEK is about to leave, and forgets what is too old.
func (c *Cluster) NoteSent(at time.Time) {
	sent := slices.DeleteFunc(slices.Clone(c.Sent), func(old time.Time) bool { return at.Sub(old) > SentKept })
	if !slices.ContainsFunc(sent, at.Equal) {
		sent = append(sent, at)
	}
	c.Sent = sent[max(0, len(sent)-mostSent):]
}

// Requests are the times of all requests about the CMEK that are known: those that were noted, the last one of each region and that of an
// operator's command, whatever became of them.
func (c *Cluster) Requests() (all []time.Time) {
	all = slices.Clone(c.Sent)
	for _, w := range c.Work {
		if w.Request != nil {
			all = append(all, w.Request.Sent)
		}
	}
	for _, d := range c.Done {
		all = append(all, d.Sent)
	}
	if c.Operation != nil {
		all = append(all, c.Operation.Since, c.Operation.Sent)
	}
	all = slices.DeleteFunc(all, time.Time.IsZero)
	slices.SortFunc(all, time.Time.Compare)
	return slices.CompactFunc(all, time.Time.Equal)
}
