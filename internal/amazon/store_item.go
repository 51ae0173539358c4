package amazon

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/keyturn/keyturn/internal/ledger"
)

// Items of the table:
//
//	pk                 sk           a record, or an edge
//	rotation#<id>      record       kind, version, token, next_look (ms since 1970, only if ever due),
//	                                expires (s since 1970, only if it ever does), keys, data
//	rotation#<key>     edge#<id>    nothing else
//
// Many keys are compressed, in keys_gzip instead of keys. Data is binary: DynamoDB counts its bytes, not those of the base64 in
// which it travels. A key that is too long for a partition key stands in its edge as its SHA-256; readers of edges compare the
// record's own keys anyway.
//
// A kind holds no '#', so the two parts of pk cannot be taken for others.
const (
	recordSort = "record"
	edgePrefix = "edge#"

	versionAttribute = "version"
	tokenAttribute   = "token"
	keysAttribute    = "keys"
	dataAttribute    = "data"
	// keysGzipAttribute holds the keys as ledger.PackKeys makes them.
	keysGzipAttribute = "keys_gzip"

	// DynamoDB's limits, in bytes (docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html).
	mostItem, mostPartition, mostSort = 400 << 10, 2048, 1024
)

type attributes = map[string]types.AttributeValue

func partition(kind, name string) string { return kind + "#" + name }

// Partition is the partition key of a record.
func Partition(kind, id string) string { return partition(kind, id) }

// edgePartition is the partition of a key's edges.
func edgePartition(kind, key string) string {
	name := partition(kind, key)
	if len(name) <= mostPartition {
		return name
	}
	sum := sha256.Sum256([]byte(key))
	return partition(kind, "sha256:"+hex.EncodeToString(sum[:]))
}

func recordKey(kind, id string) (attributes, error) {
	if kind == "" || strings.Contains(kind, "#") || id == "" {
		return nil, errors.New("a kind must be a word without '#', and an ID must not be empty")
	}
	if len(partition(kind, id)) > mostPartition {
		return nil, fmt.Errorf("the ID has %d bytes, more than DynamoDB's keys hold", len(id))
	}
	return attributes{PartitionKey: text(partition(kind, id)), SortKey: text(recordSort)}, nil
}

// encodeRecord is the item that the table holds after the write: its version is the next one.
func encodeRecord(r ledger.Record) (attributes, error) {
	encoded, err := recordKey(r.Kind, r.ID)
	if err != nil {
		return nil, err
	}
	if len(r.Keys) > 0 && len(edgePrefix+r.ID) > mostSort {
		return nil, fmt.Errorf("the ID has %d bytes, more than DynamoDB's sort keys hold", len(r.ID))
	}
	encoded[KindAttribute] = text(r.Kind)
	encoded[versionAttribute] = number(r.Version + 1)
	encoded[tokenAttribute] = text(r.Token)
	if len(r.Data) > 0 {
		encoded[dataAttribute] = &types.AttributeValueMemberB{Value: r.Data}
	}
	if !r.NextLook.IsZero() {
		encoded[NextLookAttribute] = number(r.NextLook.UnixMilli())
	}
	if !r.Expires.IsZero() {
		encoded[ExpiresAttribute] = number(r.Expires.Unix())
	}
	if packed := ledger.PackKeys(r.Keys); packed != nil {
		encoded[keysGzipAttribute] = &types.AttributeValueMemberB{Value: packed}
	} else if len(r.Keys) > 0 {
		var keys []types.AttributeValue
		for _, key := range r.Keys {
			keys = append(keys, text(key))
		}
		encoded[keysAttribute] = &types.AttributeValueMemberL{Value: keys}
	}
	if size := itemSize(encoded); size > mostItem {
		return nil, fmt.Errorf("the item has %d bytes, %d of them data; DynamoDB holds at most %d", size, len(r.Data), mostItem)
	}
	return encoded, nil
}

// itemSize is what DynamoDB counts for an item: names and values of attributes; up to 21 bytes for a number, 3 for a list and 1
// for each value in it (docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html).
func itemSize(item attributes) int {
	size := 0
	for name, value := range item {
		size += len(name)
		switch v := value.(type) {
		case *types.AttributeValueMemberS:
			size += len(v.Value)
		case *types.AttributeValueMemberN:
			size += min(len(v.Value)/2+2, 21)
		case *types.AttributeValueMemberB:
			size += len(v.Value)
		case *types.AttributeValueMemberL:
			size += 3
			for _, each := range v.Value {
				size += 1 + len(textIn(each))
			}
		}
	}
	return size
}

// decodeRecord reads an item back. An item that we cannot have written is an error that wraps ledger.ErrUndecodable and names
// the item and the attribute.
func decodeRecord(stored attributes) (ledger.Record, error) {
	var r ledger.Record
	var problem error
	want := func(name string, ok bool) {
		if !ok && problem == nil {
			problem = fmt.Errorf("%w %s: attribute %q is missing or malformed", ledger.ErrUndecodable, textIn(stored[PartitionKey]), name)
		}
	}
	r.Kind = textIn(stored[KindAttribute])
	want(KindAttribute, r.Kind != "")
	r.ID = recordTarget(r.Kind, stored)
	want(PartitionKey, r.ID != "")
	version, ok := integer(stored[versionAttribute])
	want(versionAttribute, ok && version > 0)
	r.Version = version
	r.Token = textIn(stored[tokenAttribute])
	if data, ok := stored[dataAttribute].(*types.AttributeValueMemberB); ok {
		r.Data = data.Value
	}
	if look, exists := stored[NextLookAttribute]; exists {
		ms, ok := integer(look)
		want(NextLookAttribute, ok)
		r.NextLook = time.UnixMilli(ms).UTC()
	}
	if expires, exists := stored[ExpiresAttribute]; exists {
		s, ok := integer(expires)
		want(ExpiresAttribute, ok)
		r.Expires = time.Unix(s, 0).UTC()
	}
	if packed, exists := stored[keysGzipAttribute]; exists {
		binary, ok := packed.(*types.AttributeValueMemberB)
		if ok {
			var err error
			r.Keys, err = ledger.UnpackKeys(binary.Value)
			ok = err == nil
		}
		want(keysGzipAttribute, ok)
	}
	if keys, ok := stored[keysAttribute].(*types.AttributeValueMemberL); ok {
		for _, value := range keys.Value {
			key, ok := value.(*types.AttributeValueMemberS)
			want(keysAttribute, ok)
			if ok {
				r.Keys = append(r.Keys, key.Value)
			}
		}
	}
	return r, problem
}

// textIn is a string attribute's value; "" for any other.
func textIn(value types.AttributeValue) string {
	if s, ok := value.(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

func integer(value types.AttributeValue) (int64, bool) {
	n, ok := value.(*types.AttributeValueMemberN)
	if !ok {
		return 0, false
	}
	i, err := strconv.ParseInt(n.Value, 10, 64)
	return i, err == nil
}

// recordTarget is the ID of the record that is stored, or that an entry of the index on NextLook stands for; "" if it is
// not of the kind.
func recordTarget(kind string, entry attributes) string {
	id, ok := strings.CutPrefix(textIn(entry[PartitionKey]), partition(kind, ""))
	if !ok {
		return ""
	}
	return id
}

// edgeTarget is the ID of the record to which an edge leads.
func edgeTarget(_ string, edge attributes) string {
	return strings.TrimPrefix(textIn(edge[SortKey]), edgePrefix)
}

// writtenEdges remembers edges that are in the table, so that a record that is written every minute costs one write. It
// may: edges come before their record and are never removed.
type writtenEdges struct{ seen sync.Map }

type edge struct{ kind, key, id string }

func (w *writtenEdges) has(kind, key, id string) bool {
	_, ok := w.seen.Load(edge{kind, key, id})
	return ok
}

// add takes a record that was read, or whose edges were written.
func (w *writtenEdges) add(r ledger.Record) {
	for _, key := range r.Keys {
		w.seen.Store(edge{r.Kind, key, r.ID}, struct{}{})
	}
}
