package simulator

import "time"

// mostClockOffset is how far two clouds' clocks may be apart from a caller's.
const mostClockOffset = 10 * time.Minute

// The world has one clock, the Cloud API's and the KMS's, which is ahead of the caller's by the switch ClockOffset. Times in
// answers and events are by this clock, as are those on the agenda. What the world records for its observer ([World.Requests],
// [World.PUTs], [Event.Time], [StoreKey.WrappedAt]) is by the observer's own.

// SetClockOffset sets the switch ClockOffset: at most ten minutes, ahead of the caller or behind. Times written before stay
// as they are, as with any clock that is set.
func (w *World) SetClockOffset(offset time.Duration) error {
	return w.Set(ClockOffset, offset.String())
}

// now is the present by the world's clock.
func (w *World) now() time.Time { return clock().Add(w.offset) }

// observed is a moment of the world's clock by the observer's.
func (w *World) observed(at time.Time) time.Time { return at.Add(-w.offset) }

// shiftClock sets the offset. What is to come keeps its distance from the present, so that no operation becomes longer or
// shorter.
func (w *World) shiftClock(offset time.Duration) {
	by := offset - w.offset
	w.offset = offset
	w.agenda.shift(by)
	for _, c := range w.clusters.byName {
		if c.operation != nil && !c.operation.visibleAt.IsZero() {
			c.operation.visibleAt = c.operation.visibleAt.Add(by)
		}
	}
	w.aws.shiftClock(by)
	w.google.shiftClock(by)
	for _, a := range w.accounts {
		a.bucket.at = a.bucket.at.Add(by)
	}
}
