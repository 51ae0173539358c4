package alerting

import (
	"testing"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/ledger"
)

func TestIncidentWithAShortenedListIsNotReadAsRecovered(t *testing.T) {
	i := &ledger.Incident{Kind: alert.AccessLost, Alert: alert.Alert{Clusters: []alert.AffectedCluster{{ID: "c-1"}}, ClusterCount: 5000}}
	// The listed cluster is never read: that all of them recovered could not be known from it.
	if recovered, err := (&Function{}).accessible(t.Context(), i); recovered || err != nil {
		t.Errorf("without an event an incident of 5000 clusters, 1 of them listed, reads as recovered: %t, error %v", recovered, err)
	}
}

func TestNamesCountClustersThatAreNotListed(t *testing.T) {
	listed := []alert.AffectedCluster{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}, {Name: "e"}}
	for count, want := range map[int]string{5: "a, b, c and 2 more clusters", 5000: "a, b, c and 4997 more clusters"} {
		if got := someNames(listed, count); got != want {
			t.Errorf("of %d clusters the names are %q, want %q", count, got, want)
		}
	}
}
