package amazon

import (
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
// A kind holds no '#', so the two parts of pk cannot be taken for others.
const (
	recordSort = "record"
	edgePrefix = "edge#"

	versionAttribute = "version"
	tokenAttribute   = "token"
	keysAttribute    = "keys"
	dataAttribute    = "data"
)

type attributes = map[string]types.AttributeValue

func partition(kind, name string) string { return kind + "#" + name }

func recordKey(kind, id string) (attributes, error) {
	if kind == "" || strings.Contains(kind, "#") || id == "" {
		return nil, errors.New("a kind must be a word without '#', and an ID must not be empty")
	}
	return attributes{PartitionKey: text(partition(kind, id)), SortKey: text(recordSort)}, nil
}

// encodeRecord is the item that the table holds after the write: its version is the next one.
func encodeRecord(r ledger.Record) (attributes, error) {
	encoded, err := recordKey(r.Kind, r.ID)
	if err != nil {
		return nil, err
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
	var keys []types.AttributeValue
	for _, key := range r.Keys {
		keys = append(keys, text(key))
	}
	if len(keys) > 0 {
		encoded[keysAttribute] = &types.AttributeValueMemberL{Value: keys}
	}
	return encoded, nil
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
