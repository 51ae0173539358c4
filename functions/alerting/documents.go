package alerting

import (
	"context"
	"errors"
	"slices"

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
				if use := (Use{c.ID, c.Cluster.AccountID, info.Spec}); !slices.Contains(list, use) {
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
	// started are the names of what is read, so that nothing is read twice.
	started map[string]bool
}

func newDocuments(f *Function, r *reads) *documents {
	return &documents{f: f, r: r, started: map[string]bool{}, Documents: Documents{
		KeyPolicies: map[cmek.KeyURI]Document{}, Trusts: map[cmek.Principal]Document{}, Permissions: map[cmek.Principal]Document{},
		NotedKeyPolicies: map[cmek.KeyURI]Noted{}, NotedTrusts: map[cmek.Principal]Noted{}, NotedPermissions: map[cmek.Principal]Noted{},
		OrganizationID: f.Settings.OrganizationID,
	}}
}

// start begins to read what the judgement of an event needs: the documents that decide about the access of each use.
func (d *documents) start(ctx context.Context, e cmek.Event, all []Use) {
	keys, principals := needed(e, all)
	row, _ := risk.Of(e.Change)
	switch row.Kind {
	case risk.KeyPolicy:
		if e.Policy == "" {
			d.keyPolicy(ctx, e.Key)
		}
		d.noted(string(e.Key), func() (Noted, error) { return d.notedAndChanged(ctx, e, string(e.Key)) },
			func(n Noted) { d.NotedKeyPolicies[e.Key] = n })
		for _, p := range principals {
			d.permissions(ctx, p)
		}
	case risk.Trust, risk.PrincipalDeleted:
		for _, p := range principals {
			if e.Policy == "" && row.Kind == risk.Trust {
				d.trust(ctx, p)
			}
			d.noted(string(p), func() (Noted, error) { return d.notedAndChanged(ctx, e, string(p)) },
				func(n Noted) { d.NotedTrusts[p] = n })
			if row.Kind == risk.PrincipalDeleted {
				d.notedPermissions(ctx, p)
			}
		}
	default:
		for _, p := range principals {
			d.permissions(ctx, p)
			d.notedPermissions(ctx, p)
		}
		for _, key := range keys {
			d.keyPolicy(ctx, key)
		}
	}
}

func (d *documents) notedPermissions(ctx context.Context, p cmek.Principal) {
	name := ledger.RolePolicies(p)
	d.noted(name, func() (Noted, error) { return noted(ctx, d.f.Ledger, name) }, func(n Noted) { d.NotedPermissions[p] = n })
}

// needed are the keys and the principals whose documents decide about an event.
func needed(e cmek.Event, all []Use) (keys []cmek.KeyURI, principals []cmek.Principal) {
	row, _ := risk.Of(e.Change)
	for _, use := range all {
		if row.Kind == risk.KeyPolicy && use.Spec.URI == e.Key || row.Kind == risk.Managed || row.Kind != risk.KeyPolicy && concerns(e, use.Spec.AuthPrincipal) {
			keys, principals = append(keys, use.Spec.URI), append(principals, use.Spec.AuthPrincipal)
		}
	}
	return first(unique(keys), mostDocuments), first(unique(principals), mostDocuments)
}

// NotedDocuments are the documents for the judgement of an event that the ledger holds, for whoever reads no cloud. It writes nothing.
func NotedDocuments(ctx context.Context, l *ledger.Ledger, e cmek.Event, all []Use) (Documents, error) {
	docs := Documents{NotedKeyPolicies: map[cmek.KeyURI]Noted{}, NotedTrusts: map[cmek.Principal]Noted{}, NotedPermissions: map[cmek.Principal]Noted{}}
	var problems []error
	changed := func(name string) Noted {
		n, err := noted(ctx, l, name)
		changes, unread := l.PolicyChanges(ctx, name)
		n.setChanges(changes, unread)
		problems = append(problems, err, unread)
		return n
	}
	row, _ := risk.Of(e.Change)
	_, principals := needed(e, all)
	switch row.Kind {
	case risk.KeyPolicy:
		docs.NotedKeyPolicies[e.Key] = changed(string(e.Key))
	case risk.Trust, risk.PrincipalDeleted:
		for _, p := range principals {
			docs.NotedTrusts[p] = changed(string(p))
		}
	}
	switch row.Kind {
	case risk.Permissions, risk.Boundary, risk.Managed, risk.PrincipalDeleted:
		for _, p := range principals {
			n, err := noted(ctx, l, ledger.RolePolicies(p))
			docs.NotedPermissions[p], problems = n, append(problems, err)
		}
	}
	return docs, errors.Join(problems...)
}

func (d *documents) keyPolicy(ctx context.Context, key cmek.KeyURI) {
	d.once("policy of "+string(key), func() (func(), error) {
		text, err := d.f.Policies.KeyPolicy(ctx, key)
		return func() { d.KeyPolicies[key] = asRead(text, err) }, err
	})
}

func (d *documents) trust(ctx context.Context, p cmek.Principal) {
	d.once("trust policy of "+string(p), func() (func(), error) {
		text, err := d.f.Policies.RoleTrust(ctx, p)
		return func() { d.Trusts[p] = asRead(text, err) }, err
	})
}

func (d *documents) permissions(ctx context.Context, p cmek.Principal) {
	d.once("policies of "+string(p), func() (func(), error) {
		text, err := d.f.Policies.RolePolicies(ctx, p)
		return func() { d.Permissions[p] = asRead(text, err) }, err
	})
}

// once begins to read what, unless it was begun. What could not be read is missing from the documents, and the judge says so.
func (d *documents) once(what string, read func() (func(), error)) {
	if !d.started[what] {
		d.started[what] = true
		d.r.start("", what, read)
	}
}

// asRead is what a read brought. An empty text is none.
func asRead(text string, err error) Document {
	return Document{Text: text, Read: err == nil && text != "", Missing: errors.Is(err, cmek.ErrNotFound)}
}

// noted begins to read what the sweep noted of a document.
func (d *documents) noted(name string, read func() (Noted, error), put func(Noted)) {
	d.once("noted document of "+name, func() (func(), error) {
		n, err := read()
		return func() { put(n) }, err
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
	changes, unnoted := d.f.Ledger.NotePolicyChange(ctx, name, ledger.PolicyChange{Event: e.ID, At: happened(e), Digest: digest(e)})
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
		docs.keyPolicy(ctx, use.Spec.URI)
		docs.trust(ctx, use.Spec.AuthPrincipal)
		docs.permissions(ctx, use.Spec.AuthPrincipal)
	}
	r.finish(ctx)
	row, _ := risk.Of(i.Alert.Change)
	for _, use := range now {
		key, err := f.KMS.Key(ctx, use.Spec.URI)
		if err != nil || !key.State.Usable() {
			return false, err
		}
		switch decision, unread := MayUse(use, docs.Documents); {
		case decision == policy.Denied:
			return false, nil
		case unread != "" && (decision == policy.CannotTell || row.Kind == risk.Permissions || row.Kind == risk.Boundary):
			r.log.Info("incident stays open", "unread", unread) // what was not read may be what is broken
			return false, nil
		case decision == policy.CannotTell && i.Recovered.IsZero():
			return false, nil
		}
	}
	return true, nil
}

// current reports whether a region of the cluster uses the key spec now.
func current(c *ledger.Cluster, spec cmek.KeySpec) bool {
	return slices.ContainsFunc(c.CMEK.RegionInfos, func(r cmek.RegionInfo) bool {
		return slices.ContainsFunc(r.KeyInfos, func(k cmek.KeyInfo) bool { return k.Spec == spec && inUse(k.Status) })
	})
}

// inUse reports whether a key info of that status may be what its region runs on. Only a disabled one is of the past.
func inUse(s cmek.Status) bool { return s != cmek.Disabled }
