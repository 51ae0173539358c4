package killed

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/cmektest"
	"github.com/keyturn/keyturn/internal/simulator"
)

// adminAPIKey is the default world's key of org-admin, with which nobody else calls here.
const adminAPIKey = "CCDB1_SAMPLEadminSAMPLEadmin_SAMPLEadminSAMPLEadminSAMPLEadminSAMPLEa"

// world is a simulator in a process of its own, the proxy before it, and a ledger.
type world struct {
	t       *testing.T
	seed    uint64
	random  *rand.Rand
	program string
	// server is the simulator's address; the proxy stands before its Cloud API only.
	server  string
	network *cmektest.Network
	// requests counts what arrived at the proxy; sent are the PUTs among them.
	requests atomic.Int64
	mu       sync.Mutex
	sent     []arrival
	environ  []string
	keys     []string
	// before is the material of each store key at the beginning, by cluster/region.
	before map[string]string

	killed, accepted          int
	rotations                 []rotation
	endings, retried, history []string
}

// arrival is a PUT that has reached the proxy.
type arrival struct {
	path string
	at   time.Time
}

// rotation is one of a key, from just before it.
type rotation struct {
	key cmek.KeyURI
	at  time.Time
}

func newWorld(t *testing.T, program string, seed uint64) *world {
	t.Helper()
	w := &world{t: t, seed: seed, program: program, random: rand.New(rand.NewPCG(seed, 1)), before: map[string]string{}}
	folder := t.TempDir()
	w.simulate(folder, w.company(), []string{"rotate", "busy"}[seed%2])
	target, err := url.Parse(w.server)
	w.must(err, "parse the simulator's address")
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	w.network = cmektest.NewNetwork(transport, rand.New(rand.NewPCG(seed, 2)), hostile())
	proxy := cmektest.Proxy(target, w.network)
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.requests.Add(1)
		if r.Method == http.MethodPut {
			w.arrive(r.URL.Path)
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(front.Close)
	w.environ = w.environment(folder, front.URL)
	for _, key := range w.storeKeys() {
		w.before[key.Cluster+"/"+key.Region] = key.Material
	}
	return w
}

// environment is that of keyturn, which keeps its ledger in the folder.
func (w *world) environment(folder, cloudAPI string) []string {
	return append([]string{
		"HOME=" + folder, "COCKROACH_SERVER=" + cloudAPI, "COCKROACH_API_KEY=" + simulator.SampleAPIKey,
		"AWS_ENDPOINT_URL_KMS=" + w.server, "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY=sample",
		"KEYTURN_LEDGER=file:" + filepath.Join(folder, "ledger.db"),
	}, shortened...)
}

// company is the default world but for the cluster that is revoked, which would need a person all the time.
func (w *world) company() simulator.Seed {
	seed := simulator.DefaultSeed()
	seed.Clusters = slices.DeleteFunc(seed.Clusters, func(c simulator.ClusterSeed) bool { return c.Revoked })
	used := map[string]bool{}
	for _, c := range seed.Clusters {
		for _, r := range c.Regions {
			used[r.Key.Canonical()] = true
		}
	}
	for _, k := range seed.Keys {
		if used[k.URI.Canonical()] {
			w.keys = append(w.keys, string(k.URI))
		}
	}
	return seed
}

// simulate starts the simulator. duplicates is what it does with a PUT that repeats one under way.
func (w *world) simulate(folder string, seed simulator.Seed, duplicates string) {
	w.t.Helper()
	data, err := yaml.Marshal(seed)
	w.must(err, "write seed")
	file := filepath.Join(folder, "seed.yaml")
	w.must(os.WriteFile(file, data, 0o600), "write seed")
	cmd := exec.Command(w.program, "simulate", "--seed", file, "--rotation-time", "2s", "--switch", "kms-propagation=500ms",
		"--switch", "kms-rotation-time=500ms", "--switch", "duplicate-put="+duplicates)
	out, err := cmd.StdoutPipe()
	w.must(err, "start simulator")
	w.must(cmd.Start(), "start simulator")
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if address, ok := strings.CutPrefix(lines.Text(), "export COCKROACH_SERVER="); ok {
			w.server = address
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return
		}
	}
	w.t.Fatal("the simulator ended without an address")
}

func (w *world) must(err error, doing string) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("seed %d: %s: %v", w.seed, doing, err)
	}
}

func (w *world) upTo(most time.Duration) time.Duration {
	return time.Duration(w.random.Int64N(int64(most)))
}

func (w *world) note(format string, args ...any) {
	w.history = append(w.history, time.Now().UTC().Format("15:04:05.000")+" test    "+fmt.Sprintf(format, args...))
}

// arrive notes that a PUT has reached the proxy.
func (w *world) arrive(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, arrival{path, time.Now()})
}

// overtaken reports whether the key was rotated while the PUT was on its way, or less than a second before it arrived: keyturn
// sends none for a version that is so young.
func (w *world) overtaken(put simulator.PUT, key cmek.KeyURI) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	var arrived time.Time
	for _, a := range w.sent {
		if strings.Contains(a.path, put.ClusterID) && a.at.Before(put.Time) {
			arrived = a.at
		}
	}
	return slices.ContainsFunc(w.rotations, func(r rotation) bool {
		return r.key.SameKey(key) && r.at.After(arrived.Add(-time.Second)) && r.at.Before(put.Time)
	})
}

// rotate rotates a random key.
func (w *world) rotate() {
	w.t.Helper()
	key := w.keys[w.random.IntN(len(w.keys))]
	w.rotations = append(w.rotations, rotation{cmek.KeyURI(key), time.Now()})
	resp, err := http.Post(w.server+"/_simulator/rotate", "application/json", strings.NewReader(fmt.Sprintf(`{"key":%q}`, key)))
	w.must(err, "rotate key")
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		w.t.Fatalf("seed %d: rotate key %s: %s %s", w.seed, key, resp.Status, text)
	}
	w.note("rotated %s", key)
}

// control reads one of the simulator's records.
func (w *world) control(path string, into any) {
	w.t.Helper()
	resp, err := http.Get(w.server + "/_simulator/" + path)
	w.must(err, "read "+path)
	err = json.NewDecoder(resp.Body).Decode(into)
	_ = resp.Body.Close()
	w.must(err, "read "+path)
}

func (w *world) puts() (puts []simulator.PUT) {
	w.control("puts", &puts)
	return puts
}

func (w *world) storeKeys() (keys []simulator.StoreKey) {
	w.control("store-keys", &keys)
	return keys
}

// behind are the names of the clusters with a store key under an old version.
func (w *world) behind() (clusters []string) {
	for _, key := range w.storeKeys() {
		if key.Behind && !slices.Contains(clusters, key.Cluster) {
			clusters = append(clusters, key.Cluster)
		}
	}
	return clusters
}

// process is one run of keyturn.
type process struct {
	cmd   *exec.Cmd
	out   *tail
	ended chan struct{}
	world *world
}

func (w *world) start(args ...string) *process {
	w.t.Helper()
	p := &process{cmd: exec.Command(w.program, args...), out: &tail{}, ended: make(chan struct{}), world: w}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = w.environ, p.out, p.out
	w.must(p.cmd.Start(), "start keyturn")
	w.note("started keyturn %s", strings.Join(args, " "))
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	w.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

// awaitRequest waits until the process has sent its first request, or has ended. A worker waits for the lease of a killed one.
func (w *world) awaitRequest(p *process) (seen, ended bool) {
	w.t.Helper()
	before := w.requests.Load()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if w.requests.Load() > before {
			return true, false
		}
		if p.endsWithin(20 * time.Millisecond) {
			return false, true
		}
	}
	w.t.Fatalf("seed %d: keyturn sent no request within a minute: %s", w.seed, p.output())
	return false, false
}

func (p *process) endsWithin(d time.Duration) bool {
	select {
	case <-p.ended:
		return true
	case <-time.After(d):
		return false
	}
}

// kill is kill -9.
func (p *process) kill() {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.world.t.Errorf("kill keyturn: %v", err)
	}
	<-p.ended
	p.world.note("killed")
}

func (p *process) code() int {
	<-p.ended
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) output() string { return p.out.String() }

func (p *process) lastLine() string {
	lines := strings.Split(strings.TrimSpace(p.output()), "\n")
	return lines[len(lines)-1]
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

const mostTail = 16 << 10

func (t *tail) Write(data []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, data...)
	if over := len(t.data) - mostTail; over > 0 {
		t.data = bytes.Clone(t.data[over:])
	}
	return len(data), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.data)
}
