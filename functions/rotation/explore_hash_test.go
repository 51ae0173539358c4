package rotation

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// modelPrint identifies a state: two states with one print have the same future. Times are kept relative to now, and no further back than
// any decision looks; texts, records and what was delivered are left out, since nothing is decided by them. The two workers are
// alike, so their order does not count.
type modelPrint [16]byte

type printer struct {
	buf []byte
	now time.Time
}

// Longer ago than this makes no difference.
const (
	longestMemory = 3 * time.Hour                // of anything but updated_at: stuckAfter is 2 h, graceMax 1 h
	updatedMemory = 26 * time.Hour               // of updated_at, which is compared with others
	versionMemory = lagLimit + time.Minute       // of when a version was first seen
	finalMemory   = confirmMin + 10*time.Second  // of the first read of a state of rest
	claimMemory   = answerWithin + 5*time.Second // of a claim
)

func (p *printer) num(n int)    { p.buf = append(p.buf, byte(n)) }
func (p *printer) str(s string) { p.buf = append(append(p.buf, s...), 0) }
func (p *printer) flag(b ...bool) {
	for _, b := range b {
		if b {
			p.buf = append(p.buf, 1)
		} else {
			p.buf = append(p.buf, 0)
		}
	}
}

// at adds a time relative to now, no more than memory ago.
func (p *printer) at(t time.Time, memory time.Duration) {
	if t.IsZero() {
		p.buf = append(p.buf, 0xff)
		return
	}
	d := min(max(t.Sub(p.now), -memory), longestMemory)
	p.buf = binary.AppendVarint(p.buf, int64(d/time.Second))
}

// from adds a time that matters only while it lies ahead.
func (p *printer) from(t time.Time) {
	if !t.IsZero() && t.Before(p.now) {
		t = p.now
	}
	p.at(t, 0)
}

func (m *model) print(v variant) modelPrint {
	p := &printer{buf: make([]byte, 0, 768), now: m.now}
	for _, k := range []modelKey{m.key, m.keyOld} {
		p.num(k.version)
		p.flag(k.disabled)
	}
	p.at(m.key.rotated, modelSettle())
	p.at(m.keyTurn, tickLength)
	p.at(m.swept, 15*time.Minute)
	for _, n := range []int{m.rotations, m.disables, m.failures, m.others} {
		p.num(n)
	}
	p.flag(m.moves)
	for _, e := range m.events {
		p.at(e.Time, longestMemory)
	}
	for i := range m.clouds {
		p.cloud(&m.clouds[i])
		p.item(m.items[i], v)
	}
	for _, a := range m.audits {
		p.num(a.cluster)
		p.str(a.region)
		p.num(a.version)
		p.flag(a.accepted > a.ended, a.known, a.seen)
	}
	var workers [][]byte
	for i := range m.workers {
		q := &printer{now: m.now}
		q.worker(m, &m.workers[i], v)
		workers = append(workers, q.buf)
	}
	slices.SortFunc(workers, bytes.Compare)
	for _, w := range workers {
		p.num(len(w))
		p.buf = append(p.buf, w...)
	}
	for _, o := range m.orphans {
		p.request(o)
	}
	sum := sha256.Sum256(p.buf)
	return modelPrint(sum[:16])
}

func (p *printer) cloud(c *modelCloud) {
	for _, r := range c.regions {
		p.str(string(r.status))
		p.str(string(r.keyStatus))
		p.at(r.updated, updatedMemory)
		p.num(r.wrapped)
		p.num(r.running)
		p.num(r.sentFor)
		p.num(keyNumber(r.uri))
		p.flag(r.to != "", r.moved, r.spoiled)
		p.num(keyNumber(r.to))
		for _, past := range r.past {
			p.num(keyNumber(past.uri))
			p.at(past.updated, updatedMemory)
		}
	}
	p.flag(c.failed)
	p.num(c.others)
	for _, v := range c.fresh(p.now) {
		p.at(v.until, staleFor)
		p.num(v.others)
		p.info(v.info)
		p.str(v.cluster.OperationStatus)
	}
}

func (p *printer) info(info cmek.ClusterInfo) {
	for _, r := range info.RegionInfos {
		p.str(string(r.Status))
		for _, k := range r.KeyInfos {
			p.str(string(k.Status))
			p.at(k.UpdatedAt, updatedMemory)
			p.num(keyNumber(k.Spec.URI))
		}
	}
}

func (p *printer) item(c *ledger.Cluster, v variant) {
	p.str(c.Cluster.State)
	p.str(c.Cluster.OperationStatus)
	p.info(c.CMEK)
	p.works(c.Work, v)
	for _, d := range c.Done {
		p.str(d.Region)
		p.num(versionNumber(d.Version))
		p.flag(d.Followed)
		p.num(keyNumber(d.Key))
	}
	for _, e := range c.Orders {
		p.flag(e.Done, !e.Undone.IsZero())
	}
	for _, a := range c.Alarms {
		p.str(a.Key)
	}
	p.at(c.Older.Since, longestMemory)
	p.num(c.Older.Count)
	p.str(c.Older.Print)
	p.num(min(c.Failures, 8))
	p.from(c.NextLook)
	p.num(0xee)
}

func (p *printer) works(works []ledger.Work, v variant) {
	for _, w := range works {
		p.str(w.Region)
		p.num(versionNumber(w.Version))
		p.str(string(w.State))
		p.str(w.Trigger.Kind)
		p.at(w.Trigger.Time, longestMemory)
		if v.twoClusters {
			p.at(w.Since, longestMemory)
			p.at(w.RefusedSince, longestMemory)
		} else {
			p.at(w.Since, versionMemory)
		}
		p.at(w.VersionSeen, versionMemory)
		p.from(w.NotBefore)
		p.num(min(w.Attempts, 8))
		p.num(w.Failed)
		p.num(w.Lost)
		p.flag(w.Detained, w.Retried, w.Announced, w.Claim != nil, w.Order != "")
		p.num(keyNumber(w.Key))
		if w.Claim != nil {
			p.at(w.Claim.Intent, claimMemory)
		}
		p.ledgerRequest(w.Request, v)
	}
	p.num(0xef)
}

func (p *printer) ledgerRequest(r *ledger.Request, v variant) {
	if r == nil {
		p.num(0)
		return
	}
	p.at(r.Intent, longestMemory)
	p.at(r.Sent, longestMemory)
	if b := r.Baseline; b != nil {
		p.str(string(b.Region))
		p.str(string(b.Key))
		p.at(b.UpdatedAt, updatedMemory)
		p.str(b.Operation)
	}
	if a := r.Answer; a != nil {
		p.str(string(a.Outcome))
		p.flag(a.HTTPStatus == 0)
	}
	if v.twoClusters {
		p.at(r.Answered, longestMemory)
	}
	p.str(r.Evidence.Kind)
	p.str(string(r.Final.Status))
	p.at(r.Final.Since, finalMemory)
	p.flag(r.Ended, r.GivenUp, !r.StuckSince.IsZero())
}

func (p *printer) request(r modelPUT) {
	p.num(r.cluster)
	for i, spec := range r.specs {
		p.str(spec.Region)
		p.num(keyNumber(spec.KeySpec.URI))
		p.num(r.sentFor[i])
	}
	p.num(r.others)
	p.at(r.intent, longestMemory)
}

func (p *printer) worker(m *model, w *modelWorker, v variant) {
	p.num(int(w.phase))
	if w.phase == isIdle {
		return
	}
	p.num(w.cluster)
	p.at(w.began, longestMemory)
	p.at(w.intent, longestMemory)
	for _, spec := range w.put {
		p.str(spec.Region)
		p.num(keyNumber(spec.KeySpec.URI))
	}
	p.flag(w.unread)
	p.num(w.others)
	switch w.phase {
	case hasPolled, hasVisited, hasReread:
		p.reads(m, w.reads, v)
	case isSending:
		p.request(w.request)
	case isAnswered:
		p.request(w.request)
		p.str(string(w.answer.Outcome))
		p.num(w.answer.HTTPStatus % 251)
		if w.answer.Outcome == cmek.Accepted {
			p.info(w.answer.Info)
		}
	case takesBack:
		p.works(w.before, v)
	}
}

func (p *printer) reads(m *model, r Reads, v variant) {
	p.at(r.At, longestMemory)
	p.flag(r.UpdatedAtMoves, r.Cluster != nil, r.CMEK != nil)
	if r.Cluster != nil {
		p.str(r.Cluster.OperationStatus)
	}
	if r.CMEK != nil {
		p.info(*r.CMEK)
	}
	p.num(len(r.Moves))
	for _, move := range r.Moves {
		p.str(string(move.From.Key.Key.State))
	}
	for _, c := range m.clouds[0].regions {
		if f, ok := r.Keys[c.uri]; ok {
			p.num(versionNumber(f.Key.Version))
			p.str(string(f.Key.State))
		}
	}
	if !v.twoClusters {
		return
	}
	for _, c := range r.Fleet[eastKey.Canonical()] {
		if slices.Contains(m.items, c) {
			p.num(1)
		} else {
			p.item(c, v)
		}
	}
}
