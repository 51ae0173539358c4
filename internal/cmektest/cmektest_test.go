package cmektest_test

import (
	"fmt"
	"testing"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestMemoryStoreConforms(t *testing.T) {
	cmektest.StoreConforms(t, func(*testing.T) ledger.Store { return cmektest.NewStore() })
}

func TestMemoryStoreSurvivesLostCalls(t *testing.T) {
	cmektest.StoreSurvivesLostCalls(t, func(_ *testing.T, faults *cmektest.Faults) ledger.Store {
		return faults.Store(cmektest.NewStore())
	})
}

func TestMemoryArchiveConforms(t *testing.T) {
	cmektest.ArchiveConforms(t, func(*testing.T) (cmek.Archive, func(string) ([]byte, error)) {
		var archive cmektest.Archive
		return &archive, func(name string) ([]byte, error) {
			data, ok := archive.Data(name)
			if !ok {
				return nil, fmt.Errorf("nothing under %s", name)
			}
			return data, nil
		}
	})
}

func TestMemoryNotifierConforms(t *testing.T) {
	cmektest.NotifierConforms(t, func(*testing.T) (alert.Notifier, func() []cmektest.Delivery) {
		var notifier cmektest.Notifier
		return &notifier, func() []cmektest.Delivery {
			var deliveries []cmektest.Delivery
			for _, a := range notifier.Alerts() {
				data, _ := a.JSON()
				deliveries = append(deliveries, cmektest.Delivery{Audience: a.Audience, Subject: a.Headline(), Text: a.Text(), JSON: data})
			}
			return deliveries
		}
	})
}

func TestArchiveReaderConforms(t *testing.T) {
	cmektest.ArchiveReaderConforms(t, func(*testing.T) (cmektest.ReadableArchive, cmektest.Intruder) {
		a := &cmektest.Archive{}
		return a, cmektest.Intruder{
			Overwrite: func(_ *testing.T, name string, data []byte) { a.Overwrite(name, data) },
			Delete:    func(_ *testing.T, name string) { a.Delete(name) },
		}
	})
}
