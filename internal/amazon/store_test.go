package amazon_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestStoreConforms(t *testing.T) {
	cmektest.StoreConforms(t, func(t *testing.T) ledger.Store {
		config := motoConfig(t, nil)
		return amazon.NewStore(config, createTable(t, config))
	})
}

func TestStoreSurvivesLostCalls(t *testing.T) {
	cmektest.StoreSurvivesLostCalls(t, func(t *testing.T, faults *cmektest.Faults) ledger.Store {
		config := motoConfig(t, faults.Transport(http.DefaultTransport))
		return amazon.NewStore(config, createTable(t, config))
	})
}

var tables atomic.Int32

// createTable creates the table with the names that the package exports, and returns its name.
func createTable(t *testing.T, config amazon.Config) string {
	t.Helper()
	name := fmt.Sprintf("keyturn-%d", tables.Add(1))
	attribute := func(name string, kind types.ScalarAttributeType) types.AttributeDefinition {
		return types.AttributeDefinition{AttributeName: &name, AttributeType: kind}
	}
	schema := func(hash, sort string) []types.KeySchemaElement {
		return []types.KeySchemaElement{
			{AttributeName: &hash, KeyType: types.KeyTypeHash},
			{AttributeName: &sort, KeyType: types.KeyTypeRange},
		}
	}
	_, err := dynamodb.NewFromConfig(config).CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName:   &name,
		BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			attribute(amazon.PartitionKey, types.ScalarAttributeTypeS),
			attribute(amazon.SortKey, types.ScalarAttributeTypeS),
			attribute(amazon.KindAttribute, types.ScalarAttributeTypeS),
			attribute(amazon.NextLookAttribute, types.ScalarAttributeTypeN),
		},
		KeySchema: schema(amazon.PartitionKey, amazon.SortKey),
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
			IndexName:  aws.String(amazon.DueIndex),
			KeySchema:  schema(amazon.KindAttribute, amazon.NextLookAttribute),
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
		}},
	})
	if err != nil {
		t.Fatalf("create table: %v", err)
	}
	return name
}

// recorder notes the operation of every call that passes.
type recorder struct{ operations []string }

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	_, operation, _ := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
	r.operations = append(r.operations, operation)
	return http.DefaultTransport.RoundTrip(req)
}

func TestStoreCostsNoMoreCallsThanItMust(t *testing.T) {
	var calls recorder
	config := motoConfig(t, &calls)
	table := createTable(t, config)
	store := amazon.NewStore(config, table)
	record := ledger.Record{Kind: "rotation", ID: "c-1", NextLook: time.UnixMilli(1000), Keys: []string{"k-1", "k-2"}}

	for _, step := range []struct {
		name string
		run  func() error
		want []string
	}{
		{"an idle look is one query", func() error {
			_, err := store.Due(t.Context(), "rotation", time.UnixMilli(1000), 25)
			return err
		}, []string{"Query"}},
		{"a new record's edges are written before it", func() error {
			return store.Put(t.Context(), record)
		}, []string{"PutItem", "PutItem", "PutItem"}},
		{"a record with the same keys is one write", func() error {
			record.Version = 1
			return store.Put(t.Context(), record)
		}, []string{"PutItem"}},
		{"a record that was read needs no edges again", func() error {
			other := amazon.NewStore(config, table)
			got, err := other.Get(t.Context(), "rotation", "c-1")
			if err != nil {
				return err
			}
			return other.Put(t.Context(), got)
		}, []string{"GetItem", "PutItem"}},
		{"what is due is read again consistently", func() error {
			_, err := store.Due(t.Context(), "rotation", time.UnixMilli(1000), 25)
			return err
		}, []string{"Query", "BatchGetItem"}},
	} {
		calls.operations = nil
		if err := step.run(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if !slices.Equal(calls.operations, step.want) {
			t.Errorf("%s: calls are %q, want %q", step.name, calls.operations, step.want)
		}
	}
}

func TestStoreRefusesKindsAndIDsThatItsKeysCannotHold(t *testing.T) {
	store := amazon.NewStore(configAt(t, "http://127.0.0.1:1", nil), "table")
	for _, r := range []ledger.Record{{Kind: "", ID: "c-1"}, {Kind: "a#b", ID: "c-1"}, {Kind: "rotation", ID: ""}} {
		if err := store.Put(t.Context(), r); err == nil || !strings.Contains(err.Error(), "kind") {
			t.Errorf("Put of kind %q with ID %q returned %v, want an error that says what is wrong", r.Kind, r.ID, err)
		}
	}
}

// slowTable is a table with due records whose BatchGetItem answers with one record at a time, or with none.
func slowTable(t *testing.T, perCall int, batches *int) *httptest.Server {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".Query") {
			fmt.Fprint(w, `{"Items":[{"pk":{"S":"rotation#a"}},{"pk":{"S":"rotation#b"}},{"pk":{"S":"rotation#c"}},{"pk":{"S":"rotation#a"}}]}`)
			return
		}
		*batches++
		var request struct {
			RequestItems map[string]struct {
				ConsistentRead bool
				Keys           []map[string]map[string]string
			}
		}
		if err := json.Unmarshal(body, &request); err != nil || !request.RequestItems["table"].ConsistentRead {
			t.Errorf("BatchGetItem is not a consistent read of the table: %s", body)
		}
		keys := request.RequestItems["table"].Keys
		read, left := keys[:min(perCall, len(keys))], keys[min(perCall, len(keys)):]
		items := []any{}
		for _, key := range read {
			items = append(items, map[string]any{
				"pk": key["pk"], "sk": key["sk"], "kind": map[string]string{"S": "rotation"},
				"version": map[string]string{"N": "1"}, "next_look": map[string]string{"N": "5"},
			})
		}
		answer := map[string]any{"Responses": map[string]any{"table": items}}
		if len(left) > 0 {
			answer["UnprocessedKeys"] = map[string]any{"table": map[string]any{"Keys": left}}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	return server
}

func TestStoreAsksAgainForWhatABatchLeftOut(t *testing.T) {
	var batches int
	server := slowTable(t, 1, &batches)
	due, err := amazon.NewStore(configAt(t, server.URL, nil), "table").Due(t.Context(), "rotation", time.UnixMilli(5), 10)
	if err != nil || len(due) != 3 || batches != 3 {
		t.Errorf("Due = %d records in %d batches, error %v; want 3 in 3", len(due), batches, err)
	}
}

func TestAnItemThatIsNoRecordHidesNoneOfTheOthers(t *testing.T) {
	const item = `{"pk":{"S":"rotation#%[1]s"},"sk":{"S":"record"},"kind":{"S":"rotation"},"version":%s,"next_look":{"N":"5"},"keys":{"L":[{"S":"k"}]}}`
	good := `{"N":"1"}`
	for name, bad := range map[string]string{
		"a version that is no number":  fmt.Sprintf(item, "b", `{"S":"1"}`),
		"a time that is no number":     strings.Replace(fmt.Sprintf(item, "b", good), `{"N":"5"}`, `{"S":"5"}`, 1),
		"an expiry that is no number":  strings.Replace(fmt.Sprintf(item, "b", good), `"keys"`, `"expires":{"S":"5"},"keys"`, 1),
		"a key that is no text":        strings.Replace(fmt.Sprintf(item, "b", good), `{"S":"k"}`, `{"N":"1"}`, 1),
		"nothing but the primary keys": `{"pk":{"S":"rotation#b"},"sk":{"S":"record"}}`,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.0")
			if strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".Query") {
				fmt.Fprint(w, `{"Items":[{"pk":{"S":"rotation#a"},"sk":{"S":"edge#a"}},{"pk":{"S":"rotation#b"},"sk":{"S":"edge#b"}},{"pk":{"S":"rotation#c"},"sk":{"S":"edge#c"}}]}`)
				return
			}
			fmt.Fprintf(w, `{"Responses":{"table":[%s,%s,%s]}}`, fmt.Sprintf(item, "c", good), bad, fmt.Sprintf(item, "a", good))
		}))
		store := amazon.NewStore(configAt(t, server.URL, nil), "table")
		for call, read := range map[string]func() ([]ledger.Record, error){
			"Due":   func() ([]ledger.Record, error) { return store.Due(t.Context(), "rotation", time.UnixMilli(5), 2) },
			"ByKey": func() ([]ledger.Record, error) { return store.ByKey(t.Context(), "rotation", "k") },
		} {
			found, err := read()
			if len(found) != 2 || found[0].ID != "a" || found[1].ID != "c" {
				t.Errorf("%s beside an item with %s returns %+v, want the two records", call, name, found)
			}
			if !errors.Is(err, ledger.ErrUndecodable) || !strings.Contains(err.Error(), "rotation#b") {
				t.Errorf("%s: error %v for an item with %s, want one that names it", call, err, name)
			}
		}
		server.Close()
	}
}

func TestStoreGivesUpOnATableThatReadsNothing(t *testing.T) {
	var batches int
	server := slowTable(t, 0, &batches)
	_, err := amazon.NewStore(configAt(t, server.URL, nil), "table").Due(t.Context(), "rotation", time.UnixMilli(5), 10)
	if err == nil || batches != 5 {
		t.Errorf("Due returned error %v after %d batches, want an error after 5", err, batches)
	}
}
