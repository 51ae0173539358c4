package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/infra/aws/deployment"
)

// What TestMain made for all tests.
var (
	binaries     string // the directory of the Lambda binaries, each under its function's name
	motoEndpoint string // http://127.0.0.1:PORT
)

// folders are the functions that the tests run, by their folders.
var folders = []string{deployment.Rotation, deployment.Alerting, deployment.Notify, deployment.TrailCheck, deployment.Compliance}

func enabled() bool { return os.Getenv("KEYTURN_E2E") == "1" }

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "end-to-end tests:", err)
		code = 1
	}
	os.Exit(code)
}

// run builds the binaries, synthesizes the templates and starts moto_server before the tests, and takes all of it away after them.
func run(m *testing.M) (code int, err error) {
	if !enabled() {
		return m.Run(), nil // Each test skips itself and says why.
	}
	// The tests mostly wait, for leases to run out and grace times to end, so more of them run together than there are
	// processors; not all of them, or a small machine would let functions run into their timeouts.
	if err := flag.Set("test.parallel", "8"); err != nil {
		return 1, err
	}
	if binaries, err = os.MkdirTemp("", "keyturn-e2e"); err != nil {
		return 1, err
	}
	defer func() { _ = os.RemoveAll(binaries) }()
	for _, function := range folders {
		if err := build(function); err != nil {
			return 1, err
		}
	}
	if err := synthesize(binaries); err != nil {
		return 1, err
	}
	moto, err := startMoto()
	if err != nil {
		return 1, err
	}
	defer func() {
		_ = moto.Process.Kill()
		_ = moto.Wait()
	}()
	if testing.Verbose() {
		printStandIns()
	}
	if code = m.Run(); code == 0 {
		err = checkCalls()
	}
	return code, err
}

// build makes a function's Lambda binary for this machine, with the command that the Makefile builds the released one with.
func build(function string) error {
	const root = "../.."
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return err
	}
	var command string
	for lines := bufio.NewScanner(bytes.NewReader(makefile)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "LAMBDA_BUILD := "); ok {
			command = value
		}
	}
	if command == "" {
		return errors.New("the Makefile has no line LAMBDA_BUILD := …")
	}
	cmd := exec.Command("bash", "-c", command+` -o "$0" "./functions/$1/aws"`, filepath.Join(binaries, function), function)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the Lambda binary of %s: %w\n%s", function, err, out)
	}
	return nil
}

// startMoto starts moto_server on a free port and returns when it answers.
func startMoto() (*exec.Cmd, error) {
	program, err := exec.LookPath("moto_server")
	if err != nil {
		return nil, errors.New("moto_server is missing; get it with: pip install 'moto[server]'")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().(*net.TCPAddr)
	_ = listener.Close()

	moto := exec.Command(program, "-H", "127.0.0.1", "-p", fmt.Sprint(address.Port))
	moto.Env = append(os.Environ(), "MOTO_ACCOUNT_ID="+accountID, "MOTO_IAM_LOAD_MANAGED_POLICIES=true")
	if err := moto.Start(); err != nil {
		return nil, fmt.Errorf("start moto_server: %w", err)
	}
	motoEndpoint = "http://" + address.String()
	const tries, pause = 300, 100 * time.Millisecond
	for range tries {
		if resp, err := http.Get(motoEndpoint + "/moto-api/"); err == nil {
			_ = resp.Body.Close()
			return moto, nil
		}
		time.Sleep(pause)
	}
	_ = moto.Process.Kill()
	_ = moto.Wait()
	return nil, fmt.Errorf("moto_server does not answer at %s within %s", motoEndpoint, tries*pause)
}
