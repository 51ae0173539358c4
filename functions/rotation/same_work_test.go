package rotation

import (
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// A late event may name a version by another scheme than the KMS does, and so open work beside that of the same rotation. Work that
// was sent and is blocked waits for a person: no other piece of the same version sends for it.
func TestDecide_besideBlockedWork_sendsNothing(t *testing.T) {
	onBothClouds(t, testDecide_besideBlockedWork_sendsNothing)
}

func testDecide_besideBlockedWork_sendsNothing(t *testing.T) {
	blocked := func(w *world) {
		for _, g := range []given{accepted, sent(3 * time.Hour), updated(ago(time.Hour)), operation(cmek.CMEKOperationFailed),
			request(func(r *ledger.Request) {
				r.Baseline.Operation = cmek.CMEKOperationFailed
				r.Final = ledger.Final{Status: cmek.Enabled, Since: ago(time.Hour)}
			})} {
			g(w)
		}
		w.item.Work[0].Version = v2
		w.item.Work[0].State = ledger.Blocked
	}
	for name, tt := range map[string]struct {
		given given
		want  Act
	}{
		"of the version that is sent":              {func(w *world) {}, Drop},
		"of an unknown version, which is the same": {work(func(w *ledger.Work) { w.Version = cmek.KeyVersion{} }), Drop},
		"of the same version by another scheme":    {work(func(w *ledger.Work) { w.Version = cmek.RotatedOnVersion(ago(time.Hour)) }), Drop},
		"while the key is not read":                {keysUnread, Wait},
	} {
		t.Run(name, func(t *testing.T) {
			p := newWorld(blocked, due, tt.given).decide()
			if p.Verdicts[0].Act != Block || p.Verdicts[1].Act != tt.want || len(p.Put) > 0 {
				t.Errorf("decided %q and %q (%s) with PUT %+v, want %q and %q without one",
					p.Verdicts[0].Act, p.Verdicts[1].Act, p.Verdicts[1].Why, p.Put, Block, tt.want)
			}
		})
	}
	t.Run("of a newer version, which the blocked work goes on with", func(t *testing.T) {
		w := newWorld(blocked, due)
		w.item.Work[0].Version = v1
		if p := w.decide(); p.Verdicts[0].Act != Supersede || p.Verdicts[1].Act != Drop {
			t.Errorf("decided %q and %q, want %q and %q", p.Verdicts[0].Act, p.Verdicts[1].Act, Supersede, Drop)
		}
	})
}
