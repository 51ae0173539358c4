package lifecycle

import (
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// google are the steps on Google Cloud. All names are ours to choose, so that everything can be said at once.
func (p *Provisioning) google(r ProvisionRequest) {
	name, project := "crdb-"+r.Name, word(r.Account)
	email := name + "@" + google.Domain(r.Account)
	p.Principal = cmek.Principal(email)
	cockroach, _ := google.CockroachAccount(p.Cluster.ID, p.Cluster.AccountID) // account_id was checked
	account := []string{
		"gcloud services enable cloudkms.googleapis.com iamcredentials.googleapis.com --project " + project,
		"gcloud iam service-accounts create " + word(name) + " --project " + project,
		"gcloud iam service-accounts add-iam-policy-binding " + word(email) + " --project " + project +
			" --role roles/iam.serviceAccountTokenCreator --member " + word("serviceAccount:"+cockroach.Email),
	}
	if r.Vault {
		p.step("cli", "The service account that the cluster acts as, in project "+r.Account, account...)
		p.vaultGoogle(r)
		return
	}
	p.file("main.tf", "the module of infra/gcp that makes keys, service account and bindings", p.terraform(r))
	p.step("terraform", "One way: the Terraform module makes keys, service account and bindings",
		"Add the file main.tf to a configuration of yours, and run \"terraform apply\".",
		"Its output region_specs (terraform output -raw region_specs) is cmek_config.json.",
	)
	lines := account
	var specs []cmek.RegionSpec
	for _, region := range p.Cluster.Regions {
		key := cmek.KeyURI("projects/" + r.Account + "/locations/" + region + "/keyRings/" + name + "/cryptoKeys/cmek")
		spec := cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: key, AuthPrincipal: p.Principal}
		lines = append(lines,
			"gcloud kms keyrings create "+word(name)+" --location "+word(region)+" --project "+project,
			gcpKey("create", key)+" --purpose encryption --protection-level software --rotation-period 90d --next-rotation-time "+
				word(r.At.UTC().Add(90*24*time.Hour).Format(time.RFC3339))+" --destroy-scheduled-duration 30d",
			gcpWords.access(spec))
		specs = append(specs, cmek.RegionSpec{Region: region, KeySpec: spec})
	}
	p.step("cli", "Another way: gcloud", lines...)
	p.enable(r, specs)
}

// terraform calls the module cmek-key.
func (p *Provisioning) terraform(r ProvisionRequest) string {
	regions := make([]string, len(p.Cluster.Regions))
	for i, region := range p.Cluster.Regions {
		regions[i] = fmt.Sprintf("%q = %q", region, region)
	}
	return fmt.Sprintf(`module "cmek" {
  source = "./infra/gcp/modules/cmek-key"

  project    = %q
  cluster    = %q
  cluster_id = %q
  account_id = %q
  regions    = { %s }
}

output "region_specs" {
  value = module.cmek.region_specs
}
`, r.Account, r.Name, strings.ToLower(p.Cluster.ID), p.Cluster.AccountID, strings.Join(regions, ", "))
}
