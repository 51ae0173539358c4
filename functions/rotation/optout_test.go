package rotation

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestOptOut_isReported(t *testing.T) { onBothClouds(t, testOptOut_isReported) }

func testOptOut_isReported(t *testing.T) {
	labels := func(value string) map[string]string {
		if value == "" {
			return nil
		}
		return map[string]string{"keyturn": value}
	}
	for _, tc := range []struct {
		was, is string
		withKey bool
		want    string
	}{
		{"", "off", true, "no longer follows"},
		{"canary", "off", true, "no longer follows"},
		{"off", "", true, "again"},
		{"off", "canary", true, "again"},
		{"off", "off", true, ""},
		{"", "canary", true, ""},
		{"", "OFF", true, ""},
		{"", "off", false, ""},
	} {
		item := &ledger.Cluster{ID: "c-1", Cluster: cmek.Cluster{ID: "c-1", Name: "orders", Labels: labels(tc.was)}, Work: []ledger.Work{{Region: "us-east-1"}}}
		if tc.withKey {
			item.CMEK.RegionInfos = []cmek.RegionInfo{{Region: "us-east-1", KeyInfos: []cmek.KeyInfo{{Spec: cmek.KeySpec{URI: "k"}}}}}
		}
		absorb(item, Reads{At: noon, Cluster: &cmek.Cluster{ID: "c-1", Name: "orders", State: cmek.StateCreated, Labels: labels(tc.is)}}, noon)
		sent := item.Messages
		switch {
		case tc.want == "" && len(sent) > 0, tc.want != "" && len(sent) != 1:
			t.Errorf("%+v: %d messages", tc, len(sent))
		case tc.want != "" && (!strings.Contains(sent[0].Alert.Summary, tc.want) || sent[0].Alert.Audience != alert.Owners):
			t.Errorf("%+v: %s to %s", tc, sent[0].Alert.Headline(), sent[0].Alert.Audience)
		}
	}
}
