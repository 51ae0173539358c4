package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/functions/keyturn/installation"
	"github.com/keyturn/keyturn/functions/keyturn/setup"
	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/version"
)

// parameterStore answers as Systems Manager does for GetParameter, and refuses all else.
type parameterStore struct {
	values map[string]string // by "REGION NAME"
	denied bool
	asked  []string
}

func (s *parameterStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct{ Name string }
	// Credential=KEY/DATE/REGION/ssm/aws4_request
	scope := strings.Split(r.Header.Get("Authorization"), "/")
	if r.Header.Get("X-Amz-Target") != "AmazonSSM.GetParameter" || json.NewDecoder(r.Body).Decode(&in) != nil || len(scope) < 3 {
		http.Error(w, `{"__type":"UnknownOperationException"}`, http.StatusBadRequest)
		return
	}
	s.asked = append(s.asked, scope[2]+" "+in.Name)
	value, ok := s.values[scope[2]+" "+in.Name]
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	switch {
	case s.denied:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"__type":"AccessDeniedException","Message":"User: arn:aws:iam::111122223333:user/oncall is not authorized to perform: ssm:GetParameter"}`)
	case !ok:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"__type":"ParameterNotFound"}`)
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"Parameter": map[string]any{"Name": in.Name, "Type": "String", "Value": value}})
	}
}

// published is what a hub publishes, with this program's version.
func published() deployment.Published {
	d := deployment.Deployment{Name: "prod", Hub: deployment.Place{Account: "111122223333", Region: "eu-west-1"}, Mode: "follow", Version: version.Read().Version,
		CockroachDB: deployment.CockroachDB{OrganizationID: "5f3c1f0e-58c2-4d2a-9a3e-0c1b9a7d2e41"}, Settings: map[string]string{"KEYTURN_SETTLE": "7m"}}
	return d.Publish(deployment.Resources{Table: "prod-hub-Ledger-1ABC", Bucket: "prod-hub-archive-1abc",
		AlertsTopic: "arn:aws:sns:eu-west-1:111122223333:prod-alerts", OperationsTopic: "arn:aws:sns:eu-west-1:111122223333:prod-operations"})
}

// newStore is a store with the deployment prod in eu-west-1, to which the SDK sends its requests.
func newStore(t *testing.T) *parameterStore {
	t.Helper()
	s := &parameterStore{values: map[string]string{"eu-west-1 /keyturn/prod": published().JSON()}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL_SSM", server.URL)
	t.Setenv("AWS_REGION", "eu-west-1")
	return s
}

const hubFile = `name: prod
hub: {account: "111122223333", region: eu-west-1}
cockroachdb: {organization_id: 5f3c1f0e-58c2-4d2a-9a3e-0c1b9a7d2e41}
accounts:
  - id: "111122223333"
    keys: ["arn:aws:kms:us-west-2:111122223333:key/0c6f2e3a-77d1-4c1e-9a53-2b8f4d0e6a11"]
alerts: {email: [a@example.com]}
operations: {email: [a@example.com]}
`

// shownSettings runs config show in a directory and returns the settings by name.
func shownSettings(t *testing.T, b *bench, args ...string) (setup.ShownConfig, map[string]setup.ShownSetting) {
	t.Helper()
	s := decodeJSON[setup.ShownConfig](t, b.succeed(t, append([]string{"config", "show", "-o", "json"}, args...)...))
	by := map[string]setup.ShownSetting{}
	for _, setting := range s.Settings {
		by[setting.Name] = setting
	}
	return s, by
}

func TestADeploymentIsFoundByItsName(t *testing.T) {
	folder := t.TempDir()
	repository := filepath.Join(folder, "repository", "below")
	inner := filepath.Join(folder, "repository", "inner")
	for _, dir := range []string{repository, filepath.Join(inner, ".git"), filepath.Join(folder, "repository", ".git")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "repository", "keyturn.yaml"), []byte(hubFile), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, region, dir string
		environ, args     []string
		foundBy           string
	}{
		{"by the flag", "eu-west-1", "", nil, []string{"--deployment", "prod"}, "--deployment"},
		{"by the environment", "eu-west-1", "", []string{"KEYTURN_DEPLOYMENT=prod"}, nil, "KEYTURN_DEPLOYMENT"},
		{"by the file above, in the hub's Region", "us-east-1", repository, nil, nil, filepath.Join(folder, "repository", "keyturn.yaml")},
		{"by the flag, in the file's Region", "us-east-1", repository, nil, []string{"--deployment", "prod"}, "--deployment"},
		{"not beyond a repository", "us-east-1", inner, nil, nil, ""},
		{"not outside", "us-east-1", folder, nil, nil, ""},
		{"the file does not count where a ledger is named", "us-east-1", repository, []string{"KEYTURN_LEDGER=file:x"}, nil, ""},
		{"nor where the Cloud API is a simulator", "us-east-1", repository, []string{"COCKROACH_SERVER=http://127.0.0.1:1"}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			store := newStore(t)
			t.Setenv("AWS_REGION", c.region)
			b.environ, b.dir = c.environ, c.dir
			s, by := shownSettings(t, b, c.args...)
			if c.foundBy == "" {
				if s.Deployment != nil || len(store.asked) > 0 {
					t.Errorf("the deployment %+v is found, and %q was asked for", s.Deployment, store.asked)
				}
				return
			}
			if s.Deployment == nil || s.FoundBy != c.foundBy {
				t.Fatalf("the deployment %+v is found by %q, want by %q", s.Deployment, s.FoundBy, c.foundBy)
			}
			for name, want := range map[string]string{
				"KEYTURN_LEDGER": "dynamodb://prod-hub-Ledger-1ABC?region=eu-west-1", "KEYTURN_ARCHIVE": "s3://prod-hub-archive-1abc/archive?region=eu-west-1",
				"KEYTURN_ALERTS_TOPIC": "arn:aws:sns:eu-west-1:111122223333:prod-alerts", "KEYTURN_READER_ROLE": "arn:aws:iam::{account}:role/prod-reader",
				"KEYTURN_MODE": "follow", "KEYTURN_SETTLE": "7m", "KEYTURN_ORGANIZATION_ID": "5f3c1f0e-58c2-4d2a-9a3e-0c1b9a7d2e41",
			} {
				if got := by[name]; got.Value != want || got.Origin != "deployment prod" {
					t.Errorf("%s is %q from %s, want %q from the deployment", name, got.Value, got.Origin, want)
				}
			}
		})
	}
}

func TestFlagsAndEnvironmentOverrideTheDeployment(t *testing.T) {
	b := newBench(t)
	newStore(t)
	b.environ = []string{"KEYTURN_DEPLOYMENT=prod", "KEYTURN_SETTLE=9m", "KEYTURN_MODE=follow"}
	_, by := shownSettings(t, b, "--mode", "observe", "--ledger", "dynamodb://other?region=eu-west-1")
	for name, want := range map[string]setup.ShownSetting{
		"KEYTURN_MODE":    {Name: "KEYTURN_MODE", Value: "observe", Origin: "--mode"},
		"KEYTURN_LEDGER":  {Name: "KEYTURN_LEDGER", Value: "dynamodb://other?region=eu-west-1", Origin: "--ledger"},
		"KEYTURN_SETTLE":  {Name: "KEYTURN_SETTLE", Value: "9m", Origin: "environment"},
		"KEYTURN_ARCHIVE": {Name: "KEYTURN_ARCHIVE", Value: "s3://prod-hub-archive-1abc/archive?region=eu-west-1", Origin: "deployment prod"},
	} {
		if by[name] != want {
			t.Errorf("%s is %+v, want %+v", name, by[name], want)
		}
	}
}

func TestADeploymentThatIsNotFoundIsAnErrorWithItsReason(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(s *parameterStore, b *bench)
		code   int
		want   []string
	}{
		{"another name", func(_ *parameterStore, b *bench) { b.environ = []string{"KEYTURN_DEPLOYMENT=prd"} }, exitUsage, []string{"there is no deployment prd", "KEYTURN_DEPLOYMENT", "/keyturn/prd", "AWS_REGION"}},
		{"another Region", func(*parameterStore, *bench) { os.Setenv("AWS_REGION", "us-east-1") }, exitUsage, []string{"there is no deployment prod", "in us-east-1"}},
		{"denied", func(s *parameterStore, _ *bench) { s.denied = true }, exitFailed, []string{"access denied", "ssm:GetParameter", "prod-viewer"}},
		{"not ours", func(s *parameterStore, _ *bench) { s.values["eu-west-1 /keyturn/prod"] = "hello" }, exitFailed, []string{"no JSON"}},
		{"somebody else's JSON", func(s *parameterStore, _ *bench) { s.values["eu-west-1 /keyturn/prod"] = "{}" }, exitFailed, []string{"format 0, want 1"}},
		{"newer", func(s *parameterStore, _ *bench) {
			s.values["eu-west-1 /keyturn/prod"] = strings.Replace(published().JSON(), `"format":1`, `"format":2`, 1)
		}, exitFailed, []string{"format 2", "install the deployment's version"}},
		{"another deployment's", func(s *parameterStore, _ *bench) {
			s.values["eu-west-1 /keyturn/prod"] = strings.Replace(published().JSON(), `"name":"prod"`, `"name":"test"`, 1)
		}, exitFailed, []string{`about the deployment "test"`}},
		{"cut", func(s *parameterStore, _ *bench) { s.values["eu-west-1 /keyturn/prod"] = published().JSON()[:200] }, exitFailed, []string{"no JSON"}},
		{"without its ledger", func(s *parameterStore, _ *bench) {
			s.values["eu-west-1 /keyturn/prod"] = strings.Replace(published().JSON(), `"ledger"`, `"leger"`, 1)
		}, exitFailed, []string{"it lacks ledger"}},
		{"another fleet", func(_ *parameterStore, b *bench) {
			b.environ = []string{"KEYTURN_DEPLOYMENT=prod", "COCKROACH_SERVER=http://127.0.0.1:1"}
		}, exitUsage, []string{"follows the fleet at https://cockroachlabs.cloud", "http://127.0.0.1:1"}},
		{"a server that only the parameter names", func(s *parameterStore, _ *bench) {
			s.values["eu-west-1 /keyturn/prod"] = strings.Replace(published().JSON(), `"ledger"`, `"server":"https://evil.example.com","ledger"`, 1)
		}, exitUsage, []string{"follows the fleet at https://evil.example.com", "set COCKROACH_SERVER"}},
		{"an empty name", func(_ *parameterStore, b *bench) { b.environ = []string{"KEYTURN_DEPLOYMENT=/../x"} }, exitUsage, []string{`"/../x" (named by KEYTURN_DEPLOYMENT) is no deployment; want NAME, or on Google Cloud PROJECT/NAME`}},
	} {
		b := newBench(t)
		s := newStore(t)
		b.environ = []string{"KEYTURN_DEPLOYMENT=prod"}
		c.change(s, b)
		for _, command := range []string{"status", "plan"} {
			o := b.keyturn(t, command)
			if o.code != c.code {
				t.Errorf("%s: keyturn %s exited with %d, want %d: %s", c.name, command, o.code, c.code, o.err)
			}
			wantText(t, c.name+": the error", o.err, c.want...)
		}
	}
}

func TestTheServerOfTheFileInReachIsUsed(t *testing.T) {
	b := newBench(t)
	s := newStore(t)
	b.environ, b.dir = nil, t.TempDir()
	const server = "https://cloud.example.com"
	s.values["eu-west-1 /keyturn/prod"] = strings.Replace(published().JSON(), `"ledger"`, `"server":"`+server+`","ledger"`, 1)
	file := strings.Replace(hubFile, "organization_id:", "server: \""+server+"\", organization_id:", 1)
	if err := os.WriteFile(filepath.Join(b.dir, "keyturn.yaml"), []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, by := shownSettings(t, b); by["COCKROACH_SERVER"].Value != server {
		t.Errorf("the server is %+v, want the file's", by["COCKROACH_SERVER"])
	}
}

func TestAFileInReachThatIsWrongIsAnError(t *testing.T) {
	b := newBench(t)
	newStore(t)
	b.environ, b.dir = nil, t.TempDir()
	file := filepath.Join(b.dir, "keyturn.yaml")
	if err := os.WriteFile(file, []byte(hubFile+"mdoe: follow\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := b.keyturn(t, "status")
	o.wantCode(t, exitUsage, "status")
	wantText(t, "the error", o.err, "has 1 problem", "keyturn config check "+file)
}

func TestVersionComparesProgramAndDeployment(t *testing.T) {
	b := newBench(t)
	store := newStore(t)
	b.environ = nil
	// The tests are built without a version, and what is not known is never the same.
	for _, deployed := range []string{version.Read().Version, "v9.9.9", "unknown"} {
		p := published()
		p.Version = deployed
		store.values["eu-west-1 /keyturn/prod"] = p.JSON()
		want := installation.CompareVersions(version.Read().Version, deployed)
		text := b.succeed(t, "version", "--deployment", "prod")
		wantText(t, "the versions", text, "keyturn "+version.Read().Version, "deployment prod "+deployed)
		if v := decodeJSON[versions](t, b.succeed(t, "version", "--deployment", "prod", "-o", "json")); v.Deployment != deployed || v.Comparison != want {
			t.Errorf("the JSON is %+v, want %s, which is %s", v, deployed, want)
		}
	}
	o := b.keyturn(t, "version", "--deployment", "prd")
	o.wantCode(t, exitUsage, "version", "--deployment", "prd")
	wantText(t, "the output", o.out, "keyturn ")
	wantText(t, "the error", o.err, "there is no deployment prd")
}
