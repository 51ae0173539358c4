package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/ledger"
)

// ProvisionRequest asks what the customer's account needs before CMEK can be enabled on a cluster.
type ProvisionRequest struct {
	ClusterID string
	// Type is the cloud that was asked for; "" for the cluster's own.
	Type cmek.KeyType
	// Account is the customer's AWS account, or Google project, that keys and principal are made in.
	Account string
	// Name begins the names of what is made; the cluster's if empty.
	Name string
	// Keys are keys of AWS that were made already, by region: AWS chooses their ids. Keys of Google Cloud have the names that the guide gives.
	Keys map[string]cmek.KeyURI
	// Deployment is the name of keyturn's deployment, with which the names of its secrets begin; Hub the Google project of it, if known.
	Deployment, Hub string
	// Vault asks for keys whose material HashiCorp Vault makes. Aliases are the ARNs of its aliases, one in each region of AWS.
	Vault   bool
	Aliases []cmek.KeyURI
	// At is when the guide is made; the first automatic rotation counts from it.
	At time.Time
}

// Provisioning is what the customer's account needs for the CMEK of a cluster.
type Provisioning struct {
	Cluster ProvisionedCluster `json:"cluster"`
	// Principal is who the cluster acts as: the ARN of the role, or the e-mail of the service account.
	Principal cmek.Principal `json:"auth_principal,omitempty"`
	// Steps are in their order. Nothing of them is carried out.
	Steps []ProvisionStep `json:"steps"`
	// Files are the documents and configurations that the steps write or replace.
	Files []ProvisionFile `json:"files"`
	// Findings are the conditions of each region, with --verify. Files are then the statements that are missing.
	Findings []Finding `json:"findings,omitempty"`
	// Refusals are facts that are missing or wrong. If there are any, there are no steps and no findings.
	Refusals []Refusal `json:"refusals,omitempty"`
}

// ProvisionedCluster are the facts of the cluster that everything else follows from, as read from the Cloud API.
type ProvisionedCluster struct {
	ID             string   `json:"id"`
	Name           string   `json:"name"`
	CloudProvider  string   `json:"cloud_provider"`
	AccountID      string   `json:"account_id"`
	OrganizationID string   `json:"organization_id"`
	Regions        []string `json:"regions"`
}

// ProvisionStep is one step of the guide.
type ProvisionStep struct {
	Title string `json:"title"`
	// Route is prerequisites, cli, deployment, terraform, vault or enable. cli, and deployment or terraform, are two ways to one end.
	Route string `json:"route"`
	// Lines are sentences, and commands that can be pasted as they stand.
	Lines []string `json:"lines"`
}

// ProvisionFile is a document of the guide.
type ProvisionFile struct {
	Name string `json:"name"`
	// Use is what it is for.
	Use     string `json:"use"`
	Content string `json:"content"`
}

// provisionNames are the names that both clouds, keyturn.yaml and the Terraform module take.
var provisionNames = regexp.MustCompile(`^[a-z][a-z0-9-]{1,18}[a-z0-9]$`)

var (
	awsAccounts   = regexp.MustCompile(`^[0-9]{12}$`)
	regionNames   = regexp.MustCompile(`^[a-z][a-z0-9-]*[0-9]$`)
	gcpProjectIDs = regexp.MustCompile(`^[a-z][a-z0-9-]{4,28}[a-z0-9]$`)
)

// Provision reads the cluster and the organization, and says what the customer's account needs. It writes nothing.
func (f *Function) Provision(ctx context.Context, r ProvisionRequest) (Provisioning, error) {
	var d decision
	d.Request = Request{Kind: ledger.OperationEnable, ClusterID: r.ClusterID}
	d.Cluster, d.ClusterErr = f.Cloud.Cluster(ctx, r.ClusterID)
	organization, organizationErr := f.Details.OrganizationID(ctx)
	if err := ctx.Err(); err != nil {
		return Provisioning{}, err
	}
	return provision(r, d, organization, organizationErr), nil
}

// provision is Provision without the reads.
func provision(r ProvisionRequest, d decision, organization string, organizationErr error) Provisioning {
	p := Provisioning{Steps: []ProvisionStep{}, Files: []ProvisionFile{}, Cluster: provisionedCluster(d.Cluster, organization)}
	if d.exists() {
		d.takesCMEK()
		d.provisionable(&r, p.Cluster, organizationErr)
	}
	if p.Refusals = d.found; len(d.found) > 0 {
		return p
	}
	p.prerequisites(r)
	if keyTypes[p.Cluster.CloudProvider] == cmek.GCPCloudKMS {
		p.google(r)
	} else {
		p.aws(r)
	}
	return p
}

func provisionedCluster(c cmek.Cluster, organization string) ProvisionedCluster {
	p := ProvisionedCluster{ID: c.ID, Name: c.Name, CloudProvider: c.CloudProvider, AccountID: c.AccountID, OrganizationID: organization, Regions: []string{}}
	for _, r := range c.Regions {
		p.Regions = append(p.Regions, r.Name)
	}
	slices.Sort(p.Regions)
	return p
}

// provisionable are the facts without which nothing can be said: none is guessed.
func (d *decision) provisionable(r *ProvisionRequest, c ProvisionedCluster, organizationErr error) {
	want := keyTypes[c.CloudProvider]
	if r.Type != "" && want != "" && r.Type != want {
		d.refuse("key-cloud", fmt.Sprintf("%q", "keyturn provision "+commandOf[want]+" "+c.Name), "the cluster is on %s, and its keys are made there", c.CloudProvider)
		return
	}
	if r.Name == "" {
		r.Name = c.Name
	}
	if !provisionNames.MatchString(r.Name) {
		d.refuse("name", "give another with --name: 3 to 20 lower-case letters, digits and hyphens, a letter first", "nothing can be named after %q", r.Name)
	}
	forms := map[cmek.KeyType]*regexp.Regexp{cmek.AWSKMS: awsAccounts, cmek.GCPCloudKMS: gcpProjectIDs}
	switch form := forms[want]; {
	case form == nil: // the cloud was refused
	case c.AccountID == "":
		d.refuse("account-id", "wait until the cluster is CREATED; if it is, ask Cockroach Labs' support", "the Cloud API shows no account_id of the cluster, which is whom the principal admits")
	case !form.MatchString(c.AccountID):
		d.refuse("account-id", "ask Cockroach Labs' support", "the account_id %q is none of the cluster's cloud", c.AccountID)
	}
	if form := forms[want]; form != nil && !form.MatchString(r.Account) {
		d.refuse("account", "give it with --"+map[cmek.KeyType]string{cmek.AWSKMS: "account", cmek.GCPCloudKMS: "project"}[want], "%q names no account of yours that keys can be made in", r.Account)
	}
	switch {
	case want != cmek.AWSKMS:
	case organizationErr != nil:
		d.refuse("organization", "check the API key", "the organization's id, the external id of the role, could not be read: %v", organizationErr)
	case !IsID(c.OrganizationID):
		d.refuse("organization", "check the API key", "the Cloud API shows no id of the organization, which is the external id of the role")
	}
	if len(c.Regions) == 0 {
		d.refuse("regions-unread", "wait until the cluster is CREATED", "the Cloud API shows no region of the cluster")
	}
	for _, name := range c.Regions {
		if !regionNames.MatchString(name) {
			d.refuse("region-unknown", "", "the cluster's region %q has no name of a region", name)
		}
	}
	for _, name := range sorted(r.Keys) {
		switch uri := r.Keys[name]; {
		case !slices.Contains(c.Regions, name):
			d.refuse("region-unknown", "leave it out", "the cluster has no region %q", name)
		case checkURI(uri) != "":
			d.refuse("key-uri", "give the key's ARN", "region %s: %s", name, checkURI(uri))
		case uri.Type() != want:
			d.refuse("key-cloud", "give a key of the cluster's cloud", "region %s: the key %q is of another cloud", name, uri)
		}
	}
}

// commandOf are the words that name the clouds on the command line.
var commandOf = map[cmek.KeyType]string{cmek.AWSKMS: "aws", cmek.GCPCloudKMS: "gcp"}

func (p *Provisioning) step(route, title string, lines ...string) {
	p.Steps = append(p.Steps, ProvisionStep{Title: title, Route: route, Lines: lines})
}

func (p *Provisioning) file(name, use, content string) {
	p.Files = append(p.Files, ProvisionFile{Name: name, Use: use, Content: content})
}

// prerequisites are the same on all clouds: who keyturn is at Cockroach Labs, and where the secret of it goes. Only the store differs.
func (p *Provisioning) prerequisites(r ProvisionRequest) {
	name := r.Deployment
	if name == "" {
		name = "keyturn"
	}
	store := "aws secretsmanager put-secret-value --secret-id " + word(name+"-api-key") + " --secret-string file:///dev/stdin"
	if keyTypes[p.Cluster.CloudProvider] == cmek.GCPCloudKMS {
		store = "gcloud secrets versions add " + word(name+"-api-key") + " --data-file=-"
		if r.Hub != "" {
			store += " --project " + word(r.Hub)
		}
	}
	p.step("prerequisites", "A service account at Cockroach Labs, for keyturn",
		"In the Cloud Console, under Access Management, Service Accounts, create a service account, and edit its roles.",
		"Give it Cluster Operator (CLUSTER_OPERATOR_WRITER), and no other role, with the scope of this cluster ("+plain(p.Cluster.Name)+", "+p.Cluster.ID+") or of the folder that has it.",
		"That role reads clusters and CMEK, enables and rotates, and it can revoke: the API has no lesser one.",
		"Create an API key of the service account there. Its secret is shown once, and it does not expire.",
		"Store the secret where keyturn's functions read it. Run the command, paste the secret, end with Ctrl-D twice and no line break.",
		store,
	)
}

// plain is a name from outside within a sentence.
func plain(name string) string { return fmt.Sprintf("%q", name) }

// enable is the last step: the file and the command that takes it.
func (p *Provisioning) enable(r ProvisionRequest, specs []cmek.RegionSpec) {
	verification := "keyturn provision " + commandOf[keyTypes[p.Cluster.CloudProvider]]
	if r.Vault {
		verification = "keyturn provision vault"
	}
	p.file("cmek_config.json", "the file for keyturn enable, and the body of POST /api/v1/clusters/"+p.Cluster.ID+"/cmek", readable(map[string]any{"region_specs": specs}))
	p.step("enable", "Verify, and enable",
		"Save the file cmek_config.json.",
		verification+" "+p.Cluster.ID+" --verify -f cmek_config.json",
		"keyturn enable "+p.Cluster.ID+" -f cmek_config.json --dry-run",
		"keyturn enable "+p.Cluster.ID+" -f cmek_config.json",
	)
}

// readable is a document as people read it.
func readable(value any) string {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		panic(err) // it is made of texts
	}
	return string(text) + "\n"
}

// compact is a document within a command.
func compact(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // it is made of texts
	}
	return word(string(text))
}

// Complete reports whether everything was judged, and is known to be there.
func (p Provisioning) Complete() bool {
	return len(p.Refusals) == 0 && Diagnosis{Findings: p.Findings}.Ready()
}

// Verify judges what exists: the keys and principals of specs, or if there are none those of the cluster's CMEK. It judges as [Function.Check]
// does, and writes nothing.
func (f *Function) Verify(ctx context.Context, r ProvisionRequest, specs []cmek.RegionSpec) (Provisioning, error) {
	var unread error
	var waived map[Hazard]string
	if len(specs) == 0 {
		info, err := f.Cloud.CMEK(ctx, r.ClusterID)
		switch {
		case err == nil:
			specs, waived = inForce(info), map[Hazard]string{CrossRegionKey: "it is in force"}
		case !errors.Is(err, cmek.ErrNotFound) && !errors.Is(err, cmek.ErrIncomplete): // which a cluster without CMEK may look like
			unread = err
		}
	}
	var d decision
	d.Request = Request{Kind: ledger.OperationEnable, ClusterID: r.ClusterID, Specs: specs, Waived: waived}
	facts, err := f.read(ctx, d.Request)
	if err != nil {
		return Provisioning{}, err
	}
	d.Facts = facts
	organization, _ := f.Details.OrganizationID(ctx) // what depends on it says that it is not known
	v := verify(r, d, organization, unread)
	if r.Vault && len(v.Refusals) == 0 {
		f.verifyVault(ctx, r, specs, &v, facts.At)
	}
	return v, nil
}

// verify is Verify without the reads; unread is why the cluster's own CMEK was not read, if that is what was to be judged.
func verify(r ProvisionRequest, d decision, organization string, unread error) Provisioning {
	v := Provisioning{Cluster: provisionedCluster(d.Cluster, organization), Steps: []ProvisionStep{}, Files: []ProvisionFile{}}
	if d.exists() {
		d.takesCMEK()
		if want := keyTypes[d.Cluster.CloudProvider]; r.Type != "" && want != "" && want != r.Type {
			d.refuse("key-cloud", fmt.Sprintf("%q", "keyturn provision "+commandOf[want]+" "+d.Cluster.Name+" --verify"), "the cluster is on %s, and its keys are made there", d.Cluster.CloudProvider)
		}
		switch {
		case len(d.Specs) > 0:
		case unread != nil:
			d.refuse("cmek-unread", "name the file for enable with -f, or try again", "the CMEK could not be read, and no key is named that could be judged: %v", unread)
		default:
			d.refuse("no-keys", "name the file for enable with -f", "the cluster has no CMEK, and no key is named that could be judged")
		}
	}
	if v.Refusals = d.found; len(d.found) > 0 {
		return v
	}
	// What the rows of the pre-flight say and the conditions do not: regions, forms, kinds of key.
	d.everyRegion()
	for _, refusal := range d.found {
		v.Findings = append(v.Findings, unmet("regions", refusal))
	}
	for _, spec := range d.Specs {
		d.found = nil
		d.key(spec)
		judged := []string{"key-policy", "trust", "no-principal", string(AccessUnverified), "key-not-enabled", "key-unread", "key-denied", "key-not-found"}
		wrong := slices.DeleteFunc(slices.Clone(d.found), func(r Refusal) bool { return slices.Contains(judged, r.Row) })
		for _, refusal := range wrong {
			found := unmet(refusal.Row, refusal)
			found.Region = spec.Region
			v.Findings = append(v.Findings, found)
		}
		if slices.ContainsFunc(wrong, func(r Refusal) bool { return r.Row != "key-not-symmetric" && r.Waiver != CrossRegionKey }) {
			continue // it was not read
		}
		list := conditions(spec, d.Facts)
		v.Findings = append(v.Findings, list...)
		for _, f := range list {
			if f.OK == nil || !*f.OK {
				v.lacks(f, spec, d.Cluster, organization)
			}
		}
	}
	return v
}

// unmet is a refusal of the pre-flight as a condition that does not hold.
func unmet(check string, r Refusal) Finding {
	no := false
	if r.Waiver == CrossRegionKey {
		r.Fix += ", or give keyturn enable the flag --" + string(r.Waiver)
	}
	return Finding{Check: check, OK: &no, What: r.What, Fix: r.Fix}
}

// lacks adds the statement that a finding is about.
func (p *Provisioning) lacks(f Finding, spec cmek.RegionSpec, c cmek.Cluster, organization string) {
	if spec.KeySpec.Type != cmek.AWSKMS {
		return // the fix is a command that names role and member
	}
	switch {
	case f.Check == "key policy":
		p.lack(ProvisionFile{Name: "policy of " + string(spec.KeySpec.URI), Use: "statement to add", Content: readable(clusterStatement(spec.KeySpec.AuthPrincipal))})
	case f.Check == "principal" && c.AccountID != "" && organization != "":
		p.lack(ProvisionFile{Name: "trust policy of " + string(spec.KeySpec.AuthPrincipal), Use: "statement to add", Content: readable(trustStatement(c.AccountID, organization))})
	}
}

func (p *Provisioning) lack(statement ProvisionFile) {
	if !slices.Contains(p.Files, statement) {
		p.Files = append(p.Files, statement)
	}
}
