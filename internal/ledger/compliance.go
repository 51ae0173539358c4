package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	kindCompliance = "compliance"
	runsID         = "runs"
	resultsPrefix  = "results#"
)

// Runs is the record of the scheduled runs of the compliance checks: the last one that was completed, the one under way, and what
// people were notified of.
type Runs struct {
	// Start is when the chain of runs began. It is in the names of their files, so that a chain begun anew, in a new ledger over an old
	// archive, does not run into the names of the one before.
	Start time.Time `json:"start,omitzero"`
	// Number is that of the newest run, Day its day, counted since 1970 in the schedule's own days. Both are 0 before the first.
	Number int `json:"number,omitempty"`
	Day    int `json:"day,omitempty"`
	// Manifest is the hex SHA-256 of the manifest of the newest run that ended, completed or not.
	Manifest string `json:"manifest,omitempty"`
	// Last is the last run that was completed.
	Last LastRun `json:"last,omitzero"`
	// Current is the run under way; nil if there is none.
	Current *CurrentRun `json:"current,omitempty"`
	// Alarms are the failures that people were notified of one by one, and that have not ended.
	Alarms []Alarm `json:"alarms,omitempty"`
	// Reported are the failures that were reported to a hub, and whose ends were not.
	Reported []Reported `json:"reported,omitempty"`
	// Holder works at the run until Until.
	Holder string    `json:"holder,omitempty"`
	Until  time.Time `json:"until,omitzero"`

	record Record
}

// Reported is a failure that a hub has.
type Reported struct {
	// Key is the check and the subject.
	Key      string    `json:"k"`
	Severity string    `json:"s"`
	Since    time.Time `json:"since"`
	// Updated is the time in the last report, Run the last run that was about it.
	Updated time.Time `json:"u"`
	Run     int       `json:"r"`
}

// LastRun is a run that was completed.
type LastRun struct {
	Number int       `json:"number"`
	Day    int       `json:"day"`
	Ended  time.Time `json:"ended"`
}

// CurrentRun is a run under way.
type CurrentRun struct {
	Began time.Time `json:"began"`
	// Configuration is the hex SHA-256 of what was declared when it began.
	Configuration string `json:"configuration,omitempty"`
	// Missed counts the days without a run since the one before.
	Missed int `json:"missed,omitempty"`
	// Population is the hex SHA-256 of the archived list of the clusters that the run is about; "" until it is archived.
	Population string `json:"population,omitempty"`
	// Segment counts the parts of the run that are done, Cursor is the last cluster among them, and Walked is when all of them were.
	Segment int       `json:"segment,omitempty"`
	Cursor  string    `json:"cursor,omitempty"`
	Walked  time.Time `json:"walked,omitzero"`
	// PageTries counts how often the run's page was begun.
	PageTries int `json:"page_tries,omitempty"`
	// Tally is what the run has counted so far, in the form of its own.
	Tally json.RawMessage `json:"tally,omitempty"`
}

// Runs reads the record; one that does not exist is zero.
func (l *Ledger) Runs(ctx context.Context) (*Runs, error) {
	r, err := l.store.Get(ctx, kindCompliance, runsID)
	if err != nil {
		return nil, fmt.Errorf("read compliance runs: %w", err)
	}
	runs := &Runs{record: r}
	return runs, decode(r, runs)
}

// LeaseRuns takes the record for the holder until the given time, or returns ErrLeased. A lease that ran out, or that the same holder
// has, is taken over.
func (l *Ledger) LeaseRuns(ctx context.Context, holder string, now, until time.Time) (*Runs, error) {
	runs, err := l.Runs(ctx)
	if err != nil {
		return nil, err
	}
	if runs.Holder != "" && runs.Holder != holder && now.Before(runs.Until) {
		return nil, ErrLeased
	}
	runs.Holder, runs.Until = holder, until
	switch err := l.SaveRuns(ctx, runs); {
	case errors.Is(err, ErrConflict):
		return nil, ErrLeased
	case err != nil:
		return nil, err
	}
	return runs, nil
}

// SaveRuns swaps the record in. ErrConflict means that the lease was lost.
func (l *Ledger) SaveRuns(ctx context.Context, runs *Runs) (err error) {
	r := runs.record
	r.Kind, r.ID = kindCompliance, runsID
	err = fit(&r, runs, []summary{func() { runs.Alarms = shortenAlarms(runs.Alarms) }}, func() []part {
		return []part{partOf("alarms", runs.Alarms), partOf("run under way", runs.Current), partOf("reported failures", runs.Reported)}
	})
	if err != nil {
		return err
	}
	runs.record, err = l.put(ctx, r)
	return err
}

// Result is the last result of a check about a subject.
type Result struct {
	Check   string `json:"check"`
	Subject string `json:"subject"`
	// Result is the last one, and Since when it began.
	Result string    `json:"result"`
	Since  time.Time `json:"since"`
	// Known is the last result that was not for want of an answer, and since when; "" if there was none. KnownQuiet: it is a failure that
	// nobody was notified of, because an exception accepts it or an open incident reports it.
	Known      string    `json:"known,omitempty"`
	KnownQuiet bool      `json:"known_quiet,omitempty"`
	KnownSince time.Time `json:"known_since,omitzero"`
	// Unread counts the runs in a row without an answer.
	Unread int `json:"unread,omitempty"`
}

// Results are those about one cluster with its regions, one key, one principal, one place or one credential: of the newest run that
// reached it, and of the last run before that was completed.
type Results struct {
	Of     string     `json:"of"`
	Newest Generation `json:"newest"`
	Before Generation `json:"before,omitzero"`

	record Record
}

// Generation are the results of one run.
type Generation struct {
	Run     int      `json:"run,omitempty"`
	Results []Result `json:"results,omitempty"`
}

// In are the results of the run; none if it did not reach the subject.
func (r *Results) In(run int) []Result {
	switch run {
	case 0:
		return nil
	case r.Newest.Run:
		return r.Newest.Results
	case r.Before.Run:
		return r.Before.Results
	}
	return nil
}

// Results reads the results about something; those that do not exist are empty.
func (l *Ledger) Results(ctx context.Context, of string) (*Results, error) {
	r, err := l.store.Get(ctx, kindCompliance, resultsPrefix+of)
	if err != nil {
		return nil, fmt.Errorf("read results of %s: %w", of, err)
	}
	results := &Results{Of: of, record: r}
	return results, decode(r, results)
}

// keepResults is how long results are kept that no run has replaced.
const keepResults = 400 * 24 * time.Hour

// SaveResults notes the results of a run that is under way. Those of the last run that was completed stay: they are the ones that
// count until this run is completed, too, and for ever if it never is.
func (l *Ledger) SaveResults(ctx context.Context, r *Results, g Generation, completed int) (err error) {
	before := Generation{}
	if kept := r.In(completed); kept != nil {
		before = Generation{completed, kept}
	}
	r.Newest, r.Before = g, before
	record := r.record
	record.Kind, record.ID, record.Expires = kindCompliance, resultsPrefix+r.Of, time.Now().Add(keepResults).UTC().Truncate(time.Second)
	if err := fit(&record, r, nil, func() []part { return []part{partOf("results", r.Newest)} }); err != nil {
		return err
	}
	r.record, err = l.put(ctx, record)
	return err
}
