package trailcheck_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/trailcheck"
)

// fixed are trails that are always the same.
type fixed struct {
	trails []trailcheck.Trail
	err    error
}

func (f fixed) Trails(context.Context) ([]trailcheck.Trail, error) { return f.trails, f.err }

func check(t *testing.T, trails fixed, asserted bool) (text, log string, err error) {
	t.Helper()
	var lines bytes.Buffer
	function := &trailcheck.Function{Trails: trails, Region: "eu-west-1", Log: slog.New(slog.NewTextHandler(&lines, nil))}
	text, err = function.Check(t.Context(), asserted)
	return text, lines.String(), err
}

func TestAPassIsTextAndAFailureIsAnError(t *testing.T) {
	trail := trailcheck.Trail{Name: "main", ARN: "arn:main", HomeRegion: "eu-west-1", Logging: true}
	text, log, err := check(t, fixed{trails: []trailcheck.Trail{trail}}, false)
	if err != nil || text != `KMS management events in eu-west-1 are recorded by trail "main".` {
		t.Errorf("a good trail gives %q, %v", text, err)
	}
	if !strings.Contains(log, "trail=arn:main writes=yes reads=yes") {
		t.Errorf("the log does not say what the trail records: %s", log)
	}
	trail.Logging = false
	if text, log, err = check(t, fixed{trails: []trailcheck.Trail{trail}}, true); err == nil || text != "" || !strings.Contains(log, "writes=no") {
		t.Errorf("a trail that is off gives %q, %v, and the log says %s", text, err, log)
	}
}

func TestTrailsThatCannotBeListedAreNoPassUnlessTheOwnerVouches(t *testing.T) {
	denied := fixed{err: errors.New("list trails: access denied")}
	if text, log, err := check(t, denied, false); err == nil || text != "" || !strings.Contains(err.Error(), "list trails: access denied") || !strings.Contains(log, "cannot be listed") {
		t.Errorf("it gives %q, %v, and the log says %s", text, err, log)
	}
	if text, _, err := check(t, denied, true); err != nil || !strings.Contains(text, "owner's word alone") {
		t.Errorf("with the owner's word it gives %q, %v", text, err)
	}
}
