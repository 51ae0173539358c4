package compliance_test

import (
	"errors"
	"fmt"
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
		var errs [4]error
		for i := range errs {
			instance := *s.Function
			instance.Holder = fmt.Sprintf("instance %d", i)
			group.Go(func() {
				time.Sleep(time.Duration(i/2) * 50 * time.Millisecond) // the first two at once, the others while one is at work
				errs[i] = instance.Tick(t.Context())
			})
		}
		group.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			t.Error(err)
		}
		m, _ := s.manifest(1)
		if runs := s.runs(); runs.Number != 1 || runs.Last.Number != 1 || runs.Current != nil || runs.Holder != "" || !m.Complete {
			t.Errorf("the ledger has %+v", runs)
		}
		manifests := slices.DeleteFunc(s.archive.Names(), func(name string) bool { return !strings.HasSuffix(name, "manifest.json") })
		if !slices.Equal(manifests, []string{report.ManifestName(m.ChainStart, 1)}) {
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
