package amazon

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/keyturn/keyturn/internal/ledger"
)

// BatchGetItem takes at most 100 keys, and answers with at most 16 MB and what the table's capacity allows; the keys it
// did not get to come back (docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html).
const (
	batchSize = 100
	// idleRounds is how many answers in a row may bring nothing before we give up.
	idleRounds = 5
	firstPause = 50 * time.Millisecond
)

// records reads the records consistently, in no order. An ID without a record is left out, and so is an item that is none,
// which the error names.
func (s *Store) records(ctx context.Context, kind string, ids []string) ([]ledger.Record, error) {
	var found []ledger.Record
	var broken []error
	for chunk := range slices.Chunk(ids, batchSize) {
		var keys []attributes
		for _, id := range chunk {
			key, err := recordKey(kind, id)
			if err != nil {
				return nil, err
			}
			keys = append(keys, key)
		}
		items, err := s.batchGet(ctx, keys)
		if err != nil {
			return nil, err
		}
		for _, stored := range items {
			r, err := decodeRecord(stored)
			switch {
			case err != nil:
				broken = append(broken, err)
			case !r.Expired(time.Now()):
				s.edges.add(r)
				found = append(found, r)
			}
		}
	}
	return found, errors.Join(broken...)
}

// batchGet reads at most batchSize items, and asks again for those that were not read.
func (s *Store) batchGet(ctx context.Context, keys []attributes) ([]attributes, error) {
	var items []attributes
	idle := 0
	for len(keys) > 0 {
		out, err := s.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
			RequestItems: map[string]types.KeysAndAttributes{s.table: {Keys: keys, ConsistentRead: aws.Bool(true)}},
		})
		if err != nil {
			return nil, err
		}
		items = append(items, out.Responses[s.table]...)
		unprocessed := out.UnprocessedKeys[s.table].Keys
		if len(unprocessed) < len(keys) {
			keys, idle = unprocessed, 0
			continue
		}
		if idle++; idle == idleRounds {
			return nil, errors.New("the table has no capacity to read: no item in several tries")
		}
		if err := sleep(ctx, firstPause<<idle); err != nil {
			return nil, err
		}
	}
	return items, nil
}
