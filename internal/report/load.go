package report

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/version"
)

// Archived is a run in the archive.
type Archived struct {
	Manifest Manifest
	// SHA256 is the hash of the manifest's bytes.
	SHA256  string
	archive cmek.ArchiveReader
}

// Draft is a run that was walked through and whose manifest is not archived yet. It has no hash.
func Draft(m Manifest, archive cmek.ArchiveReader) *Archived {
	return &Archived{Manifest: m, archive: archive}
}

// ErrNoRun is the error about a run that is not in the archive.
var ErrNoRun = errors.New("the run is not in the archive")

// Named is a run that the archive has a manifest of. Versions counts those of the manifest, a deletion among them: keyturn writes one.
type Named struct {
	Chain    time.Time
	Run      int
	Versions int
}

// Runs lists the runs that have ended, by chain and number.
func Runs(ctx context.Context, archive cmek.ArchiveReader) (all []Named, err error) {
	for stored, err := range archive.List(ctx, RunsFolder) {
		if err != nil {
			return nil, err
		}
		if chain, run, ok := ParseFolder(stored.Name); ok && path.Base(stored.Name) == manifestFile {
			all = append(all, Named{chain, run, len(stored.Versions)})
		}
	}
	slices.SortFunc(all, func(a, b Named) int { return cmp.Or(a.Chain.Compare(b.Chain), cmp.Compare(a.Run, b.Run)) })
	return all, nil
}

// Load reads the manifest of a run, 0 for the last one that ended, of the newest chain. [ErrNoRun]: there is none.
func Load(ctx context.Context, archive cmek.ArchiveReader, run int) (*Archived, error) {
	all, err := Runs(ctx, archive)
	if err != nil {
		return nil, err
	}
	for _, r := range slices.Backward(all) {
		if run == 0 || r.Run == run {
			return r.Load(ctx, archive)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: no run of the compliance function has ended yet (\"keyturn check\" checks now)", ErrNoRun)
	}
	return nil, fmt.Errorf("run %d: %w; the last one is %d", run, ErrNoRun, all[len(all)-1].Run)
}

// Load reads the manifest of the run.
// One that somebody wrote over or deleted is an error: what is there now vouches for nothing.
func (n Named) Load(ctx context.Context, archive cmek.ArchiveReader) (*Archived, error) {
	if n.Versions > 1 {
		return nil, fmt.Errorf("run %d: its manifest has %d versions in the archive, and keyturn writes one (%q says more)", n.Run, n.Versions, "keyturn evidence verify")
	}
	data, err := archive.Read(ctx, ManifestName(n.Chain, n.Run), "")
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(data)
	if err != nil {
		return nil, fmt.Errorf("run %d: %w", n.Run, err)
	}
	return &Archived{m, hash(data), archive}, nil
}

// Lines yields the lines of all parts, in order. A part that is not as the manifest says is an error, with which they end.
func (a *Archived) Lines(ctx context.Context) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		for _, f := range a.Manifest.Files {
			if !IsPart(f.Name) {
				continue
			}
			data, err := a.read(ctx, f)
			if err != nil {
				yield(Line{}, err)
				return
			}
			for line := range bytes.Lines(data) {
				var l Line
				if err := json.Unmarshal(line, &l); err != nil {
					yield(Line{}, fmt.Errorf("read %s: %w", f.Name, err))
					return
				}
				if !yield(l, nil) {
					return
				}
			}
		}
	}
}

// Population reads the list of all clusters of the run.
func (a *Archived) Population(ctx context.Context) (all []Member, err error) {
	for _, f := range a.Manifest.Files {
		if path.Base(f.Name) != populationFile {
			continue
		}
		data, err := a.read(ctx, f)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(data, &all); err != nil {
			return nil, fmt.Errorf("read %s: %w", f.Name, err)
		}
	}
	return all, nil
}

// read is a file as the manifest has it.
func (a *Archived) read(ctx context.Context, f File) ([]byte, error) {
	data, err := a.archive.Read(ctx, f.Name, "")
	switch {
	case err != nil:
		return nil, err
	case hash(data) != f.SHA256:
		return nil, fmt.Errorf("%s is not the file that the manifest of run %d names", f.Name, a.Manifest.Run)
	}
	return data, nil
}

// Report is the run with all its findings, in the order of checks, then of subjects.
func (a *Archived) Report(ctx context.Context) (Report, error) {
	m := a.Manifest
	run := Run{Began: m.Period.Began, Ended: m.Period.Ended, Population: m.Population}
	for l, err := range a.Lines(ctx) {
		if err != nil {
			return Report{}, err
		}
		if l.Finding != nil {
			run.Findings = append(run.Findings, *l.Finding)
		}
		if l.Timeline != nil {
			run.Timelines = append(run.Timelines, *l.Timeline)
		}
		if l.Proof != nil {
			run.Proofs = append(run.Proofs, *l.Proof)
		}
	}
	slices.SortStableFunc(run.Timelines, func(x, y Timeline) int { return cmp.Compare(x.Key, y.Key) })
	slices.SortStableFunc(run.Findings, func(x, y checks.Finding) int {
		return cmp.Or(cmp.Compare(x.Check, y.Check), cmp.Compare(x.Subject.ID, y.Subject.ID))
	})
	return New(run, versionOf(m)), nil
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// versionOf is what the program was built from that made the run.
func versionOf(m Manifest) version.Version {
	return version.Version{Version: m.Version, Commit: m.Commit}
}
