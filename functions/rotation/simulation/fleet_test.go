package simulation_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// share is the part of the fleet that one installation follows, and what people do to it.
type share struct {
	name    string
	keyType cmek.KeyType
	// apiKey is that of the installation's service account at Cockroach Labs.
	apiKey, account string
	// stream is the source of what an operator does.
	stream uint64
	members
	// disabling are the keys that are disabled or denied for a while, holding those that are held.
	disabling []string
	holding   []cmek.KeyURI
	// moved is the cluster that a person moves to the spare key, or adds a region to; deleted the one that is deleted.
	moved, deleted string
	spare, added   cmek.RegionSpec
	removed        struct{ cluster, region string }
}

const (
	spareGoogleKey = "projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/spare"
	walletKey      = "projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/wallet"
	booksKey       = "projects/acme/locations/us-east1/keyRings/crdb/cryptoKeys/books"
	booksEU        = "projects/acme/locations/europe-west1/keyRings/crdb/cryptoKeys/books"
	projectNumber  = "700000000001"
	googleAccount  = "cmek@acme.iam.gserviceaccount.com"

	wallet = "7c1d9e20-3a4b-4c5d-8e6f-0000000000b1"
	cart   = "7c1d9e20-3a4b-4c5d-8e6f-0000000000b2"
	books  = "7c1d9e20-3a4b-4c5d-8e6f-0000000000b3"

	googleAPIKey = "CCDB1_SAMPLEgoogleSAMPLEgoog_SAMPLEgoogleSAMPLEgoogleSAMPLEgoogleSAMP"
)

// byNumber is the key with its project under its number.
func byNumber(key cmek.KeyURI) cmek.KeyURI { return key.In(projectNumber) }

// members are the clusters of one cloud, with those that people do something to and the keys of these.
type members struct{ all, clusters, rotating []string }

// fleets are the clusters of a schedule, of which each has one of each cloud's: all of them would take too long for what they add. On
// Google Cloud, cart shares wallet's key and names it by the number of its project.
var fleets = map[cmek.KeyType][]members{
	cmek.AWSKMS: {
		{[]string{payments, checkout, orders}, []string{payments, checkout, orders}, []string{paymentsKey, ordersEast, ordersWest}},
		{[]string{payments, checkout, ledgerEU, archived}, []string{payments, checkout, ledgerEU}, []string{paymentsKey, archiveKey, ledgerKey}},
	},
	cmek.GCPCloudKMS: {
		{[]string{wallet, cart}, []string{wallet, cart}, []string{walletKey}},
		{[]string{wallet, books}, []string{wallet, books}, []string{walletKey, booksKey, booksEU}},
	},
}

func (m members) has(cluster string) bool { return slices.Contains(m.all, cluster) }

// simulatedFleet is some clusters of the default fleet, on AWS, and some on Google Cloud. Each cloud has one more key, to which a person
// may move a cluster.
func simulatedFleet(aws, onGoogle members) simulator.Seed {
	seed := simulator.DefaultSeed()
	seed.Clusters = slices.DeleteFunc(seed.Clusters, func(c simulator.ClusterSeed) bool { return !aws.has(c.ID) })
	seed.Keys = append(seed.Keys, simulator.KeySeed{URI: spareKey, AgeDays: 100,
		Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["111122223333","arn:aws:iam::111122223333:role/payments-cmek"]},"Action":"kms:*","Resource":"*"}]}`})

	seed.APIKeys = append(seed.APIKeys, simulator.APIKeySeed{Secret: googleAPIKey, ServiceAccount: "keyturn-google", Roles: []string{"CLUSTER_OPERATOR_WRITER"}})
	seed.Google.Projects = append(seed.Google.Projects, simulator.GoogleProjectSeed{ID: "acme", Number: projectNumber})
	seed.Keys = append(seed.Keys,
		simulator.KeySeed{URI: walletKey, AgeDays: 400, RotationPeriodDays: 90, Rotations: []simulator.RotationSeed{{AgeDays: 30}}},
		simulator.KeySeed{URI: booksKey, AgeDays: 400, Rotations: []simulator.RotationSeed{{AgeDays: 200}, {AgeDays: 100}}},
		simulator.KeySeed{URI: booksEU, AgeDays: 400},
		simulator.KeySeed{URI: spareGoogleKey, AgeDays: 100,
			Policy: `{"bindings":[{"role":"roles/cloudkms.cryptoKeyEncrypterDecrypter","members":["serviceAccount:` + googleAccount + `"]}]}`})
	for _, c := range []simulator.ClusterSeed{
		{ID: wallet, Name: "wallet", Regions: []simulator.RegionSeed{{Name: "us-east1", Key: walletKey}}},
		{ID: cart, Name: "cart", Regions: []simulator.RegionSeed{{Name: "us-east1", Key: byNumber(walletKey)}}},
		{ID: books, Name: "books", Regions: []simulator.RegionSeed{{Name: "us-east1", Key: booksKey}, {Name: "europe-west1", Key: byNumber(booksEU)}}},
	} {
		c.CloudProvider, c.AccountID, c.AgeDays = "GCP", "crl-prod-abc", 300
		for i := range c.Regions {
			c.Regions[i].AuthPrincipal = googleAccount
		}
		if onGoogle.has(c.ID) {
			seed.Clusters = append(seed.Clusters, c)
		}
	}
	return seed
}

func onAWS(m members) *share {
	spec := func(region string) cmek.RegionSpec {
		return cmek.RegionSpec{Region: region, KeySpec: cmek.KeySpec{Type: cmek.AWSKMS, URI: spareKey, AuthPrincipal: "arn:aws:iam::111122223333:role/payments-cmek"}}
	}
	s := &share{
		name: "AWS", keyType: cmek.AWSKMS, apiKey: simulator.SampleAPIKey, account: "keyturn", stream: 7, members: m,
		disabling: []string{paymentsKey, m.rotating[len(m.rotating)-1]}, holding: []cmek.KeyURI{paymentsKey, ordersWest, spareKey},
		moved: payments, deleted: checkout, spare: spec("us-east-1"), added: spec("us-east-2"),
	}
	s.removed.cluster, s.removed.region = orders, "eu-west-1"
	return s
}

func onGoogle(m members) *share {
	spec := func(region string) cmek.RegionSpec {
		return cmek.RegionSpec{Region: region, KeySpec: cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: spareGoogleKey, AuthPrincipal: googleAccount}}
	}
	s := &share{
		name: "Google Cloud", keyType: cmek.GCPCloudKMS, apiKey: googleAPIKey, account: "keyturn-google", stream: 12, members: m,
		disabling: []string{walletKey, booksKey}, holding: []cmek.KeyURI{walletKey, booksKey, spareGoogleKey},
		moved: wallet, deleted: m.clusters[1], spare: spec("us-east1"), added: spec("us-west1"),
	}
	s.removed.cluster, s.removed.region = books, "europe-west1"
	return s
}

// exact is the one name of a key at which its state is: on Google Cloud a project has two.
func (s *share) exact(key string) string {
	if s.keyType == cmek.GCPCloudKMS {
		return string(cmek.KeyURI(key).In("acme"))
	}
	return key
}

// identity is the one name of a key at which its version is: replicas of a key on AWS share it.
func (s *share) identity(key string) string { return cmek.KeyURI(s.exact(key)).Canonical() }

// delivers is an event as the installation is sent it, if it is its cloud's. On Google Cloud some name the project by its number.
func (s *share) delivers(payload []byte, source *rand.Rand) (sent []byte, ours bool) {
	var push struct {
		Message *struct {
			Data []byte `json:"data"`
		} `json:"message"`
	}
	onGoogle := json.Unmarshal(payload, &push) == nil && push.Message != nil
	if onGoogle != (s.keyType == cmek.GCPCloudKMS) {
		return nil, false
	}
	if !onGoogle || source.IntN(3) > 0 {
		return payload, true
	}
	entry := bytes.ReplaceAll(push.Message.Data, []byte(`"project_id":"acme"`), []byte(`"project_id":"`+projectNumber+`"`))
	entry = bytes.ReplaceAll(entry, []byte("projects/acme/"), []byte("projects/"+projectNumber+"/"))
	encode := base64.StdEncoding.EncodeToString
	return bytes.Replace(payload, []byte(encode(push.Message.Data)), []byte(encode(entry)), 1), true
}

// planVersions draws what is done to the versions of keys, which AWS does not have: a primary is set back, and versions that are not
// primary are disabled for a while. It has a source of its own.
func (s *schedule) planVersions(start time.Time) {
	if s.keyType != cmek.GCPCloudKMS {
		return
	}
	source := rand.New(rand.NewPCG(s.seed, 13))
	at := func() time.Time {
		return start.Add(10*time.Minute + time.Duration(source.Int64N(int64(troubled-time.Hour))))
	}
	add := func(at time.Time, name string, do func() error) { s.actions = append(s.actions, action{at, name, do}) }
	for _, key := range s.rotating {
		if source.IntN(4) == 0 {
			from := at()
			add(from, "rotate "+key, func() error { return s.rotate(key) })
			add(from.Add(time.Duration(source.Int64N(int64(90*time.Minute)))), "set back the primary of "+key, func() error { return s.setBack(key) })
		}
		if source.IntN(4) == 0 {
			from := at()
			add(from, "disable version 1 of "+key, func() error { return s.setVersion(key, "1", "DISABLED") })
			s.persist(from.Add(time.Duration(source.Int64N(int64(time.Hour)))), "enable version 1 of "+key, func() error { return s.setVersion(key, "1", "ENABLED") })
		}
	}
}

// rotateOnGoogle makes a new version primary: by the key's schedule, or by hand.
func (s *schedule) rotateOnGoogle(key string) error {
	if s.rand.IntN(2) == 0 {
		if err := s.world.Rotate(key); err != nil {
			return err
		}
		return s.newPrimary(key)
	}
	var made struct{ Name string }
	if err := s.callKMS("POST", key+"/cryptoKeyVersions", "{}", &made); err != nil {
		return err
	}
	return s.setPrimary(key, made.Name[strings.LastIndex(made.Name, "/")+1:])
}

// setBack makes the version before the primary the primary again. A disabled version cannot encrypt, so nobody chooses one.
func (s *schedule) setBack(key string) error {
	primary, err := s.primaryOf(key)
	if err != nil {
		return err
	}
	var number int
	if _, err := fmt.Sscan(primary, &number); err != nil || number < 2 {
		return fmt.Errorf("version %q has none before it", primary)
	}
	before := fmt.Sprint(number - 1)
	if s.memory.versions[key+"/"+before] {
		return fmt.Errorf("version %s is disabled", before)
	}
	s.memory.setBack[s.identity(key)]++
	return s.setPrimary(key, before)
}

func (s *schedule) setPrimary(key, version string) error {
	if err := s.callKMS("POST", key+":updatePrimaryVersion", `{"cryptoKeyVersionId":"`+version+`"}`, nil); err != nil {
		return err
	}
	return s.newPrimary(key)
}

// newPrimary remembers that the key has another primary, and whether it can be used.
func (s *schedule) newPrimary(key string) error {
	s.memory.rotated[s.identity(key)] = append(s.memory.rotated[s.identity(key)], time.Now())
	return s.noteState(key)
}

func (s *schedule) setVersion(key, version, state string) error {
	if err := s.callKMS("PATCH", key+"/cryptoKeyVersions/"+version+"?updateMask=state", `{"state":"`+state+`"}`, nil); err != nil {
		return err
	}
	s.memory.versions[key+"/"+version] = state == "DISABLED"
	return s.noteState(key)
}

// noteState remembers whether the primary is disabled, and since when.
func (s *schedule) noteState(key string) error {
	primary, err := s.primaryOf(key)
	if err != nil {
		return err
	}
	_, was := s.memory.disabled[key]
	switch is := s.memory.versions[key+"/"+primary]; {
	case is && !was:
		s.memory.disabled[key] = time.Now()
		s.memory.unusable.begin(key)
	case !is && was:
		delete(s.memory.disabled, key)
		s.memory.unusable.end(key)
	}
	return nil
}

// ableOnGoogle disables the primary, or enables every version.
func (s *schedule) ableOnGoogle(key string, enabled bool) error {
	if !enabled {
		primary, err := s.primaryOf(key)
		if err != nil {
			return err
		}
		return s.setVersion(key, primary, "DISABLED")
	}
	if err := s.deny(key, false); err != nil {
		return err
	}
	for name, disabled := range s.memory.versions {
		if version, ok := strings.CutPrefix(name, key+"/"); ok && disabled {
			if err := s.setVersion(key, version, "ENABLED"); err != nil {
				return err
			}
		}
	}
	return nil
}

// deny makes reads of the key fail, or no more.
func (s *schedule) deny(key string, denied bool) error {
	if s.keyType == cmek.GCPCloudKMS {
		return s.world.DenyGoogle(key, denied, "cloudkms.cryptoKeys.get", "cloudkms.cryptoKeyVersions.list")
	}
	return s.world.DenyKMS(key, denied)
}

// primaryOf is the number of the key's primary version.
func (s *schedule) primaryOf(key string) (string, error) {
	var read struct{ Primary struct{ Name string } }
	if err := s.callKMS("GET", key, "", &read); err != nil {
		return "", err
	}
	return read.Primary.Name[strings.LastIndex(read.Primary.Name, "/")+1:], nil
}

// callKMS calls the REST API of Cloud KMS as the key's owner.
func (s *schedule) callKMS(method, path, body string, answer any) error {
	request := httptest.NewRequestWithContext(context.Background(), method, "/v1/"+path, strings.NewReader(body))
	request.Header.Set("Authorization", "Bearer owner")
	recorder := httptest.NewRecorder()
	s.world.Google().ServeHTTP(recorder, request)
	if recorder.Code != http.StatusOK {
		return fmt.Errorf("%s %s: %d %s", method, path, recorder.Code, recorder.Body)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(recorder.Body.Bytes(), answer)
}
