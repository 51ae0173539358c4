package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/simulator"
)

const (
	accountID = "111122223333"
	region    = "us-east-1"

	secretAccessKey = "sampleSecretAccessKey/that/no/log/may/show"
	sessionToken    = "sampleSessionToken/that/no/log/may/show"
)

// account is one installation of keyturn in AWS, played by moto_server, to which CloudFormation deployed the CDK app's
// templates. Its clients go straight to moto_server, past the wire.
type account struct {
	t       *testing.T
	name    string
	variant variant
	config  amazon.Config

	functions map[string]functionProperties // by what follows the deployment's name
	feeds     []mappingProperties
	schedules []scheduleProperties
	filters   []filterProperties
	spokes    map[string]*spoke // by Region

	// table and bucket are the ledger's and the archive's names.
	table, bucket string
	// messages is what both topics said; the tests have subscribed it.
	messages queue

	sqs *sqs.Client
	bus *eventbridge.Client
	s3  *s3.Client

	*identities
}

// queueTime is how soon a message that failed comes back, in seconds. The deployed queues leave the functions more time.
const queueTime = "2"

var accounts atomic.Int32

func newAccount(t *testing.T, v variant) *account {
	config := configOf(t, region)
	a := &account{
		t: t, name: fmt.Sprintf("scene%04d", accounts.Add(1)), variant: v, config: config,
		functions: map[string]functionProperties{}, spokes: map[string]*spoke{},
		sqs: sqs.NewFromConfig(config), bus: eventbridge.NewFromConfig(config),
		s3: s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = true }),
	}
	a.identities = newIdentities(a.name)
	a.prepareAccount()

	hub, err := templateFor(v, a.name, "hub")
	must(t, err, "find template")
	var tableID string
	values := map[string]map[string]string{} // of what CloudFormation does not make, by logical id and attribute
	for id, r := range hub.Resources {
		switch r.Type {
		case "AWS::SecretsManager::Secret":
			values[id] = map[string]string{"Ref": a.createSecret(r.Properties)}
		case "AWS::S3::Bucket":
			a.bucket = a.createArchive(r.Properties)
			values[id] = map[string]string{"Ref": a.bucket, "Arn": "arn:aws:s3:::" + a.bucket}
		case "AWS::Events::EventBus":
			values[id] = map[string]string{"Ref": r.Properties["Name"].(string)}
		case "AWS::Events::Rule":
			adapt(r.Properties)
		case "AWS::DynamoDB::Table":
			tableID = id
		}
	}
	hub.refer(values)
	d := deploy(t, a.name+"-hub", region, hub)
	a.table = d.physical[tableID]
	a.learn(d.physical, values)
	a.takeFunctions(d)
	a.subscribe(d)
	a.store("api-key", `{"api_key":"`+simulator.SampleAPIKey+`"}`)

	roles, err := templateFor(v, a.name, "roles-"+accountID)
	must(t, err, "find template")
	a.learn(deploy(t, a.name+"-roles", region, roles).physical, nil)
	return a
}

// giveRolePolicies makes a role of the kinds of policies that a role can have, none of which changes what it may do with keys.
func (a *account) giveRolePolicies(role string) {
	const harmless = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"tag:GetResources","Resource":"*"}]}`
	client := iam.NewFromConfig(a.config)
	_, err := client.PutRolePolicy(a.t.Context(), &iam.PutRolePolicyInput{
		RoleName: &role, PolicyName: aws.String("inline"), PolicyDocument: aws.String(harmless),
	})
	must(a.t, err, "give role an inline policy")
	managed, err := client.CreatePolicy(a.t.Context(), &iam.CreatePolicyInput{PolicyName: aws.String("attached"), PolicyDocument: aws.String(harmless)})
	must(a.t, err, "create policy")
	_, err = client.AttachRolePolicy(a.t.Context(), &iam.AttachRolePolicyInput{RoleName: &role, PolicyArn: managed.Policy.Arn})
	must(a.t, err, "attach policy")
	_, err = client.AttachRolePolicy(a.t.Context(), &iam.AttachRolePolicyInput{
		RoleName: &role, PolicyArn: aws.String("arn:aws:iam::aws:policy/AWSXRayDaemonWriteAccess"),
	})
	must(a.t, err, "attach policy of AWS")
}

// configOf is how the tests themselves call AWS in the Region.
func configOf(t *testing.T, region string) amazon.Config {
	env := map[string]string{
		"AWS_REGION": region, "AWS_ACCESS_KEY_ID": "harness", "AWS_SECRET_ACCESS_KEY": secretAccessKey, "AWS_ENDPOINT_URL": motoEndpoint,
	}
	config, err := amazon.ConfigFromEnv(func(name string) string { return env[name] }, &http.Client{})
	must(t, err, "configure AWS")
	return config
}

var prepareOnce sync.Once

// prepareAccount makes what is there before keyturn is deployed: the roles that the clusters of the default world act as, and
// the code. moto_server plays one account to all installations, so they share it.
func (a *account) prepareAccount() {
	prepareOnce.Do(func() {
		trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"*"},` +
			`"Condition":{"StringEquals":{"sts:ExternalId":"` + simulator.DefaultSeed().Organization.ID + `"}}}]}`
		for _, name := range []string{"payments-cmek", "orders-cmek", "ledger-cmek", "archive-cmek"} {
			_, err := iam.NewFromConfig(a.config).CreateRole(a.t.Context(), &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: &trust})
			must(a.t, err, "create role "+name)
		}
		a.giveRolePolicies("orders-cmek")
		_, err := a.s3.CreateBucket(a.t.Context(), &s3.CreateBucketInput{Bucket: aws.String(codeBucket)})
		must(a.t, err, "create bucket of the code")
		for _, function := range folders {
			// Nobody runs it; the binary is on this machine.
			_, err := a.s3.PutObject(a.t.Context(), &s3.PutObjectInput{
				Bucket: aws.String(codeBucket), Key: aws.String(function + ".zip"), Body: strings.NewReader(emptyZip),
			})
			must(a.t, err, "upload code of "+function)
		}
	})
}

// emptyZip is an archive without files: its end of central directory record alone.
const emptyZip = "PK\x05\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// createSecret makes a secret without a value.
func (a *account) createSecret(properties map[string]any) (arn string) {
	var p struct{ Name, Description string }
	decode(a.t, properties, &p)
	out, err := a.secrets().CreateSecret(a.t.Context(), &secretsmanager.CreateSecretInput{Name: &p.Name, Description: &p.Description})
	must(a.t, err, "create secret "+p.Name)
	return *out.ARN
}

// store gives a secret its value, as its owner does after the deployment.
func (a *account) store(secret, value string) {
	a.t.Helper()
	_, err := a.secrets().PutSecretValue(a.t.Context(), &secretsmanager.PutSecretValueInput{SecretId: aws.String(a.name + "-" + secret), SecretString: &value})
	must(a.t, err, "store secret "+secret)
}

func (a *account) secrets() *secretsmanager.Client { return secretsmanager.NewFromConfig(a.config) }

// createArchive makes the bucket with versions and Object Lock.
func (a *account) createArchive(properties map[string]any) (name string) {
	var p struct {
		ObjectLockEnabled       bool
		ObjectLockConfiguration *s3types.ObjectLockConfiguration
		VersioningConfiguration *s3types.VersioningConfiguration
	}
	decode(a.t, properties, &p)
	ctx, name := a.t.Context(), a.name+"-archive"
	_, err := a.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name, ObjectLockEnabledForBucket: &p.ObjectLockEnabled})
	must(a.t, err, "create bucket")
	_, err = a.s3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: &name, VersioningConfiguration: p.VersioningConfiguration})
	must(a.t, err, "put bucket versioning")
	_, err = a.s3.PutObjectLockConfiguration(ctx, &s3.PutObjectLockConfigurationInput{Bucket: &name, ObjectLockConfiguration: p.ObjectLockConfiguration})
	must(a.t, err, "put object lock configuration")
	return name
}

// subscription is an AWS::SNS::Subscription.
type subscription struct {
	TopicArn, Protocol, Endpoint string
	FilterPolicy, RedrivePolicy  map[string]any
}

// subscribe makes the subscriptions of the template, and one of the tests' own to each topic.
func (a *account) subscribe(d deployed) {
	client := sns.NewFromConfig(a.config)
	create := func(s subscription, attributes map[string]string) {
		_, err := client.Subscribe(a.t.Context(), &sns.SubscribeInput{
			TopicArn: &s.TopicArn, Protocol: &s.Protocol, Endpoint: &s.Endpoint, Attributes: attributes,
		})
		must(a.t, err, "subscribe to topic "+s.TopicArn)
	}
	a.messages = a.createQueue(a.sqs, region, "messages")
	topics := map[string]bool{}
	for _, s := range propertiesOf[subscription](a.t, d, "AWS::SNS::Subscription") {
		attributes := map[string]string{}
		for name, value := range map[string]map[string]any{"FilterPolicy": s.FilterPolicy, "RedrivePolicy": s.RedrivePolicy} {
			if value != nil {
				attributes[name] = encode(a.t, value)
			}
		}
		create(s, attributes)
		topics[s.TopicArn] = true
	}
	for topic := range topics {
		create(subscription{TopicArn: topic, Protocol: "sqs", Endpoint: a.messages.arn}, map[string]string{"RawMessageDelivery": "true"})
	}
}

// published returns the alerts that came since the last call, as a subscriber of the topics reads them.
func (a *account) published() (alerts []alert.Alert) {
	a.t.Helper()
	for _, message := range a.drain(a.messages) {
		sent, err := amazon.ParseMessage(message)
		if err != nil {
			a.t.Errorf("a subscriber cannot read a message: %v", err)
			continue
		}
		alerts = append(alerts, sent)
	}
	return alerts
}

// archived returns the evidence of the cluster in the order of its names, which is that of its numbers.
func (a *account) archived(clusterID string) (records [][]byte) {
	a.t.Helper()
	ctx := a.t.Context()
	prefix := "archive/evidence/" + clusterID + "/"
	list, err := a.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &a.bucket, Prefix: &prefix})
	must(a.t, err, "list the archive")
	for _, object := range list.Contents { // sorted by key, says ListObjectsV2
		if !strings.HasSuffix(*object.Key, ".json") {
			a.t.Errorf("evidence has the name %q, want one that ends in .json", *object.Key)
		}
		out, err := a.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &a.bucket, Key: object.Key})
		must(a.t, err, "read the archive")
		data, err := io.ReadAll(out.Body)
		_ = out.Body.Close()
		must(a.t, err, "read the archive")
		records = append(records, data)
	}
	return records
}
