package events

import (
	"encoding/json"
	"testing"
)

// A mixed stream is every sample once: rotations, records of other KMS calls, other services.
func mixedStream(b *testing.B) (payloads [][]byte, size int64) {
	b.Helper()
	for _, file := range samples(b, "testdata/*.json") {
		payload := read(b, file)
		payloads = append(payloads, payload)
		size += int64(len(payload))
	}
	return payloads, size / int64(len(payloads))
}

// BenchmarkDecode must stay above 100,000 records a second.
func BenchmarkDecode(b *testing.B) {
	payloads, size := mixedStream(b)
	b.SetBytes(size)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := Decode(payloads[i%len(payloads)]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkGenericDecode is the yardstick: the same stream into map[string]any, with nothing done about it.
func BenchmarkGenericDecode(b *testing.B) {
	payloads, size := mixedStream(b)
	b.SetBytes(size)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		var generic map[string]any
		if err := json.Unmarshal(payloads[i%len(payloads)], &generic); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
