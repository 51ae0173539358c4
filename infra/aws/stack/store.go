package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssecretsmanager"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssnssubscriptions"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"github.com/keyturn/keyturn/infra/aws/deployment"
	"github.com/keyturn/keyturn/internal/amazon"
)

// newLedger makes the table that remembers what was done and what is open. It survives the stack, unless
// the stack never came to be.
func newLedger(scope constructs.Construct) awsdynamodb.Table {
	attribute := func(name string, kind awsdynamodb.AttributeType) *awsdynamodb.Attribute {
		return &awsdynamodb.Attribute{Name: text(name), Type: kind}
	}
	table := awsdynamodb.NewTable(scope, text("Ledger"), &awsdynamodb.TableProps{
		PartitionKey: attribute(amazon.PartitionKey, awsdynamodb.AttributeType_STRING),
		SortKey:      attribute(amazon.SortKey, awsdynamodb.AttributeType_STRING),
		BillingMode:  awsdynamodb.BillingMode_PAY_PER_REQUEST,
		PointInTimeRecoverySpecification: &awsdynamodb.PointInTimeRecoverySpecification{
			PointInTimeRecoveryEnabled: yes(),
		},
		DeletionProtection:  yes(),
		TimeToLiveAttribute: text(amazon.ExpiresAttribute),
		RemovalPolicy:       awscdk.RemovalPolicy_RETAIN_ON_UPDATE_OR_DELETE,
	})
	table.AddGlobalSecondaryIndex(&awsdynamodb.GlobalSecondaryIndexProps{
		IndexName:      text(amazon.DueIndex),
		PartitionKey:   attribute(amazon.KindAttribute, awsdynamodb.AttributeType_STRING),
		SortKey:        attribute(amazon.NextLookAttribute, awsdynamodb.AttributeType_NUMBER),
		ProjectionType: awsdynamodb.ProjectionType_KEYS_ONLY,
	})
	return table
}

// newArchive makes the bucket for evidence, of which nothing can be changed or deleted before its time. It survives the stack.
func newArchive(scope constructs.Construct, a deployment.Archive) awss3.Bucket {
	retention := awss3.ObjectLockRetention_Governance(days(*a.RetentionDays))
	if a.Lock == deployment.LockCompliance {
		retention = awss3.ObjectLockRetention_Compliance(days(*a.RetentionDays))
	}
	bucket := awss3.NewBucket(scope, text("Archive"), &awss3.BucketProps{
		Versioned: yes(), ObjectLockEnabled: yes(), ObjectLockDefaultRetention: retention, EnforceSSL: yes(),
		MinimumTLSVersion: jsii.Number(1.2), BlockPublicAccess: awss3.BlockPublicAccess_BLOCK_ALL(),
		Encryption: awss3.BucketEncryption_S3_MANAGED, ObjectOwnership: awss3.ObjectOwnership_BUCKET_OWNER_ENFORCED,
		RemovalPolicy: awscdk.RemovalPolicy_RETAIN_ON_UPDATE_OR_DELETE,
	})
	accept(bucket, "AwsSolutions-S1", "Objects are locked and versioned, so access logs would add reads only; CloudTrail's data events record those where they are wanted.")
	return bucket
}

// newSecret makes a secret without a value: nobody but its owner ever knows it. Until it is stored, reading it is an error that
// raises an alarm.
func newSecret(scope constructs.Construct, id, name, description string) awssecretsmanager.CfnSecret {
	secret := awssecretsmanager.NewCfnSecret(scope, text(id), &awssecretsmanager.CfnSecretProps{
		Name: text(name), Description: text(description),
	})
	accept(secret, "AwsSolutions-SMG4", "The value is another vendor's, who has no call for a rotation by Secrets Manager; a new one is stored by hand and used at once.")
	return secret
}

// newTopic makes a topic with its direct subscribers, open to CloudWatch alarms or not. It is not encrypted with a KMS key: through the AWS managed key
// CloudWatch cannot publish, and any other key would be one more that silences alarms when it is disabled.
func newTopic(scope constructs.Construct, id, name string, subscribers deployment.Subscribers, alarms bool) awssns.Topic {
	topic := awssns.NewTopic(scope, text(id), &awssns.TopicProps{TopicName: text(name), DisplayName: text(name), EnforceSSL: yes()})
	if alarms {
		topic.AddToResourcePolicy(awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
			Sid:        text("Alarms"),
			Principals: &[]awsiam.IPrincipal{awsiam.NewServicePrincipal(text("cloudwatch.amazonaws.com"), nil)},
			Actions:    texts("sns:Publish"), Resources: &[]*string{topic.TopicArn()},
			Conditions: &map[string]any{"StringEquals": map[string]any{"aws:SourceAccount": awscdk.Stack_Of(scope).Account()}},
		}))
	}
	for _, address := range subscribers.Email {
		topic.AddSubscription(awssnssubscriptions.NewEmailSubscription(text(address), nil))
	}
	for _, phone := range subscribers.SMS {
		topic.AddSubscription(awssnssubscriptions.NewSmsSubscription(text(phone), nil))
	}
	return topic
}
