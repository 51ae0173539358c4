package cmek

import "time"

// HeartbeatEvery is how far apart the heartbeats of a place are: the changes of a canary key that show that events arrive. Both clouds'
// schedules, what counts as late, and how old the last heartbeat may be follow from it.
const HeartbeatEvery = time.Hour

// HeartbeatAge is how old the last heartbeat may be. A heartbeat may be as late as the next one is due, so that one which is younger may
// still be the last one that was to come.
const HeartbeatAge = 2 * HeartbeatEvery
