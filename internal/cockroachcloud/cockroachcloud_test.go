package cockroachcloud

import (
	"context"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/cmek"
)

const (
	testKey   = "CCDB1_abcdefghijklmnopqrstuv_0123456789012345678901234567890123456789"
	clusterID = "11111111-2222-4333-8444-555555555555"
)

var testSpecs = []cmek.RegionSpec{{
	Region: "us-east-1",
	KeySpec: cmek.KeySpec{
		Type:          cmek.AWSKMS,
		URI:           "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		AuthPrincipal: "arn:aws:iam::111122223333:role/cockroach",
	},
}}

// westCluster is the cluster as it was read, with one region; testAdditions adds the region of testSpecs.
var (
	westCluster   = cmek.Cluster{ID: clusterID, Name: "orders", State: cmek.StateCreated, Regions: []cmek.Region{{Name: "us-west-2", NodeCount: 3}}}
	testAdditions = []cmek.AddedRegion{{Region: "us-east-1", Nodes: 3, KeySpec: testSpecs[0].KeySpec}}
)

// anyAnswer has every field that some call needs, so that each takes it for its own.
const anyAnswer = `{"id":"` + clusterID + `","name":"orders","state":"CREATED","status":"ENABLED","region_infos":[{"region":"us-east-1"}],` +
	`"clusters":[],"nodes":[],"backups":[],"entries":[],"enabled":false,"offset_duration":"0s","window_duration":"21600s"}`

// roundTripper is a server within the process: no sockets, so that it works in a synctest bubble.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// inProcess is an HTTP client whose requests go to the handler.
func inProcess(handler http.HandlerFunc) *http.Client {
	return &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
		if r.Body == nil {
			r = r.WithContext(r.Context())
			r.Body = http.NoBody // As in any server.
		}
		w := httptest.NewRecorder()
		handler(w, r)
		return w.Result(), nil
	})}
}

// answering is a handler that always gives the same answer; header lines are "Name: value".
func answering(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, line := range header {
			name, value, _ := strings.Cut(line, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// inTurn answers the first request with the first handler and so on; the last one stays.
func inTurn(handlers ...http.HandlerFunc) http.HandlerFunc {
	calls := 0
	return func(w http.ResponseWriter, r *http.Request) {
		calls++
		handlers[min(calls, len(handlers))-1](w, r)
	}
}

// newClient is a client that is as fast as it can and does not retry, unless changed.
func newClient(t testing.TB, httpClient *http.Client, change ...func(*Options)) *Client {
	t.Helper()
	o := Options{
		APIKey:          StaticAPIKey(testKey),
		HTTPClient:      httpClient,
		Rate:            math.Inf(1),
		MaxReadAttempts: 1,
		UserAgent:       "keyturn/test",
		Rand:            rand.New(rand.NewPCG(1, 2)),
	}
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return c
}

// reads are all calls that only read, by name.
var reads = map[string]func(context.Context, *Client) error{
	"ClusterPage":  func(ctx context.Context, c *Client) error { _, _, err := c.ClusterPage(ctx, ""); return err },
	"Clusters":     func(ctx context.Context, c *Client) error { return firstError(c.Clusters(ctx)) },
	"Cluster":      func(ctx context.Context, c *Client) error { _, err := c.Cluster(ctx, clusterID); return err },
	"CMEK":         func(ctx context.Context, c *Client) error { _, err := c.CMEK(ctx, clusterID); return err },
	"CMEKDocument": func(ctx context.Context, c *Client) error { _, _, err := c.CMEKDocument(ctx, clusterID); return err },
	"Nodes":        func(ctx context.Context, c *Client) error { _, err := c.Nodes(ctx, clusterID); return err },
	"Organization": func(ctx context.Context, c *Client) error { _, err := c.Organization(ctx); return err },
	"AuditLogEvents": func(ctx context.Context, c *Client) error {
		return firstError(c.AuditLogEvents(ctx, testTime))
	},
	"BackupConfig": func(ctx context.Context, c *Client) error { _, err := c.BackupConfig(ctx, clusterID); return err },
	"Backups":      func(ctx context.Context, c *Client) error { return firstError(c.Backups(ctx, clusterID, testTime)) },
	"MaintenanceWindow": func(ctx context.Context, c *Client) error {
		_, err := c.MaintenanceWindow(ctx, clusterID)
		return err
	},
}

// writes are all calls that change something, by name.
var writes = map[string]func(context.Context, *Client) cmek.Answer{
	"EnableCMEK": func(ctx context.Context, c *Client) cmek.Answer { return c.EnableCMEK(ctx, clusterID, testSpecs) },
	"RotateCMEK": func(ctx context.Context, c *Client) cmek.Answer { return c.RotateCMEK(ctx, clusterID, testSpecs) },
	"RevokeCMEK": func(ctx context.Context, c *Client) cmek.Answer { return c.RevokeCMEK(ctx, clusterID) },
	"AddRegions": func(ctx context.Context, c *Client) cmek.Answer {
		return c.AddRegions(ctx, westCluster, testAdditions)
	},
	"SetLabels": func(ctx context.Context, c *Client) cmek.Answer {
		return c.SetLabels(ctx, clusterID, map[string]string{"keyturn": "off"})
	},
}

func firstError[T any](seq func(func(T, error) bool)) error {
	for _, err := range seq {
		if err != nil {
			return err
		}
	}
	return nil
}
