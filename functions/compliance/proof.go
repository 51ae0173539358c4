package compliance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

// prove looks for the re-encryptions of the part's clusters in the clouds' logs. What it finds is in the ledger and in the archive when it
// returns, whatever becomes of the part. What it does not find is no error.
func (r *run) prove(ctx context.Context, g *gatherer) (all []report.Proof, err error) {
	for _, c := range g.facts.Clusters {
		item, err := g.item(ctx, c.ID)
		if err != nil || item == nil || !slices.ContainsFunc(item.Done, provable) {
			continue // that the ledger is not read is a finding of its own
		}
		proofs, err := r.Ledger.Proofs(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		if err := r.deliverProofs(ctx, proofs); err != nil { // what a run before has left
			return nil, err
		}
		for _, done := range item.Done {
			if !provable(done) {
				continue
			}
			if err := r.proveOne(ctx, g, c, item, proofs, done); err != nil {
				return nil, err
			}
			all = append(all, proofOf(item.Cluster, done, proofs.In(done.Region)))
		}
		if err := r.Ledger.SaveProofs(ctx, proofs); err != nil {
			return nil, err
		}
		if err := r.deliverProofs(ctx, proofs); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// provable reports whether it is a re-encryption that our request brought about, under a version that is known.
func provable(d ledger.Done) bool { return d.Followed && !d.Version.IsZero() }

// proveOne brings what is known of one re-encryption up to date.
func (r *run) proveOne(ctx context.Context, g *gatherer, c checks.Cluster, item *ledger.Cluster, proofs *ledger.Proofs, done ledger.Done) error {
	now := time.Now().UTC()
	e := g.reEncryption(c, item, done)
	before := proofs.In(done.Region)
	if !before.Of(done) {
		before = ledger.Proof{}
	}
	because, rests := e.rested(before, now)
	if rests && before.Record != "" {
		return nil
	}
	var denied error
	if !rests || before.Evidence == "" {
		if denied = r.recordOf(ctx, &e); denied != nil && !errors.Is(denied, cmek.ErrDenied) {
			return denied
		}
	}
	if rests {
		is, _, _ := judgeProof(before, e, look{unread: because}, now)
		proofs.Set(is)
		return nil
	}
	log, source := g.useLog(done.Key)
	l := look{}
	switch {
	case denied != nil:
		l.unread = "the record of the re-encryption could not be read: " + denied.Error()
	case e.name == "":
		l.unread = "the record of the re-encryption is not in the archive yet"
	case log == nil:
		l.unread = "this run does not read " + source
	default:
		uses, err := log.RecordedUses(ctx, done.Key, e.since(before))
		l = look{uses: uses, unread: read(g, uses, err, source, "").Unread}
	}
	is, proof, old := judgeProof(before, e, l, now)
	if proof != nil {
		record := corroboration{
			Schema: corroborationSchema, Finding: corroborated, ClusterID: c.ID, ClusterName: item.Cluster.Name, Region: done.Region, Key: done.Key,
			Version: done.Version, DoneAt: done.At, Corroborates: corroboratedRecord{e.name, e.sha256}, Use: *proof, Source: source, ReadAt: now,
			OtherCauses: e.otherCauses(),
		}
		var failed error
		is.At, is.Use, is.Source, is.OtherCauses = now, *proof, source, record.OtherCauses
		is.Record = proofs.Link(now, done.Region, func(number int, previous string) []byte {
			record.Number, record.PreviousSHA256 = number, previous
			data, err := json.MarshalIndent(record, "", "  ")
			failed = err
			return data
		})
		if failed != nil {
			return fmt.Errorf("encode record of a proof: %w", failed)
		}
	}
	if old != nil {
		is.OldUse = *old
		proofs.Tell(oldUseAlert(e, *old))
	}
	proofs.Set(is)
	return nil
}

// useLog is the log of the key's cloud, nil if it is not read.
func (g *gatherer) useLog(uri cmek.KeyURI) (log UseLog, source string) {
	if uri.Type() == cmek.GCPCloudKMS {
		return g.Google.Log, "Data Access logs of Cloud KMS"
	}
	return g.AWS.Log, "AWS CloudTrail LookupEvents"
}

// reEncryption gathers what the proof of one rests on, but for its record.
func (g *gatherer) reEncryption(c checks.Cluster, item *ledger.Cluster, done ledger.Done) reEncryption {
	e := reEncryption{cluster: item.Cluster, done: done}
	for _, region := range c.CMEK.Value.RegionInfos {
		for _, k := range region.KeyInfos {
			if region.Region == done.Region && k.Spec.URI == done.Key && checks.InForce(k.Status) {
				e.principal = k.Spec.AuthPrincipal
			}
		}
	}
	for _, k := range g.facts.Keys {
		if k.URI == done.Key {
			e.key = k
		}
	}
	for _, u := range g.uses[done.Key.Canonical()] {
		if u.Spec.AuthPrincipal.Same(e.principal) && (u.ClusterID != c.ID || u.Region != done.Region) {
			e.others = append(e.others, u)
		}
	}
	return e
}

// recordOf finds rotation's record of the re-encryption: the last one of its region about the same version and time. Without one the name
// stays "".
func (r *run) recordOf(ctx context.Context, e *reEncryption) error {
	var names []string
	for s, err := range r.Archive.List(ctx, ledger.EvidenceFolder+e.cluster.ID+"/") {
		if err != nil {
			return fmt.Errorf("list evidence of cluster %s: %w", e.cluster.ID, err)
		}
		if strings.HasSuffix(s.Name, "-"+e.done.Region+".json") {
			names = append(names, s.Name)
		}
	}
	for _, name := range slices.Backward(names) {
		data, err := r.Archive.Read(ctx, name, "")
		if errors.Is(err, cmek.ErrNotFound) {
			continue // it was deleted, which "evidence verify" finds
		}
		if err != nil {
			return err
		}
		var record struct {
			Region   string          `json:"region"`
			Key      cmek.KeyURI     `json:"key"`
			Version  cmek.KeyVersion `json:"key_version"`
			Previous cmek.KeyVersion `json:"previous_key_version"`
			DoneAt   time.Time       `json:"done_at"`
		}
		if json.Unmarshal(data, &record) != nil {
			continue // "evidence verify" finds that, too
		}
		if (ledger.Proof{Region: record.Region, Key: record.Key, Version: record.Version, DoneAt: record.DoneAt}).Of(e.done) {
			sum := sha256.Sum256(data)
			e.name, e.sha256, e.previous = name, hex.EncodeToString(sum[:]), record.Previous
			return nil
		}
	}
	return nil
}

// deliverProofs archives and publishes what waits in the item's outbox.
func (r *run) deliverProofs(ctx context.Context, p *ledger.Proofs) error {
	if len(p.Messages) == 0 {
		return nil
	}
	delivered := map[string]bool{}
	var failed error
	for _, m := range p.Messages {
		var err error
		if m.Alert != nil {
			err = r.Notifier.Notify(ctx, *m.Alert)
		} else {
			err = r.Archive.PutIfAbsent(ctx, m.ID, m.Evidence)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("deliver %s: %w", m.ID, err))
			continue
		}
		delivered[m.ID] = true
	}
	p.Clear(delivered)
	return errors.Join(failed, r.Ledger.SaveProofs(ctx, p))
}

// proofs are what the ledger has, for a check on demand. The findings do not rest on them: what could not be read is said of each.
func (g *gatherer) proofs(ctx context.Context) (all []report.Proof) {
	for _, c := range g.facts.Clusters {
		item, err := g.item(ctx, c.ID)
		if err != nil || item == nil || !slices.ContainsFunc(item.Done, provable) {
			continue
		}
		missing := "no scheduled run has looked for it yet"
		proofs, err := g.Ledger.Proofs(ctx, c.ID)
		if err != nil {
			missing = "what scheduled runs have found could not be read: " + brief(err.Error())
			proofs = &ledger.Proofs{}
		}
		for _, done := range item.Done {
			switch p := proofs.In(done.Region); {
			case !provable(done):
			case p.Of(done):
				all = append(all, proofOf(item.Cluster, done, p))
			default:
				all = append(all, proofOf(item.Cluster, done, ledger.Proof{Region: done.Region, Key: done.Key, Version: done.Version, DoneAt: done.At,
					Because: missing}))
			}
		}
	}
	return all
}
