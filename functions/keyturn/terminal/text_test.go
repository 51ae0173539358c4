package terminal

import (
	"testing"
	"time"
)

func TestColorsAreForTerminalsAndCanBeSwitchedOff(t *testing.T) {
	for _, tc := range []struct {
		live    bool
		environ []string
		want    bool
	}{
		{true, nil, true},
		{true, []string{"NO_COLOR="}, true},
		{true, []string{"NO_COLOR=1"}, false},
		{false, nil, false},
	} {
		if got := (&Terminal{Live: tc.live, Environ: tc.environ}).Palette(); bool(got) != tc.want {
			t.Errorf("terminal %t with %q: color is %t, want %t", tc.live, tc.environ, got, tc.want)
		}
	}
}

func TestTimesReadAsPeopleCountThem(t *testing.T) {
	noon := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for at, want := range map[time.Time]string{
		{}:                          "–",
		noon:                        "just now",
		noon.Add(15 * time.Second):  "in 15s",
		noon.Add(-90 * time.Second): "90s ago",
		noon.Add(-5 * time.Minute):  "5m ago",
		noon.Add(49 * time.Hour):    "in 2d",
	} {
		if got := When(at, noon); got != want {
			t.Errorf("%s seen from noon is %q, want %q", at, got, want)
		}
	}
}

func TestWhatOthersWroteCannotDriveTheTerminal(t *testing.T) {
	if got := Printable("a\x1b[2Jb\nc\u009b1md"); got != "a [2Jb c 1md" {
		t.Errorf("the text became %q", got)
	}
}
