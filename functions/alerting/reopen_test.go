package alerting

import (
	"context"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
)

// crossing lets an event be reported while the end of its incident is on the way, and fails the messages after that end.
type crossing struct {
	*topic
	during   func()
	failures int
	ended    bool
}

func (c *crossing) Notify(ctx context.Context, a alert.Alert) error {
	if a.Resolved && c.during != nil {
		during := c.during
		c.during = nil
		during()
		c.ended = true
	} else if c.ended && c.failures > 0 {
		c.failures--
		return errDown
	}
	return c.topic.Notify(ctx, a)
}

// The last message about an open incident is never its end, also if the correction cannot be sent at once.
func TestReopen_isSentUntilItArrives(t *testing.T) {
	for _, failures := range []int{0, 1} {
		onBothSides(t, func(t *testing.T, w *world, s side) {
			c := &crossing{topic: w.told, failures: failures}
			w.Notifier = c
			w.happens(s.disable(w, "e-1"))
			time.Sleep(time.Minute)
			w.happens(s.enable(w, "e-2"))
			c.during = func() {
				w.happens(s.event(w, "e-3", cmek.ChangeKeyDisabled))
				s.reads(w, cmek.KeyDisabled)
			}
			for range 60 {
				time.Sleep(time.Minute)
				_ = w.Tick(t.Context())
			}
			if len(w.open()) != 1 || w.last().Resolved {
				t.Errorf("with %d failures the incidents %v are open, and the last message is %s", failures, w.open(), w.last().Headline())
			}
		})
	}
}
