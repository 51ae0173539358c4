package cockroachcloud

import (
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/keyturn/keyturn/internal/cmek"
)

// noClaim are bodies of a 2xx that answer no question at all, with a part of what the error must say about each.
var noClaim = map[string]string{
	``:                                    "empty",
	"\n":                                  "empty",
	`<html><title>Sign in</title></html>`: "Sign in",
	`null`:                                "null",
	`[]`:                                  "array",
	`"ENABLED"`:                           "string",
	`{"code":14,"message":"upstream unavailable"}`: "upstream unavailable",
}

func TestAReadWithoutItsFieldsIsAnError(t *testing.T) {
	const id, listed = `"id":"` + clusterID + `"`, `{"id":"a","name":"one","state":"CREATED"}`
	// Bodies by call: those that are complete have "" for the missing field.
	for name, bodies := range map[string]map[string]string{
		"CMEK": {
			`{}`: "status",
			`{"region_infos":[{"region":"us-east-1"}]}`: "status",
			`{"status":"ENABLED"}`:                      "region_infos",
			`{"status":"REVOKED"}`:                      "region_infos",
			`{"status":"INVENTED"}`:                     "region_infos",
			`{"status":"DISABLING"}`:                    "region_infos",
			`{"status":"ENABLED","region_infos":null}`:  "region_infos",
			`{"status":"ENABLED","region_infos":[{"region":"a"},{"status":"ENABLED"}]}`:        "region_infos[1].region",
			`{"status":"DISABLED","region_infos":[{"region":""}]}`:                             "region_infos[0].region",
			`{"status":"ENABLED","region_infos":[{"region":"a"}]}`:                             "",
			`{"status":"ENABLED","region_infos":[{"region":"a"},{"region":"b"}]}`:              "",
			`{"status":"INVENTED","region_infos":[{"region":"a","invented":1}],"invented":{}}`: "",
			`{"status":"DISABLED"}`:                     "",
			`{"status":"DISABLED","region_infos":null}`: "",
			`{"status":"DISABLED","region_infos":[]}`:   "",
			`{"region_infos":[]}`:                       "",
			`{"status":"","region_infos":[]}`:           "",
		},
		"ClusterPage": {
			`{}`:                               "clusters",
			`{"clusters":null}`:                "clusters",
			`{"pagination":{"next_page":"x"}}`: "clusters",
			`{"clusters":[` + listed + `,{}]}`: "clusters[1].id",
			`{"clusters":[{"id":"","name":"one","state":"CREATED"}]}`:              "clusters[0].id",
			`{"clusters":[{"id":"a","state":"CREATED"}]}`:                          "clusters[0].name",
			`{"clusters":[` + listed + `,{"id":"b","name":"","state":"CREATED"}]}`: "clusters[1].name",
			`{"clusters":[{"id":"a","name":"one"}]}`:                               "clusters[0].state",
			`{"clusters":[{"id":"a","name":"one","state":""}]}`:                    "clusters[0].state",
			`{"clusters":[]}`: "",
			`{"clusters":[` + listed + `],"pagination":null}`: "",
			`{"clusters":[` + listed + `,` + listed + `]}`:    "",
		},
		"Cluster": {
			`{}`:                             "id",
			`{"state":"CREATED"}`:            "id",
			`{` + id + `}`:                   "name",
			`{` + id + `,"state":"CREATED"}`: "name",
			`{` + id + `,"name":"","state":"CREATED"}`:                                      "name",
			`{` + id + `,"name":"orders"}`:                                                  "state",
			`{` + id + `,"name":"orders","state":""}`:                                       "state",
			`{` + id + `,"name":"orders","state":"INVENTED"}`:                               "",
			`{"id":"` + strings.ToUpper(clusterID) + `","name":"orders","state":"CREATED"}`: "",
		},
		"Nodes":          {`{}`: "nodes", `{"nodes":null}`: "nodes", `{"nodes":[]}`: ""},
		"Backups":        {`{}`: "backups", `{"backups":null}`: "backups", `{"backups":[]}`: ""},
		"AuditLogEvents": {`{}`: "entries", `{"entries":null}`: "entries", `{"entries":[]}`: ""},
		"Organization":   {`{}`: "id", `{"id":""}`: "id", `{"id":"x"}`: ""},
		"BackupConfig": {
			`{}`: "enabled",
			`{"retention_days":30,"frequency_minutes":60}`:                  "enabled",
			`{"enabled":true,"frequency_minutes":60}`:                       "retention_days",
			`{"enabled":true,"retention_days":30}`:                          "frequency_minutes",
			`{"enabled":true,"retention_days":30,"frequency_minutes":0}`:    "frequency_minutes",
			`{"enabled":false}`:                                             "",
			`{"enabled":true,"retention_days":30,"frequency_minutes":1440}`: "",
		},
		"MaintenanceWindow": {
			`{}`:                           "offset_duration",
			`{"window_duration":"21600s"}`: "offset_duration",
			`{"offset_duration":"0s"}`:     "window_duration",
			`{"offset_duration":"0s","window_duration":"21600s"}`: "",
		},
	} {
		for body, field := range bodies {
			err := reads[name](t.Context(), newClient(t, inProcess(answering(200, body))))
			if field == "" {
				if err != nil {
					t.Errorf("%s: %s: error is %v, want none", name, body, err)
				}
				continue
			}
			if !errors.Is(err, cmek.ErrIncomplete) || !strings.Contains(err.Error(), " "+field+" is missing") {
				t.Errorf("%s: %s: error is %v, want that %s is missing", name, body, err, field)
			}
			if e, ok := errors.AsType[*Error](err); !ok || e.HTTPStatus != 200 {
				t.Errorf("%s: %s: error is %#v, want an *Error with the status", name, body, err)
			}
		}
		for body, said := range noClaim {
			err := reads[name](t.Context(), newClient(t, inProcess(answering(200, body))))
			if err == nil || !strings.Contains(err.Error(), said) {
				t.Errorf("%s: %q: error is %v, want one that says %q", name, body, err, said)
			}
			for _, claim := range []error{cmek.ErrIncomplete, cmek.ErrNotFound, cmek.ErrDenied} {
				if errors.Is(err, claim) {
					t.Errorf("%s: %q: error %v must not be %q", name, body, err, claim)
				}
			}
		}
	}
}

func TestAnAnswerAboutAnotherClusterIsAnError(t *testing.T) {
	const other = "11111111-2222-4333-8444-555555555556"
	_, err := newClient(t, inProcess(answering(200, `{"id":"`+other+`","state":"DELETED"}`))).Cluster(t.Context(), clusterID)
	if err == nil || !strings.Contains(err.Error(), other) {
		t.Errorf("error is %v, want one that names the other cluster", err)
	}
}

func TestCMEK_regionNamedTwice_isAmbiguous(t *testing.T) {
	const body = `{"status":"ENABLED","region_infos":[{"region":"us-east-1","status":"ENABLED"},{"region":"us-west-2"},{"region":"us-east-1","status":"ROTATE_FAILED"}]}`
	_, err := newClient(t, inProcess(answering(200, body))).CMEK(t.Context(), clusterID)
	if !errors.Is(err, cmek.ErrIncomplete) || !strings.Contains(err.Error(), `region "us-east-1" twice`) {
		t.Errorf("error is %v, want one that names the region", err)
	}
}

func TestNotFoundIsForTheAPIToSay(t *testing.T) {
	for body, want := range map[string]bool{
		`{"code":5,"message":"cluster not found","details":[]}`: true,
		`{"code":5,"message":""}`:                               true,
		`{"code":5}`:                                            false,
		`{"message":"Not Found"}`:                               false,
		`{"code":404,"message":"Not Found"}`:                    false,
		`{"error":{"code":5,"message":"Not Found"}}`:            false,
		`<html><h1>404 Not Found</h1></html>`:                   false,
		`404 page not found`:                                    false,
		``:                                                      false,
	} {
		for name, read := range reads {
			err := read(t.Context(), newClient(t, inProcess(answering(404, body))))
			if err == nil || errors.Is(err, cmek.ErrNotFound) != want || errors.Is(err, cmek.ErrIncomplete) {
				t.Errorf("%s: 404 with %q: error is %v, want not found: %v", name, body, err, want)
			}
		}
		client := newClient(t, inProcess(answering(404, body)))
		if interval, err := client.BackupInterval(t.Context(), clusterID); (err == nil) != want || interval != 0 {
			t.Errorf("404 with %q: the backup interval is %v (error %v)", body, interval, err)
		}
		if at, err := client.NextMaintenance(t.Context(), clusterID); (err == nil) != want || !at.IsZero() {
			t.Errorf("404 with %q: the next maintenance is %v (error %v)", body, at, err)
		}
	}
}

// A field that only the first answer had must not be taken for one of the second.
func TestARepeatedReadForgetsTheAnswerBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newClient(t, inProcess(inTurn(
			answering(200, `{"region_infos":[{"region":"us-east-1"}]}`),
			answering(200, `{"status":"DISABLED"}`),
		)), func(o *Options) { o.MaxReadAttempts = 2 })
		info, err := client.CMEK(t.Context(), clusterID)
		if want := (cmek.ClusterInfo{Status: cmek.Disabled}); err != nil || !reflect.DeepEqual(info, want) {
			t.Errorf("CMEK is %+v (error %v), want the second answer alone", info, err)
		}
	})
}

// A page that cannot be read whole ends the list: what came before is not the fleet.
func TestAPageWithoutClustersEndsTheListWithAnError(t *testing.T) {
	client := newClient(t, inProcess(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("pagination.page") == "" {
			io.WriteString(w, `{"clusters":[{"id":"a","name":"one","state":"CREATED"}],"pagination":{"next_page":"p2"}}`)
			return
		}
		io.WriteString(w, `{}`)
	}))
	n, last := 0, error(nil)
	for _, err := range client.Clusters(context.Background()) {
		if last = err; err == nil {
			n++
		}
	}
	if n != 1 || !errors.Is(last, cmek.ErrIncomplete) {
		t.Errorf("%d clusters, then %v; want one, then incomplete", n, last)
	}
}
