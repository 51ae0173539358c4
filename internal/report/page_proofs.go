package report

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// mostOld is how many uses of old versions the page lists, however many keys its timeline shows.
const mostOld = 200

// pageProofs keeps of the re-encryptions that keyturn requested what the page shows: counts, and the uses of old versions. The rest is with the keys
// of the timeline.
type pageProofs struct {
	counts proofCounts
	old    []oldUse
}

type oldUse struct{ Where, Key, Version, Says string }

func (l *pageProofs) add(p Proof) {
	l.counts[p.State]++
	if p.State != OldVersionUsed {
		return
	}
	l.old = append(l.old, oldUse{shown(p.place()), shown(string(p.Key)), versionText(p.Version), shown(p.old())})
	if len(l.old) >= 2*mostOld {
		l.shorten()
	}
}

func (l *pageProofs) shorten() {
	slices.SortFunc(l.old, func(a, b oldUse) int {
		return cmp.Or(cmp.Compare(a.Where, b.Where), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Says, b.Says))
	})
	l.old = l.old[:min(len(l.old), mostOld)]
}

// proofsView is what is known of all re-encryptions.
type proofsView struct {
	Says string
	Old  []oldUse
	// Uses counts the regions that used an old version, More those that are not listed.
	Uses, More int
}

func (l *pageProofs) view() (v proofsView) {
	if l.counts.all() == 0 {
		return v
	}
	l.shorten()
	uses := l.counts[OldVersionUsed]
	return proofsView{l.counts.String(), l.old, uses, uses - len(l.old)}
}

// The states of re-encryptions, as the page shows them.
var proofStateOf = map[ProofState]state{Corroborated: passed, NotYetCorroborated: unrecorded, OldVersionUsed: failed}

// proofView is what stands for a re-encryption.
type proofView struct {
	// State is "" if nothing is known but the re-encryption itself. Class and Word say whether the log corroborates it, also if an old version was
	// used after.
	State       ProofState
	Class, Word string
	// Done says who did it and how that was seen, Log what the cloud's log has, Old how an old version was used.
	Done, Log, Old string
	// Evidence and Record are in the archive.
	Evidence, Record fileLink
	SHA256           string
	oldAt            time.Time
	oldVersion       string
}

// fileLink leads from a page in the archive to a file there; Link is "" on a page that is not there.
type fileLink struct{ Name, Link string }

// linked is the link to a file of the archive from the folder of a run. Names are from outside: one that leads elsewhere is no link.
func (k *keyTimes) linked(name string) fileLink {
	l := fileLink{Name: shown(name)}
	if (strings.HasPrefix(name, "evidence/") || strings.HasPrefix(name, "proofs/")) && path.Clean(name) == name && k.archived {
		l.Link = "../../" + name
	}
	return l
}

// proofOf is what stands for the last re-encryption of a region.
func (k *keyTimes) proofOf(one keyTime, r TimelineRegion) proofView {
	p, known := one.proofs[[2]string{r.Cluster, r.Region}]
	switch {
	case known && p.Version == r.Version && p.DoneAt.Equal(r.At):
	case r.Adopted != "":
		return proofView{Done: "Not by keyturn, which found the region up to date: " + shown(r.Adopted)}
	default:
		return proofView{Done: "Not recorded: who did it, and what the cloud’s log says"}
	}
	v := proofView{State: p.State, Class: proofStateOf[p.logged()].Class(), Word: string(p.logged()), Done: "By keyturn", Old: shown(p.old()), Log: cut(clean(p.log()), 600)}
	if p.Seen != "" {
		v.Done += ": " + shown(p.Seen)
	}
	if p.Evidence != "" {
		v.Evidence, v.SHA256 = k.linked(p.Evidence), shown(p.EvidenceSHA256)
	} else {
		v.Done += "; " + noEvidence
	}
	if p.Record != "" {
		v.Record = k.linked(p.Record)
	}
	if p.OldUse != nil {
		old := p.OldUse.Decrypted
		if old.IsZero() || old == p.Version {
			old = p.OldUse.Encrypted
		}
		v.oldAt, v.oldVersion = p.OldUse.At, versionText(old)
	}
	return v
}

// proofCount is how many re-encryptions of a key are in a state, for its row.
type proofCount struct {
	Class, Word string
	Count       int
	// Of is how many regions the key has, for words; "" if it has one.
	Of string
}

func (k *keyTimes) proofsOf(one keyTime) (all []proofCount) {
	counts := proofCounts{}
	for _, r := range one.Regions {
		counts[k.proofOf(one, r).State]++
	}
	for _, s := range proofStates {
		if n := counts[s]; n > 0 {
			c := proofCount{Class: proofStateOf[s].Class(), Word: string(s), Count: n}
			if len(one.Regions) > 1 {
				c.Of = fmt.Sprintf(", %d of %s", n, plural(len(one.Regions), "region"))
			}
			all = append(all, c)
		}
	}
	return all
}

// proved keeps a proof with its key, until the key is known not to be shown.
func (k *keyTimes) proved(p Proof) {
	if !k.seen[p.Key] {
		k.pending[p.Key] = append(k.pending[p.Key], p)
		return
	}
	if i := slices.IndexFunc(k.kept, func(one keyTime) bool { return one.Key == p.Key }); i >= 0 {
		k.kept[i].prove(p)
	}
}

func (k *keyTime) prove(all ...Proof) {
	if k.proofs == nil {
		k.proofs = map[[2]string]Proof{}
	}
	for _, p := range all {
		k.proofs[[2]string{p.Cluster, p.Region}] = p
	}
}
