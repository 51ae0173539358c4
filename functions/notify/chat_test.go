package notify_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/notify"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/channel"
)

// chat keeps the messages that it is sent, after the errors it still has to return.
type chat struct {
	inbox
	posts []string
}

func (c *chat) Send(_ context.Context, a alert.Alert) error { return c.post("one", a) }

func (c *chat) SendAll(_ context.Context, alerts []alert.Alert) error {
	return c.post("all", alerts...)
}

func (c *chat) SendCount(_ context.Context, alerts []alert.Alert) error {
	return c.post("count", alerts...)
}

func (c *chat) post(how string, alerts ...alert.Alert) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.next(); err != nil {
		return err
	}
	var ids []string
	for _, a := range alerts {
		ids = append(ids, a.ID)
	}
	c.posts = append(c.posts, how+" "+strings.Join(ids, ","))
	return nil
}

func batchOf(n int) (alerts []alert.Alert) {
	for i := range n {
		alerts = append(alerts, alert.Alert{ID: fmt.Sprint(i), DedupKey: fmt.Sprint("k", i), Severity: alert.High})
	}
	return alerts
}

func TestABatchIsOneMessageToAChat(t *testing.T) {
	down, denied, bad := &channel.Refused{Status: 500}, &channel.Refused{Status: 403}, &channel.Refused{Status: 400, Reason: "invalid_blocks"}
	low := alert.Alert{ID: "low", Severity: alert.Low}
	for _, tc := range []struct {
		name   string
		alerts []alert.Alert
		errs   []error
		want   string
		failed int
		tried  int
	}{
		{"nothing", nil, nil, "", 0, 0},
		{"one", batchOf(1), nil, "one 0", 0, 1},
		{"two", batchOf(2), nil, "all 0,1", 0, 1},
		{"one that is severe enough", append(batchOf(1), low), nil, "one 0", 0, 1},
		{"none that is", []alert.Alert{low, low}, nil, "", 0, 0},
		{"the chat is down", batchOf(6), []error{down}, "", 6, 1},
		{"the chat is closed", batchOf(6), []error{denied}, "", 6, 1},
		{"no answer", batchOf(3), []error{errors.New("connection reset")}, "", 3, 1},
		{"one that is refused for its content", batchOf(1), []error{bad}, "", 1, 1},
		{"a few that are refused", batchOf(2), []error{bad}, "one 0 one 1", 0, 3},
		{"a few of which one is refused", batchOf(2), []error{bad, bad}, "one", 1, 3},
		{"many that are refused", batchOf(6), []error{bad}, "count 0,1,2,3,4,5", 0, 2},
		{"many that are too large", batchOf(6), []error{&channel.Refused{Status: 413}}, "count 0,1,2,3,4,5", 0, 2},
		{"many whose count is refused, too", batchOf(6), []error{bad, bad}, "", 6, 2},
	} {
		c := &chat{inbox: inbox{errs: tc.errs}}
		failed := 0
		for _, err := range function(c, alert.Medium).Alerts(t.Context(), tc.alerts) {
			if err != nil {
				failed++
			}
		}
		got := strings.Join(c.posts, " ")
		if tc.want == "one" { // either of them
			got = strings.Split(got, " ")[0]
		}
		if tc.name == "a few that are refused" && got == "one 1 one 0" {
			got = tc.want
		}
		if got != tc.want || failed != tc.failed || c.tried != tc.tried {
			t.Errorf("%s: posted %q, %d failed, %d requests; want %q, %d, %d", tc.name, got, failed, c.tried, tc.want, tc.failed, tc.tried)
		}
	}
}

// In a storm a pause lets the next message gather more. Few alerts are no storm, and what comes after them must not wait.
// A storm may come in small groups. Two in a minute are left alone; those long after each other are none.
func TestAfterSmallGroupsTheChatIsLeftAloneForAMoment(t *testing.T) {
	for _, tc := range []struct {
		groups []int
		apart  time.Duration
		want   time.Duration
	}{
		{[]int{2, 2}, time.Second, 0}, {[]int{2, 3}, time.Second, notify.Pace}, {[]int{4, 2}, 59 * time.Second, notify.Pace}, {[]int{4, 4}, 61 * time.Second, 0},
		{[]int{1, 1, 1, 1, 1, 1}, time.Second, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := &chat{}
			f := function(c, alert.Info)
			for i, n := range tc.groups {
				if i > 0 {
					time.Sleep(tc.apart)
				}
				f.Alerts(t.Context(), batchOf(n))
			}
			begun := time.Now()
			err := one(t.Context(), f, alert.Alert{ID: "next"})
			if took := time.Since(begun); err != nil || took != tc.want {
				t.Errorf("after groups of %v, %s apart, the next message waits %s (%v), want %s", tc.groups, tc.apart, took, err, tc.want)
			}
		})
	}
}

func TestAfterAStormsMessageTheChatIsLeftAloneForAMoment(t *testing.T) {
	for _, tc := range []struct {
		alerts int
		want   time.Duration
	}{{1, 0}, {2, 0}, {4, 0}, {5, notify.Pace}, {1000, notify.Pace}} {
		synctest.Test(t, func(t *testing.T) {
			c := &chat{}
			f := function(c, alert.Info)
			f.Alerts(t.Context(), batchOf(tc.alerts))
			begun := time.Now()
			if err := one(t.Context(), f, alert.Alert{ID: "next"}); err != nil || len(c.posts) != 2 {
				t.Errorf("after %d alerts: error %v, posts %q", tc.alerts, err, c.posts)
			}
			if took := time.Since(begun); took != tc.want {
				t.Errorf("after a message about %d alerts the next one waits %s, want %s", tc.alerts, took, tc.want)
			}
		})
	}
}
