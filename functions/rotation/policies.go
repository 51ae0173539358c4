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

// notePolicies keeps the documents that decide about the access to the cluster's keys: each new one goes into the archive, and the
// ledger keeps the last one for alerting, which says what a change changed. Clouds keep no earlier versions of them. What we
// may not read is left out: whether it may be read is not this function's business.
func (w *worker) notePolicies(ctx context.Context, c *ledger.Cluster) error {
	if w.Policies == nil {
		return nil
	}
	var problems []error
	for _, p := range c.Projects {
		c = c.SpelledIn(p.ID) // by which alerting looks for them
	}
	for _, region := range c.CMEK.RegionInfos {
		if current, n := region.Current(); n == 1 {
			problems = append(problems, w.notePoliciesOf(ctx, cmek.Use{ClusterID: c.ID, CloudAccount: c.Cluster.AccountID, Spec: current.Spec}))
		}
	}
	return errors.Join(problems...)
}

// notePoliciesOf notes the documents of one use, until those that are known name nothing more.
func (w *worker) notePoliciesOf(ctx context.Context, use cmek.Use) error {
	var problems []error
	known, tried := map[string]string{}, map[string]bool{}
	for {
		before := len(tried)
		for _, name := range w.Policies.Deciding(use, known) {
			if tried[name] || len(tried) == mostDocuments {
				continue
			}
			tried[name] = true
			text, err := w.notePolicy(ctx, name)
			if text != "" {
				known[name] = text
			}
			problems = append(problems, err)
		}
		if len(tried) == before {
			return errors.Join(problems...)
		}
	}
}

// mostDocuments bounds the documents of one use.
const mostDocuments = 200

// policiesEvery is how often a policy is read: it changes rarely, and the policies of one role take several calls.
const policiesEvery = time.Hour

// notePolicy notes a document, once in a tick, and returns it as it was read, or noted within the hour; "" if it is not known.
func (w *worker) notePolicy(ctx context.Context, name string) (document string, err error) {
	if document, again := w.noted.again(name); again || !w.timeLeft(ctx) {
		return document, nil
	}
	defer func() { w.noted.keep(name, document) }()
	noted, err := w.Ledger.PolicyNoted(ctx, name)
	if err != nil || time.Since(noted.At) < policiesEvery {
		return noted.Document, err
	}
	document, err = w.Policies.Document(ctx, name)
	if err != nil {
		w.Log.Debug("policy not read", "name", name, "error", err)
		return "", nil
	}
	if noted.Document != document {
		if err := w.Archive.PutIfAbsent(ctx, ledger.PolicyName(name, document), []byte(document)); err != nil {
			return document, fmt.Errorf("archive policy of %s: %w", name, err)
		}
	}
	return document, w.Ledger.NotePolicy(ctx, name, document, noted)
}

// notedDocuments are those of the keys and principals that were noted in a tick, with their texts.
type notedDocuments struct {
	once  onceEach
	texts map[string]string
	size  int
}

// mostText bounds the texts that are kept, in bytes.
const mostText = 8_000_000

// again reports whether the document was noted before in the tick, and what it was, if that is kept. From the first call on it was.
func (d *notedDocuments) again(name string) (text string, again bool) {
	again = !d.once.first(name)
	d.once.mu.Lock()
	defer d.once.mu.Unlock()
	return d.texts[name], again
}

func (d *notedDocuments) keep(name, text string) {
	d.once.mu.Lock()
	defer d.once.mu.Unlock()
	if d.texts == nil {
		d.texts = map[string]string{}
	}
	if d.size+len(text) <= mostText && text != "" {
		d.texts[name], d.size = text, d.size+len(text)
	}
}

// noteStates keeps the states of the keys that were read, for alerting: only a key that was seen enabled before its deletion was
// scheduled is ever enabled again by keyturn. A state is written when it changes, and once an hour.
func (w *worker) noteStates(ctx context.Context, keys map[cmek.KeyURI]KeyFact) error {
	var problems []error
	for _, uri := range slices.Sorted(maps.Keys(keys)) {
		fact := keys[uri]
		if fact.Err != nil || !w.timeLeft(ctx) || !w.noted.once.first("state of "+string(uri)) {
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
