package report_test

import (
	"fmt"
	"iter"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/report"
)

// largeFleet is a scheduled run over clusters with three regions each on two clouds. Of twenty clusters one fails and one was not read, unless
// all fail.
type largeFleet struct {
	clusters int
	allFail  bool
}

var fleetRegions = map[checks.Cloud][]string{
	checks.AWS: {"eu-west-1", "us-east-1", "us-west-2"}, checks.GCP: {"asia-northeast1", "europe-west4", "us-central1"},
}

func (l largeFleet) manifest() report.Manifest {
	m := report.Manifest{
		Schema: report.ManifestSchema, Run: 42, ChainStart: noon.AddDate(0, -2, 0), PreviousSHA256: hex64(1), Complete: true,
		Period:       report.Period{From: noon.Add(-24 * time.Hour), Began: noon.Add(-9 * time.Minute), Ended: noon},
		Organization: "acme-payments", Accounts: []string{"111122223333", "444455556666", "acme-keys"},
		Caller: "arn:aws:sts::111122223333:assumed-role/keyturn-compliance/run", Version: "v1.2.3", Commit: "0a1b2c3", Catalog: hex64(2), Configuration: hex64(3),
		Population: report.Population{
			Listed: l.clusters + 2, Checked: l.clusters, OutOfScope: []report.Cluster{{ID: "11111111-0000", Name: "sandbox", Why: "declared: a playground without data"}},
			Unread: []report.Cluster{{ID: "22222222-0000", Name: "ledger-old", Why: "the ledger knows it, and the Cloud API does not list it"}},
		},
		Denied:  []report.Denied{{Source: "AWS KMS ListGrants", Count: max(1, l.clusters/20), Grant: "kms:ListGrants in the key policy of arn:aws:kms:us-east-1:111122223333:key/00000003"}},
		Changes: report.Changes{Accepted: 1, Mirrored: 2},
		Exceptions: []report.Excepted{
			{Exception: exception, Accepts: 1},
			{Exception: checks.Exception{Check: "CMEK-26", Subject: "*", Owner: "platform", Approver: "security", Reason: "trails move to the log account", Expires: noon.Add(-time.Hour)}},
		},
	}
	for i := range min(l.clusters, 30) {
		m.Chains = append(m.Chains, report.Head{Cluster: clusterID(i), Start: noon.AddDate(0, -2, 0), Count: 3 + i, SHA256: hex64(i)},
			report.Head{Cluster: clusterID(i), Of: report.OfProofs, Start: noon.AddDate(0, -2, 0), Count: 1 + i, SHA256: hex64(i + 50)})
	}
	for i := range 3 {
		for _, extension := range []string{".jsonl", ".csv"} {
			m.Files = append(m.Files, report.File{Name: report.PartName(m.ChainStart, m.Run, i+1, extension), SHA256: hex64(i + 7), Bytes: 12345 << i})
		}
	}
	return m
}

var exception = checks.Exception{
	Check: "CMEK-22", Subject: "*", Owner: "platform", Approver: "security", Reason: "the replica moves in January", Expires: noon.AddDate(0, 1, 0),
}

func hex64(n int) string { return fmt.Sprintf("%064x", (n+1)*7919) }

func clusterID(i int) string { return fmt.Sprintf("%08x-5f2a-4c1d-9e3b-0242ac12%04x", i*2654435, i) }

func (l largeFleet) lines() iter.Seq2[report.Line, error] {
	return func(yield func(report.Line, error) bool) {
		for i := range l.clusters {
			for _, line := range l.cluster(i) {
				if !yield(line, nil) {
					return
				}
			}
		}
	}
}

func (l largeFleet) cluster(i int) (lines []report.Line) {
	cloud := checks.AWS
	if i%5 == 4 {
		cloud = checks.GCP
	}
	name := fmt.Sprintf("%s-%05d", []string{"orders", "payments", "ledger", "inventory", "accounts"}[i%5], i)
	whole := checks.Subject{Kind: checks.ClusterSubject, ID: clusterID(i), Cloud: cloud, ClusterID: clusterID(i), ClusterName: name}
	say := func(f checks.Finding) { lines = append(lines, report.Line{Finding: &f}) }
	say(l.judged("CMEK-01", whole, i, 3, "the cluster has no CMEK"))
	for n, region := range fleetRegions[cloud] {
		in := whole
		in.Kind, in.ID, in.Region = checks.RegionSubject, whole.ID+"/"+region, region
		say(l.judged("CMEK-04", in, i+n, 7, fmt.Sprintf("rotated on 2026-11-%02d, not re-encrypted within 24 h", 1+i%20)))
		uri, version := cmek.KeyURI(fmt.Sprintf("arn:aws:kms:%s:111122223333:key/%08x-12ab-34cd-56ef-1234567890ab", region, i)), "2"
		if cloud == checks.GCP {
			uri = cmek.KeyURI(fmt.Sprintf("projects/acme-keys/locations/%s/keyRings/crdb/cryptoKeys/store-%05d", region, i))
		}
		on := checks.Subject{Kind: checks.KeySubject, ID: string(uri), Key: uri, Cloud: cloud, Account: uri.Account(), Region: region}
		say(l.judged("CMEK-05", on, i+n, 61, "the key is disabled"))
		say(l.judged("CMEK-10", on, i+2*n, 31, "the current material is in use since 2025-09-01, longer than the declared 365 days"))
		say(l.unread("CMEK-20", on, i))
		if i%40 == 9 && n == 1 {
			f := finding("CMEK-22", checks.Fail, alert.Medium, on, "the replica is in another jurisdiction")
			f.Exception, f.Since = &exception, noon.AddDate(0, 0, -40)
			say(f)
		}
		t := rotations(uri, version, clusterID(i), name, region, i, n)
		if p := proofOf(t, i); p != nil {
			lines = append(lines, report.Line{Proof: p})
		}
		lines = append(lines, report.Line{Timeline: t})
	}
	return lines
}

// proofOf is what stands for the re-encryption: of sixty regions an old version was used in one, one was found up to date, and the log has nothing
// of a fifth.
func proofOf(t *report.Timeline, i int) *report.Proof {
	r := &t.Regions[0]
	switch {
	case r.Version.IsZero():
		return nil
	case i%60 == 51:
		r.Adopted = "updated after the rotation"
		return nil
	}
	p := used(r.Name)
	p.Cluster, p.Name, p.Region, p.Key, p.Version, p.DoneAt = r.Cluster, r.Name, r.Region, t.Key, r.Version, r.At
	p.Evidence = "evidence/" + r.Cluster + "/20260301T120000Z-000002-" + r.Region + ".json"
	p.Record, p.Use.Encrypted, p.OldUse.Decrypted = "proofs/"+r.Cluster+"/20260301T120000Z-000001-"+r.Region+".json", r.Version, cmek.KeyVersion{Scheme: cmek.Primary, ID: "1"}
	switch {
	case i%60 == 41:
		return &p
	case i%5 == 1:
		p.State, p.Record, p.At, p.Source, p.Use, p.OtherCauses = report.NotYetCorroborated, "", time.Time{}, "", nil, nil
		p.Because = "the log has no use of the key under " + r.Version.Short() + " by " + string(theUser) + " since the request"
	default:
		p.State = report.Corroborated
	}
	p.OldUse = nil
	return &p
}

func (l largeFleet) judged(check string, s checks.Subject, i, every int, why string) checks.Finding {
	if !l.allFail && i%(20*every/7+11) != 5 {
		f := finding(check, checks.Pass, alert.None, s, "as it should be")
		f.Since = noon.AddDate(0, 0, -30)
		if i%97 == 0 {
			f.Was, f.Since = checks.Fail, noon
		}
		return f
	}
	c, _ := checks.Of(check)
	f := finding(check, checks.Fail, c.Severity(), s, why)
	f.Since = noon.Add(-time.Duration(i%200) * time.Hour)
	if i%3 == 0 {
		f.Was = checks.Pass
	}
	f.Fix = []string{"Find out who changed it, then put it back:", "aws kms describe-key --key-id " + s.ID, "aws kms enable-key --key-id " + s.ID}
	f.Evidence = append(f.Evidence, checks.Evidence{Need: "key", Of: "us-east-1", Reading: checks.Reading{ReadAt: noon.Add(-2 * time.Minute), Source: "AWS KMS DescribeKey"}})
	return f
}

func (l largeFleet) unread(check string, s checks.Subject, i int) checks.Finding {
	if i%20 != 3 {
		return finding(check, checks.Pass, alert.None, s, "no grant on the key")
	}
	f := finding(check, checks.Error, alert.Medium, s, "grants on the key could not be read: access denied")
	f.Grants = []string{"kms:ListGrants in the key policy of " + s.ID}
	f.Fix = []string{"Grant keyturn's compliance function " + f.Grants[0] + "."}
	f.Evidence = append(f.Evidence, checks.Evidence{Need: "grants", Reading: checks.Reading{Source: "AWS KMS ListGrants", Unread: "access denied", Grant: f.Grants[0]}})
	f.Since = noon.AddDate(0, 0, -3)
	return f
}

func rotations(uri cmek.KeyURI, version, id, name, region string, i, n int) *report.Timeline {
	at := func(k int) time.Time { return noon.AddDate(0, -4*k, -i%110).Add(-time.Hour) }
	v := func(n string) cmek.KeyVersion { return cmek.KeyVersion{Scheme: cmek.Primary, ID: n} }
	t := &report.Timeline{
		Key: uri, CryptoperiodDays: 365, Current: report.TimelineVersion{Version: v("3"), Since: at(0)},
		Versions: []report.TimelineVersion{{Version: v("1"), Since: at(2)}, {Version: v("2"), Since: at(1)}, {Version: v("3"), Since: at(0)}},
		Regions:  []report.TimelineRegion{{Cluster: id, Name: name, Region: region, Version: v("3"), At: at(0).Add(time.Duration(4+i%50) * time.Minute)}},
	}
	switch {
	case i%50 == 11 && n == 0: // waits
		t.Current, t.Regions[0].Version, t.Regions[0].At = report.TimelineVersion{Version: v("3"), Since: noon.AddDate(0, 0, -6)}, v(version), at(1).Add(26*time.Hour)
		t.Versions[2].Since = t.Current.Since
	case i%50 == 21 && n == 1: // unknown
		t.Regions[0].Version, t.Regions[0].At = cmek.KeyVersion{}, time.Time{}
	case i%50 == 31 && n == 2:
		t.Unread, t.Versions, t.Current = "AWS KMS DescribeKey: access denied", nil, report.TimelineVersion{}
	case i%50 == 41: // too old
		t.Versions, t.Current = t.Versions[:1], report.TimelineVersion{Version: v("1"), Since: noon.AddDate(-1, -2, 0)}
		t.Versions[0].Since = t.Current.Since
		t.Regions[0].Version, t.Regions[0].At = v("1"), t.Current.Since.Add(3*24*time.Hour)
	}
	return t
}
