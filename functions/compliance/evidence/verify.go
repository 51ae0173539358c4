package evidence

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

// Verification is what was verified, and what is wrong.
type Verification struct {
	// Records counts the records of re-encryptions, Runs the manifests, Files the files of runs, Others what else is in the archive.
	Records int `json:"records"`
	// Proofs counts the records that corroborate records of re-encryptions.
	Proofs int `json:"proofs"`
	Runs   int `json:"runs"`
	Files  int `json:"files"`
	Others int `json:"others"`
	// Pending counts records that the ledger still has to archive.
	Pending int `json:"pending"`
	// Problems are empty if all is as it was written.
	Problems []Problem `json:"problems"`
	// Notes say what is no problem, and worth knowing: that a chain began anew, and what nobody could vouch for.
	Notes []string `json:"notes"`
}

// Heads are what the ledger and people know of the ends of chains. The zero value knows nothing.
type Heads struct {
	// clusters are the ledger's heads; nil if there is no ledger.
	clusters map[chainID]anchor
	pending  map[string][]byte
	runs     map[chainID]anchor
	// underWay is the folder of the run under way; "" for none.
	underWay string
	// Manifest is the SHA-256 of the last manifest as a message had it; "" if nobody gives it.
	Manifest string
}

// chainID names a chain: of a cluster's re-encryptions or, if of is report.OfProofs, of their proofs; with "" that of the runs.
type chainID struct {
	cluster string
	of      string
	start   string
}

// same reports whether both are chains of the same, begun at different times.
func (c chainID) same(other chainID) bool { return c.cluster == other.cluster && c.of == other.of }

func (c chainID) String() string {
	if c.cluster == "" {
		return "runs since " + c.start
	}
	if c.of != "" {
		return c.of + " of cluster " + c.cluster + " since " + c.start
	}
	return "cluster " + c.cluster + " since " + c.start
}

const chainTime = "20060102T150405Z"

// HeadsOf reads the heads from the ledger.
func HeadsOf(ctx context.Context, l *ledger.Ledger) (Heads, error) {
	h := Heads{clusters: map[chainID]anchor{}, pending: map[string][]byte{}, runs: map[chainID]anchor{}}
	items, err := l.Clusters(ctx)
	if err != nil {
		return h, err
	}
	for _, item := range items {
		if c := item.Chain; c.Count > 0 {
			h.clusters[chainID{item.ID, "", c.Start.UTC().Format(chainTime)}] = anchor{"the ledger", c.Count, c.Last, true}
		}
		proofs, err := l.Proofs(ctx, item.ID)
		if err != nil {
			return h, err
		}
		if c := proofs.Chain; c.Count > 0 {
			h.clusters[chainID{item.ID, report.OfProofs, c.Start.UTC().Format(chainTime)}] = anchor{"the ledger", c.Count, c.Last, true}
		}
		for _, m := range slices.Concat(item.Messages, proofs.Messages) {
			if m.Evidence != nil {
				h.pending[m.ID] = m.Evidence
			}
		}
	}
	runs, err := l.Runs(ctx)
	if err != nil {
		return h, err
	}
	ended := runs.Number
	if runs.Current != nil {
		ended--
		h.underWay = path.Clean(report.Folder(runs.Start, runs.Number))
	}
	if ended > 0 {
		// The manifest of a run is archived before the ledger says that the run has ended.
		h.runs[chainID{"", "", runs.Start.UTC().Format(chainTime)}] = anchor{"the ledger", ended, runs.Manifest, runs.Current == nil}
	}
	return h, nil
}

// verifier goes through the archive once.
type verifier struct {
	archive cmek.ArchiveReader
	heads   Heads
	v       Verification
	chains  map[chainID][]record
	anchors map[chainID][]anchor
	// manifests are those that were read, files the hashes of all files of runs by name.
	manifests map[string]report.Manifest
	files     map[string]string
	// unversioned counts the files of which the archive names no version.
	unversioned int
	// vouched are the hashes of records of re-encryptions that records of proofs have.
	vouched []vouch
}

// vouch is what a record of a proof says of another record.
type vouch struct{ by, name, sha256 string }

// Verify verifies everything in the archive. The error means that it could not be gone through.
func Verify(ctx context.Context, archive cmek.ArchiveReader, heads Heads) (Verification, error) {
	w := &verifier{archive: archive, heads: heads, chains: map[chainID][]record{}, anchors: map[chainID][]anchor{},
		manifests: map[string]report.Manifest{}, files: map[string]string{}}
	w.v.Problems, w.v.Notes = []Problem{}, []string{}
	for stored, err := range archive.List(ctx, "") {
		if err != nil {
			return w.v, err
		}
		if err := w.stored(ctx, stored); err != nil {
			return w.v, err
		}
	}
	for name, data := range heads.pending {
		if w.has(name) {
			continue
		}
		w.v.Pending++
		if id, at, ok := parseRecord(name); ok {
			w.take(id, at, name, data)
		}
	}
	if w.heads.clusters == nil && w.v.Records+w.v.Proofs+w.v.Runs+w.v.Files == 0 {
		w.found(Missing, "archive", "there is nothing of keyturn in it, and no ledger says that nothing was archived yet: is it the right one?")
	}
	w.runFiles()
	w.judgeChains()
	w.judgeProofs()
	if w.unversioned > 0 {
		w.v.Notes = append(w.v.Notes, "The archive names no versions of its files, so what somebody wrote over is found by hashes only, and what no hash is of, not at all.")
	}
	slices.SortStableFunc(w.v.Problems, func(a, b Problem) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind)) })
	return w.v, nil
}

func (w *verifier) has(name string) bool {
	id, _, ok := parseRecord(name)
	return ok && slices.ContainsFunc(w.chains[id], func(r record) bool { return r.name == name })
}

func (w *verifier) found(kind Kind, name, format string, args ...any) {
	w.v.Problems = append(w.v.Problems, Problem{kind, name, fmt.Sprintf(format, args...)})
}

// nullVersion is the id of what S3 stored while a bucket had no versioning (docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html).
const nullVersion = "null"

// stored takes in what is stored under a name. What keyturn wrote is the first version.
func (w *verifier) stored(ctx context.Context, s cmek.Stored) error {
	if n := len(s.Versions); n > 1 {
		what := fmt.Sprintf("there are %d versions under the name", n)
		if last := s.Versions[n-1]; last.Deleted {
			what = "it was deleted on " + last.At.UTC().Format(time.DateTime) + " UTC, and its version is there still"
		}
		w.found(Shadowed, s.Name, "%s", what)
	}
	if first := s.Versions[0].ID; first == "" || first == nullVersion {
		w.unversioned++
	}
	data, err := w.archive.Read(ctx, s.Name, s.Versions[0].ID)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	unread := ""
	if err != nil {
		unread = err.Error()
	}
	if id, at, ok := parseRecord(s.Name); ok {
		if id.of == "" {
			w.v.Records++
		} else {
			w.v.Proofs++
		}
		if err == nil {
			w.take(id, at, s.Name, data)
		} else {
			w.chains[id] = append(w.chains[id], record{name: s.Name, at: at, unread: unread})
		}
		return nil
	}
	if start, run, ok := report.ParseFolder(s.Name); ok {
		w.run(s.Name, chainID{"", "", start.UTC().Format(chainTime)}, run, data, unread)
		return nil
	}
	if strings.HasPrefix(s.Name, ledger.EvidenceFolder) || strings.HasPrefix(s.Name, ledger.ProofsFolder) || strings.HasPrefix(s.Name, report.RunsFolder) {
		w.found(Foreign, s.Name, "keyturn gives no such names here")
		return nil
	}
	w.v.Others++
	return nil
}

// take takes in a record of a chain of a cluster.
func (w *verifier) take(id chainID, at int, name string, data []byte) {
	w.chains[id] = append(w.chains[id], parse(name, at, data))
	if id.of == "" {
		return
	}
	var proof struct {
		Corroborates struct {
			Name   string `json:"name"`
			SHA256 string `json:"sha256"`
		} `json:"corroborates"`
	}
	if err := json.Unmarshal(data, &proof); err != nil || proof.Corroborates.Name == "" {
		w.found(Altered, name, "it does not say which record it corroborates")
		return
	}
	w.vouched = append(w.vouched, vouch{name, proof.Corroborates.Name, proof.Corroborates.SHA256})
}

// judgeProofs compares the records of re-encryptions with what the records of their proofs say of them.
func (w *verifier) judgeProofs() {
	hashes := map[string]string{}
	for id, records := range w.chains {
		if id.cluster == "" || id.of != "" {
			continue
		}
		for _, r := range records {
			hashes[r.name] = r.hash
		}
	}
	for _, v := range w.vouched {
		switch got, ok := hashes[v.name]; {
		case !ok:
			w.found(Missing, v.name, "%s corroborates it", v.by)
		case got != "" && got != v.sha256:
			w.found(Altered, v.name, "its SHA-256 is %s, and %s has %s", short(got), v.by, short(v.sha256))
		}
	}
}

// run takes in a file of a run.
func (w *verifier) run(name string, id chainID, run int, data []byte, unread string) {
	if name != report.ManifestName(mustTime(id.start), run) {
		w.files[name] = hashOf(data)
		if unread != "" {
			w.found(Unreadable, name, "%s", unread)
		}
		w.v.Files++
		return
	}
	w.v.Runs++
	r := record{name: name, at: run, unread: unread, hash: hashOf(data)}
	m, err := report.ParseManifest(data)
	switch {
	case unread != "":
	case err != nil:
		r.unread = err.Error()
	default:
		r.number, r.previous = m.Run, m.PreviousSHA256
		w.manifests[name] = m
		for _, h := range m.Chains {
			of := chainID{h.Cluster, h.Of, h.Start.UTC().Format(chainTime)}
			w.anchors[of] = append(w.anchors[of], anchor{fmt.Sprintf("the manifest of run %d", m.Run), h.Count, h.SHA256, false})
		}
	}
	w.chains[id] = append(w.chains[id], r)
}

// runFiles compares the files of the runs with their manifests.
func (w *verifier) runFiles() {
	named := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(w.manifests)) {
		for _, f := range w.manifests[name].Files {
			named[f.Name] = true
			switch got, ok := w.files[f.Name]; {
			case !ok:
				w.found(Missing, f.Name, "the manifest of run %d names it", w.manifests[name].Run)
			case got != f.SHA256:
				w.found(Altered, f.Name, "its SHA-256 is %s, and the manifest of run %d has %s", short(got), w.manifests[name].Run, short(f.SHA256))
			}
		}
	}
	noted := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(w.files)) {
		run := path.Dir(name)
		_, ended := w.manifests[run+"/"+path.Base(report.ManifestName(time.Time{}, 1))]
		switch {
		case named[name]:
		case ended:
			w.found(Foreign, name, "the manifest of its run does not name it")
		case run == w.heads.underWay:
		case w.heads.clusters != nil:
			w.found(Unanchored, name, "its run has no manifest, and is not under way")
		case !noted[run]:
			noted[run] = true
			w.v.Notes = append(w.v.Notes, fmt.Sprintf("%s has no manifest, so nothing vouches for its files: without a ledger nobody can tell whether the run is under way.", run))
		}
	}
}

// judgeChains verifies all chains. Of each cluster, and of the runs, the newest chain is the one that the ledger knows.
func (w *verifier) judgeChains() {
	for id, a := range w.heads.clusters {
		w.anchors[id] = append(w.anchors[id], a)
	}
	for id, a := range w.heads.runs {
		w.anchors[id] = append(w.anchors[id], a)
	}
	ids := maps.Clone(w.chains)
	for id := range w.anchors {
		if _, ok := ids[id]; !ok {
			ids[id] = nil // all of it is gone
		}
	}
	order := slices.SortedFunc(maps.Keys(ids), func(a, b chainID) int {
		return cmp.Or(cmp.Compare(a.cluster, b.cluster), cmp.Compare(a.of, b.of), cmp.Compare(a.start, b.start))
	})
	if w.heads.Manifest != "" {
		w.anchorRuns(order)
	}
	for i, id := range order {
		if i > 0 && order[i-1].same(id) {
			w.v.Notes = append(w.v.Notes, fmt.Sprintf("A new chain began: %s, after %s.", id, order[i-1]))
		}
		newest := i+1 == len(order) || !order[i+1].same(id)
		if _, known := w.heads.clusters[id]; id.cluster != "" && newest && w.heads.clusters != nil && !known {
			w.v.Notes = append(w.v.Notes, fmt.Sprintf("The ledger does not know the chain of %s.", id))
		}
		w.v.Problems = append(w.v.Problems, judge(id.String(), ids[id], w.anchors[id])...)
	}
}

// anchorRuns takes the hash that somebody has of the last manifest: it must be there, and nothing of its chain after it is vouched for.
func (w *verifier) anchorRuns(order []chainID) {
	for _, id := range slices.Backward(order) {
		if id.cluster != "" {
			continue
		}
		for _, r := range w.chains[id] {
			if r.hash == w.heads.Manifest {
				w.anchors[id] = append(w.anchors[id], anchor{"the hash given", r.at, r.hash, false})
				return
			}
		}
	}
	w.found(Missing, report.RunsFolder, "no manifest has the SHA-256 %s", w.heads.Manifest)
}

// parseRecord reads the chain and the number from the name of a record of a re-encryption, or of a proof.
func parseRecord(name string) (id chainID, number int, ok bool) {
	of := ""
	rest, found := strings.CutPrefix(name, ledger.EvidenceFolder)
	if !found {
		of = report.OfProofs
		rest, found = strings.CutPrefix(name, ledger.ProofsFolder)
	}
	cluster, file, slash := strings.Cut(rest, "/")
	start, after, dash := strings.Cut(file, "-")
	if _, err := time.Parse(chainTime, start); !found || !slash || !dash || err != nil || !strings.HasSuffix(file, ".json") {
		return id, 0, false
	}
	digits, _, dash := strings.Cut(after, "-")
	if _, err := fmt.Sscanf(digits, "%d", &number); err != nil || !dash || number < 1 || fmt.Sprintf("%06d", number) != digits {
		return id, 0, false
	}
	return chainID{cluster, of, start}, number, true
}

// parse reads what a record says of its place.
func parse(name string, at int, data []byte) record {
	r := record{name: name, at: at, hash: hashOf(data)}
	var content struct {
		Schema   string  `json:"schema"`
		Number   int     `json:"number"`
		Previous *string `json:"previous_sha256"`
	}
	err := json.Unmarshal(data, &content)
	if err == nil && (!strings.HasPrefix(content.Schema, "keyturn.") || content.Previous == nil) {
		err = errors.New("it is no record of keyturn")
	}
	if err != nil {
		r.unread = err.Error()
		return r
	}
	r.number, r.previous = content.Number, *content.Previous
	return r
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func mustTime(start string) time.Time {
	t, _ := time.Parse(chainTime, start) // it was parsed before
	return t
}

// Record is a record in the archive, for a list of them.
type Record struct {
	Name    string `json:"name"`
	Cluster string `json:"cluster"`
	// Of is "" for a record of a re-encryption, and "proofs" for one that corroborates such a record.
	Of     string    `json:"of,omitempty"`
	Number int       `json:"number"`
	At     time.Time `json:"at"`
	Bytes  int64     `json:"bytes"`
	// Versions are more than one, or Deleted is set, if somebody else wrote to the name.
	Versions int  `json:"versions"`
	Deleted  bool `json:"deleted,omitempty"`
}

// List lists the records of re-encryptions, and after them those of their proofs, of one cluster or with "" of all, by cluster, chain and
// number.
func List(ctx context.Context, archive cmek.ArchiveReader, cluster string) (all []Record, err error) {
	for _, prefix := range []string{ledger.EvidenceFolder, ledger.ProofsFolder} {
		if cluster != "" {
			prefix += cluster + "/"
		}
		for s, err := range archive.List(ctx, prefix) {
			if err != nil {
				return nil, err
			}
			if id, number, ok := parseRecord(s.Name); ok {
				first, last := s.Versions[0], s.Versions[len(s.Versions)-1]
				all = append(all, Record{s.Name, id.cluster, id.of, number, first.At, first.Size, len(s.Versions), last.Deleted})
			}
		}
	}
	return all, nil
}
