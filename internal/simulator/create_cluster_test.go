package simulator_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/cockroach-cloud-sdk-go/v5/pkg/client"

	"github.com/keyturn/keyturn/internal/simulator"
)

func newCluster(name string) *client.CreateClusterRequest {
	machine := "m6i.2xlarge"
	return &client.CreateClusterRequest{Name: name, Provider: client.CLOUDPROVIDERTYPE_AWS, Spec: client.CreateClusterSpecification{
		Dedicated: &client.DedicatedClusterCreateSpecification{
			RegionNodes: map[string]int32{"us-west-2": 3, "us-east-1": 5},
			Hardware:    client.DedicatedHardwareCreateSpecification{StorageGib: 200, MachineSpec: client.DedicatedMachineTypeSpecification{MachineType: &machine}},
		},
	}}
}

func TestAClusterIsCreatedAndThenTakesACMEK(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, whileCreating := range []string{"404", "503"} {
			world, ctx := newWorld(t, simulator.WhileCreating, whileCreating), context.Background()
			sdk := officialSDK(world, adminAPIKey)
			made := must[*client.Cluster](t, "create cluster")(sdk.CreateCluster(ctx, newCluster("shipping")))
			if made.State != client.CLUSTERSTATETYPE_CREATING || made.OperationStatus != client.CLUSTERSTATUSTYPE_UNSPECIFIED || len(made.Regions) != 2 ||
				made.Regions[0].Name != "us-east-1" || made.Regions[0].NodeCount != 5 || made.Config.Dedicated.StorageGib != 200 || made.AccountId == nil {
				t.Errorf("made %+v", made)
			}
			status := map[string]int{"404": http.StatusNotFound, "503": http.StatusServiceUnavailable}[whileCreating]
			if _, response, err := sdk.ListClusterNodes(ctx, made.Id, &client.ListClusterNodesOptions{}); err == nil || response.StatusCode != status {
				t.Errorf("while it is created the nodes are %v, want %d", err, status)
			}
			if _, response, err := sdk.DeleteCluster(ctx, made.Id); err == nil || response.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("while it is created a deletion answers %v, want 503", err)
			}
			if list := must[*client.ListClustersResponse](t, "list clusters")(sdk.ListClusters(ctx, &client.ListClustersOptions{})); len(list.Clusters) != 7 || list.Clusters[6].Name != "shipping" {
				t.Errorf("the list of %d clusters lacks the new one at its end", len(list.Clusters))
			}
			time.Sleep(10 * time.Second)
			if got := must[*client.Cluster](t, "get cluster")(sdk.GetCluster(ctx, made.Id)); got.State != client.CLUSTERSTATETYPE_CREATED {
				t.Errorf("after its time the cluster is %s", got.State)
			}
			specs := &client.CMEKClusterSpecification{RegionSpecs: []client.CMEKRegionSpecification{
				sdkSpec("us-east-1", paymentsKey, paymentsRole), sdkSpec("us-west-2", "arn:aws:kms:us-west-2:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f003", ordersRole),
			}}
			must[*client.CMEKClusterInfo](t, "enable CMEK")(sdk.EnableCMEKSpec(ctx, made.Id, specs))
			time.Sleep(10 * time.Second)
			if info := must[*client.CMEKClusterInfo](t, "get CMEK")(sdk.GetCMEKClusterInfo(ctx, made.Id)); *info.Status != client.CMEKSTATUS_ENABLED {
				t.Errorf("the CMEK is %s", *info.Status)
			}
		}
	})
}

func TestACreationMayFail(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world, ctx := newWorld(t, simulator.ClusterCreation, "CREATION_FAILED"), context.Background()
		sdk := officialSDK(world, adminAPIKey)
		made := must[*client.Cluster](t, "create cluster")(sdk.CreateCluster(ctx, newCluster("shipping")))
		time.Sleep(10 * time.Second)
		if got := must[*client.Cluster](t, "get cluster")(sdk.GetCluster(ctx, made.Id)); got.State != client.CLUSTERSTATETYPE_CREATION_FAILED {
			t.Errorf("the cluster is %s", got.State)
		}
		must[*client.Cluster](t, "delete cluster")(sdk.DeleteCluster(ctx, made.Id))
		must[*client.Cluster](t, "create it again")(sdk.CreateCluster(ctx, newCluster("shipping")))
	})
}

func TestAServerlessClusterHasItsPlan(t *testing.T) {
	world, ctx := newWorld(t, simulator.RotationDuration, "0s"), context.Background()
	sdk := officialSDK(world, adminAPIKey)
	made := must[*client.Cluster](t, "create cluster")(sdk.CreateCluster(ctx, &client.CreateClusterRequest{Name: "small", Provider: client.CLOUDPROVIDERTYPE_GCP,
		Spec: client.CreateClusterSpecification{Serverless: &client.ServerlessClusterCreateSpecification{Regions: []string{"us-east4"}}}}))
	if made.State != client.CLUSTERSTATETYPE_CREATED || made.Plan != client.PLANTYPE_BASIC {
		t.Errorf("made %+v", made)
	}
	call(t, world, "GET", "/clusters/"+made.Id+"/cmek", "").want(t, 400, "BASIC")
}

func TestAClusterHasTheHardwareThatWasAskedFor(t *testing.T) {
	const create = `{"name":"on-google","provider":"GCP","spec":{"dedicated":{"region_nodes":{"us-east4":3},"hardware":{"storage_gib":15,"machine_spec":{"num_virtual_cpus":8}}}}}`
	asAdmin(t, newWorld(t), "POST", "/clusters", create).want(t, 200, `"num_virtual_cpus":8,"storage_gib":15,"memory_gib":32`).want(t, 200, `"account_id":"crl-sample-`)
}

func TestAClusterIsRefusedWithItsReason(t *testing.T) {
	const good = `{"name":"shipping","provider":"AWS","spec":{"plan":"ADVANCED","dedicated":{"region_nodes":{"us-east-1":3},"hardware":{"storage_gib":15,"machine_spec":{}}}}}`
	tests := []struct {
		name, from, to string
		status         int
		inBody         string
	}{
		{"nothing is wrong", "", "", 200, "CREATING"},
		{"no name", `"shipping"`, `""`, 400, "name is required"},
		{"a name in use", `"shipping"`, `"payments"`, 409, "already in use"},
		{"no such provider", `"AWS"`, `"ACME"`, 400, "provider"},
		{"no spec", `"spec"`, `"sp"`, 400, "spec is required"},
		{"no kind of spec", `"dedicated"`, `"d"`, 400, "dedicated or serverless"},
		{"two kinds of spec", `"dedicated"`, `"serverless":{"regions":["us-east-1"]},"dedicated"`, 400, "dedicated or serverless"},
		{"another kind's plan", `"ADVANCED"`, `"BASIC"`, 400, "plan"},
		{"no regions", `{"us-east-1":3}`, `{}`, 400, "no regions"},
		{"no nodes", `{"us-east-1":3}`, `{"us-east-1":0}`, 400, "positive"},
		{"no hardware", `"hardware"`, `"h"`, 400, "hardware is required"},
		{"no such protection", `"plan"`, `"delete_protection":"ON","plan"`, 400, "delete_protection"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			asAdmin(t, newWorld(t), "POST", "/clusters", strings.Replace(good, tt.from, tt.to, 1)).want(t, tt.status, tt.inBody)
		})
	}
	call(t, newWorld(t), "POST", "/clusters", good).want(t, 403, `"code":7`) // an operator creates none
}

func TestANewClusterIsTheNewestInTheList(t *testing.T) {
	world := newWorld(t)
	asAdmin(t, world, "POST", "/clusters", `{"name":"brand-new","provider":"AWS","spec":{"dedicated":{"region_nodes":{"us-east-1":3},"hardware":{"storage_gib":15,"machine_spec":{}}}}}`).want(t, 200, "")
	for _, sortBy := range []string{"NAME", "CREATED_AT"} {
		list := decode[struct {
			Clusters []struct {
				Name      string
				CreatedAt time.Time `json:"created_at"`
			}
		}](t, asAdmin(t, world, "GET", "/clusters?pagination.sort_by="+sortBy, "").want(t, 200, "").body).Clusters
		var names []string
		for i, c := range list {
			names = append(names, c.Name)
			if sortBy == "CREATED_AT" && i > 0 && c.CreatedAt.Before(list[i-1].CreatedAt) {
				t.Errorf("%s is older than %s before it", c.Name, list[i-1].Name)
			}
		}
		if sortBy == "CREATED_AT" && names[len(names)-1] != "brand-new" || sortBy == "NAME" && !slices.IsSorted(names) {
			t.Errorf("by %s the clusters are %v", sortBy, names)
		}
	}
}
