package checks

// Frameworks, each with the version whose numbers the citations are. NIST is SP 800-53 Rev. 5, SOC 2 its trust services criteria of 2017.
const (
	nist = "NIST SP 800-53"
	pci  = "PCI DSS"
	iso  = "ISO/IEC 27001"
	soc2 = "SOC 2"
	ccc  = "FINOS CCC"
	hub  = "AWS FSBP (Security Hub)"
	ct   = "AWS Control Tower"

	nistRev, pciVersion, isoVersion, socVersion = "Rev. 5", "4.0", "2022", "TSC 2017"
	cccVersion, hubVersion, ctVersion           = "2026-08", "1.0.0", "2026"
)

// Who publishes a mapping. inferred: nobody does, it is ours by analogy.
const (
	byAWS       = "AWS"
	byProwler   = "Prowler"
	bySteampipe = "Steampipe"
	byScout     = "ScoutSuite"
	byStave     = "Stave"
	byFINOS     = "FINOS"
	byInference = "keyturn, inferred"
)

// none is for checks that no framework is known to be mapped to.
var none = []Citation{}

func cite(framework, version, by string, clauses ...string) []Citation {
	all := make([]Citation, len(clauses))
	for i, clause := range clauses {
		all[i] = Citation{framework, version, clause, by}
	}
	return all
}

// The benchmark items whose number depends on the version.
var (
	cisAWSRotation = []Citation{
		{"CIS AWS Foundations", "1.2", "2.8", bySteampipe}, {"CIS AWS Foundations", "1.3-2.0", "3.8", bySteampipe},
		{"CIS AWS Foundations", "3.0-5.0", "3.6", byProwler}, {"CIS AWS Foundations", "6.0-7.0", "4.6", byProwler},
	}
	cisAWSMonitor = []Citation{
		{"CIS AWS Foundations", "1.2", "3.7", byScout}, {"CIS AWS Foundations", "1.4-5.0", "4.7", byProwler}, {"CIS AWS Foundations", "6.0-7.0", "5.7", byProwler},
	}
	cisAWSPublic   = []Citation{{"CIS AWS Foundations", "7.0", "2.21", byProwler}}
	cisGCPPublic   = []Citation{{"CIS GCP Foundations", "1.1-4.0", "1.9", byProwler}, {"CIS GCP Foundations", "5.0", "1.10", byProwler}}
	cisGCPRotation = []Citation{{"CIS GCP Foundations", "1.1-4.0", "1.10", byProwler}, {"CIS GCP Foundations", "5.0", "1.11", byProwler}}
	cisGCPDuties   = []Citation{{"CIS GCP Foundations", "1.1-4.0", "1.11", byProwler}, {"CIS GCP Foundations", "5.0", "1.12", byProwler}}
)
