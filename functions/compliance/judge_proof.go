package compliance

import (
	"fmt"
	"slices"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/report"
)

// reEncryption is what the proof of one rests on.
type reEncryption struct {
	cluster cmek.Cluster
	// name and sha256 are those of rotation's record in the archive; previous is the version before, by that record.
	name, sha256 string
	previous     cmek.KeyVersion
	done         ledger.Done
	// principal is whom the cluster acts as with the key; "" if that is not known.
	principal cmek.Principal
	// key is the key as the run has read it, others are the clusters that act as the same principal with it.
	key    checks.Key
	others []checks.Use
}

// sent is when the request left at the latest. Records of before it was kept have no such time.
func (r reEncryption) sent() time.Time {
	if r.done.Sent.IsZero() {
		return r.done.At
	}
	return r.done.Sent
}

// look is what a log had of the key.
type look struct {
	uses cmek.RecordedUses
	// unread is why the log was not read; "" if it was.
	unread string
	// silent is why it says nothing that the log has no use by the principal; "" if there is no such reason.
	silent string
}

const (
	// logKept is for how long after a re-encryption its proof is looked for: CloudTrail's event history has 90 days. Data Access logs are
	// kept for as long as their bucket says, which is dataAccessKept unless somebody sets it.
	logKept        = 90 * 24 * time.Hour
	dataAccessKept = 30 * 24 * time.Hour
	// oldUseWatched is for how long after a re-encryption the key's uses are read although it is corroborated. A node that starts and a
	// backup that runs use the key within days. Without an end, each key would cost a lookup a day, of which an account has two a second.
	oldUseWatched = 7 * 24 * time.Hour
	// lateRecords is how much later than others a record may come.
	lateRecords = time.Hour
	// clockDifference is how far our clock may be from the KMS's.
	clockDifference = 10 * time.Minute
)

// rested is why there is no need to read the log, with whether that is so. before is what is known of the same re-encryption.
func (r reEncryption) rested(before ledger.Proof, now time.Time) (because string, ok bool) {
	last := r.key.LastUse
	switch age := now.Sub(r.done.At); {
	case before.Record != "" && age > oldUseWatched:
		return "", true
	case age > logKept:
		return "its time is over: it is looked for during 90 days after the re-encryption", true
	case r.done.Version.Scheme == cmek.RotatedOn:
		return "the version is known by its date only, and records name key material", true
	case r.principal == "":
		return "the cluster does not show any more whom it acts as with the key", true
	case last.Unread != "" || last.ReadAt.IsZero():
		return "", false
	case before.Event != "" && last.Value.Event == before.Event:
		return before.Because, true // nothing has used the key since
	case last.Value.At.IsZero() && last.Value.Tracked.Before(r.sent()):
		return "nobody has used the key since " + day(last.Value.Tracked) + ", says its KMS", true
	case !last.Value.At.IsZero() && last.Value.At.Before(r.sent().Add(-clockDifference)):
		return "the key was last used on " + day(last.Value.At) + ", before the request, says its KMS", true
	}
	return "", false
}

// since is from when on the log is to be read: from the request on while there is no proof, however late its record may come.
func (r reEncryption) since(before ledger.Proof) time.Time {
	if since := before.ReadTo.Add(-lateRecords); before.Record != "" && since.After(r.sent()) {
		return since
	}
	return r.sent()
}

// judgeProof is what is known once the log was read, with the use that corroborates the re-encryption and the one of an older version, if
// there are any that were not known before. What is not found is never a failure: records come late, are kept for 90 days, and nobody
// documents when CockroachDB Cloud uses a key, or where a Data Access log of Google Cloud names the version.
func judgeProof(before ledger.Proof, r reEncryption, l look, now time.Time) (is ledger.Proof, proof, old *cmek.RecordedUse) {
	is = before
	if !before.Of(r.done) {
		is = ledger.Proof{Region: r.done.Region, Key: r.done.Key, Version: r.done.Version, DoneAt: r.done.At}
	}
	if r.name != "" {
		is.Evidence, is.EvidenceSHA256 = r.name, r.sha256
	}
	if l.unread != "" {
		is.Because = l.unread
		return is, nil, nil
	}
	is.ReadTo, is.Event = now, ""
	own, unnamed := 0, 0
	for _, use := range slices.Backward(l.uses.Uses) { // the oldest first
		if use.Event == r.key.LastUse.Value.Event {
			is.Event = use.Event
		}
		if !use.By.Same(r.principal) || use.At.Before(r.sent().Truncate(time.Second)) {
			continue
		}
		own++
		if use.Encrypted.IsZero() && use.Decrypted.IsZero() {
			unnamed++
		}
		switch {
		case use.Encrypted == r.done.Version && (proof == nil || proof.Encrypted != r.done.Version):
			proof = &use
		case use.Decrypted == r.done.Version && proof == nil: // what it decrypted was encrypted under the version
			proof = &use
		}
		if old == nil && (r.older(use.Decrypted) || r.older(use.Encrypted)) && r.own(use) {
			old = &use
		}
	}
	if is.Record != "" {
		proof = nil
	}
	if is.OldUse.Event != "" {
		old = nil
	}
	last := r.key.LastUse.Value
	switch {
	case proof != nil || is.Record != "":
		is.Because = ""
	case unnamed > 0 && unnamed == own:
		is.Because = fmt.Sprintf("the %d records of uses by %s name no key version", own, r.principal)
	case last.Event != "" && is.Event == "" && !l.uses.Cut && !last.At.Before(r.since(before)):
		is.Because = fmt.Sprintf("the log does not have the record of the key's last use (%s on %s) yet", last.Operation, day(last.At))
	case l.uses.Cut:
		is.Because = "the log has more records about the key than are read, and those that were read do not show it"
	case own == 0 && l.silent != "":
		is.Because = l.silent
	default:
		is.Because = fmt.Sprintf("the log has no use of the key under %s by %s since the request", r.done.Version.Short(), r.principal)
	}
	return is, proof, old
}

// older reports whether the version is for certain one before that of the re-encryption. A version of which nothing is known may be newer.
func (r reEncryption) older(v cmek.KeyVersion) bool {
	if v.IsZero() || v == r.done.Version {
		return false
	}
	if v == r.previous || v.Before(r.done.Version) {
		return true
	}
	versions := r.key.Description.Value.Versions // the oldest first
	at := func(v cmek.KeyVersion) int {
		return slices.IndexFunc(versions, func(i cmek.KeyVersionInfo) bool { return i.Version == v })
	}
	is, done := at(v), at(r.done.Version)
	return r.key.Description.Unread == "" && is >= 0 && done >= 0 && is < done
}

// own reports whether a use of an older version was after the re-encryption, and of no other cluster that acts as the same principal with
// the key: until those are re-encrypted, too, they use it as well.
func (r reEncryption) own(use cmek.RecordedUse) bool {
	return use.At.After(r.done.At.Add(clockDifference)) && !slices.ContainsFunc(r.others, func(u checks.Use) bool {
		return checks.InForce(u.Status) && (u.Done != r.done.Version || !use.At.After(u.DoneAt.Add(clockDifference)))
	})
}

// mostNamed is how many clusters are named as other causes: thousands may act as the same principal.
const mostNamed = 10

// otherCauses are what else the use may come from.
func (r reEncryption) otherCauses() []string {
	causes := []string{
		"a full backup of the cluster, which is encrypted under its key",
		"a node of the cluster that started",
	}
	for i, u := range r.others {
		if i == mostNamed {
			causes = append(causes, fmt.Sprintf("%d more regions of clusters that act as the same principal with the key", len(r.others)-i))
			break
		}
		causes = append(causes, "cluster "+u.ClusterName+" in "+u.Region+", which acts as the same principal with the key")
	}
	return append(causes, "anybody else who can act as "+string(r.principal))
}

// corroborationSchema names the shape of a record of a proof.
const corroborationSchema = "keyturn.corroboration/v1"

// corroborated is the finding of a record of a proof.
const corroborated = "CORROBORATED"

// corroboration is the immutable record of a proof: what the cloud's log has, beside the record of rotation that it corroborates. The
// records of a cluster form a chain of their own, since only rotation writes rotation's.
type corroboration struct {
	Schema         string `json:"schema"`
	Number         int    `json:"number"`
	PreviousSHA256 string `json:"previous_sha256"`
	Finding        string `json:"finding"`

	ClusterID   string          `json:"cluster_id"`
	ClusterName string          `json:"cluster_name"`
	Region      string          `json:"region"`
	Key         cmek.KeyURI     `json:"key"`
	Version     cmek.KeyVersion `json:"key_version"`
	DoneAt      time.Time       `json:"done_at"`
	// Corroborates is rotation's record.
	Corroborates corroboratedRecord `json:"corroborates"`
	// Use is the record of the log, Source the log, and ReadAt when it was read.
	Use    cmek.RecordedUse `json:"use"`
	Source string           `json:"source"`
	ReadAt time.Time        `json:"read_at"`
	// OtherCauses are what else the use may come from.
	OtherCauses []string `json:"other_causes"`
}

type corroboratedRecord struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// oldUseAlert notifies people of a use of an older version by a cluster that was re-encrypted.
//
// It only asks for a hold. The holds of all keys and clusters are one item, which operators write: whoever may write it can also release
// what they hold, so compliance's role may not. Nothing is lost while people read: compliance has no way to send a PUT, and rotation sends
// one for a new version only.
func oldUseAlert(r reEncryption, use cmek.RecordedUse) alert.Alert {
	version := use.Decrypted
	if !r.older(version) {
		version = use.Encrypted
	}
	c, id := r.cluster, "old-version-used/"+r.cluster.ID+"/"+r.done.Region+"/"+r.done.Version.String()
	steps := []string{
		"Hold the cluster until the cause is known:",
		"keyturn hold " + alert.ShellWord(c.ID) + " --reason " + alert.ShellWord("old key version used, event "+use.Event),
		"See the record of the re-encryption, and that of the use:",
		"keyturn evidence show " + alert.ShellWord(r.name),
	}
	if r.done.Key.Type() == cmek.AWSKMS {
		steps = append(steps, "aws cloudtrail lookup-events --region "+alert.ShellWord(r.done.Key.Location())+
			" --lookup-attributes "+alert.ShellWord("AttributeKey=EventId,AttributeValue="+use.Event))
	} else {
		// Without a time in the filter gcloud reads one day.
		filter := fmt.Sprintf("insertId=%q AND timestamp>=%q", use.Event, use.At.UTC().Truncate(time.Second).Format(time.RFC3339))
		steps = append(steps, "gcloud logging read "+alert.ShellWord(filter)+" --project "+alert.ShellWord(r.done.Key.Account()))
	}
	return alert.Alert{
		ID: id, DedupKey: id, Audience: alert.Owners, Severity: alert.High, Change: ChangeOldVersion, Time: use.At, Runbook: "functions/compliance/README.md#old-key-version-used",
		Summary: fmt.Sprintf("Cluster %s used an old version of its key in %s after it was re-encrypted: %s under %s on %s UTC",
			c.Name, r.done.Region, use.Operation, version.Short(), use.At.UTC().Format(time.DateTime)),
		Impact: fmt.Sprintf("The Cloud API reported the store key as re-encrypted under %s on %s UTC. Something of the cluster is encrypted under the old version still. "+
			"A restore of a backup from before does the same. Until the cause is known, disable and destroy no old version. keyturn sends no request because of this.",
			r.done.Version.Short(), r.done.At.UTC().Format(time.DateTime)),
		RecoverySteps: append(steps,
			"If it was a restore, or somebody else who acts as the principal, release the cluster:",
			"keyturn release "+alert.ShellWord(c.ID),
			"Otherwise ask Cockroach Labs which part of the cluster uses the old version, with the event."),
		Key: r.done.Key, Principal: string(r.principal), Clusters: []alert.AffectedCluster{{ID: c.ID, Name: c.Name, Regions: []string{r.done.Region}}},
	}
}

// proofOf is what is known of a re-encryption, as reports have it.
func proofOf(c cmek.Cluster, done ledger.Done, p ledger.Proof) report.Proof {
	r := report.Proof{Cluster: c.ID, Name: c.Name, Region: p.Region, Key: p.Key, Version: p.Version, DoneAt: p.DoneAt, State: report.NotYetCorroborated, Seen: done.Evidence,
		Evidence: p.Evidence, EvidenceSHA256: p.EvidenceSHA256, At: p.At, Record: p.Record, Because: p.Because}
	if p.Record != "" {
		r.State, r.Source, r.OtherCauses = report.Corroborated, p.Source, p.OtherCauses
		if p.Use.Event != "" {
			r.Use = &p.Use
		}
	}
	if p.OldUse.Event != "" {
		r.State, r.OldUse = report.OldVersionUsed, &p.OldUse
	}
	return r
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }
