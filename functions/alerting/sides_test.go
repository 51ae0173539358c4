package alerting

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

// side is one cloud: a key there that a cluster uses, and what happens to it. What encrypts, and is disabled or deleted, is the key on
// AWS, and its primary version on Google Cloud.
type side struct {
	name  string
	begin func(t *testing.T, w *world)
	key   cmek.KeyURI
	// where is the name of the cluster, and its region.
	where string
	// incident is the dedup key of what encrypts being unusable, and thing what headlines call it.
	incident, thing string
	// scheduled and deleted are what headlines say of a deletion that was scheduled, and of one that was done.
	scheduled, deleted string
	// reads has what encrypts read as in the state.
	reads func(w *world, state cmek.KeyState)
	// event is the event of a change of what encrypts, by the name that the change has on AWS. Reads do not show it.
	event func(w *world, id string, change cmek.Change, edits ...func(*cmek.Event)) cmek.Event
	// refused is the event of a use by the cluster that was refused.
	refused func(w *world, id string, class cmek.Failure) cmek.Event
	// caller is somebody else of the owner's account.
	caller func(*cmek.Event)
	// cut and grant are about the policy of the key; open lets a stranger use it. Each returns the event of it, after which reads show it.
	cut, grant, open func(w *world, id string) cmek.Event
	// unreadable makes it unclear what cut did.
	unreadable func(w *world, yes bool)
	// lost takes the access by the principal's own policy.
	lost func(w *world, id string) cmek.Event
}

func (s side) disable(w *world, id string) cmek.Event {
	s.reads(w, cmek.KeyDisabled)
	return s.event(w, id, cmek.ChangeKeyDisabled)
}

func (s side) enable(w *world, id string) cmek.Event {
	s.reads(w, cmek.KeyEnabled)
	return s.event(w, id, cmek.ChangeKeyEnabled)
}

func (s side) schedule(w *world, id string) cmek.Event {
	s.reads(w, cmek.KeyDeletionScheduled)
	return s.event(w, id, cmek.ChangeDeletionScheduled)
}

func (s side) disabledAlert() string  { return "[CRITICAL] " + s.thing + " was disabled" }
func (s side) scheduledAlert() string { return "[CRITICAL] " + s.thing + " " + s.scheduled }

// closedAlert is the beginning of the end by hand, up to what had happened.
func (s side) closedAlert() string {
	return "[RESOLVED] Closed by hand by ana@laptop: " + strings.ToLower(s.thing[:1]) + s.thing[1:] + " was "
}

var sides = []side{
	{
		name: "AWS", begin: func(*testing.T, *world) {},
		key: key, where: "orders in us-east-1", incident: theKeys, thing: "Key " + key.ID(), scheduled: "was scheduled for deletion", deleted: "was deleted",
		reads: func(w *world, state cmek.KeyState) {
			if state == cmek.KeyDestroyed {
				state = cmek.KeyNotFound
			}
			w.kms.set(key, state)
		},
		event: func(_ *world, id string, change cmek.Change, edits ...func(*cmek.Event)) cmek.Event {
			return event(id, change, edits...)
		},
		refused: func(_ *world, id string, class cmek.Failure) cmek.Event {
			return event(id, cmek.ChangeUseRefused, by(role), func(e *cmek.Event) { e.Error, e.Failure = "Refused", class })
		},
		caller: by("arn:aws:iam::111122223333:role/other"),
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
		key: cryptoKey, where: "ledger in us-east1", incident: "key-unusable/" + string(cryptoKey) + "/cryptoKeyVersions/4", thing: "Version 4 of key payments",
		scheduled: "was scheduled for destruction", deleted: "was destroyed",
		reads: func(w *world, state cmek.KeyState) { w.cryptoKeys().versions["4"] = state },
		event: func(w *world, id string, change cmek.Change, edits ...func(*cmek.Event)) cmek.Event {
			e := onVersion(w, id, map[cmek.Change]string{
				cmek.ChangeKeyDisabled: "kms-updatecryptokeyversion-disabled", cmek.ChangeKeyEnabled: "kms-updatecryptokeyversion-enabled",
				cmek.ChangeDeletionScheduled: "kms-destroycryptokeyversion", cmek.ChangeDeletionCanceled: "kms-restorecryptokeyversion",
				cmek.ChangeKeyDeleted: "hypothetical-kms-scheduleddestructionevent",
			}[change])
			for _, edit := range edits {
				edit(&e)
			}
			return e
		},
		refused: func(w *world, id string, class cmek.Failure) cmek.Event {
			sample := map[cmek.Failure]string{cmek.FailureUnfit: "disabled", cmek.FailureDenied: "denied", cmek.FailurePassing: "quota"}[class]
			if sample == "" {
				sample = "denied"
			}
			e := onVersion(w, id, "kms-decrypt-refused-"+sample)
			e.Failure = class
			return e
		},
		caller: func(e *cmek.Event) { e.Principal = "bob@acme.example" },
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

// onVersion is the entry of the sample about the primary version.
func onVersion(w *world, id, sample string) cmek.Event {
	e := logged(w.t, sample, "", "cryptoKeyVersions/3", "cryptoKeyVersions/4", `"crypto_key_version_id": "3"`, `"crypto_key_version_id": "4"`)[0]
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
