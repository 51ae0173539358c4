package alerting

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/keyturn/keyturn/functions/alerting/risk"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/policy"
)

// Uses lists the keys of the clusters with the principals that they are used by: all key infos, whatever their status.
func Uses(clusters []*ledger.Cluster) (list []Use) {
	for _, c := range clusters {
		for _, region := range c.CMEK.RegionInfos {
			for _, info := range region.KeyInfos {
				if use := (Use{ClusterID: c.ID, CloudAccount: c.Cluster.AccountID, Spec: info.Spec}); !slices.Contains(list, use) {
					list = append(list, use)
				}
			}
		}
	}
	return list
}

// documents are what is being read for a judgement.
type documents struct {
	f *Function
	r *reads
	Documents

	mu sync.Mutex
	// started are the names of what is read, so that nothing is read twice.
	started map[string]bool
	// texts are the documents that were read so far, followers the uses to which each belongs: they may refer to more.
	texts     map[string]string
	followers map[string][]func()
	follows   map[following]bool
}

// following is a use that waits for a document.
type following struct {
	use  Use
	name string
}

func newDocuments(f *Function, r *reads) *documents {
	return &documents{f: f, r: r, started: map[string]bool{}, texts: map[string]string{}, followers: map[string][]func(){}, follows: map[following]bool{}, Documents: Documents{
		Now: map[string]Document{}, Noted: map[string]Noted{}, At: time.Now(), OrganizationID: f.Settings.OrganizationID,
	}}
}

// start begins to read what the judgement of an event needs: the documents that decide about the access of each use.
func (d *documents) start(ctx context.Context, e cmek.Event, all []Use) {
	by, uses := evaluatorOf(e), concerned(e, all)
	for _, name := range by.sets(e, uses) {
		d.noted(name, func() (Noted, error) { return d.notedAndChanged(ctx, e, name) })
		if by.reads(e, name) {
			d.read(ctx, name)
		} else if e.Policy != "" {
			d.mu.Lock()
			d.texts[name] = e.Policy // what it refers to is read
			d.mu.Unlock()
		}
	}
	for _, name := range by.compares(e, uses) {
		d.noted(name, func() (Noted, error) { return noted(ctx, d.f.Ledger, name) })
	}
	for _, use := range uses {
		d.deciding(ctx, use, func(name string) bool { return by.reads(e, name) })
	}
}

// concerned are the uses whose documents decide about an event, as many as are read.
func concerned(e cmek.Event, all []Use) (uses []Use) {
	var keys []cmek.KeyURI
	var principals []cmek.Principal
	by := evaluatorOf(e)
	for _, use := range all {
		if !by.concerns(e, use) {
			continue
		}
		keys, principals = unique(append(keys, use.Spec.URI)), unique(append(principals, use.Spec.AuthPrincipal))
		if len(keys) > mostDocuments || len(principals) > mostDocuments {
			keys, principals = first(keys, mostDocuments), first(principals, mostDocuments)
			continue
		}
		uses = append(uses, use)
	}
	return uses
}

// NotedDocuments are the documents for the judgement of an event that the ledger holds, for whoever reads no cloud. It writes nothing.
func NotedDocuments(ctx context.Context, l *ledger.Ledger, e cmek.Event, all []Use) (Documents, error) {
	docs := Documents{Now: map[string]Document{}, Noted: map[string]Noted{}, At: time.Now()}
	var problems []error
	by, uses := evaluatorOf(e), concerned(e, all)
	for _, name := range by.sets(e, uses) {
		n, err := noted(ctx, l, name)
		changes, unread := l.PolicyChanges(ctx, name)
		n.setChanges(changes, unread)
		docs.Noted[name], problems = n, append(problems, err, unread)
	}
	for _, name := range by.compares(e, uses) {
		n, err := noted(ctx, l, name)
		docs.Noted[name], problems = n, append(problems, err)
	}
	for _, use := range uses {
		problems = append(problems, docs.standIn(ctx, l, e, use))
	}
	return docs, errors.Join(problems...)
}

// deciding begins to read the documents that decide about a use and are wanted, and what they refer to.
func (d *documents) deciding(ctx context.Context, use Use, wanted func(name string) bool) {
	for {
		d.mu.Lock()
		known := maps.Clone(d.texts)
		d.mu.Unlock()
		for _, name := range d.f.Policies.Deciding(use, known) {
			if !wanted(name) {
				continue
			}
			if _, read := known[name]; !read {
				d.mu.Lock()
				if f := (following{use, name}); !d.follows[f] { // else each document would double the followers of those that are read after it
					d.follows[f] = true
					d.followers[name] = append(d.followers[name], func() { d.deciding(ctx, use, wanted) })
				}
				d.mu.Unlock()
			}
			d.read(ctx, name)
		}
		d.mu.Lock()
		more := len(d.texts) > len(known)
		d.mu.Unlock()
		if !more {
			return
		}
	}
}

func (d *documents) read(ctx context.Context, name string) {
	d.once(name, func() (func(), error) {
		text, err := d.f.Policies.Document(ctx, name)
		d.mu.Lock()
		var follow []func()
		if err == nil {
			d.texts[name], follow = text, d.followers[name]
		}
		delete(d.followers, name)
		d.mu.Unlock()
		for _, next := range follow {
			next()
		}
		return func() { d.Now[name] = asRead(text, err) }, err
	})
}

// once begins to read what, unless it was begun. What could not be read is missing from the documents, and the judge says so.
func (d *documents) once(what string, read func() (func(), error)) {
	d.mu.Lock()
	started := d.started[what]
	d.started[what] = true
	d.mu.Unlock()
	if !started {
		d.r.start("", "document "+what, read)
	}
}

// asRead is what a read brought. An empty text is none.
func asRead(text string, err error) Document {
	return Document{Text: text, Read: err == nil && text != "", Missing: errors.Is(err, cmek.ErrNotFound)}
}

// standIn puts what a sweep noted within some hours among the documents as they are now, for whoever reads no cloud. What is older could not
// be read since, and is as if it was not read.
func (d *Documents) standIn(ctx context.Context, l *ledger.Ledger, e cmek.Event, use Use) error {
	known, tried := map[string]string{}, map[string]bool{}
	for found := true; found; {
		found = false
		for _, name := range evaluatorOf(e).noted(e, use, known) {
			if tried[name] {
				continue
			}
			tried[name] = true
			n, err := noted(ctx, l, name)
			if err != nil {
				return err
			}
			if n.Text == "" || time.Since(n.At) > longestNoted {
				continue
			}
			known[name], found = n.Text, true
			d.Now[name] = Document{Text: n.Text, Read: true}
			if d.Oldest.IsZero() || n.At.Before(d.Oldest) {
				d.Oldest = n.At
			}
		}
	}
	return nil
}

// noted begins to read what the sweep noted of a document.
func (d *documents) noted(name string, read func() (Noted, error)) {
	d.once("noted "+name, func() (func(), error) {
		n, err := read()
		return func() { d.Noted[name] = n }, err
	})
}

// noted is what the sweep noted of a document, by its name in the ledger. After an error it is none.
func noted(ctx context.Context, l *ledger.Ledger, name string) (Noted, error) {
	p, err := l.PolicyNoted(ctx, name)
	if err != nil {
		return Noted{}, err
	}
	return Noted{Text: p.Document, Earlier: p.Earlier, At: p.At, Before: p.Before, Since: p.Since, EarlierAt: p.EarlierAt}, nil
}

// notedAndChanged is what the sweep noted of the document that an event set, with the changes that events reported. The event's own is
// noted first: of two that are judged at once, at least one is judged with both.
func (d *documents) notedAndChanged(ctx context.Context, e cmek.Event, name string) (Noted, error) {
	changes, unnoted := d.f.Ledger.NotePolicyChange(ctx, name, ledger.PolicyChange{Event: e.ID, At: happened(e), Digest: evaluatorOf(e).digest(e)})
	n, err := noted(ctx, d.f.Ledger, name)
	n.setChanges(changes, unnoted)
	return n, errors.Join(unnoted, err)
}

func (n *Noted) setChanges(changes []ledger.PolicyChange, err error) {
	n.Unread = err != nil
	for _, c := range changes {
		n.Changes = append(n.Changes, Change(c))
	}
}

// accessible reports whether the clusters of an access incident can use their keys again. What cannot be read is never a good
// sign: the incident stays open until it is read, or until somebody closes it.
func (f *Function) accessible(ctx context.Context, i *ledger.Incident) (bool, error) {
	// Without clusters there is nothing to read: an event must have said that access is back.
	// Nor can those be read that the item had no room to list.
	if (len(i.Alert.Clusters) == 0 || i.Alert.Shortened()) && i.Recovered.IsZero() {
		return false, nil
	}
	r := newReads(f.Log.With("incident", i.DedupKey))
	docs := newDocuments(f, r)
	var now []Use
	for _, affected := range i.Alert.Clusters {
		c, err := f.Ledger.Cluster(ctx, affected.ID)
		if err != nil {
			return false, err
		}
		if c.Gone {
			continue
		}
		known := len(now)
		for _, use := range Uses([]*ledger.Cluster{c}) {
			if current(c, use.Spec) {
				now = append(now, use)
			}
		}
		if len(now) == known {
			return false, nil // what the cluster uses is not known any more
		}
	}
	for _, use := range now {
		docs.deciding(ctx, use, func(string) bool { return true })
	}
	r.finish(ctx)
	row, _ := risk.Of(i.Alert.Change)
	for _, use := range now {
		key, err := f.KMS.Key(ctx, use.Spec.URI)
		if err != nil || !key.State.Usable() {
			return false, err
		}
		switch can := evaluatorFor(use).mayUse(use, docs.Documents); {
		case can.Decision == policy.Denied:
			return false, nil
		case can.onlyAbove && ownDocuments(i.Changes):
		case can.unread != "" && (can.Decision == policy.CannotTell || row.Kind == risk.Permissions || row.Kind == risk.Boundary):
			r.log.Info("incident stays open", "unread", can.unread) // what was not read may be what is broken
			return false, nil
		case can.Decision == policy.CannotTell && i.Recovered.IsZero():
			return false, nil
		}
	}
	return true, nil
}

// ownDocuments reports whether all that broke access was a change of the key's own policy, or of the principal itself: what who reads their
// projects alone may not read, and could not be read before either, then need not be read to see that access is back.
func ownDocuments(changes []cmek.Change) bool {
	return len(changes) > 0 && !slices.ContainsFunc(changes, func(c cmek.Change) bool {
		switch risk.KindOf(c) {
		case risk.KeyPolicy, risk.Trust, risk.PrincipalDeleted:
			return false
		}
		return true
	})
}

// current reports whether a region of the cluster uses the key spec now.
func current(c *ledger.Cluster, spec cmek.KeySpec) bool {
	return slices.ContainsFunc(c.CMEK.RegionInfos, func(r cmek.RegionInfo) bool {
		return slices.ContainsFunc(r.KeyInfos, func(k cmek.KeyInfo) bool { return k.Spec == spec && inUse(k.Status) })
	})
}

// inUse reports whether a key info of that status may be what its region runs on. Only a disabled one is of the past.
func inUse(s cmek.Status) bool { return s != cmek.Disabled }
