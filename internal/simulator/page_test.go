package simulator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/simulator"
)

func getPage(t *testing.T, world *simulator.World, accept string) reply {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://world.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	response, err := simulator.Transport(world.Handler()).RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(body)}
}

const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

func TestThePageShowsWhatIsSimulatedTheSwitchesAndTheRequests(t *testing.T) {
	world := newWorld(t, simulator.BusyReply, "409")
	getPage(t, world, browser).want(t, 200, "None yet.")
	call(t, world, "GET", "/clusters/"+payments, "").want(t, 200, "")
	callKMS(t, world, "us-east-1", "DescribeKey", `{"KeyId":"alias/none"}`).want(t, 400, "")
	page := getPage(t, world, browser).want(t, 200, "Simulated world of Sample Corp").body
	for _, want := range []string{"PUT /api/v1/clusters/{cluster_id}/cmek", "ScheduleKeyDeletion", "busy-reply", `<td class="setting now">409</td>`,
		`<td class="setting">8s</td>`, "GET /api/v1/clusters/" + payments, "keyturn", "NotFoundException: Alias", `<td class="number bad">400</td>`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Index(page, "DescribeKey</td>") > strings.Index(page, "GET /api/v1/clusters/"+payments+"</td>") {
		t.Error("the newest request is not the first")
	}
	for _, s := range world.Switches() {
		if !strings.Contains(page, "<code>"+s.Name+"</code>") {
			t.Errorf("the page lacks the switch %s", s.Name)
		}
	}
	if strings.Contains(page, "ZgotmplZ") {
		t.Error("a part of the page was taken for unsafe")
	}
}

func TestThePageEscapesWhatCallersSent(t *testing.T) {
	world := newWorld(t)
	call(t, world, "GET", "/%3Cscript%3Ealert(1)%3C/script%3E", "").want(t, 501, "")
	callKMS(t, world, "us-east-1", `"><img src=x onerror=alert(1)>`, "{}").want(t, 400, "")
	page := getPage(t, world, browser)
	if strings.Contains(page.body, "<script") || strings.Contains(page.body, "<img") {
		t.Errorf("the page has markup of a caller's:\n%s", page.body)
	}
	page.want(t, 200, "&lt;script&gt;alert(1)")
	policy := page.header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q", policy)
	}
	if regexp.MustCompile(`(?i)<[^>]*(\son[a-z]+=|style=|javascript:|src=|http-equiv)`).MatchString(page.body) {
		t.Error("the page has attributes that its policy forbids")
	}
	if got := page.header.Get("X-Content-Type-Options"); got != "nosniff" {
		t.Errorf("X-Content-Type-Options is %q", got)
	}
}

func TestProgramsGetTheSameAsJSON(t *testing.T) {
	world := newWorld(t)
	for range 250 {
		callKMS(t, world, "us-east-1", "ListKeys", `{}`).want(t, 200, "")
	}
	for _, accept := range []string{"application/json", "*/*", ""} {
		r := getPage(t, world, accept).want(t, 200, "")
		var o simulator.Overview
		if err := json.Unmarshal([]byte(r.body), &o); err != nil || r.header.Get("Content-Type") != "application/json" || r.header.Get("Vary") != "Accept" {
			t.Fatalf("Accept %q: %v, headers %v", accept, err, r.header)
		}
		if len(o.Requests) != 200 || o.Older != 50 || o.Requests[0].Seq != 250 || o.Requests[199].Seq != 51 {
			t.Errorf("Accept %q: %d requests from %d, %d older; want the newest 200 of 250", accept, len(o.Requests), o.Requests[0].Seq, o.Older)
		}
		if len(o.Services) != 3 || !slices.Contains(o.Services[1].Operations, "Encrypt") ||
			!slices.Contains(o.Services[2].Operations, "cloudkms.cryptoKeys.encrypt") || len(o.Switches) != len(world.Switches()) || o.Clusters != 6 {
			t.Errorf("Accept %q: the overview is %+v", accept, o)
		}
	}
}
