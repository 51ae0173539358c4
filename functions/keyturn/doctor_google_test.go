package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/keyturn/setup"
	"github.com/keyturn/keyturn/internal/google/hub"
	"github.com/keyturn/keyturn/internal/google/hub/hubtest"
	"github.com/keyturn/keyturn/internal/simulator"
)

// newGoogleClinic is a bench with a deployment on Google Cloud at which everything is fine.
func newGoogleClinic(t *testing.T) (*bench, *hubtest.Google) {
	t.Helper()
	t.Setenv("FIRESTORE_EMULATOR_HOST", "")
	b := newBench(t)
	g := &hubtest.Google{Published: hubtest.Deployment("acme-keyturn"), Held: map[string]int{"keyturn-rotation-dead": 0, "keyturn-alerting-dead": 0}}
	g.Published.OrganizationID, g.Published.Server = simulator.DefaultSeed().Organization.ID, b.url
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	b.environ = []string{
		"KEYTURN_DEPLOYMENT=acme-keyturn/keyturn", "KEYTURN_GOOGLE_ENDPOINT=" + server.URL, "COCKROACH_SERVER=" + b.url, "COCKROACH_API_KEY=" + simulator.SampleAPIKey,
	}
	return b, g
}

func checksOf(all []setup.Diagnosis) (checks []string) {
	for _, d := range all {
		checks = append(checks, d.Check)
	}
	return checks
}

func TestDoctor_onGoogle_healthy(t *testing.T) {
	b, g := newGoogleClinic(t)
	code, problems, unverified := examine(t, b)
	// These tests are built without a version.
	if got := strings.Join(checksOf(unverified), ", "); code != exitFine || len(problems) > 0 || got != "versions, "+denyPolicies {
		t.Errorf("doctor exits with %d, has the problems %+v, and cannot verify %s", code, problems, got)
	}
	if g.Written() > 0 {
		t.Error("doctor wrote something")
	}
	wantText(t, "the text", b.succeed(t, "doctor"), "deployment keyturn in us-east1 of project acme-keyturn, mode observe, named by KEYTURN_DEPLOYMENT",
		"ok            permission datastore.entities.create: firestore://acme-keyturn/keyturn", "ok            permission pubsub.topics.publish: projects/acme-keyturn/topics/keyturn-alerts",
		"ok            push keyturn-rotation", "ok            dead letters: keyturn-alerting-dead is empty", "ok            Cloud API", "ok            clock")
}

// denyPolicies is what nobody can ask Google for: it is never said to be ok.
const denyPolicies = "permission iam.denypolicies.list"

func TestDoctor_onGoogle_namesExactlyTheMissingPermission(t *testing.T) {
	// What cannot be seen without a permission is not verified, and no problem of its own.
	hides := map[string]string{
		"datastore.entities.get": "permission datastore.entities.list", "datastore.entities.update": "permission datastore.entities.create",
		"pubsub.subscriptions.get": "push keyturn-alerting, push keyturn-rotation", "monitoring.timeSeries.list": "dead letters",
	}
	for _, missing := range hub.OperatorGrants() {
		b, g := newGoogleClinic(t)
		g.Deny = missing.Permission
		if missing.On == hub.OnArchive {
			g.On = "gs://acme-keyturn-keyturn-archive"
		}
		code, problems, unverified := examine(t, b)
		if code != exitNeedsPerson || g.Written() > 0 {
			t.Errorf("without %s doctor exits with %d and wrote %d times", missing.Permission, code, g.Written())
		}
		if missing.On == hub.OnDeployment { // without it nothing else is known
			if len(problems) != 1 || !strings.Contains(problems[0].Detail, missing.Permission) || !strings.Contains(problems[0].Detail, "operators or viewers") {
				t.Errorf("without %s the problems are %+v", missing.Permission, problems)
			}
			continue
		}
		for _, p := range problems {
			if p.Check != "permission "+missing.Permission || !strings.Contains(p.Fix, "module's operators") || !strings.Contains(p.Detail, "missing") {
				t.Errorf("without %s a problem is %+v", missing.Permission, p)
			}
		}
		if want := map[bool]int{true: 2, false: 1}[missing.On == hub.OnTopics]; len(problems) != want {
			t.Errorf("without %s there are %d problems, want %d", missing.Permission, len(problems), want)
		}
		want := []string{"versions", denyPolicies}
		switch hidden := hides[missing.Permission]; {
		case strings.HasPrefix(hidden, "permission "):
			want = slices.Insert(want, 1, hidden)
		case hidden != "":
			want = append(want, hidden)
		}
		if got := strings.Join(checksOf(unverified), ", "); got != strings.Join(want, ", ") {
			t.Errorf("without %s not verified are %s, want %q", missing.Permission, got, want)
		}
	}
}

func TestDoctor_onGoogle_viewersNeedLess(t *testing.T) {
	for _, g := range hub.OperatorGrants()[len(hub.ViewerGrants()):] {
		b, google := newGoogleClinic(t)
		google.Deny = g.Permission
		if g.On == hub.OnArchive {
			google.On = "gs://acme-keyturn-keyturn-archive"
		}
		if code, problems, _ := examine(t, b, "--viewer"); code != exitFine || len(problems) > 0 {
			t.Errorf("without %s a viewer has the problems %+v", g.Permission, problems)
		}
	}
}

func TestDoctor_onGoogle_problems(t *testing.T) {
	const rotation = "projects/acme-keyturn/subscriptions/keyturn-rotation"
	for _, tc := range []struct {
		name    string
		change  func(*bench, *hubtest.Google)
		problem string // its check
		says    []string
	}{
		{"a subscription is gone", func(_ *bench, g *hubtest.Google) { g.Subscriptions = map[string]string{rotation: ""} }, "push keyturn-rotation", []string{"does not exist", "terraform apply"}},
		{"a subscription was changed", func(_ *bench, g *hubtest.Google) {
			g.Subscriptions = map[string]string{rotation: `{"topic":"t","expirationPolicy":{},"deadLetterPolicy":{"deadLetterTopic":"d"}}`}
		}, "push keyturn-rotation", []string{"pushes to nobody", "gcloud pubsub subscriptions describe " + rotation}},
		{"dead letters", func(_ *bench, g *hubtest.Google) { g.Held["keyturn-alerting-dead"] = 3 }, "dead letters", []string{"keyturn-alerting-dead holds 3", "RUNBOOK.md#dead-letters"}},
		{"another organization", func(_ *bench, g *hubtest.Google) { g.Published.OrganizationID = "other" }, "Cloud API", []string{"the deployment is for other"}},
		{"a later format", func(_ *bench, g *hubtest.Google) { g.Published.Format = 2 }, "configuration", []string{"install the deployment's version v1.2.3"}},
		{"another fleet", func(_ *bench, g *hubtest.Google) { g.Published.Server = "https://other.example.com" }, "configuration", []string{"follows the fleet at https://other.example.com"}},
		{"another project", func(b *bench, _ *hubtest.Google) { b.environ[0] = "KEYTURN_DEPLOYMENT=other-project/keyturn" }, "configuration", []string{"find deployment other-project/keyturn (named by KEYTURN_DEPLOYMENT)", "gcloud auth application-default login"}},
		{"an endpoint that is none", func(b *bench, _ *hubtest.Google) { b.environ[1] = "KEYTURN_GOOGLE_ENDPOINT=here" }, "configuration", []string{"KEYTURN_GOOGLE_ENDPOINT is not the base URL"}},
	} {
		b, g := newGoogleClinic(t)
		tc.change(b, g)
		code, problems, _ := examine(t, b)
		if code != exitNeedsPerson || len(problems) == 0 || problems[0].Check != tc.problem || len(problems) > 1 && tc.problem != "configuration" {
			t.Errorf("%s: doctor exits with %d and has the problems %+v", tc.name, code, problems)
			continue
		}
		wantText(t, tc.name, problems[0].Detail+" "+problems[0].Fix, tc.says...)
	}
}

func TestDoctor_onGoogle_withoutMetrics(t *testing.T) {
	b, g := newGoogleClinic(t)
	g.Held = nil
	_, problems, unverified := examine(t, b)
	if got := strings.Join(checksOf(unverified), ", "); len(problems) > 0 || got != "versions, "+denyPolicies+", dead letters, dead letters" {
		t.Errorf("the problems are %+v, and not verified are %s", problems, got)
	}
}

func TestVersion_ofADeploymentOnGoogle(t *testing.T) {
	b, _ := newGoogleClinic(t)
	b.environ = b.environ[1:]
	wantText(t, "the text", b.succeed(t, "version", "--deployment", "acme-keyturn/keyturn"), "deployment keyturn v1.2.3")
	for _, name := range []string{"acme-keyturn/other", "other/keyturn"} {
		if o := b.keyturn(t, "version", "--deployment", name); o.code == exitFine || !strings.Contains(o.err, "find deployment "+name) {
			t.Errorf("version of %s exits with %d: %s", name, o.code, o.err)
		}
	}
}

// A proxy's login page is no deployment.
func TestDeployment_onGoogle_behindAProxy(t *testing.T) {
	b, _ := newGoogleClinic(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>sign in</html>") }))
	t.Cleanup(server.Close)
	b.environ[1] = "KEYTURN_GOOGLE_ENDPOINT=" + server.URL
	if o := b.keyturn(t, "status"); o.code == exitFine || !strings.Contains(o.err, "the answer is not the API's") {
		t.Errorf("status exits with %d: %s", o.code, o.err)
	}
}
