package google

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/scripts/buildpack"
)

// staged writes the archives that Terraform uploads, and builds the functions of them as the buildpack does.
func staged(t *testing.T) (binaries map[string]string) {
	t.Helper()
	enabled(t)
	folder := t.TempDir()
	command := exec.CommandContext(t.Context(), "go", "run", "./scripts/stagegcp", "v1.2.3", folder)
	command.Dir = "../../.."
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("stage: %v\n%s", err, out)
	}
	binaries = map[string]string{}
	for _, function := range []string{"rotation", "alerting", "notify"} {
		binaries[function] = filepath.Join(folder, function)
		if err := buildpack.Build(t.Context(), binaries[function]+".zip", filepath.Join(folder, "source", function), binaries[function]); err != nil {
			t.Fatalf("build %s: %v", function, err)
		}
		_ = os.RemoveAll(filepath.Join(folder, "source", function)) // what is vendored is large
	}
	return binaries
}

// runStaged starts the binaries, and returns where they answer: /Rotation, /Alerting and /Notify, as "keyturn serve" does.
func (s *stand) runStaged(environment map[string]string) string {
	s.t.Helper()
	var list []string
	for _, variable := range slices.Sorted(maps.Keys(environment)) {
		list = append(list, variable+"="+environment[variable])
	}
	mux := http.NewServeMux()
	for function, binary := range s.binaries {
		running, err := buildpack.Start(s.t.Context(), binary, function, append(list, "K_SERVICE="+name+"-"+function), &s.log)
		if err != nil {
			s.t.Fatalf("%v:\n%s", err, s.log.String())
		}
		s.t.Cleanup(func() {
			running.Kill()
			<-running.Ended
		})
		target, err := url.Parse(running.URL)
		if err != nil {
			s.t.Fatal(err)
		}
		path := "/" + strings.ToUpper(function[:1]) + function[1:]
		mux.Handle(path, http.StripPrefix(path, httputil.NewSingleHostReverseProxy(target)))
	}
	front := httptest.NewServer(mux)
	s.t.Cleanup(front.Close)
	s.t.Cleanup(func() {
		if text := s.log.String(); s.t.Failed() {
			s.t.Logf("the end of the functions' log:\n%s", text[max(0, len(text)-6000):])
		}
	})
	return front.URL
}

// What is deployed is what is tested: the whole path of an alert, and of a rotation, through the functions as they are built from the archives.
func TestStagedFunctions_reportAndReencrypt(t *testing.T) {
	t.Parallel()
	s := newStandOf(t, "acme-staged", staged(t))
	s.sweep()

	s.setState(sharedKey, 1, "DISABLED")
	s.untilSlack("the disabled version is reported", "CRITICAL", "Version 1", "was disabled", "payments", "checkout", "operator@example.com",
		"gcloud kms keys versions enable 1 "+where)
	s.setState(sharedKey, 1, "ENABLED")
	s.untilSlack("the end is reported", "[RESOLVED]", "Version 1")

	s.gcloud("POST", ownKey+"/cryptoKeyVersions", `{}`)
	s.gcloud("POST", ownKey+":updatePrimaryVersion", `{"cryptoKeyVersionId":"2"}`)
	if selected := s.sinks(1); selected["rotation"] == 0 {
		t.Errorf("the sinks select %v; want an entry for rotation", selected)
	}
	s.untilReencrypted("books")
}
