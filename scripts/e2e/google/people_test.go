package google

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/simulator"
)

// People find the deployment by its name, read its ledger, and see what was done: with what the module itself publishes.
func TestCommandLine_findsTheDeployment(t *testing.T) {
	t.Parallel()
	s := newStand(t, "acme-people")
	s.sweep()
	s.putObject(s.project+"-"+name+"-source", "deployment.json", s.published)

	if out, code := s.keyturn("version"); code != 0 || !strings.Contains(out, "deployment keyturn v1.2.3") {
		t.Errorf("version exits with %d:\n%s", code, out)
	}
	out, code := s.keyturn("status")
	if code != 0 {
		t.Errorf("status exits with %d:\n%s", code, out)
	}
	for _, cluster := range []string{"payments", "checkout", "books"} {
		if !strings.Contains(out, cluster) {
			t.Errorf("status lacks %s:\n%s", cluster, out)
		}
	}
	// What the next sweep would find, decided here with what the Cloud API and Cloud KMS say.
	if err := s.world.Rotate(ownKey); err != nil {
		t.Fatal(err)
	}
	s.forget()
	if out, code = s.keyturn("plan", "--mode", "follow", "--fresh"); code != 0 || !strings.Contains(out, "books") {
		t.Errorf("plan exits with %d:\n%s", code, out)
	}
	if n := len(s.world.PUTs()); n != 0 {
		t.Errorf("%d PUTs were sent by commands that look", n)
	}

	// The simulator does not say what a caller may do; Firestore's emulator is asked as Firestore is.
	out, _ = s.keyturn("doctor", "-o", "json")
	var lines []struct{ Check, Result, Detail string }
	if err := json.Unmarshal([]byte(out), &lines); err != nil {
		t.Fatalf("doctor: %v\n%s", err, out)
	}
	tried := 0
	for _, line := range lines {
		if strings.HasPrefix(line.Check, "permission datastore.") {
			tried++
			if line.Result != "ok" {
				t.Errorf("doctor says %+v", line)
			}
		}
	}
	if !strings.Contains(out, "permission storage.objects.list") {
		t.Errorf("doctor does not try whether the archive may be listed:\n%s", out)
	}
	if tried != 4 {
		t.Errorf("doctor tries %d permissions on the ledger, want 4:\n%s", tried, out)
	}
	if after, _ := s.keyturn("status"); strings.Contains(after, "keyturn-doctor") {
		t.Errorf("doctor wrote to the ledger:\n%s", after)
	}
}

// keyturn runs a command of a person on the deployment.
func (s *stand) keyturn(arguments ...string) (output string, code int) {
	s.t.Helper()
	return s.keyturnNaming("--deployment", s.project+"/"+name, arguments...)
}

// keyturnNaming runs a command with a flag that names what it is about.
func (s *stand) keyturnNaming(flag, value string, arguments ...string) (output string, code int) {
	s.t.Helper()
	command := exec.CommandContext(s.t.Context(), program, append(arguments, flag, value)...)
	command.Dir = s.t.TempDir()
	command.Env = []string{
		"HOME=" + command.Dir, "PATH=" + os.Getenv("PATH"), "FIRESTORE_EMULATOR_HOST=" + cmektest.Firestore.At(s.t), "PUBSUB_EMULATOR_HOST=" + cmektest.PubSub.At(s.t),
		"KEYTURN_GOOGLE_ENDPOINT=" + s.simulator, "COCKROACH_SERVER=" + s.simulator, "COCKROACH_API_KEY=" + simulator.SampleAPIKey,
	}
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if command.ProcessState == nil {
		s.t.Fatal(err)
	}
	if code = command.ProcessState.ExitCode(); code != 0 {
		s.t.Logf("keyturn %s: %s", strings.Join(arguments, " "), stderr.String())
	}
	return string(out), code
}

// putObject puts an object into the simulated Cloud Storage, as Terraform does.
func (s *stand) putObject(bucket, object string, data []byte) {
	s.t.Helper()
	s.upload(bucket, object, data, "&ifGenerationMatch=0")
}

// upload writes an object on a condition; "" for none.
func (s *stand) upload(bucket, object string, data []byte, condition string) {
	s.t.Helper()
	var body bytes.Buffer
	parts := multipart.NewWriter(&body)
	for _, content := range []string{fmt.Sprintf(`{"name":%q}`, object), string(data)} {
		w, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/json"}})
		if err == nil {
			_, err = w.Write([]byte(content))
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	if err := parts.Close(); err != nil {
		s.t.Fatal(err)
	}
	url := s.simulator + "/upload/storage/v1/b/" + bucket + "/o?uploadType=multipart" + condition
	resp, err := http.Post(url, "multipart/related; boundary="+parts.Boundary(), &body)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("put %s: %s", object, resp.Status)
	}
}
