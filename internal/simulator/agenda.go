package simulator

import (
	"container/heap"
	"time"
)

// agenda holds what time will bring, earliest first; entries of one moment keep the order in which they were made.
type agenda struct {
	entries entries
	made    int
}

// at has do run when the time has come, with the time it was due. What is on the agenda cannot be taken off: do looks for
// itself whether it still applies.
func (a *agenda) at(due time.Time, do func(due time.Time)) {
	a.made++
	heap.Push(&a.entries, entry{due, a.made, do})
}

// shift moves everything that has not come yet by the same time, which leaves the order as it is.
func (a *agenda) shift(by time.Duration) {
	for i := range a.entries {
		a.entries[i].due = a.entries[i].due.Add(by)
	}
}

// run does everything due by now, including what is put on the agenda meanwhile.
func (a *agenda) run(now time.Time) {
	for len(a.entries) > 0 && !a.entries[0].due.After(now) {
		e := heap.Pop(&a.entries).(entry)
		e.do(e.due)
	}
}

type entry struct {
	due  time.Time
	made int
	do   func(due time.Time)
}

// entries implements heap.Interface.
type entries []entry

func (e entries) Len() int { return len(e) }
func (e entries) Less(i, j int) bool {
	if e[i].due.Equal(e[j].due) {
		return e[i].made < e[j].made
	}
	return e[i].due.Before(e[j].due)
}
func (e entries) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *entries) Push(x any)   { *e = append(*e, x.(entry)) }
func (e *entries) Pop() any {
	last := len(*e) - 1
	popped := (*e)[last]
	(*e)[last] = entry{}
	*e = (*e)[:last]
	return popped
}
