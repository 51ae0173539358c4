package compliance_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/report"
)

// Instances of the function get ticks at the same time, and one while another is at work: there is one run, which is reported once.
func TestTicks_at_once_make_one_run(t *testing.T) {
	scheduled(t, func(t *testing.T, s schedule) {
		s.latency = 20 * time.Millisecond
		var group sync.WaitGroup
		errs := make([]error, 4)
		for i := range errs {
			instance := *s.Function
			instance.Holder = "instance " + string(rune('a'+i/2)) + "/" + string(rune('0'+i))
			group.Go(func() {
				time.Sleep(time.Duration(i/2) * 50 * time.Millisecond)
				errs[i] = instance.Tick(t.Context())
			})
		}
		group.Wait()
		for i, err := range errs {
			if err != nil {
				t.Errorf("tick %d: %v", i, err)
			}
		}
		m, _ := s.manifest(1)
		if runs := s.runs(); runs.Number != 1 || runs.Last.Number != 1 || runs.Current != nil || runs.Holder != "" || !m.Complete {
			t.Errorf("the ledger has %+v", runs)
		}
		manifests := slices.DeleteFunc(s.archive.Names(), func(name string) bool {
			return name != report.ManifestName(m.ChainStart, 1) && !strings.HasSuffix(name, "manifest.json")
		})
		if len(manifests) != 1 {
			t.Errorf("the archive has the manifests %v", manifests)
		}
		if n := s.sent("GET /api/v1/organization", ""); n != 1 {
			t.Errorf("the organization was read %d times, want once: another tick went on with the same run", n)
		}
		digests := 0
		for _, a := range s.notifier.Alerts() {
			if strings.Contains(a.Summary, "ompliance run 1") {
				digests++
			}
		}
		if digests != 1 {
			t.Errorf("%d messages are about the run", digests)
		}
	})
}
