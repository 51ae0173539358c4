package function

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/delivery"
)

func alertOf(id string) string {
	message, err := alert.Alert{ID: id, DedupKey: id, Severity: alert.High, Change: "key disabled", Summary: "a key is disabled"}.Message()
	if err != nil {
		panic(err)
	}
	return push(message)
}

// receiver is a function that takes alerts, and how they came.
type receiver struct {
	mu      sync.Mutex
	batches []string
	// takes is how long it takes; fails and panics are the alerts that do.
	takes         time.Duration
	fails, panics string
}

func (r *receiver) alerts(ctx context.Context, alerts []alert.Alert) []error {
	var ids []string
	errs := make([]error, len(alerts))
	for i, a := range alerts {
		ids = append(ids, a.ID)
		if a.ID == r.panics {
			panic("boom")
		}
		if a.ID == r.fails {
			errs[i] = errors.New("the channel is unavailable")
		}
	}
	r.mu.Lock()
	r.batches = append(r.batches, fmt.Sprint(len(ids)))
	r.mu.Unlock()
	select {
	case <-time.After(r.takes):
	case <-ctx.Done():
		for i := range errs {
			errs[i] = ctx.Err()
		}
	}
	return errs
}

// poster serves the function, and returns what posts an alert to it and returns the status.
func (r *receiver) poster(log io.Writer, gather time.Duration) func(id string) int {
	h := serving(log, delivery.Handler{Alerts: r.alerts, Parse: alert.ParseMessage})
	h.Gather = gather
	served := New(h)
	return func(id string) int {
		status, _ := call(served, post(alertOf(id)))
		return status
	}
}

// pushed posts alerts at once, and returns the status of each by its id.
func pushed(post func(id string) int, ids ...string) map[string]int {
	var mu sync.Mutex
	var group sync.WaitGroup
	statuses := map[string]int{}
	for _, id := range ids {
		group.Go(func() {
			status := post(id)
			mu.Lock()
			defer mu.Unlock()
			statuses[id] = status
		})
	}
	group.Wait()
	return statuses
}

func names(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("a%d", i))
	}
	return ids
}

func TestAlerts_thatArriveTogetherAreHandedOverTogether(t *testing.T) {
	for gather, want := range map[time.Duration]string{0: "1 1 1 1 1", time.Second: "5"} {
		synctest.Test(t, func(t *testing.T) {
			r := &receiver{takes: time.Second}
			for id, status := range pushed(r.poster(io.Discard, gather), names(5)...) {
				if status != 204 {
					t.Errorf("%s: status %d, want 204", id, status)
				}
			}
			if got := strings.Join(r.batches, " "); got != want {
				t.Errorf("with %s they came as %s, want %s", gather, got, want)
			}
		})
	}
}

func TestAlerts_whatArrivesDuringABatchIsTheNextOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{takes: 10 * time.Second}
		p := r.poster(io.Discard, time.Second)
		var group sync.WaitGroup
		for i := range 9 {
			group.Go(func() {
				time.Sleep(time.Duration(i) * time.Second) // the first batch is sent from the end of the first second to that of the 11th
				p(fmt.Sprint(i))
			})
		}
		began := time.Now()
		group.Wait()
		if got := strings.Join(r.batches, " "); got != "1 8" && got != "2 7" || time.Since(began) > 22*time.Second {
			t.Errorf("they came as %s, within %s; want two batches within 22s", got, time.Since(began))
		}
	})
}

func TestAlerts_eachRequestLearnsTheFateOfItsAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := &receiver{fails: "a1", panics: "a2"}
		statuses := pushed(r.poster(&log, time.Second), names(4)...)
		if got := fmt.Sprint(statuses); got != "map[a0:204 a1:500 a2:500 a3:204]" {
			t.Errorf("statuses %s; want 500 for the one that fails and the one that panics", got)
		}
		if n := strings.Count(log.String(), `"severity":"ERROR"`); n != 2 || !strings.Contains(log.String(), delivery.LogPanicked) || !strings.Contains(log.String(), "alert not handled") {
			t.Errorf("%d errors in the log, want one for each:\n%s", n, &log)
		}
	})
}

func TestAlerts_thatAreTooManyComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{takes: time.Second}
		p := r.poster(io.Discard, time.Second)
		count := map[int]int{}
		for _, status := range pushed(p, names(mostHeld+30)...) {
			count[status]++
		}
		if count[204] != mostHeld || count[429] != 30 {
			t.Errorf("statuses %v, want %d × 204 and 30 × 429", count, mostHeld)
		}
		if status := p("later"); status != 204 {
			t.Errorf("after them: status %d, want 204", status)
		}
	})
}

func TestAlerts_whoseTimeIsUpComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{takes: time.Hour}
		began := time.Now()
		statuses := pushed(r.poster(io.Discard, time.Second), names(3)...)
		if took := time.Since(began); fmt.Sprint(statuses) != "map[a0:500 a1:500 a2:500]" || took != 59*time.Second {
			t.Errorf("statuses %v after %s; want 500 after 59s", statuses, took)
		}
	})
}

func TestAlerts_thatCannotBeRead(t *testing.T) {
	for name, body := range map[string]string{
		"text": push("key disabled"), "another object": push("x\n{}"), "no summary": push(`x` + "\n" + `{"id":"a1"}`),
		"not base64": strings.Replace(alertOf("a"), `"data":"`, `"data":"%`, 1), "no data": `{"message":{"messageId":"m1"},"subscription":"s"}`,
	} {
		var log bytes.Buffer
		r := &receiver{}
		h := serving(&log, delivery.Handler{Alerts: r.alerts, Parse: alert.ParseMessage})
		if status, _ := call(New(h), post(body)); status != 500 || len(r.batches) > 0 || strings.Count(log.String(), delivery.LogUnreadable) != 1 {
			t.Errorf("%s: status %d, batches %v; want 500 and one line in the log:\n%s", name, status, r.batches, &log)
		}
	}
}
