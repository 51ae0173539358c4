package rotation

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestAddresses_ofAnAnswerAboutTerraform(t *testing.T) {
	for answer, want := range map[string][]string{
		"": nil, "none": nil, "not managed in ../infra": nil,
		"managed as cockroach_cmek.a":                                    {"cockroach_cmek.a"},
		`managed as module.m.cockroach_cmek.a["x, y"], cockroach_cmek.b`: {`module.m.cockroach_cmek.a["x, y"]`, "cockroach_cmek.b"},
	} {
		if got := Addresses(answer); !slices.Equal(got, want) {
			t.Errorf("the addresses of %q are %q, want %q", answer, got, want)
		}
	}
}

// Whoever carried the move out, a person at the terminal or the function for a pin, its report says what Terraform needs.
func TestMovedAlert_saysWhatTerraformNeeds(t *testing.T) {
	const address = `cockroach_cmek.all["orders"]`
	ordered := changeOrder(func(o *ledger.Order) { o.Terraform = "managed as " + address })
	followed := pin(func(p *PinFact) { p.Terraform = "managed as " + address })
	done := []given{movedOver, rested(cmek.Enabled, time.Minute)}
	for _, r := range []struct {
		name  string
		given []given
		want  bool
	}{
		{"an order", append([]given{orderSent, ordered}, done...), true},
		{"an order of a cluster that Terraform does not manage", append([]given{orderSent}, done...), false},
		{"a pin", append([]given{pinSent, followed}, done...), true},
		{"a pin of a cluster that Terraform does not manage", append([]given{pinSent}, done...), false},
	} {
		w := newWorld(r.given...).absorbed().transition()
		for _, a := range alerts(w.item) {
			if a.Change != changeMoved {
				continue
			}
			cmektest.CheckSteps(t, a.RecoverySteps...)
			text := strings.Join(a.RecoverySteps, "\n")
			for _, part := range []string{string(eastKey) + " to " + string(newKey), "terraform state rm '" + address + "'", "terraform import '" + address + "' c-1", "terraform plan"} {
				if strings.Contains(text, part) != r.want {
					t.Errorf("%s: the report says %q; that it says %q should be %t", r.name, text, part, r.want)
				}
			}
		}
		last, moved := w.item.LastMove(east)
		if !moved || (Addresses(last.Terraform) != nil) != r.want {
			t.Errorf("%s: on record is %+v (%t)", r.name, last, moved)
		}
	}
}

// A blocked move says what was ordered, by whom and why, and what takes it back; it does not read like a rotation's.
func TestBlockedOrder_hasItsOwnWords(t *testing.T) {
	for _, r := range []struct {
		name  string
		given []given
		want  []string
	}{
		{"an order", []given{orderDue, usingKey(otherKey)}, []string{"The move of cluster orders", newKey.ID(), "the order is to move it from", "ana ordered it (CHG-1).",
			"expires at 2026-11-21T11:00:00Z", "keyturn rotate c-1 --region us-east-1 --cancel"}},
		{"a pin", []given{aliasMovedTo(newKey), usingKey(eastKey), pinMove(func(m *Move) { m.To.Key.Key.State = cmek.KeyDisabled })}, []string{"The move of cluster orders", newKey.ID(),
			"ana pinned the region to alias " + string(pinnedAlias), "keyturn unpin c-1 --region us-east-1"}},
	} {
		w := newWorld(r.given...).absorbed().transition()
		found := false
		for _, a := range alerts(w.item) {
			text := strings.Join(append([]string{a.Summary, a.Impact}, a.RecoverySteps...), "\n")
			if a.Change != changeBlocked {
				continue
			}
			found = true
			cmektest.CheckSteps(t, a.RecoverySteps...)
			for _, part := range r.want {
				if !strings.Contains(text, part) {
					t.Errorf("%s: the alert does not say %q:\n%s", r.name, part, text)
				}
			}
			if strings.Contains(text, "older key version") || strings.Contains(text, "follow-through") {
				t.Errorf("%s: the alert speaks of a rotation:\n%s", r.name, text)
			}
		}
		if !found {
			t.Errorf("%s: not reported: %+v, work %+v", r.name, alerts(w.item), w.item.Work)
		}
	}
}
