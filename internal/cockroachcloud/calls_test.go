package cockroachcloud

import (
	"context"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

var testTime = time.Date(2026, 11, 22, 10, 0, 0, 500, time.UTC)

const specsJSON = `{"region_specs":[{"region":"us-east-1","key_spec":{"type":"AWS_KMS",` +
	`"uri":"arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",` +
	`"auth_principal":"arn:aws:iam::111122223333:role/cockroach"}}]}`

func TestEachCallSendsTheDocumentedRequest(t *testing.T) {
	cluster := "/api/v1/clusters/" + clusterID
	for name, want := range map[string]struct{ method, target, body string }{
		"ClusterPage":       {"GET", "/api/v1/clusters?show_inactive=true", ""},
		"Clusters":          {"GET", "/api/v1/clusters?show_inactive=true", ""},
		"Cluster":           {"GET", cluster, ""},
		"CMEK":              {"GET", cluster + "/cmek", ""},
		"CMEKDocument":      {"GET", cluster + "/cmek", ""},
		"Nodes":             {"GET", cluster + "/nodes", ""},
		"Organization":      {"GET", "/api/v1/organization", ""},
		"AuditLogEvents":    {"GET", "/api/v1/auditlogevents?starting_from=2026-11-22T10%3A00%3A00.0000005Z", ""},
		"BackupConfig":      {"GET", cluster + "/backups-config", ""},
		"Backups":           {"GET", cluster + "/backups?start_time=2026-11-22T10%3A00%3A00.0000005Z", ""},
		"MaintenanceWindow": {"GET", cluster + "/maintenance-window", ""},
		"EnableCMEK":        {"POST", cluster + "/cmek", specsJSON},
		"RotateCMEK":        {"PUT", cluster + "/cmek", specsJSON},
		"RevokeCMEK":        {"PATCH", cluster + "/cmek", `{"action":"REVOKE"}`},
		"AddRegions": {"PATCH", cluster, `{"dedicated":{"region_nodes":{"us-east-1":3,"us-west-2":3},"cmek_region_specs":` +
			strings.TrimSuffix(strings.TrimPrefix(specsJSON, `{"region_specs":`), "}") + `}}`},
		"SetLabels": {"PATCH", cluster, `{"labels":{"keyturn":"off"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{
				"Authorization": {"Bearer " + testKey},
				"Cc-Version":    {"2024-09-16"},
				"User-Agent":    {"keyturn/test"},
				"Accept":        {"application/json"},
			}
			if want.body != "" {
				header.Set("Content-Type", "application/json")
			}
			requests := 0
			client := newClient(t, inProcess(func(w http.ResponseWriter, r *http.Request) {
				requests++
				body, _ := io.ReadAll(r.Body)
				if got := r.Method + " " + r.URL.RequestURI(); got != want.method+" "+want.target {
					t.Errorf("sent %s, want %s %s", got, want.method, want.target)
				}
				if r.URL.Host != "cockroachlabs.cloud" || r.URL.Scheme != "https" {
					t.Errorf("sent to %s, want the default server", r.URL)
				}
				if !reflect.DeepEqual(r.Header, header) {
					t.Errorf("headers are %v, want %v", r.Header, header)
				}
				if string(body) != want.body || r.ContentLength != int64(len(want.body)) {
					t.Errorf("body is %s (length %d), want %s", body, r.ContentLength, want.body)
				}
				io.WriteString(w, anyAnswer)
			}))
			if read, ok := reads[name]; ok {
				if err := read(t.Context(), client); err != nil {
					t.Errorf("read: %v", err)
				}
			} else if answer := writes[name](t.Context(), client); answer.Outcome != cmek.Accepted {
				t.Errorf("answer is %+v, want accepted", answer)
			}
			if requests != 1 {
				t.Errorf("%d requests, want 1", requests)
			}
		})
	}
}

func TestClustersFollowsThePagesToTheEnd(t *testing.T) {
	pages := map[string]string{
		"": `{"clusters":[{"id":"a","name":"one","parent_id":"root","plan":"ADVANCED","cloud_provider":"AWS","account_id":"1",
			"state":"LOCKED","operation_status":"CRDB_CMEK_OPERATION_RUNNING","regions":[{"name":"us-east-1","node_count":3,
			"primary":false}],"labels":{"keyturn":"off"},"created_at":"2026-01-02T03:04:05.678Z","updated_at":"","deleted_at":null,
			"invented":{"deep":[1]}}],"pagination":{"next_page":"p/2&x"}}`,
		"p/2&x": `{"clusters":[],"pagination":{"next_page":"p3","previous_page":""}}`,
		"p3":    `{"clusters":[{"id":"b","name":"two","state":"INVENTED","created_at":"yesterday","updated_at":7}],"pagination":null}`,
	}
	client := newClient(t, inProcess(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, pages[r.URL.Query().Get("pagination.page")])
	}))
	var got []cmek.Cluster
	for c, err := range client.Clusters(t.Context()) {
		if err != nil {
			t.Fatalf("Clusters: %v", err)
		}
		got = append(got, c)
	}
	want := []cmek.Cluster{{
		ID: "a", Name: "one", ParentID: "root", Plan: "ADVANCED", CloudProvider: "AWS", AccountID: "1",
		State: "LOCKED", OperationStatus: "CRDB_CMEK_OPERATION_RUNNING",
		Regions: []cmek.Region{{Name: "us-east-1", NodeCount: 3}}, Labels: map[string]string{"keyturn": "off"},
		CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC),
	}, {ID: "b", Name: "two", State: "INVENTED"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("clusters are\n%+v, want\n%+v", got, want)
	}
}

func TestEveryPageOfClustersIsAskedForWithDeletedOnes(t *testing.T) {
	var asked []string
	client := newClient(t, inProcess(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		page := `{"clusters":[],"pagination":{"next_page":"p/2"}}`
		if r.URL.Query().Has("pagination.page") {
			page = anyAnswer
		}
		io.WriteString(w, page)
	}))
	if _, next, err := client.ClusterPage(t.Context(), ""); err != nil || next != "p/2" {
		t.Fatalf("the next page is %q (error %v), want p/2", next, err)
	}
	if _, _, err := client.ClusterPage(t.Context(), "p/2"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"show_inactive=true", "pagination.page=p%2F2&show_inactive=true"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
}

func TestADeletedClusterHasOneState(t *testing.T) {
	for fields, want := range map[string]string{
		`"state":"DELETED"`: cmek.StateDeleted,
		`"state":"DELETED","deleted_at":"2026-11-22T10:00:00Z"`:       cmek.StateDeleted,
		`"state":"CREATED","deleted_at":"2026-11-22T10:00:00Z"`:       cmek.StateDeleted,
		`"state":"LOCKED","deleted_at":"2026-11-22T12:00:00.5+02:00"`: cmek.StateDeleted,
		`"state":"CREATED","deleted_at":null`:                         cmek.StateCreated,
		`"state":"CREATED","deleted_at":""`:                           cmek.StateCreated,
		`"state":"CREATED","deleted_at":"never"`:                      cmek.StateCreated,
		`"state":"CREATED","deleted_at":"0001-01-01T00:00:00Z"`:       cmek.StateCreated,
		`"state":"CREATED","deleted_at":"1970-01-01T00:00:00Z"`:       cmek.StateCreated,
		`"state":"CREATED"`: cmek.StateCreated,
	} {
		body := `{"id":"` + clusterID + `","name":"orders",` + fields + `}`
		one, err := newClient(t, inProcess(answering(200, body))).Cluster(t.Context(), clusterID)
		if err != nil || one.State != want {
			t.Errorf("%s: GET shows state %q (error %v), want %q", fields, one.State, err, want)
		}
		page, _, err := newClient(t, inProcess(answering(200, `{"clusters":[`+body+`]}`))).ClusterPage(t.Context(), "")
		if err != nil || len(page) != 1 || page[0].State != want {
			t.Errorf("%s: the list shows %+v (error %v), want state %q", fields, page, err, want)
		}
	}
}

func TestAListThatNeverEndsIsAnError(t *testing.T) {
	client := newClient(t, inProcess(answering(200, `{"clusters":[{"id":"a","name":"one","state":"CREATED"}],"pagination":{"next_page":"again"}}`)))
	err := firstError(client.Clusters(t.Context()))
	if err == nil || !strings.Contains(err.Error(), `page "again" names itself`) {
		t.Errorf("error is %v, want one that names the page", err)
	}
}

func TestAListStopsWhenItsReaderStops(t *testing.T) {
	requests := 0
	client := newClient(t, inProcess(func(w http.ResponseWriter, r *http.Request) {
		requests++
		answering(200, `{"clusters":[{"id":"a","name":"one","state":"CREATED"},{"id":"b","name":"two","state":"CREATED"}],"pagination":{"next_page":"p2"}}`)(w, r)
	}))
	for range client.Clusters(t.Context()) {
		break
	}
	if requests != 1 {
		t.Errorf("%d requests, want the first page only", requests)
	}
}

func TestCMEKKeepsWhatTheServerSays(t *testing.T) {
	const body = `{"status":"ROTATING","region_infos":[
		{"region":"us-east-1","status":"INVENTED","key_infos":[
			{"spec":{"type":"AWS_KMS","uri":"arn:x","auth_principal":"role"},"status":"ENABLED","user_message":"hello",
			 "created_at":"2026-01-02T03:04:05Z","updated_at":"2026-01-02T04:04:05+01:00"},
			{"status":"DISABLED"}]},
		{"region":"us-west-2"}]}`
	want := cmek.ClusterInfo{Status: cmek.Rotating, RegionInfos: []cmek.RegionInfo{
		{Region: "us-east-1", Status: "INVENTED", KeyInfos: []cmek.KeyInfo{{
			Spec:   cmek.KeySpec{Type: cmek.AWSKMS, URI: "arn:x", AuthPrincipal: "role"},
			Status: cmek.Enabled, UserMessage: "hello",
			CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), UpdatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		}, {Status: cmek.Disabled}}},
		{Region: "us-west-2"},
	}}
	client := newClient(t, inProcess(answering(200, body)))
	got, err := client.CMEK(t.Context(), clusterID)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("CMEK is\n%+v (error %v), want\n%+v", got, err, want)
	}
	if answer := client.RotateCMEK(t.Context(), clusterID, testSpecs); answer.Outcome != cmek.Accepted || !reflect.DeepEqual(answer.Info, want) {
		t.Errorf("the accepted PUT shows\n%+v, want\n%+v", answer.Info, want)
	}
}

func TestKeySpec_withoutType_hasTheTypeOfItsURI(t *testing.T) {
	const google = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
	for spec, want := range map[string]cmek.KeyType{
		`{"uri":"` + string(testSpecs[0].KeySpec.URI) + `"}`:       cmek.AWSKMS,
		`{"type":"","uri":"` + google + `"}`:                       cmek.GCPCloudKMS,
		`{"type":null,"uri":"https://v.vault.azure.net/keys/a/b"}`: cmek.AzureKeyVault,
		`{"type":"INVENTED","uri":"` + google + `"}`:               "INVENTED",
		`{"type":"NULL_KMS","uri":""}`:                             "NULL_KMS",
		`{"uri":"unheard-of"}`:                                     "",
		`{}`:                                                       "",
	} {
		body := `{"status":"ENABLED","region_infos":[{"region":"us-east-1","key_infos":[{"spec":` + spec + `,"status":"ENABLED"}]}]}`
		info, err := newClient(t, inProcess(answering(200, body))).CMEK(t.Context(), clusterID)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
		} else if got := info.RegionInfos[0].KeyInfos[0].Spec.Type; got != want {
			t.Errorf("%s: the type is %q, want %q", spec, got, want)
		}
	}
}

func TestRotateCMEK_specReadWithoutType_carriesTheTypeOfItsURI(t *testing.T) {
	const read = `{"status":"ENABLED","region_infos":[{"region":"us-east-1","key_infos":[{"spec":{` +
		`"uri":"arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",` +
		`"auth_principal":"arn:aws:iam::111122223333:role/cockroach"},"status":"ENABLED"}]}]}`
	sent := ""
	client := newClient(t, inProcess(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			body, _ := io.ReadAll(r.Body)
			sent = string(body)
		}
		io.WriteString(w, read)
	}))
	info, err := client.CMEK(t.Context(), clusterID)
	if err != nil {
		t.Fatal(err)
	}
	region := info.RegionInfos[0]
	answer := client.RotateCMEK(t.Context(), clusterID, []cmek.RegionSpec{{Region: region.Region, KeySpec: region.KeyInfos[0].Spec}})
	if answer.Outcome != cmek.Accepted || sent != specsJSON {
		t.Errorf("answer is %+v after the body %s, want %s accepted", answer, sent, specsJSON)
	}
}

func TestSmallReadsDecodeTheirFields(t *testing.T) {
	body := `{"id":"org","label":"acme","name":"Acme","created_at":"2026-11-22T10:00:00.0000005Z",
		"enabled":true,"retention_days":30,"frequency_minutes":60,"offset_duration":"172800s","window_duration":"21600s",
		"nodes":[{"name":"n1","region_name":"us-east-1","status":"LIVE"}],"backups":[{"id":"b1","as_of_time":"2026-11-22T10:00:00.0000005Z"}]}`
	client := newClient(t, inProcess(answering(200, body)))
	organization, err := client.Organization(t.Context())
	check(t, organization, err, Organization{"org", "acme", "Acme", testTime})
	config, err := client.BackupConfig(t.Context(), clusterID)
	check(t, config, err, BackupConfig{Enabled: true, RetentionDays: 30, FrequencyMinutes: 60})
	window, err := client.MaintenanceWindow(t.Context(), clusterID)
	check(t, window, err, MaintenanceWindow{Offset: 48 * time.Hour, Length: 6 * time.Hour})
	nodes, err := client.Nodes(t.Context(), clusterID)
	check(t, nodes, err, []cmek.Node{{Name: "n1", Region: "us-east-1", Status: cmek.NodeLive}})
	for backup, err := range client.Backups(t.Context(), clusterID, time.Time{}) {
		check(t, backup, err, Backup{"b1", testTime})
	}
}

func check[T any](t *testing.T, got T, err error, want T) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v (error %v), want %+v", got, err, want)
	}
}

func TestAMaintenanceWindowThatIsNotADurationIsAnError(t *testing.T) {
	client := newClient(t, inProcess(answering(200, `{"offset_duration":"0s","window_duration":"soon"}`)))
	if _, err := client.MaintenanceWindow(t.Context(), clusterID); err == nil || !strings.Contains(err.Error(), `"soon"`) {
		t.Errorf("error is %v, want one that quotes the value", err)
	}
}

func TestAuditLogEventsAreReadToTheEndOnceEach(t *testing.T) {
	pages := map[string]string{
		"": `{"entries":[
			{"id":"1","action":"AUDIT_LOG_ACTION_UPDATE_CMEK","cluster_id":"c","created_at":"2026-01-01T00:00:01Z","payload":{"a": 1},
			 "metadata":{"ip_address":"192.0.2.1"},"source":"AUDIT_LOG_SOURCE_UI","user_email":"eve@example.com"},
			{"id":"2","payload":"{\"b\":2}","error":"denied","service_account_name":"robot"}],
			"next_starting_from":"2026-01-01T00:00:02.123456789Z"}`,
		"2026-01-01T00:00:02.123456789Z": `{"entries":[{"id":"2"},{"id":"3","payload":null}],"next_starting_from":"2026-01-01T00:00:03Z"}`,
		"2026-01-01T00:00:03Z":           `{"entries":[],"next_starting_from":"2026-01-01T00:00:03Z"}`,
	}
	client := newClient(t, inProcess(func(w http.ResponseWriter, r *http.Request) {
		page, ok := pages[r.URL.Query().Get("starting_from")]
		if !ok {
			t.Errorf("asked for %q, which no page announced", r.URL.RawQuery)
		}
		io.WriteString(w, page)
	}))
	var got []AuditLogEvent
	for e, err := range client.AuditLogEvents(t.Context(), time.Time{}) {
		if err != nil {
			t.Fatalf("AuditLogEvents: %v", err)
		}
		got = append(got, e)
	}
	want := []AuditLogEvent{
		{
			ID: "1", Action: AuditUpdateCMEK, ClusterID: "c", CreatedAt: time.Date(2026, 1, 1, 0, 0, 1, 0, time.UTC),
			Payload: `{"a": 1}`, IPAddress: "192.0.2.1", Source: "AUDIT_LOG_SOURCE_UI", UserEmail: "eve@example.com",
		},
		{ID: "2", Payload: `{"b":2}`, Error: "denied", ServiceAccountName: "robot"},
		{ID: "3"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("events are\n%+v, want\n%+v", got, want)
	}
}

func TestAnAuditLogCutShortByABadTimeIsAnError(t *testing.T) {
	client := newClient(t, inProcess(answering(200, `{"entries":[{"id":"1"}],"next_starting_from":"later"}`)))
	err := firstError(client.AuditLogEvents(t.Context(), time.Time{}))
	if err == nil || !strings.Contains(err.Error(), `"later"`) {
		t.Errorf("error is %v, want one that quotes the time", err)
	}
}

func TestAMistakeOfOursIsNeverSent(t *testing.T) {
	client := newClient(t, inProcess(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent %s %s", r.Method, r.URL) }))
	ctx := context.Background()
	spec := testSpecs[0]
	with := func(change func(*cmek.RegionSpec)) []cmek.RegionSpec {
		s := spec
		change(&s)
		return []cmek.RegionSpec{s}
	}
	for want, answer := range map[string]cmek.Answer{
		"the cluster id is empty":                        client.RotateCMEK(ctx, "", testSpecs),
		`cluster id "../x" is not a UUID`:                client.RevokeCMEK(ctx, "../x"),
		`cluster id "a?b" is not a UUID`:                 client.SetLabels(ctx, "a?b", nil),
		"no region is named":                             client.RotateCMEK(ctx, clusterID, nil),
		"has no region":                                  client.RotateCMEK(ctx, clusterID, with(func(s *cmek.RegionSpec) { s.Region = "" })),
		"lacks its URI or type":                          client.RotateCMEK(ctx, clusterID, with(func(s *cmek.RegionSpec) { s.KeySpec.URI = "" })),
		"is of type NULL_KMS":                            client.EnableCMEK(ctx, clusterID, with(func(s *cmek.RegionSpec) { s.KeySpec.Type = "NULL_KMS" })),
		`region "us-east-1" is named twice`:              client.RotateCMEK(ctx, clusterID, []cmek.RegionSpec{spec, spec}),
		"the regions that the cluster has are not known": client.AddRegions(ctx, cmek.Cluster{ID: clusterID}, testAdditions),
		`node count of the cluster's region "us-west-2"`: client.AddRegions(ctx, cmek.Cluster{ID: clusterID, Regions: []cmek.Region{{Name: "us-west-2"}}}, testAdditions),
		`new region "us-east-1" has no node count`:       client.AddRegions(ctx, westCluster, []cmek.AddedRegion{{Region: "us-east-1", KeySpec: spec.KeySpec}}),
		`has the region "us-west-2" already`:             client.AddRegions(ctx, westCluster, []cmek.AddedRegion{{Region: "us-west-2", Nodes: 1, KeySpec: spec.KeySpec}}),
	} {
		if answer.Outcome != cmek.Refused || !strings.Contains(answer.Message, want) {
			t.Errorf("answer is %+v, want refused because %q", answer, want)
		}
	}
	for _, id := range []string{"", "..", "a/b", "a b", "é"} {
		if _, err := client.Cluster(ctx, id); err == nil {
			t.Errorf("id %q: no error", id)
		}
	}
}
