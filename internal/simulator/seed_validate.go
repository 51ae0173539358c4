package simulator

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

var (
	uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	// An API key's secret: docs of the CockroachDB Cloud API, "CCDB1_<22>_<40>".
	secretPattern    = regexp.MustCompile(`^CCDB1_[0-9A-Za-z]{22}_[0-9A-Za-z]{40}$`)
	accountPattern   = regexp.MustCompile(`^[0-9]{12}$`)
	accessKeyPattern = regexp.MustCompile(`^[A-Z0-9]{4,128}$`)
	callerPattern    = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:(user|role)/[\w+=,.@/-]+$`)
	materialPattern  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Validate reports everything that is wrong with the seed at once, each with its place and what to write instead.
func (s Seed) Validate() error {
	v := validation{}
	v.check(uuidPattern.MatchString(s.Organization.ID), "organization.id", s.Organization.ID, "write a UUID in lower case")
	v.check(s.Organization.Label != "", "organization.label", "", "write the organization's label")
	v.check(s.Organization.Name != "", "organization.name", "", "write the organization's name")
	for i, key := range s.APIKeys {
		v.apiKey(fmt.Sprintf("api_keys[%d]", i), key)
	}
	for i, caller := range s.AWSCallers {
		place := fmt.Sprintf("aws_callers[%d]", i)
		v.check(accessKeyPattern.MatchString(caller.AccessKeyID), place+".access_key_id", caller.AccessKeyID, "write 4 to 128 capital letters and digits")
		v.check(callerPattern.MatchString(caller.Principal), place+".principal", caller.Principal, "write the ARN of an IAM user or role")
	}
	v.keys(s)
	v.google(s.Google)
	v.clusters(s)
	for _, name := range sortedKeys(s.Switches) {
		if err := checkSwitch(name, s.Switches[name]); err != nil {
			v.errs = append(v.errs, fmt.Errorf("switches: %w", err))
		}
	}
	return errors.Join(v.errs...)
}

// validation collects what is wrong with a seed.
type validation struct{ errs []error }

// check adds an error unless ok: the field's place, its value, and how to fix it.
func (v *validation) check(ok bool, field, value, fix string) {
	if !ok {
		v.errs = append(v.errs, fmt.Errorf("%s: %q: %s", field, value, fix))
	}
}

func (v *validation) apiKey(place string, key APIKeySeed) {
	// A secret is not repeated in an error, not even a sample.
	v.check(secretPattern.MatchString(key.Secret), place+".secret", "…",
		"write CCDB1_, 22 letters or digits, _, 40 letters or digits")
	v.check(key.ServiceAccount != "", place+".service_account", "", "write the service account's name")
	for _, role := range key.Roles {
		v.check(slices.Contains(knownRoles, role), place+".roles", role, "write any of "+strings.Join(knownRoles, ", "))
	}
}

func (v *validation) keys(s Seed) {
	seen := map[string]bool{}
	for i, key := range s.Keys {
		place := fmt.Sprintf("keys[%d]", i)
		if _, err := cmek.ParseKeyURI(string(key.URI)); err != nil {
			v.errs = append(v.errs, fmt.Errorf("%s.uri: %w", place, err))
			continue
		}
		v.check(!seen[key.URI.Canonical()], place+".uri", string(key.URI),
			"write each key once; a multi-Region key lists its other Regions as replicas")
		seen[key.URI.Canonical()] = true
		switch key.URI.Type() {
		case cmek.AWSKMS:
			v.check(accountPattern.MatchString(s.AWSAccount), "aws_account", s.AWSAccount,
				"write the 12 digits of the AWS account that calls the KMS")
			v.awsKey(place, key)
		case cmek.GCPCloudKMS:
			v.googleKey(place, key)
		case cmek.AzureKeyVault:
			v.check(false, place+".uri", string(key.URI), "leave Key Vault keys out; name them in the cluster's regions only")
		}
	}
}

func (v *validation) awsKey(place string, key KeySeed) {
	v.check(!key.URI.IsAlias(), place+".uri", string(key.URI), "write the key ARN, and the alias as alias")
	v.check(len(key.Replicas) == 0 || key.URI.IsMultiRegion(), place+".replicas", strings.Join(key.Replicas, " "),
		"only a key id that begins with mrk- has replicas")
	v.check(!slices.Contains(key.Replicas, key.URI.Location()), place+".replicas", key.URI.Location(),
		"leave out the primary's own Region")
	v.check(key.Material == "" || materialPattern.MatchString(key.Material), place+".material", key.Material,
		"write 64 hex digits in lower case")
	v.check(slices.Contains([]string{"", originAWS, originExternal}, key.Origin), place+".origin", key.Origin,
		"write AWS_KMS or EXTERNAL")
	v.check(key.RotationPeriodDays == 0 || validRotationPeriod(key.RotationPeriodDays), place+".rotation_period_days",
		strconv.Itoa(key.RotationPeriodDays), "write 90 to 2560, or 0 for none")
	v.check(key.Policy == "" || validPolicy(key.Policy), place+".policy", key.Policy,
		"write a JSON policy document with Statement")
	age := key.AgeDays
	for i, rotation := range key.Rotations {
		at := fmt.Sprintf("%s.rotations[%d]", place, i)
		v.check(rotation.AgeDays >= 0 && rotation.AgeDays <= age, at+".age_days", strconv.Itoa(rotation.AgeDays),
			"list rotations oldest first, none older than the key")
		v.check(slices.Contains([]string{"", automatic, onDemand}, rotation.Type), at+".type", rotation.Type,
			"write AUTOMATIC or ON_DEMAND")
		v.check(rotation.Material == "" || materialPattern.MatchString(rotation.Material), at+".material",
			rotation.Material, "write 64 hex digits in lower case")
		age = rotation.AgeDays
	}
}

func (v *validation) googleKey(place string, key KeySeed) {
	_, version, _ := cmek.ParseCryptoKeyName(string(key.URI))
	v.check(version.IsZero(), place+".uri", string(key.URI), "write the key without a version")
	v.check(key.RotationPeriodDays >= 0, place+".rotation_period_days", strconv.Itoa(key.RotationPeriodDays), "write days, or 0 for none")
	if key.Policy != "" {
		_, err := parseAllowPolicy([]byte(key.Policy))
		v.check(err == nil, place+".policy", key.Policy, "write an IAM allow policy as JSON")
	}
	age := key.AgeDays
	for i, rotation := range key.Rotations {
		v.check(rotation.AgeDays >= 0 && rotation.AgeDays <= age, fmt.Sprintf("%s.rotations[%d].age_days", place, i),
			strconv.Itoa(rotation.AgeDays), "list rotations oldest first, none older than the key")
		age = rotation.AgeDays
	}
}

var (
	googleNumberPattern = regexp.MustCompile(`^[0-9]{6,19}$`)
	googleNodePattern   = regexp.MustCompile(`^(folders|organizations)/[0-9]+$`)
)

func (v *validation) google(s GoogleSeed) {
	for i, p := range s.Projects {
		place := fmt.Sprintf("google.projects[%d]", i)
		v.check(cmek.IsProject(p.ID), place+".id", p.ID, "write the id of a project")
		v.check(p.Number == "" || googleNumberPattern.MatchString(p.Number), place+".number", p.Number, "write 6 to 19 digits, or nothing")
		for _, node := range p.Ancestors {
			v.check(googleNodePattern.MatchString(node), place+".ancestors", node, "write folders/N or organizations/N, nearest first")
		}
	}
	for i, r := range s.Roles {
		v.check(roleName.MatchString(r.Name) && !strings.HasPrefix(r.Name, "roles/"), fmt.Sprintf("google.roles[%d].name", i), r.Name,
			"write projects/P/roles/R or organizations/N/roles/R")
	}
}

func (v *validation) clusters(s Seed) {
	generations := s.generations()
	ids, names := map[string]bool{}, map[string]bool{}
	for i, c := range s.Clusters {
		place := fmt.Sprintf("clusters[%d]", i)
		v.check(uuidPattern.MatchString(c.ID) && !ids[c.ID], place+".id", c.ID,
			"write a UUID in lower case that no other cluster has")
		v.check(c.Name != "" && !names[c.Name], place+".name", c.Name, "write a name that no other cluster has")
		ids[c.ID], names[c.Name] = true, true
		v.check(slices.Contains([]string{"", cmek.PlanAdvanced, "STANDARD", "BASIC"}, c.Plan), place+".plan", c.Plan,
			"write ADVANCED, STANDARD or BASIC")
		_, known := keyTypes[c.provider()]
		v.check(known, place+".cloud_provider", c.CloudProvider, "write AWS, GCP or AZURE")
		v.check(len(c.Regions) > 0, place+".regions", "", "write at least one region")
		v.regions(place, c, generations)
		for j, failure := range c.FailNextRotation {
			v.check(slices.ContainsFunc(c.Regions, func(r RegionSeed) bool { return r.Name == failure.Region }),
				fmt.Sprintf("%s.fail_next_rotation[%d].region", place, j), failure.Region, "write a region of this cluster")
		}
	}
}

func (v *validation) regions(place string, c ClusterSeed, generations map[string]int) {
	withKey, names := 0, map[string]bool{}
	for i, r := range c.Regions {
		at := fmt.Sprintf("%s.regions[%d]", place, i)
		v.check(r.Name != "" && !names[r.Name], at+".name", r.Name, "write a region name, each once")
		names[r.Name] = true
		if r.Key == "" {
			continue
		}
		withKey++
		v.check(r.AuthPrincipal != "", at+".auth_principal", "",
			"write who the cluster acts as: an IAM role ARN, a service account or a tenant id")
		v.check(r.Key.Type() == keyTypes[c.provider()], at+".key", string(r.Key),
			"write a key of the cluster's own cloud provider")
		known, exists := generations[string(r.Key)]
		v.check(exists || r.Key.Type() == cmek.AzureKeyVault, at+".key", string(r.Key),
			"add the key to keys, or the Region to its replicas")
		v.check(r.Behind >= 0 && (r.Behind == 0 || r.Behind < known), at+".behind", strconv.Itoa(r.Behind),
			"write at most the number of the key's rotations")
	}
	v.check(withKey == 0 || withKey == len(c.Regions), place+".regions", "", "give every region a key or none")
	v.check(!c.Revoked || withKey > 0, place+".revoked", "true", "only a cluster with keys can be revoked")
}

// generations counts the key materials by URI, replicas included, and a key of Cloud KMS by either name of its project.
func (s Seed) generations() map[string]int {
	counts := map[string]int{}
	for _, key := range s.Keys {
		counts[string(key.URI)] = 1 + len(key.Rotations)
		for _, region := range key.Replicas {
			counts[string(inRegion(key.URI, region))] = 1 + len(key.Rotations)
		}
		for _, p := range s.Google.Projects {
			if key.URI.Type() == cmek.GCPCloudKMS && key.URI.Account() == p.ID && p.Number != "" {
				counts[string(key.URI.In(p.Number))] = 1 + len(key.Rotations)
			}
		}
	}
	return counts
}

func (c ClusterSeed) provider() string {
	if c.CloudProvider == "" {
		return "AWS"
	}
	return c.CloudProvider
}

// keyTypes is the kind of key that a cloud provider's clusters take: the key must be in the same cloud as the cluster.
var keyTypes = map[string]cmek.KeyType{"AWS": cmek.AWSKMS, "GCP": cmek.GCPCloudKMS, "AZURE": cmek.AzureKeyVault}

// inRegion is the ARN of a multi-Region key's replica.
func inRegion(uri cmek.KeyURI, region string) cmek.KeyURI {
	parts := strings.SplitN(string(uri), ":", 6)
	parts[3] = region
	return cmek.KeyURI(strings.Join(parts, ":"))
}
