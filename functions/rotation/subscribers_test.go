package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
)

// topics are subscriptions as a cloud shows them.
type topics struct {
	confirmed map[alert.Audience]map[string]bool
	broken    map[alert.Audience]error
	hangs     bool
	reads     int
}

func (f *topics) Subscribers(ctx context.Context, audience alert.Audience) (map[string]bool, error) {
	f.reads++
	if f.hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return maps.Clone(f.confirmed[audience]), f.broken[audience]
}

const (
	owner    = "email:security-oncall@example.com"
	operator = "email:platform-oncall@example.com"
	queue    = "sqs:arn:aws:sqs:us-east-1:111122223333:keyturn-notify-slack"

	lost   cmek.Change = "subscribers lost"
	unread cmek.Change = "subscribers unread"
)

// subscribed is an installation whose subscriptions are all confirmed.
func subscribed(t *testing.T) (*rotation.Function, *topics) {
	t.Helper()
	all := &topics{confirmed: map[alert.Audience]map[string]bool{
		alert.Owners: {owner: true, queue: true, "email:guest@example.com": false}, alert.Operations: {operator: true, queue: true},
	}, broken: map[alert.Audience]error{}}
	f := follower(t, newSimulator(t, sharedKey(2)), cmektest.NewStore(), time.Millisecond)
	f.Subscribers = all
	f.Settings.AlertsSubscribers, f.Settings.OperationsSubscribers = owner+","+queue, operator+","+queue
	return f, all
}

func TestSubscribers_lostIsReportedAndResolved(t *testing.T) {
	for _, row := range []struct {
		what           string
		spoil, restore func(*topics)
		says           string
		to             alert.Audience
	}{
		{"a subscription is gone", func(s *topics) { delete(s.confirmed[alert.Owners], owner) }, func(s *topics) { s.confirmed[alert.Owners][owner] = true },
			owner + " (gone)", alert.Operations},
		{"a subscription is not confirmed", func(s *topics) { s.confirmed[alert.Operations][operator] = false }, func(s *topics) { s.confirmed[alert.Operations][operator] = true },
			operator + " (not confirmed)", alert.Owners},
		{"a channel's subscription is gone", func(s *topics) { delete(s.confirmed[alert.Operations], queue) }, func(s *topics) { s.confirmed[alert.Operations][queue] = true },
			queue + " (gone)", alert.Owners},
		{"all are gone", func(s *topics) { s.confirmed[alert.Owners] = nil }, func(s *topics) { s.confirmed[alert.Owners] = map[string]bool{owner: true, queue: true} },
			owner + " (gone), " + queue + " (gone)", alert.Operations},
		{"only the case differs", func(s *topics) {
			s.confirmed[alert.Owners] = map[string]bool{"email:Security-OnCall@example.com": true, queue: true}
		}, func(*topics) {}, "", ""},
		{"an address stands there twice", func(s *topics) { s.confirmed[alert.Owners]["email:Security-OnCall@example.com"] = false }, func(*topics) {}, "", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			f, all := subscribed(t)
			minutes(f, 40)
			if begun, _ := reported(f, lost); len(begun) > 0 {
				t.Fatalf("all are confirmed, and %q is reported", named(begun))
			}
			row.spoil(all)
			broke := time.Now()
			minutes(f, 60)
			begun, ended := reported(f, lost)
			if row.says == "" {
				if len(begun) > 0 {
					t.Errorf("%s: %q is reported, want nothing", row.what, named(begun))
				}
				return
			}
			if len(begun) != 1 || len(ended) > 0 || !strings.Contains(begun[0].Summary, row.says) || begun[0].Audience != row.to || begun[0].Time.Sub(broke) > time.Hour {
				t.Fatalf("%s: reported is %q and ended %q, want one within the hour for %s that says %s", row.what, named(begun), named(ended), row.to, row.says)
			}
			row.restore(all)
			minutes(f, 20)
			if _, ended := reported(f, lost); len(ended) != 1 || ended[0].DedupKey != begun[0].DedupKey {
				t.Errorf("%s, and no more: ended is %q, want the incident", row.what, named(ended))
			}
		})
	}
}

func TestSubscribers_aChangeOfAnOpenIncidentIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, all := subscribed(t)
		all.confirmed[alert.Owners][owner] = false
		minutes(f, 40)
		delete(all.confirmed[alert.Owners], owner) // SNS deletes what nobody confirms
		minutes(f, 40)
		begun, ended := reported(f, lost)
		if len(begun) != 2 || len(ended) > 0 || begun[0].DedupKey != begun[1].DedupKey || !strings.Contains(begun[1].Summary, "(gone)") {
			t.Errorf("reported is %q and ended %q, want the same incident twice", named(begun), named(ended))
		}
	})
}

// What could not be read is not known: it is reported as that, and ends nothing.
func TestSubscribers_aFailedReadIsReportedAndResolvesNothing(t *testing.T) {
	for what, spoil := range map[string]func(*topics, bool){
		"it is denied": func(s *topics, on bool) {
			delete(s.broken, alert.Owners)
			if on {
				s.broken[alert.Owners] = fmt.Errorf("list subscriptions: %w", cmek.ErrDenied)
			}
		},
		"half of it came": func(s *topics, on bool) {
			delete(s.broken, alert.Owners)
			if on {
				s.broken[alert.Owners] = errors.New("list subscriptions: a page is missing")
			}
		},
		"it does not answer": func(s *topics, on bool) { s.hangs = on },
	} {
		synctest.Test(t, func(t *testing.T) {
			f, all := subscribed(t)
			all.confirmed[alert.Owners][owner] = false
			minutes(f, 20)
			spoil(all, true)
			broke := time.Now()
			all.confirmed[alert.Owners][owner] = true // which nobody can see
			minutes(f, 60)
			begun, ended := reported(f, unread)
			if len(begun) == 0 || begun[0].Time.Sub(broke) > time.Hour || begun[0].Audience != alert.Operations || len(ended) > 0 {
				t.Errorf("%s: reported is %q and ended %q, want that it is not known, within the hour", what, named(begun), named(ended))
			}
			if _, ended := reported(f, lost); len(ended) > 0 {
				t.Errorf("%s: ended is %q, which nobody can know", what, named(ended))
			}
			spoil(all, false)
			minutes(f, 20)
			_, known := reported(f, unread)
			_, found := reported(f, lost)
			if len(known) != len(begun) || len(found) != 1 {
				t.Errorf("%s, and no more: ended are %q and %q, want all", what, named(known), named(found))
			}
		})
	}
}

// Neither an outage of the Cloud API, nor long times between walks, put the check off.
func TestSubscribers_areReadEveryQuarterOfAnHour(t *testing.T) {
	for what, change := range map[string]func(*rotation.Function){
		"nothing else":                   func(*rotation.Function) {},
		"one walk an hour":               func(f *rotation.Function) { f.Settings.SweepEvery = time.Hour },
		"a Cloud API that lists nothing": func(f *rotation.Function) { f.Cloud = unlisted{f.Cloud} },
	} {
		synctest.Test(t, func(t *testing.T) {
			f, all := subscribed(t)
			f.Settings.OperationsSubscribers = ""
			change(f)
			minutes(f, 121)
			if all.reads != 9 {
				t.Errorf("with %s the subscriptions are read %d times in two hours, want 9", what, all.reads)
			}
		})
	}
}

func TestSubscribers_areNotReadWhereNoneAreWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, all := subscribed(t)
		f.Settings.AlertsSubscribers, f.Settings.OperationsSubscribers = "", ""
		minutes(f, 60)
		f.Subscribers, f.Settings.AlertsSubscribers = nil, owner
		minutes(f, 60)
		if all.reads != 0 {
			t.Errorf("they are read %d times", all.reads)
		}
	})
}

func TestSettings_subscribersHaveProtocolAndEndpoint(t *testing.T) {
	for list, want := range map[string]int{"": 0, owner: 0, owner + "," + queue: 0, "sms:+15550100123": 0, "security-oncall@example.com": 1, "email:": 1, ":x": 1, owner + ",": 1} {
		for _, set := range []func(*rotation.Settings){
			func(s *rotation.Settings) { s.AlertsSubscribers = list }, func(s *rotation.Settings) { s.OperationsSubscribers = list },
		} {
			s := rotation.DefaultSettings()
			set(&s)
			if problems := s.Check(); len(problems) != want {
				t.Errorf("%q has the problems %v, want %d", list, problems, want)
			}
		}
	}
}
