package simulator

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// googleCloud is what the simulated APIs of Google Cloud share. Resources are named as their APIs name them, with projects by id.
type googleCloud struct {
	projects map[string]*googleProject
	// parents are what is above a project, a folder or an organization: its parent's name, "" at the top.
	parents  map[string]string
	rings    map[string]*googleRing
	keys     map[string]*googleKey
	accounts []*googleAccount
	roles    map[string]*googleRole
	// denies are the deny policies by the name of the project, folder or organization that they are attached to.
	denies map[string][]*denyPolicy
	// bound are the bindings of principal access boundary policies by the project, folder or organization whose principals they bind, and
	// boundaries the policies by their names.
	bound      map[string][]boundPolicy
	boundaries map[string]boundaryPolicy
	// policies are the allow policies that were set, by the name of the resource.
	policies map[string]*allowPolicy
	// secrets are the contents of secrets, objects those of Cloud Storage by bucket/name with all generations, the oldest first.
	secrets map[string]string
	objects map[string][]storedObject
	// log are the entries of all projects, folders and organizations, the oldest first.
	log []keptEntry
	// denied are the permissions that callers do not have on a resource; "" stands for all.
	denied map[string][]string
}

// googleProject is a project with what can be switched off for all of it.
type googleProject struct {
	id, number string
	created    time.Time
	// shutDown: its deletion was requested. Nothing in it works until that is undone.
	shutDown, withoutBilling bool
	// off are the APIs that are disabled, by the names of their services.
	off map[string]bool
}

func (p *googleProject) name() string { return "projects/" + p.id }

// googleRing is a KeyRing.
type googleRing struct {
	name    string
	created time.Time
}

// googleKey is a CryptoKey of the purpose ENCRYPT_DECRYPT.
type googleKey struct {
	name                  string
	created               time.Time
	protection, algorithm string
	labels                map[string]string
	// versions are those that the key ever had; the index is the number of the version, less one.
	versions []*googleVersion
	// primaries are the versions that were primary, oldest first; none if the key never had one.
	primaries []primaryVersion
	// rotationPeriod is 0 if the key rotates at most once more, nextRotation zero if it does not rotate by itself.
	rotationPeriod time.Duration
	nextRotation   time.Time
	// schedule counts changes of the schedule; what an earlier one put on the agenda no longer applies.
	schedule int
	// destroyAfter is how long a version stays DESTROY_SCHEDULED.
	destroyAfter time.Duration
	// reasons are the justifications for which the key may be used; nil is any.
	reasons []string
	// failNext is how the next automatic rotation fails.
	failNext *googleError
}

// primaryVersion is a version from the moment when encryption began to use it.
type primaryVersion struct {
	version      *googleVersion
	encryptsFrom time.Time
}

// Version states: docs.cloud.google.com/kms/docs/key-states.
const (
	versionEnabled   = "ENABLED"
	versionDisabled  = "DISABLED"
	versionScheduled = "DESTROY_SCHEDULED"
	versionDestroyed = "DESTROYED"
)

// googleVersion is a CryptoKeyVersion.
type googleVersion struct {
	key     *googleKey
	number  int
	state   string
	created time.Time
	// usableUntil is how long a version that was enabled can still be used: disabling is eventually consistent.
	usableUntil time.Time
	// destroyTime is set in DESTROY_SCHEDULED only, destroyed in DESTROYED only.
	destroyTime, destroyed time.Time
	// destructions counts how often the destruction was scheduled; what an earlier one put on the agenda no longer applies.
	destructions int
}

func (v *googleVersion) id() string   { return strconv.Itoa(v.number) }
func (v *googleVersion) name() string { return v.key.name + "/cryptoKeyVersions/" + v.id() }

// usable reports whether the version encrypts and decrypts.
func (v *googleVersion) usable(now time.Time) bool {
	return v.state == versionEnabled || v.usableUntil.After(now)
}

// primary is the version that the API shows as primary, nil if there is none.
func (k *googleKey) primary() *googleVersion {
	if len(k.primaries) == 0 {
		return nil
	}
	return k.primaries[len(k.primaries)-1].version
}

// encryptsWith is the version that Encrypt uses, nil if there is none. After a change of the primary it is the former one for a while:
// docs.cloud.google.com/kms/docs/consistency.
func (k *googleKey) encryptsWith(now time.Time) *googleVersion {
	for i := len(k.primaries) - 1; i > 0; i-- {
		if !k.primaries[i].encryptsFrom.After(now) {
			return k.primaries[i].version
		}
	}
	if len(k.primaries) == 0 {
		return nil
	}
	return k.primaries[0].version
}

// version is the one with the number, nil if the key has none such.
func (k *googleKey) version(number string) *googleVersion {
	i, err := strconv.Atoi(number)
	if err != nil || i < 1 || i > len(k.versions) || strconv.Itoa(i) != number {
		return nil
	}
	return k.versions[i-1]
}

func (k *googleKey) addVersion(at time.Time) *googleVersion {
	v := &googleVersion{key: k, number: len(k.versions) + 1, state: versionEnabled, created: at}
	k.versions = append(k.versions, v)
	return v
}

// setPrimary makes the version the primary one. Everything but encryption shows it at once.
func (w *World) setPrimary(v *googleVersion, at time.Time) {
	v.key.primaries = append(v.key.primaries, primaryVersion{v, at.Add(w.duration(GooglePropagation))})
}

// scheduleGoogleRotation puts the next automatic rotation on the agenda, in place of any before; the zero time takes it off.
func (w *World) scheduleGoogleRotation(k *googleKey, next time.Time) {
	k.schedule++
	k.nextRotation = next
	if next.IsZero() {
		return
	}
	schedule := k.schedule
	w.agenda.at(next, func(due time.Time) {
		if k.schedule != schedule {
			return
		}
		w.rotateGoogleKey(k, due)
		if k.rotationPeriod == 0 {
			w.scheduleGoogleRotation(k, time.Time{})
			return
		}
		w.scheduleGoogleRotation(k, due.Add(k.rotationPeriod))
	})
}

// rotateGoogleKey is an automatic rotation: a new version that is primary, whatever the states of the others; or the failure that
// somebody has asked for. What becomes of the schedule after a failure is not documented; here it goes on.
func (w *World) rotateGoogleKey(k *googleKey, at time.Time) {
	failed := k.failNext
	k.failNext = nil
	if failed == nil {
		w.setPrimary(k.addVersion(at), at)
	}
	if !w.is(GoogleRotationEvent, "none") {
		w.emitRotationEvent(k, failed, at)
	}
}

// FailNextKeyRotation makes the next automatic rotation of a key of Cloud KMS fail with the code of google.rpc.Code, for example 8.
func (w *World) FailNextKeyRotation(key string, code int, message string) error {
	w.enter()
	defer w.mu.Unlock()
	k := w.google.key(key)
	switch {
	case k == nil:
		return fmt.Errorf("fail rotation of key %q: no such key of Cloud KMS", key)
	case code < 1 || code >= len(googleCodes):
		return fmt.Errorf("fail rotation of key %q: %d is no code of a failure; want 1 to %d", key, code, len(googleCodes)-1)
	}
	k.failNext = &googleError{code: code, message: message}
	return nil
}

// DenyGoogle makes every call on the resource fail with 403, or only those that need one of the permissions, as if the caller had none;
// false gives the permissions back. The resource is a key, a key ring, a project, a folder, an organization, a service account (by
// e-mail) or a role, by its name. Clusters use keys as before.
func (w *World) DenyGoogle(resource string, denied bool, permissions ...string) error {
	w.enter()
	defer w.mu.Unlock()
	resource = w.google.called(resource)
	if !w.google.exists(resource) {
		return fmt.Errorf("deny %q: no such resource", resource)
	}
	if len(permissions) == 0 {
		permissions = []string{""}
	}
	left := slices.DeleteFunc(slices.Clone(w.google.denied[resource]), func(p string) bool { return slices.Contains(permissions, p) })
	if denied {
		left = append(left, permissions...)
	}
	w.google.denied[resource] = left
	return nil
}

// canonical is a resource's name with the project's id in place of its number, and without the service.
func (g *googleCloud) canonical(name string) string {
	name = strings.TrimPrefix(name, "//cloudkms.googleapis.com/")
	rest, ok := strings.CutPrefix(name, "projects/")
	if !ok {
		return name
	}
	number, rest, below := strings.Cut(rest, "/")
	for id, p := range g.projects {
		if p.number == number {
			number = id
		}
	}
	if below {
		rest = "/" + rest
	}
	return "projects/" + number + rest
}

// exists reports whether the canonical name is that of something here.
func (g *googleCloud) exists(name string) bool {
	_, isNode := g.parents[name]
	_, isRole := predefinedRoles[name]
	return isNode || isRole || g.rings[name] != nil || g.keys[name] != nil || g.roles[name] != nil || g.account(name) != nil
}

// key finds a CryptoKey by a URI, nil if there is none.
func (g *googleCloud) key(uri string) *googleKey {
	if cmek.KeyURI(uri).Type() != cmek.GCPCloudKMS {
		return nil
	}
	return g.keys[g.canonical(cmek.KeyURI(uri).Canonical())]
}

// project is that of a canonical name, nil if the name is of no project here.
func (g *googleCloud) project(name string) *googleProject {
	rest, _ := strings.CutPrefix(name, "projects/")
	id, _, _ := strings.Cut(rest, "/")
	return g.projects[id]
}

// above are the names of what is above a project or a folder, nearest first.
func (g *googleCloud) above(node string) (names []string) {
	for parent := g.parents[node]; parent != ""; parent = g.parents[parent] {
		names = append(names, parent)
	}
	return names
}

// shiftClock moves what is to come, as the world's clock moves.
func (g *googleCloud) shiftClock(by time.Duration) {
	for _, k := range g.keys {
		if !k.nextRotation.IsZero() {
			k.nextRotation = k.nextRotation.Add(by)
		}
		for i := range k.primaries {
			k.primaries[i].encryptsFrom = k.primaries[i].encryptsFrom.Add(by)
		}
		for _, v := range k.versions {
			v.usableUntil = v.usableUntil.Add(by)
			if v.state == versionScheduled {
				v.destroyTime = v.destroyTime.Add(by)
			}
		}
	}
}

// googleNumber is a number of so many digits that belongs to the parts, always the same.
func googleNumber(size int, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	digits := strconv.FormatUint(binary.BigEndian.Uint64(sum[:8]), 10) + strconv.FormatUint(binary.BigEndian.Uint64(sum[8:16]), 10)
	return "1" + digits[:size-1]
}

func newGoogleCloud() googleCloud {
	return googleCloud{
		projects: map[string]*googleProject{}, parents: map[string]string{}, rings: map[string]*googleRing{}, keys: map[string]*googleKey{},
		roles: map[string]*googleRole{}, denies: map[string][]*denyPolicy{}, bound: map[string][]boundPolicy{}, boundaries: map[string]boundaryPolicy{}, policies: map[string]*allowPolicy{}, denied: map[string][]string{},
		secrets: map[string]string{}, objects: map[string][]storedObject{},
	}
}

// seedGoogle makes projects, folders, roles, key rings, keys and service accounts. Projects and service accounts that keys and clusters
// name need no seed of their own. Keys without a policy get the binding of CockroachDB's documentation
// (cockroachlabs.com/docs/cockroachcloud/managing-cmek), and service accounts that of the account that Cockroach Labs acts with.
func (w *World) seedGoogle(seed Seed, now time.Time) {
	g := &w.google
	maps.Copy(g.secrets, seed.Google.Secrets)
	for _, p := range seed.Google.Projects {
		w.addGoogleProject(p, now)
	}
	for _, r := range seed.Google.Roles {
		g.roles[r.Name] = &googleRole{name: r.Name, permissions: r.Permissions}
	}
	users := map[string][]string{} // by key
	for _, c := range seed.Clusters {
		for _, r := range c.Regions {
			if r.Key.Type() != cmek.GCPCloudKMS {
				continue
			}
			key := g.canonical(r.Key.Canonical())
			users[key] = append(users[key], string(r.AuthPrincipal))
			w.seedGoogleAccount(string(r.AuthPrincipal), crlAccount(c.ID, c.AccountID), now)
		}
	}
	for _, key := range seed.Keys {
		if key.URI.Type() == cmek.GCPCloudKMS {
			w.addGoogleProject(GoogleProjectSeed{ID: key.URI.Account()}, now)
			w.seedGoogleKey(key, users[g.canonical(key.URI.Canonical())], now)
		}
	}
}

func (w *World) addGoogleProject(seed GoogleProjectSeed, now time.Time) {
	g := &w.google
	if g.project(g.canonical("projects/"+seed.ID)) != nil {
		return
	}
	p := &googleProject{id: seed.ID, number: seed.Number, created: ago(now, 1000), off: map[string]bool{}}
	if p.number == "" {
		p.number = googleNumber(12, "project", p.id)
	}
	g.projects[p.id] = p
	below := p.name()
	for _, node := range seed.Ancestors {
		g.parents[below] = node
		below = node
	}
	g.parents[below] = ""
}

// seedGoogleAccount makes the service account that a cluster acts as, and lets Cockroach Labs' account create its tokens.
func (w *World) seedGoogleAccount(email, by string, now time.Time) {
	project := cmek.Principal(email).Account()
	if project == "" {
		return
	}
	w.addGoogleProject(GoogleProjectSeed{ID: project}, now)
	a := w.google.account(email)
	if a == nil {
		a = w.addGoogleAccount(project, email, googleNumber(21, "service account", email))
	}
	w.google.policy(a.name()).grant("roles/iam.serviceAccountTokenCreator", "serviceAccount:"+by)
}

func (w *World) seedGoogleKey(seed KeySeed, users []string, now time.Time) {
	g := &w.google
	name := g.canonical(seed.URI.Canonical())
	ring, _, _ := strings.Cut(name, "/cryptoKeys/")
	k := &googleKey{
		name: name, created: ago(now, seed.AgeDays), protection: "SOFTWARE", algorithm: symmetricAlgorithm, labels: seed.Tags,
		destroyAfter: defaultDestroyAfter, rotationPeriod: time.Duration(seed.RotationPeriodDays) * 24 * time.Hour,
	}
	g.keys[name] = k
	if g.rings[ring] == nil {
		g.rings[ring] = &googleRing{ring, k.created}
	}
	last := k.created
	k.primaries = append(k.primaries, primaryVersion{k.addVersion(last), last})
	for _, rotation := range seed.Rotations {
		last = ago(now, rotation.AgeDays)
		k.primaries = append(k.primaries, primaryVersion{k.addVersion(last), last})
	}
	if seed.Disabled {
		for _, v := range k.versions {
			v.state = versionDisabled
		}
	}
	if k.rotationPeriod > 0 {
		for next := last; ; {
			if next = next.Add(k.rotationPeriod); next.After(now) {
				w.scheduleGoogleRotation(k, next)
				break
			}
		}
	}
	if seed.Policy != "" {
		g.policies[name], _ = parseAllowPolicy([]byte(seed.Policy)) // the seed was validated
		return
	}
	slices.Sort(users)
	for _, user := range slices.Compact(users) {
		g.policy(name).grant("roles/cloudkms.cryptoKeyEncrypterDecrypter", "serviceAccount:"+user)
	}
}

// crlAccount is the account of Cockroach Labs that acts as the customer's service account:
// cockroachlabs.com/docs/cockroachcloud/managing-cmek.
func crlAccount(clusterID, accountID string) string {
	return "crl-kms-user-" + clusterID[len(clusterID)-12:] + "@" + cmp.Or(accountID, "crl-unknown") + ".iam.gserviceaccount.com"
}
