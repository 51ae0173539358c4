package progress

import (
	"cmp"
	"slices"
	"time"

	"github.com/keyturn/keyturn/functions/keyturn/terminal"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// Track is the way of one piece of work, from due to done.
type Track struct {
	ClusterID string      `json:"cluster_id"`
	Cluster   string      `json:"cluster"`
	Region    string      `json:"region"`
	Key       cmek.KeyURI `json:"key"`
	// Stages are those seen so far, the newest last; Note is what the newest waits for, or how it ended.
	Stages []string `json:"stages"`
	Note   string   `json:"note,omitempty"`
	// At is when the newest stage or note was seen.
	At time.Time `json:"at"`

	since time.Time
	// fresh are the stages reached with the newest look.
	fresh []string
	// intent and sightings tell how much of the work's requests is in Stages already.
	intent    time.Time
	sightings int
}

// last is the newest stage.
func (t *Track) last() string {
	if len(t.Stages) == 0 {
		return ""
	}
	return t.Stages[len(t.Stages)-1]
}

func (t *Track) ended() bool { return t.last() == stageDone || t.last() == stageDropped }

// reach adds a stage unless it is the newest already.
func (t *Track) reach(stage string) {
	if stage != "" && t.last() != stage {
		t.Stages = append(t.Stages, stage)
	}
}

// progress makes tracks out of what the ledger shows from one poll to the next.
type progress struct{ tracks []*Track }

// observe takes what a poll of the ledger shows and returns the tracks that moved, ordered like tracks: by key, cluster and region.
func (p *progress) observe(clusters []*ledger.Cluster, now time.Time) (moved []*Track) {
	for _, c := range clusters {
		for _, w := range c.Work {
			p.open(c, w)
		}
	}
	slices.SortStableFunc(p.tracks, func(a, b *Track) int {
		return cmp.Or(cmp.Compare(a.Key.Canonical(), b.Key.Canonical()), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Region, b.Region))
	})
	byID := map[string]*ledger.Cluster{}
	for _, c := range clusters {
		byID[c.ID] = c
	}
	for _, t := range p.tracks {
		c := byID[t.ClusterID]
		if c == nil || t.ended() {
			continue
		}
		stages, note := len(t.Stages), t.Note
		t.follow(c)
		t.fresh = t.Stages[stages:]
		if len(t.fresh) > 0 || t.Note != note {
			t.At = now
			moved = append(moved, t)
		}
	}
	return moved
}

// open begins a track for work that has none.
func (p *progress) open(c *ledger.Cluster, w ledger.Work) {
	known := func(t *Track) bool {
		return t.ClusterID == c.ID && t.Region == w.Region && t.since.Equal(w.Since)
	}
	if !slices.ContainsFunc(p.tracks, known) {
		p.tracks = append(p.tracks, &Track{ClusterID: c.ID, Cluster: terminal.ClusterName(c), Region: w.Region, Key: w.Key, since: w.Since})
	}
}

// follow brings the track up to what the cluster's item shows.
func (t *Track) follow(c *ledger.Cluster) {
	for _, w := range c.Work {
		if w.Region == t.Region && w.Since.Equal(t.since) {
			t.followRequest(w.Request)
			if w.Reason != "status "+t.last() { // the stage says it already
				t.Note = terminal.Printable(w.Reason)
			}
			if w.State != ledger.Requested {
				t.reach(string(w.State))
			} else if !w.Request.StuckSince.IsZero() {
				t.reach(StageStuck)
			}
			return
		}
	}
	// The work is closed: what closed it stands in the same item.
	if done, ok := c.DoneIn(t.Region); ok && done.Followed && done.At.After(t.since) && done.Key.SameKey(t.Key) {
		t.reach(string(cmek.Enabled)) // work is done only when the region reads ENABLED
		t.reach(stageDone)
		t.Note = terminal.Printable(done.Evidence)
		return
	}
	t.reach(stageDropped)
	for _, d := range c.Dropped {
		if d.Region == t.Region && !d.At.Before(t.since) {
			t.Note = terminal.Printable(d.Reason)
		}
	}
}

// followRequest adds what was seen of the newest PUT.
func (t *Track) followRequest(r *ledger.Request) {
	if r == nil {
		return
	}
	if !t.intent.Equal(r.Intent) {
		t.intent, t.sightings = r.Intent, 0
		t.reach(StageRequested)
	}
	for _, seen := range r.Timeline[min(t.sightings, len(r.Timeline)):] {
		t.reach(string(seen.Region))
	}
	t.sightings = len(r.Timeline)
}

// Words for where a region stands, beside the Cloud API's own statuses.
const (
	StageRequested = string(ledger.Requested)
	stageBlocked   = string(ledger.Blocked)
	StageStuck     = "stuck"
	stageDone      = "done"
	stageDropped   = "dropped"
	StageUpToDate  = "up to date"
	StageNotShown  = "not shown"
	StageOnHold    = "on hold"
	StageAtRisk    = "at risk"
)

// State colors a word for the state of a region: green is healthy, yellow is on its way, red needs attention.
func State(c terminal.Palette, s string) string {
	status := cmek.Status(s)
	switch {
	case s == stageDropped, status == cmek.Disabled: // a cluster without CMEK reads DISABLED
		return c.Dim(s)
	case s == stageDone, s == StageUpToDate, status == cmek.Enabled:
		return c.Green(s)
	case s == stageBlocked, s == StageStuck, s == StageNotShown, s == StageAtRisk, status.Failed(), status.HandsOff():
		return c.Red(s)
	}
	return c.Yellow(s)
}
