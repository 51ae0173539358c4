// Package cost computes what keyturn costs a month on AWS: public list prices times the units that follow from the design.
// It computes with exact fractions, so the same assumptions always give the same table.
package cost

import "math/big"

// Price is a public list price in us-east-1.
type Price struct {
	// Service is the line of the table that the price belongs to.
	Service string
	Item    Item
	// USD is the decimal price of Per units.
	USD  string
	Per  int64
	Unit string
	// Source says where the price was seen. AsOf is the date as of which the source showed it; for a source without a date,
	// the day of the look-up.
	Source string
	AsOf   string
	// Unverified is true if no copy of a list with this price for us-east-1 was seen.
	Unverified bool
}

// Item names what is paid for.
type Item string

// What keyturn pays for.
const (
	KMSRequests        Item = "KMS requests"
	KMSKeys            Item = "KMS keys"
	ReadUnits          Item = "table reads"
	WriteUnits         Item = "table writes"
	TableStorage       Item = "table storage"
	TableRecovery      Item = "point-in-time recovery"
	LambdaRequests     Item = "function invocations"
	LambdaDuration     Item = "function time"
	Alarms             Item = "alarms"
	Metrics            Item = "custom metrics"
	Dashboards         Item = "dashboards"
	LogIngestion       Item = "log ingestion"
	LogStorage         Item = "log storage"
	QueueRequests      Item = "queue requests"
	Secrets            Item = "secrets"
	SecretReads        Item = "secret reads"
	Traces             Item = "traces"
	ForwardedEvents    Item = "forwarded events"
	Schedules          Item = "scheduled invocations"
	InternetTransfer   Item = "transfer to the internet"
	RegionTransfer     Item = "transfer to other Regions"
	ArchiveWrites      Item = "archive writes"
	ArchiveStorage     Item = "archive storage"
	Notifications      Item = "notifications"
	EMailNotifications Item = "e-mail"
)

const (
	listOf6September = "AWS price list for us-east-1, as quoted in github.com/ocelhq/ocel (research for issue 1014): "
	listOfSeptember  = "AWS price list for us-east-1, as quoted in a public repository by usage type: "
	notVerified      = "public list price, not verified against a stored copy"
)

// Prices are the list prices, without free tiers, in the first tier of each.
var Prices = []Price{
	{"KMS", KMSRequests, "0.03", 10_000, "request",
		"www.factualminds.com/blog/aws-kms-pricing-keys-requests-multi-region, for us-east-1 in June 2026", "2026-06-01", false},
	{"KMS", KMSKeys, "1.00", 1, "key-month", "aws.amazon.com/kms/pricing, as quoted in cloudburn.io/blog/aws-kms-pricing", "2026-03-14", false},
	{"DynamoDB", ReadUnits, "0.125", 1_000_000, "read request unit", listOf6September + "ReadRequestUnits", "2026-09-06", false},
	{"DynamoDB", WriteUnits, "0.625", 1_000_000, "write request unit", listOf6September + "WriteRequestUnits", "2026-09-06", false},
	{"DynamoDB", TableStorage, "0.25", 1, "GB-month", listOf6September + "TimedStorage-ByteHrs, second tier", "2026-09-06", false},
	{"DynamoDB", TableRecovery, "0.20", 1, "GB-month",
		notVerified + " for us-east-1; the AWS price list has the same for us-west-2, USW2-TimedPITRStorage-ByteHrs", "2026-09-06", true},
	{"Lambda", LambdaRequests, "0.20", 1_000_000, "request", listOf6September + "Request-ARM", "2026-09-06", false},
	{"Lambda", LambdaDuration, "0.0000133334", 1, "GB-second", listOf6September + "Lambda-GB-Second-ARM", "2026-09-06", false},
	{"CloudWatch", Alarms, "0.10", 1, "alarm-month", listOfSeptember + "CW:AlarmMonitorUsage", "2026-09-21", false},
	{"CloudWatch", Metrics, "0.30", 1, "metric-month", listOfSeptember + "CW:MetricMonitorUsage", "2026-09-21", false},
	{"CloudWatch", Dashboards, "3.00", 1, "dashboard-month",
		"www.factualminds.com/blog/amazon-cloudwatch-pricing-metrics-logs-alarms-dashboards", "2026-06-13", false},
	{"CloudWatch", LogIngestion, "0.50", 1, "GB", listOfSeptember + "DataProcessing-Bytes", "2026-09-21", false},
	{"CloudWatch", LogStorage, "0.03", 1, "GB-month", notVerified, "2026-11-22", true},
	{"SQS", QueueRequests, "0.40", 1_000_000, "request", listOfSeptember + "AWSQueueService", "2026-09-21", false},
	{"Secrets Manager", Secrets, "0.40", 1, "secret-month", listOfSeptember + "USE1-AWSSecretsManager-Secrets", "2026-09-24", false},
	{"Secrets Manager", SecretReads, "0.05", 10_000, "request", listOfSeptember + "USE1-AWSSecretsManagerAPIRequest", "2026-09-24", false},
	{"X-Ray", Traces, "5.00", 1_000_000, "trace", "aws.amazon.com/xray/pricing, a copy without a date", "2026-11-22", false},
	{"EventBridge", ForwardedEvents, "1.00", 1_000_000, "event", "cloudburn.io/blog/amazon-eventbridge-pricing", "2026-03-13", false},
	{"EventBridge", Schedules, "1.00", 1_000_000, "invocation", "cloudburn.io/blog/amazon-eventbridge-pricing", "2026-03-13", false},
	{"Data transfer", InternetTransfer, "0.09", 1, "GB", listOf6September + "DataTransfer-Out-Bytes", "2026-09-06", false},
	{"Data transfer", RegionTransfer, "0.02", 1, "GB", listOf6September + "<SRC>-<DST>-AWS-Out-Bytes, about", "2026-09-06", false},
	{"S3", ArchiveWrites, "0.005", 1_000, "request", listOf6September + "Requests-Tier1", "2026-09-06", false},
	{"S3", ArchiveStorage, "0.023", 1, "GB-month", listOf6September + "TimedStorage-ByteHrs", "2026-09-06", false},
	{"SNS", Notifications, "0.50", 1_000_000, "request", "www.factualminds.com/blog/amazon-sns-pricing-publishes-fanout-protocols", "2026-06-13", false},
	{"SNS", EMailNotifications, "2.00", 100_000, "message", "www.factualminds.com/blog/amazon-sns-pricing-publishes-fanout-protocols", "2026-06-13", false},
}

// each is the price of one unit.
func (p Price) each() *big.Rat {
	usd, ok := new(big.Rat).SetString(p.USD)
	if !ok {
		panic("the price of " + string(p.Item) + " is no decimal number: " + p.USD)
	}
	return usd.Quo(usd, big.NewRat(p.Per, 1))
}

// priceOf is the price of an item. Every item has one.
func priceOf(item Item) Price {
	for _, p := range Prices {
		if p.Item == item {
			return p
		}
	}
	panic("no price for " + string(item))
}
