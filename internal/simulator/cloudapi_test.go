package simulator_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

func TestDocumentedErrorsOfTheCloudAPI(t *testing.T) {
	foreign := regionSpec("us-east-1", paymentsKey, paymentsRole)
	foreign.KeySpec.Type = cmek.GCPCloudKMS
	tests := []struct {
		name         string
		method, path string
		body         string
		headers      []string
		status       int
		inBody       string
	}{
		{"no bearer token", "GET", "/clusters", "", []string{"Authorization", ""}, 401, `"code":16`},
		{"unknown bearer token", "GET", "/clusters", "", []string{"Authorization", "Bearer nobody"}, 401, `"code":16`},
		{"role too small", "GET", "/clusters/" + payments + "/cmek", "", []string{"Authorization", "Bearer " + developerAPIKey}, 403, `"code":7`},
		{"unknown cluster", "GET", "/clusters/7c1d9e20-3a4b-4c5d-8e6f-0000000000ff/cmek", "", nil, 404, `"code":5`},
		{"unknown path", "GET", "/nonsense", "", nil, 501, `"code":12`},
		{"invalid version", "GET", "/clusters", "", []string{"Cc-Version", "2024-09-17"}, 400, "invalid Cc-Version"},
		{"body is not JSON", "PUT", "/clusters/" + payments + "/cmek", "{", nil, 400, `"code":3`},
		{"body of another type", "PUT", "/clusters/" + payments + "/cmek", `{"region_specs":7}`, nil, 400, "region_specs"},
		{"no regions", "PUT", "/clusters/" + payments + "/cmek", `{"spec":{}}`, nil, 400, "region_specs is required"},
		{"unknown region", "PUT", "/clusters/" + payments + "/cmek", specBody(regionSpec("mars-1", paymentsKey, paymentsRole)), nil, 400, "no region"},
		{"key of another cloud", "PUT", "/clusters/" + payments + "/cmek", specBody(foreign), nil, 400, "key type"},
		{"POST without all regions", "POST", "/clusters/" + analytics + "/cmek", `{"region_specs":[]}`, nil, 400, "region_specs"},
		{"POST when enabled", "POST", "/clusters/" + payments + "/cmek", specBody(paymentsSpec), nil, 400, "already enabled"},
		{"action other than REVOKE", "PATCH", "/clusters/" + payments + "/cmek", `{"action":"ROTATE"}`, nil, 400, "REVOKE"},
		{"PUT after REVOKE", "PUT", "/clusters/" + archive + "/cmek", specBody(regionSpec("eu-central-1", "arn:aws:kms:eu-central-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f005", "arn:aws:iam::111122223333:role/archive-cmek")), nil, 400, "revoked"},
		{"spec of an existing region", "PATCH", "/clusters/" + payments, `{"dedicated":{"cmek_` + strings.TrimPrefix(specBody(paymentsSpec), `{"`) + `}`, nil, 400, "newly added regions only"},
		{"new region without its key", "PATCH", "/clusters/" + payments, `{"dedicated":{"region_nodes":{"us-east-1":3,"us-west-2":3}}}`, nil, 400, "lacks the new region us-west-2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := call(t, newWorld(t), tt.method, tt.path, tt.body, tt.headers...).want(t, tt.status, tt.inBody)
			if got := r.header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type is %q, want application/json on errors too", got)
			}
		})
	}
}

func TestTheVersionIsEchoedAndTheLatestByDefault(t *testing.T) {
	world := newWorld(t)
	if got := call(t, world, "GET", "/organization", "").header.Get("Cc-Version"); got != "2024-09-16" {
		t.Errorf("echoed %q, want what was sent", got)
	}
	if got := call(t, world, "GET", "/organization", "", "Cc-Version", "").header.Get("Cc-Version"); got != "2026-09-15" {
		t.Errorf("without the header the version is %q, want the latest", got)
	}
}

func TestAnAuditorReadsCMEKsInTheNewestVersionOnly(t *testing.T) {
	const secret = "CCDB1_SAMPLEauditSAMPLEaudit_SAMPLEauditSAMPLEauditSAMPLEauditSAMPLEa"
	seed := simulator.DefaultSeed()
	seed.APIKeys = append(seed.APIKeys, simulator.APIKeySeed{Secret: secret, ServiceAccount: "auditor", Roles: []string{"AUDITOR"}})
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	path, bearer := "/clusters/"+payments+"/cmek", "Bearer "+secret
	call(t, world, "GET", path, "", "Authorization", bearer).want(t, 403, "")
	call(t, world, "GET", path, "", "Authorization", bearer, "Cc-Version", "2026-09-15").want(t, 200, "ENABLED")
	call(t, world, "PUT", path, specBody(paymentsSpec), "Authorization", bearer, "Cc-Version", "2026-09-15").want(t, 403, "")
}

func TestTenRequestsASecondAndUser(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		for range 10 {
			call(t, world, "GET", "/organization", "").want(t, 200, "")
		}
		r := call(t, world, "GET", "/organization", "").want(t, 429, "rate limit exceeded")
		if r.header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After is %q, want whole seconds", r.header.Get("Retry-After"))
		}
		call(t, world, "GET", "/organization", "", "Authorization", "Bearer "+developerAPIKey).want(t, 200, "")
		time.Sleep(100 * time.Millisecond)
		call(t, world, "GET", "/organization", "").want(t, 200, "")
		call(t, world, "GET", "/organization", "").want(t, 429, "")
	})
}

func TestClustersAndWindowsAreChangedAsDocumented(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		call(t, world, "PATCH", "/clusters/"+payments, `{"labels":{"keyturn":"off"},"parent_id":"","delete_protection":"ENABLED"}`).
			want(t, 200, `"labels":{"keyturn":"off"}`).want(t, 200, `"delete_protection":"ENABLED"`).want(t, 200, `"parent_id":"root"`)
		call(t, world, "PATCH", "/clusters/"+payments, `{"delete_protection":"MAYBE"}`).want(t, 400, "delete_protection")
		call(t, world, "DELETE", "/clusters/"+payments, "", "Authorization", "Bearer "+adminAPIKey).want(t, 400, "delete protection")

		call(t, world, "GET", "/clusters/"+payments+"/maintenance-window", "").want(t, 404, "")
		call(t, world, "PUT", "/clusters/"+payments+"/maintenance-window", `{"offset_duration":"0s","window_duration":"60s"}`).want(t, 400, "6 hours")
		call(t, world, "PUT", "/clusters/"+payments+"/maintenance-window", `{"offset_duration":"3600s","window_duration":"21600s"}`).want(t, 200, "")
		time.Sleep(time.Minute)
		call(t, world, "DELETE", "/clusters/"+payments+"/maintenance-window", "").want(t, 200, "3600s")
		call(t, world, "GET", "/clusters/"+payments+"/maintenance-window", "").want(t, 404, "")

		soon := time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
		call(t, world, "POST", "/clusters/"+payments+"/blackout-windows", `{"start_time":"`+soon+`","end_time":"`+soon+`"}`).want(t, 400, "7 days")
		call(t, world, "GET", "/clusters/"+payments+"/blackout-windows", "").want(t, 200, `"blackout_windows":[]`)
	})
}

func TestABlackoutWindowIsReadChangedAndDeletedByItsID(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		windows := "/clusters/" + payments + "/blackout-windows"
		start := time.Now().AddDate(0, 0, 8).UTC()
		times := func(end time.Time) string {
			return fmt.Sprintf(`{"start_time":%q,"end_time":%q}`, start.Format(time.RFC3339), end.Format(time.RFC3339))
		}
		created := decode[struct{ ID string }](t, call(t, world, "POST", windows, times(start.AddDate(0, 0, 1))).want(t, 200, "").body)
		window := windows + "/" + created.ID
		call(t, world, "GET", window, "").want(t, 200, created.ID)

		time.Sleep(2 * 24 * time.Hour)
		end := start.AddDate(0, 0, 2).Format(time.RFC3339)
		call(t, world, "PATCH", window, `{"end_time":"`+end+`"}`).want(t, 200, `"end_time":"`+end+`"`)
		call(t, world, "PATCH", window, times(start.AddDate(0, 0, 3))).want(t, 400, "7 days")
		call(t, world, "PATCH", window, `{"end_time":"`+start.AddDate(0, 0, 15).Format(time.RFC3339)+`"}`).want(t, 400, "14 days")
		call(t, world, "GET", window, "").want(t, 200, `"end_time":"`+end+`"`)

		call(t, world, "DELETE", window, "").want(t, 200, created.ID)
		for _, method := range []string{"GET", "PATCH", "DELETE"} {
			call(t, world, method, window, "{}").want(t, 404, "blackout window")
		}
	})
}

func TestARegionLeftOutOfRegionNodesIsRemoved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		call(t, world, "PATCH", "/clusters/"+orders, `{"dedicated":{"region_nodes":{"us-east-1":5,"us-west-2":3}}}`).want(t, 200, "LOCKED")
		time.Sleep(time.Minute)
		cluster, info := getCluster(t, world, orders), getCMEK(t, world, orders)
		if len(cluster.Regions) != 2 || cluster.Regions[0].NodeCount != 5 || len(info.RegionInfos) != 2 {
			t.Errorf("regions are %+v with CMEK %+v", cluster.Regions, info.RegionInfos)
		}
	})
}

func TestPagesCoverTheListExactlyOnce(t *testing.T) {
	for _, order := range []string{"", "ASC", "DESC"} {
		t.Run("order "+order, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				world, err := simulator.New(simulator.FleetSeed(25, 1))
				if err != nil {
					t.Fatal(err)
				}
				doomed := simulator.FleetSeed(25, 1).Clusters[7].ID
				call(t, world, "DELETE", "/clusters/"+doomed, "", "Authorization", "Bearer "+adminAPIKey).want(t, 200, "DELETED")
				names := listNames(t, world, order, 4)
				want := slices.Sorted(slices.Values(names))
				if order == "DESC" {
					slices.Reverse(want)
				}
				if len(names) != 24 || !slices.Equal(names, want) {
					t.Errorf("pages hold %d names in this order: %v", len(names), names)
				}
				call(t, world, "GET", "/clusters?pagination.page=nonsense", "").want(t, 400, "pagination.page")
				call(t, world, "GET", "/clusters?show_inactive=true", "").want(t, 200, doomed)
				call(t, world, "GET", "/clusters/"+doomed, "").want(t, 404, "")
			})
		})
	}
}

func listNames(t *testing.T, world *simulator.World, order string, limit int) (names []string) {
	t.Helper()
	type page struct {
		Clusters   []cmek.Cluster
		Pagination struct {
			NextPage string `json:"next_page"`
		}
	}
	next := ""
	for range 100 {
		query := url.Values{"pagination.limit": {fmt.Sprint(limit)}, "pagination.sort_order": {order}, "pagination.page": {next}}
		p := decode[page](t, call(t, world, "GET", "/clusters?"+query.Encode(), "").want(t, 200, "").body)
		for _, c := range p.Clusters {
			names = append(names, c.Name)
		}
		if next = p.Pagination.NextPage; next == "" {
			return names
		}
		time.Sleep(time.Second)
	}
	t.Fatal("the pages never end")
	return nil
}

func TestAnUnusableKeyRefusesThePUT(t *testing.T) {
	without := `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}]}`
	tests := []struct{ name, operation, input string }{
		{"disabled", "DisableKey", `{"KeyId":"` + paymentsKey + `"}`},
		{"pending deletion", "ScheduleKeyDeletion", `{"KeyId":"` + paymentsKey + `","PendingWindowInDays":7}`},
		{"policy without the role", "PutKeyPolicy", fmt.Sprintf(`{"KeyId":%q,"Policy":%q}`, paymentsKey, without)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			world := newWorld(t)
			callKMS(t, world, "us-east-1", tt.operation, tt.input).want(t, 200, "")
			put(t, world, payments, paymentsSpec).want(t, 400, "Insufficient permissions to access the KMS key")
			if key := storeKeyOf(t, world, payments, "us-east-1"); len(key.AcceptedPUTs) != 0 {
				t.Errorf("a refused PUT was counted: %+v", key)
			}
		})
	}
}

func TestTheAuditLogTellsWhoChangedACMEK(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		put(t, world, payments, paymentsSpec).want(t, 200, "")
		put(t, world, payments, paymentsSpec).want(t, 503, "")
		time.Sleep(time.Minute)
		call(t, world, "PATCH", "/clusters/"+payments+"/cmek", `{"action":"REVOKE"}`).want(t, 200, "REVOKING")

		type entry struct {
			Action, Error, Payload string
			CreatedAt              time.Time `json:"created_at"`
			ServiceAccountName     string    `json:"service_account_name"`
		}
		type page struct {
			Entries          []entry
			NextStartingFrom time.Time `json:"next_starting_from"`
		}
		admin := []string{"Authorization", "Bearer " + adminAPIKey}
		first := decode[page](t, call(t, world, "GET", "/auditlogevents?limit=1", "", admin...).want(t, 200, "").body)
		if len(first.Entries) != 2 || first.Entries[1].Error == "" || first.Entries[0].ServiceAccountName != "keyturn" {
			t.Fatalf("first page is %+v; want both entries of the first moment, the second with its error", first.Entries)
		}
		from := url.QueryEscape(first.NextStartingFrom.Format(time.RFC3339Nano))
		rest := decode[page](t, call(t, world, "GET", "/auditlogevents?starting_from="+from, "", admin...).want(t, 200, "").body)
		if len(rest.Entries) != 1 || rest.Entries[0].Action != "AUDIT_LOG_ACTION_REVOKE_CMEK" {
			t.Errorf("second page is %+v, want the revocation", rest.Entries)
		}
		call(t, world, "GET", "/auditlogevents?sort_order=DESC&limit=1", "", admin...).want(t, 200, "REVOKE_CMEK")
	})
}

func TestBackupsFollowFromTheirConfiguration(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		type page struct {
			Backups []struct {
				AsOfTime time.Time `json:"as_of_time"`
			}
		}
		from := url.QueryEscape(time.Now().Add(-5 * time.Hour).Format(time.RFC3339))
		p := decode[page](t, call(t, world, "GET", "/clusters/"+payments+"/backups?start_time="+from, "").want(t, 200, "").body)
		if len(p.Backups) != 5 || time.Since(p.Backups[4].AsOfTime) > time.Hour {
			t.Errorf("hourly backups of the last five hours are %+v", p.Backups)
		}
	})
}

func TestAnotherOperationMakesTheClusterBusy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		world := newWorld(t)
		if err := world.Lock("payments", "CRDB_PATCH_RUNNING", 10*time.Minute); err != nil {
			t.Fatal(err)
		}
		put(t, world, payments, paymentsSpec).want(t, 503, "lock")
		time.Sleep(10 * time.Minute)
		put(t, world, payments, paymentsSpec).want(t, 200, "")
	})
}
