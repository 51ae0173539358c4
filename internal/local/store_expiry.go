package local

import (
	"errors"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/keyturn/keyturn/internal/ledger"
)

// forgetAll removes the expired records of all kinds. With nothing to remove it writes nothing.
func forgetAll(db *bolt.DB) error {
	now := time.Now()
	var kinds []string
	err := db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(kind []byte, root *bolt.Bucket) error {
			expires := root.Bucket(expiresBucket)
			if expires == nil { // written before records could expire
				return nil
			}
			if first, _ := expires.Cursor().First(); hasExpired(first, now) {
				kinds = append(kinds, string(kind))
			}
			return nil
		})
	})
	if err != nil || len(kinds) == 0 {
		return err
	}
	return db.Update(func(tx *bolt.Tx) error {
		for _, kind := range kinds {
			b, err := createBuckets(tx, kind)
			if err != nil {
				return err
			}
			if err := b.forget(now); err != nil {
				return err
			}
		}
		return nil
	})
}

// forget removes the kind's expired records. With none it costs one look at the index.
func (b kindBuckets) forget(now time.Time) error {
	for {
		first, _ := b.expires.Cursor().First()
		if !hasExpired(first, now) {
			return nil
		}
		if err := b.remove(first); err != nil {
			return err
		}
	}
}

// remove removes the record of an entry of the index on Expires. One that cannot be decoded stays, for its readers to name.
func (b kindBuckets) remove(entry []byte) error {
	_, id := parseTimeEntry(entry)
	if err := b.expires.Delete(entry); err != nil {
		return err
	}
	r, err := b.record(id)
	if errors.Is(err, ledger.ErrUndecodable) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := b.unlist(r); err != nil {
		return err
	}
	if err := b.replaceKeys(r, ledger.Record{ID: id}); err != nil {
		return err
	}
	return b.records.Delete([]byte(id))
}

func hasExpired(entry []byte, now time.Time) bool {
	if entry == nil {
		return false
	}
	at, _ := parseTimeEntry(entry)
	return at <= now.Unix()
}
