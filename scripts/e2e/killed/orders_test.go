package killed

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// moment is when keyturn rotate is killed, once for each cluster.
type moment string

const (
	arrived  moment = "its request has arrived, and the server has not acted"
	acted    moment = "the server has acted, and the answer is not given"
	answered moment = "the answer is given"
	recorded moment = "the evidence is written"
)

const (
	oldKey cmek.KeyURI = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f0a1"
	newKey cmek.KeyURI = "arn:aws:kms:us-east-1:111122223333:key/0a5d1c2e-7f43-4b1a-9c68-2d9e41b7f0a2"

	fleetSize = 6
	// rotatedWithin is how long a fleet may take whose process is killed at each cluster: the next process waits 30 s for the lease of the one
	// before, and as long as a request without an answer may be under way.
	rotatedWithin = 12 * time.Minute
)

// fleetOn is a company whose clusters are all on the old key.
func fleetOn() simulator.Seed {
	const role = "arn:aws:iam::111122223333:role/fleet-cmek"
	seed := simulator.DefaultSeed()
	seed.Clusters, seed.Keys = nil, nil
	for _, key := range []cmek.KeyURI{oldKey, newKey} {
		seed.Keys = append(seed.Keys, simulator.KeySeed{URI: key, AgeDays: 300, Policy: `{"Version":"2012-10-17","Statement":[` +
			`{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":["kms:DescribeKey","kms:Get*","kms:List*"],"Resource":"*"},` +
			`{"Effect":"Allow","Principal":{"AWS":"` + role + `"},"Action":["kms:Encrypt","kms:Decrypt","kms:GenerateDataKey*","kms:DescribeKey","kms:ReEncrypt*"],"Resource":"*"}]}`})
	}
	for i := range fleetSize {
		seed.Clusters = append(seed.Clusters, simulator.ClusterSeed{
			ID: fmt.Sprintf("7c1d9e20-3a4b-4c5d-8e6f-0000000000%02d", i+1), Name: fmt.Sprintf("fleet-%d", i+1), AccountID: fmt.Sprintf("9000000000%02d", i+1), AgeDays: 300,
			Regions: []simulator.RegionSeed{{Name: "us-east-1", Nodes: 3, Key: oldKey, AuthPrincipal: role}},
		})
	}
	return seed
}

// traps holds up one request, or reports one file, of each cluster.
type traps struct {
	at   moment
	shut chan struct{} // releases what is held up in the end

	mu     sync.Mutex
	sprung map[string]bool
	news   chan string
}

// spring reports whether the trap of the cluster goes off at the moment, for the first time.
func (t *traps) spring(at moment, cluster string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at != at || t.sprung[cluster] {
		return false
	}
	t.sprung[cluster] = true
	t.news <- cluster
	return true
}

// front is the way to the Cloud API. What is held up is never answered.
func (t *traps) front(server *url.URL) http.Handler {
	proxy := httputil.NewSingleHostReverseProxy(server)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPut {
			proxy.ServeHTTP(w, r)
			return
		}
		cluster := strings.Split(r.URL.Path, "/")[4] // /api/v1/clusters/ID/cmek
		hold := func(at moment) {
			if t.spring(at, cluster) {
				<-t.shut
				panic(http.ErrAbortHandler)
			}
		}
		hold(arrived)
		answer := httptest.NewRecorder()
		proxy.ServeHTTP(answer, r)
		hold(acted)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
		t.spring(answered, cluster)
	})
}

// watch springs the trap of each cluster whose evidence is written.
func (t *traps) watch(archive string) {
	for {
		select {
		case <-t.shut:
			return
		case <-time.After(2 * time.Millisecond):
		}
		files, _ := filepath.Glob(filepath.Join(archive, "evidence", "*", "*.json"))
		for _, file := range files {
			t.spring(recorded, filepath.Base(filepath.Dir(file)))
		}
	}
}

// A fleet of six clusters is moved to another key by a command that is killed at each of them, at one moment of its request: run again, it
// comes to the end, and each region got one accepted PUT and one record of evidence.
func TestRotate_killedAtEachCluster_sendsOnePUTEach(t *testing.T) {
	if os.Getenv("KEYTURN_E2E") != "1" {
		t.Skip("end-to-end tests run with KEYTURN_E2E=1: make e2e")
	}
	program := buildKeyturn(t)
	t.Run("when", func(t *testing.T) {
		for _, at := range []moment{arrived, acted, answered, recorded} {
			t.Run(string(at), func(t *testing.T) {
				t.Parallel()
				w := &world{t: t, program: program}
				folder := t.TempDir()
				w.simulate(folder, fleetOn(), "busy")
				server, err := url.Parse(w.server)
				w.must(err, "parse the simulator's address")
				traps := &traps{at: at, shut: make(chan struct{}), sprung: map[string]bool{}, news: make(chan string, fleetSize)}
				front := httptest.NewServer(traps.front(server))
				t.Cleanup(front.Close)
				t.Cleanup(sync.OnceFunc(func() { close(traps.shut) })) // before the server is closed
				archive := filepath.Join(folder, "archive")
				w.environ = append(w.environment(folder, front.URL), "AWS_ENDPOINT_URL_IAM="+w.server, "KEYTURN_ARCHIVE=file:"+archive)
				go traps.watch(archive)
				w.moveFleet(traps)
				w.checkFleet(archive)
			})
		}
	})
}

// moveFleet runs the command until it ends by itself, and kills it whenever a trap is sprung.
func (w *world) moveFleet(traps *traps) {
	w.t.Helper()
	if sweep := w.start("follow"); !sweep.endsWithin(time.Minute) || sweep.code() != 0 {
		w.t.Fatalf("the first walk did not end well: %s", sweep.output())
	}
	for deadline := time.Now().Add(rotatedWithin); ; {
		p := w.start("rotate", "--from", string(oldKey), "--to", string(newKey), "--no-terraform", "--by", "ana")
		select {
		case cluster := <-traps.news:
			p.kill()
			w.killed++
			w.note("killed at %s", cluster)
			continue
		case <-p.ended:
		case <-time.After(time.Until(deadline)):
			w.t.Fatalf("after %d kills the command did not end within %s: %s", w.killed, rotatedWithin, p.output())
		}
		if len(traps.news) > 0 {
			<-traps.news // it ended first
		}
		if p.code() == 0 {
			break
		}
		w.t.Fatalf("after %d kills the command ended with %d: %s", w.killed, p.code(), p.output())
	}
	if w.killed < fleetSize-1 { // the last one may have ended first
		w.t.Errorf("%d kills, want one for each of %d clusters", w.killed, fleetSize)
	}
}

// checkFleet compares with the simulator's record, and with the archive.
func (w *world) checkFleet(archive string) {
	w.t.Helper()
	accepted := map[string]int{}
	for _, put := range w.puts() {
		if put.Outcome != "accepted" {
			continue
		}
		for _, r := range put.Regions {
			if r.URI != newKey {
				w.t.Errorf("a PUT to %s carries %s", put.Cluster, r.URI)
			}
			accepted[put.ClusterID+"/"+r.Region]++
		}
	}
	var moved []string
	for _, key := range w.storeKeys() {
		if key.URI != newKey {
			w.t.Errorf("%s is on %s", key.Cluster, key.URI)
		}
		moved = append(moved, key.ClusterID)
		if n := accepted[key.ClusterID+"/"+key.Region]; n != 1 {
			w.t.Errorf("%s got %d accepted PUTs, want one", key.Cluster, n)
		}
		files, _ := filepath.Glob(filepath.Join(archive, "evidence", key.ClusterID, "*.json"))
		if len(files) != 1 {
			w.t.Errorf("%s has the evidence %q, want one record", key.Cluster, files)
		}
	}
	if slices.Sort(moved); len(slices.Compact(moved)) != fleetSize {
		w.t.Errorf("%d clusters were moved, want %d", len(moved), fleetSize)
	}
	if w.t.Failed() {
		w.t.Log(strings.Join(w.history, "\n"))
	}
}
