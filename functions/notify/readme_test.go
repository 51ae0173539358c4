package notify_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/notify"
)

func TestTheReadmeStatesTheLimits(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf("%d incidents opened within %.0f minutes", notify.MostPages, notify.PageWindow.Minutes()),
		fmt.Sprintf("the next one waits for %.0f s", notify.Pace.Seconds()),
	} {
		if !strings.Contains(string(readme), want) {
			t.Errorf("README.md does not say %q", want)
		}
	}
	if notify.StormLasts != time.Hour {
		t.Errorf("a storm lasts %s, and README.md says an hour", notify.StormLasts)
	}
}
