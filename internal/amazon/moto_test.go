package amazon_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"

	"github.com/keyturn/keyturn/internal/amazon"
)

func TestMain(m *testing.M) {
	code := m.Run()
	motoServer.stop()
	os.Exit(code)
}

// configAt is a Lambda function's configuration with every service at the endpoint, and hardly a pause between retries.
func configAt(t *testing.T, endpoint string, transport http.RoundTripper) amazon.Config {
	t.Helper()
	env := map[string]string{
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": endpoint,
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: transport}
	config, err := amazon.ConfigFromEnv(func(name string) string { return env[name] }, client)
	if err != nil {
		t.Fatal(err)
	}
	config.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = 3, time.Millisecond })
	}
	return config
}

// motoConfig is a configuration for moto_server, which all tests share. Without that program the test is skipped, or
// fails if KEYTURN_E2E=1.
func motoConfig(t *testing.T, transport http.RoundTripper) amazon.Config {
	t.Helper()
	motoServer.once.Do(motoServer.start)
	if motoServer.problem != nil {
		if os.Getenv("KEYTURN_E2E") == "1" {
			t.Fatalf("start moto_server: %v", motoServer.problem)
		}
		t.Skipf("needs moto_server (pip install 'moto[server]'): %v", motoServer.problem)
	}
	return configAt(t, motoServer.endpoint, transport)
}

var motoServer moto

// moto is a moto_server process on a free port of the loopback interface.
type moto struct {
	once     sync.Once
	process  *exec.Cmd
	endpoint string
	problem  error
}

func (m *moto) start() {
	if _, m.problem = exec.LookPath("moto_server"); m.problem != nil {
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		m.problem = err
		return
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()

	m.process = exec.Command("moto_server", "-H", "127.0.0.1", "-p", fmt.Sprint(port))
	m.endpoint = fmt.Sprintf("http://127.0.0.1:%d", port)
	if m.problem = m.process.Start(); m.problem != nil {
		m.process = nil
		return
	}
	m.problem = m.wait()
}

// wait returns when the server answers.
func (m *moto) wait() error {
	const tries, pause = 300, 100 * time.Millisecond
	for range tries {
		if resp, err := http.Get(m.endpoint + "/moto-api/"); err == nil {
			return resp.Body.Close()
		}
		time.Sleep(pause)
	}
	return fmt.Errorf("no answer at %s in %s", m.endpoint, tries*pause)
}

func (m *moto) stop() {
	if m.process != nil {
		_ = m.process.Process.Kill()
		_ = m.process.Wait()
	}
}
