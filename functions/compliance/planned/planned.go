// Package planned judges changes before they are made: by a plan of Terraform, or by a document that somebody is about to set. Would it cut
// a cluster off, expose a key, shorten a deletion window, switch rotation off, or destroy a key that is still needed?
//
// It is pure, and no judge of its own: it makes documents and facts of the plan, before and after, and asks the judge of alerting and the
// checks of the catalog. What is known after apply is unread, and never fine. What the plan does not show stays as it is, so a change is bad
// if there is something outside of the plan with which access is there before and not after.
package planned

import (
	"cmp"
	"slices"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// Question is what a change is judged by.
type Question string

// The questions. NotJudged is a change that nobody can judge.
const (
	CutsOff   Question = "cuts off"
	Exposes   Question = "exposes"
	LocksOut  Question = "locks out"
	Window    Question = "deletion window"
	Rotation  Question = "rotation"
	Destroys  Question = "destroys"
	NotJudged Question = "not judged"
)

// Finding is a change that should not be made, or of which it is not known whether it may be.
type Finding struct {
	// Address is that of the resource. Others are the resources that cause it with this one.
	Address string   `json:"address"`
	Others  []string `json:"others,omitempty"`
	// Question is one of cuts off, exposes, locks out, deletion window, rotation, destroys, not judged.
	Question Question `json:"question"`
	// Result is FAIL, or ERROR if it is not known.
	Result   checks.Result  `json:"result"`
	Severity alert.Severity `json:"severity"`
	// Check is the entry of the catalog that holds no more; "" if there is none.
	Check string `json:"check,omitempty"`
	// Why says what would happen, or what is not known.
	Why string `json:"why"`
	// Subject is the key, the role or the service account that it is about; "" if that is not known, or is not to be shown.
	Subject string `json:"subject,omitempty"`
}

// Report is what a plan would do.
type Report struct {
	// Findings come in the order of addresses; none if nothing is wrong.
	Findings []Finding `json:"findings"`
	// Judged counts the changes of resources that can matter.
	Judged int `json:"judged"`
	// Inventory says by which clusters the changes were judged.
	Inventory string `json:"inventory"`
}

// Reaches reports whether a failure is of the severity or worse.
func (r Report) Reaches(least alert.Severity) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool {
		return f.Result == checks.Fail && alert.Worse(f.Severity, least) == f.Severity
	})
}

// Unread counts the findings that are for want of an answer.
func (r Report) Unread() (n int) {
	for _, f := range r.Findings {
		if f.Result == checks.Error {
			n++
		}
	}
	return n
}

// Use is a key info of a cluster, current or past, with the account or project that the cluster's nodes run in.
type Use struct {
	checks.Use
	CloudAccount string
}

// Inventory is who uses which key.
type Inventory struct {
	Uses []Use
	// Incomplete is why there may be more; "" if these are all.
	Incomplete string
}

// Known is what is known beside the plan.
type Known struct {
	// Inventory is nil if nobody read the clusters: then whoever a document admits before the change is taken to need what it admits to.
	Inventory *Inventory
	// Documents are policies as they are now, by the names of [cmek.Policies].
	Documents map[string]string
	// OrganizationID is the external id of trust policies; "" if it is not known.
	OrganizationID string
	// Keys are what was read of the keys that the plan destroys or disables.
	Keys map[cmek.KeyURI]checks.Key
	// Declared is what the owner declared, valid.
	Declared checks.Declarations
	Now      time.Time
}

const noInventory = "no inventory of clusters: everybody whom a document admits before the change is assumed to need it"

// Judge says what a plan would do.
func Judge(p *Plan, known Known) Report {
	known.Declared.Thresholds = known.Declared.Thresholds.WithDefaults()
	b := build(p, known)
	j := newJudging(b)
	j.documents()
	j.principals()
	j.keys()
	j.rest()
	return j.report()
}

// report sorts the findings, each once.
func (j *judging) report() Report {
	r := Report{Findings: j.findings, Judged: len(j.judged), Inventory: noInventory}
	if i := j.b.known.Inventory; i != nil {
		r.Inventory = "all clusters"
		if i.Incomplete != "" {
			r.Inventory = "not all clusters (" + i.Incomplete + "): also, everybody whom a document admits before the change is assumed to need it"
		}
	}
	slices.SortFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Question, b.Question), cmp.Compare(a.Result, b.Result), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Why, b.Why))
	})
	r.Findings = slices.CompactFunc(r.Findings, func(a, b Finding) bool {
		return a.Address == b.Address && a.Question == b.Question && a.Result == b.Result && a.Subject == b.Subject && a.Why == b.Why
	})
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	return r
}
