package simulator

import (
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"hash"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Key material of origin EXTERNAL: docs.aws.amazon.com/kms/latest/developerguide/importing-keys.html. Related multi-Region keys
// have the same materials, but each must be imported into each key.

const (
	wrapSHA1   = "RSAES_OAEP_SHA_1"
	wrapSHA256 = "RSAES_OAEP_SHA_256"

	materialExpires = "KEY_MATERIAL_EXPIRES"
	materialStays   = "KEY_MATERIAL_DOES_NOT_EXPIRE"

	newMaterial      = "NEW_KEY_MATERIAL"
	existingMaterial = "EXISTING_KEY_MATERIAL"

	// States of material that was imported and not rotated to.
	materialPending         = "PENDING_ROTATION"
	materialPendingReplicas = "PENDING_MULTI_REGION_IMPORT_AND_ROTATION"

	// importTime is how long a public key and an import token are valid.
	importTime = 24 * time.Hour
	// mostValidity is how far ahead material may expire.
	mostValidity = 365 * 24 * time.Hour
	// externalSize is the size of a symmetric key's material in bytes.
	externalSize = 32
)

// importedMaterial is one key material in one key. The material itself is not kept, its id is enough.
type importedMaterial struct {
	// validTo is the zero time for material that does not expire.
	validTo time.Time
}

func (m *importedMaterial) model() string {
	if m.validTo.IsZero() {
		return materialStays
	}
	return materialExpires
}

// importToken belongs to a public key for one import.
type importToken struct {
	key       *awsKey
	wrapping  *rsa.PrivateKey
	algorithm string
	validTo   time.Time
}

// importEverywhere gives the material to all keys of a lineage at once, as a seed or a test does.
func (l *lineage) importEverywhere(id string) {
	if l.origin != originExternal {
		return
	}
	for _, k := range l.keys() {
		k.addMaterial(id, &importedMaterial{})
	}
}

func (k *awsKey) addMaterial(id string, m *importedMaterial) {
	if k.imported == nil {
		k.imported = map[string]*importedMaterial{}
	}
	k.imported[id] = m
}

// lacksMaterial reports whether the key cannot be used for want of any of its materials.
func (k *awsKey) lacksMaterial() bool {
	if k.lineage.origin != originExternal {
		return false
	}
	return len(k.lineage.generations) == 0 || slices.ContainsFunc(k.lineage.generations, func(g generation) bool { return k.imported[g.id] == nil })
}

// expiration is the key's expiration model and the earliest expiry of its materials.
func (k *awsKey) expiration() (model string, validTo time.Time) {
	for _, m := range k.imported {
		if model == "" {
			model = materialStays
		}
		if !m.validTo.IsZero() && (validTo.IsZero() || m.validTo.Before(validTo)) {
			model, validTo = materialExpires, m.validTo
		}
	}
	return model, validTo
}

// pendingState is the state of the material that awaits a rotation, "" if there is none.
func (l *lineage) pendingState() string {
	switch {
	case l.pending == "":
		return ""
	case slices.ContainsFunc(l.keys(), func(k *awsKey) bool { return k.imported[l.pending] == nil }):
		return materialPendingReplicas
	}
	return materialPending
}

// takesMaterial is the error for a key into which nothing can be imported.
func (k *awsKey) takesMaterial() *kmsError {
	switch {
	case k.lineage.origin != originExternal:
		return refused("UnsupportedOperationException", "%s origin is %s which is not valid for this operation.", k.arn, k.lineage.origin)
	case k.state != statePendingImport && k.state != stateEnabled:
		if k.state == stateDisabled {
			return refused("KMSInvalidStateException", "%s is disabled.", k.arn)
		}
		return k.invalidState()
	}
	return nil
}

type importParameters struct {
	KeyID             string `json:"KeyId"`
	ImportToken       []byte
	PublicKey         []byte
	ParametersValidTo epoch
}

// getParametersForImport offers the two algorithms that wrap a symmetric key directly.
func (w *World) getParametersForImport(c *kmsCall, k *awsKey) (any, *kmsError) {
	if failed := k.takesMaterial(); failed != nil {
		return nil, failed
	}
	bits, err := strconv.Atoi(strings.TrimPrefix(c.input.WrappingKeySpec, "RSA_"))
	if algorithm := c.input.WrappingAlgorithm; err != nil || algorithm != wrapSHA1 && algorithm != wrapSHA256 {
		return nil, refused("UnsupportedOperationException", "Wrapping with %s under %s is not simulated; use %s under RSA_2048, RSA_3072 or RSA_4096.",
			algorithm, c.input.WrappingKeySpec, wrapSHA256)
	}
	wrapping := w.aws.wrappingKey(bits, w)
	public, err := x509.MarshalPKIXPublicKey(&wrapping.PublicKey)
	if err != nil {
		panic(err) // it is an RSA key
	}
	token := w.bytes(32)
	if w.aws.importTokens == nil {
		w.aws.importTokens = map[string]importToken{}
	}
	validTo := c.now.Add(importTime)
	w.aws.importTokens[string(token)] = importToken{k, wrapping, c.input.WrappingAlgorithm, validTo}
	return importParameters{k.arn, token, public, epoch{validTo}}, nil
}

// wrappingKey is the world's RSA key of so many bits. Go's own generator takes no random source, and a world must be the same
// each time, so the primes are drawn here; the key protects nothing.
func (a *awsKMS) wrappingKey(bits int, w *World) *rsa.PrivateKey {
	if known := a.wrappingKeys[bits]; known != nil {
		return known
	}
	if a.wrappingKeys == nil {
		a.wrappingKeys = map[int]*rsa.PrivateKey{}
	}
	source := rand.NewChaCha8([32]byte(w.bytes(32)))
	exponent, one := big.NewInt(65537), big.NewInt(1)
	for {
		p, q := drawPrime(source, bits/2), drawPrime(source, bits/2)
		order := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		inverse := new(big.Int).ModInverse(exponent, order)
		key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}, D: inverse, Primes: []*big.Int{p, q}}
		if inverse == nil || key.Validate() != nil {
			continue
		}
		key.Precompute()
		a.wrappingKeys[bits] = key
		return key
	}
}

// drawPrime is a prime whose two highest bits are set, so that the product of two has twice as many bits.
func drawPrime(source *rand.ChaCha8, bits int) *big.Int {
	drawn := make([]byte, bits/8)
	for {
		_, _ = source.Read(drawn) // which never fails
		drawn[0] |= 0xc0
		drawn[len(drawn)-1] |= 1
		if p := new(big.Int).SetBytes(drawn); p.ProbablyPrime(20) {
			return p
		}
	}
}

type materialOutput struct {
	KeyID         string `json:"KeyId"`
	KeyMaterialID string `json:"KeyMaterialId"`
}

func (w *World) importKeyMaterial(c *kmsCall, k *awsKey) (any, *kmsError) {
	if failed := k.takesMaterial(); failed != nil {
		return nil, failed
	}
	material, failed := w.unwrap(c, k)
	if failed != nil {
		return nil, failed
	}
	m, failed := c.validity()
	if failed != nil {
		return nil, failed
	}
	sum := sha256.Sum256(slices.Concat([]byte(k.id), material))
	id := hex.EncodeToString(sum[:])
	if failed := c.place(k, id); failed != nil {
		return nil, failed
	}
	l := k.lineage
	if l.descriptions == nil {
		l.descriptions = map[string]string{}
	}
	if c.input.KeyMaterialDescription != "" {
		l.descriptions[id] = c.input.KeyMaterialDescription
	}
	k.addMaterial(id, m)
	if k.state == statePendingImport && !k.lacksMaterial() {
		k.state = stateEnabled
	}
	if !m.validTo.IsZero() {
		w.agenda.at(m.validTo, func(due time.Time) {
			if k.imported[id] == m {
				k.dropMaterial(id)
				w.emitExpiry(k, id, due)
			}
		})
	}
	return materialOutput{k.arn, id}, nil
}

// unwrap decrypts the key material of the input with the key that its token belongs to.
func (w *World) unwrap(c *kmsCall, k *awsKey) ([]byte, *kmsError) {
	token, known := w.aws.importTokens[string(c.input.ImportToken)]
	switch {
	case !known || token.key != k:
		return nil, refused("InvalidImportTokenException", "The import token is not one for %s.", k.arn)
	case c.now.After(token.validTo):
		return nil, refused("ExpiredImportTokenException", "The import token expired at %s.", token.validTo.Format(time.RFC3339))
	}
	newHash := map[string]func() hash.Hash{wrapSHA1: sha1.New, wrapSHA256: sha256.New}[token.algorithm]
	material, err := rsa.DecryptOAEP(newHash(), nil, token.wrapping, c.input.EncryptedKeyMaterial, nil)
	if err != nil {
		return nil, refused("InvalidCiphertextException", "The key material is not encrypted with the public key of the import token.")
	}
	if len(material) != externalSize {
		return nil, refused("IncorrectKeyMaterialException", "The key material has %d bytes; a symmetric key takes %d.", len(material), externalSize)
	}
	return material, nil
}

// validity reads ExpirationModel and ValidTo.
func (c *kmsCall) validity() (*importedMaterial, *kmsError) {
	expires := c.input.ExpirationModel != materialStays
	switch {
	case expires && c.input.ValidTo == nil:
		return nil, invalid("A validTo date must be set if the ExpirationModel is %s.", materialExpires)
	case !expires && c.input.ValidTo != nil:
		return nil, invalid("A validTo date must not be set if the ExpirationModel is %s.", materialStays)
	case !expires:
		return &importedMaterial{}, nil
	}
	at := time.UnixMilli(int64(*c.input.ValidTo * 1000)).UTC()
	if !at.After(c.now) || at.Sub(c.now) > mostValidity {
		return nil, invalid("The validTo date must be in the future, and at most 365 days ahead.")
	}
	return &importedMaterial{at}, nil
}

// place decides what the material with the id is to the key: its first, a new one that awaits a rotation, or one that it had
// before. New material goes into the primary key first.
func (c *kmsCall) place(k *awsKey, id string) *kmsError {
	l, kind := k.lineage, c.input.ImportType
	if kind == "" {
		kind = existingMaterial
		if len(l.generations) == 0 {
			kind = newMaterial
		}
	}
	known := id == l.pending || slices.ContainsFunc(l.generations, func(g generation) bool { return g.id == id })
	switch {
	case kind == newMaterial && c.input.KeyMaterialID != "":
		return invalid("KeyMaterialId must not be set if the ImportType is %s.", newMaterial)
	case c.input.KeyMaterialID != "" && c.input.KeyMaterialID != id:
		return refused("IncorrectKeyMaterialException", "The key material is not %s.", c.input.KeyMaterialID)
	case kind == existingMaterial && !known:
		return refused("IncorrectKeyMaterialException", "The key material was never imported into %s.", k.arn)
	case kind == existingMaterial:
		return nil
	case k != l.primary:
		return refused("UnsupportedOperationException", "New key material is imported into the primary key %s first.", l.primary.arn)
	case known:
		return refused("IncorrectKeyMaterialException", "The key material was imported into %s before.", k.arn)
	case l.pending != "":
		return refused("KMSInvalidStateException", "%s has key material that awaits a rotation already.", k.arn)
	case len(l.generations) == 0:
		l.generations = []generation{{id: id}}
	default:
		l.pending = id
	}
	return nil
}

// deleteImportedKeyMaterial makes the key unusable. Material that still awaits a rotation is deleted in all Regions instead, and
// the key stays as it is.
func (w *World) deleteImportedKeyMaterial(c *kmsCall, k *awsKey) (any, *kmsError) {
	l := k.lineage
	if l.origin != originExternal {
		return nil, refused("UnsupportedOperationException", "%s origin is %s which is not valid for this operation.", k.arn, l.origin)
	}
	id := c.input.KeyMaterialID
	if id == "" {
		id = l.current().id
	}
	if k.state == stateCreating || k.imported[id] == nil {
		return nil, refused("KMSInvalidStateException", "%s does not have the key material.", k.arn)
	}
	if id == l.pending && k == l.primary {
		for _, related := range l.keys() {
			delete(related.imported, id)
		}
		l.pending = ""
		return materialOutput{k.arn, id}, nil
	}
	k.dropMaterial(id)
	return materialOutput{k.arn, id}, nil
}

// dropMaterial takes the material from the key, which then waits for it if it needs it.
func (k *awsKey) dropMaterial(id string) {
	delete(k.imported, id)
	if k.lacksMaterial() && !k.pendingDeletion() && k.state != stateCreating {
		k.state = statePendingImport
	}
}
