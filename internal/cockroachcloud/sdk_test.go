package cockroachcloud

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	sdk "github.com/cockroachdb/cockroach-cloud-sdk-go/v5/pkg/client"

	"github.com/keyturn/keyturn/internal/cmek"
)

// sentRequest is what the server makes of a request.
type sentRequest struct {
	Method, Target, Version, AuthorizationScheme, ContentType, Accept string

	Body any
}

func TestTheOfficialSDKSendsTheSameRequests(t *testing.T) {
	// The least that both clients take; the SDK knows more fields of a cluster and insists on their types.
	answers := map[string]string{
		"/api/v1/clusters":                                  `{"clusters":[]}`,
		"/api/v1/clusters/" + clusterID:                     `{"id":"` + clusterID + `","name":"orders","state":"CREATED"}`,
		"/api/v1/clusters/" + clusterID + "/cmek":           `{"status":"DISABLED"}`,
		"/api/v1/clusters/" + clusterID + "/nodes":          `{"nodes":[]}`,
		"/api/v1/clusters/" + clusterID + "/backups-config": `{"enabled":false}`,
	}
	var sent []sentRequest
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if key != testKey {
			t.Errorf("%s %s carries another key", r.Method, r.URL)
		}
		var body any
		if raw, _ := io.ReadAll(r.Body); len(bytes.TrimSpace(raw)) > 0 {
			if err := json.Unmarshal(raw, &body); err != nil {
				t.Errorf("%s %s: body: %v", r.Method, r.URL, err)
			}
		}
		sent = append(sent, sentRequest{
			r.Method, r.URL.RequestURI(), r.Header.Get("Cc-Version"), scheme,
			r.Header.Get("Content-Type"), r.Header.Get("Accept"), body,
		})
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, answers[r.URL.Path])
	}))
	defer server.Close()

	config := sdk.NewConfiguration(testKey)
	config.ServerURL, config.HTTPClient = server.URL, server.Client()
	official := sdk.NewService(sdk.NewClient(config))
	ours := newClient(t, server.Client(), func(o *Options) { o.Server = server.URL })

	ctx, page, inactive, nodes := t.Context(), "page/2", true, map[string]int32{"us-west-2": 3, "us-east-1": 3}
	specs := sdkSpecs(testSpecs)
	for name, call := range map[string]struct {
		official func() error
		ours     func() error
	}{
		"list": {
			func() error {
				_, _, err := official.ListClusters(ctx, &sdk.ListClustersOptions{PaginationPage: &page, ShowInactive: &inactive})
				return err
			},
			func() error { _, _, err := ours.ClusterPage(ctx, page); return err },
		},
		"get": {
			func() error { _, _, err := official.GetCluster(ctx, clusterID); return err },
			func() error { _, err := ours.Cluster(ctx, clusterID); return err },
		},
		"cmek get": {
			func() error { _, _, err := official.GetCMEKClusterInfo(ctx, clusterID); return err },
			func() error { _, err := ours.CMEK(ctx, clusterID); return err },
		},
		"cmek post": {
			func() error {
				_, _, err := official.EnableCMEKSpec(ctx, clusterID, sdk.NewCMEKClusterSpecification(specs))
				return err
			},
			func() error { ours.EnableCMEK(ctx, clusterID, testSpecs); return nil },
		},
		"cmek put": {
			func() error {
				_, _, err := official.UpdateCMEKSpec(ctx, clusterID, sdk.NewCMEKClusterSpecification(specs))
				return err
			},
			func() error { ours.RotateCMEK(ctx, clusterID, testSpecs); return nil },
		},
		"cmek patch": {
			func() error {
				action := sdk.CMEKCUSTOMERACTION_REVOKE
				_, _, err := official.UpdateCMEKStatus(ctx, clusterID, &sdk.UpdateCMEKStatusRequest{Action: action})
				return err
			},
			func() error { ours.RevokeCMEK(ctx, clusterID); return nil },
		},
		"add region": {
			func() error {
				_, _, err := official.UpdateCluster(ctx, clusterID, &sdk.UpdateClusterSpecification{
					Dedicated: &sdk.DedicatedClusterUpdateSpecification{RegionNodes: &nodes, CmekRegionSpecs: &specs},
				})
				return err
			},
			func() error {
				ours.AddRegions(ctx, westCluster, testAdditions)
				return nil
			},
		},
		"nodes": {
			func() error {
				_, _, err := official.ListClusterNodes(ctx, clusterID, &sdk.ListClusterNodesOptions{})
				return err
			},
			func() error { _, err := ours.Nodes(ctx, clusterID); return err },
		},
		"backup configuration": {
			func() error { _, _, err := official.GetBackupConfiguration(ctx, clusterID); return err },
			func() error { _, err := ours.BackupConfig(ctx, clusterID); return err },
		},
	} {
		sent = nil
		if err := call.official(); err != nil {
			t.Errorf("%s: the SDK failed: %v", name, err)
		}
		if err := call.ours(); err != nil {
			t.Errorf("%s: the client failed: %v", name, err)
		}
		if len(sent) != 2 || !reflect.DeepEqual(sent[0], sent[1]) {
			t.Errorf("%s: the SDK and the client sent\n%+v", name, sent)
		}
	}
}

func sdkSpecs(specs []cmek.RegionSpec) []sdk.CMEKRegionSpecification {
	var out []sdk.CMEKRegionSpecification
	for _, s := range specs {
		keyType, uri, principal := sdk.CMEKKeyType(s.KeySpec.Type), string(s.KeySpec.URI), string(s.KeySpec.AuthPrincipal)
		out = append(out, sdk.CMEKRegionSpecification{
			Region:  &s.Region,
			KeySpec: &sdk.CMEKKeySpecification{Type: &keyType, Uri: &uri, AuthPrincipal: &principal},
		})
	}
	return out
}
