package events

import (
	"bytes"
	"encoding/json"
	"testing"
)

// mixedStream is 1000 CloudTrail records of 1 to 2 KB as accounts write them: 5 % are of kinds that we understand (mostly use of
// a key, as it is in life), the rest are of other services and other calls.
func mixedStream(tb testing.TB) (records [][]byte) {
	tb.Helper()
	var foreign, ours [][]byte
	for _, file := range samples(tb, "testdata/mixed/*.json") {
		foreign = append(foreign, compact(tb, read(tb, file)))
	}
	for _, name := range []string{"decrypt", "encrypt-key-material", "assumerole-cross-account", "generatedatakey", "putkeypolicy"} {
		var event struct{ Detail json.RawMessage }
		if err := json.Unmarshal(read(tb, "testdata/cloudtrail-"+name+".json"), &event); err != nil {
			tb.Fatal(err)
		}
		ours = append(ours, compact(tb, event.Detail))
	}
	for i := range 1000 {
		if i%20 == 7 {
			records = append(records, ours[i/20%len(ours)])
		} else {
			records = append(records, foreign[i%len(foreign)])
		}
	}
	return records
}

func compact(tb testing.TB, data []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// enveloped wraps records as EventBridge does.
func enveloped(records [][]byte) (events [][]byte) {
	for _, r := range records {
		var head recordHead
		_ = json.Unmarshal(r, &head) // they were valid a moment ago
		what := head.selector()
		events = append(events, []byte(`{"version":"0","id":"36eb8523-97d0-4518-b33d-ee3579ff19f0","detail-type":"`+what.detailType+
			`","source":"`+what.source+`","account":"111122223333","time":"2026-03-02T08:14:27Z","region":"us-west-2","resources":[],"detail":`+
			string(r)+`}`))
	}
	return events
}

func TestTheMixedStreamIsMixedAsItSays(t *testing.T) {
	records := mixedStream(t)
	log := append([]byte(`{"Records":[`), append(bytes.Join(records, []byte(",")), "]}"...)...)
	var ours, all int
	for record, err := range DecodeStream(bytes.NewReader(log)) {
		if err != nil {
			t.Fatalf("%s: %v", record.Pointer, err)
		}
		if all++; record.Event != nil {
			ours++
		}
	}
	if all != 1000 || ours != 50 {
		t.Errorf("%d of %d records are for us, want 50 of 1000", ours, all)
	}
	if mean := len(log) / all; mean < 1000 || mean > 2000 {
		t.Errorf("a record has %d bytes, want 1 to 2 KB", mean)
	}
}

// The benchmarks of the mixed stream must stay above 100,000 records a second and twice as fast as BenchmarkGenericDecode.

func BenchmarkDecode(b *testing.B) {
	events := enveloped(mixedStream(b))
	perRecord(b, events, func(i int) {
		if _, err := Decode(events[i]); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkDecodeStream(b *testing.B) {
	records := mixedStream(b)
	log := append([]byte(`{"Records":[`), append(bytes.Join(records, []byte(",")), "]}"...)...)
	b.SetBytes(int64(len(log) / len(records)))
	b.ReportAllocs()
	for n := 0; n < b.N; {
		for _, err := range DecodeStream(bytes.NewReader(log)) {
			if err != nil {
				b.Fatal(err)
			}
			if n++; n == b.N {
				break
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkGenericDecode is the yardstick: the same records into map[string]any, with nothing done about them.
func BenchmarkGenericDecode(b *testing.B) {
	records := mixedStream(b)
	perRecord(b, records, func(i int) {
		var generic map[string]any
		if err := json.Unmarshal(records[i], &generic); err != nil {
			b.Fatal(err)
		}
	})
}

func perRecord(b *testing.B, records [][]byte, decode func(i int)) {
	var size int
	for _, r := range records {
		size += len(r)
	}
	b.SetBytes(int64(size / len(records)))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		decode(i % len(records))
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
