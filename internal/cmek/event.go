package cmek

import "time"

// Change is what happened to a key or to the access to it, as a past participle.
type Change string

// Changes that functions subscribe to.
const (
	// Rotated: the key has new material, and encryption uses it now or within minutes.
	Rotated Change = "rotated"
)

// Event is one happening, decoded from a cloud provider's payload. It is a hint: it opens work, and what is done about it
// follows from reading the KMS and the Cloud API.
type Event struct {
	// ID is the provider's id of this notice. Two notices of one happening have different ids.
	ID string `json:"id"`
	// Source tells which notice it was, as "source/detail-type/name", for logs and evidence.
	Source string `json:"source"`
	Change Change `json:"change"`
	// Key is the key concerned, at the Region that sent the notice.
	Key KeyURI `json:"key"`
	// Version is the new key version of a rotation; zero if the notice does not carry it.
	Version KeyVersion `json:"version,omitzero"`
	// Previous is the version before it; zero if the notice does not carry it.
	Previous KeyVersion `json:"previous,omitzero"`
	// Time is when it happened, by the provider's clock; zero if the notice does not say.
	Time    time.Time `json:"time,omitzero"`
	Account string    `json:"account,omitempty"`
	Region  string    `json:"region,omitempty"`
	// Principal is who did it, or "" when the provider itself did.
	Principal string `json:"principal,omitempty"`
}
