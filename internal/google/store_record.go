package google

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/ledger"
)

// Fields of a document. [NextLookField] and [KeysField] need the index that Firestore keeps of every field by default, [ExpiresField]
// the collection's TTL policy; the others should be exempted from indexing.
const (
	// NextLookField is when the record is due, in milliseconds since 1970; documents that are never due are without it.
	NextLookField = "next_look"
	// KeysField marks the keys that the record names, each by the beginning of its SHA-256: Firestore indexes no more than 1,500
	// bytes of a text. Readers compare the record's own keys.
	KeysField = "key_marks"
	// ExpiresField is when the record ceases to exist; only what merely keeps an alert from being repeated has it.
	ExpiresField = "expires"
	// DataField, PlainKeysField and PackedKeysField are the record's content.
	DataField       = "data"
	PlainKeysField  = "keys"
	PackedKeysField = "keys_gzip"

	idField      = "id"
	versionField = "version"
	tokenField   = "token"
)

var allFields = []string{idField, versionField, tokenField, NextLookField, ExpiresField, KeysField, PlainKeysField, PackedKeysField, DataField}

// mostDocumentID is Firestore's limit for a document's ID, in bytes (firebase.google.com/docs/firestore/quotas).
const mostDocumentID = 1500

func checkName(kind, id string) error {
	if kind == "" || strings.ContainsAny(kind, "/.") || strings.HasPrefix(kind, "__") || id == "" {
		return errors.New("a kind must be a word without '/', and an ID must not be empty")
	}
	if name := documentID(id); len(name) > mostDocumentID {
		return fmt.Errorf("the ID has %d bytes as Firestore writes it, more than the %d it takes", len(name), mostDocumentID)
	}
	return nil
}

// documentID is a record's ID as Firestore takes it: without slashes, and never one of the names that it reserves.
func documentID(id string) string { return "=" + url.PathEscape(id) }

// keyMark is what is stored and looked for instead of a key.
func keyMark(key string) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// encodeRecord is the document after the write: its version is the next one. Fields without a value are left out.
func encodeRecord(r ledger.Record) map[string]any {
	fields := map[string]any{idField: r.ID, versionField: r.Version + 1, tokenField: r.Token}
	if len(r.Data) > 0 {
		fields[DataField] = r.Data
	}
	if !r.NextLook.IsZero() {
		fields[NextLookField] = r.NextLook.UnixMilli()
	}
	if !r.Expires.IsZero() {
		fields[ExpiresField] = time.Unix(r.Expires.Unix(), 0).UTC()
	}
	if len(r.Keys) == 0 {
		return fields
	}
	var marks []string
	for _, key := range r.Keys {
		marks = append(marks, keyMark(key))
	}
	fields[KeysField] = marks
	if packed := ledger.PackKeys(r.Keys); packed != nil {
		fields[PackedKeysField] = packed
	} else {
		fields[PlainKeysField] = slices.Clone(r.Keys)
	}
	return fields
}

// decodeRecord reads a document back. One that we cannot have written is an error that wraps ledger.ErrUndecodable and names the
// document and the field.
func decodeRecord(kind, document string, fields map[string]any) (ledger.Record, error) {
	var problem error
	want := func(name string, ok bool) {
		if !ok && problem == nil {
			problem = fmt.Errorf("%w %s/%s: field %q is missing or malformed", ledger.ErrUndecodable, kind, document, name)
		}
	}
	r := ledger.Record{Kind: kind}
	r.ID, _ = fields[idField].(string)
	want(idField, r.ID != "" && documentID(r.ID) == document)
	r.Version, _ = fields[versionField].(int64)
	want(versionField, r.Version > 0)
	optional(fields, tokenField, want, &r.Token)
	optional(fields, DataField, want, &r.Data)
	var look int64
	if optional(fields, NextLookField, want, &look) {
		r.NextLook = time.UnixMilli(look).UTC()
	}
	if optional(fields, ExpiresField, want, &r.Expires) {
		r.Expires = r.Expires.UTC()
	}
	var packed []byte
	if optional(fields, PackedKeysField, want, &packed) {
		var err error
		r.Keys, err = ledger.UnpackKeys(packed)
		want(PackedKeysField, err == nil)
	}
	var keys []any
	optional(fields, PlainKeysField, want, &keys)
	for _, value := range keys {
		key, ok := value.(string)
		want(PlainKeysField, ok)
		r.Keys = append(r.Keys, key)
	}
	return r, problem
}

// optional reads a field that may be missing, and reports whether it is there and of the type.
func optional[T any](fields map[string]any, name string, want func(string, bool), into *T) bool {
	value, exists := fields[name]
	if !exists {
		return false
	}
	read, ok := value.(T)
	want(name, ok)
	*into = read
	return ok
}
