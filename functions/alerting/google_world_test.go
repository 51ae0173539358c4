package alerting

import (
	"context"
	"fmt"
	"maps"
	"strings"
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
	// reads counts reads by name.
	reads map[string]int
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

// side is one cloud, with what cuts a cluster off there and what restores it. Each returns the event of it, after which reads show it.
type side struct {
	name  string
	begin func(t *testing.T, w *world)
	// disable and enable are about what encrypts: the key, or its primary version. happens is what the alert is about.
	disable, enable func(w *world, id string) cmek.Event
	disabledAlert   string
	// cut and grant are about the policy of the key; open lets a stranger use it.
	cut, grant, open func(w *world, id string) cmek.Event
	// unreadable makes it unclear what cut did.
	unreadable func(w *world, yes bool)
	// lost takes the access by the principal's own policy.
	lost func(w *world, id string) cmek.Event
}

func (w *world) iam() *fakeIAM { return w.Policies.(*fakeIAM) }

func (w *world) cryptoKeys() *versionedKMS { return w.KMS.(*versionedKMS) }

// identified is an event of the id, as if it happened now.
func (w *world) identified(e cmek.Event, id string) cmek.Event {
	now := event(id, e.Change)
	e.ID, e.Time = id, now.Time
	return e
}

var sides = []side{
	{
		name: "AWS", begin: func(*testing.T, *world) {},
		disable: (*world).isDisabled, enable: (*world).isEnabled, disabledAlert: disabledAlert,
		cut: func(w *world, id string) cmek.Event {
			w.kms.keyPolicy = rootOnly
			return event(id, cmek.ChangeKeyPolicy, document(rootOnly))
		},
		grant: func(w *world, id string) cmek.Event {
			w.kms.keyPolicy = goodKeyPolicy
			return event(id, cmek.ChangeKeyPolicy, document(goodKeyPolicy))
		},
		open: func(w *world, id string) cmek.Event {
			w.kms.keyPolicy = openKeyPolicy
			return event(id, cmek.ChangeKeyPolicy, document(openKeyPolicy))
		},
		unreadable: func(w *world, yes bool) {
			if w.kms.rolePolicies = noPolicies; yes {
				w.kms.rolePolicies = ""
			}
		},
		lost: func(w *world, id string) cmek.Event {
			w.kms.trust = brokenTrust
			return event(id, cmek.ChangePrincipalTrust, ofRole(role), document(brokenTrust))
		},
	},
	{
		name: "Google Cloud", begin: func(t *testing.T, w *world) { withIAM(t, w) },
		disable: func(w *world, id string) cmek.Event {
			w.cryptoKeys().versions["4"] = cmek.KeyDisabled
			return onVersion(w, id, "disabled")
		},
		enable: func(w *world, id string) cmek.Event {
			w.cryptoKeys().versions["4"] = cmek.KeyEnabled
			return onVersion(w, id, "enabled")
		},
		disabledAlert: "[CRITICAL] Version 4 of key payments was disabled",
		cut: func(w *world, id string) cmek.Event {
			w.iam().set(string(cryptoKey), noGrant)
			return w.identified(onCryptoKey(noGrant), id)
		},
		grant: func(w *world, id string) cmek.Event {
			w.iam().set(string(cryptoKey), googleTexts()[string(cryptoKey)])
			return w.identified(onCryptoKey(googleTexts()[string(cryptoKey)]), id)
		},
		open: func(w *world, id string) cmek.Event {
			text := bindingsOf(useRole + " " + member + " " + outsider)
			w.iam().set(string(cryptoKey), text)
			return w.identified(onCryptoKey(text), id)
		},
		unreadable: func(w *world, yes bool) { w.iam().denied[onKeyRing] = yes },
		lost: func(w *world, id string) cmek.Event {
			w.iam().set(onAccount, noGrant)
			return w.identified(withDelta(onServiceAccount(noGrant), "REMOVE", mintRole, crlMember), id)
		},
	},
}

// onVersion is the entry of a change of the primary version's state.
func onVersion(w *world, id, state string) cmek.Event {
	e := logged(w.t, "kms-updatecryptokeyversion-"+state, "", "cryptoKeyVersions/3", "cryptoKeyVersions/4", `"crypto_key_version_id": "3"`, `"crypto_key_version_id": "4"`)[0]
	return w.identified(e, id)
}

// onBothSides runs the test in a world of each cloud.
func onBothSides(t *testing.T, test func(t *testing.T, w *world, s side)) {
	t.Helper()
	for _, s := range sides {
		t.Run(strings.ReplaceAll(s.name, " ", ""), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				s.begin(t, w)
				test(t, w, s)
			})
		})
	}
}
