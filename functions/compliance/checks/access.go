package checks

import (
	"slices"

	"github.com/keyturn/keyturn/internal/alert"
)

// access: the clusters can use their keys, and nobody else can. What the rules of the clouds say stands in access_aws.go and
// access_gcp.go. That no IAM policy of an account allows the use of all keys is Security Hub's own check (KMS.1, KMS.2), and not here.
var access = []Check{
	{
		ID: "CMEK-12", Title: "Principal may do what the cluster needs, and no more",
		Clause:     "The policies of the key and of the principal grant exactly what CockroachDB Cloud needs of the key.",
		Severities: []alert.Severity{alert.Critical, alert.Medium}, Subject: AccessSubject,
		AWS:       Rule{Needs: []Need{needPolicy, needPolicies}, judge: awsExact, fix: awsFixExact, GoesWith: []string{"CMEK-15", "CMEK-16", "CMEK-18"}},
		GCP:       Rule{Needs: []Need{needIAM, needAccount, needAccountIAM}, judge: gcpExact, fix: gcpFixExact, GoesWith: []string{"CMEK-15", "CMEK-17", "CMEK-18"}},
		Citations: slices.Concat(cite(nist, nistRev, byFINOS, "AC-6"), cite(ccc, cccVersion, byFINOS, "CCC.KeyMgmt.CN02")),
		Mirrors:   []string{alert.AccessLost},
	},
	{
		ID: "CMEK-13", Title: "Key not public",
		Clause:     "No policy lets everybody use or manage the key.",
		Severities: []alert.Severity{alert.Critical}, Subject: KeySubject,
		AWS: Rule{Needs: []Need{needPolicy}, judge: awsPublic, fix: awsFixPublic, GoesWith: []string{"CMEK-14", "CMEK-18"}},
		GCP: Rule{Needs: []Need{needIAM}, judge: gcpPublic, fix: gcpFixPublic, GoesWith: []string{"CMEK-14"}},
		Citations: slices.Concat(cite(hub, hubVersion, byAWS, "KMS.5"), cisAWSPublic, cisGCPPublic, cite(nist, nistRev, bySteampipe, "AC-3", "AC-5", "AC-6", "MP-2"),
			cite(soc2, socVersion, bySteampipe, "CC5.2", "CC6.1")),
		Mirrors: []string{},
	},
	{
		ID: "CMEK-14", Title: "Only expected principals can decrypt",
		Clause:     "Nobody but the clusters' principals and the declared ones can decrypt with the key.",
		Severities: []alert.Severity{alert.High}, Subject: KeySubject,
		Needs: []Need{needUses},
		AWS:   Rule{Needs: []Need{needPolicy, needGrants}, judge: awsExpected, fix: awsFixExpected, GoesWith: []string{"CMEK-13", "CMEK-18", "CMEK-20"}},
		GCP:   Rule{Needs: []Need{needIAM}, judge: gcpExpected, fix: gcpFixExpected, GoesWith: []string{"CMEK-13", "CMEK-18"}},
		Citations: slices.Concat(cite(ccc, cccVersion, byFINOS, "CCC.KeyMgmt.CN02"), cite(nist, nistRev, byFINOS, "AC-6"), cite(nist, nistRev, byStave, "AC-3"),
			cite(pci, pciVersion, byStave, "3.6.1"), cite(iso, isoVersion, byStave, "A.8.24"), cite(soc2, socVersion, byStave, "CC6.1")),
		Mirrors: []string{},
	},
	{
		ID: "CMEK-15", Title: "No deleted principal in the policy",
		Clause:     "The key's policy names no principal that was deleted: a new one of the same name does not have its access.",
		Severities: []alert.Severity{alert.Critical, alert.Medium}, Subject: KeySubject,
		Needs:     []Need{needUses},
		AWS:       Rule{Needs: []Need{needPolicy}, judge: awsOrphans, fix: awsFixOrphans, GoesWith: []string{"CMEK-12"}},
		GCP:       Rule{Needs: []Need{needIAM}, judge: gcpOrphans, fix: gcpFixOrphans, GoesWith: []string{"CMEK-12"}},
		Citations: slices.Concat(cite(nist, nistRev, byStave, "AC-3"), cite(pci, pciVersion, byStave, "7.2.1"), cite(soc2, socVersion, byStave, "CC6.1")),
		Mirrors:   []string{alert.AccessLost},
	},
	{
		ID: "CMEK-16", Title: "Trust policy names the cluster's account with the external id, nobody else",
		Clause:     "The role trusts the accounts of its clusters, with the organization's id as external id, and nobody else.",
		Severities: []alert.Severity{alert.Critical}, Subject: PrincipalSubject,
		Needs:     []Need{needAssumers},
		AWS:       Rule{Needs: []Need{needOrganization, needTrust}, judge: awsTrust, fix: awsFixTrust, GoesWith: []string{"CMEK-12"}},
		GCP:       Rule{NotApplicable: "service accounts have no trust policy (CMEK-17)"},
		Citations: none,
		Mirrors:   []string{alert.AccessLost},
	},
	{
		ID: "CMEK-17", Title: "Service account enabled, and only Cockroach Labs acts as it",
		Clause:     "The service account exists and is enabled, and only the accounts of its clusters at Cockroach Labs may mint its tokens.",
		Severities: []alert.Severity{alert.Critical}, Subject: PrincipalSubject,
		Needs:     []Need{needAssumers},
		AWS:       Rule{NotApplicable: "clusters on AWS assume roles (CMEK-16)"},
		GCP:       Rule{Needs: []Need{needAccount, needAccountIAM}, judge: gcpActAs, fix: gcpFixActAs, GoesWith: []string{"CMEK-12"}},
		Citations: none,
		Mirrors:   []string{alert.AccessLost},
	},
	{
		ID: "CMEK-18", Title: "Separation of duties",
		Clause:     "Nobody who administers the key can also use it.",
		Severities: []alert.Severity{alert.High, alert.Medium}, Subject: KeySubject,
		Needs: []Need{needUses},
		AWS:   Rule{Needs: []Need{needPolicy}, judge: awsDuties, fix: awsFixDuties, GoesWith: []string{"CMEK-12", "CMEK-13", "CMEK-14"}},
		GCP:   Rule{Needs: []Need{needIAM}, judge: gcpDuties, fix: gcpFixDuties, GoesWith: []string{"CMEK-12", "CMEK-14"}},
		Citations: slices.Concat(cisGCPDuties, cite(nist, nistRev, bySteampipe, "AC-5", "AC-3", "AC-6"), cite(soc2, socVersion, byProwler, "CC6.3", "CC1.3"),
			cite(iso, isoVersion, byProwler, "A.5.3", "A.5.15", "A.8.2"), cite(pci, pciVersion, byStave, "7.2.2")),
		Mirrors: []string{},
	},
	{
		ID: "CMEK-20", Title: "No unexpected grant",
		Clause:     "No grant is to an unexpected principal, allows further grants, or is older than the key's last rotation.",
		Severities: []alert.Severity{alert.Medium}, Subject: KeySubject,
		Needs: []Need{needUses},
		AWS:   Rule{Needs: []Need{needGrants, needDescription}, judge: awsGrants, fix: awsFixGrants, GoesWith: []string{"CMEK-14"}},
		GCP:   Rule{NotApplicable: "Cloud KMS has no grants beside IAM policies (CMEK-14)"},
		Citations: slices.Concat(cite(nist, nistRev, byStave, "AC-6", "AC-3"), cite(pci, pciVersion, byStave, "7.2.1", "3.7.5"), cite(soc2, socVersion, byStave, "CC6.1"),
			cite(ct, ctVersion, byAWS, "CT.KMS.PR.3")),
		Mirrors: []string{},
	},
}
