package cockroachcloud

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

// The API takes a region that region_nodes leave out as one to remove. Whatever is asked for, none may be.
func TestAddRegions_whateverIsAsked_keepsEveryRegion(t *testing.T) {
	type body struct {
		Dedicated struct {
			RegionNodes     map[string]int    `json:"region_nodes"`
			CMEKRegionSpecs []cmek.RegionSpec `json:"cmek_region_specs"`
		} `json:"dedicated"`
	}
	var sent []body
	client := newClient(t, inProcess(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		var b body
		if err := json.Unmarshal(data, &b); err != nil {
			t.Errorf("sent %s: %v", data, err)
		}
		sent = append(sent, b)
		io.WriteString(w, anyAnswer)
	}))
	random := rand.New(rand.NewPCG(1, 13))
	names := []string{"", "us-east-1", "us-west-1", "us-west-2", "eu-west-1", "US-EAST-1"}
	total := 0
	for range 3000 {
		cluster := cmek.Cluster{ID: clusterID}
		has := map[string]int{}
		for _, name := range names {
			if random.IntN(2) == 0 {
				n := random.IntN(20) - 1
				cluster.Regions = append(cluster.Regions, cmek.Region{Name: name, NodeCount: n})
				has[name] = n
			}
		}
		var additions []cmek.AddedRegion
		for range random.IntN(4) {
			spec := testSpecs[0].KeySpec
			if random.IntN(8) == 0 {
				spec.URI = ""
			}
			additions = append(additions, cmek.AddedRegion{Region: names[random.IntN(len(names))], Nodes: random.IntN(4), KeySpec: spec})
		}
		sent = nil
		answer := client.AddRegions(t.Context(), cluster, additions)
		asked := fmt.Sprintf("cluster %+v, additions %+v", cluster.Regions, additions)
		if len(sent) == 0 {
			if answer.Outcome != cmek.Refused || !answer.Unsent {
				t.Fatalf("%s: nothing was sent, and the answer is %+v", asked, answer)
			}
			continue
		}
		total++
		for name, n := range has {
			if got := sent[0].Dedicated.RegionNodes[name]; got != n || n <= 0 {
				t.Fatalf("%s: region_nodes are %v, and the cluster has %d nodes in %q", asked, sent[0].Dedicated.RegionNodes, n, name)
			}
		}
		if len(sent) != 1 || len(sent[0].Dedicated.RegionNodes) != len(has)+len(additions) || len(sent[0].Dedicated.CMEKRegionSpecs) != len(additions) {
			t.Fatalf("%s: sent %+v, want one request with the additions and their keys", asked, sent)
		}
		for _, spec := range sent[0].Dedicated.CMEKRegionSpecs {
			if _, old := has[spec.Region]; old {
				t.Fatalf("%s: a key is sent for the existing region %q", asked, spec.Region)
			}
		}
	}
	if total < 50 {
		t.Errorf("only %d of the requests were fit to be sent", total)
	}
}

func TestCMEKDocument_isTheAPIsOwnText(t *testing.T) {
	const text = `{"status": "ENABLED",  "new_field":7, "region_infos":[{"region":"us-east-1","status":"ENABLED","key_infos":[]}]}`
	info, document, err := newClient(t, inProcess(answering(200, text))).CMEKDocument(t.Context(), clusterID)
	if err != nil || string(document) != text || info.Status != cmek.Enabled || len(info.RegionInfos) != 1 {
		t.Errorf("got %s, %+v, %v; want the text as it was sent", document, info, err)
	}
	for _, wrong := range []string{`{}`, `null`, `[]`, `{"code":5,"message":"no"}`, ``} {
		if _, document, err := newClient(t, inProcess(answering(200, wrong))).CMEKDocument(t.Context(), clusterID); err == nil {
			t.Errorf("%q was taken for a CMEK: %s", wrong, document)
		}
	}
}
