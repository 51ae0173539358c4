package hub_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/google"
	"github.com/keyturn/keyturn/internal/google/hub"
	"github.com/keyturn/keyturn/internal/google/hub/hubtest"
)

// at is a configuration that calls the handler.
func at(t *testing.T, h http.Handler) google.Config {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	t.Setenv("FIRESTORE_EMULATOR_HOST", "")
	return google.Config{HTTP: &http.Client{Timeout: 5 * time.Second}, Endpoint: server.URL}
}

func TestParseName(t *testing.T) {
	for text, want := range map[string][2]string{
		"acme-keyturn/keyturn": {"acme-keyturn", "keyturn"}, "example.com:acme/keyturn": {"example.com:acme", "keyturn"}, "acme-keyturn/turn": {"acme-keyturn", "turn"},
		"keyturn": {}, "": {}, "/keyturn": {}, "acme-keyturn/": {}, "acme-keyturn/key": {}, "acme-keyturn/keyturn/x": {}, "acme-keyturn/Keyturn": {},
		"acme;keyturn/keyturn": {}, "acme-keyturn/keyturn-keyturn": {}, "acme-keyturn/1keyturn": {}, "../keyturn": {},
	} {
		project, name, ok := hub.ParseName(text)
		if ok != (want[0] != "") || ok && (project != want[0] || name != want[1]) {
			t.Errorf("%q: %q %q %t, want %q", text, project, name, ok, want)
		}
	}
}

func TestRead_refusesWhatItDoesNotKnow(t *testing.T) {
	good := hubtest.Deployment("acme-keyturn")
	changed := func(change func(*hub.Published)) string {
		p := good
		change(&p)
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, tc := range []struct{ name, text, says string }{
		{"as published", changed(func(*hub.Published) {}), ""},
		{"a later one that says more", strings.Replace(changed(func(*hub.Published) {}), "{", `{"more":1,`, 1), ""},
		{"no settings", changed(func(p *hub.Published) { p.Settings, p.WatchedProjects, p.Server = nil, nil, "" }), ""},
		{"nothing", "", "not the API's"},
		{"text", "hello", "not the API's"},
		{"a list", "[]", "no JSON that keyturn's module wrote"},
		{"an object of somebody else", "{}", "it has format 0, want 1"},
		{"a later format", changed(func(p *hub.Published) { p.Format = 2 }), "install the deployment's version v1.2.3"},
		{"another deployment", changed(func(p *hub.Published) { p.Name = "other" }), `about the deployment "acme-keyturn/other"`},
		{"another project", changed(func(p *hub.Published) { p.Project = "other" }), `about the deployment "other/keyturn"`},
		{"parts missing", changed(func(p *hub.Published) { p.Ledger, p.PushSubscriptions, p.DeadSubscriptions = "", nil, nil }), "it lacks ledger, push_subscriptions, dead_subscriptions"},
		{"a ledger elsewhere", changed(func(p *hub.Published) { p.Ledger = "dynamodb://table" }), `its ledger is "dynamodb://table"`},
		{"an archive elsewhere", changed(func(p *hub.Published) { p.Archive = "s3://bucket" }), `its archive is "s3://bucket"`},
	} {
		c := at(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/storage/v1/b/acme-keyturn-keyturn-source/o/deployment.json" || r.URL.Query().Get("alt") != "media" {
				http.NotFound(w, r)
				return
			}
			_, _ = w.Write([]byte(tc.text))
		}))
		p, err := hub.Read(t.Context(), c, "acme-keyturn", "keyturn")
		switch {
		case tc.says == "" && (err != nil || p.Ledger != good.Ledger):
			t.Errorf("%s: %+v, error %v", tc.name, p, err)
		case tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)):
			t.Errorf("%s: the error is %v, want %q", tc.name, err, tc.says)
		}
	}
}

// Whatever one permission is missing, it is the only one that is reported, and nothing is written.
func TestPermissions_nameTheOneThatIsMissing(t *testing.T) {
	grants := hub.OperatorGrants()
	for _, missing := range append(grants, hub.Grant{}) {
		g := &hubtest.Google{Published: hubtest.Deployment("acme-keyturn"), Deny: missing.Permission}
		g.On = map[hub.Target]string{hub.OnDeployment: "gs://acme-keyturn-keyturn-source", hub.OnArchive: "gs://acme-keyturn-keyturn-archive"}[missing.On]
		outcomes := hub.Hub{Config: at(t, g), Published: g.Published}.Permissions(t.Context(), grants)
		var denied, unknown []hub.Grant
		for _, o := range outcomes {
			switch {
			case o.Err != nil:
				unknown = append(unknown, o.Grant)
			case o.Denied && !slices.Contains(denied, o.Grant):
				denied = append(denied, o.Grant)
			}
		}
		if want := []hub.Grant{missing}; missing != (hub.Grant{}) && !slices.Equal(denied, want) || missing == (hub.Grant{}) && len(denied) > 0 {
			t.Errorf("without %v, %v are reported", missing, denied)
		}
		// What cannot be tried without the missing one is not called missing.
		for _, one := range unknown {
			if one.On != hub.OnLedger || missing.On != hub.OnLedger {
				t.Errorf("without %v, %v is not known", missing, one)
			}
		}
		if len(outcomes) != len(grants)+1 { // there are two topics
			t.Errorf("%d outcomes of %d grants", len(outcomes), len(grants))
		}
		if n := g.Written(); n > 0 {
			t.Errorf("%d documents were written", n)
		}
	}
}

func TestPermissions_errorsAreNotDenials(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"out of order": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) },
		"a proxy":      func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>403</html>", http.StatusForbidden) },
		"a login page": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"nothing":      func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("[]")) },
	} {
		for _, o := range (hub.Hub{Config: at(t, h), Published: hubtest.Deployment("acme-keyturn")}).Permissions(t.Context(), hub.OperatorGrants()) {
			if o.Denied || o.Err == nil {
				t.Errorf("%s: %s on %s is denied: %t, error %v; want an error", name, o.Permission, o.Resource, o.Denied, o.Err)
			}
		}
	}
}

func TestProblem_ofSubscriptions(t *testing.T) {
	const name = "projects/acme-keyturn/subscriptions/keyturn-rotation"
	const good = `{"topic":"projects/acme-keyturn/topics/x","state":"ACTIVE","expirationPolicy":{},"pushConfig":{"pushEndpoint":"https://f.example.com"},"deadLetterPolicy":{"deadLetterTopic":"d"}}`
	for _, tc := range []struct {
		name, shown, problem string
		err                  error
	}{
		{"in order", good, "", nil},
		{"without a state, as in the emulator", strings.Replace(good, `"state":"ACTIVE",`, "", 1), "", nil},
		{"gone", "", "", cmek.ErrNotFound},
		{"nothing of it", `{}`, "", cmek.ErrIncomplete},
		{"its topic gone", strings.Replace(good, "projects/acme-keyturn/topics/x", "_deleted-topic_", 1), "its topic was deleted", nil},
		{"detached", strings.Replace(good, "{", `{"detached":true,`, 1), "it was detached from its topic", nil},
		{"pulled", strings.Replace(good, "https://f.example.com", "", 1), "it pushes to nobody", nil},
		{"no dead letters", strings.Replace(good, `{"deadLetterTopic":"d"}`, "{}", 1), "messages that cannot be handled go nowhere", nil},
		{"the default expiration", strings.Replace(good, `"expirationPolicy":{},`, "", 1), "it expires", nil},
		{"an expiration", strings.Replace(good, `"expirationPolicy":{}`, `"expirationPolicy":{"ttl":"2678400s"}`, 1), "it expires", nil},
		{"in trouble", strings.Replace(good, "ACTIVE", "RESOURCE_ERROR", 1), "its state is RESOURCE_ERROR", nil},
	} {
		g := &hubtest.Google{Published: hubtest.Deployment("acme-keyturn"), Subscriptions: map[string]string{name: tc.shown}}
		problem, err := hub.Hub{Config: at(t, g), Published: g.Published}.Problem(t.Context(), name)
		if !errors.Is(err, tc.err) || !strings.HasPrefix(problem, tc.problem) || tc.problem == "" && problem != "" {
			t.Errorf("%s: %q, error %v; want %q, %v", tc.name, problem, err, tc.problem, tc.err)
		}
	}
}

func TestUndelivered_ofAllPages(t *testing.T) {
	pages := 0
	c := at(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pages++
		series := `{"resource":{"labels":{"subscription_id":"keyturn-rotation-dead"}},"points":[{"value":{"int64Value":"2"}},{"value":{"int64Value":"9"}}]},{"resource":{"labels":{"subscription_id":"other"}},"points":[{"value":{"int64Value":"7"}}]}`
		if r.URL.Query().Get("pageToken") == "" {
			_, _ = w.Write([]byte(`{"timeSeries":[` + series + `],"nextPageToken":"p2"}`))
			return
		}
		_, _ = w.Write([]byte(`{"timeSeries":[{"resource":{"labels":{"subscription_id":"keyturn-alerting-dead"}},"points":[]},{"resource":{"labels":{"subscription_id":"keyturn-slack-dead"}},"points":[{"value":{"int64Value":"0"}}]}],"nextPageToken":"p2"}`))
	}))
	held, err := hub.Hub{Config: c, Published: hubtest.Deployment("acme-keyturn")}.Undelivered(t.Context(), "keyturn-", time.Now())
	if err != nil || len(held) != 2 || held["keyturn-rotation-dead"] != 2 || held["keyturn-slack-dead"] != 0 || pages != 2 {
		t.Errorf("%v after %d pages, error %v", held, pages, err)
	}
}

func TestWhoAmI(t *testing.T) {
	c := at(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" || r.PostFormValue("access_token") != "sample" {
			t.Errorf("the token is in %s", r.URL)
		}
		_, _ = w.Write([]byte(`{"email":"oncall@example.com"}`))
	}))
	if who, err := (hub.Hub{Config: c}).WhoAmI(t.Context()); who != "" || err != nil {
		t.Errorf("without credentials: %q, error %v", who, err)
	}
	c.Tokens = oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "sample"})
	if who, err := (hub.Hub{Config: c}).WhoAmI(t.Context()); who != "oncall@example.com" || err != nil {
		t.Errorf("%q, error %v", who, err)
	}
}
