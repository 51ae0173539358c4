package simulator_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

func TestTheControlSurfaceDrivesTheWorld(t *testing.T) {
	world := newWorld(t)
	control := func(method, path, body string, headers ...string) reply {
		t.Helper()
		request, err := http.NewRequest(method, "http://world.test/_simulator/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			request.Header.Set(headers[i], headers[i+1])
		}
		response, err := simulator.Transport(world.Handler()).RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return reply{response.StatusCode, response.Header, string(data)}
	}

	control("GET", "events", "").want(t, 200, "[]")
	control("GET", "puts", "").want(t, 200, "[]")
	control("GET", "requests", "").want(t, 200, "[]")
	control("POST", "switches", `{"name":"kms-propagation","value":"0s"}`).want(t, 204, "")
	control("POST", "rotate", `{"key":"`+paymentsKey+`"}`).want(t, 204, "")
	control("GET", "store-keys", "").want(t, 200, `"behind":true`)
	control("GET", "events?after=1", "").want(t, 200, `[{"seq":2,`)
	lines := control("GET", "events", "", "Accept", "application/x-ndjson").want(t, 200, "RotateKey").body
	if strings.Count(lines, "\n") != 2 {
		t.Errorf("NDJSON of two events is %q", lines)
	}
	control("POST", "fail-rotation", `{"cluster":"orders","region":"us-east-1","message":"no"}`).want(t, 204, "")
	control("POST", "lock", `{"cluster":"orders","operation_status":"CRDB_PATCH_RUNNING","duration":"10m"}`).want(t, 204, "")
	control("POST", "deny", `{"key":"`+paymentsKey+`","denied":true}`).want(t, 204, "")
	control("POST", "hide", `{"cluster":"orders","hidden":true}`).want(t, 204, "")
	control("POST", "hide", `{"cluster":"orders"}`).want(t, 204, "")
	control("POST", "hide-cmek", `{"cluster":"orders","form":"404"}`).want(t, 204, "")
	control("POST", "hide-cmek", `{"cluster":"orders","form":""}`).want(t, 204, "")
	control("POST", "hide-region", `{"cluster":"orders","region":"us-west-2","view":"cmek","hidden":true}`).want(t, 204, "")
	control("POST", "add-region", `{"cluster":"analytics","nodes":3,"region_specs":[{"region":"us-west-2"}]}`).want(t, 204, "")
	control("POST", "remove-region", `{"cluster":"analytics","region":"us-west-2"}`).want(t, 204, "")
	control("POST", "restore", `{"cluster":"orders"}`).want(t, 400, "not revoked")
	control("POST", "put", `{"service_account":"org-admin","cluster":"orders"}`).want(t, 400, "cluster lock")
	control("GET", "puts", "").want(t, 200, `"caller":"org-admin"`)
	control("POST", "switches", `{"name":"clock-offset","value":"-10m"}`).want(t, 204, "")
	control("GET", "switches", "").want(t, 200, `"name":"kms-propagation","value":"0s"`)
	control("GET", "requests", "").want(t, 200, `"path":"/api/v1/clusters/`+orders+`/cmek"`)

	control("POST", "switches", `{"name":"kms-propagation","value":"soon"}`).want(t, 400, "duration")
	control("POST", "rotate", `{"key":"nothing"}`).want(t, 400, "no such key")
	control("POST", "lock", `{"cluster":"orders","operation_status":"X","duration":"10m"}`).want(t, 400, "CRDB_PATCH_RUNNING")
	control("POST", "lock", `{"cluster":"nobody","duration":"10m"}`).want(t, 400, "nobody")
	control("POST", "hide", `{"cluster":"nobody","hidden":true}`).want(t, 400, "nobody")
	control("POST", "hide-cmek", `{"cluster":"orders","form":"soon"}`).want(t, 400, "empty")
	control("POST", "hide-region", `{"cluster":"orders","region":"us-west-2","view":"x"}`).want(t, 400, "cmek")
	control("POST", "add-region", `{"cluster":"orders","nodes":3}`).want(t, 400, "region_specs")
	control("POST", "rotate", `{`).want(t, 400, "")
	control("GET", "events?after=x", "").want(t, 400, "not a number")
}

func TestTheControlSurfaceDrivesGoogle(t *testing.T) {
	world := googleWorld(t)
	control := func(path, body string, status int) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://world.test/_simulator/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := simulator.Transport(world.Handler()).RoundTrip(request)
		if err != nil || response.StatusCode != status {
			t.Errorf("%s %s: %v, %v; want %d", path, body, response, err, status)
		}
	}
	control("deny-google", `{"resource":"`+acmeKey+`","denied":true,"permissions":["cloudkms.cryptoKeys.get"]}`, 204)
	ask(t, world, "GET", "v1/"+acmeKey, "", 403, "cloudkms.cryptoKeys.get")
	control("deny-google", `{"resource":"`+acmeKey+`x","denied":true}`, 400)
	control("fail-key", `{"key":"`+acmeKey+`","code":8,"message":"Quota exceeded."}`, 204)
	control("fail-key", `{"key":"`+acmeKey+`","code":17}`, 400)
	control("rotate", `{"key":"`+acmeKey+`"}`, 204)
	wantEvent(t, world, "rotate", cmek.ChangeRotationFailed)
	control("rotate", `{"key":"`+acmeKey+`"}`, 204)
	wantEvent(t, world, "rotate again", cmek.ChangeRotated)
	if len(world.Requests()) != 1 || world.Requests()[0].API != "google" || world.Requests()[0].Status != 403 {
		t.Errorf("the requests are %+v", world.Requests())
	}
}
