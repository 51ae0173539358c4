package evidence_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"crypto/sha256"
	"encoding/hex"

	"github.com/keyturn/keyturn/functions/compliance/evidence"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// world is an archive with the ledger that belongs to it.
type world struct {
	t       *testing.T
	archive *cmektest.Archive
	ledger  *ledger.Ledger
}

func newWorld(t *testing.T) *world {
	w := &world{t, &cmektest.Archive{}, ledger.New(cmektest.NewStore(), rand.New(rand.NewPCG(1, 2)))}
	for _, cluster := range []string{"a", "b"} {
		w.follow(cluster, start, 4)
	}
	w.prove("a", 4)
	for range 3 {
		w.run()
	}
	return w
}

func name(cluster string, start time.Time, n int) string {
	return fmt.Sprintf("evidence/%s/%s-%06d-us-east-1.json", cluster, start.Format("20060102T150405Z"), n)
}

// follow archives records of a cluster's re-encryptions, as rotation does, and notes the end of the chain.
func (w *world) follow(cluster string, start time.Time, count int) {
	w.t.Helper()
	_, err := w.ledger.UpdateCluster(w.t.Context(), cluster, func(c *ledger.Cluster) error {
		c.NextLook = start
		if !c.Chain.Start.Equal(start) {
			c.Chain = ledger.Chain{Start: start}
		}
		for range count {
			data, err := json.MarshalIndent(rotation.Evidence{Schema: rotation.EvidenceSchema, Number: c.Chain.Count + 1, PreviousSHA256: c.Chain.Last, ClusterID: cluster}, "", "  ")
			if err != nil {
				return err
			}
			c.Chain.Count, c.Chain.Last = c.Chain.Count+1, sum(data)
			if err := w.archive.PutIfAbsent(w.t.Context(), name(cluster, start, c.Chain.Count), data); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func proofName(n int) string {
	return fmt.Sprintf("proofs/a/%s-%06d-us-east-1.json", start.Format("20060102T150405Z"), n)
}

// prove archives the proofs of the cluster's first records, as compliance does.
func (w *world) prove(cluster string, count int) {
	w.t.Helper()
	proofs, err := w.ledger.Proofs(w.t.Context(), cluster)
	if err != nil {
		w.t.Fatal(err)
	}
	for n := 1; n <= count; n++ {
		of := name(cluster, start, n)
		proofs.Link(start, "us-east-1", func(number int, previous string) []byte {
			return fmt.Appendf(nil, `{"schema":"keyturn.corroboration/v1","number":%d,"previous_sha256":%q,"corroborates":{"name":%q,"sha256":%q}}`, number, previous, of, sum(w.data(of)))
		})
	}
	for _, m := range proofs.Messages {
		if err := w.archive.PutIfAbsent(w.t.Context(), m.ID, m.Evidence); err != nil {
			w.t.Fatal(err)
		}
	}
	proofs.Outbox = ledger.Outbox{}
	if err := w.ledger.SaveProofs(w.t.Context(), proofs); err != nil {
		w.t.Fatal(err)
	}
}

// run archives a run with two files, and notes its end.
func (w *world) run() {
	w.t.Helper()
	ctx := w.t.Context()
	runs, err := w.ledger.Runs(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	runs.Start, runs.Number = start, runs.Number+1
	m := report.Manifest{Schema: report.ManifestSchema, Run: runs.Number, ChainStart: start, PreviousSHA256: runs.Manifest, Complete: true}
	put := func(name string, data []byte) {
		if err := w.archive.PutIfAbsent(ctx, name, data); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, extension := range []string{".csv", ".jsonl"} {
		file := report.PartName(start, runs.Number, 1, extension)
		data := fmt.Appendf(nil, "%s of run %d", extension, runs.Number)
		put(file, data)
		m.Files = append(m.Files, report.File{Name: file, SHA256: sum(data), Bytes: len(data)})
	}
	items, err := w.ledger.Clusters(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range items {
		m.Chains = append(m.Chains, report.Head{Cluster: c.ID, Start: c.Chain.Start, Count: c.Chain.Count, SHA256: c.Chain.Last})
		proofs, err := w.ledger.Proofs(ctx, c.ID)
		if err != nil {
			w.t.Fatal(err)
		}
		if proofs.Chain.Count > 0 {
			m.Chains = append(m.Chains, report.Head{Cluster: c.ID, Of: report.OfProofs, Start: proofs.Chain.Start, Count: proofs.Chain.Count, SHA256: proofs.Chain.Last})
		}
	}
	data, err := m.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	put(report.ManifestName(start, runs.Number), data)
	runs.Manifest = sum(data)
	if err := w.ledger.SaveRuns(ctx, runs); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) verify(withLedger bool) evidence.Verification {
	w.t.Helper()
	var heads evidence.Heads
	if withLedger {
		var err error
		if heads, err = evidence.HeadsOf(w.t.Context(), w.ledger); err != nil {
			w.t.Fatal(err)
		}
	}
	v, err := evidence.Verify(w.t.Context(), w.archive, heads)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *world) data(name string) []byte {
	w.t.Helper()
	data, ok := w.archive.Data(name)
	if !ok {
		w.t.Fatalf("%s is not there", name)
	}
	return data
}

func TestVerify_of_an_untouched_archive(t *testing.T) {
	w := newWorld(t)
	if err := w.archive.PutIfAbsent(t.Context(), "policies/x.json", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	v := w.verify(true)
	if len(v.Problems) > 0 || len(v.Notes) > 0 || v.Records != 8 || v.Proofs != 4 || v.Runs != 3 || v.Files != 6 || v.Others != 1 {
		t.Errorf("%+v", v)
	}
	// Without the ledger the last manifest is vouched for by nothing but a hash that somebody has.
	v = w.verify(false)
	if len(v.Problems) != 1 || v.Problems[0].Kind != evidence.Unanchored || !strings.Contains(v.Problems[0].Name, "runs") {
		t.Errorf("%+v", v.Problems)
	}
	heads := evidence.Heads{Manifest: sum(w.data(report.ManifestName(start, 3)))}
	if v, err := evidence.Verify(t.Context(), w.archive, heads); err != nil || len(v.Problems) > 0 {
		t.Errorf("%+v, %v", v, err)
	}
	heads.Manifest = strings.Repeat("0", 64)
	if v, err := evidence.Verify(t.Context(), w.archive, heads); err != nil || !slices.ContainsFunc(v.Problems, func(p evidence.Problem) bool { return p.Kind == evidence.Missing }) {
		t.Errorf("%+v, %v", v, err)
	}
}

// Each kind of tampering, at the first, a middle and the last record of each chain, is found with and without the ledger.
func TestVerify_finds_what_was_tampered_with(t *testing.T) {
	record := func(n int) string { return name("a", start, n) }
	manifest := func(n int) string { return report.ManifestName(start, n) }
	chains := []struct {
		name string
		of   func(int) string
		last int
	}{{"records", record, 4}, {"proofs", proofName, 4}, {"manifests", manifest, 3}}
	attacks := []struct {
		name string
		kind evidence.Kind
		on   func(n, last int) bool // where it makes sense
		do   func(w *world, of func(int) string, n int)
	}{
		{"altered", evidence.Altered, nil, func(w *world, of func(int) string, n int) {
			w.archive.Tamper(of(n), bytes.Replace(w.data(of(n)), []byte(`"schema"`), []byte(`"x": 1, "schema"`), 1))
		}},
		{"missing", evidence.Missing, func(n, last int) bool { return n < last }, func(w *world, of func(int) string, n int) { w.archive.Tamper(of(n), nil) }},
		{"cut", evidence.Cut, nil, func(w *world, of func(int) string, n int) {
			for ; ; n++ {
				if _, ok := w.archive.Data(of(n)); !ok {
					return
				}
				w.archive.Tamper(of(n), nil)
			}
		}},
		{"reordered", evidence.Reordered, func(n, last int) bool { return n < last }, func(w *world, of func(int) string, n int) {
			one, two := w.data(of(n)), w.data(of(n+1))
			w.archive.Tamper(of(n), two)
			w.archive.Tamper(of(n+1), one)
		}},
		{"overwritten", evidence.Shadowed, nil, func(w *world, of func(int) string, n int) { w.archive.Overwrite(of(n), []byte("{}")) }},
		{"overwritten with the same", evidence.Shadowed, nil, func(w *world, of func(int) string, n int) { w.archive.Overwrite(of(n), w.data(of(n))) }},
		{"deleted", evidence.Shadowed, nil, func(w *world, of func(int) string, n int) { w.archive.Delete(of(n)) }},
		{"emptied", evidence.Unreadable, nil, func(w *world, of func(int) string, n int) { w.archive.Tamper(of(n), []byte{}) }},
		{"replaced by something else", evidence.Unreadable, nil, func(w *world, of func(int) string, n int) { w.archive.Tamper(of(n), []byte(`{"number":1}`)) }},
	}
	for _, chain := range chains {
		for _, a := range attacks {
			for n := 1; n <= chain.last; n++ {
				if a.on != nil && !a.on(n, chain.last) {
					continue
				}
				for _, withLedger := range []bool{true, false} {
					// Of the manifests, the end is known to the ledger, or to who has the hash of the last message.
					if !withLedger && chain.name == "manifests" && (a.kind == evidence.Cut || a.kind == evidence.Altered && n == chain.last) {
						continue
					}
					t.Run(fmt.Sprintf("%s/%s/%d/ledger=%t", chain.name, a.name, n, withLedger), func(t *testing.T) {
						w := newWorld(t)
						a.do(w, chain.of, n)
						v := w.verify(withLedger)
						if !slices.ContainsFunc(v.Problems, func(p evidence.Problem) bool { return p.Kind == a.kind }) {
							t.Errorf("%+v", v.Problems)
						}
					})
				}
			}
		}
	}
}

func TestVerify_of_the_files_of_a_run(t *testing.T) {
	file := report.PartName(start, 2, 1, ".csv")
	for _, tt := range []struct {
		name string
		do   func(*world)
		kind evidence.Kind
		of   string
	}{
		{"altered", func(w *world) { w.archive.Tamper(file, []byte("x")) }, evidence.Altered, file},
		{"missing", func(w *world) { w.archive.Tamper(file, nil) }, evidence.Missing, file},
		{"overwritten", func(w *world) { w.archive.Overwrite(file, []byte("x")) }, evidence.Shadowed, file},
		{"more than the manifest names", func(w *world) { w.archive.Overwrite(report.PartName(start, 2, 2, ".csv"), []byte("x")) }, evidence.Foreign, report.PartName(start, 2, 2, ".csv")},
		{"a name of no run", func(w *world) { w.archive.Overwrite("runs/x/manifest.json", []byte("x")) }, evidence.Foreign, "runs/x/manifest.json"},
		{"a name of no record", func(w *world) { w.archive.Overwrite("evidence/a/x.json", []byte("x")) }, evidence.Foreign, "evidence/a/x.json"},
		{"a name of no proof", func(w *world) { w.archive.Overwrite("proofs/a/x.json", []byte("x")) }, evidence.Foreign, "proofs/a/x.json"},
		{"two records of one number", func(w *world) {
			w.archive.Overwrite(strings.Replace(name("a", start, 2), "us-east-1", "us-west-2", 1), w.data(name("a", start, 2)))
		}, evidence.Foreign, strings.Replace(name("a", start, 2), "us-east-1", "us-west-2", 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.do(w)
			if v := w.verify(true); len(v.Problems) != 1 || v.Problems[0].Kind != tt.kind || v.Problems[0].Name != tt.of {
				t.Errorf("%+v", v.Problems)
			}
		})
	}
}

func TestVerify_of_nothing(t *testing.T) {
	w := &world{t, &cmektest.Archive{}, ledger.New(cmektest.NewStore(), rand.New(rand.NewPCG(1, 2)))}
	if v := w.verify(true); len(v.Problems) > 0 {
		t.Errorf("before anything was archived: %+v", v.Problems)
	}
	w.archive.Overwrite("somebody/else's", []byte("x"))
	if v := w.verify(false); len(v.Problems) != 1 || v.Problems[0].Kind != evidence.Missing {
		t.Errorf("of another archive: %+v", v.Problems)
	}
}

// withoutVersions is an archive that keeps no versions.
type withoutVersions struct {
	*cmektest.Archive
	id string
}

func (a withoutVersions) List(ctx context.Context, prefix string) iter.Seq2[cmek.Stored, error] {
	return func(yield func(cmek.Stored, error) bool) {
		for s, err := range a.Archive.List(ctx, prefix) {
			s.Versions = []cmek.StoredVersion{{ID: a.id, At: start}}
			if !yield(s, err) {
				return
			}
		}
	}
}

func (a withoutVersions) Read(ctx context.Context, name, _ string) ([]byte, error) {
	return a.Archive.Read(ctx, name, "")
}

func TestVerify_says_that_an_archive_keeps_no_versions(t *testing.T) {
	for _, id := range []string{"", "null"} {
		w := newWorld(t)
		heads, err := evidence.HeadsOf(t.Context(), w.ledger)
		if err != nil {
			t.Fatal(err)
		}
		w.archive.Overwrite(name("a", start, 2), w.data(name("a", start, 2)))
		v, err := evidence.Verify(t.Context(), withoutVersions{w.archive, id}, heads)
		if err != nil || len(v.Problems) > 0 || len(v.Notes) != 1 || !strings.Contains(v.Notes[0], "names no versions") {
			t.Errorf("%+v, %v", v, err)
		}
	}
}

// A run begins with an empty folder: what somebody put there before would be taken for its own.
func TestVerify_of_files_of_no_run(t *testing.T) {
	w := newWorld(t)
	file := report.PartName(start, 4, 1, ".jsonl")
	w.archive.Overwrite(file, []byte("x"))
	if v := w.verify(true); len(v.Problems) != 1 || v.Problems[0].Kind != evidence.Unanchored || v.Problems[0].Name != file {
		t.Errorf("%+v", v.Problems)
	}
	if v := w.verify(false); !slices.ContainsFunc(v.Notes, func(note string) bool { return strings.Contains(note, "-000004 has no manifest") }) {
		t.Errorf("%+v", v.Notes)
	}
}

func TestVerify_of_the_run_under_way(t *testing.T) {
	w := newWorld(t)
	w.archive.Overwrite(report.PartName(start, 4, 1, ".csv"), []byte("x"))
	other := report.PartName(start, 5, 1, ".csv")
	w.archive.Overwrite(other, []byte("x"))
	runs, err := w.ledger.Runs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	runs.Number, runs.Current = 4, &ledger.CurrentRun{}
	if err := w.ledger.SaveRuns(t.Context(), runs); err != nil {
		t.Fatal(err)
	}
	if v := w.verify(true); len(v.Problems) != 1 || v.Problems[0].Name != other {
		t.Errorf("%+v", v.Problems)
	}
}

// Whoever rewrites a chain of records, and what the ledger and the manifests say of it, has the proofs against him.
func TestVerify_compares_records_with_their_proofs(t *testing.T) {
	rewrite := func(w *world, n int, data []byte) {
		for m := range 3 {
			w.archive.Tamper(report.ManifestName(start, m+1), nil)
		}
		w.archive.Tamper(name("a", start, n), data)
		_, err := w.ledger.UpdateCluster(t.Context(), "a", func(c *ledger.Cluster) error {
			c.Chain.Count, c.Chain.Last = n, sum(data)
			if data == nil {
				c.Chain.Count, c.Chain.Last = n-1, sum(w.data(name("a", start, n-1)))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		data func(w *world) []byte
		kind evidence.Kind
	}{
		{"altered", func(w *world) []byte {
			return bytes.Replace(w.data(name("a", start, 4)), []byte(`"schema"`), []byte(`"x": 1, "schema"`), 1)
		}, evidence.Altered},
		{"cut", func(*world) []byte { return nil }, evidence.Missing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			rewrite(w, 4, tt.data(w))
			if v := w.verify(true); !slices.ContainsFunc(v.Problems, func(p evidence.Problem) bool {
				return p.Kind == tt.kind && p.Name == name("a", start, 4) && strings.Contains(p.What, proofName(4))
			}) {
				t.Errorf("%+v", v.Problems)
			}
		})
	}
}

// A proof that says of no record that it corroborates it vouches for nothing.
func TestVerify_of_a_proof_of_nothing(t *testing.T) {
	w := newWorld(t)
	w.archive.Tamper(proofName(4), fmt.Appendf(nil, `{"schema":"keyturn.corroboration/v1","number":4,"previous_sha256":%q}`, sum(w.data(proofName(3)))))
	if v := w.verify(true); !slices.ContainsFunc(v.Problems, func(p evidence.Problem) bool {
		return p.Kind == evidence.Altered && p.Name == proofName(4) && strings.Contains(p.What, "corroborates")
	}) {
		t.Errorf("%+v", v.Problems)
	}
}

func TestVerify_says_that_a_chain_began_anew(t *testing.T) {
	w := newWorld(t)
	w.follow("b", start.Add(time.Hour), 2)
	v := w.verify(true)
	if len(v.Problems) > 0 || len(v.Notes) != 1 || !strings.Contains(v.Notes[0], "cluster b") {
		t.Errorf("%+v", v)
	}
	w.archive.Tamper(name("b", start, 4), nil) // the end of the chain before
	if v := w.verify(true); len(v.Problems) != 1 || v.Problems[0].Kind != evidence.Cut {
		t.Errorf("%+v", v.Problems)
	}
}

func TestVerify_waits_for_what_the_ledger_has_to_archive(t *testing.T) {
	w := newWorld(t)
	last := name("b", start, 4)
	data := w.data(last)
	w.archive.Tamper(last, nil)
	if _, err := w.ledger.UpdateCluster(t.Context(), "b", func(c *ledger.Cluster) error { c.File(last, data); return nil }); err != nil {
		t.Fatal(err)
	}
	if v := w.verify(true); len(v.Problems) > 0 || v.Pending != 1 {
		t.Errorf("%+v", v)
	}
}

func TestVerify_of_an_archive_that_lost_a_whole_chain(t *testing.T) {
	w := newWorld(t)
	for n := 1; n <= 4; n++ {
		w.archive.Tamper(name("b", start, n), nil)
	}
	for _, withLedger := range []bool{true, false} {
		if v := w.verify(withLedger); !slices.ContainsFunc(v.Problems, func(p evidence.Problem) bool { return p.Kind == evidence.Cut && strings.Contains(p.Name, "cluster b") }) {
			t.Errorf("ledger %t: %+v", withLedger, v.Problems)
		}
	}
}

func TestList_of_records(t *testing.T) {
	w := newWorld(t)
	w.archive.Delete(name("b", start, 2))
	for cluster, want := range map[string]int{"": 12, "a": 8, "b": 4, "c": 0} {
		all, err := evidence.List(t.Context(), w.archive, cluster)
		if err != nil || len(all) != want {
			t.Errorf("%q: %d records, %v", cluster, len(all), err)
		}
		for _, r := range all {
			if deleted := r.Cluster == "b" && r.Number == 2; r.Deleted != deleted || (r.Versions > 1) != deleted || r.Bytes == 0 {
				t.Errorf("%+v", r)
			}
		}
	}
}
