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

// log says what the cloud's log has of the re-encryption, with what else that may come from, or why it has nothing.
func (p Proof) log() string {
	if p.Record == "" {
		return p.Because
	}
	says := "record " + p.Record
	if p.Use != nil {
		says = "by event " + use(*p.Use)
		if p.Source != "" {
			says += ", in " + p.Source
		}
	}
	if len(p.OtherCauses) > 0 {
		says += ". It may also come from: " + strings.Join(p.OtherCauses, "; ")
	}
	return says
}

// old says how an older version was used.
func (p Proof) old() string {
	if p.OldUse == nil {
		return ""
	}
	return "event " + use(*p.OldUse) + ", after the re-encryption. A restore of a backup from before does the same."
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

// proofs writes the re-encryptions that keyturn requested: the old versions that were used, those without corroboration by their reasons, and the
// others.
func (t *table) proofs(r Report) {
	if len(r.Proofs) == 0 {
		return
	}
	counts, byState := proofCounts{}, map[ProofState][]Proof{}
	for _, p := range r.Proofs {
		counts[p.State]++
		byState[p.State] = append(byState[p.State], p)
	}
	t.line("")
	t.line("%s", counts)
	label := map[ProofState]string{Corroborated: "Corroborated ", NotYetCorroborated: "Not corroborated: "}
	painted := map[ProofState]checks.Result{OldVersionUsed: checks.Fail, NotYetCorroborated: checks.NotApplicable, Corroborated: checks.Pass}
	for _, state := range proofStates {
		for i, p := range byState[state] {
			if i == mostSubjects {
				t.line("  and %d more (see the JSON)", len(byState[state])-i)
				break
			}
			t.line("%s  %s, re-encrypted under %s on %s", t.result(painted[state], string(state)), clean(p.place()), clean(p.Version.Short()), stamp(p.DoneAt))
			if old := p.old(); old != "" {
				t.line("  Old version used: %s", clean(old))
			}
			if says := p.log(); says != "" {
				t.line("  %s%s", label[p.logged()], clean(says))
			}
			t.line("  %s", clean(p.done()))
		}
	}
}

// done says how keyturn knows that its request was carried out, and where its record is.
func (p Proof) done() string {
	says := "Done by keyturn"
	if p.Seen != "" {
		says += " (" + p.Seen + ")"
	}
	if p.Evidence == "" {
		return says + "; " + noEvidence
	}
	return says + ": record " + p.Evidence + ", SHA-256 " + p.EvidenceSHA256
}
