package lifecycle_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	sdk "github.com/cockroachdb/cockroach-cloud-sdk-go/v5/pkg/client"

	"github.com/keyturn/keyturn/functions/lifecycle"
	"github.com/keyturn/keyturn/functions/rotation"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/ledger"
	"github.com/keyturn/keyturn/internal/simulator"
)

// life is one cluster's, on one cloud.
type life struct {
	cluster, name, region string
	spec, moved, added    cmek.RegionSpec
	// regionNodes is the whole map that the page asks for to add the region.
	regionNodes string
	disable     func(w *world)
	enable      func(w *world)
	waived      map[lifecycle.Hazard]string
}

var lives = map[string]life{
	"AWS": {
		cluster: analytics, name: "analytics", region: "us-east-1",
		spec: awsSpec("us-east-1", eastKey, paymentsRole), moved: awsSpec("us-east-1", nextKey, paymentsRole), added: awsSpec("us-west-2", westKey, ordersRole), regionNodes: `{"us-east-1":3,"us-west-2":3}`,
		disable: func(w *world) {
			for _, key := range []cmek.KeyURI{eastKey, nextKey, westKey} {
				w.kms("DisableKey", key, "")
			}
		},
		enable: func(w *world) {
			for _, key := range []cmek.KeyURI{eastKey, nextKey, westKey} {
				w.kms("EnableKey", key, "")
			}
		},
		waived: map[lifecycle.Hazard]string{lifecycle.SharedKey: "they move first"},
	},
	"Google Cloud": {
		cluster: onGoogle, name: "on-google", region: "us-east1", spec: googleSpec("us-east1", googleKey), moved: googleSpec("us-east1", googleNext), added: googleSpec("us-west1", googleWest),
		regionNodes: `{"us-east1":3,"us-west1":3}`, disable: func(*world) {}, enable: func(*world) {},
		waived: map[lifecycle.Hazard]string{lifecycle.SharedKey: "they move first", lifecycle.AccessStillGranted: "a drill"},
	},
}

func googleSpec(region string, key cmek.KeyURI) cmek.RegionSpec {
	return cmek.RegionSpec{Region: region, KeySpec: cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: key, AuthPrincipal: googleAccount}}
}

// The whole life of a CMEK, by keyturn in one world and by the vendor's page in its twin: after each step the Cloud API shows the same, but
// for times.
func TestLifecycle(t *testing.T) {
	for cloud, l := range lives {
		t.Run(cloud, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ours, twin := newWorld(t), newWorld(t)
				f := ours.function()
				type page struct{ method, path, data string }
				steps := []struct {
					name string
					ours func()
					page []page
				}{
					{"enable", func() {
						ended(t, f, lifecycle.Request{Kind: ledger.OperationEnable, ClusterID: l.cluster, By: "ana", Specs: []cmek.RegionSpec{l.spec}})
					}, []page{{"POST", "/cmek", specsBody(l.spec)}}},
					{"key version rotation", func() { ours.follow(l) }, []page{{"PUT", "/cmek", specsBody(l.spec)}}},
					{"new key", func() { ours.move(l) }, []page{{"PUT", "/cmek", specsBody(l.moved)}}},
					{"add region", func() {
						ended(t, f, lifecycle.Request{Kind: ledger.OperationAddRegion, ClusterID: l.cluster, By: "ana",
							Additions: []cmek.AddedRegion{{Region: l.added.Region, Nodes: 3, KeySpec: l.added.KeySpec}}})
					}, []page{{"PATCH", "", `{"dedicated":{"region_nodes":` + l.regionNodes + `,"cmek_region_specs":` + strings.TrimSuffix(strings.TrimPrefix(specsBody(l.added), `{"region_specs":`), "}") + `}}`}}},
					{"revoke", func() {
						l.disable(ours)
						p, refused, err := f.PlanRevocation(t.Context(), lifecycle.Request{ClusterID: l.cluster, By: "ana", Reason: "drill", Waived: l.waived}, "here", false)
						must(t, err)
						if len(refused) > 0 {
							t.Fatalf("no plan: %+v", refused)
						}
						result, err := f.Apply(t.Context(), p, lifecycle.Confirmation{Typed: l.name, By: "ana", Server: "here"})
						must(t, err)
						if !result.Done() {
							t.Fatalf("not revoked: %+v", result)
						}
					}, []page{{"PATCH", "/cmek", `{"action":"REVOKE"}`}}},
					{"restore", func() {
						l.enable(ours)
						must(t, ours.Restore(l.cluster))
						d, err := f.AwaitRestore(t.Context(), l.cluster, "ana")
						must(t, err)
						if !d.Healthy() || !d.Ready() {
							t.Fatalf("not restored: %+v", d.Findings)
						}
					}, nil},
				}
				for _, step := range steps {
					switch step.name {
					case "key version rotation":
						must(t, ours.Rotate(string(l.spec.KeySpec.URI)))
						must(t, twin.Rotate(string(l.spec.KeySpec.URI)))
						later(time.Hour) // the page says nothing of the time that a KMS takes
					case "revoke":
						l.disable(twin)
					case "restore":
						l.enable(twin)
						must(t, twin.Restore(l.cluster))
					}
					step.ours()
					for _, p := range step.page {
						twin.curl(fmt.Sprintf(`curl --request %s --url https://cockroachlabs.cloud/api/v1/clusters/%s%s --header 'Authorization: Bearer {secret_key}' --header 'Cc-Version: 2024-09-16' --data '%s'`,
							p.method, l.cluster, p.path, p.data))
						later(time.Hour)
					}
					if a, b := ours.withoutTimes(l.cluster), twin.withoutTimes(l.cluster); a != b {
						t.Errorf("after %s the worlds differ:\n%s\nby the page:\n%s", step.name, a, b)
					}
					ours.wantOfficialSDK(step.name, l.cluster)
					if a, b := ours.storeKeys(l.cluster), twin.storeKeys(l.cluster); a != b {
						t.Errorf("after %s the store keys differ:\n%s\nby the page:\n%s", step.name, a, b)
					}
				}
				if names := ours.records(); len(names) != 6 {
					t.Errorf("the records are %q, want one for each step", names)
				}
				sent := 0
				for _, accepted := range ours.accepted {
					if strings.Contains(accepted, l.cluster) {
						sent++
					}
				}
				if sent != 5 {
					t.Errorf("accepted %q, want one request to the cluster for each step but the restore", ours.accepted)
				}
			})
		})
	}
}

// ended runs a request to its end.
func ended(t *testing.T, f *lifecycle.Function, r lifecycle.Request) {
	t.Helper()
	result, err := f.Run(t.Context(), r)
	must(t, err)
	if !result.Done() {
		t.Fatalf("%s: %+v", r.Kind, result)
	}
}

func specsBody(specs ...cmek.RegionSpec) string {
	data, _ := json.Marshal(map[string]any{"region_specs": specs})
	return string(data)
}

var curlForm = regexp.MustCompile(`^curl --request (\S+) --url https://cockroachlabs\.cloud(\S+) --header 'Authorization: Bearer \{secret_key\}' --header '(Cc-Version): (\S+)' --data '(.*)'$`)

// curl sends what a line of the vendor's page sends.
func (w *world) curl(line string) {
	w.t.Helper()
	m := curlForm.FindStringSubmatch(line)
	if m == nil {
		w.t.Fatalf("not a line of the page: %s", line)
	}
	status, body := w.http(w.CloudAPI(), m[1], "http://cloud.test"+m[2], m[5], "Authorization", "Bearer "+simulator.SampleAPIKey, m[3], m[4])
	if status != http.StatusOK {
		w.t.Fatalf("%s answered %d %s", line, status, body)
	}
}

// follow lets rotation do what is due at the cluster: a sweep before and after.
func (w *world) follow(l life) {
	w.t.Helper()
	r := w.rotation(l.spec.KeySpec.Type, l.cluster)
	for range 180 {
		must(w.t, r.Tick(w.t.Context()))
		later(time.Minute)
	}
	if d, ok := w.item(l.cluster).DoneIn(l.region); !ok || !d.Followed {
		w.t.Fatalf("the rotation was not followed: %+v, work %+v", d, w.item(l.cluster).Work)
	}
}

// move gives the order that an operator gives, and lets rotation carry it out.
func (w *world) move(l life) {
	w.t.Helper()
	r := w.rotation(l.spec.KeySpec.Type, l.cluster)
	r.Policies = w.function().Keys[l.spec.KeySpec.Type].Policies
	c, err := r.CheckOrders(w.t.Context(), l.cluster, []rotation.Wanted{{Region: l.region, To: cmek.KeySpec{URI: l.moved.KeySpec.URI}}}, rotation.Asking{By: "ana", Terraform: "none"})
	must(w.t, err)
	if len(c.Orders) != 1 || len(c.Orders[0].Problems) > 0 {
		w.t.Fatalf("the order: %+v", c.Orders)
	}
	placed, err := r.Ledger.PlaceOrders(w.t.Context(), l.cluster, []ledger.Order{c.Orders[0].Order}, time.Now())
	must(w.t, err)
	for range 180 {
		must(w.t, r.Tick(w.t.Context()))
		later(time.Minute)
	}
	if end, ended := w.item(l.cluster).OrderEnded(placed[0].ID); !ended || !end.Done {
		w.t.Fatalf("the order was not carried out: %+v, work %+v", end, w.item(l.cluster).Work)
	}
}

// rotation is the function that follows rotations, on the same ledger, with the records of one cluster kept.
func (w *world) rotation(keys cmek.KeyType, cluster string) *rotation.Function {
	w.t.Helper()
	f := w.function()
	cloud, sends := f.Cloud.(cmek.Cloud)
	if !sends {
		w.t.Fatal("the client sends no PUT")
	}
	r := &rotation.Function{
		Cloud: cloud, KMS: f.Keys[keys].KMS, KeyTypes: []cmek.KeyType{keys}, Ledger: f.Ledger, Archive: archiveOf{w, cluster},
		Notifier: &cmektest.Notifier{}, Settings: rotation.DefaultSettings(), Log: slog.New(slog.DiscardHandler), Holder: "test",
	}
	r.Settings.Mode, r.Settings.Concurrency = rotation.Follow, 1
	return r
}

// wantOfficialSDK reads the cluster with the vendor's own client, which works between the steps.
func (w *world) wantOfficialSDK(step, id string) {
	w.t.Helper()
	config := sdk.NewConfiguration(simulator.SampleAPIKey)
	config.ServerURL, config.HTTPClient = "http://cloud.test", &http.Client{Transport: simulator.Transport(w.CloudAPI())}
	service := sdk.NewService(sdk.NewClient(config))
	info, _, err := service.GetCMEKClusterInfo(w.t.Context(), id)
	must(w.t, err)
	cluster, _, err := service.GetCluster(w.t.Context(), id)
	must(w.t, err)
	if want := w.info(id); info.Status == nil || string(*info.Status) != string(want.Status) || len(*info.RegionInfos) != len(want.RegionInfos) || cluster.Id != id {
		w.t.Errorf("after %s the official SDK reads %+v of %s, want %+v", step, info, cluster.Id, want)
	}
}

// withoutTimes is what GET …/cmek shows, without times.
func (w *world) withoutTimes(id string) string {
	info := w.info(id)
	for i := range info.RegionInfos {
		for j := range info.RegionInfos[i].KeyInfos {
			info.RegionInfos[i].KeyInfos[j].CreatedAt, info.RegionInfos[i].KeyInfos[j].UpdatedAt = time.Time{}, time.Time{}
		}
	}
	data, _ := json.MarshalIndent(info, "", " ")
	return string(data)
}

// storeKeys are the key versions that the cluster's store keys are wrapped under.
func (w *world) storeKeys(id string) (all string) {
	for _, k := range w.StoreKeys() {
		if k.ClusterID == id {
			all += fmt.Sprintf("%s %s behind %t\n", k.Region, k.URI, k.Behind)
		}
	}
	return all
}

func later(d time.Duration) { time.Sleep(d) }

// archiveOf keeps the records of one cluster: rotations of others are not what is tested.
type archiveOf struct {
	w  *world
	id string
}

func (a archiveOf) PutIfAbsent(ctx context.Context, name string, data []byte) error {
	if !strings.Contains(name, a.id) {
		return nil
	}
	return a.w.archive.PutIfAbsent(ctx, name, data)
}
