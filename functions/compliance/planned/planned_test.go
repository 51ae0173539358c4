package planned_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/keyturn/keyturn/functions/compliance/planned"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestDump(t *testing.T) {
	for _, f := range []string{"google-new", "google-losses", "google-quiet", "google-exposed", "google-denied"} {
		data, _ := os.ReadFile("testdata/" + f + ".json")
		p, err := planned.Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		r := planned.Judge(p, planned.Known{Now: now})
		fmt.Println(f, r.Judged, r.Inventory)
		for _, x := range r.Findings {
			fmt.Printf("  %s %s [%s] %s %s: %s\n     (%v) %s\n", x.Result, x.Severity, x.Question, x.Check, x.Address, x.Why, x.Others, x.Subject)
		}
	}
}
