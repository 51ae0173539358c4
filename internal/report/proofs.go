package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
)

// proofStates come with the most urgent first.
var proofStates = []ProofState{OldVersionUsed, NotYetCorroborated, Corroborated}

// place is which region of which cluster it is about.
func (p Proof) place() string { return cmp.Or(p.Name, p.Cluster) + ", " + p.Region }

// noEvidence stands for the record of a re-encryption whose name is not known.
const noEvidence = "no scheduled run has found its record yet"

// logged is whether the log corroborates it, also if an old version was used after.
func (p Proof) logged() ProofState {
	if p.Record == "" {
		return NotYetCorroborated
	}
	return Corroborated
}

// by names the use that corroborates it.
func (p Proof) by() string {
	says := "by the record " + p.Record
	if p.Use != nil {
		says = "by event " + use(*p.Use)
	}
	if p.Source != "" {
		says += ", in " + p.Source
	}
	return says
}

// log says what the cloud's log has of the re-encryption, with what else that may come from, or why it has nothing.
func (p Proof) log() string {
	switch {
	case p.Record == "":
		return p.Because
	case len(p.OtherCauses) == 0:
		return p.by()
	}
	return p.by() + ". It may also come from: " + strings.Join(p.OtherCauses, "; ")
}

// restores is what else uses an old version.
const restores = "A restore of a backup from before the re-encryption does the same."

// old says how an older version was used.
func (p Proof) old() string {
	if p.OldUse == nil {
		return ""
	}
	return "event " + use(*p.OldUse) + ". " + restores
}

// use is a record of a log for people.
func use(u cmek.RecordedUse) string {
	under := ""
	switch {
	case !u.Decrypted.IsZero() && !u.Encrypted.IsZero() && u.Decrypted != u.Encrypted:
		under = " from " + u.Decrypted.Short() + " to " + u.Encrypted.Short()
	case !u.Encrypted.IsZero():
		under = " under " + u.Encrypted.Short()
	case !u.Decrypted.IsZero():
		under = " under " + u.Decrypted.Short()
	}
	return fmt.Sprintf("%s: %s%s by %s on %s", u.Event, u.Operation, under, u.By, stamp(u.At))
}

// proofCounts say of re-encryptions that keyturn requested how many are in each state.
type proofCounts map[ProofState]int

func (c proofCounts) all() (n int) {
	for _, count := range c {
		n += count
	}
	return n
}

// String is the counts in one sentence. Nothing is proved by a log: a use of the new version has other causes, too.
func (c proofCounts) String() string {
	n := c.all()
	says := map[ProofState]string{OldVersionUsed: "an old version was used after %s of them", NotYetCorroborated: "%s not yet corroborated", Corroborated: "%s corroborated"}
	var parts []string
	for _, s := range slices.Backward(proofStates) {
		if c[s] > 0 {
			parts = append(parts, fmt.Sprintf(says[s], number(c[s])))
		}
	}
	return "Re-encryptions that keyturn requested, the last of each region: " + number(n) + "; " + strings.Join(parts, ", ")
}

// proofs writes the re-encryptions that keyturn requested, uses of old versions first. Those that the log does not corroborate for the same reason
// are together.
func (t *table) proofs(r Report) {
	if len(r.Proofs) == 0 {
		return
	}
	type group struct {
		state ProofState
		why   string
	}
	counts, members := proofCounts{}, map[group][]Proof{}
	var order []group
	for _, p := range r.Proofs {
		counts[p.State]++
		g := group{state: p.State}
		if p.State == NotYetCorroborated {
			g.why = p.Because
		}
		if members[g] == nil {
			order = append(order, g)
		}
		members[g] = append(members[g], p)
	}
	slices.SortStableFunc(order, func(a, b group) int {
		return cmp.Compare(slices.Index(proofStates, a.state), slices.Index(proofStates, b.state))
	})
	t.line("")
	t.line("%s", counts)
	painted := map[ProofState]checks.Result{OldVersionUsed: checks.Fail, NotYetCorroborated: checks.NotApplicable, Corroborated: checks.Pass}
	for _, g := range order {
		t.line("")
		head := t.result(painted[g.state], string(g.state))
		if g.why != "" {
			head += "  " + clean(g.why)
		}
		t.line("%s", head)
		for i, p := range members[g] {
			if i == mostSubjects {
				t.line("  and %d more (see the JSON)", len(members[g])-i)
				break
			}
			t.proof(p)
		}
	}
}

func (t *table) proof(p Proof) {
	seen := ""
	if p.Seen != "" {
		seen = " (" + p.Seen + ")"
	}
	t.line("  %s: done by keyturn under %s on %s%s", clean(p.place()), clean(p.Version.Short()), stamp(p.DoneAt), clean(seen))
	if p.OldUse != nil {
		t.line("    old version used by event %s", clean(use(*p.OldUse)))
		t.line("    %s", restores)
		if p.Record == "" {
			t.line("    not corroborated: %s", clean(p.Because))
		}
	}
	if p.Record != "" {
		t.line("    corroborated %s", clean(p.by()))
		if len(p.OtherCauses) > 0 {
			t.line("    it may also come from: %s", clean(strings.Join(p.OtherCauses, "; ")))
		}
		t.line("    %s", clean(p.Record))
	}
	if p.Evidence == "" {
		t.line("    %s", noEvidence)
		return
	}
	t.line("    %s", clean(p.Evidence))
	t.line("    SHA-256 %s", clean(p.EvidenceSHA256))
}
