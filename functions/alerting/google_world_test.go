package alerting

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// fakeIAM is the IAM of the project of [googleTexts], with the organization above it. It may be down, or hang.
type fakeIAM struct {
	outage func() outage
	// hangs and denied are names whose reads hang, or are denied.
	hangs, denied map[string]bool

	mu    sync.Mutex
	texts map[string]string
	// reads counts reads by name, and asked how often it was asked for the names.
	reads map[string]int
	asked int
}

// withIAM gives the world a cluster on Google Cloud whose documents can be read.
func withIAM(t *testing.T, w *world) (*versionedKMS, *fakeIAM) {
	t.Helper()
	kms := onGoogle(t, w, "4")
	iam := &fakeIAM{outage: func() outage { return w.kms.outage }, texts: googleTexts(), reads: map[string]int{}, hangs: map[string]bool{}, denied: map[string]bool{}}
	w.Policies = iam
	return kms, iam
}

func (i *fakeIAM) set(name, text string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.texts[name] = text
}

func (i *fakeIAM) Deciding(use cmek.Use, known map[string]string) []string {
	if use.Spec.Type != cmek.GCPCloudKMS {
		return nil
	}
	i.mu.Lock()
	i.asked++
	i.mu.Unlock()
	by, _ := google.CockroachAccount(use.ClusterID, use.CloudAccount)
	return google.Deciding(use.Spec.URI, use.Spec.AuthPrincipal, maps.Clone(known), by)
}

func (i *fakeIAM) Document(ctx context.Context, name string) (string, error) {
	if err := i.outage().err(ctx); err != nil {
		return "", err
	}
	i.mu.Lock()
	text, ok := i.texts[name]
	i.reads[name]++
	i.mu.Unlock()
	switch {
	case i.hangs[name]:
		<-ctx.Done()
		return "", ctx.Err()
	case i.denied[name]:
		return "", fmt.Errorf("read %s: %w", name, cmek.ErrDenied)
	case !ok:
		return "", fmt.Errorf("read %s: %w", name, cmek.ErrNotFound)
	}
	return text, nil
}

func (w *world) iam() *fakeIAM { return w.Policies.(*fakeIAM) }

func (w *world) cryptoKeys() *versionedKMS { return w.KMS.(*versionedKMS) }

// identified is an event of the id, as if it happened now.
func (w *world) identified(e cmek.Event, id string) cmek.Event {
	now := event(id, e.Change)
	e.ID, e.Time = id, now.Time
	return e
}
