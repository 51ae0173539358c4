package lifecycle

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// HashiCorp Vault's engine keymgmt makes key material and copies it to a KMS (developer.hashicorp.com/vault/docs/secrets/key-management). It needs
// Vault Enterprise with the module Advanced Data Protection: nothing here was tried with a Vault, and nothing is written to one.

// untested is said in each guide.
const untested = "Nothing is written to Vault, not by keyturn either. The commands follow its documentation, because the engine needs Vault Enterprise and could not be tried."

// vaultAWS are the steps by which Vault makes the keys on AWS. Vault sets no key policy, and makes a new key at each rotation.
func (p *Provisioning) vaultAWS(r ProvisionRequest, keyPolicy map[string]any) {
	p.step("vault", "Vault makes the key material, and imports it in each region",
		untested,
		"Vault's own credentials come from its environment, not from a command: an IAM principal that may do what vault-policy.json says.",
		"vault secrets enable keymgmt",
	)
	p.file("vault-policy.json", "permissions of Vault's own IAM principal", readable(awsDocument(map[string]any{
		"Effect": "Allow", "Resource": "*",
		"Action": []string{"kms:CreateKey", "kms:GetParametersForImport", "kms:ImportKeyMaterial", "kms:EnableKey", "kms:DisableKey", "kms:ScheduleKeyDeletion",
			"kms:CreateAlias", "kms:UpdateAlias", "kms:DeleteAlias", "kms:ListAliases", "kms:TagResource"},
	})))
	for _, region := range p.Cluster.Regions {
		name := r.Name + "-" + region
		p.step("vault", "Region "+region,
			"vault write -f "+word("keymgmt/key/"+name)+" type=aes256-gcm96",
			"vault write "+word("keymgmt/kms/"+name)+" provider=awskms "+word("key_collection="+region),
			"vault write "+word("keymgmt/kms/"+name+"/key/"+name)+" purpose=encrypt,decrypt protection=hsm",
			"The next command prints the ARN of the alias, hashicorp/"+name+"-TIME, and the id of the key behind it.",
			"aws kms list-aliases --region "+word(region)+" --query "+word("Aliases[?starts_with(AliasName, 'alias/hashicorp/"+name+"-')].[AliasArn, TargetKeyId]")+" --output text",
		)
	}
	if len(r.Keys) == len(p.Cluster.Regions) {
		lines := []string{"Vault sets no key policy. Without this the cluster cannot use the key."}
		for _, region := range p.Cluster.Regions {
			lines = append(lines, awsKMS("put-key-policy", r.Keys[region])+" --policy-name default --policy "+compact(keyPolicy))
		}
		p.step("cli", "The policy of each key", lines...)
	}
	p.awsKeys(r)
	p.step("vault", "Afterwards",
		"A rotation in Vault makes another KMS key and moves the alias: its policy is to be set again, and the cluster rotated to the new key's ARN.",
		"Do not raise min_enabled_version: it disables keys that backups need.",
	)
}

// vaultGoogle are the steps on Google Cloud, where each rotation in Vault is a new version of one key.
func (p *Provisioning) vaultGoogle(r ProvisionRequest) {
	ring := "crdb-" + r.Name
	p.step("vault", "Vault makes the key material, and imports it in each region",
		untested,
		"Vault's own credentials come from its environment, not from a command: a service account with the permissions of vault-permissions.txt on each key ring.",
		"vault secrets enable keymgmt",
	)
	p.file("vault-permissions.txt", "permissions of Vault's own service account, on each key ring", strings.Join([]string{
		"cloudkms.cryptoKeys.create", "cloudkms.cryptoKeys.update", "cloudkms.importJobs.create", "cloudkms.importJobs.get", "cloudkms.cryptoKeyVersions.list",
		"cloudkms.cryptoKeyVersions.destroy", "cloudkms.cryptoKeyVersions.update", "cloudkms.cryptoKeyVersions.create",
	}, "\n")+"\n")
	var bind []string
	var specs []cmek.RegionSpec
	for _, region := range p.Cluster.Regions {
		name := r.Name + "-" + region
		collection := "projects/" + r.Account + "/locations/" + region + "/keyRings/" + ring
		key, given := r.Keys[region]
		if given {
			specs = append(specs, cmek.RegionSpec{Region: region, KeySpec: cmek.KeySpec{Type: cmek.GCPCloudKMS, URI: key, AuthPrincipal: p.Principal}})
			bind = append(bind, gcpWords.access(specs[len(specs)-1].KeySpec))
		}
		p.step("vault", "Region "+region,
			"gcloud kms keyrings create "+word(ring)+" --location "+word(region)+" --project "+word(r.Account),
			"vault write -f "+word("keymgmt/key/"+name)+" type=aes256-gcm96",
			"vault write "+word("keymgmt/kms/"+name)+" provider=gcpckms "+word("key_collection="+collection),
			"vault write "+word("keymgmt/kms/"+name+"/key/"+name)+" purpose=encrypt,decrypt protection=hsm",
			"The next command prints the name of the key.",
			"gcloud kms keys list --keyring "+word(ring)+" --location "+word(region)+" --project "+word(r.Account)+" --format "+word("value(name)"),
		)
	}
	if len(specs) < len(p.Cluster.Regions) {
		p.step("enable", "Then", "Run this command once more with --key REGION=NAME for each region: it prints the bindings of the keys, and the file for enable.")
		return
	}
	p.step("cli", "The binding of each key", bind...)
	p.enable(r, specs)
}

// KeyDescriber describes a key of AWS KMS. Other clouds do not show where key material comes from.
type KeyDescriber interface {
	Details(ctx context.Context, uri cmek.KeyURI) cmek.KeyDetails
}

// AliasReader reads the key that an alias of AWS KMS points to.
type AliasReader interface {
	// AliasTarget returns the ARN of the key. ErrNotFound: there is no such alias.
	AliasTarget(ctx context.Context, alias cmek.KeyURI) (cmek.KeyURI, error)
}

// vaultFacts are what is known of a key whose material Vault makes.
type vaultFacts struct {
	described bool
	details   cmek.KeyDetails
	// alias is the one that was named for the key; "" if none was.
	alias, target cmek.KeyURI
	aliasErr      error
}

// judgeVault says whether a key of AWS is as Vault makes it, and stays so. It is pure.
func judgeVault(spec cmek.RegionSpec, facts vaultFacts, at time.Time) []Finding {
	yes, no := true, false
	found := func(check string, ok *bool, what, fix string) Finding {
		return Finding{Region: spec.Region, Check: check, OK: ok, What: what, Fix: fix}
	}
	var list []Finding
	d := facts.details.Description
	unread := !facts.described || facts.details.DescriptionErr != nil && d.Origin == ""
	switch {
	case unread:
		list = append(list, found("origin", nil, fmt.Sprintf("where the key's material comes from was not read: %v", facts.details.DescriptionErr), ""))
	case d.State == cmek.KeyNotFound:
		return nil // said of the key already
	case d.Origin == "":
		list = append(list, found("origin", nil, "the KMS does not say where the key's material comes from", ""))
	case d.Origin != "EXTERNAL":
		list = append(list, found("origin", &no, "the key's origin is "+d.Origin+", so that its material is not Vault's", "name the key behind Vault's alias"))
	default:
		list = append(list, found("origin", &yes, "the key's material is imported (EXTERNAL)", ""))
	}
	const again = "import the material again without an expiry, before that date"
	switch {
	case unread || d.Origin != "EXTERNAL":
	case d.ExpirationModel == "KEY_MATERIAL_DOES_NOT_EXPIRE" && d.ValidTo.IsZero():
		list = append(list, found("expiry", &yes, "the key's material does not expire", ""))
	case d.ValidTo.IsZero():
		list = append(list, found("expiry", nil, "the KMS does not say whether the key's material expires", ""))
	case !d.ValidTo.After(at):
		list = append(list, found("expiry", &no, "the key's material has expired, on "+d.ValidTo.UTC().Format(time.RFC3339), "import the material again, without an expiry"))
	default:
		list = append(list, found("expiry", &no, "the key's material expires on "+d.ValidTo.UTC().Format(time.RFC3339)+", and no node can restart from then on", again))
	}
	switch {
	case facts.alias == "":
		list = append(list, found("alias", nil, "no alias of the region is named", "name Vault's alias with --alias ARN"))
	case facts.aliasErr != nil:
		list = append(list, found("alias", nil, fmt.Sprintf("the alias %s was not read: %v", facts.alias, facts.aliasErr), ""))
	case facts.target != spec.KeySpec.URI:
		list = append(list, found("alias", &no, fmt.Sprintf("the alias %s points to another key, %s", facts.alias, facts.target), "rotate the cluster to the key that Vault uses now"))
	case !strings.HasPrefix(facts.alias.ID(), "alias/hashicorp/"):
		list = append(list, found("alias", &no, fmt.Sprintf("the alias %s is none of Vault's, which begin with alias/hashicorp/", facts.alias), "name Vault's alias"))
	default:
		list = append(list, found("alias", &yes, fmt.Sprintf("the alias %s points to the key", facts.alias), ""))
	}
	return list
}

// verifyVault adds what Vault's keys need beside all other.
func (f *Function) verifyVault(ctx context.Context, r ProvisionRequest, specs []cmek.RegionSpec, v *Provisioning, at time.Time) {
	for _, spec := range specs {
		if spec.KeySpec.Type != cmek.AWSKMS || checkURI(spec.KeySpec.URI) != "" {
			continue // Cloud KMS has no aliases, and its versions show no expiry
		}
		var facts vaultFacts
		kms := f.Keys[cmek.AWSKMS].KMS
		if describer, ok := kms.(KeyDescriber); ok {
			facts.described, facts.details = true, describer.Details(ctx, spec.KeySpec.URI)
		}
		for _, alias := range r.Aliases {
			if alias.Location() == spec.KeySpec.URI.Location() {
				facts.alias = alias
			}
		}
		if facts.alias != "" {
			facts.aliasErr = fmt.Errorf("no access to aliases")
			if reader, ok := kms.(AliasReader); ok {
				facts.target, facts.aliasErr = reader.AliasTarget(ctx, facts.alias)
			}
		}
		v.Findings = append(v.Findings, judgeVault(spec, facts, at)...)
	}
}
