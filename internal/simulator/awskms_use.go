package simulator

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
)

// What a key encrypts is really encrypted, so that a wrong key, a wrong encryption context and a changed byte are noticed. The
// secret behind a key material is derived from its id, so that nothing of this protects anything.

const (
	specSymmetric = "SYMMETRIC_DEFAULT"
	usageEncrypt  = "ENCRYPT_DECRYPT"
)

// sealed is the content of a CiphertextBlob, which names its key and material as KMS's own does.
type sealed struct{ keyID, material, nonce, body []byte }

// The lengths of what stands in a blob beside the key's id, which has its length before it.
const (
	materialSize = sha256.Size
	nonceSize    = 12
)

func (s sealed) blob() []byte {
	return slices.Concat([]byte{1, byte(len(s.keyID))}, s.keyID, s.material, s.nonce, s.body)
}

func parseBlob(blob []byte) (s sealed, ok bool) {
	if len(blob) < 2 || blob[0] != 1 || len(blob) < 2+int(blob[1])+materialSize+nonceSize {
		return sealed{}, false
	}
	id, rest := int(blob[1]), blob[2:]
	return sealed{rest[:id], rest[id : id+materialSize], rest[id+materialSize : id+materialSize+nonceSize], rest[id+materialSize+nonceSize:]}, true
}

// aead is the cipher of a key material.
func aead(keyID, material []byte) cipher.AEAD {
	secret := sha256.Sum256(slices.Concat([]byte("simulated key material\x00"), keyID, material))
	block, err := aes.NewCipher(secret[:])
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return gcm
}

// seal encrypts with the material that encryption uses at the moment, and notes it in the call.
func (w *World) seal(c *kmsCall, k *awsKey, plaintext []byte) []byte {
	c.material = k.lineage.encryptsWith(c.now)
	material, _ := hex.DecodeString(c.material) // 64 hex digits, wherever they come from
	s := sealed{keyID: []byte(k.id), material: material, nonce: w.bytes(nonceSize)}
	s.body = aead(s.keyID, s.material).Seal(nil, s.nonce, plaintext, c.additionalData())
	return s.blob()
}

// additionalData binds the ciphertext to the encryption context. An empty one is none.
func (c *kmsCall) additionalData() []byte {
	if len(c.input.EncryptionContext) == 0 {
		return nil
	}
	return toJSON(c.input.EncryptionContext) // with sorted names
}

// bytes draws n bytes from the world's random source.
func (w *World) bytes(n int) []byte {
	drawn := make([]byte, 0, n+8)
	for len(drawn) < n {
		drawn = binary.BigEndian.AppendUint64(drawn, w.rand.Uint64())
	}
	return drawn[:n]
}

// hexID draws an id of 64 hex digits.
func (w *World) hexID() string { return hex.EncodeToString(w.bytes(32)) }

// checkUse is what Encrypt, Decrypt and GenerateDataKey have in common.
func (c *kmsCall) checkUse(k *awsKey) *kmsError {
	if failed := k.mustBeEnabled(); failed != nil {
		return failed
	}
	if algorithm := c.input.EncryptionAlgorithm; algorithm != "" && algorithm != specSymmetric {
		return refused("InvalidKeyUsageException", "%s key usage is incompatible with %s.", k.arn, algorithm)
	}
	if c.input.Recipient != nil {
		return invalid("Recipient: Nitro enclaves are not simulated.")
	}
	return c.checkGrantTokens(k)
}

type encryptOutput struct {
	CiphertextBlob      []byte
	KeyID               string `json:"KeyId"`
	EncryptionAlgorithm string
}

func (w *World) encrypt(c *kmsCall, k *awsKey) (any, *kmsError) {
	if failed := c.checkUse(k); failed != nil {
		return nil, failed
	}
	if failed := c.dryRun(); failed != nil {
		return nil, failed
	}
	return encryptOutput{w.seal(c, k, c.input.Plaintext), k.arn, specSymmetric}, nil
}

// keyOfCiphertext is the key that Decrypt needs: the one that the ciphertext names.
func (w *World) keyOfCiphertext(c *kmsCall) (*awsKey, *kmsError) {
	if len(c.input.CiphertextBlob) == 0 {
		if c.input.DryRun && c.input.KeyID != "" && slices.Contains(c.input.DryRunModifiers, "IGNORE_CIPHERTEXT") {
			return w.keyOrAlias(c)
		}
		return nil, invalid("1 validation error detected: %s", violation("null", "ciphertextBlob", "Member must not be null"))
	}
	s, ok := parseBlob(c.input.CiphertextBlob)
	if !ok {
		return nil, refused("InvalidCiphertextException", "The ciphertext is not one of AWS KMS.")
	}
	var given *awsKey
	if c.input.KeyID != "" {
		var failed *kmsError
		if given, failed = w.keyOrAlias(c); failed != nil {
			return nil, failed
		}
	}
	k := w.aws.byRegionAndID[c.region+"/"+string(s.keyID)]
	switch {
	case given != nil && given != k:
		return nil, refused("IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")
	case k == nil:
		return nil, refused("AccessDeniedException",
			"The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.")
	}
	return k, nil
}

type decryptOutput struct {
	KeyID               string `json:"KeyId"`
	Plaintext           []byte
	EncryptionAlgorithm string
	KeyMaterialID       string `json:"KeyMaterialId,omitempty"`
}

func (w *World) decrypt(c *kmsCall, k *awsKey) (any, *kmsError) {
	if failed := c.checkUse(k); failed != nil {
		return nil, failed
	}
	output := decryptOutput{KeyID: k.arn, EncryptionAlgorithm: specSymmetric}
	if s, ok := parseBlob(c.input.CiphertextBlob); ok {
		var err error
		if output.Plaintext, err = aead(s.keyID, s.material).Open(nil, s.nonce, s.body, c.additionalData()); err != nil {
			return nil, refused("InvalidCiphertextException", "The ciphertext or its encryption context was changed.")
		}
		c.material = hex.EncodeToString(s.material)
	}
	if failed := c.dryRun(); failed != nil {
		return nil, failed
	}
	output.KeyMaterialID = w.shownMaterial(c.material)
	return output, nil
}

type dataKeyOutput struct {
	CiphertextBlob []byte
	Plaintext      []byte
	KeyID          string `json:"KeyId"`
	KeyMaterialID  string `json:"KeyMaterialId,omitempty"`
}

func (w *World) generateDataKey(c *kmsCall, k *awsKey) (any, *kmsError) {
	if (c.input.KeySpec == "") == (c.input.NumberOfBytes == nil) {
		return nil, invalid("Please specify either number of bytes or key spec.")
	}
	if failed := c.checkUse(k); failed != nil {
		return nil, failed
	}
	if failed := c.dryRun(); failed != nil {
		return nil, failed
	}
	size := map[string]int{"AES_256": 32, "AES_128": 16}[c.input.KeySpec]
	if c.input.NumberOfBytes != nil {
		size = *c.input.NumberOfBytes
	}
	plaintext := w.bytes(size)
	blob := w.seal(c, k, plaintext)
	return dataKeyOutput{blob, plaintext, k.arn, w.shownMaterial(c.material)}, nil
}

// shownMaterial is the id of a key material where the API shows it, "" if a switch has it older than that.
func (w *World) shownMaterial(id string) string {
	if w.is(KMSMaterialID, "present") {
		return id
	}
	return ""
}

// keyUse is KeyLastUsageData.
type keyUse struct {
	Operation         string
	Timestamp         epoch
	CloudTrailEventID string `json:"CloudTrailEventId"`
	RequestID         string `json:"KmsRequestId"`
}

// getKeyLastUsage knows what happened since the world began.
func (w *World) getKeyLastUsage(_ *kmsCall, k *awsKey) (any, *kmsError) {
	tracked := k.created
	if w.began.After(tracked) {
		tracked = w.began
	}
	return struct {
		KeyID             string  `json:"KeyId"`
		KeyLastUsage      *keyUse `json:",omitempty"`
		TrackingStartDate epoch
		KeyCreationDate   epoch
	}{k.arn, k.lastUse, epoch{tracked}, epoch{k.created}}, nil
}
