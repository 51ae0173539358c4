package config_test

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/config"
)

func TestNearFindsWhatWasProbablyMeant(t *testing.T) {
	known := []string{"KEYTURN_SETTLE", "KEYTURN_LEDGER", "region", "us-east-1", "us-east-2", "eu-west-1", "id"}
	for name, want := range map[string]string{
		"KEYTURN_SETLE": "KEYTURN_SETTLE", "KEYTURN_LEGDER": "KEYTURN_LEDGER", "regoin": "region", "regions": "region",
		"us-esat-1": "us-east-1", "eu-wset-1": "eu-west-1", "us-east-2": "us-east-2",
		"": "", "x": "", "hue": "", "Frankfurt": "", "ab": "",
	} {
		if got := config.Near(name, known); got != want {
			t.Errorf("Near(%q) = %q, want %q", name, got, want)
		}
	}
	if got := config.Near(strings.Repeat("x", 3000), known); got != "" {
		t.Errorf("a very long name is near %q, want none", got)
	}
}
