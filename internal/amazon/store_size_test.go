package amazon

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/ledger"
)

func manyKeys(n, length int) (keys []string) {
	for i := range n {
		key := fmt.Sprintf("arn:aws:kms:us-east-1:111122223333:key/%08x-1111-2222-3333-%012x", i*2654435761, i*40503)
		keys = append(keys, key+strings.Repeat("k", length-len(key)))
	}
	return keys
}

func TestItemSize_countsWhatDynamoDBStores(t *testing.T) {
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for name, row := range map[string]struct {
		data, keys, keyLength int
		most                  int
	}{
		"a small record":                         {1000, 2, 80, 1500},
		"the largest data that the ledger makes": {299_500, 2, 80, 300_000},
		"1,250 keys":                             {100_000, 1250, 90, 125_000},
		"1,250 keys of 2,048 bytes":              {100_000, 1250, 2048, 140_000},
	} {
		r := ledger.Record{
			Kind: "rotation", ID: "cluster#7c1d9e20-3a4b-4c5d-8e6f-000000000003", Token: strings.Repeat("t", 26), NextLook: at, Expires: at,
			Data: make([]byte, row.data), Keys: manyKeys(row.keys, row.keyLength),
		}
		item, err := encodeRecord(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		size := itemSize(item)
		if size > row.most || size < row.data {
			t.Errorf("%s takes %d bytes, want at most %d", name, size, row.most)
		}
		t.Logf("%s: %d bytes stored; data travels as %d", name, size, base64.StdEncoding.EncodedLen(row.data))
		back, err := decodeRecord(item)
		if err != nil || !slices.Equal(back.Keys, r.Keys) || len(back.Data) != row.data {
			t.Errorf("%s reads back with %d of %d keys, error %v", name, len(back.Keys), len(r.Keys), err)
		}
	}
}

func TestItemBeyondDynamoDB_isAClearError(t *testing.T) {
	for name, row := range map[string]struct {
		record ledger.Record
		want   string
	}{
		"data":                    {ledger.Record{Kind: "rotation", ID: "c-1", Data: make([]byte, 410<<10)}, "419840 of them data; DynamoDB holds at most 409600"},
		"an ID":                   {ledger.Record{Kind: "rotation", ID: strings.Repeat("i", 2048)}, "the ID has 2048 bytes"},
		"an ID that a key names":  {ledger.Record{Kind: "rotation", ID: strings.Repeat("i", 1024), Keys: []string{"k"}}, "the ID has 1024 bytes"},
		"(an ID that none names)": {ledger.Record{Kind: "alerting", ID: strings.Repeat("i", 1024)}, ""},
	} {
		_, err := encodeRecord(row.record)
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: error %v, want %q", name, err, row.want)
		}
	}
}

func TestKeysThatCannotBeUnpacked_areNamed(t *testing.T) {
	item, err := encodeRecord(ledger.Record{Kind: "rotation", ID: "c-1", Keys: manyKeys(300, 90)})
	if err != nil {
		t.Fatal(err)
	}
	if _, packed := item[keysGzipAttribute]; !packed {
		t.Fatal("300 keys are not compressed")
	}
	item[keysGzipAttribute] = text("keys")
	if _, err := decodeRecord(item); err == nil || !strings.Contains(err.Error(), keysGzipAttribute) || !strings.Contains(err.Error(), "rotation#c-1") {
		t.Errorf("error %v, want one that names the item and the attribute", err)
	}
}
