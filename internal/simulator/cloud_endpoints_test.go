package simulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/cockroach-cloud-sdk-go/v5/pkg/client"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// simulatedRoutes are the patterns of the Cloud API that the world lists.
func simulatedRoutes(t *testing.T, world *simulator.World) []string {
	t.Helper()
	for _, s := range world.Overview().Services {
		if strings.HasPrefix(s.Name, "CockroachDB") {
			return s.Operations
		}
	}
	t.Fatal("the world has no Cloud API")
	return nil
}

// matches reports whether the request is one for the pattern.
func matches(pattern, method, path string) bool {
	wantMethod, wantPath, _ := strings.Cut(pattern, " ")
	want, got := strings.Split(wantPath, "/"), strings.Split(path, "/")
	if wantMethod != method || len(want) != len(got) {
		return false
	}
	for i := range want {
		// available-regions has the form of a cluster's path without being one.
		if want[i] != got[i] && (!strings.HasPrefix(want[i], "{") || got[i] == "available-regions") {
			return false
		}
	}
	return true
}

func TestEveryCallOfTheOfficialSDKIsSimulatedOrAnswers501(t *testing.T) {
	world := newWorld(t, simulator.RateLimit, "100000")
	routes := simulatedRoutes(t, world)
	service := reflect.ValueOf(officialSDK(world, adminAPIKey))
	simulated, others := map[string]bool{}, 0
	for i := range service.NumMethod() {
		method := service.Type().Method(i)
		if method.Type.NumIn() < 2 || method.Type.In(1) != reflect.TypeFor[context.Context]() {
			continue // no call of the API
		}
		seen := len(world.Requests())
		results := service.Method(i).Call(sampleArguments(method.Type))
		requests := world.Requests()[seen:]
		if len(requests) != 1 {
			t.Errorf("%s sent %d requests, want one", method.Name, len(requests))
			continue
		}
		r := requests[0]
		route := slices.IndexFunc(routes, func(pattern string) bool { return matches(pattern, r.Method, r.Path) })
		err, _ := results[len(results)-1].Interface().(error)
		switch {
		case route >= 0:
			simulated[routes[route]] = true
			if r.Status == http.StatusNotImplemented {
				t.Errorf("%s (%s) is listed and answers 501", method.Name, routes[route])
			}
		default:
			others++
			apiError, ok := errors.AsType[client.Error](err)
			if r.Status != http.StatusNotImplemented || !ok || !strings.Contains(string(apiError.Body()), `"code":12`) {
				t.Errorf("%s (%s %s) is not simulated and answers %d: %v; want 501 with code 12", method.Name, r.Method, r.Path, r.Status, err)
			}
		}
	}
	for _, pattern := range routes {
		later := []string{"blackout-windows", "/backups"} // which came after v5.0.0
		if !simulated[pattern] && !slices.ContainsFunc(later, func(part string) bool {
			return strings.Contains(pattern+" ", part+" ") || strings.Contains(pattern, part+"/")
		}) {
			t.Errorf("no call of the SDK reached %s", pattern)
		}
	}
	if len(simulated) < 30 || others < 50 {
		t.Errorf("%d endpoints are simulated and %d others answered; were all called?", len(simulated), others)
	}
}

// sampleArguments are arguments for a method of the SDK: an id for each string, and empty bodies.
func sampleArguments(method reflect.Type) []reflect.Value {
	arguments := []reflect.Value{reflect.ValueOf(context.Background())}
	for i := 2; i < method.NumIn(); i++ {
		kind := method.In(i)
		switch kind.Kind() {
		case reflect.String:
			arguments = append(arguments, reflect.ValueOf(analytics))
		case reflect.Pointer:
			arguments = append(arguments, reflect.New(kind.Elem()))
		default:
			arguments = append(arguments, reflect.Zero(kind))
		}
	}
	return arguments
}

// TestEveryEndpointOfTheSpecificationIsSimulatedOrAnswers501 asks what the SDK's own specification lists, whatever its methods do.
func TestEveryEndpointOfTheSpecificationIsSimulatedOrAnswers501(t *testing.T) {
	folder, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cockroachdb/cockroach-cloud-sdk-go/v5").Output()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(folder)), "internal", "spec", "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	var spec struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(data, &spec); err != nil {
		t.Fatal(err)
	}
	world, asked := newWorld(t, simulator.RateLimit, "100000"), 0
	routes := simulatedRoutes(t, world)
	for path, methods := range spec.Paths {
		for method := range methods {
			method, concrete := strings.ToUpper(method), strings.NewReplacer("{", "", "}", "").Replace(path)
			request, err := http.NewRequest(method, "http://cloud.test"+concrete, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+adminAPIKey)
			response, err := simulator.Transport(world.Handler()).RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			asked++
			listed := slices.ContainsFunc(routes, func(pattern string) bool { return matches(pattern, method, concrete) })
			if (response.StatusCode == http.StatusNotImplemented) == listed {
				t.Errorf("%s %s answers %d; listed: %t", method, path, response.StatusCode, listed)
			}
		}
	}
	if asked < 100 {
		t.Errorf("only %d endpoints were asked; is the specification read?", asked)
	}
}

func TestAVersionOfACryptoKeyIsRefused(t *testing.T) {
	const key = "projects/p/locations/us-east4/keyRings/r/cryptoKeys/k"
	seed := simulator.DefaultSeed()
	seed.Keys = append(seed.Keys, simulator.KeySeed{URI: key})
	seed.Clusters = append(seed.Clusters, simulator.ClusterSeed{ID: "7c1d9e20-3a4b-4c5d-8e6f-0000000000aa", Name: "on-google", CloudProvider: "GCP",
		Regions: []simulator.RegionSeed{{Name: "us-east4", Key: key, AuthPrincipal: "cmek@p.iam.gserviceaccount.com"}}})
	world, err := simulator.New(seed)
	if err != nil {
		t.Fatal(err)
	}
	for uri, status := range map[string]int{key: 200, key + "/cryptoKeyVersions/1": 400, "//cloudkms.googleapis.com/" + key: 400, key + "/": 400} {
		spec := cmek.RegionSpec{Region: "us-east4", KeySpec: cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: cmek.KeyURI(uri), AuthPrincipal: "cmek@p.iam.gserviceaccount.com"}}
		call(t, world, "PUT", "/clusters/7c1d9e20-3a4b-4c5d-8e6f-0000000000aa/cmek", specBody(spec)).want(t, status, "")
	}
}
