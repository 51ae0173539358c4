package amazon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/keyturn/keyturn/internal/ledger"
)

// The names that the table must be created with. Both key attributes are strings; the index has KindAttribute (string)
// as its partition key, NextLookAttribute (number) as its sort key, and projects keys only. Only an item with an
// ExpiresAttribute ever expires.
const (
	PartitionKey      = "pk"
	SortKey           = "sk"
	DueIndex          = "due"
	KindAttribute     = "kind"
	NextLookAttribute = "next_look"
	// ExpiresAttribute (number, seconds since 1970) is the table's TTL attribute. Only what merely keeps an alert from being
	// repeated has it.
	ExpiresAttribute = "expires"
)

// Store is a [ledger.Store] in one DynamoDB table. An item holds less than 400 KB in all; the ledger keeps its items under 300 KB.
//
// The table holds two kinds of items: records, and for each key that a record names or named an edge, from the key to
// the record. Edges are written before the record, and never removed: a reader takes a record that it found through an
// edge only if the record itself, read consistently, still names the key. The index on NextLook is sparse (a record
// that is never due is not in it), so a poll that finds nothing due is one small query. Its entries may be stale too,
// and are treated like edges.
type Store struct {
	client *dynamodb.Client
	table  string
	edges  writtenEdges
}

// NewStore returns the ledger in the table.
func NewStore(config Config, table string) *Store {
	return &Store{client: dynamodb.NewFromConfig(config), table: table}
}

// Get returns the record, read consistently.
func (s *Store) Get(ctx context.Context, kind, id string) (ledger.Record, error) {
	doing := fmt.Sprintf("get %s %q", kind, id)
	key, err := recordKey(kind, id)
	if err != nil {
		return ledger.Record{}, fmt.Errorf("%s: %w", doing, err)
	}
	out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{
		TableName:      &s.table,
		Key:            key,
		ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return ledger.Record{}, explain(err, doing)
	}
	if len(out.Item) == 0 {
		return ledger.Record{Kind: kind, ID: id}, nil
	}
	r, err := decodeRecord(out.Item)
	if err != nil {
		return ledger.Record{}, fmt.Errorf("%s: %w", doing, err)
	}
	if r.Expired(time.Now()) {
		return ledger.Record{Kind: kind, ID: id}, nil // DynamoDB removes it within days
	}
	s.edges.add(r)
	return r, nil
}

// Put writes the record if its version is the stored one.
//
// The SDK repeats a call whose answer was lost. If the first attempt did write, the repeat meets its own record and
// Put returns ErrConflict, with the writer's own token stored.
func (s *Store) Put(ctx context.Context, r ledger.Record) error {
	doing := fmt.Sprintf("put %s %q", r.Kind, r.ID)
	item, err := encodeRecord(r)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if err := s.putEdges(ctx, r); err != nil {
		return explain(err, doing)
	}
	put := &dynamodb.PutItemInput{
		TableName:                 &s.table,
		Item:                      item,
		ConditionExpression:       aws.String("#version = :version AND (attribute_not_exists(#expires) OR #expires > :now)"),
		ExpressionAttributeNames:  map[string]string{"#version": versionAttribute, "#expires": ExpiresAttribute},
		ExpressionAttributeValues: attributes{":version": number(r.Version), ":now": number(time.Now().Unix())},
	}
	if r.Version == 0 {
		put.ConditionExpression = aws.String("attribute_not_exists(#version) OR #expires <= :now")
		delete(put.ExpressionAttributeValues, ":version")
	}
	_, err = s.client.PutItem(ctx, put)
	var changed *types.ConditionalCheckFailedException
	if errors.As(err, &changed) {
		return fmt.Errorf("%s: version is not %d: %w", doing, r.Version, ledger.ErrConflict)
	}
	if err != nil {
		return explain(err, doing)
	}
	return nil
}

// putEdges writes the record's edges, except those that are known to exist.
func (s *Store) putEdges(ctx context.Context, r ledger.Record) error {
	for _, key := range r.Keys {
		if s.edges.has(r.Kind, key, r.ID) {
			continue
		}
		edge := attributes{
			PartitionKey: text(edgePartition(r.Kind, key)),
			SortKey:      text(edgePrefix + r.ID),
		}
		if _, err := s.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.table, Item: edge}); err != nil {
			return err
		}
	}
	s.edges.add(r)
	return nil
}

// Due returns the records due, oldest first, then by ID.
func (s *Store) Due(ctx context.Context, kind string, before time.Time, limit int) ([]ledger.Record, error) {
	if limit <= 0 {
		return nil, ctx.Err()
	}
	query := &dynamodb.QueryInput{
		TableName:                 &s.table,
		IndexName:                 aws.String(DueIndex),
		KeyConditionExpression:    aws.String("#kind = :kind AND #next_look <= :before"),
		ExpressionAttributeNames:  map[string]string{"#kind": KindAttribute, "#next_look": NextLookAttribute},
		ExpressionAttributeValues: attributes{":kind": text(kind), ":before": number(before.UnixMilli())},
		Limit:                     aws.Int32(int32(min(limit, batchSize))),
	}
	isDue := func(r ledger.Record) bool {
		return !r.NextLook.IsZero() && r.NextLook.UnixMilli() <= before.UnixMilli()
	}
	due, err := s.follow(ctx, kind, query, recordTarget, isDue, limit)
	if err != nil {
		err = explain(err, "read due records of "+kind)
	}
	slices.SortFunc(due, func(a, b ledger.Record) int {
		return cmp.Or(a.NextLook.Compare(b.NextLook), cmp.Compare(a.ID, b.ID))
	})
	return due[:min(len(due), limit)], err
}

// ByKey returns the records that name the key, ordered by ID.
func (s *Store) ByKey(ctx context.Context, kind, key string) ([]ledger.Record, error) {
	query := &dynamodb.QueryInput{
		TableName:                 &s.table,
		ConsistentRead:            aws.Bool(true),
		KeyConditionExpression:    aws.String("#pk = :pk AND begins_with(#sk, :edge)"),
		ExpressionAttributeNames:  map[string]string{"#pk": PartitionKey, "#sk": SortKey},
		ExpressionAttributeValues: attributes{":pk": text(edgePartition(kind, key)), ":edge": text(edgePrefix)},
	}
	namesKey := func(r ledger.Record) bool { return slices.Contains(r.Keys, key) }
	found, err := s.follow(ctx, kind, query, edgeTarget, namesKey, math.MaxInt)
	if err != nil {
		err = explain(err, "read records of "+kind+" by key")
	}
	slices.SortFunc(found, func(a, b ledger.Record) int { return cmp.Compare(a.ID, b.ID) })
	return found, err
}

// mostPages bounds one query: with 100 entries or 1 MB on a page, far beyond any fleet.
const mostPages = 1000

// follow reads the records to which the query's entries lead, and returns those that match as they are now, in no
// order. It stops at the page with which there are enough. Beside an error that wraps ledger.ErrUndecodable are all the others.
func (s *Store) follow(
	ctx context.Context, kind string, query *dynamodb.QueryInput, target func(kind string, entry attributes) string,
	match func(ledger.Record) bool, enough int,
) ([]ledger.Record, error) {
	var found []ledger.Record
	var broken []error
	seen := map[string]bool{} // An entry that moves while we read may come twice.
	pages := dynamodb.NewQueryPaginator(s.client, query)
	for asked := 0; pages.HasMorePages() && len(found) < enough; asked++ {
		if asked == mostPages {
			return nil, fmt.Errorf("more than %d pages", mostPages)
		}
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, entry := range page.Items {
			if id := target(kind, entry); id != "" && !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
		records, err := s.records(ctx, kind, ids)
		if err != nil && !errors.Is(err, ledger.ErrUndecodable) {
			return nil, err
		}
		broken = append(broken, err)
		found = append(found, slices.DeleteFunc(records, func(r ledger.Record) bool { return !match(r) })...)
	}
	return found, errors.Join(broken...)
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}
