package compliance_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/checks"
	"github.com/keyturn/keyturn/internal/cmek"
)

// hub takes findings as Security Hub does: one that is not updated later than before is not taken.
type hub struct {
	t        *testing.T
	findings map[string]cmek.SecurityFinding
	sent     int
	refuse   map[string]bool
	broken   error
}

func (h *hub) Import(_ context.Context, findings []cmek.SecurityFinding) (rejected []cmek.RejectedFinding, err error) {
	if h.broken != nil {
		return nil, h.broken
	}
	h.sent += len(findings)
	for _, f := range findings {
		if h.refuse[f.ID] {
			rejected = append(rejected, cmek.RejectedFinding{ID: f.ID, Code: "InternalError", Why: "later"})
			continue
		}
		before, known := h.findings[f.ID]
		if known && !f.Updated.After(before.Updated) || known && !f.Since.Equal(before.Since) || f.Since.IsZero() || f.Updated.IsZero() {
			h.t.Errorf("%+v after %+v", f, before)
		}
		if !known && !f.Failed {
			h.t.Errorf("the end of what it does not know: %+v", f)
		}
		h.findings[f.ID] = f
	}
	return rejected, nil
}

// reporting is a schedule that reports to a hub.
func reporting(t *testing.T, test func(t *testing.T, s schedule, h *hub)) {
	scheduled(t, func(t *testing.T, s schedule) {
		h := &hub{t: t, findings: map[string]cmek.SecurityFinding{}, refuse: map[string]bool{}}
		s.Hub = h
		test(t, s, h)
	})
}

func TestHub_has_the_failures_and_nothing_else(t *testing.T) {
	reporting(t, func(t *testing.T, s schedule, h *hub) {
		s.tick()
		failures := 0
		for key, f := range s.findings(1) {
			id := "keyturn/" + strings.Replace(key, " ", "/", 1)
			got, known := h.findings[id]
			if failed := f.Result == checks.Fail; known != failed {
				t.Errorf("%s is %s, in the hub %v", key, f.Result, known)
			} else if failed {
				failures++
				if !got.Failed || got.Gone || got.Severity != string(f.Severity) || got.Description != f.Why || got.Check != f.Check || got.Resource != f.Subject.ID || got.Recommendation == "" {
					t.Errorf("%+v", got)
				}
			}
		}
		if failures < 5 || failures != len(h.findings) || failures != h.sent {
			t.Errorf("%d failures, %d findings, %d sent", failures, len(h.findings), h.sent)
		}
		s.nextDay() // a failure that goes on is reported again, because the hub forgets what is not updated for 90 days
		if h.sent != 2*failures {
			t.Errorf("%d sent", h.sent)
		}
	})
}

const notEnabled = "keyturn/CMEK-01/" + noCMEK

func TestHub_gets_the_end_of_a_failure(t *testing.T) {
	for _, tt := range []struct {
		name          string
		end           func(s schedule)
		gone, unknown bool
	}{
		{"an exception", func(s schedule) {
			s.Declared.Exceptions = []checks.Exception{{Check: "CMEK-01", Subject: noCMEK, Owner: "jo", Approver: "al", Reason: "test", Expires: time.Now().Add(60 * 24 * time.Hour)}}
		}, false, false},
		{"out of scope", func(s schedule) {
			s.Declared.OutOfScope = []checks.Exclusion{{Cluster: noCMEK, Reason: "test"}}
		}, true, false},
		{"no answer", func(s schedule) { s.refused["GET /api/v1/clusters/"+noCMEK+"/cmek"] = true }, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reporting(t, func(t *testing.T, s schedule, h *hub) {
				s.tick()
				before := h.findings[notEnabled]
				if !before.Failed {
					t.Fatalf("%+v", before)
				}
				tt.end(s)
				s.nextDay()
				got := h.findings[notEnabled]
				if tt.unknown {
					if got.Updated != before.Updated {
						t.Errorf("%+v", got)
					}
					delete(s.refused, "GET /api/v1/clusters/"+noCMEK+"/cmek")
					s.nextDay()
					if got = h.findings[notEnabled]; !got.Failed || !got.Updated.After(before.Updated) {
						t.Errorf("%+v", got)
					}
					return
				}
				if got.Failed || got.Gone != tt.gone || !got.Updated.After(before.Updated) {
					t.Errorf("%+v", got)
				}
				s.nextDay()
				if again := h.findings[notEnabled]; again.Updated != got.Updated {
					t.Errorf("the end is reported again: %+v", again)
				}
			})
		})
	}
}

// What the hub does not take is named, and reported again the next time.
func TestHub_that_refuses_gets_it_again(t *testing.T) {
	reporting(t, func(t *testing.T, s schedule, h *hub) {
		h.refuse[notEnabled] = true
		s.tick()
		if _, known := h.findings[notEnabled]; known {
			t.Fatal("it was refused")
		}
		m, _ := s.manifest(1)
		if !m.Complete || m.HubRefusals != 1 || len(m.HubRefused) != 1 || !strings.Contains(m.HubRefused[0], notEnabled+": InternalError") {
			t.Errorf("%d: %q", m.HubRefusals, m.HubRefused)
		}
		if texts := fmt.Sprint(s.notifier.Alerts()); !strings.Contains(texts, "Security Hub refused 1 reports") {
			t.Error(texts)
		}
		delete(h.refuse, notEnabled)
		s.nextDay()
		if got := h.findings[notEnabled]; !got.Failed {
			t.Errorf("%+v", got)
		}
		// Its end as well.
		s.Declared.OutOfScope = []checks.Exclusion{{Cluster: noCMEK, Reason: "test"}}
		h.refuse[notEnabled] = true
		s.nextDay()
		if got := h.findings[notEnabled]; !got.Failed {
			t.Errorf("%+v", got)
		}
		delete(h.refuse, notEnabled)
		s.nextDay()
		if got := h.findings[notEnabled]; !got.Gone {
			t.Errorf("%+v", got)
		}
	})
}

func TestHub_that_is_not_there_ends_no_run(t *testing.T) {
	reporting(t, func(t *testing.T, s schedule, h *hub) {
		h.broken = errors.New("report findings to Security Hub: account 111122223333 is not subscribed")
		s.tick()
		if m, _ := s.manifest(1); !m.Complete || m.HubRefusals == 0 || !strings.Contains(m.HubRefused[0], "not subscribed") {
			t.Errorf("%+v", m)
		}
		h.broken = nil
		s.nextDay()
		if !h.findings[notEnabled].Failed {
			t.Errorf("%+v", h.findings)
		}
	})
}
