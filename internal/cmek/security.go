package cmek

import "time"

// SecurityFinding is a finding as a product that gathers findings takes it.
type SecurityFinding struct {
	// ID is the same from report to report of one finding. Check is what found it.
	ID, Check          string
	Title, Description string
	// Recommendation says what to do; "" if there is nothing to do.
	Recommendation string
	// Severity is one of critical, high, medium and low.
	Severity string
	// Failed: the finding stands. Gone: nobody looks for it any more. Neither: it is fixed.
	Failed, Gone bool
	// Since is when it began. Updated is later than in every report of it before.
	Since, Updated time.Time
	// Resource names what it is about.
	Resource string
	// Requirements are what it is against, as "PCI DSS 4.0/3.7.4".
	Requirements []string
}

// RejectedFinding is a finding that the product did not take.
type RejectedFinding struct {
	ID, Code, Why string
}
