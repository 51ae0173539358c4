package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
)

var csvColumns = []string{"check", "title", "result", "severity", "accepted_until", "subject_kind", "subject", "cloud", "cluster_id", "cluster_name",
	"region", "key", "principal", "account", "why", "missing_permissions", "since", "fix", "since_unread",
	"version", "evidence", "evidence_sha256", "corroborated_by", "event", "event_at", "other_causes"}

// reEncryption is the title of the lines about re-encryptions, which are of no check.
const reEncryption = "Re-encryption requested by keyturn"

// CSV writes a line for each finding, and one for each re-encryption that keyturn requested, after a line of names (RFC 4180). Those about
// re-encryptions have no check; their result is what the cloud's log says, and since is when they were done. No cell is a formula to a spreadsheet.
func (r Report) CSV(out io.Writer) error {
	w := csv.NewWriter(out)
	rows := [][]string{csvColumns}
	for _, f := range r.Findings {
		until := ""
		if f.Exception != nil {
			until = f.Exception.Expires.UTC().Format(time.RFC3339)
		}
		rows = append(rows, csvRow(f, until, r.SinceUnread))
	}
	for _, p := range r.Proofs {
		rows = append(rows, csvProof(p))
	}
	if err := w.WriteAll(rows); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

// csvProof is the line of a re-encryption.
func csvProof(p Proof) []string {
	cell := map[string]string{
		"title": reEncryption, "result": string(p.State), "subject_kind": string(checks.RegionSubject), "subject": p.Cluster + "/" + p.Region, "cluster_id": p.Cluster,
		"cluster_name": p.Name, "region": p.Region, "key": string(p.Key), "account": p.Key.Account(), "why": p.Because, "since": p.DoneAt.UTC().Format(time.RFC3339),
		"version": p.Version.String(), "evidence": p.Evidence, "evidence_sha256": p.EvidenceSHA256, "corroborated_by": p.Record, "other_causes": strings.Join(p.OtherCauses, "\n"),
	}
	named := p.Use
	if p.OldUse != nil {
		named, cell["why"] = p.OldUse, p.old()
	}
	if named != nil {
		cell["event"], cell["event_at"] = named.Event, named.At.UTC().Format(time.RFC3339)
	}
	row := make([]string, len(csvColumns))
	for i, column := range csvColumns {
		row[i] = defused(cell[column])
	}
	return row
}

func csvRow(f checks.Finding, until, sinceUnread string) []string {
	since, s := "", f.Subject
	if !f.Since.IsZero() {
		since = f.Since.UTC().Format(time.RFC3339)
	}
	row := []string{f.Check, f.Title, string(f.Result), string(f.Severity), until, string(s.Kind), s.ID, string(s.Cloud), s.ClusterID, s.ClusterName,
		s.Region, string(s.Key), string(s.Principal), s.Account, f.Why, strings.Join(f.Grants, "; "), since, strings.Join(f.Fix, "\n"), sinceUnread, "", "", "", "", "", "", ""}
	for i := range row {
		row[i] = defused(row[i])
	}
	return row
}

// formulas are what begins a formula in a spreadsheet, in the wide forms, too (owasp.org/www-community/attacks/CSV_Injection).
const formulas = "=+-@|%＝＋－＠"

// defused puts an apostrophe before what a spreadsheet would compute, also after blanks, at the start of each line of a cell, and after a
// semicolon, which separates cells where a comma separates decimals.
func defused(cell string) string {
	lines := strings.Split(cell, "\n")
	for i, line := range lines {
		parts := strings.Split(clean(line), ";")
		for j, part := range parts {
			if first := []rune(strings.TrimLeft(part, " '\"")); len(first) > 0 && slices.Contains([]rune(formulas), first[0]) {
				parts[j] = "'" + part
			}
		}
		lines[i] = strings.Join(parts, ";")
	}
	return strings.Join(lines, "\n")
}
