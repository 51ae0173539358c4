package alerting

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/events"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// operation makes a call that takes a while, and returns the events of its first log entry and of its last.
func operation(t *testing.T, cloud *simulator.World, method, url string) (first, last cmek.Event) {
	t.Helper()
	cloud.Events()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://google.test/"+url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	response, err := simulator.Transport(cloud.Handler()).RoundTrip(request)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v, error %v", url, response, err)
	}
	_ = response.Body.Close()
	var found []cmek.Event
	for _, one := range cloud.Events() {
		decoded, err := events.Decode(one.Payload)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, decoded...)
	}
	if len(found) != 2 || !found[0].Begun || found[1].Begun || found[0].Operation != found[1].Operation {
		t.Fatalf("the entries of %s are %+v; want the beginning of an operation, and its end", url, found)
	}
	return found[0], found[1]
}

// An operation is reported once, by its end. If that is never reported its beginning is, after a while; whatever comes twice, and in
// whatever order.
func TestOperations_theBeginningIsNeverLost(t *testing.T) {
	failedEnd := func(e cmek.Event) cmek.Event {
		e.Error, e.Failure = "FAILED_PRECONDITION", cmek.FailureUnfit
		return e
	}
	const ended, attempted, unended = "Service cloudkms.googleapis.com of project acme was disabled", "Failed attempt to disable", "An operation to disable service cloudkms.googleapis.com of project acme began, and its end was not reported"
	for _, row := range []struct {
		name      string
		delivered func(first, last cmek.Event) []cmek.Event
		// now is what is reported at once, later after an hour; "" for nothing.
		now, later string
		severity   alert.Severity
		open       int
	}{
		{"both", func(first, last cmek.Event) []cmek.Event { return []cmek.Event{first, last} }, ended, "", alert.Critical, 1},
		{"the last alone", func(_, last cmek.Event) []cmek.Event { return []cmek.Event{last} }, ended, "", alert.Critical, 1},
		{"the last before the first", func(first, last cmek.Event) []cmek.Event { return []cmek.Event{last, first} }, ended, "", alert.Critical, 1},
		{"both twice", func(first, last cmek.Event) []cmek.Event { return []cmek.Event{first, first, last, last, first} }, ended, "", alert.Critical, 1},
		{"the first alone", func(first, _ cmek.Event) []cmek.Event { return []cmek.Event{first} }, "", unended, alert.Critical, 0},
		{"the first twice", func(first, _ cmek.Event) []cmek.Event { return []cmek.Event{first, first} }, "", unended, alert.Critical, 0},
		{"a failed last", func(first, last cmek.Event) []cmek.Event { return []cmek.Event{first, failedEnd(last)} }, attempted, "", alert.Medium, 0},
		{"a failed last before the first", func(first, last cmek.Event) []cmek.Event { return []cmek.Event{failedEnd(last), first} }, attempted, "", alert.Medium, 0},
		{"the last of another operation", func(first, last cmek.Event) []cmek.Event {
			last.Operation += "x"
			return []cmek.Event{first, failedEnd(last)}
		}, attempted, unended, alert.Critical, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				cloud := simulated(t, w)
				first, last := operation(t, cloud, "POST", "v1/projects/acme/services/cloudkms.googleapis.com:disable")
				for _, e := range row.delivered(first, last) {
					w.receives([]cmek.Event{e})
				}
				now := w.told.Alerts()
				if len(now) > 1 || len(now) == 1 != (row.now != "") || len(now) == 1 && !strings.HasPrefix(now[0].Summary, row.now) {
					t.Fatalf("at once is reported %s, want %q", headlines(now), row.now)
				}
				w.ticks(14 * time.Minute)
				if early := w.told.Alerts(); len(early) != len(now) {
					t.Fatalf("before its end could be missed is reported %s", headlines(early))
				}
				w.ticks(time.Hour)
				later := w.told.Alerts()[len(now):]
				if len(later) > 1 || len(later) == 1 != (row.later != "") || len(later) == 1 && !strings.HasPrefix(later[0].Summary, row.later) {
					t.Fatalf("later is reported %s, want %q", headlines(later), row.later)
				}
				if a := slices.Concat(now, later); a[len(a)-1].Severity != row.severity {
					t.Errorf("it is reported as %s, want %s", a[len(a)-1].Severity, row.severity)
				}
				if open := w.open(); len(open) != row.open {
					t.Errorf("open are %q, want %d", open, row.open)
				}
				w.receives([]cmek.Event{first}) // a day late: what is settled stays so
				w.ticks(2 * time.Hour)
				if all := w.told.Alerts(); len(all) != len(now)+len(later) {
					t.Errorf("the first entry, once more, is reported: %s", headlines(all))
				}
			})
		})
	}
}

// The end that comes after its beginning was reported is news.
func TestOperations_aLateEndIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		cloud := simulated(t, w)
		first, last := operation(t, cloud, "POST", "v1/projects/acme/services/cloudkms.googleapis.com:disable")
		w.receives([]cmek.Event{first})
		w.ticks(time.Hour)
		w.receives([]cmek.Event{last})
		if all := w.told.Alerts(); len(all) != 2 || !strings.HasPrefix(all[1].Summary, "Service cloudkms.googleapis.com of project acme was disabled") || len(w.open()) != 1 {
			t.Errorf("reported are %s, open %q; want the end after the beginning, and an incident", headlines(all), w.open())
		}
	})
}

// What is no risk if it takes effect is not waited for, nor is what was changed of somebody else's.
func TestOperations_onlyWhatWouldBeReportedIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		cloud := simulated(t, w)
		operation(t, cloud, "POST", "v1/projects/acme/services/cloudkms.googleapis.com:disable")
		first, _ := operation(t, cloud, "POST", "v1/projects/acme/services/cloudkms.googleapis.com:enable")
		elsewhere := gcloud("run", "UpdateService", cmek.ChangeFunction, with("function", "shop"), func(e *cmek.Event) { e.Operation, e.Begun = "operation-1", true })
		w.receives([]cmek.Event{first, elsewhere})
		w.ticks(2 * time.Hour)
		if all := w.told.Alerts(); len(all) != 0 {
			t.Errorf("reported are %s", headlines(all))
		}
		for _, e := range []cmek.Event{first, elsewhere} {
			if i, err := w.Ledger.Incident(t.Context(), operationItem(e)); err != nil || len(i.Events) != 0 {
				t.Errorf("%s is waited for: %+v, error %v", e.Change, i, err)
			}
		}
	})
}
