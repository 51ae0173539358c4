package compliance

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/report"
)

// tally is what a run has counted so far. It follows from the parts in the archive alone.
type tally struct {
	Organization string            `json:"organization,omitempty"`
	Accounts     []string          `json:"accounts,omitempty"`
	Population   report.Population `json:"population"`
	Counts       []report.Count    `json:"counts,omitempty"`
	Denied       []report.Denied   `json:"denied,omitempty"`
	// Accepts counts the accepted failures by exception: its check and its subject.
	Accepts map[string]int `json:"accepts,omitempty"`
	Changes report.Changes `json:"changes"`
	Files   []report.File  `json:"files,omitempty"`
	// HubRefused are the first reports that the hub did not take, HubRefusals counts all of them, and Unreported counts failures beyond what is
	// reported at a time.
	HubRefused  []string `json:"hub_refused,omitempty"`
	HubRefusals int      `json:"hub_refusals,omitempty"`
	Unreported  int      `json:"unreported,omitempty"`
	// Seen are the alarms whose subjects the run has reached.
	Seen []string `json:"seen,omitempty"`

	// denied are the refused readings of the part that is being counted.
	denied map[[3]string]bool
}

// What a tally keeps of lists that grow with the fleet.
const (
	mostUnread  = 500
	mostChanges = 50
)

// add counts a finding and what changed with it. alone: it alerted by itself.
func (t *tally) add(f checks.Finding, change report.ChangeKind, alone bool) {
	t.count(f)
	for _, e := range f.Evidence {
		if e.Unread != "" && e.Grant != "" {
			t.deny(e, cmp.Or(e.Of, f.Subject.ClusterID, f.Subject.ID))
		}
	}
	if f.Exception != nil {
		if t.Accepts == nil {
			t.Accepts = map[string]int{}
		}
		t.Accepts[f.Exception.Check+" "+f.Exception.Subject]++
	}
	if account := f.Subject.Account; account != "" && f.Subject.Kind == checks.AccountSubject {
		if i, known := slices.BinarySearch(t.Accounts, account); !known {
			t.Accounts = slices.Insert(t.Accounts, i, account)
		}
	}
	if f.Result == checks.Fail && f.Incident != "" {
		t.Changes.Mirrored++
	}
	switch {
	case change == report.Failed && alone:
		t.Changes.Alone++
		return
	case change == report.Failed:
		if t.Changes.Failed == nil {
			t.Changes.Failed = map[alert.Severity]int{}
		}
		t.Changes.Failed[f.Severity]++
	case change == report.Accepted:
		t.Changes.Accepted++
	case change == report.Recovered:
		t.Changes.Recovered++
	case change == report.Unanswered:
		t.Changes.Unanswered++
	case change == report.Answered:
		t.Changes.Answered++
	default:
		return
	}
	if len(t.Changes.First) < mostChanges {
		t.Changes.First = append(t.Changes.First, report.Change{Kind: change, Check: f.Check, Subject: f.Subject.ID, Severity: f.Severity, Why: brief(f.Why)})
	}
}

func (t *tally) count(f checks.Finding) {
	i, known := slices.BinarySearchFunc(t.Counts, f.Check, func(c report.Count, id string) int { return cmp.Compare(c.Check, id) })
	if !known {
		t.Counts = slices.Insert(t.Counts, i, report.Count{Check: f.Check})
	}
	t.Counts[i].Add(f)
}

// deny counts a reading of something that was refused, once for all checks of a part that rest on it.
func (t *tally) deny(e checks.Evidence, of string) {
	if t.denied == nil {
		t.denied = map[[3]string]bool{}
	}
	call := [3]string{e.Source, e.Grant, of}
	if t.denied[call] {
		return
	}
	t.denied[call] = true
	i, known := slices.BinarySearchFunc(t.Denied, e.Source, func(d report.Denied, source string) int { return cmp.Compare(d.Source, source) })
	if !known {
		t.Denied = slices.Insert(t.Denied, i, report.Denied{Source: e.Source, Grant: e.Grant})
	}
	t.Denied[i].Count++
}

// see counts a cluster that was checked or could not be read.
func (t *tally) see(m report.Member) {
	p := &t.Population
	switch {
	case m.Unread == "":
		p.Checked++
	case len(p.Unread) < mostUnread:
		p.Unread = append(p.Unread, report.Cluster{ID: m.ID, Name: m.Name, Why: brief(m.Unread)})
	default:
		p.UnreadMore++
	}
}

// brief is a text of the length that a summary has room for.
func brief(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return string(bytes.ToValidUTF8([]byte(s[:most]), nil)) + "…"
}

// lines writes a part.
func lines(all []report.Line) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	for _, l := range all {
		if err := e.Encode(l); err != nil {
			return nil, fmt.Errorf("write part: %w", err)
		}
	}
	return out.Bytes(), nil
}

// parse reads a part.
func parse(data []byte) (all []report.Line, err error) {
	for line := range bytes.Lines(data) {
		var l report.Line
		if err := json.Unmarshal(line, &l); err != nil {
			return nil, fmt.Errorf("read part: %w", err)
		}
		all = append(all, l)
	}
	return all, nil
}

// csvOf are the findings and re-encryptions of a part as a table.
func csvOf(all []report.Line) ([]byte, error) {
	part := report.Report{Findings: findingsOf(all)}
	for _, l := range all {
		if l.Proof != nil {
			part.Proofs = append(part.Proofs, *l.Proof)
		}
	}
	var out bytes.Buffer
	err := part.CSV(&out)
	return out.Bytes(), err
}
