package simulator_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cockroachdb/cockroach-cloud-sdk-go/v5/pkg/client"

	"github.com/keyturn/keyturn/internal/simulator"
)

// officialSDK is Cockroach Labs' own client, calling the world in this process.
func officialSDK(world *simulator.World, apiKey string) client.Service {
	config := client.NewConfiguration(apiKey)
	config.ServerURL = "http://cloud.test"
	config.HTTPClient = &http.Client{Transport: simulator.Transport(world.CloudAPI())}
	return client.NewService(client.NewClient(config))
}

func sdkSpec(region, key, role string) client.CMEKRegionSpecification {
	keyType := client.CMEKKEYTYPE_AWS_KMS
	return client.CMEKRegionSpecification{
		Region: &region, KeySpec: &client.CMEKKeySpecification{Type: &keyType, Uri: &key, AuthPrincipal: &role},
	}
}

// must returns a check that fails the test with what was attempted.
func must[T any](t *testing.T, attempt string) func(result T, _ *http.Response, err error) T {
	t.Helper()
	return func(result T, _ *http.Response, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", attempt, err)
		}
		return result
	}
}

func TestTheOfficialSDKReadsTheWorld(t *testing.T) {
	world := newWorld(t, simulator.AuditPayload, "object")
	ctx := context.Background()
	sdk, admin := officialSDK(world, simulator.SampleAPIKey), officialSDK(world, adminAPIKey)

	list := must[*client.ListClustersResponse](t, "list clusters")(sdk.ListClusters(ctx, &client.ListClustersOptions{}))
	if len(list.Clusters) != 6 || list.Clusters[0].Name != "analytics" {
		t.Errorf("listed %d clusters, the first %q; want 6 by name", len(list.Clusters), list.Clusters[0].Name)
	}
	cluster := must[*client.Cluster](t, "get cluster")(sdk.GetCluster(ctx, orders))
	if cluster.State != client.CLUSTERSTATETYPE_CREATED || len(cluster.Regions) != 3 || cluster.Config.Dedicated == nil {
		t.Errorf("cluster is %+v", cluster)
	}
	info := must[*client.CMEKClusterInfo](t, "get CMEK")(sdk.GetCMEKClusterInfo(ctx, orders))
	if *info.Status != client.CMEKSTATUS_ENABLED || len(*info.RegionInfos) != 3 || *(*info.RegionInfos)[0].Region != "eu-west-1" {
		t.Errorf("CMEK is %+v; want three ENABLED regions by name", info)
	}
	region := "us-west-2"
	nodes := must[*client.ListClusterNodesResponse](t, "list nodes")(sdk.ListClusterNodes(ctx, orders, &client.ListClusterNodesOptions{RegionName: &region}))
	if len(nodes.Nodes) != 3 || nodes.Nodes[2].RegionName != region || nodes.Nodes[2].Status != client.NODESTATUSTYPE_LIVE {
		t.Errorf("nodes are %+v", nodes.Nodes)
	}
	if org := must[*client.Organization](t, "get organization")(sdk.GetOrganizationInfo(ctx)); org.Label != "crl-sample-corp" {
		t.Errorf("organization is %+v", org)
	}
	if backups := must[*client.BackupConfiguration](t, "get backups-config")(sdk.GetBackupConfiguration(ctx, payments)); backups.GetRetentionDays() != 30 {
		t.Errorf("backup configuration is %+v", backups)
	}
	window := &client.MaintenanceWindow{OffsetDuration: "172800s", WindowDuration: "21600s"}
	must[*client.MaintenanceWindow](t, "set maintenance window")(sdk.SetMaintenanceWindow(ctx, payments, window))
	if log := must[*client.ListAuditLogsResponse](t, "list audit logs")(admin.ListAuditLogs(ctx, &client.ListAuditLogsOptions{})); len(*log.Entries) != 1 {
		t.Errorf("audit log has %d entries, want the maintenance window", len(*log.Entries))
	}
	if _, response, err := sdk.ListAuditLogs(ctx, &client.ListAuditLogsOptions{}); err == nil || response.StatusCode != http.StatusForbidden {
		t.Errorf("a cluster operator reads the audit log: %v", err)
	}
}

func TestTheOfficialSDKEnablesRotatesAddsARegionAndRevokes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		ctx := context.Background()
		sdk := officialSDK(world, simulator.SampleAPIKey)
		status := func(want client.CMEKStatus) {
			t.Helper()
			time.Sleep(10 * time.Second)
			info := must[*client.CMEKClusterInfo](t, "get CMEK")(sdk.GetCMEKClusterInfo(ctx, analytics))
			if *info.Status != want {
				t.Fatalf("CMEK is %s, want %s", *info.Status, want)
			}
		}
		status(client.CMEKSTATUS_DISABLED)
		specs := &client.CMEKClusterSpecification{RegionSpecs: []client.CMEKRegionSpecification{sdkSpec("us-east-1", paymentsKey, paymentsRole)}}
		must[*client.CMEKClusterInfo](t, "enable")(sdk.EnableCMEKSpec(ctx, analytics, specs))
		status(client.CMEKSTATUS_ENABLED)
		if info := must[*client.CMEKClusterInfo](t, "rotate")(sdk.UpdateCMEKSpec(ctx, analytics, specs)); *info.Status != client.CMEKSTATUS_ROTATING {
			t.Errorf("the PUT's answer is %s, want ROTATING", *info.Status)
		}
		status(client.CMEKSTATUS_ENABLED)

		nodes := map[string]int32{"us-east-1": 3, "us-west-2": 3}
		added := []client.CMEKRegionSpecification{sdkSpec("us-west-2", "arn:aws:kms:us-west-2:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f003", ordersRole)}
		update := &client.UpdateClusterSpecification{Dedicated: &client.DedicatedClusterUpdateSpecification{RegionNodes: &nodes, CmekRegionSpecs: &added}}
		must[*client.Cluster](t, "add region")(sdk.UpdateCluster(ctx, analytics, update))
		status(client.CMEKSTATUS_ENABLED)
		if cluster := must[*client.Cluster](t, "get cluster")(sdk.GetCluster(ctx, analytics)); len(cluster.Regions) != 2 {
			t.Errorf("cluster has the regions %+v, want two", cluster.Regions)
		}

		revoke := &client.UpdateCMEKStatusRequest{Action: client.CMEKCUSTOMERACTION_REVOKE}
		must[*client.CMEKClusterInfo](t, "revoke")(sdk.UpdateCMEKStatus(ctx, analytics, revoke))
		status(client.CMEKSTATUS_REVOKED)
	})
}

func TestTheOfficialSDKListsDeletedClustersOnRequest(t *testing.T) {
	ctx := context.Background()
	sdk := officialSDK(newWorld(t), adminAPIKey)
	must[*client.Cluster](t, "delete cluster")(sdk.DeleteCluster(ctx, analytics))
	for inactive, want := range map[bool]int{false: 5, true: 6} {
		list := must[*client.ListClustersResponse](t, "list clusters")(sdk.ListClusters(ctx, &client.ListClustersOptions{ShowInactive: &inactive}))
		if len(list.Clusters) != want {
			t.Errorf("show_inactive %v: %d clusters, want %d", inactive, len(list.Clusters), want)
		}
		for _, c := range list.Clusters {
			if deleted := c.State == client.CLUSTERSTATETYPE_DELETED; deleted != (c.Id == analytics) || deleted != (c.DeletedAt != nil) {
				t.Errorf("show_inactive %v: cluster %s has state %s and deleted_at %v", inactive, c.Name, c.State, c.DeletedAt)
			}
		}
	}
	if _, response, err := sdk.GetCluster(ctx, analytics); err == nil || response.StatusCode != http.StatusNotFound {
		t.Errorf("get the deleted cluster: %v, want 404", err)
	}
}

func TestTheOfficialSDKWorksOverAListener(t *testing.T) {
	server := httptest.NewServer(newWorld(t).Handler())
	defer server.Close()
	config := client.NewConfiguration(simulator.SampleAPIKey)
	config.ServerURL = server.URL
	sdk := client.NewService(client.NewClient(config))
	info := must[*client.CMEKClusterInfo](t, "get CMEK")(sdk.GetCMEKClusterInfo(context.Background(), payments))
	if *info.Status != client.CMEKSTATUS_ENABLED {
		t.Errorf("CMEK is %s", *info.Status)
	}
}
