package channel

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/alert"
)

func TestSlackCountsClustersThatAreNotListed(t *testing.T) {
	text := clusterList(alert.Alert{Clusters: []alert.AffectedCluster{{Name: "orders"}, {Name: "payments"}}, ClusterCount: 5000})
	if !strings.HasPrefix(text, "*Clusters (5000)*\n• orders") || !strings.HasSuffix(text, "payments\nand 4998 more") {
		t.Errorf("the list of clusters is %q, want 2 of 5000", text)
	}
}
