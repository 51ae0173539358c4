package simulator

import (
	"crypto/sha256"
	"encoding/base64"
	"hash/crc32"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cloud KMS: cloud.google.com/kms/docs/reference/rest. Keys are symmetric ones in software.

const (
	kmsService         = "cloudkms.googleapis.com"
	symmetricAlgorithm = "GOOGLE_SYMMETRIC_ENCRYPTION"
	symmetricPurpose   = "ENCRYPT_DECRYPT"

	day = 24 * time.Hour
	// defaultDestroyAfter, and the bounds: docs.cloud.google.com/kms/docs/control-key-destruction.
	defaultDestroyAfter = 30 * day
	leastDestroyAfter   = day
	mostDestroyAfter    = 120 * day
	// Bounds of the rotation period: google/cloud/kms/v1/resources.proto.
	leastRotationPeriod = day
	mostRotationPeriod  = 876_000 * time.Hour
)

// Numbers of the enums: google/cloud/kms/v1/resources.proto.
var (
	versionStates = map[string]int{
		"PENDING_GENERATION": 5, versionEnabled: 1, versionDisabled: 2, versionDestroyed: 3, versionScheduled: 4,
	}
	protectionLevels = map[string]int{"SOFTWARE": 1, "HSM": 2}
	accessReasons    = map[string]int{
		"CUSTOMER_INITIATED_SUPPORT": 1, "GOOGLE_INITIATED_SERVICE": 2, "THIRD_PARTY_DATA_REQUEST": 3, "GOOGLE_INITIATED_REVIEW": 4,
		customerAccess: 5, "GOOGLE_INITIATED_SYSTEM_OPERATION": 6, "REASON_NOT_EXPECTED": 7, "MODIFIED_CUSTOMER_INITIATED_ACCESS": 8,
		"MODIFIED_GOOGLE_INITIATED_SYSTEM_OPERATION": 9, "GOOGLE_RESPONSE_TO_PRODUCTION_ALERT": 10,
		"CUSTOMER_AUTHORIZED_WORKFLOW_SERVICING": 11,
	}
	keyPurposes   = map[string]int{symmetricPurpose: 1}
	keyAlgorithms = map[string]int{symmetricAlgorithm: 1}
)

// customerAccess is the justification of calls that the customer's own accounts make.
const customerAccess = "CUSTOMER_INITIATED_ACCESS"

// justified reports whether the key's policy lets it be used by its owner; an empty policy lets nobody
// (google/cloud/kms/v1/resources.proto, key_access_justifications_policy).
func (k *googleKey) justified() bool {
	return k.reasons == nil || slices.Contains(k.reasons, customerAccess)
}

// unjustified is the error for a use that the policy does not allow. Its code is not documented.
func (k *googleKey) unjustified() *googleError {
	return googleRefusal(googleDenied, "The Key Access Justifications policy of %s does not allow %s.", k.name, customerAccess)
}

// kmsID is what key rings and keys can be called: cloud.google.com/kms/docs/resource-hierarchy.
var kmsID = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,63}$`)

func (w *World) keyRingView(ring *googleRing) map[string]any {
	return map[string]any{"name": ring.name, "createTime": googleTime(ring.created)}
}

func (w *World) cryptoKeyView(c *googleCall, k *googleKey) map[string]any {
	view := map[string]any{
		"name": k.name, "purpose": w.enum(c, keyPurposes, symmetricPurpose), "createTime": googleTime(k.created),
		"versionTemplate": map[string]any{
			"protectionLevel": w.enum(c, protectionLevels, k.protection), "algorithm": w.enum(c, keyAlgorithms, k.algorithm),
		},
		"destroyScheduledDuration": googleDuration(k.destroyAfter),
		"nextRotationTime":         googleTime(k.nextRotation), "rotationPeriod": googleDuration(k.rotationPeriod),
	}
	if len(k.labels) > 0 {
		view["labels"] = k.labels
	}
	if k.reasons != nil {
		reasons := []any{}
		for _, reason := range k.reasons {
			reasons = append(reasons, w.enum(c, accessReasons, reason))
		}
		view["keyAccessJustificationsPolicy"] = map[string]any{"allowedAccessReasons": reasons}
	}
	if v := k.primary(); v != nil {
		view["primary"] = w.versionView(c, v)
	}
	return withoutNil(view)
}

func (w *World) versionView(c *googleCall, v *googleVersion) map[string]any {
	return withoutNil(map[string]any{
		"name": v.name(), "state": w.enum(c, versionStates, v.state), "protectionLevel": w.enum(c, protectionLevels, v.key.protection),
		"algorithm": w.enum(c, keyAlgorithms, v.key.algorithm), "createTime": googleTime(v.created), "generateTime": googleTime(v.created),
		"destroyTime": googleTime(v.destroyTime), "destroyEventTime": googleTime(v.destroyed),
	})
}

// kmsRing, kmsKey and kmsVersion are what the path names.
func (w *World) kmsRing(c *googleCall) (*googleRing, *googleError) {
	name, _, _ := strings.Cut(c.resource, "/cryptoKeys/")
	if ring := w.google.rings[name]; ring != nil {
		return ring, nil
	}
	return nil, googleMissing("KeyRing", name)
}

func (w *World) kmsKey(c *googleCall) (*googleKey, *googleError) {
	if _, failed := w.kmsRing(c); failed != nil {
		return nil, failed
	}
	if k := w.google.keys[c.resource]; k != nil {
		return k, nil
	}
	return nil, googleMissing("CryptoKey", c.resource)
}

func (w *World) kmsVersion(c *googleCall) (*googleVersion, *googleError) {
	k, failed := w.kmsKey(c)
	if failed != nil {
		return nil, failed
	}
	if v := k.version(c.names[4]); v != nil {
		c.entry.version = v.id()
		return v, nil
	}
	return nil, googleMissing("CryptoKeyVersion", c.resource+"/cryptoKeyVersions/"+c.names[4])
}

func (w *World) listKeyRings(c *googleCall) (any, *googleError) {
	var views []any
	prefix := w.google.canonical("projects/"+c.names[0]) + "/locations/" + c.names[1] + "/keyRings/"
	for _, name := range sortedKeys(w.google.rings) {
		if strings.HasPrefix(name, prefix) {
			views = append(views, w.keyRingView(w.google.rings[name]))
		}
	}
	return listOf(w, c, "keyRings", views)
}

// listOf is a page of views under the field that the API calls them by; an empty list is left out.
func listOf(w *World, c *googleCall, field string, views []any) (any, *googleError) {
	if filter := c.query.Get("filter"); filter != "" && field != "cryptoKeyVersions" {
		return nil, googleRefusal(googleInvalid, "The filter %q is not simulated.", filter)
	}
	page, next, failed := googlePage(w, c, views)
	if failed != nil {
		return nil, failed
	}
	list := map[string]any{"totalSize": len(views)}
	if len(page) > 0 {
		list[field] = page
	}
	if next != "" {
		list["nextPageToken"] = next
	}
	return list, nil
}

func (w *World) getKeyRing(c *googleCall) (any, *googleError) {
	ring, failed := w.kmsRing(c)
	if failed != nil {
		return nil, failed
	}
	return w.keyRingView(ring), nil
}

func (w *World) createKeyRing(c *googleCall) (any, *googleError) {
	id := c.query.Get("keyRingId")
	parent := w.google.canonical("projects/"+c.names[0]) + "/locations/" + c.names[1]
	name := parent + "/keyRings/" + id
	c.entry.request = map[string]any{"parent": parent, "keyRingId": id}
	switch {
	case !kmsID.MatchString(id):
		return nil, googleRefusal(googleInvalid, "Invalid keyRingId %q.", id)
	case w.google.rings[name] != nil:
		return nil, googleRefusal(googleAlreadyExists, "KeyRing %s already exists.", name)
	}
	w.google.rings[name] = &googleRing{name, c.now}
	c.entry.resourceName = name
	return w.keyRingView(w.google.rings[name]), nil
}

func (w *World) listCryptoKeys(c *googleCall) (any, *googleError) {
	ring, failed := w.kmsRing(c)
	if failed != nil {
		return nil, failed
	}
	var views []any
	for _, name := range sortedKeys(w.google.keys) {
		if strings.HasPrefix(name, ring.name+"/cryptoKeys/") {
			views = append(views, w.cryptoKeyView(c, w.google.keys[name]))
		}
	}
	return listOf(w, c, "cryptoKeys", views)
}

func (w *World) getCryptoKey(c *googleCall) (any, *googleError) {
	k, failed := w.kmsKey(c)
	if failed != nil {
		return nil, failed
	}
	return w.cryptoKeyView(c, k), nil
}

// cryptoKeyBody holds what callers may say of a key. Enums are names or numbers.
type cryptoKeyBody struct {
	Purpose         any               `json:"purpose"`
	Labels          map[string]string `json:"labels"`
	RotationPeriod  string            `json:"rotationPeriod"`
	NextRotation    string            `json:"nextRotationTime"`
	DestroyAfter    string            `json:"destroyScheduledDuration"`
	VersionTemplate struct {
		ProtectionLevel any `json:"protectionLevel"`
		Algorithm       any `json:"algorithm"`
	} `json:"versionTemplate"`
	Justifications *struct {
		Reasons []any `json:"allowedAccessReasons"`
	} `json:"keyAccessJustificationsPolicy"`
}

// reasons reads a Key Access Justifications policy; nil is none.
func (b cryptoKeyBody) reasons() ([]string, *googleError) {
	if b.Justifications == nil {
		return nil, nil
	}
	reasons := []string{}
	for _, value := range b.Justifications.Reasons {
		reason := enumName(accessReasons, value)
		if reason == "" {
			return nil, googleRefusal(googleInvalid, "Invalid access reason %v.", value)
		}
		reasons = append(reasons, reason)
	}
	return reasons, nil
}

// schedule reads a rotation schedule; both are zero for none.
func (b cryptoKeyBody) schedule(now time.Time) (period time.Duration, next time.Time, failed *googleError) {
	var err error
	if b.RotationPeriod != "" {
		if period, err = time.ParseDuration(b.RotationPeriod); err != nil || period < leastRotationPeriod || period > mostRotationPeriod {
			return 0, next, googleRefusal(googleInvalid, "rotation_period must be at least 24 hours and at most 876,000 hours.")
		}
	}
	if b.NextRotation != "" {
		if next, err = time.Parse(time.RFC3339, b.NextRotation); err != nil || !next.After(now) {
			return 0, next, googleRefusal(googleInvalid, "next_rotation_time must be in the future.")
		}
	}
	if period != 0 && next.IsZero() {
		return 0, next, googleRefusal(googleInvalid, "If rotation_period is set, next_rotation_time must also be set.")
	}
	return period, next, nil
}

func (w *World) createCryptoKey(c *googleCall) (any, *googleError) {
	ring, failed := w.kmsRing(c)
	if failed != nil {
		return nil, failed
	}
	id := c.query.Get("cryptoKeyId")
	k := &googleKey{name: ring.name + "/cryptoKeys/" + id, created: c.now, protection: "SOFTWARE", algorithm: symmetricAlgorithm, destroyAfter: defaultDestroyAfter}
	c.entry.resourceName = k.name
	var body cryptoKeyBody
	c.entry.request = map[string]any{"parent": ring.name, "cryptoKeyId": id, "cryptoKey": c.bodyAsSent()}
	if failed := c.decode(&body); failed != nil {
		return nil, failed
	}
	if body.VersionTemplate.ProtectionLevel != nil {
		k.protection = enumName(protectionLevels, body.VersionTemplate.ProtectionLevel)
	}
	if body.DestroyAfter != "" {
		k.destroyAfter, _ = time.ParseDuration(body.DestroyAfter)
	}
	switch {
	case !kmsID.MatchString(id):
		return nil, googleRefusal(googleInvalid, "Invalid cryptoKeyId %q.", id)
	case w.google.keys[k.name] != nil:
		return nil, googleRefusal(googleAlreadyExists, "CryptoKey %s already exists.", k.name)
	case enumName(keyPurposes, body.Purpose) == "":
		return nil, googleRefusal(googleInvalid, "Keys of the purpose %v are not simulated.", body.Purpose)
	case k.protection == "" || body.VersionTemplate.Algorithm != nil && enumName(keyAlgorithms, body.VersionTemplate.Algorithm) == "":
		return nil, googleRefusal(googleInvalid, "Keys with this version template are not simulated.")
	case k.destroyAfter < leastDestroyAfter || k.destroyAfter > mostDestroyAfter:
		return nil, googleRefusal(googleInvalid, "destroy_scheduled_duration must be 24 hours to 120 days.")
	}
	period, next, failed := body.schedule(c.now)
	if failed != nil {
		return nil, failed
	}
	k.labels, k.rotationPeriod = body.Labels, period
	w.google.keys[k.name] = k
	w.scheduleGoogleRotation(k, next)
	if c.query.Get("skipInitialVersionCreation") != "true" {
		k.primaries = append(k.primaries, primaryVersion{k.addVersion(c.now), c.now})
	}
	return w.cryptoKeyView(c, k), nil
}

func (w *World) patchCryptoKey(c *googleCall) (any, *googleError) {
	k, failed := w.kmsKey(c)
	if failed != nil {
		return nil, failed
	}
	mask := c.mask()
	sent := c.bodyAsSent()
	sent["name"] = k.name
	c.entry.request = map[string]any{"cryptoKey": sent, "updateMask": strings.Join(mask, ",")}
	var body cryptoKeyBody
	if failed := c.decode(&body); failed != nil {
		return nil, failed
	}
	if len(mask) == 0 {
		return nil, googleRefusal(googleInvalid, "update_mask is required.")
	}
	after := *k
	for _, field := range mask {
		switch field {
		case "labels":
			after.labels = body.Labels
		case "keyAccessJustificationsPolicy":
			if after.reasons, failed = body.reasons(); failed != nil {
				return nil, failed
			}
		case "rotationPeriod", "nextRotationTime":
		default:
			return nil, googleRefusal(googleInvalid, "update_mask contains %q, which cannot be updated here.", field)
		}
	}
	if !slices.Contains(mask, "rotationPeriod") {
		body.RotationPeriod, _ = googleDuration(k.rotationPeriod).(string)
	}
	newNext := slices.Contains(mask, "nextRotationTime")
	if !newNext {
		body.NextRotation, _ = googleTime(k.nextRotation).(string)
	}
	period, next, failed := body.schedule(c.now)
	if failed != nil {
		return nil, failed
	}
	k.labels, k.reasons, k.rotationPeriod = after.labels, after.reasons, period
	if newNext {
		w.scheduleGoogleRotation(k, next)
	}
	return w.cryptoKeyView(c, k), nil
}

// bodyAsSent is the body for the audit log.
func (c *googleCall) bodyAsSent() map[string]any {
	sent := map[string]any{}
	_ = c.decode(&sent) // whoever reads the body for its content refuses it
	if sent == nil {
		return map[string]any{}
	}
	return sent
}

func (w *World) updatePrimaryVersion(c *googleCall) (any, *googleError) {
	k, failed := w.kmsKey(c)
	if failed != nil {
		return nil, failed
	}
	var body struct {
		ID string `json:"cryptoKeyVersionId"`
	}
	if failed := c.decode(&body); failed != nil {
		return nil, failed
	}
	c.entry.request = map[string]any{"name": k.name, "cryptoKeyVersionId": body.ID}
	v := k.version(body.ID)
	switch {
	case v == nil:
		return nil, googleMissing("CryptoKeyVersion", k.name+"/cryptoKeyVersions/"+body.ID)
	case v.state != versionEnabled:
		return nil, v.notEnabled()
	}
	if v != k.primary() {
		w.setPrimary(v, c.now)
	}
	if w.is(GoogleRotationEvent, "every") {
		w.emitRotationEvent(k, nil, c.now)
	}
	return w.cryptoKeyView(c, k), nil
}

func (v *googleVersion) notEnabled() *googleError {
	failed := googleRefusal(googlePrecondition, "%s is not enabled, current state is: %s.", v.name(), v.state)
	failed.details = []any{map[string]any{
		"@type": "type.googleapis.com/google.rpc.PreconditionFailure",
		"violations": []any{map[string]any{
			"type": "KEY_" + v.state, "subject": v.name(), "description": failed.message,
		}},
	}}
	return failed
}

// listVersions knows one kind of filter, state=S.
func (w *World) listVersions(c *googleCall) (any, *googleError) {
	k, failed := w.kmsKey(c)
	if failed != nil {
		return nil, failed
	}
	state, filtered := "", c.query.Get("filter")
	if filtered != "" {
		state = strings.TrimPrefix(strings.ReplaceAll(strings.ReplaceAll(filtered, " ", ""), "state:", "state="), "state=")
		if _, known := versionStates[state]; !known {
			return nil, googleRefusal(googleInvalid, "The filter %q is not simulated.", filtered)
		}
	}
	var views []any
	for _, v := range k.versions {
		if filtered == "" || v.state == state {
			views = append(views, w.versionView(c, v))
		}
	}
	return listOf(w, c, "cryptoKeyVersions", views)
}

func (w *World) getVersion(c *googleCall) (any, *googleError) {
	v, failed := w.kmsVersion(c)
	if failed != nil {
		return nil, failed
	}
	return w.versionView(c, v), nil
}

// createVersion leaves the primary as it is.
func (w *World) createVersion(c *googleCall) (any, *googleError) {
	k, failed := w.kmsKey(c)
	if failed != nil {
		return nil, failed
	}
	c.entry.request = map[string]any{"parent": k.name}
	v := k.addVersion(c.now)
	c.entry.version = v.id()
	return w.versionView(c, v), nil
}

// patchVersion enables and disables. Disabling takes effect later, enabling at once: docs.cloud.google.com/kms/docs/consistency.
func (w *World) patchVersion(c *googleCall) (any, *googleError) {
	v, failed := w.kmsVersion(c)
	if failed != nil {
		return nil, failed
	}
	var body struct {
		State any `json:"state"`
	}
	if failed := c.decode(&body); failed != nil {
		return nil, failed
	}
	mask, state := c.mask(), enumName(versionStates, body.State)
	c.entry.request = map[string]any{"cryptoKeyVersion": map[string]any{"name": v.name(), "state": state}, "updateMask": strings.Join(mask, ",")}
	c.entry.named = v.name()
	switch {
	case !slices.Equal(mask, []string{"state"}):
		return nil, googleRefusal(googleInvalid, "update_mask must be state; others cannot be updated here.")
	case state != versionEnabled && state != versionDisabled:
		return nil, googleRefusal(googleInvalid, "The state must be ENABLED or DISABLED.")
	case v.state != versionEnabled && v.state != versionDisabled:
		return nil, v.inState()
	}
	if v.state == versionEnabled && state == versionDisabled {
		v.usableUntil = c.now.Add(w.duration(GooglePropagation))
	}
	v.state = state
	return w.versionView(c, v), nil
}

func (v *googleVersion) inState() *googleError {
	return googleRefusal(googlePrecondition, "%s has state %s, which does not admit the operation.", v.name(), v.state)
}

func (w *World) destroyVersion(c *googleCall) (any, *googleError) {
	v, failed := w.kmsVersion(c)
	if failed != nil {
		return nil, failed
	}
	c.entry.request, c.entry.named = map[string]any{"name": v.name()}, v.name()
	if v.state != versionEnabled && v.state != versionDisabled {
		return nil, v.inState()
	}
	if v.state == versionEnabled {
		v.usableUntil = c.now.Add(w.duration(GooglePropagation))
	}
	date := c.now.Add(v.key.destroyAfter)
	v.state, v.destroyTime = versionScheduled, date
	v.destructions++
	nth := v.destructions
	w.agenda.at(date, func(due time.Time) {
		if v.state == versionScheduled && v.destructions == nth {
			v.state, v.destroyTime, v.destroyed = versionDestroyed, time.Time{}, due
			w.emitVersionEvent(v, "scheduledDestructionEvent", due)
		}
	})
	return w.versionView(c, v), nil
}

// restoreVersion leaves the version DISABLED: docs.cloud.google.com/kms/docs/key-states.
func (w *World) restoreVersion(c *googleCall) (any, *googleError) {
	v, failed := w.kmsVersion(c)
	if failed != nil {
		return nil, failed
	}
	c.entry.request, c.entry.named = map[string]any{"name": v.name()}, v.name()
	if v.state != versionScheduled {
		return nil, v.inState()
	}
	v.state, v.destroyTime = versionDisabled, time.Time{}
	return w.versionView(c, v), nil
}

// Ciphertexts are of the form of those of AWS KMS (awskms_use.go), and name key and version by digests.

func digestOf(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

// crcOf is the checksum that requests and answers carry: a CRC32C, as a number in a text.
func crcOf(data []byte) string {
	return strconv.FormatUint(uint64(crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))), 10)
}

// decoded reads base64 in either alphabet.
func decoded(text string) ([]byte, *googleError) {
	data, err := base64.StdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(text))
	if err != nil {
		return nil, googleRefusal(googleInvalid, "Invalid value (TYPE_BYTES): not base64.")
	}
	return data, nil
}

// useBody is the body of encrypt and decrypt.
type useBody struct {
	Plaintext  string `json:"plaintext"`
	Ciphertext string `json:"ciphertext"`
	Additional string `json:"additionalAuthenticatedData"`
}

// keyToUse is the key, if the caller may use it.
func (w *World) keyToUse(c *googleCall) (k *googleKey, data, additional []byte, failed *googleError) {
	if k, failed = w.kmsKey(c); failed != nil {
		return nil, nil, nil, failed
	}
	c.entry.request = map[string]any{"name": k.name}
	if a := w.google.account(c.principal); a != nil && !w.mayUse(k, c.principal, c.now) {
		return nil, nil, nil, c.denial()
	}
	if !k.justified() {
		return nil, nil, nil, k.unjustified()
	}
	var body useBody
	if failed = c.decode(&body); failed != nil {
		return nil, nil, nil, failed
	}
	if data, failed = decoded(body.Plaintext + body.Ciphertext); failed != nil {
		return nil, nil, nil, failed
	}
	additional, failed = decoded(body.Additional)
	return k, data, additional, failed
}

func (w *World) encryptGoogle(c *googleCall) (any, *googleError) {
	k, plaintext, additional, failed := w.keyToUse(c)
	if failed != nil {
		return nil, failed
	}
	v := k.encryptsWith(c.now)
	if v == nil {
		return nil, googleRefusal(googlePrecondition, "%s has no primary version.", k.name)
	}
	c.entry.version = v.id()
	if !v.usable(c.now) {
		return nil, v.notEnabled()
	}
	s := sealed{keyID: digestOf(k.name), material: digestOf(v.name()), nonce: w.bytes(nonceSize)}
	s.body = aead(s.keyID, s.material).Seal(nil, s.nonce, plaintext, additional)
	return map[string]any{
		"name": v.name(), "ciphertext": s.blob(), "ciphertextCrc32c": crcOf(s.blob()), "verifiedPlaintextCrc32c": true,
		"protectionLevel": w.enum(c, protectionLevels, k.protection),
	}, nil
}

func (w *World) decryptGoogle(c *googleCall) (any, *googleError) {
	k, ciphertext, additional, failed := w.keyToUse(c)
	if failed != nil {
		return nil, failed
	}
	wrong := googleRefusal(googleInvalid, "Decryption failed: verify that 'name' refers to the correct CryptoKey.")
	s, ok := parseBlob(ciphertext)
	i := slices.IndexFunc(k.versions, func(v *googleVersion) bool { return slices.Equal(digestOf(v.name()), s.material) })
	if !ok || i < 0 {
		return nil, wrong
	}
	v := k.versions[i]
	c.entry.version = v.id()
	if !v.usable(c.now) {
		return nil, v.notEnabled()
	}
	plaintext, err := aead(s.keyID, s.material).Open(nil, s.nonce, s.body, additional)
	if err != nil {
		return nil, wrong
	}
	return map[string]any{
		"plaintext": plaintext, "plaintextCrc32c": crcOf(plaintext), "usedPrimary": v == k.primary(),
		"protectionLevel": w.enum(c, protectionLevels, k.protection),
	}, nil
}
