package alerting

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Whoever does now this and now that to a broken key makes a bounded number of alerts.
func TestFlood_ofAlternatingChanges(t *testing.T) {
	onBothSides(t, func(t *testing.T, w *world, s side) {
		for i := range 50 {
			w.happens(s.disable(w, fmt.Sprint("d", i)))
			time.Sleep(time.Second)
			w.happens(s.schedule(w, fmt.Sprint("s", i)))
			time.Sleep(time.Second)
		}
		if n := len(w.told.Alerts()); n > 10 {
			t.Errorf("100 calls of one principal about one broken key made %d alerts", n)
		}
	})
}

// One principal that repeats a change makes a bounded number of alerts, whatever the change is.
func TestFlood_ofOnePrincipal(t *testing.T) {
	for _, change := range []cmek.Change{cmek.ChangeGrantCreated, cmek.ChangeGrantRemoved, cmek.ChangeAlias, cmek.ChangeKeyTags, cmek.ChangeRotationDisabled, cmek.ChangeKeyPolicy} {
		inWorld(t, func(t *testing.T, w *world) {
			for i := range 100 {
				e := event(fmt.Sprint("e", i), change)
				if change == cmek.ChangeKeyPolicy {
					e.Policy = strings.Replace(goodKeyPolicy, "Root", fmt.Sprint("Root", i), 1)
				}
				w.happens(e)
			}
			if n := len(w.told.Alerts()); n > 5 {
				t.Errorf("100 times %q by one principal made %d alerts", change, n)
			}
		})
	}
}

func TestFlood_ofOneGooglePrincipal(t *testing.T) {
	for _, sample := range []string{
		"kms-updatecryptokey-labels", "kms-updatecryptokey-rotation-removed", "kms-updatecryptokey-justifications", "kms-setiampolicy-key", "kms-setiampolicy-key-ring",
		"resourcemanager-setiampolicy-v1", "iam-updatepolicy", "iam-updaterole", "kms-updateekmconnection", "kms-decrypt-by-somebody", "kms-restorecryptokeyversion",
	} {
		onGoogleOnly(t, func(t *testing.T, w *world) {
			for i := range 100 {
				e := logged(t, sample, fmt.Sprint(i))[0]
				if e.Policy != "" {
					e.Policy = strings.Replace(e.Policy, "{", fmt.Sprintf(`{"description":"%d",`, i), 1)
				}
				w.happens(e)
			}
			if n := len(w.told.Alerts()); n > 5 {
				t.Errorf("100 times %s by one principal made %d alerts", sample, n)
			}
		})
	}
}
