package checks

import (
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// rotation: key material is replaced as often as declared.
var rotation = []Check{
	{
		ID: "CMEK-08", Title: "Automatic rotation on",
		Clause:     "A key in use rotates automatically, or is declared to be rotated by its owner.",
		Severities: []alert.Severity{alert.Medium}, Subject: KeySubject,
		Needs:     []Need{needUses, needRotation},
		AWS:       Rule{judge: judgeAutomatic, fix: awsFixRotation},
		GCP:       Rule{judge: judgeAutomatic, fix: gcpFixRotation},
		Citations: rotationCitations,
		Mirrors:   []string{},
	},
	{
		ID: "CMEK-09", Title: "Rotation period within policy, not overdue",
		Clause:     "The period of automatic rotation is within the declared cryptoperiod, and the next rotation is not in the past.",
		Severities: []alert.Severity{alert.Medium}, Subject: KeySubject,
		Needs: []Need{needUses, needRotation},
		AWS:   Rule{judge: judgePeriod, fix: awsFixRotation},
		GCP:   Rule{judge: judgePeriod, fix: gcpFixRotation},
		Citations: slices.Concat(cisGCPRotation, cite(ccc, cccVersion, byFINOS, "CCC.Core.CN11.AR06 (90 days)", "CCC.Core.CN11.AR02 (180 days)", "CCC.Core.CN11.AR05 (365 days)"),
			cite(nist, nistRev, bySteampipe, "IA-5", "SC-28"), cite(pci, pciVersion, byStave, "3.6"), cite(soc2, socVersion, byStave, "CC6.1", "CC8.1")),
		Mirrors: []string{},
	},
	{
		ID: "CMEK-10", Title: "Key material not too old",
		Clause:     "The current material of a key in use is not older than the configured period plus grace.",
		Severities: []alert.Severity{alert.Medium}, Subject: KeySubject,
		Needs:     []Need{needUses, needDescription, needRotation, needFirstSeen},
		AWS:       Rule{judge: judgeAge, fix: awsFixAge},
		GCP:       Rule{judge: judgeAge, fix: gcpFixAge},
		Citations: rotationCitations,
		Mirrors:   []string{},
	},
	{
		ID: "CMEK-11", Title: "Imported material does not expire unnoticed",
		Clause:     "Imported material of a key in use never expires, or its owner is declared to replace it and the expiry is not near.",
		Severities: []alert.Severity{alert.High}, Subject: KeySubject,
		Needs: []Need{needUses, needDescription},
		AWS:   Rule{judge: judgeImported, fix: awsFixImported, GoesWith: []string{"CMEK-05"}},
		GCP:   Rule{NotApplicable: "imported material of Cloud KMS does not expire"},
		Citations: slices.Concat(cite(nist, nistRev, byStave, "SC-12(1)", "SC-12(2)"), cite(pci, pciVersion, byStave, "3.6.1.2"),
			cite(soc2, socVersion, byStave, "CC6.1")),
		Mirrors: []string{},
	},
}

var rotationCitations = slices.Concat(cisAWSRotation, cisGCPRotation, cite(hub, hubVersion, byAWS, "KMS.4"),
	cite(nist, nistRev, bySteampipe, "CM-6(a)", "CM-9(b)", "SA-9(6)", "SC-12", "SC-12(2)", "SC-12(6)"), cite(pci, pciVersion, bySteampipe, "3.7.4", "3.7.5"),
	cite(iso, isoVersion, byProwler, "A.8.24"), cite(soc2, socVersion, byProwler, "PI1.5"), cite(ccc, cccVersion, byFINOS, "CCC.KeyMgmt.CN03"))

func judgeAutomatic(s *scope) verdict {
	rotation := s.key.Rotation.Value
	switch {
	case s.unused() != "":
		return notApplicable("%s", s.unused())
	case s.declared.key(s.key.URI).OwnerRotated:
		return pass("declared to be rotated by its owner (CMEK-10)")
	case rotation.Unsupported:
		return notApplicable("the KMS cannot rotate such a key by itself (CMEK-10)")
	case rotation.Enabled:
		return pass("rotates automatically every %s", span(rotation.Period))
	}
	return fail("automatic rotation is off")
}

func judgePeriod(s *scope) verdict {
	rotation, limit := s.key.Rotation.Value, s.declared.cryptoperiod(s.key.URI)
	switch {
	case s.unused() != "":
		return notApplicable("%s", s.unused())
	case rotation.Unsupported:
		return notApplicable("the KMS cannot rotate such a key by itself (CMEK-10)")
	case !rotation.Enabled:
		return notApplicable("automatic rotation is off (CMEK-08)")
	case rotation.Period <= 0:
		return unknown("the KMS does not tell the rotation period")
	case rotation.Next.IsZero():
		return unknown("the KMS does not tell the next rotation")
	case rotation.Period > limit:
		return fail("the rotation period is %s, longer than the declared %s", span(rotation.Period), span(limit))
	case rotation.Next.Before(s.now.Add(-clocks)):
		return fail("the rotation of %s is overdue", at(rotation.Next))
	case rotation.Next.After(s.now.Add(rotation.Period + clocks)):
		return fail("the next rotation is on %s, later than one period from now", day(rotation.Next))
	}
	return pass("rotates every %s, next on %s", span(rotation.Period), day(rotation.Next))
}

func judgeAge(s *scope) verdict {
	if why := s.unused(); why != "" {
		return notApplicable("%s", why)
	}
	period, whose := s.declared.cryptoperiod(s.key.URI), "declared"
	if rotation := s.key.Rotation.Value; rotation.Enabled && !s.declared.key(s.key.URI).OwnerRotated {
		period, whose = rotation.Period, "configured"
	}
	limit := period + days(s.declared.Thresholds.RotationGraceDays)
	began := s.key.began()
	switch {
	case period <= 0:
		return unknown("the KMS does not tell the rotation period")
	case began.IsZero() || s.future(began):
		return unknown("it is not known when the current material came into use")
	case s.now.Sub(began) > limit:
		return fail("the current material is in use since %s, longer than the %s period and grace of %s", day(began), whose, span(limit))
	}
	return pass("the current material is in use since %s; the %s period and grace are %s", day(began), whose, span(limit))
}

// began is when the current material came into use: as the KMS proves it, as keyturn saw it, or when it was made; zero if none is known. Of
// a version that was set back to, it is when it was made.
func (k *Key) began() time.Time {
	key := k.Description.Value
	if !key.RotatedAt.IsZero() {
		return key.RotatedAt
	}
	v, listed := key.VersionInfo(key.Version)
	if !key.SetBackAfter().IsZero() {
		return v.CreatedAt // it was in use before keyturn saw it become current again, or may have been
	}
	if seen := k.FirstSeen.Value; !seen.IsZero() {
		return seen
	}
	if listed && !v.CreatedAt.IsZero() {
		return v.CreatedAt
	}
	if key.NeverRotated {
		return key.CreatedAt
	}
	return time.Time{}
}

func judgeImported(s *scope) verdict {
	key, notice := s.key.Description.Value, days(s.declared.Thresholds.ExpiryNoticeDays)
	switch {
	case s.unused() != "":
		return notApplicable("%s", s.unused())
	case key.Origin == "":
		return unknown("the KMS does not tell the key's origin")
	case key.Origin != "EXTERNAL":
		return notApplicable("the material is not imported; its origin is %s", clip(key.Origin))
	case key.State == cmek.KeyPendingImport:
		return fail("the material is missing or has expired")
	case key.ExpirationModel == "KEY_MATERIAL_DOES_NOT_EXPIRE":
		return pass("the material does not expire")
	case key.ExpirationModel == "" || key.ValidTo.IsZero():
		return unknown("the KMS does not tell when the material expires")
	case key.ValidTo.Before(s.now.Add(notice)):
		return fail("material expires on %s, which is within %s, and the whole key becomes unusable then", at(key.ValidTo), span(notice))
	case !s.declared.key(s.key.URI).OwnerRotated:
		return fail("material expires on %s, and nobody is declared to replace it", day(key.ValidTo))
	}
	return pass("material expires on %s, and the owner is declared to replace it", day(key.ValidTo))
}

func awsFixRotation(s *scope, p *plan) {
	uri := s.key.URI
	if primary := s.key.Description.Value.Primary; primary != "" && needDescription.unread(s.key.Description.Reading, s.now) == "" {
		uri = primary // replicas have no rotation of their own
	}
	p.say("Set the rotation period, within 90 to 2560 days. It is counted from now:")
	p.kms(uri, "enable-key-rotation", "rotation-period-in-days", number(clamp(s.declared.cryptoperiod(s.key.URI), 90, 2560)))
}

func gcpFixRotation(s *scope, p *plan) {
	period := clamp(s.declared.cryptoperiod(s.key.URI), 1, 36500)
	next := later(s.now.AddDate(0, 0, 1), s.key.Rotation.Value.Next)
	if limit := s.now.AddDate(0, 0, period); next.After(limit) {
		next = limit
	}
	p.gcloud(s.key.URI, "update", "rotation-period", number(period)+"d", "next-rotation-time", next.UTC().Format(time.RFC3339))
}

func awsFixAge(s *scope, p *plan) {
	if s.key.Description.Value.Origin == "EXTERNAL" {
		p.say("Import new material into the key first. A key can be rotated on demand 25 times in its life.")
	} else {
		p.say("Rotate the key. A key can be rotated on demand 25 times in its life.")
	}
	uri := s.key.URI
	if primary := s.key.Description.Value.Primary; primary != "" {
		uri = primary
	}
	p.kms(uri, "rotate-key-on-demand")
	p.say("keyturn re-encrypts the store keys when the rotation is complete.")
}

func gcpFixAge(s *scope, p *plan) {
	uri := s.key.URI
	p.say("Create a new version and make it the primary one; keyturn re-encrypts the store keys then.")
	p.run("gcloud kms keys versions create", nil, append([]string{"key", uri.ID()}, keyFlags(uri)...)...)
	p.steps[len(p.steps)-1] += " --primary"
}

func awsFixImported(s *scope, p *plan) {
	p.say("Import the key's material again, the same that it had, without an expiry or with a later one:")
	p.kms(s.key.URI, "get-parameters-for-import", "wrapping-algorithm", "RSAES_OAEP_SHA_256", "wrapping-key-spec", "RSA_4096")
	p.say("If it is to expire, declare under keys in keyturn.yaml that its owner replaces it (owner_rotated).")
}

// clamp is the duration in whole days, between the two.
func clamp(d time.Duration, least, most int) int {
	return min(max(int(d/(24*time.Hour)), least), most)
}
