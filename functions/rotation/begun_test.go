package rotation_test

import (
	"log/slog"
	"testing"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
)

// An operation that has only begun has rotated nothing: not even the ledger is asked.
func TestEvent_ofABegunOperationOpensNoWork(t *testing.T) {
	f := rotation.Function{Log: slog.New(slog.DiscardHandler)}
	if err := f.Event(t.Context(), cmek.Event{ID: "e-1", Change: cmek.ChangeRotated, Key: "projects/p/locations/l/keyRings/r/cryptoKeys/k", Operation: "operation-1", Begun: true}); err != nil {
		t.Error(err)
	}
}
