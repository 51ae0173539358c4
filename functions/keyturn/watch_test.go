package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestWatch_showsItAgainUntilItIsInterrupted(t *testing.T) {
	b := newBench(t).swept(t)
	for _, args := range [][]string{{"status", "--watch=1s"}, {"alerts", "--watch=1s", "-o", "json"}} {
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		o := b.keyturnWith(ctx, "", args...)
		cancel()
		o.wantCode(t, exitFine, args...)
		if args[0] == "status" {
			if n := strings.Count(o.out, "every 1s; Ctrl-C ends"); n < 2 {
				t.Errorf("within 2.5 s %d looks were shown:\n%s", n, o.out)
			}
			continue
		}
		looks := 0
		for line := range strings.Lines(o.out) {
			if looks++; !json.Valid([]byte(line)) {
				t.Errorf("a line is no JSON: %s", line)
			}
		}
		if looks < 2 {
			t.Errorf("within 2.5 s %d looks were shown:\n%s", looks, o.out)
		}
	}
	b.keyturn(t, "status", "--watch=10ms").wantCode(t, exitUsage, "status")
}
