package stack

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/constructs-go/constructs/v10"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/amazon"
)

// newCMEKKeys makes a key in each of the cluster's Regions, as Cockroach Labs' set-up page asks
// (www.cockroachlabs.com/docs/cockroachcloud/managing-cmek). The keys survive their stacks.
func newCMEKKeys(app constructs.Construct, d deployment.Deployment, k deployment.CMEKKey, roles awscdk.Stack) {
	n := names{d}
	var primary awscdk.Stack
	for i, region := range k.Regions {
		if i > 0 && k.MultiRegion && k.PrimaryKey == "" {
			continue // The replicas can be made once the primary is there.
		}
		name := n.of("key-" + k.Name + "-" + region)
		stack := awscdk.NewStack(app, text(name), props(deployment.Place{Account: k.Account, Region: region}, name,
			"keyturn: a key for cluster "+k.Name+" in "+region))
		stack.AddStackDependency(roles, nil) // the key's policy names the cluster's role
		if i == 0 {
			primary = stack
		} else if k.MultiRegion {
			stack.AddStackDependency(primary, nil)
		}
		policy := keyPolicy(administration(k.Account), clusterUse(k), amazon.ReaderStatement(k.Account, n.reader(k.Account)))
		var arn *string
		if i > 0 && k.MultiRegion {
			key := awskms.NewCfnReplicaKey(stack, text("Key"), &awskms.CfnReplicaKeyProps{
				PrimaryKeyArn: text(string(k.PrimaryKey)), Description: text(describe(k)), KeyPolicy: policy, PendingWindowInDays: number(30),
			})
			key.ApplyRemovalPolicy(awscdk.RemovalPolicy_RETAIN_ON_UPDATE_OR_DELETE, nil)
			arn = key.AttrArn()
		} else {
			key := awskms.NewCfnKey(stack, text("Key"), &awskms.CfnKeyProps{
				Description: text(describe(k)), MultiRegion: k.MultiRegion, EnableKeyRotation: yes(),
				RotationPeriodInDays: number(k.RotationDays), KeyPolicy: policy, PendingWindowInDays: number(30),
			})
			key.ApplyRemovalPolicy(awscdk.RemovalPolicy_RETAIN_ON_UPDATE_OR_DELETE, nil)
			arn = key.AttrArn()
		}
		awskms.NewCfnAlias(stack, text("Alias"), &awskms.CfnAliasProps{AliasName: text("alias/" + n.of(k.Name)), TargetKeyId: arn})
		out := func(id, description string, value *string) {
			awscdk.NewCfnOutput(stack, text(id), &awscdk.CfnOutputProps{Description: text(description), Value: value})
		}
		out("KeyArn", "List it in keyturn.yaml under accounts, keys", arn)
		if i == 0 || !k.MultiRegion { // the primary's names the replicas, too
			out("RegionSpecs", "Body of POST /api/v1/clusters/{cluster_id}/cmek, and file of keyturn enable: of all stacks of the key together", regionSpecs(k, arn, region))
		}
	}
}

// newClusterRole makes the role that the cluster assumes. It needs no permissions: the key's policy has them.
func newClusterRole(stack awscdk.Stack, d deployment.Deployment, k deployment.CMEKKey) {
	role := awsiam.NewCfnRole(stack, text("Cluster-"+k.Name), &awsiam.CfnRoleProps{
		RoleName: text(k.RoleName()), Description: text("CockroachDB Cloud cluster " + k.Name + " uses its CMEK as this role"),
		AssumeRolePolicyDocument: document(map[string]any{
			"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": map[string]any{"AWS": "arn:aws:iam::" + k.ClusterAccount + ":root"},
			"Condition": map[string]any{"StringEquals": map[string]any{"sts:ExternalId": d.CockroachDB.OrganizationID}},
		}),
	})
	role.ApplyRemovalPolicy(awscdk.RemovalPolicy_RETAIN_ON_UPDATE_OR_DELETE, nil) // a role made anew is not the one that the key's policy names
}

func describe(k deployment.CMEKKey) string {
	return "CMEK of CockroachDB Cloud cluster " + k.Name + ". Do not disable: restarted nodes cannot rejoin without it."
}

// regionSpecs is a body of POST …/cmek, as text: of every Region of a multi-Region key, else of this Region. The API takes all regions of a
// cluster at once, so that the bodies of several stacks are joined (infra/README.md).
func regionSpecs(k deployment.CMEKKey, arn *string, region string) *string {
	spec := func(region string) string {
		return fmt.Sprintf(`{"region":%q,"key_spec":{"type":"AWS_KMS","auth_principal":%q,"uri":"`, region, k.Role())
	}
	parts := []*string{text(`{"region_specs":[`)}
	if !k.MultiRegion {
		parts = append(parts, text(spec(region)), arn, text(`"}}`))
	} else {
		// Replicas have the primary's key id.
		id := awscdk.Fn_Select(number(1), awscdk.Fn_Split(text(":key/"), arn, number(2)))
		for i, region := range k.Regions {
			if i > 0 {
				parts = append(parts, text(","))
			}
			parts = append(parts, text(spec(region)+"arn:aws:kms:"+region+":"+k.Account+":key/"), id, text(`"}}`))
		}
	}
	parts = append(parts, text("]}"))
	return awscdk.Fn_Join(text(""), &parts)
}

// administration lets the account's own policies say who may administer the key.
func administration(account string) map[string]any {
	return map[string]any{
		"Sid": "Administration", "Effect": "Allow", "Action": "kms:*", "Resource": "*",
		"Principal": map[string]any{"AWS": "arn:aws:iam::" + account + ":root"},
	}
}

// clusterUse is the statement crdb-cmek-kms of Cockroach Labs' set-up page.
func clusterUse(k deployment.CMEKKey) map[string]any {
	return map[string]any{
		"Sid": "crdb-cmek-kms", "Effect": "Allow", "Resource": "*",
		"Action":    []string{"kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*", "kms:DescribeKey", "kms:ReEncrypt*"},
		"Principal": map[string]any{"AWS": k.Role()},
	}
}

func keyPolicy(statements ...map[string]any) any { return document(statements...) }

func document(statements ...map[string]any) any {
	return map[string]any{"Version": "2012-10-17", "Statement": statements}
}
