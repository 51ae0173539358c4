package report

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// ManifestSchema names the shape of a manifest.
const ManifestSchema = "keyturn.run/v1"

// Manifest says what a scheduled run was about, what it found in numbers, and which files hold the rest. Manifests form a chain: each
// holds the SHA-256 of the bytes of the one before it.
type Manifest struct {
	Schema string `json:"schema"`
	// Run numbers the runs of the chain from 1. ChainStart is when the chain began, and in the names of all its files.
	Run            int       `json:"run"`
	ChainStart     time.Time `json:"chain_start"`
	PreviousSHA256 string    `json:"previous_sha256"`
	// Complete is false for a run that did not reach every cluster in its time; Incomplete says so. Such a run is compared with nothing, and
	// no later run is compared with it.
	Complete   bool   `json:"complete"`
	Incomplete string `json:"incomplete,omitempty"`
	// MissedRuns counts the days without a run since the one before.
	MissedRuns int    `json:"missed_runs"`
	Period     Period `json:"period"`
	// Organization is the id at Cockroach Labs, Accounts are the AWS accounts and Google projects of the keys.
	Organization string   `json:"organization,omitempty"`
	Accounts     []string `json:"accounts,omitempty"`
	// Caller is whom the cloud takes the function for; what it said if it did not tell.
	Caller  string `json:"caller"`
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	// Catalog and Configuration are the hex SHA-256 of the catalog of checks and of what is declared.
	Catalog       string     `json:"catalog_sha256"`
	Configuration string     `json:"configuration_sha256"`
	Population    Population `json:"population"`
	Counts        []Count    `json:"counts"`
	Denied        []Denied   `json:"denied,omitempty"`
	Exceptions    []Excepted `json:"exceptions,omitempty"`
	Changes       Changes    `json:"changes"`
	// Chains are the heads of the evidence of all clusters that have some, by cluster.
	Chains []Head `json:"chains,omitempty"`
	Files  []File `json:"files"`
	// HubRefused are the first of HubRefusals reports that Security Hub did not take, and Unreported counts the failures beyond those that
	// are reported to it at a time.
	HubRefused  []string `json:"hub_refused,omitempty"`
	HubRefusals int      `json:"hub_refusals,omitempty"`
	Unreported  int      `json:"unreported,omitempty"`
	// NoPage is why the archive has no page of a complete run; "" if it has one, or if the installation makes none.
	NoPage string `json:"no_page,omitempty"`
}

// Period is what a run covers: from the end of the last complete run before it, zero for the first, until its own end.
type Period struct {
	From  time.Time `json:"from,omitzero"`
	Began time.Time `json:"began"`
	Ended time.Time `json:"ended"`
}

// Count counts the findings of one check. Accepted failures are not among those of Fail.
type Count struct {
	Check         string `json:"check"`
	Pass          int    `json:"pass"`
	Fail          int    `json:"fail"`
	Accepted      int    `json:"accepted"`
	NotApplicable int    `json:"not_applicable"`
	Error         int    `json:"error"`
}

// Add counts a finding of the check.
func (c *Count) Add(f checks.Finding) {
	switch {
	case f.Result == checks.Pass:
		c.Pass++
	case f.Result == checks.NotApplicable:
		c.NotApplicable++
	case f.Result == checks.Error:
		c.Error++
	case f.Exception != nil:
		c.Accepted++
	default:
		c.Fail++
	}
}

// Denied counts the readings from one source that were refused. Grant is the permission that the first of them is for want of.
type Denied struct {
	Source string `json:"source"`
	Count  int    `json:"count"`
	Grant  string `json:"grant"`
}

// Excepted is a declared exception with the number of failures that it accepts.
type Excepted struct {
	checks.Exception
	Accepts int `json:"accepts"`
}

// Changes count what changed since the last complete run, leaving out what is reported elsewhere: Alone counts the failures that
// alerted by themselves, Mirrored those that an open incident reports.
type Changes struct {
	Failed     map[alert.Severity]int `json:"failed,omitempty"`
	Accepted   int                    `json:"accepted,omitempty"`
	Recovered  int                    `json:"recovered,omitempty"`
	Unanswered int                    `json:"unanswered,omitempty"`
	Answered   int                    `json:"answered,omitempty"`
	Alone      int                    `json:"alone,omitempty"`
	Mirrored   int                    `json:"mirrored,omitempty"`
	// First are the first of the changes that are counted by kind.
	First []Change `json:"first,omitempty"`
}

// Change is a finding that is another one than in the last complete run.
type Change struct {
	Kind     ChangeKind     `json:"kind"`
	Check    string         `json:"check"`
	Subject  string         `json:"subject"`
	Severity alert.Severity `json:"severity"`
	Why      string         `json:"why"`
}

// Head is the end of a cluster's chain of evidence, as the ledger has it.
type Head struct {
	Cluster string `json:"cluster"`
	// Of is "" for the records of re-encryptions, OfProofs for those of their proofs.
	Of     string    `json:"of,omitempty"`
	Start  time.Time `json:"start"`
	Count  int       `json:"count"`
	SHA256 string    `json:"sha256"`
}

// File is a file of the run.
type File struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Bytes  int    `json:"bytes"`
}

// Line is a line of a part of a run, a file of JSON lines: one of its fields is set.
type Line struct {
	Organization string          `json:"organization,omitempty"`
	Cluster      *Member         `json:"cluster,omitempty"`
	Finding      *checks.Finding `json:"finding,omitempty"`
	Timeline     *Timeline       `json:"timeline,omitempty"`
	Proof        *Proof          `json:"proof,omitempty"`
}

// OfProofs names the chain of a cluster's proofs.
const OfProofs = "proofs"

// ProofState is what the cloud's log says of a re-encryption.
type ProofState string

// The states. What is not found is neither a failure nor a success.
const (
	Corroborated       ProofState = "CORROBORATED"
	NotYetCorroborated ProofState = "NOT YET CORROBORATED"
	// OldVersionUsed: the cluster used an older version after the re-encryption, whether or not another use corroborates it.
	OldVersionUsed ProofState = "OLD VERSION USED"
)

// Proof is what stands for the last re-encryption of a region that keyturn requested: its record, and what the cloud's log says of it. The log
// shows whether the cluster's principal used the key under the new version since, which has other causes, too, so it corroborates only.
type Proof struct {
	Cluster string          `json:"cluster"`
	Name    string          `json:"name,omitempty"`
	Region  string          `json:"region"`
	Key     cmek.KeyURI     `json:"key"`
	Version cmek.KeyVersion `json:"version"`
	DoneAt  time.Time       `json:"done_at"`
	State   ProofState      `json:"state"`
	// Seen is how the Cloud API showed that the request was carried out, as rotation.Evidence has it.
	Seen string `json:"seen,omitempty"`
	// Evidence is the name of rotation's record in the archive, with the SHA-256 of its bytes as they were read; "" if it was not found.
	Evidence       string `json:"evidence,omitempty"`
	EvidenceSHA256 string `json:"evidence_sha256,omitempty"`
	// Record is the name of the record that corroborates it, in the archive since At; Because says why there is none.
	Record  string    `json:"record,omitempty"`
	At      time.Time `json:"at,omitzero"`
	Because string    `json:"because,omitempty"`
	// Use is what the log has that corroborates it, Source the log, and OtherCauses what else the use may come from; absent if there is none.
	Use         *cmek.RecordedUse `json:"use,omitempty"`
	Source      string            `json:"source,omitempty"`
	OtherCauses []string          `json:"other_causes,omitempty"`
	// OldUse is a use of an older version after the re-encryption; nil if none was seen.
	OldUse *cmek.RecordedUse `json:"old_use,omitempty"`
}

// Member is a cluster of the run's population. OutOfScope says why it is not checked, Unread why it could not be.
type Member struct {
	ID         string `json:"id"`
	Name       string `json:"name,omitempty"`
	OutOfScope string `json:"out_of_scope,omitempty"`
	Unread     string `json:"unread,omitempty"`
}

// Timeline sets the rotations of a key against the re-encryptions that followed them.
type Timeline struct {
	Key cmek.KeyURI `json:"key"`
	// CryptoperiodDays is the longest time that its material may be in use.
	CryptoperiodDays int `json:"cryptoperiod_days"`
	// Versions are those that the KMS shows, the oldest first, Current the one that is current; its Since is when keyturn saw it first
	// where the KMS does not tell.
	Versions []TimelineVersion `json:"versions,omitempty"`
	Current  TimelineVersion   `json:"current,omitzero"`
	// Regions are the last re-encryptions.
	Regions []TimelineRegion `json:"regions,omitempty"`
	// Unread says why the key's rotations are not known.
	Unread string `json:"unread,omitempty"`
}

// TimelineVersion is a key version and when it became current; zero if that is not known.
type TimelineVersion struct {
	Version cmek.KeyVersion `json:"version"`
	Since   time.Time       `json:"since,omitzero"`
}

// TimelineRegion is the last version under which the store key of a cluster's region was encrypted, and when; zero if the ledger knows none.
type TimelineRegion struct {
	Cluster string          `json:"cluster"`
	Name    string          `json:"name,omitempty"`
	Region  string          `json:"region"`
	Version cmek.KeyVersion `json:"version,omitzero"`
	At      time.Time       `json:"at,omitzero"`
	// Adopted is how keyturn found the region up to date without a request of its own; "" if it sent one.
	Adopted string `json:"adopted,omitempty"`
}

// The names of the files of runs in the archive.
const (
	RunsFolder     = "runs/"
	manifestFile   = "manifest.json"
	populationFile = "population.json"
	pageFile       = "report.html"
	partExtension  = ".jsonl"
	chainTime      = "20060102T150405Z"
)

// Folder is where the files of a run are, with a slash at its end.
func Folder(chain time.Time, run int) string {
	return fmt.Sprintf("%s%s-%06d/", RunsFolder, chain.UTC().Format(chainTime), run)
}

// ManifestName is the name of a run's manifest in the archive.
func ManifestName(chain time.Time, run int) string { return Folder(chain, run) + manifestFile }

// PopulationName is the name of the list of the clusters that a run is about, a JSON list of [Member].
func PopulationName(chain time.Time, run int) string { return Folder(chain, run) + populationFile }

// PageName is the name of the page that shows a run to people.
func PageName(chain time.Time, run int) string { return Folder(chain, run) + pageFile }

// IsPart reports whether the file is a part of a run, JSON lines of [Line].
func IsPart(name string) bool { return path.Ext(name) == partExtension }

// PartName is the name of a part of a run, JSON lines of [Line]; with the extension ".csv" of its findings as a table.
func PartName(chain time.Time, run, part int, extension string) string {
	return fmt.Sprintf("%spart-%04d%s", Folder(chain, run), part, extension)
}

// ParseFolder reads the chain and the number of a run from the name of one of its files. ok is false for other names.
func ParseFolder(name string) (chain time.Time, run int, ok bool) {
	rest, found := strings.CutPrefix(name, RunsFolder)
	folder, _, slash := strings.Cut(rest, "/")
	start, number, dash := strings.Cut(folder, "-")
	chain, err := time.Parse(chainTime, start)
	if !found || !slash || !dash || err != nil {
		return time.Time{}, 0, false
	}
	if _, err := fmt.Sscanf(number, "%d", &run); err != nil || Folder(chain, run) != RunsFolder+folder+"/" {
		return time.Time{}, 0, false
	}
	return chain, run, true
}

// Encode is the manifest's bytes.
func (m Manifest) Encode() ([]byte, error) { return json.MarshalIndent(m, "", "  ") }

// ParseManifest reads a manifest.
func ParseManifest(data []byte) (m Manifest, err error) {
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("read manifest: %w", err)
	}
	if m.Schema != ManifestSchema {
		return m, fmt.Errorf("read manifest: its schema is %q, want %s", m.Schema, ManifestSchema)
	}
	return m, nil
}
