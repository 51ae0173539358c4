package simulator

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// awsKMS is AWS KMS in all Regions.
type awsKMS struct {
	// account calls the KMS unless the access key id names another.
	account       string
	byARN         map[string]*awsKey
	byRegionAndID map[string]*awsKey
	aliases       []*awsAlias
	// callers are those that the seed knows, by access key id.
	callers map[string]kmsCaller
	// importTokens are those given out, wrappingKeys the RSA keys behind them by size.
	importTokens map[string]importToken
	wrappingKeys map[int]*rsa.PrivateKey
}

// Key states of docs.aws.amazon.com/kms/latest/developerguide/key-state.html.
const (
	stateCreating               = "Creating"
	stateEnabled                = "Enabled"
	stateDisabled               = "Disabled"
	statePendingImport          = "PendingImport"
	statePendingDeletion        = "PendingDeletion"
	statePendingReplicaDeletion = "PendingReplicaDeletion"
)

const (
	originAWS      = "AWS_KMS"
	originExternal = "EXTERNAL"

	automatic = "AUTOMATIC"
	onDemand  = "ON_DEMAND"
)

// awsKey is one KMS key in one Region: a single-Region key, or the primary or a replica of a multi-Region key.
type awsKey struct {
	arn, id, region, account string

	lineage     *lineage
	created     time.Time
	description string
	policy      string
	tags        map[string]string
	state       string
	// deletionDate is set in PendingDeletion only, deletionWindow (days) also in PendingReplicaDeletion.
	deletionDate   time.Time
	deletionWindow int
	grants         []*grant
	// imported are the key materials that the key has at the moment, by id; nil unless the origin is EXTERNAL. lastUse is nil
	// until the key is used.
	imported map[string]*importedMaterial
	lastUse  *keyUse
	// denied refuses every API call with AccessDeniedException.
	denied bool
	// decisions are the answers of judged, the policy at that time.
	judged    string
	decisions map[permission]bool
}

// lineage is what related multi-Region keys share; a single-Region key has one to itself.
type lineage struct {
	multiRegion bool
	origin      string
	// generations are the key materials in the order of their rotations. A key of origin EXTERNAL has none at first.
	generations []generation
	// pending is the id of imported material that awaits a rotation, "" if there is none.
	pending string
	// descriptions are those of imported materials.
	descriptions map[string]string
	primary      *awsKey
	replicas     []*awsKey

	rotationOn   bool
	periodDays   int
	nextRotation time.Time
	// schedule counts changes of the schedule; what an earlier one put on the agenda no longer applies.
	schedule int
	// onDemandSince is when the running on-demand rotation was asked for; zero if none runs.
	onDemandSince time.Time
	onDemandUsed  int
}

// generation is one key material.
type generation struct {
	id string
	// rotatedAt and kind are zero for the first material, which no rotation made.
	rotatedAt time.Time
	kind      string
	// encryptsFrom is when the material had reached all of KMS.
	encryptsFrom time.Time
}

// shiftClock moves what is to come, as the world's clock moves.
func (a *awsKMS) shiftClock(by time.Duration) {
	for _, k := range a.byARN {
		l := k.lineage
		if k != l.primary {
			continue
		}
		if l.rotationOn {
			l.nextRotation = l.nextRotation.Add(by)
		}
		for i := range l.generations {
			l.generations[i].encryptsFrom = l.generations[i].encryptsFrom.Add(by)
		}
	}
	for text, token := range a.importTokens {
		token.validTo = token.validTo.Add(by)
		a.importTokens[text] = token
	}
}

// keys are the primary and the replicas.
func (l *lineage) keys() []*awsKey { return append([]*awsKey{l.primary}, l.replicas...) }

// current is the newest material, which the API shows; the zero generation if none was ever imported.
func (l *lineage) current() generation {
	if len(l.generations) == 0 {
		return generation{}
	}
	return l.generations[len(l.generations)-1]
}

// encryptsWith is the id of the material that encryption uses. "The previous key material stays in use until the new one
// is available throughout KMS": docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html.
func (l *lineage) encryptsWith(now time.Time) string {
	for i := len(l.generations) - 1; i > 0; i-- {
		if !l.generations[i].encryptsFrom.After(now) {
			return l.generations[i].id
		}
	}
	return l.generations[0].id
}

// derivedMaterial is the id of a key's nth material, where the seed names none.
func (l *lineage) derivedMaterial(n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s#%d", l.primary.id, n))
	return hex.EncodeToString(sum[:])
}

func (w *World) seedAWSKey(seed KeySeed, principals []string, now time.Time) {
	l := &lineage{multiRegion: seed.URI.IsMultiRegion(), origin: seed.Origin}
	if l.origin == "" {
		l.origin = originAWS
	}
	policy := seed.Policy
	if policy == "" {
		policy = cockroachPolicy(seed.URI.Account(), principals)
	}
	for i, uri := range append([]cmek.KeyURI{seed.URI}, replicaURIs(seed)...) {
		k := &awsKey{
			arn: string(uri), id: uri.ID(), region: uri.Location(), account: uri.Account(),
			lineage: l, created: ago(now, seed.AgeDays), policy: policy, tags: seed.Tags, state: stateEnabled,
		}
		if seed.Disabled {
			k.state = stateDisabled
		}
		if i == 0 {
			l.primary = k
		} else {
			l.replicas = append(l.replicas, k)
		}
		w.addAWSKey(k)
		if seed.Alias != "" {
			w.aws.aliases = append(w.aws.aliases, &awsAlias{"alias/" + strings.TrimPrefix(seed.Alias, "alias/"), k, k.created, k.created})
		}
	}
	l.seedGenerations(seed, now)
	for _, g := range l.generations {
		l.importEverywhere(g.id)
	}
	if seed.RotationPeriodDays > 0 {
		// The schedule counts from when rotation was enabled, here with the key; dates already past were kept.
		period := time.Duration(seed.RotationPeriodDays) * 24 * time.Hour
		next := l.primary.created.Add(period)
		for !next.After(now) {
			next = next.Add(period)
		}
		l.rotationOn, l.periodDays = true, seed.RotationPeriodDays
		w.scheduleRotation(l, next)
	}
}

func (l *lineage) seedGenerations(seed KeySeed, now time.Time) {
	first := seed.Material
	if first == "" {
		first = l.derivedMaterial(0)
	}
	l.generations = []generation{{id: first}}
	for i, rotation := range seed.Rotations {
		at := ago(now, rotation.AgeDays)
		g := generation{id: rotation.Material, rotatedAt: at, kind: rotation.Type, encryptsFrom: at}
		if g.id == "" {
			g.id = l.derivedMaterial(i + 1)
		}
		if g.kind == "" {
			g.kind = automatic
		}
		if g.kind == onDemand {
			l.onDemandUsed++
		}
		l.generations = append(l.generations, g)
	}
}

func replicaURIs(seed KeySeed) (uris []cmek.KeyURI) {
	for _, region := range seed.Replicas {
		uris = append(uris, inRegion(seed.URI, region))
	}
	return uris
}

// partition is that of the key's ARN.
func (k *awsKey) partition() string { return strings.SplitN(k.arn, ":", 3)[1] }

func (w *World) addAWSKey(k *awsKey) {
	w.aws.byARN[k.arn] = k
	w.aws.byRegionAndID[k.region+"/"+k.id] = k
}

// DenyKMS makes every KMS call on the key fail with AccessDeniedException, as if its policy did not admit the caller, until
// it is called with false. Clusters use the key as before.
func (w *World) DenyKMS(keyARN string, denied bool) error {
	w.enter()
	defer w.mu.Unlock()
	k := w.aws.byARN[keyARN]
	if k == nil {
		return fmt.Errorf("deny key %q: no such key", keyARN)
	}
	k.denied = denied
	return nil
}
