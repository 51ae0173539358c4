package alerting

import (
	"slices"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy"
)

// keyPolicy judges a new policy of one key: replicas of a multi-Region key have policies of their own.
func (j *judgement) keyPolicy(uses []Use) {
	key := j.event.Key
	after, text, ok := j.after(j.docs.keyPolicy(key), "the new key policy")
	if !ok {
		return
	}
	before, same := j.documentBefore(text, string(key))
	if j.Same = same; same {
		return
	}
	known := []string{key.Account()}
	var judged []cmek.Principal
	for _, use := range uses {
		if use.Spec.URI == key {
			judged = append(judged, use.Spec.AuthPrincipal)
		}
	}
	judged = unique(judged)
	for _, principal := range judged {
		known = append(known, string(principal))
	}
	var roles []policy.Role
	for _, principal := range most(j, judged, mostDocuments, "principals") {
		role, unread := j.docs.role(principal)
		access := policy.KeyAccess(after, key, role)
		j.decide(access, unread)
		roles = append(roles, role)
		if before == nil {
			j.Words = append(j.Words, access.Sentences()...)
		}
	}
	grants := policy.KeyGrants(after, key)
	if len(judged) == 0 {
		j.anybody(grants)
	}
	if before == nil {
		j.Words = append(j.Words, "the previous policy is not known")
	} else {
		j.Words = append(j.Words, policy.DiffKeyPolicy(*before, after, key, roles...)...)
		grants = policy.Gained(policy.KeyGrants(*before, key), grants)
	}
	if len(policy.Managers(after, key)) == 0 {
		j.LocksOut = true
		if !slices.ContainsFunc(j.Words, func(s string) bool { return strings.HasSuffix(s, policy.Unmanageable) }) {
			j.Words = append(j.Words, policy.Unmanageable)
		}
	}
	j.expose(policy.Outsiders(grants, known...), before == nil)
}

// anybody judges a key policy where no cluster is known whose principal could be tried: it can only be certain that nobody may.
func (j *judgement) anybody(grants []policy.Grant) {
	var nobody []string
	for _, action := range policy.KeyActions {
		if !slices.ContainsFunc(grants, func(g policy.Grant) bool { return slices.Contains(g.Actions, action) }) {
			nobody = append(nobody, action)
		}
	}
	if len(nobody) > 0 {
		j.CutsOff = true
		j.Words = append(j.Words, "nobody may call "+strings.Join(nobody, ", "))
		return
	}
	j.unclear("no principal of a cluster is known that could be tried")
}

// expose notes new grants to strangers. Where it is not known what was granted before, each of them may be new.
func (j *judgement) expose(grants []policy.Grant, unknownBefore bool) {
	for _, grant := range grants {
		j.Exposes = true
		if unknownBefore {
			j.Words = append(j.Words, grant.String())
		}
	}
}
