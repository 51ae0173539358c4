package lambda

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// The messages of a batch are handled that many at a time, and each one's failure is its own.
func TestEvents_inParallel(t *testing.T) {
	event := sample(t, "kms-cmk-rotation-automatic")
	for parallel, want := range map[int]time.Duration{0: 10 * time.Second, 1: 10 * time.Second, 4: 3 * time.Second, 10: time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var at, most, n atomic.Int32
			h := Handler{Parallel: parallel, Log: slog.New(slog.DiscardHandler), Event: func(context.Context, cmek.Event) error {
				most.Store(max(most.Load(), at.Add(1)))
				defer at.Add(-1)
				time.Sleep(time.Second)
				if n.Add(1) == 3 {
					return errors.New("one fails")
				}
				return nil
			}}
			var messages []string
			for range 10 {
				messages = append(messages, event)
			}
			began := time.Now()
			answer, err := h.Invoke(t.Context(), batchOf(messages...))
			if took := time.Since(began); took != want || int(most.Load()) != max(1, parallel) {
				t.Errorf("with %d at a time the batch took %s, %d at once; want %s", parallel, took, most.Load(), want)
			}
			if n := strings.Count(string(answer), "itemIdentifier"); err != nil || n != 1 {
				t.Errorf("with %d at a time %d failed (error %v), want one", parallel, n, err)
			}
		})
	}
}
