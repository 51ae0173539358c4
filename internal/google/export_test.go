package google

import "cloud.google.com/go/firestore"

// NewStoreOn is the ledger behind a client that a test made.
func NewStoreOn(config Config, client *firestore.Client) *Store {
	return &Store{config: config, client: client}
}
