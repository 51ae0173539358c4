package simulator

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// World is one organization at CockroachDB Cloud and the KMS keys of its clusters. It is safe for concurrent use; every
// request sees and leaves a consistent world.
type World struct {
	cloudRoutes *http.ServeMux

	mu       sync.Mutex
	rand     *rand.Rand
	agenda   agenda
	switches map[string]string
	// offset is the setting of the switch ClockOffset.
	offset time.Duration

	began        time.Time
	organization OrganizationSeed
	// organizationCreated is kept because the seed knows an age only.
	organizationCreated time.Time
	accounts            []*serviceAccount
	// apiKeys are by secret.
	apiKeys    map[string]*apiKey
	jwtIssuers []jwtIssuer
	clusters   clusterIndex
	audit      []auditEntry

	aws    awsKMS
	trail  trailRecords
	google googleCloud

	requests journal[Request]
	puts     journal[PUT]
	events   journal[Event]
	// eventsSeen is the sequence number up to which Events has returned.
	eventsSeen int
}

// Option changes how a world is made.
type Option func(*World)

// WithRand sets the source of all chance: ids, and the order where a switch asks for disorder. The world owns r from then
// on. Without this option the source is fixed, so that two worlds of one seed are alike.
func WithRand(r *rand.Rand) Option { return func(w *World) { w.rand = r } }

// New makes a world that begins now. The error lists everything that is wrong with the seed.
func New(seed Seed, options ...Option) (*World, error) {
	if err := seed.Validate(); err != nil {
		return nil, fmt.Errorf("read seed: %w", err)
	}
	w := &World{
		rand:         rand.New(rand.NewPCG(1, 2)),
		switches:     map[string]string{},
		organization: seed.Organization,
		apiKeys:      map[string]*apiKey{},
		google:       newGoogleCloud(),
		requests:     journal[Request]{most: mostRequests},
	}
	for _, option := range options {
		option(w)
	}
	for _, s := range switchTable {
		w.switches[s.Name] = s.Settings[0]
	}
	for name, value := range seed.Switches {
		w.switches[name] = value
	}
	w.offset = w.duration(ClockOffset)
	now := w.now()
	w.began = now
	w.organizationCreated = ago(now, seed.Organization.AgeDays)
	w.seedKeys(seed, now)
	w.seedClusters(seed.Clusters, now)
	for _, key := range seed.APIKeys {
		w.addAPIKey(key, now)
	}
	w.cloudRoutes = w.routeCloudAPI()
	return w, nil
}

// Handler serves everything at one address: the [World.Page] at GET /, the Cloud API under /api/, AWS KMS and what there is of IAM at POST /, the APIs
// of Google Cloud under their versions (/v1/, /v2/, /v3/), of Cloud Storage under /storage/ and /upload/, and the control surface of [World.Control] under /_simulator/.
func (w *World) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", w.Page())
	mux.Handle("/api/", w.CloudAPI())
	kms, iam, trail := w.AWSKMS(), w.AWSIAM(), w.AWSCloudTrail()
	mux.HandleFunc("POST /{$}", func(rw http.ResponseWriter, r *http.Request) {
		if isIAM(r) {
			iam.ServeHTTP(rw, r)
			return
		}
		if isCloudTrail(r) {
			trail.ServeHTTP(rw, r)
			return
		}
		kms.ServeHTTP(rw, r)
	})
	for _, version := range []string{"/v1/", "/v2/", "/v3/"} {
		mux.Handle(version, w.Google())
	}
	mux.HandleFunc("GET /v1/projects/{project}/secrets/{secret}/versions/{version}", w.secrets)
	mux.HandleFunc("POST /upload/storage/v1/b/{bucket}/o", w.writeObject)
	mux.HandleFunc("GET /storage/v1/b/{bucket}/o/{object}", w.readObject)
	mux.HandleFunc("GET /storage/v1/b/{bucket}/o", w.listObjects)
	mux.HandleFunc("DELETE /storage/v1/b/{bucket}/o/{object}", w.deleteObject)
	mux.Handle("/_simulator/", w.Control())
	return mux
}

// Rotate gives the key new material now, as its KMS does when an automatic rotation is due. It says nothing to the Cloud
// API; following is somebody else's work. Any replica of a multi-Region key names the whole key.
func (w *World) Rotate(key string) error {
	now := w.enter()
	defer w.mu.Unlock()
	if k := w.google.key(key); k != nil {
		w.rotateGoogleKey(k, now)
		return nil
	}
	k := w.aws.byARN[key]
	if k == nil {
		return fmt.Errorf("rotate key %q: no such key", key)
	}
	if k.state != stateEnabled {
		return fmt.Errorf("rotate key %q: its state is %s; only an Enabled key rotates", key, k.state)
	}
	w.completeRotation(k.lineage, automatic, now)
	return nil
}

// FailNextRotation makes the cluster's next CMEK operation fail in the region, with the message as user_message. The
// cluster is named by id or name.
func (w *World) FailNextRotation(cluster, region, message string) error {
	w.enter()
	defer w.mu.Unlock()
	c, err := w.clusters.find(cluster)
	if err != nil {
		return err
	}
	r := c.region(region)
	if r == nil {
		return fmt.Errorf("cluster %q has no region %q", cluster, region)
	}
	r.failNext = &message
	return nil
}

// Lock makes the cluster busy for a while with an operation of Cockroach Labs' own, such as CRDB_PATCH_RUNNING. The cluster
// is named by id or name, and must not be busy.
func (w *World) Lock(cluster, operationStatus string, duration time.Duration) error {
	now := w.enter()
	defer w.mu.Unlock()
	c, err := w.clusters.find(cluster)
	if err != nil {
		return err
	}
	if c.operation != nil {
		return fmt.Errorf("lock cluster %q: %s", cluster, c.operation.running)
	}
	w.begin(c, &operation{running: operationStatus, duration: duration}, now)
	return nil
}

// enter locks the world, brings it up to the present and returns the present by the world's clock. The caller unlocks.
func (w *World) enter() time.Time {
	w.mu.Lock()
	now := w.now()
	w.agenda.run(now)
	return now
}

// clock is the present in UTC, without the monotonic reading that would make equal times compare unequal.
func clock() time.Time { return time.Now().UTC().Round(0) }

// uuid draws an id from the world's random source.
func (w *World) uuid() string { return uuidOf(w.rand.Uint64(), w.rand.Uint64()) }

// derivedUUID is the id that belongs to the parts, always the same.
func derivedUUID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return uuidOf(binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:16]))
}

// uuidOf is a UUID of version 4 made of the bits given.
func uuidOf(a, b uint64) string {
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0x3fff|0x8000, b&0xffffffffffff)
}
