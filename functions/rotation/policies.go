package rotation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// notePolicies keeps the policies of the cluster's keys and roles: each new document goes into the archive, and the ledger
// keeps the last one for alerting, which says what a change changed. KMS and IAM keep no earlier versions of them. What we
// may not read is left out: whether it may be read is not this function's business.
func (w *worker) notePolicies(ctx context.Context, info cmek.ClusterInfo) error {
	if w.Policies == nil {
		return nil
	}
	var problems []error
	for _, region := range info.RegionInfos {
		current, n := region.Current()
		if n != 1 || current.Spec.Type != cmek.AWSKMS {
			continue
		}
		problems = append(problems,
			w.notePolicy(ctx, string(current.Spec.URI), func() (string, error) { return w.Policies.KeyPolicy(ctx, current.Spec.URI) }),
			w.notePolicy(ctx, string(current.Spec.AuthPrincipal), func() (string, error) { return w.Policies.RoleTrust(ctx, current.Spec.AuthPrincipal) }),
			w.notePolicy(ctx, ledger.RolePolicies(current.Spec.AuthPrincipal), func() (string, error) {
				return w.Policies.RolePolicies(ctx, current.Spec.AuthPrincipal)
			}))
	}
	return errors.Join(problems...)
}

// policiesEvery is how often a policy is read: it changes rarely, and the policies of one role take several calls.
const policiesEvery = time.Hour

func (w *worker) notePolicy(ctx context.Context, name string, read func() (string, error)) error {
	if !w.timeLeft(ctx) || !w.noted.first(name) {
		return nil
	}
	noted, err := w.Ledger.PolicyNoted(ctx, name)
	if err != nil || time.Since(noted.At) < policiesEvery {
		return err
	}
	document, err := read()
	if err != nil {
		w.Log.Debug("policy not read", "name", name, "error", err)
		return nil
	}
	if noted.Document == document {
		return w.Ledger.NotePolicy(ctx, name, document, noted)
	}
	if err := w.Archive.PutIfAbsent(ctx, ledger.PolicyName(name, document), []byte(document)); err != nil {
		return fmt.Errorf("archive policy of %s: %w", name, err)
	}
	return w.Ledger.NotePolicy(ctx, name, document, noted)
}

// noteStates keeps the states of the keys that were read, for alerting: only a key that was seen enabled before its deletion was
// scheduled is ever enabled again by keyturn. A state is written when it changes, and once an hour.
func (w *worker) noteStates(ctx context.Context, keys map[cmek.KeyURI]KeyFact) error {
	var problems []error
	for _, uri := range slices.Sorted(maps.Keys(keys)) {
		fact := keys[uri]
		if fact.Err != nil || !w.timeLeft(ctx) || !w.noted.first("state of "+string(uri)) {
			continue
		}
		noted, err := w.Ledger.StateNoted(ctx, uri)
		if err == nil && (noted.State != fact.Key.State || time.Since(noted.At) >= policiesEvery) {
			err = w.Ledger.NoteState(ctx, uri, fact.Key.State, noted)
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}
