package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/keyturn/keyturn/internal/amazon"
)

// Hub is what a person's permissions are tried on.
type Hub struct {
	// Config is that of the person; its Region is the hub's.
	Config    amazon.Config
	Parameter string
	Table     string
	// Kinds are the kinds of the ledger's items that a person writes.
	Kinds  []string
	Topics []string
	Bucket string
	// Prefix is where in the bucket evidence is, ending in a slash if not empty.
	Prefix string
	// Readers are the ARNs of the reader roles, and ExternalID what they ask for; "" for nothing.
	Readers    []string
	ExternalID string
}

// Outcome is what one call showed of a permission.
type Outcome struct {
	// On is the resource.
	On string
	// Err is why the call failed where it should not; it wraps cmek.ErrDenied if the permission is missing. nil with Unverified "" means that the
	// permission is there.
	Err error
	// Unverified is why the call shows neither that the permission is there nor that it is missing; "" if it shows it.
	Unverified string
}

// nobody is the name of what is asked for and never exists.
const nobody = "keyturn-doctor"

// Try calls the action on the hub's resources of that kind and changes nothing: what writes carries a condition that cannot hold. The
// action is written as in a policy, and the target is one of "parameter", "ledger", "due index", "reader roles", "topics" and "archive".
// What has no such call is unverified.
func (h Hub) Try(ctx context.Context, action, target string) []Outcome {
	if try := h.calls()[action+" on "+target]; try != nil {
		return try(ctx)
	}
	return []Outcome{{On: target, Unverified: "AWS has no call that would show it and change nothing"}}
}

func (h Hub) calls() map[string]func(context.Context) []Outcome {
	return map[string]func(context.Context) []Outcome{
		"ssm:GetParameter on parameter":          h.getParameter,
		"dynamodb:GetItem on ledger":             h.getItem,
		"dynamodb:BatchGetItem on ledger":        h.batchGetItem,
		"dynamodb:Query on ledger":               h.query,
		"dynamodb:Query on due index":            h.queryDue,
		"dynamodb:PutItem on ledger":             h.putItems,
		"sts:AssumeRole on reader roles":         h.assumeReaders,
		"sns:ListSubscriptionsByTopic on topics": h.listSubscriptions,
		"s3:GetObject on archive":                h.getObject,
		"s3:PutObject on archive":                h.putObject,

		"s3:GetObjectVersion on archive":               h.getVersion,
		"s3:ListBucketVersions on list of the archive": h.listVersions,
	}
}

// read is the outcome of a call that only reads.
func read(on, doing string, err error) []Outcome {
	if err != nil {
		return []Outcome{{On: on, Err: amazon.Explain(err, doing)}}
	}
	return []Outcome{{On: on}}
}

func (h Hub) getParameter(ctx context.Context) []Outcome {
	_, err := ReadParameter(ctx, h.Config, h.Parameter)
	return []Outcome{{On: h.Parameter, Err: err}}
}

func (h Hub) table() *dynamodb.Client { return dynamodb.NewFromConfig(h.Config) }

func itemOf(kind string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		amazon.PartitionKey: &types.AttributeValueMemberS{Value: amazon.Partition(kind, nobody)},
		amazon.SortKey:      &types.AttributeValueMemberS{Value: nobody},
	}
}

func (h Hub) getItem(ctx context.Context) []Outcome {
	_, err := h.table().GetItem(ctx, &dynamodb.GetItemInput{TableName: &h.Table, Key: itemOf(h.Kinds[0])})
	return read(h.Table, "get an item", err)
}

func (h Hub) batchGetItem(ctx context.Context) []Outcome {
	_, err := h.table().BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
		RequestItems: map[string]types.KeysAndAttributes{h.Table: {Keys: []map[string]types.AttributeValue{itemOf(h.Kinds[0])}}},
	})
	return read(h.Table, "get items", err)
}

func (h Hub) query(ctx context.Context) []Outcome {
	_, err := h.table().Query(ctx, &dynamodb.QueryInput{
		TableName: &h.Table, Limit: aws.Int32(1), KeyConditionExpression: aws.String("#p = :p"),
		ExpressionAttributeNames:  map[string]string{"#p": amazon.PartitionKey},
		ExpressionAttributeValues: map[string]types.AttributeValue{":p": itemOf(h.Kinds[0])[amazon.PartitionKey]},
	})
	return read(h.Table, "query", err)
}

func (h Hub) queryDue(ctx context.Context) []Outcome {
	_, err := h.table().Query(ctx, &dynamodb.QueryInput{
		TableName: &h.Table, IndexName: aws.String(amazon.DueIndex), Limit: aws.Int32(1), KeyConditionExpression: aws.String("#k = :k"),
		ExpressionAttributeNames:  map[string]string{"#k": amazon.KindAttribute},
		ExpressionAttributeValues: map[string]types.AttributeValue{":k": &types.AttributeValueMemberS{Value: nobody}},
	})
	return read(h.Table+"/index/"+amazon.DueIndex, "query", err)
}

// putItems writes an item of each kind under the condition that it is there and is not. DynamoDB checks the permission first
// (docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html).
func (h Hub) putItems(ctx context.Context) (all []Outcome) {
	for _, kind := range h.Kinds {
		_, err := h.table().PutItem(ctx, &dynamodb.PutItemInput{
			TableName: &h.Table, Item: itemOf(kind),
			ConditionExpression:      aws.String("attribute_exists(#p) AND attribute_not_exists(#p)"),
			ExpressionAttributeNames: map[string]string{"#p": amazon.PartitionKey},
		})
		on := h.Table + ", items " + kind
		var failed *types.ConditionalCheckFailedException
		switch {
		case errors.As(err, &failed):
			all = append(all, Outcome{On: on})
		case err == nil:
			all = append(all, Outcome{On: on, Unverified: "the table took a write whose condition cannot hold: this is not DynamoDB"})
		default:
			all = append(all, read(on, "put an item", err)...)
		}
	}
	return all
}

func (h Hub) assumeReaders(ctx context.Context) (all []Outcome) {
	if len(h.Readers) == 0 {
		return []Outcome{{On: "reader roles", Unverified: "no account with keys is known"}}
	}
	client := sts.NewFromConfig(h.Config)
	for _, role := range h.Readers {
		in := &sts.AssumeRoleInput{RoleArn: aws.String(role), RoleSessionName: aws.String(nobody)}
		if h.ExternalID != "" {
			in.ExternalId = aws.String(h.ExternalID)
		}
		_, err := client.AssumeRole(ctx, in)
		all = append(all, read(role, "assume role", err)...)
	}
	return all
}

func (h Hub) listSubscriptions(ctx context.Context) (all []Outcome) {
	for _, topic := range h.Topics {
		_, err := Subscriptions(ctx, h.Config, topic)
		all = append(all, Outcome{On: topic, Err: err})
	}
	return all
}

func (h Hub) bucket() *s3.Client {
	return s3.NewFromConfig(h.Config, func(o *s3.Options) { o.UsePathStyle = o.BaseEndpoint != nil })
}

// getObject asks for an object that does not exist. Without permission to list, S3 refuses that like a missing permission to read, and
// only the message says which it was (docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html).
func (h Hub) getObject(ctx context.Context) []Outcome {
	_, err := h.bucket().GetObject(ctx, &s3.GetObjectInput{Bucket: &h.Bucket, Key: aws.String(h.Prefix + nobody)})
	return h.object("s3:GetObject", "get an object", err, "NoSuchKey")
}

// getVersion asks for a version, in the form that S3 gives to those of before there was versioning, of an object that does not exist.
func (h Hub) getVersion(ctx context.Context) []Outcome {
	_, err := h.bucket().GetObject(ctx, &s3.GetObjectInput{Bucket: &h.Bucket, Key: aws.String(h.Prefix + nobody), VersionId: aws.String("null")})
	return h.object("s3:GetObjectVersion", "get a version of an object", err, "NoSuchKey", "NoSuchVersion")
}

func (h Hub) listVersions(ctx context.Context) []Outcome {
	_, err := h.bucket().ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &h.Bucket, Prefix: aws.String(h.Prefix + nobody), MaxKeys: aws.Int32(1)})
	return read(h.Bucket, "list versions of objects", err)
}

// putObject writes an object under the condition that its content is one that it cannot have
// (docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
func (h Hub) putObject(ctx context.Context) []Outcome {
	_, err := h.bucket().PutObject(ctx, &s3.PutObjectInput{
		Bucket: &h.Bucket, Key: aws.String(h.Prefix + nobody), Body: strings.NewReader(""), IfMatch: aws.String(`"` + strings.Repeat("0", 32) + `"`),
	})
	if err == nil {
		return []Outcome{{On: h.Bucket, Unverified: "the bucket took a write whose condition cannot hold: this is not S3"}}
	}
	return h.object("s3:PutObject", "put an object", err, "NoSuchKey", "PreconditionFailed", "ConditionalRequestConflict")
}

// object is the outcome of a call on an object that succeeds with one of the codes.
func (h Hub) object(action, doing string, err error, fine ...string) []Outcome {
	on := h.Bucket + "/" + h.Prefix + "*"
	var refusal smithy.APIError
	if !errors.As(err, &refusal) {
		return read(on, doing, err)
	}
	for _, code := range fine {
		if refusal.ErrorCode() == code {
			return []Outcome{{On: on}}
		}
	}
	if refusal.ErrorCode() == "AccessDenied" && !strings.Contains(refusal.ErrorMessage(), action) {
		return []Outcome{{On: on, Unverified: "S3 refuses it, and does not say whether for " + action + " or for another permission that only this call needs"}}
	}
	return read(on, doing, err)
}

// Subscription is one of a topic's.
type Subscription struct {
	// Protocol is "email", "sms", "sqs", …
	Protocol, Endpoint string
	// Confirmed is false until its owner has confirmed it, for which SNS gives 48 hours, and after its owner has ended it.
	Confirmed bool
}

// mostPages bounds a list: with 100 subscriptions on a page, more than a topic of people and channels has.
const mostPages = 100

// Subscriptions are those of the topic, which is read in its own Region.
func Subscriptions(ctx context.Context, config amazon.Config, topic string) (all []Subscription, err error) {
	doing := "list subscriptions of " + topic
	parsed, err := arn.Parse(topic)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	pages := sns.NewListSubscriptionsByTopicPaginator(sns.NewFromConfig(config), &sns.ListSubscriptionsByTopicInput{TopicArn: &topic})
	for range mostPages {
		if !pages.HasMorePages() {
			return all, nil
		}
		page, err := pages.NextPage(ctx, func(o *sns.Options) { o.Region = parsed.Region })
		if err != nil {
			return nil, amazon.Explain(err, doing)
		}
		for _, s := range page.Subscriptions {
			// A subscription that is confirmed has an ARN (docs.aws.amazon.com/sns/latest/api/API_Subscription.html: else PendingConfirmation, or Deleted).
			_, err := arn.Parse(aws.ToString(s.SubscriptionArn))
			all = append(all, Subscription{aws.ToString(s.Protocol), aws.ToString(s.Endpoint), err == nil})
		}
	}
	return nil, fmt.Errorf("%s: more than %d pages", doing, mostPages)
}
