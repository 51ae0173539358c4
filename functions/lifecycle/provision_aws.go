package lifecycle

import (
	"fmt"
	"strings"

	"github.com/keyturn/keyturn/internal/cmek"
)

// trustStatement lets the cluster's account assume the role, with the organization's id as external id (CockroachDB Cloud documentation,
// "Manage CMEK").
func trustStatement(account, organization string) map[string]any {
	return map[string]any{
		"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": map[string]any{"AWS": "arn:aws:iam::" + account + ":root"},
		"Condition": map[string]any{"StringEquals": map[string]any{"sts:ExternalId": organization}},
	}
}

// clusterStatement lets the role use the key, as that page asks. The key stack writes the same one.
func clusterStatement(role cmek.Principal) map[string]any {
	return map[string]any{
		"Sid": "crdb-cmek-kms", "Effect": "Allow", "Resource": "*",
		"Action":    []string{"kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey", "kms:ReEncrypt*"},
		"Principal": map[string]any{"AWS": string(role)},
	}
}

func awsDocument(statements ...map[string]any) map[string]any {
	return map[string]any{"Version": "2012-10-17", "Statement": statements}
}

// awsKeyPolicy lets the account's own policies say who administers the key, and the cluster's role use it.
func awsKeyPolicy(account string, role cmek.Principal) map[string]any {
	return awsDocument(map[string]any{
		"Sid": "Administration", "Effect": "Allow", "Action": "kms:*", "Resource": "*", "Principal": map[string]any{"AWS": "arn:aws:iam::" + account + ":root"},
	}, clusterStatement(role))
}

// aws are the steps on AWS: a role first, since a key's policy must not name one that does not exist, then a key in each region.
func (p *Provisioning) aws(r ProvisionRequest) {
	role := r.Name + "-cmek"
	p.Principal = cmek.Principal("arn:aws:iam::" + r.Account + ":role/" + role)
	trust, keyPolicy := awsDocument(trustStatement(p.Cluster.AccountID, p.Cluster.OrganizationID)), awsKeyPolicy(r.Account, p.Principal)
	p.file("trust.json", "trust policy of the role "+role, readable(trust))
	p.file("policy.json", "policy of each key", readable(keyPolicy))
	createRole := "aws iam create-role --role-name " + word(role) + " --assume-role-policy-document " + compact(trust)
	if r.Vault {
		p.step("cli", "The role that the cluster assumes, in account "+r.Account, "It needs no permissions of its own: the keys' policies have them.", createRole)
		p.vaultAWS(r, keyPolicy)
		return
	}
	p.file("keyturn.yaml", "the fields for the key stack", p.keyturnYAML(r))
	p.step("deployment", "One way: keyturn's own stacks make role and keys",
		"Add the fields of the file keyturn.yaml to yours, check it and deploy it with \"make deploy\".",
		"keyturn config check",
		"The stacks put out RegionSpecs, which infra/README.md joins into cmek_config.json.",
	)
	lines := []string{
		"Role and keys are made in account " + r.Account + ", with credentials of yours.",
		"The role needs no permissions of its own: the keys' policies have them.",
		createRole,
		"Each command prints the ARN of its key. If it says that the policy names an invalid principal, the role has not spread yet: wait some seconds.",
	}
	for _, region := range p.Cluster.Regions {
		if r.Keys[region] == "" {
			lines = append(lines, "aws kms create-key --region "+word(region)+" --description "+word("CMEK of CockroachDB Cloud cluster "+p.Cluster.ID)+
				" --policy "+compact(keyPolicy)+" --query KeyMetadata.Arn --output text")
		}
	}
	p.step("cli", "Another way: the AWS command line", lines...)
	p.awsKeys(r)
}

// awsKeys are the steps that need the ARNs.
func (p *Provisioning) awsKeys(r ProvisionRequest) {
	if len(r.Keys) < len(p.Cluster.Regions) {
		p.step("enable", "Then",
			"Run this command once more with --key REGION=ARN for each region: it prints what switches rotation on, and the file for enable.",
		)
		return
	}
	var lines []string
	var specs []cmek.RegionSpec
	for _, region := range p.Cluster.Regions {
		key := r.Keys[region]
		if !r.Vault { // imported material has no automatic rotation
			lines = append(lines, awsKMS("enable-key-rotation", key)+" --rotation-period-in-days 365",
				"aws kms create-alias --region "+word(key.Location())+" --alias-name "+word("alias/keyturn-"+r.Name+"-"+region)+" --target-key-id "+word(key.ID()))
		}
		specs = append(specs, cmek.RegionSpec{Region: region, KeySpec: cmek.KeySpec{Type: cmek.AWSKMS, URI: key, AuthPrincipal: p.Principal}})
	}
	if len(lines) > 0 {
		p.step("cli", "Rotation, and a name for people", lines...)
	}
	p.enable(r, specs)
}

// keyturnYAML are the fields of keyturn.yaml for the cluster. Names, accounts and regions were checked: none needs an escape within quotes. A name
// has quotes because it may be null, true or off.
func (p *Provisioning) keyturnYAML(r ProvisionRequest) string {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "cockroachdb:\n  organization_id: %s\ncmek_keys:\n  - name: %q\n    account: %q\n    regions: [%s]\n    rotation_days: 365\n    cluster_account: %q\n",
		p.Cluster.OrganizationID, r.Name, r.Account, strings.Join(p.Cluster.Regions, ", "), p.Cluster.AccountID)
	return b.String()
}
