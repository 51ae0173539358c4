package simulator

import (
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Seed describes a world at its beginning. Ages count back from the moment the world is made, so one seed serves in any
// year. The file default.yaml is an example with every kind of cluster.
type Seed struct {
	Organization OrganizationSeed `yaml:"organization"`
	// AWSAccount owns the credentials that call the KMS, unless their access key id is itself an account id (12 digits).
	// Required if there are AWS keys.
	AWSAccount string `yaml:"aws_account"`
	// AWSCallers are callers of AWS KMS other than the administrator of the account.
	AWSCallers []AWSCallerSeed `yaml:"aws_callers"`
	APIKeys    []APIKeySeed    `yaml:"api_keys"`
	Keys       []KeySeed       `yaml:"keys"`
	// Google is what keys of Cloud KMS need beyond what their URIs and the clusters say.
	Google   GoogleSeed    `yaml:"google"`
	Clusters []ClusterSeed `yaml:"clusters"`
	// Switches sets switches by name; the others have their defaults. See [World.Switches].
	Switches map[string]string `yaml:"switches"`
}

// OrganizationSeed is the CockroachDB Cloud organization. All fields are required.
type OrganizationSeed struct {
	// ID is a UUID; it is also the external ID of the customer's AWS roles.
	ID    string `yaml:"id"`
	Label string `yaml:"label"`
	Name  string `yaml:"name"`
	// AgeDays is how long ago it was created.
	AgeDays int `yaml:"age_days"`
}

// AWSCallerSeed is the owner of an access key. Any other access key is that of a user with all permissions in IAM.
type AWSCallerSeed struct {
	// AccessKeyID is what the caller signs with; its secret is not checked.
	AccessKeyID string `yaml:"access_key_id"`
	// Principal is the ARN of a user or a role (not of a session).
	Principal string `yaml:"principal"`
	// Administrator: IAM allows the caller everything. Otherwise it may do what key policies and grants allow it by name.
	Administrator bool `yaml:"administrator"`
}

// GoogleSeed is what Google Cloud has beside keys. Projects of keys and of the service accounts that clusters act as are there anyway,
// and so are those service accounts.
type GoogleSeed struct {
	Projects []GoogleProjectSeed `yaml:"projects"`
	// Roles are custom ones.
	Roles []GoogleRoleSeed `yaml:"roles"`
	// Secrets are the contents of secrets by name, projects/P/secrets/S.
	Secrets map[string]string `yaml:"secrets"`
}

// GoogleProjectSeed is a project of Google Cloud.
type GoogleProjectSeed struct {
	ID string `yaml:"id"`
	// Number is derived from the id if it is left out.
	Number string `yaml:"number"`
	// Ancestors are the folders (folders/N) and the organization (organizations/N) above the project, nearest first.
	Ancestors []string `yaml:"ancestors"`
}

// GoogleRoleSeed is a custom role.
type GoogleRoleSeed struct {
	// Name is projects/P/roles/R or organizations/N/roles/R.
	Name        string   `yaml:"name"`
	Permissions []string `yaml:"permissions"`
}

// APIKeySeed is an API key of a service account. Keys with one service account share its rate limit.
type APIKeySeed struct {
	// Secret is the bearer token, CCDB1_ and 22 and _ and 40 characters. It must be a sample, never a real one.
	Secret         string `yaml:"secret"`
	ServiceAccount string `yaml:"service_account"`
	// Roles hold for the whole organization, for example CLUSTER_OPERATOR_WRITER.
	Roles []string `yaml:"roles"`
}

// KeySeed is a customer's key in AWS KMS or Cloud KMS. (A Key Vault key needs no seed: its URI says it all.)
type KeySeed struct {
	// URI is the key ARN, of the primary for a multi-Region key, or the CryptoKey's resource name. Required.
	URI cmek.KeyURI `yaml:"uri"`
	// Replicas are the other Regions of a multi-Region key.
	Replicas []string `yaml:"replicas"`
	// Alias is the alias name without "alias/"; replicas get it as well. AWS only; may be empty.
	Alias   string `yaml:"alias"`
	AgeDays int    `yaml:"age_days"`
	// Material is the id of the first key material; empty means one derived from the URI.
	Material string `yaml:"material"`
	// Rotations are the completed ones, oldest first.
	Rotations []RotationSeed `yaml:"rotations"`
	// RotationPeriodDays turns automatic rotation on; 0 means off.
	RotationPeriodDays int `yaml:"rotation_period_days"`
	// Origin is AWS_KMS (also if empty) or EXTERNAL.
	Origin string `yaml:"origin"`
	// Disabled keys cannot be used. On Google all versions are disabled.
	Disabled bool `yaml:"disabled"`
	// Policy is the key policy; empty means the one of CockroachDB's documentation for all principals that the clusters
	// use with this key. On Google it is the allow policy of the key, with the binding of that documentation if empty.
	Policy string `yaml:"policy"`
	// Tags are not part of a key's identity and are only shown. On Google they are labels.
	Tags map[string]string `yaml:"tags"`
}

// RotationSeed is one completed rotation: of an AWS key new material, of a key of Cloud KMS a new primary version.
type RotationSeed struct {
	AgeDays int `yaml:"age_days"`
	// Type is AUTOMATIC (also if empty) or ON_DEMAND. AWS only.
	Type string `yaml:"type"`
	// Material is the id of the material that became current; empty means a derived one.
	Material string `yaml:"material"`
}

// ClusterSeed is a cluster at CockroachDB Cloud.
type ClusterSeed struct {
	// ID is a UUID, Name unique. Both are required.
	ID       string `yaml:"id"`
	Name     string `yaml:"name"`
	ParentID string `yaml:"parent_id"`
	// Plan is ADVANCED (also if empty), STANDARD or BASIC.
	Plan string `yaml:"plan"`
	// CloudProvider is AWS (also if empty), GCP or AZURE.
	CloudProvider string `yaml:"cloud_provider"`
	// AccountID is the cloud account or project that Cockroach Labs runs the cluster in.
	AccountID string            `yaml:"account_id"`
	AgeDays   int               `yaml:"age_days"`
	Version   string            `yaml:"version"`
	Labels    map[string]string `yaml:"labels"`
	// DeleteProtection refuses DELETE.
	DeleteProtection bool `yaml:"delete_protection"`
	// Revoked clusters have a CMEK that was revoked a day ago.
	Revoked bool         `yaml:"revoked"`
	Regions []RegionSeed `yaml:"regions"`
	// FailNextRotation has the next operation fail in the regions named.
	FailNextRotation []FailureSeed `yaml:"fail_next_rotation"`
	Backups          BackupSeed    `yaml:"backups"`
}

// RegionSeed is a region of a cluster with its key. Either every region of a cluster has a key or none.
type RegionSeed struct {
	Name string `yaml:"name"`
	// Nodes is 3 if left out.
	Nodes         int            `yaml:"nodes"`
	Key           cmek.KeyURI    `yaml:"key"`
	AuthPrincipal cmek.Principal `yaml:"auth_principal"`
	// Behind is how many rotations of its key the store key has missed; 0 means that it is wrapped under the newest.
	Behind int `yaml:"behind"`
}

// FailureSeed is a failure waiting to happen.
type FailureSeed struct {
	Region string `yaml:"region"`
	// Message becomes the key's user_message.
	Message string `yaml:"message"`
}

// BackupSeed is the configuration of managed backups: 30 days of retention and 24 h between backups if left out.
type BackupSeed struct {
	RetentionDays    int `yaml:"retention_days"`
	FrequencyMinutes int `yaml:"frequency_minutes"`
}

//go:embed default.yaml
var defaultSeed []byte

// SampleAPIKey is the default seed's key for keyturn: plainly a sample, valid nowhere but here. Its role is
// CLUSTER_OPERATOR_WRITER.
const SampleAPIKey = "CCDB1_SAMPLEsampleSAMPLEsamp_SAMPLEsampleSAMPLEsampleSAMPLEsampleSAMP"

// DefaultSeed is a small company on AWS: six clusters, one for each way to use a CMEK, and one without.
func DefaultSeed() Seed {
	seed, err := LoadSeed(defaultSeed)
	if err != nil {
		// The file is compiled in, and the tests load it.
		panic(fmt.Errorf("load default seed: %w", err))
	}
	return seed
}

// LoadSeed reads a seed from YAML or JSON. The error names the field at fault and, where there is one, the line.
func LoadSeed(data []byte) (Seed, error) {
	var seed Seed
	if err := yaml.UnmarshalWithOptions(data, &seed, yaml.Strict()); err != nil {
		return Seed{}, fmt.Errorf("parse seed: %w", err)
	}
	if err := seed.Validate(); err != nil {
		return Seed{}, err
	}
	return seed, nil
}

// FleetSeed is a synthetic fleet on AWS with n clusters of so many regions each (1 to 8), for load and scale. Ten clusters
// share a key per region, a single-Region key in turn with one of a multi-Region key's replicas.
func FleetSeed(n, regions int) Seed {
	names := fleetRegions[:min(max(regions, 1), len(fleetRegions))]
	seed := Seed{Organization: DefaultSeed().Organization, APIKeys: DefaultSeed().APIKeys, AWSAccount: fleetAccount}
	for i := range n {
		group := i / 10
		multiRegion := group%2 == 1
		if i%10 == 0 {
			seed.Keys = append(seed.Keys, fleetKeys(group, multiRegion, names)...)
		}
		cluster := ClusterSeed{
			ID: derivedUUID("cluster", strconv.Itoa(i)), Name: fmt.Sprintf("fleet-%05d", i),
			AccountID: fmt.Sprintf("9%011d", i), AgeDays: 500, Labels: map[string]string{"team": fmt.Sprintf("team-%d", group)},
		}
		for _, region := range names {
			cluster.Regions = append(cluster.Regions, RegionSeed{
				Name: region, Nodes: 3, Key: fleetKeyURI(group, multiRegion, region),
				AuthPrincipal: "arn:aws:iam::" + fleetAccount + ":role/cockroachdb-cmek",
			})
		}
		seed.Clusters = append(seed.Clusters, cluster)
	}
	return seed
}

const fleetAccount = "444455556666"

var fleetRegions = []string{"us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-1", "ap-northeast-1",
	"ca-central-1", "sa-east-1"}

func fleetKeys(group int, multiRegion bool, regions []string) []KeySeed {
	if multiRegion {
		return []KeySeed{{URI: fleetKeyURI(group, true, regions[0]), Replicas: regions[1:], AgeDays: 600}}
	}
	var keys []KeySeed
	for _, region := range regions {
		keys = append(keys, KeySeed{URI: fleetKeyURI(group, false, region), AgeDays: 600})
	}
	return keys
}

func fleetKeyURI(group int, multiRegion bool, region string) cmek.KeyURI {
	if multiRegion {
		return cmek.KeyURI(fmt.Sprintf("arn:aws:kms:%s:%s:key/mrk-%032x", region, fleetAccount, group+1))
	}
	return cmek.KeyURI("arn:aws:kms:" + region + ":" + fleetAccount + ":key/" + derivedUUID("key", strconv.Itoa(group), region))
}

// ago is the moment so many days before now.
func ago(now time.Time, days int) time.Time { return now.Add(-time.Duration(days) * 24 * time.Hour) }
