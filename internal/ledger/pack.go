package ledger

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// An item's data is JSON, or, if that is large, gzip (RFC 1952) of the JSON of packedItem. JSON never begins with gzip's magic
// number, so both are read by their first bytes.

// packedItem is an item whose evidence is kept as text, because base64, JSON's form of bytes, hardly compresses.
type packedItem struct {
	Item     json.RawMessage `json:"item"`
	Evidence []evidenceText  `json:"evidence,omitempty"`
}

// evidenceText is the evidence of the message at the index of the outbox.
type evidenceText struct {
	Index int    `json:"index"`
	Text  string `json:"text"`
}

// mostUnpacked bounds what packed data may become. No item that fits is nearly that large.
const mostUnpacked = 64 << 20

var gzipMagic = []byte{0x1f, 0x8b}

// hasOutbox are the items with an [Outbox].
type hasOutbox interface{ outbox() *Outbox }

func (o *Outbox) outbox() *Outbox { return o }

// pack encodes the item in its compressed form.
func pack(item any) ([]byte, error) {
	var packed packedItem
	if with, ok := item.(hasOutbox); ok {
		o := with.outbox()
		messages := o.Messages
		defer func() { o.Messages = messages }()
		o.Messages = append([]Message(nil), messages...)
		for i, m := range o.Messages {
			if len(m.Evidence) > 0 && utf8.Valid(m.Evidence) {
				packed.Evidence = append(packed.Evidence, evidenceText{i, string(m.Evidence)})
				o.Messages[i].Evidence = nil
			}
		}
	}
	var err error
	if packed.Item, err = encodeItem(item); err != nil {
		return nil, err
	}
	data, err := encode(packed)
	if err != nil {
		return nil, err
	}
	return compress(data)
}

// unpack decodes packed data into the item.
func unpack(data []byte, item any) error {
	data, err := decompress(data)
	if err != nil {
		return err
	}
	var packed packedItem
	if err := json.Unmarshal(data, &packed); err != nil {
		return err
	}
	if err := unmarshal(packed.Item, item); err != nil {
		return err
	}
	for _, e := range packed.Evidence {
		with, ok := item.(hasOutbox)
		if !ok || e.Index < 0 || e.Index >= len(with.outbox().Messages) {
			return fmt.Errorf("evidence belongs to message %d, which is not there", e.Index)
		}
		with.outbox().Messages[e.Index].Evidence = []byte(e.Text)
	}
	return nil
}

func compress(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func decompress(data []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	data, err = io.ReadAll(io.LimitReader(r, mostUnpacked+1))
	if err == nil && len(data) > mostUnpacked {
		err = errors.New("it is too large when it is decompressed")
	}
	return data, err
}

// largestPlainKeys is up to which size the keys of a record are kept one by one.
const largestPlainKeys = 16_000

// PackKeys is the compressed form of a record's keys, for a store that has little room; nil if they are few.
func PackKeys(keys []string) []byte {
	n := 0
	for _, key := range keys {
		n += len(key) + 1
	}
	if n <= largestPlainKeys {
		return nil
	}
	data, err := json.Marshal(keys)
	if err != nil {
		return nil
	}
	packed, err := compress(data)
	if err != nil {
		return nil
	}
	return packed
}

// UnpackKeys reads what [PackKeys] made.
func UnpackKeys(packed []byte) (keys []string, err error) {
	data, err := decompress(packed)
	if err != nil {
		return nil, err
	}
	return keys, json.Unmarshal(data, &keys)
}
