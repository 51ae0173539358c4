// Package policy answers one question about AWS IAM policy documents: who may use this key? It decides whether a cluster's
// role can still use its key ([KeyAccess]), whether CockroachDB Cloud can still assume that role and nobody else can
// ([RoleTrust]), who else has access ([KeyGrants], [TrustGrants]), and describes what a change changed
// ([DiffKeyPolicy], [DiffTrust], [DiffAccess]).
//
// It is pure, and it never guesses: what depends on something that is not in the documents is [CannotTell]. Answers are
// about the documents given. Service and resource control policies, KMS grants and session policies are not among them.
// Package google, below it, answers the same question about Google Cloud.
package policy

// Decision is the answer to "may it?".
type Decision int

// The three decisions. The zero value is CannotTell.
const (
	// CannotTell: the answer depends on something that the documents do not say.
	CannotTell Decision = iota
	// Denied: an explicit Deny, or no statement that allows it.
	Denied
	// Allowed: a statement allows it and nothing in the documents denies it.
	Allowed
)

// String is the decision as a word for people.
func (d Decision) String() string {
	switch d {
	case Allowed:
		return "allowed"
	case Denied:
		return "denied"
	}
	return "cannot tell"
}

// Verdict is a decision with its reason.
type Verdict struct {
	Decision Decision
	// Why is a clause for people that names the statement or the missing fact that decided.
	Why string
}
