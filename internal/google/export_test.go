package google

import (
	"context"

	"cloud.google.com/go/firestore"
)

// NewStoreOn is the ledger behind a client that a test made.
func NewStoreOn(config Config, client *firestore.Client) *Store {
	return &Store{config: config, client: client}
}

// Counting is the context of a call over gRPC.
func (c Config) Counting(ctx context.Context) context.Context { return c.counting(ctx) }

// Explain is what becomes of an error of Google's clients.
func Explain(err error, doing string) error { return explain(err, doing) }
